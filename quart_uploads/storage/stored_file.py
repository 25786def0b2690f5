"""A file that is in a set: what is known about it, and its bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Self

from .._media_types import content_type

#: Bytes that are read or written in one call. Larger ones gain nothing.
CHUNK = 1 << 20
#: Bytes that the kernel copies in one call, after which a long copy may end if its task was cancelled.
STRIDE = 8 * CHUNK


@dataclass(frozen=True)
class FileInfo:
    """What a set knows of a stored file.

    :param name: its name in the set, with its folder.
    :param size: bytes.
    :param modified: when its content was last written.
    :param content_type: the media type that its name stands for.
    :param etag: changes whenever the content may have; unquoted.
    """

    name: str
    size: int
    modified: datetime
    content_type: str
    etag: str

    @classmethod
    def from_stat(cls, name: str, stat: os.stat_result) -> FileInfo:
        # The inode tells two versions apart that were written within one tick of the file system's clock
        # (4 ms on ext4): with time and size alone, a client could join the halves of both by If-Range.
        return cls(
            name=name,
            size=stat.st_size,
            modified=datetime.fromtimestamp(stat.st_mtime, UTC),
            content_type=content_type(name),
            etag=f"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}",
        )


class StoredFile:
    """A stored file, open for reading; a context manager. Iterating it yields chunks of at most 1 MiB."""

    def __init__(self, file: BinaryIO, info: FileInfo) -> None:
        #: The open file, unbuffered.
        self.file = file
        #: What is known of the very file that is open, whatever its name is given to meanwhile.
        self.info: FileInfo = info

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes, or all that are left; ``b""`` at the end."""
        return self.file.read(size) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, as :meth:`io.IOBase.seek` does."""
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
