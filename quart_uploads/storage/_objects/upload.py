"""An upload on its way into an object store."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

from ..base import LocalFile, StagedUpload

#: Bytes that one request stores. More are sent as a multipart upload, in parts of this size, of which S3 takes 10,000.
SINGLE = 8 << 20


class ObjectUpload(StagedUpload):
    """An upload that is in memory while one request can store it, and from then on in a multipart upload.

    :param abort: takes a multipart upload back.
    :param source: a local file that has the content. It is read when the upload is published.
    """

    def __init__(
        self,
        abort: Callable[[ObjectUpload], None],
        source: LocalFile | None = None,
    ) -> None:
        self.size: int = 0 if source is None else source.size
        #: Tells it from another upload of the same content.
        self.id: str = secrets.token_hex(8)
        #: The name of the object that is, or may be, there because of it.
        self.name: str | None = None
        #: The :class:`MultipartUpload` that is under way.
        self.writer: Any = None
        self._abort = abort
        self._source = source
        self._pieces: list[bytes] = []

    def write(self, data: bytes | memoryview) -> None:
        """Append all of the data.

        :raises OSError: the store refused it, or is gone.
        """
        self.size += len(data)
        if self.writer is None:
            self._pieces.append(bytes(data))
        else:
            self.writer.write(data)

    @property
    def needs_name(self) -> bool:
        """Whether it is more than one request can store."""
        return self.writer is None and self._source is None and self.size > SINGLE

    def content(self) -> bytes:
        """Return what was not sent, of which there is little."""
        return b"".join(self._pieces if self._source is None else self._source.chunks())

    def take_content(self) -> Iterator[bytes]:
        """Yield what was not sent, and forget it."""
        if self._source is not None:
            yield from self._source.chunks()
        pieces, self._pieces = self._pieces[::-1], []
        while pieces:
            yield pieces.pop()

    def close(self) -> None:
        """Let go of it; if it was not published, nothing is left of it. Closing it again does nothing."""
        self._pieces = []
        self._abort(self)
