"""Upload sets inside requests: unhandled refusals, limits on the body, and the forms of form libraries."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from conftest import Flavour
from flask import Flask
from flask_wtf import FlaskForm
from flask_wtf.file import FileAllowed, FileField
from quart import Quart, request
from quart.datastructures import FileStorage
from quart_wtf import QuartForm
from quart_wtf.file import FileAllowed as QuartFileAllowed
from quart_wtf.file import FileField as QuartFileField

import quart_uploads
import quart_uploads.flask


@pytest.fixture
def app(flavour: Flavour, destination: Path) -> Any:
    """Saves what is posted to it."""
    app = flavour.app(UPLOADED_PHOTOS_DEST=destination, UPLOADED_PHOTOS_MAX_SIZE=1000)
    photos = flavour.UploadSet("photos", flavour.IMAGES)
    flavour.configure_uploads(app, photos)
    if flavour.is_async:

        @app.post("/")
        async def upload() -> str:
            return str(await photos.save((await request.files)["photo"]))
    else:
        from flask import request as flask_request

        @app.post("/")
        def upload() -> str:
            return str(photos.save(flask_request.files["photo"]))

    return app


async def post(flavour: Flavour, app: Any, filename: str, size: int) -> tuple[int, str]:
    status, _, body = await flavour.request(app, "POST", "/", upload={"photo": flavour.upload(b"x" * size, filename)})
    return status, body.decode()


async def test_a_refusal_that_no_view_catches_answers_415_or_413(flavour: Flavour, app: Any) -> None:
    assert await post(flavour, app, "a.jpg", 1000) == (200, "a.jpg")
    status, body = await post(flavour, app, "a<b>.exe", 1)
    assert status == 415
    assert "a&lt;b&gt;.exe was not saved: .exe files are not allowed here (only jpg, " in body
    status, body = await post(flavour, app, "a.jpg", 1001)
    assert status == 413
    assert "a.jpg was not saved: it is larger than 1 kB" in body


async def test_a_name_that_no_view_could_use_answers_400(flavour: Flavour, app: Any) -> None:
    status, body = await post(flavour, app, "...", 1)
    assert status == 400
    assert "nothing is left of &#39;...&#39;" in body


async def test_a_form_without_a_chosen_file_answers_400(flavour: Flavour, app: Any) -> None:
    """As a browser sends it: an empty file with an empty name."""
    body = b'--b\r\nContent-Disposition: form-data; name="photo"; filename=""\r\n\r\n\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    status, _, page = await flavour.request(app, "POST", "/", data=body, headers=headers)
    assert status == 400
    assert b"No file was chosen." in page


async def test_an_error_handler_may_answer_a_refusal(flavour: Flavour, app: Any) -> None:
    app.register_error_handler(quart_uploads.UploadNotAllowed, lambda error: (f"no: {error.filename}", 422))
    assert await post(flavour, app, "a.exe", 1) == (422, "no: a.exe")


async def test_a_body_over_the_limit_of_patch_request_class_is_refused(flavour: Flavour, app: Any) -> None:
    flavour.patch_request_class(app, 800)
    assert (await post(flavour, app, "a.jpg", 300))[0] == 200
    assert (await post(flavour, app, "a.jpg", 900))[0] == 413


async def test_patch_request_class_defaults_to_16_mib_and_none_keeps_the_config(flavour: Flavour) -> None:
    app = flavour.app()
    flavour.patch_request_class(app)
    assert app.config["MAX_CONTENT_LENGTH"] == 16 * 1024 * 1024
    app.config["MAX_CONTENT_LENGTH"] = 77
    flavour.patch_request_class(app, None)
    assert app.config["MAX_CONTENT_LENGTH"] == 77


async def test_bytes_without_an_announced_length_count_too(destination: Path) -> None:
    """Quart alone looks at the bytes that wait to be read: a chunked body may be of any size."""
    app = Quart("test_app")
    quart_uploads.patch_request_class(app, 100_000)
    request_class = app.request_class
    quart_uploads.patch_request_class(app, 100_000)
    assert app.request_class is request_class, "patching twice patches once"

    @app.post("/")
    async def count() -> str:
        total = 0
        async for chunk in request.body:
            total += len(chunk)
        return str(total)

    async def send(size: int) -> tuple[int, bytes]:
        async with app.test_client().request("/", method="POST") as connection:
            for _ in range(size // 10_000):
                await connection.send(b"x" * 10_000)
                await asyncio.sleep(0.001)
            await connection.send_complete()
        response = await connection.as_response()
        return response.status_code, await response.get_data(as_text=False)

    assert await send(100_000) == (200, b"100000")
    assert (await send(200_000))[0] == 413


async def test_the_forms_of_flask_wtf_ask_the_set(destination: Path) -> None:
    photos = quart_uploads.flask.UploadSet("photos", quart_uploads.IMAGES)
    app = Flask("test_app")
    app.config.update(UPLOADED_PHOTOS_DEST=str(destination), WTF_CSRF_ENABLED=False, SECRET_KEY="x")
    quart_uploads.flask.configure_uploads(app, photos)

    class Form(FlaskForm):
        photo = FileField(validators=[FileAllowed(photos, "only photos")])

    @app.post("/")
    def upload() -> Any:
        form = Form()
        return photos.save(form.photo.data) if form.validate_on_submit() else form.errors

    def submit(filename: str) -> str:
        with app.test_client() as client:
            return client.post("/", data={"photo": (io.BytesIO(b"content"), filename)}).text

    assert await asyncio.to_thread(submit, "A.JPG") == "A.jpg"
    assert "only photos" in await asyncio.to_thread(submit, "a.exe")


async def test_the_forms_of_quart_wtforms_ask_the_set(destination: Path) -> None:
    photos = quart_uploads.UploadSet("photos", quart_uploads.IMAGES)
    app = Quart("test_app")
    app.config.update(UPLOADED_PHOTOS_DEST=destination, WTF_CSRF_ENABLED=False, SECRET_KEY="x")
    quart_uploads.configure_uploads(app, photos)

    class Form(QuartForm):  # type: ignore[misc]
        photo = QuartFileField(validators=[QuartFileAllowed(photos, "only photos")])

    @app.post("/")
    async def upload() -> Any:
        form = await Form.create_form()
        return await photos.save(form.photo.data) if await form.validate_on_submit() else form.errors

    async def submit(filename: str) -> str:
        files = {"photo": FileStorage(io.BytesIO(b"content"), filename)}
        response = await app.test_client().post("/", files=files)
        return str(await response.get_data(as_text=True))

    assert await submit("A.JPG") == "A.jpg"
    assert "only photos" in await submit("a.exe")
