"""The apps that the tests of real servers run."""

from __future__ import annotations

import os
from typing import Any

import flask
import quart

import quart_uploads
import quart_uploads.flask

LIMIT = 10_000_000


def config() -> dict[str, Any]:
    return {"UPLOADED_FILES_DEST": os.environ["UPLOADS"], "UPLOADED_FILES_MAX_SIZE": 9_000_000}


def quart_app() -> quart.Quart:
    app = quart.Quart("quart_app")
    app.config.update(config())
    files = quart_uploads.UploadSet("files", quart_uploads.ALL)
    quart_uploads.configure_uploads(app, files)
    quart_uploads.patch_request_class(app, LIMIT)

    @app.post("/")
    async def upload() -> dict[str, list[str]]:
        return {"names": await files.save_all((await quart.request.files).getlist("file"))}

    return app


def flask_app() -> flask.Flask:
    app = flask.Flask("flask_app")
    app.config.update(config())
    files = quart_uploads.flask.UploadSet("files", quart_uploads.ALL)
    quart_uploads.flask.configure_uploads(app, files)
    quart_uploads.flask.patch_request_class(app, LIMIT)

    @app.post("/")
    def upload() -> dict[str, list[str]]:
        return {"names": files.save_all(flask.request.files.getlist("file"))}

    return app
