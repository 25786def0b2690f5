"""What is between a Quart app and its server: backpressure, and answers that come before the client has sent all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .._config import min_rate
from .._threads import in_thread
from ..storage import StoredFile
from ._compat import Connection
from .body import UploadBody

#: Where the scope of a request has the open file that answers it. An attribute of the request might be the app's own.
SERVED = "quart_uploads.served"


class UploadConnection(Connection):
    """A connection that receives no faster than the view reads."""

    async def handle_messages(self, request: Any, receive: Any, *args: Any) -> None:
        request.body.min_rate = min_rate(self.app)
        await super().handle_messages(request, receive, *args)

    async def handle_request(self, request: Any, send: Any) -> None:
        self._upload = request.body
        answer = EarlyAnswer(request.body, send, self.scope["http_version"])
        try:
            await super().handle_request(request, answer.send)
            await answer.finish()
        finally:
            request.body.abandon()
            await self._close_served()

    async def _close_served(self) -> None:
        """Close a file that was to be the answer: a hook may have put another in its place, or failed."""
        served: StoredFile | None = self.scope.pop(SERVED, None)  # type: ignore[misc]
        if served is not None and not served.file.closed:
            await in_thread(served.close)

    def stop_reading(self) -> None:
        """Let the rest of the upload arrive: the client may read only when it has sent all.

        If the upload waited, both would wait for each other.
        """
        self._upload.abandon()


class EarlyAnswer:
    """Sends an answer, and the end of an early one when the client has sent all, or has stopped.

    With its end a server closes the connection if the client is still sending. Many clients read only when they have
    sent all, and would find the connection reset where the answer was.

    :param body: what the client sends.
    :param send: sends a message of ASGI.
    :param http_version: the version of HTTP, as ASGI names it.
    """

    def __init__(self, body: UploadBody, send: Callable[[Any], Awaitable[None]], http_version: str) -> None:
        self._body = body
        self._send = send
        self._is_multiplexed = not http_version.startswith("1")
        self._length: int | None = None
        self._may_be_reset = False
        self._held = b""
        self._end: Any = None

    async def send(self, message: Any) -> None:
        """Send a message, or keep it for :meth:`finish`."""
        if message["type"] == "http.response.start":
            lengths = [int(value) for name, value in message["headers"] if name.lower() == b"content-length"]
            self._length = lengths[0] if lengths else None
            # curl and other clients of HTTP/2 reset a stream on which they are refused. What they do not have is lost
            # then. With an answer of another kind they wait until they have sent all.
            self._may_be_reset = self._is_multiplexed and message["status"] >= 300
        elif message["type"] == "http.response.body" and self._is_held():
            await self._send_but_the_end(message)
            return
        await self._send(message)

    def _is_held(self) -> bool:
        if self._held:
            return True
        # An answer that may be reset is whole without its end only if its length says so.
        return self._body.is_arriving and (bool(self._length) or not self._may_be_reset)

    async def _send_but_the_end(self, message: Any) -> None:
        data, self._held = self._held + message.get("body", b""), b""
        if self._length is not None and not self._may_be_reset:
            # Servers take an answer for ended when it has as many bytes as it said.
            data, self._held = data[:-1], data[-1:]
        await self._send({**message, "body": data, "more_body": True})
        if not message.get("more_body", False):
            self._end = {**message, "body": self._held}

    async def finish(self) -> None:
        """Send the end, if it was kept."""
        if self._end is not None:
            await self._body.linger()
            await self._send(self._end)
