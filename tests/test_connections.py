"""A Quart app as a server calls it: foreign buffers, small messages, cancelled answers, and limits of the app's own."""

from __future__ import annotations

import asyncio
import io
import json
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import flask
import pytest
import quart
from cancelling import CancelledAt
from conftest import Flavour, tree
from decoding import encode
from quart import Quart
from quart.datastructures import FileStorage

import quart_uploads
import quart_uploads.flask

BODY, CONTENT_TYPE = encode([("file", "a.bin", bytes(range(256)) * 1000)])


@pytest.fixture
def app(destination: Path) -> Any:
    app: Any = Quart("app")
    app.config["UPLOADED_FILES_DEST"] = destination
    app.files = quart_uploads.UploadSet("files", quart_uploads.ALL)
    quart_uploads.configure_uploads(app, app.files)

    @app.post("/form")
    async def form() -> dict[str, Any]:
        return {"names": await app.files.save_all((await quart.request.files).values())}

    @app.post("/stream")
    async def stream() -> dict[str, Any]:
        return {"names": [await app.files.save(part) async for part in app.files.receive(quart.request)]}

    @app.post("/data")
    async def data() -> dict[str, Any]:
        return {"size": len(await quart.request.get_data())}

    @app.post("/late")
    async def late() -> dict[str, Any]:
        await app.wait()
        return {"size": len(await quart.request.get_data())}

    return app


