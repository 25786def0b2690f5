"""Forms of odd clients, through the frameworks: the cases of ``cases/forms.json``, cut everywhere."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
import quart
from conftest import TESTS, Flavour
from decoding import in_pieces
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

CASES = json.loads((TESTS / "receiving/cases/forms.json").read_text())


class Pieces(io.RawIOBase):
    """The input of a WSGI server with a client that sends some bytes at a time."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def read(self, size: int = -1) -> bytes:
        return next(self._pieces, b"")


async def read_in_quart(app: Any, how: str, content_type: str, pieces: list[bytes]) -> Any:
    request = app.request_class(
        "POST", "http", "/", b"", Headers({"Content-Type": content_type}), "", "1.1", {}, send_push_promise=None
    )
    for piece in pieces:
        request.body.append(piece)
    request.body.set_complete()
    async with app.request_context(request):
        files, fields = [], []
        if how == "files":
            for name, file in (await request.files).items(multi=True):
                files.append([name, file.filename, file.read()])
            fields = [list(item) for item in (await request.form).items(multi=True)]
            await request.close()
            return files, fields
        async for part in app.files.receive(quart.request):
            if part.filename is None:
                fields.append([part.name, await part.text()])
            else:
                files.append([part.name, part.filename, b"".join([piece async for piece in part])])
        return files, fields


def read_in_flask(app: Any, how: str, content_type: str, pieces: list[bytes]) -> Any:
    environ = {"CONTENT_TYPE": content_type, "wsgi.input": Pieces(pieces), "wsgi.input_terminated": True}
    with app.test_request_context("/", method="POST", environ_overrides=environ) as context:
        files, fields = [], []
        if how == "files":
            for name, file in context.request.files.items(multi=True):
                files.append([name, file.filename, file.read()])
            fields = [list(item) for item in context.request.form.items(multi=True)]
            context.request.close()
            return files, fields
        for part in app.files.receive(context.request):
            if part.filename is None:
                fields.append([part.name, part.text()])
            else:
                files.append([part.name, part.filename, b"".join(part)])
        return files, fields


async def read(flavour: Flavour, app: Any, how: str, content_type: str, pieces: list[bytes]) -> Any:
    """Return the files and fields, or the status of the error."""
    try:
        if flavour.is_async:
            return await read_in_quart(app, how, content_type, pieces)
        return read_in_flask(app, how, content_type, pieces)
    except HTTPException as error:
        return error.code


def expected(case: dict[str, Any]) -> Any:
    wanted = case["expect"]
    if "files" not in wanted:
        return wanted.get("status")
    return [[name, filename, base64.b64decode(content)] for name, filename, content in wanted["files"]], wanted[
        "fields"
    ]


@pytest.mark.parametrize("how", ["files", "receive"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_a_form_of_an_odd_client_is_read_right(
    flavour: Flavour, app: Any, case: dict[str, Any], how: str, descriptors: None
) -> None:
    body = base64.b64decode(case["body_base64"])
    result = await read(flavour, app, how, case["content_type"], [body] if body else [])
    if "same_for_every_split" not in case["expect"]:
        assert result == expected(case)
    for size in (1, 2, 61):
        assert await read(flavour, app, how, case["content_type"], in_pieces(body, size)) == result


@pytest.mark.slow
@pytest.mark.parametrize("how", ["files", "receive"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_a_form_of_an_odd_client_is_read_alike_wherever_it_is_cut(
    flavour: Flavour, app: Any, case: dict[str, Any], how: str
) -> None:
    body = base64.b64decode(case["body_base64"])
    whole = await read(flavour, app, how, case["content_type"], [body] if body else [])
    for cut in range(1, len(body)):
        assert await read(flavour, app, how, case["content_type"], [body[:cut], body[cut:]]) == whole, cut


@pytest.mark.parametrize("how", ["files", "receive"])
@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", CASES[0]["content_type"]]
)
async def test_a_request_without_a_body_is_an_empty_form(
    flavour: Flavour, app: Any, how: str, content_type: str
) -> None:
    assert await read(flavour, app, how, content_type, []) == ([], [])


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_client_that_sends_its_content_type_with_every_request_is_answered(
    flavour: Flavour, app: Any, method: str
) -> None:
    if flavour.is_async:

        async def view() -> list[int]:
            return [len(await quart.request.files), len(await quart.request.form)]
    else:
        import flask

        def view() -> list[int]:
            return [len(flask.request.files), len(flask.request.form)]

    app.add_url_rule("/", view_func=view, methods=[method])
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    status, _, body = await flavour.request(app, method, "/", headers=headers)
    assert (status, json.loads(body)) == (200, [0, 0])
