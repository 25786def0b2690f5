"""quart_uploads on Flask. Files are staged while they arrive. The set's ``save`` gives them their names."""

# /// script
# [tool.bench]
# title = "quart_uploads on Flask"
# servers = ["gunicorn"]
# files = "/_uploads/files/"
# ///

import os
import time

from flask import Flask, request

from quart_uploads.flask import ALL, UploadSet, configure_uploads

app = Flask(__name__)
app.config.update(UPLOADED_FILES_DEST=os.environ["DESTINATION"], MAX_CONTENT_LENGTH=None)
files = UploadSet("files", ALL)
configure_uploads(app, files)


def store() -> tuple[str, dict[str, str]]:
    file = request.files["file"]
    start = time.perf_counter()
    name = files.save(file)
    seconds = time.perf_counter() - start
    return name, {"Content-Type": "text/plain", "Server-Timing": f"save;dur={seconds * 1000:.3f}"}


@app.post("/upload")
def upload() -> tuple[str, dict[str, str]]:
    return store()


@app.post("/sleep")
def sleep() -> tuple[str, dict[str, str]]:
    time.sleep(3)
    return store()


@app.get("/ping")
def ping() -> str:
    return "pong"
