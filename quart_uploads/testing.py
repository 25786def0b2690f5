"""Help for the tests of apps that use upload sets."""

from __future__ import annotations

from typing import IO

from werkzeug.datastructures import FileStorage, Headers


class BaseTestingFileStorage(FileStorage):
    """An upload that is never written to a disk.

    A set treats it as any other upload and then sets :attr:`saved` to the path that it would have.

    :param stream: its content; empty by default.
    :param filename: the name that the client would send; by default that of the stream.
    :param name: the name of the form field.
    :param content_type: its media type.
    :param content_length: its length in bytes; -1 for none.
    :param headers: the headers of its part of the form.
    """

    #: The absolute path that it was saved under, or ``None``.
    saved: str | None = None

    def __init__(
        self,
        stream: IO[bytes] | None = None,
        filename: str | None = None,
        name: str | None = None,
        content_type: str = "application/octet-stream",
        content_length: int = -1,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(stream, filename, name, content_type, content_length, headers)
