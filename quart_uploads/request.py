"""Quart's requests, with uploads that are staged while they arrive."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from quart import Quart, Request, current_app
from quart.asgi import ASGIHTTPConnection
from quart.formparser import FormDataParser
from quart.wrappers.request import Body
from werkzeug.datastructures import FileStorage, MultiDict, iter_multi_items

from .body import UploadBody
from .config import min_rate, staging_area
from .foreign import own_hook, warn_of_foreign
from .heap import keep_large_blocks
from .multipart import FormLimits
from .reader import PAUSE, ReceivedFile, start_reading
from .steps import drive_inline, in_thread

# Quart 0.23 waits for the body to take what has arrived; before, append() returned at once.
_QUART_WAITS = hasattr(Body, "put")


class UploadFormParser(FormDataParser):
    """Reads a form whose files are staged while they arrive."""

    #: The Content-Type of the request. In its parameters the framework leaves out what some clients send.
    content_type: str = ""

    async def parse(
        self, body: Body, mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[MultiDict[str, Any], MultiDict[str, Any]]:
        """Return the fields and the files of a form."""
        if mimetype != "multipart/form-data" or not isinstance(body, UploadBody):
            return await super().parse(body, mimetype, content_length, options)

        async def receive(may_pause: bool) -> bytes | None:
            return await body.get(PAUSE if may_pause else None)

        limits = FormLimits(self.max_form_memory_size, self.max_form_parts)
        reading = start_reading(self.content_type, limits, receive)
        fields, files = await drive_inline(reading.collect(staging_area(current_app), ReceivedFile))
        make: Any = self.cls
        return make(fields), make(files)


class UploadRequest(Request):
    """A request whose files are staged while they arrive."""

    body: UploadBody
    body_class = UploadBody
    form_data_parser_class = UploadFormParser

    def __init__(self, *args: Any, body_timeout: int | None = None, **kwargs: Any) -> None:
        # Quart's timeout is for the whole body, and would end a long upload that is well on its way.
        super().__init__(*args, body_timeout=None, **kwargs)
        self.body.silence = body_timeout

    @property
    def max_content_length(self) -> int | None:
        """Bytes that the body may have. A view or a hook may set it."""
        return super().max_content_length

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        self._max_content_length = value
        self.body.limit = value

    def make_form_data_parser(self) -> FormDataParser:
        """Return what reads the form."""
        parser = super().make_form_data_parser()
        if isinstance(parser, UploadFormParser):
            parser.content_type = self.content_type or ""
        return parser

    async def close(self) -> None:
        """Let go of the files; those that were saved stay."""
        files = [file for _, file in iter_multi_items(self._files or ())]
        if any(isinstance(file, ReceivedFile) and file.spool.is_staged for file in files):
            await in_thread(_close, files)
        else:
            await super().close()


class UploadConnection(ASGIHTTPConnection):
    """A connection that receives no faster than the view reads."""

    async def handle_messages(self, request: Any, receive: Any, *args: Any) -> None:
        request.body.min_rate = min_rate(self.app)
        message: Any = {}

        async def receive_and_forget() -> Any:
            # Whoever waits for the next message would hold the last one for as long, up to 256 KiB of an idle client.
            nonlocal message
            message.pop("body", None)
            message = await receive()
            return message

        if _QUART_WAITS:
            await super().handle_messages(request, receive_and_forget, *args)
            return
        while True:
            await receive_and_forget()
            if message["type"] == "http.request":
                await request.body.put(message.get("body", b""))
                if not message.get("more_body", False):
                    request.body.set_complete()
            elif message["type"] == "http.disconnect":
                request.body.disconnect()
                return

    async def handle_request(self, request: Any, send: Any) -> None:
        # The last byte of an answer closes the connection if the client is still sending. Many clients read only when
        # they have sent all, and would find the connection reset where the answer was.
        has_length, held = False, b""

        async def send_and_linger(message: Any) -> None:
            nonlocal has_length, held
            if message["type"] == "http.response.start":
                has_length = any(name == b"content-length" for name, _ in message["headers"])
            elif message["type"] == "http.response.body" and (held or request.body.is_arriving):
                body, more = held + message.get("body", b""), message.get("more_body", False)
                held = body[-1:] if has_length else b""
                await send({**message, "body": body[:-1] if held else body, "more_body": True})
                if more:
                    return
                await request.body.linger()
                message = {**message, "body": held}
            await send(message)

        try:
            await super().handle_request(request, send_and_linger)
        finally:
            request.body.abandon()


def _close(files: list[FileStorage]) -> None:
    with ExitStack() as closing:
        for file in files:
            closing.callback(file.close)


def install_streaming(app: Quart) -> None:
    """Extend an app's own request and connection classes, once."""
    min_rate(app)  # refuses a value that makes no sense before a request has to
    if issubclass(app.request_class, UploadRequest):
        return
    if not issubclass(app.asgi_http_class, ASGIHTTPConnection):
        warn_of_foreign(f"{app.asgi_http_class.__name__} is not Quart's own connection class")
        return
    if own := own_hook(app.request_class, Request, ("form_data_parser_class", "make_form_data_parser")):
        warn_of_foreign(own)
        return
    request_class: Any = type("UploadRequest", (UploadRequest, app.request_class), {})
    app.request_class = request_class
    app.asgi_http_class = type("UploadConnection", (UploadConnection, app.asgi_http_class), {})
    keep_large_blocks()
