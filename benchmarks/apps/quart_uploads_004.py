"""quart-uploads 0.0.4, the project of that name on PyPI. The set's ``save`` finds a free name and calls
``FileStorage.save`` of Quart.
"""

# /// script
# dependencies = ["quart-uploads==0.0.4", "uvicorn", "httptools"]
# [tool.bench]
# title = "quart-uploads 0.0.4"
# servers = ["uvicorn"]
# files = "/_uploads/files/"
# ///

import asyncio
import os
import time

from quart import Quart, request

from quart_uploads import ALL, UploadSet, configure_uploads

app = Quart(__name__)
app.config.update(UPLOADED_FILES_DEST=os.environ["DESTINATION"], MAX_CONTENT_LENGTH=None)
app.config.update(BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)  # each is 60 seconds in total by default
files = UploadSet("files", ALL)
configure_uploads(app, files)


async def store() -> tuple[str, dict[str, str]]:
    file = (await request.files)["file"]
    start = time.perf_counter()
    name = await files.save(file)
    seconds = time.perf_counter() - start
    return name, {"Content-Type": "text/plain", "Server-Timing": f"save;dur={seconds * 1000:.3f}"}


@app.post("/upload")
async def upload() -> tuple[str, dict[str, str]]:
    return await store()


@app.post("/sleep")
async def sleep() -> tuple[str, dict[str, str]]:
    await asyncio.sleep(3)
    return await store()


@app.get("/ping")
async def ping() -> str:
    return "pong"
