"""A server for one request. A test makes its ASGI messages by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any


def scope(method: str, path: str, content_type: str = "", http_version: str = "1.1") -> dict[str, Any]:
    path, _, query = path.partition("?")
    headers = [(b"host", b"x")]
    if content_type:
        headers.append((b"content-type", content_type.encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": http_version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def in_messages(pieces: Iterable[Any]) -> Iterator[Any]:
    """Return the ASGI messages for a body."""
    for piece in pieces:
        yield {"type": "http.request", "body": piece, "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}


class Answer:
    """The messages that an app has sent so far."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ended = asyncio.Event()

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                self.ended.set()


async def call(
    app: Any, asked: dict[str, Any], messages: Iterable[Any] | AsyncIterator[Any] = (), answer: Answer | None = None
) -> tuple[int, bytes]:
    """Call an app as a server does; returns the status and the body of its answer.

    When it has that, the client leaves, and the server says so. Quart 0.23 waits for it.
    """
    answer = answer or Answer()
    receiving = _each(messages, answer)
    await app(asked, receiving.__anext__, answer.send)
    return answer.status, answer.body


async def _each(messages: Iterable[Any] | AsyncIterator[Any], answer: Answer) -> AsyncIterator[Any]:
    if isinstance(messages, AsyncIterator):
        async for message in messages:
            yield message
    else:
        for message in messages:
            await asyncio.sleep(0)
            yield message
    await answer.ended.wait()
    yield {"type": "http.disconnect"}
