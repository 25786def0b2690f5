"""Quart without an extension. The view receives the form and drops the file. Every way to save a file in a Quart view
needs at least this time.
"""

# /// script
# [tool.bench]
# title = "Quart, file dropped"
# limit = true
# servers = ["uvicorn"]
# stores = false
# serves = false
# ///

import asyncio

from quart import Quart, request

app = Quart(__name__)
app.config.update(MAX_CONTENT_LENGTH=None)
app.config.update(BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)  # each is 60 seconds in total by default


async def drop() -> tuple[str, dict[str, str]]:
    file = (await request.files)["file"]
    return file.filename, {"Content-Type": "text/plain", "Server-Timing": "save;dur=0.0"}


@app.post("/upload")
async def upload() -> tuple[str, dict[str, str]]:
    return await drop()


@app.post("/sleep")
async def sleep() -> tuple[str, dict[str, str]]:
    await asyncio.sleep(3)
    return await drop()


@app.get("/ping")
async def ping() -> str:
    return "pong"
