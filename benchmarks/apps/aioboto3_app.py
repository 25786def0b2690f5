"""Quart with aioboto3, which sends files to S3 with ``upload_fileobj``. Objects of the same name are replaced."""

# /// script
# dependencies = ["quart", "aioboto3", "uvicorn", "httptools"]
# [tool.bench]
# title = "Quart, aioboto3.upload_fileobj to S3"
# servers = ["uvicorn"]
# engine = true
# serves = false
# ///

import asyncio
import os
import time
from contextlib import AsyncExitStack
from typing import Any

import aioboto3
from quart import Quart, request

BUCKET, _, FOLDER = os.environ["DESTINATION"].removeprefix("s3://").partition("/")

app = Quart(__name__)
app.config.update(MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)
stack = AsyncExitStack()
clients: list[Any] = []


@app.before_serving
async def connect() -> None:
    clients.append(await stack.enter_async_context(aioboto3.Session().client("s3")))


@app.after_serving
async def disconnect() -> None:
    await stack.aclose()


@app.post("/upload")
async def upload() -> tuple[str, dict[str, str]]:
    file = (await request.files)["file"]
    name = os.path.basename(file.filename)
    start = time.perf_counter()
    await clients[0].upload_fileobj(file.stream, BUCKET, f"{FOLDER}/{name}")
    seconds = time.perf_counter() - start
    return name, {"Content-Type": "text/plain", "Server-Timing": f"save;dur={seconds * 1000:.3f}"}


@app.post("/sleep")
async def sleep() -> tuple[str, dict[str, str]]:
    await asyncio.sleep(3)
    return await upload()


@app.get("/ping")
async def ping() -> str:
    return "pong"