def scope(method: str, path: str, content_type: str = CONTENT_TYPE) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"x"), (b"content-type", content_type.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def call(app: Any, asked: dict[str, Any], messages: Iterable[Any]) -> tuple[int, bytes]:
    """Call an app as a server does; returns the status and the body of its answer."""
    left, sent = iter(messages), []
    never = asyncio.Event()

    async def receive() -> Any:
        await asyncio.sleep(0)
        message = next(left, None)
        if message is None:
            await never.wait()
        return message

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    await app(asked, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("path", ["/form", "/stream", "/data"])
async def test_a_body_in_any_buffer_arrives_whole_and_its_messages_stay_the_servers(
    app: Any, destination: Path, kind: Any, path: str
) -> None:
    pieces = [kind(piece) for piece in cut(BODY, 50_000)]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": kind(b""), "more_body": False})
    copies = [dict(message) for message in messages]
    status, answer = await call(app, scope("POST", path), messages)
    assert (status, json.loads(answer)) == (200, {"size": len(BODY)} if path == "/data" else {"names": ["a.bin"]})
    assert messages == copies
    if path != "/data":
        assert tree(destination) == {"a.bin": bytes(range(256)) * 1000}


async def test_a_buffer_that_the_server_uses_again_does_not_change_the_upload(app: Any, destination: Path) -> None:
    buffer = bytearray(1000)

    def messages() -> Iterator[Any]:
        for piece in cut(BODY, len(buffer)):
            buffer[: len(piece)] = piece
            yield {"type": "http.request", "body": memoryview(buffer)[: len(piece)], "more_body": True}
            buffer[:] = bytes(len(buffer))
        yield {"type": "http.request"}

    assert (await call(app, scope("POST", "/form"), messages()))[0] == 200
    assert tree(destination) == {"a.bin": bytes(range(256)) * 1000}


@pytest.mark.parametrize("path", ["/form", "/stream", "/late"])
async def test_many_messages_of_two_bytes_take_little_memory(app: Any, path: str) -> None:
    amount = 60_000
    head = BODY[: BODY.index(b"\r\n\r\n") + 4]
    peak = 0

    async def wait() -> None:
        await asyncio.sleep(0)

    def messages() -> Iterator[Any]:
        nonlocal peak
        yield {"type": "http.request", "body": head, "more_body": True}
        for number in range(amount // 2):
            yield {"type": "http.request", "body": b"%02d" % (number % 90), "more_body": True}
        peak = tracemalloc.get_traced_memory()[1]
        yield {"type": "http.request", "body": BODY[-30:]}

    app.wait = wait
    tracemalloc.start()
    await call(app, scope("POST", path), messages())
    tracemalloc.stop()
    assert peak < 8 * amount, "an object for each message would take 40 times as much"


@pytest.mark.parametrize("size", [100, 3_000_000])
async def test_an_answer_that_is_cancelled_at_any_wait_leaves_no_descriptor(
    app: Any, destination: Path, descriptors: None, no_garbage_collection: None, size: int
) -> None:
    async with app.app_context():
        await app.files.save(FileStorage(io.BytesIO(bytes(size)), "a.bin"))
    base = app.asgi_http_class
    answering: Any = None

    class Connection(base):  # type: ignore[misc]
        async def handle_request(self, request: Any, send: Any) -> None:
            await answering(super().handle_request(request, send))

    app.asgi_http_class = Connection

    waits = 0
    for wait in range(100):
        outcome: list[int] = []

        async def cancelled(answer: Any, wait: int = wait, outcome: list[int] = outcome) -> None:
            waiting = CancelledAt(answer, wait)
            try:
                await waiting
            finally:
                outcome.append(waiting.count)

        answering = cancelled
        with suppress(IndexError):  # nothing was sent
            await call(app, scope("GET", "/_uploads/files/a.bin"), [{"type": "http.request"}])
        waits += 1
        if outcome[0] <= wait:
            break
    assert waits >= 5


@pytest.mark.parametrize("hook", ["fails", "answers otherwise"])
async def test_a_hook_that_takes_the_place_of_a_served_file_leaves_no_descriptor(
    flavour: Flavour, destination: Path, descriptors: None, no_garbage_collection: None, hook: str
) -> None:
    destination.mkdir()
    (destination / "a.bin").write_bytes(bytes(3_000_000))
    app = flavour.app(UPLOADED_FILES_DEST=destination)
    flavour.configure_uploads(app, flavour.UploadSet("files", flavour.ALL))
    kept: list[Any] = []

    @app.after_request
    def replace(response: Any) -> Any:
        kept.append(response)  # as the traceback of an error may keep it
        if hook == "fails":
            raise LookupError("a hook of the app")
        return app.response_class("another answer")

    if flavour.is_async:
        status, _ = await call(app, scope("GET", "/_uploads/files/a.bin"), [{"type": "http.request"}])
    else:
        status = app.test_client().get("/_uploads/files/a.bin").status_code
    assert status == (500 if hook == "fails" else 200)
    assert kept


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("kind", ["attribute", "property", "hook", "config", "patch_request_class"])
async def test_the_limit_of_the_apps_own_request_class_is_kept(
    flavour: Flavour, destination: Path, kind: str, announced: bool
) -> None:
    app = flavour.app(UPLOADED_FILES_DEST=destination)
    base = app.request_class
    request = quart.request if flavour.is_async else flask.request
    if kind == "attribute":
        app.request_class = type("Own", (base,), {"max_content_length": 1000})
    elif kind == "property":
        app.request_class = type("Own", (base,), {"max_content_length": property(lambda self: 1000)})
    elif kind == "hook":

        @app.before_request
        def limit() -> None:
            request.max_content_length = 1000
    elif kind == "config":
        app.config["MAX_CONTENT_LENGTH"] = 1000
    files = flavour.UploadSet("files", flavour.ALL)
    flavour.configure_uploads(app, files)
    if kind == "patch_request_class":
        flavour.patch_request_class(app, 1000)
    if flavour.is_async:

        @app.post("/")
        async def upload() -> dict[str, int]:
            return {"files": len(await quart.request.files)}
    else:

        @app.post("/")
        def upload() -> dict[str, int]:
            return {"files": len(flask.request.files)}

    for size, expected in ((100, 200), (2000, 413), (300_000, 413)):
        body, content_type = encode([("file", "a.bin", bytes(size))])
        if flavour.is_async:
            asked = scope("POST", "/", content_type)
            if announced:
                asked["headers"].append((b"content-length", b"%d" % len(body)))
            messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in cut(body, 5000)]
            status, _ = await call(app, asked, [*messages, {"type": "http.request"}])
        else:
            chunked = {} if announced else {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
            answer = await asyncio.to_thread(
                app.test_client().post, "/", data=body, content_type=content_type, environ_overrides=chunked
            )
            status = answer.status_code
        assert status == expected, size
