"""Views that are written once for both flavours, and forms for them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import flask
import quart
from conftest import Flavour


def serve(flavour: Flavour, app: Any, view: Any) -> None:
    """Let an app answer POST with what a coroutine function makes of the request.

    In the blocking flavour there is nothing that it would wait for, so that it ends at its first step.
    """

    def blocking() -> Any:
        coroutine = view()
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("the view waits")

    app.post("/")(view if flavour.is_async else blocking)


async def files_of(flavour: Flavour) -> Any:
    return await quart.request.files if flavour.is_async else flask.request.files


async def form_of(flavour: Flavour) -> Any:
    return await quart.request.form if flavour.is_async else flask.request.form


async def maybe(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) else value


async def post(flavour: Flavour, app: Any, *contents: bytes, **kwargs: Any) -> tuple[int, Any]:
    uploads = {f"file{n}": flavour.upload(content, f"{n}.bin") for n, content in enumerate(contents)}
    status, _, body = await flavour.request(app, "POST", "/", upload=uploads, **kwargs)
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode()
