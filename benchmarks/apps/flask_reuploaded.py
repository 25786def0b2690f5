"""Flask-Reuploaded 1.6.0 on Flask. Werkzeug receives files above 500 KiB in a temporary file. The set's ``save`` finds
a free name and copies the file.
"""

# /// script
# dependencies = ["Flask-Reuploaded==1.6.0", "gunicorn"]
# [tool.bench]
# title = "Flask-Reuploaded 1.6.0"
# servers = ["gunicorn"]
# files = "/_uploads/files/"
# ///

import os
import time

from flask import Flask, request
from flask_uploads import ALL, UploadSet, configure_uploads

app = Flask(__name__)
app.config.update(UPLOADED_FILES_DEST=os.environ["DESTINATION"], UPLOADS_AUTOSERVE=True, MAX_CONTENT_LENGTH=None)
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
