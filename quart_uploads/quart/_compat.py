"""All that is used of Quart and aiofiles without being documented as something to build on.

Each seam has a case in ``tests/test_compat.py``, which says what a new version has changed.
"""

from __future__ import annotations

from typing import Any

import quart.wrappers
from aiofiles.threadpool import wrap
from aiofiles.threadpool.binary import AsyncFileIO
from quart import Request
from quart.asgi import ASGIHTTPConnection
from quart.wrappers.request import Body
from quart.wrappers.response import IterableBody, ResponseBody
from werkzeug.exceptions import ClientDisconnected

from ..storage import StoredFile

__all__ = [
    "FORM_HOOKS",
    "ASGIHTTPConnection",
    "AsyncFileIO",
    "Body",
    "Connection",
    "Disconnected",
    "ResponseBody",
    "take_form",
    "wrap",
]

#: What an app may have overridden to read forms its own way.
FORM_HOOKS = ("form_data_parser_class", "make_form_data_parser")

#: What a body raises when the client is gone. Quart 0.23 has an error for it. For older versions it is one that is
#: answered, so that the app does not log a failure of its own.
Disconnected: type[Exception] = getattr(quart.wrappers, "ClientDisconnectedError", ClientDisconnected)

# Quart 0.23 waits for the body to take what has arrived; before, append() returned at once.
_QUART_WAITS = hasattr(Body, "put")


def take_form(request: Request) -> bool:
    """Leave ``request.form`` and ``request.files`` empty from now on. Return False if the form was read already.

    Quart's parser reads a whole form or nothing of it, and only these attributes keep it from doing so.
    """
    if request._form is not None:
        return False
    request._form, request._files = request.parameter_storage_class(), request.parameter_storage_class()
    return True


class Connection(ASGIHTTPConnection):
    """A connection that feeds the body as fast as the body allows, and says when a view has its answer.

    An app can name a class of its own as ``asgi_http_class``. Which methods that class may override is not documented.
    """

    def stop_reading(self) -> None:
        """Called before an answer is sent that reads no more of the request."""

    async def handle_messages(self, request: Any, receive: Any, *args: Any) -> None:
        """Give the body what the server receives. Quart 0.23 adds the task of the request to the arguments."""
        message: Any = {}

        async def receive_copy() -> Any:
            # The frames that wait for the next message would hold the last one for as long, up to 256 KiB of an idle
            # client. It is a copy, as the message is the server's.
            nonlocal message
            message.clear()
            message = dict(await receive())
            return message

        if _QUART_WAITS:
            await super().handle_messages(request, receive_copy, *args)
            return
        while True:
            await receive_copy()
            if message["type"] == "http.request":
                await request.body.put(message.get("body", b""))
                if not message.get("more_body", False):
                    request.body.set_complete()
            elif message["type"] == "http.disconnect":
                request.body.disconnect()
                return

    async def _send_response(self, send: Any, response: Any) -> None:
        # Nothing public is called between the view and its answer. Only an iterable may still read the request.
        if not isinstance(response.response, IterableBody):
            self.stop_reading()
        await super()._send_response(send, response)


@wrap.register(StoredFile)
def _wrap_stored_file(file: Any, *, loop: Any = None, executor: Any = None) -> AsyncFileIO:
    """Have ``wrap`` take the files of every storage. By itself it takes only some classes of :mod:`io`."""
    return AsyncFileIO(file, loop=loop, executor=executor)
