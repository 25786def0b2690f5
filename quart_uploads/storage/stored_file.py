"""A stored file: its metadata and its content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Self

from .._media_types import content_type

#: Bytes to read or write in one call. Larger chunks are not faster.
CHUNK = 1 << 20
#: Bytes that the kernel copies in one call. Cancellation is checked between calls.
STRIDE = 8 * CHUNK


@dataclass(frozen=True)
class FileInfo:
    """The metadata of a stored file.

    :param name: its name in the set, with its folder.
    :param size: its size in bytes.
    :param modified: when its content was last written, with a time zone.
    :param content_type: its media type, guessed from its name.
    :param etag: its entity tag, without quotes. It changes whenever the content changes.
    """

    name: str
    size: int
    modified: datetime
    content_type: str
    etag: str

    @classmethod
    def from_stat(cls, name: str, stat: os.stat_result) -> FileInfo:
        # The inode number is needed if two versions of the same size are written within one tick of the file system's
        # clock. Otherwise a client with If-Range (RFC 9110, section 13.1.5) could combine parts of both.
        return cls(
            name=name,
            size=stat.st_size,
            modified=datetime.fromtimestamp(stat.st_mtime, UTC),
            content_type=content_type(name),
            etag=f"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}",
        )


class StoredFile:
    """A stored file, open for reading. It is a context manager. Iterating over it yields chunks of at most 1 MiB.

    :param file: the open file, unbuffered.
    :param info: the metadata of the open file.
    """

    def __init__(self, file: BinaryIO, info: FileInfo) -> None:
        #: The open file, unbuffered.
        self.file = file
        #: Metadata of the open file, even if its name has been reused since.
        self.info: FileInfo = info

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes, or all that are left if it is negative. At the end, return ``b""``."""
        return self.file.read(size) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it, see :meth:`io.IOBase.seek`."""
        return self.file.seek(offset, whence)

    def close(self) -> None:
        """Close the file. Closing it again does nothing."""
        self.file.close()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK):
            yield chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
