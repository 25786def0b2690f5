"""Where the content of an upload comes from: one class for each kind of upload that a set can save."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import singledispatch
from threading import Lock
from typing import IO, Any, Protocol
from weakref import WeakKeyDictionary

from werkzeug.datastructures import FileStorage

from .._receiving import BasePart, BaseReceivedFile, answering_for_the_disk
from .._threads import Steps, check_cancelled, settled
from ..storage import CHUNK, StagedUpload, Storage


class Target(Protocol):
    """What a source is copied to."""

    def begin(self) -> StagedUpload:
        """Start staging, before the first bytes are asked for."""
        ...

    def look_at(self, staged: StagedUpload) -> Steps[None]:
        """Look at what was staged so far, after each write."""
        ...


class Source(ABC):
    """The content of one upload."""

    @property
    def size(self) -> int | None:
        """The size in bytes, where it is known before the content is copied."""
        return None

    def claim(self, storage: Storage) -> StagedUpload | None:
        """Return the content as it is staged in a storage already; ``None`` if it has to be copied."""
        return None

    def owns(self, staged: StagedUpload) -> bool:
        """Return True if what was claimed is still the source's, which closes it."""
        return False

    @abstractmethod
    def copy_to(self, target: Target) -> Steps[None]:
        """Copy all of the content, wherever its stream stands."""

    def pretend_at(self, location: str) -> Steps[None]:
        """Record where the upload would be, for one of which nothing was staged."""
        yield from ()

    def withdraw(self) -> None:
        """Forget where the upload was to be, as its save has failed."""
        return


@singledispatch
def source_of(upload: Any) -> Source:
    """Return the source of an upload.

    :raises TypeError: it is no upload.
    """
    raise TypeError(f"storage must be a werkzeug.FileStorage, not {type(upload).__name__}")


class FileSource(Source):
    """A file object that blocks. A hook may replace the ``stream`` of its upload until it is copied."""

    def __init__(self, file: FileStorage) -> None:
        self._file = file

    def copy_to(self, target: Target) -> Steps[None]:
        """Copy the stream from its beginning; two saves of it take turns."""
        stream = self._file.stream
        lock = _lock_of(stream)
        # A wait without end could take the last worker thread from the save that holds the lock.
        while not lock.acquire(timeout=0.01):
            yield
        try:
            if not hasattr(stream, "seekable") or stream.seekable():
                stream.seek(0)
            yield from _copy(_chunks(stream), target)
        finally:
            lock.release()


class ReceivedSource(FileSource):
    """An upload that was received, unless a hook has replaced its ``stream``."""

    _file: BaseReceivedFile

    @property
    def size(self) -> int | None:
        """The size in bytes."""
        return None if self._file.is_replaced else self._file.spool.size

    def claim(self, storage: Storage) -> StagedUpload | None:
        """Return the file that it was received into, the first time."""
        claimed: StagedUpload | None = None if self._file.is_replaced else self._file.spool.claim(storage)
        return claimed

    def owns(self, staged: StagedUpload) -> bool:
        """Return True for the file that it was received into: the request closes that."""
        return self._file.spool.owns(staged)

    def copy_to(self, target: Target) -> Steps[None]:
        """Copy the bytes that stayed in memory, or a file that was claimed before."""
        if self._file.is_replaced:
            yield from super().copy_to(target)
            return
        # Its descriptor must not live as long as the traceback of an error.
        with closing(self._file.spool.pieces()) as pieces:
            yield from _copy(pieces, target)


class PartSource(Source):
    """A part of a form that is being received."""

    def __init__(self, part: BasePart) -> None:
        self._part = part

    def copy_to(self, target: Target) -> Steps[None]:
        """Receive the part, and stage it batch by batch."""
        with answering_for_the_disk():
            staged = target.begin()
        while batch := (yield from settled(self._part.receive_batch(first=not staged.size))):
            with answering_for_the_disk():
                staged.write_all(batch)
            del batch  # or its memory would wait for the client, too
            yield from target.look_at(staged)


source_of.register(FileStorage, FileSource)
source_of.register(BaseReceivedFile, ReceivedSource)
source_of.register(BasePart, PartSource)


def _copy(batches: Iterable[list[bytes]], target: Target) -> Steps[None]:
    """Copy what comes from something that blocks."""
    staged = target.begin()
    for pieces in batches:
        staged.write_all(pieces)
        check_cancelled()
        yield from target.look_at(staged)


def _chunks(stream: IO[bytes]) -> Iterator[list[bytes]]:
    while chunk := stream.read(CHUNK):
        yield [chunk]


_locks: WeakKeyDictionary[IO[bytes], Lock] = WeakKeyDictionary()
_other_streams = Lock()


def _lock_of(stream: IO[bytes]) -> Lock:
    try:
        return _locks.setdefault(stream, Lock())
    except TypeError:  # it cannot be referred to weakly
        return _other_streams
