"""One upload on its way into a set."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from threading import Lock
from typing import IO, Any
from weakref import WeakKeyDictionary

from blinker import NamedSignal
from werkzeug.datastructures import FileStorage

from .._names import StoredName, basename_in, check_basename, free_number
from .._receiving import BasePart, BaseReceivedFile, Spool, answering_for_the_disk
from .._threads import Steps, settled
from ..storage import CHUNK, PIECE, StagedUpload, Storage
from ..testing import BaseTestingFileStorage
from .upload_set import BaseUploadSet

#: Names that an overridden ``resolve_conflict`` may offer in vain before it is taken to be broken.
MAX_ATTEMPTS = 1000


class Upload:
    """One upload on its way into a set, in four phases: a name, its bytes, the name for good, the end."""

    def __init__(
        self,
        uset: BaseUploadSet,
        storage: FileStorage | BasePart,
        folder: str | None,
        name: str | None,
        overwrite: bool,
        given: set[StoredName],
    ) -> None:
        self.uset = uset
        self.storage = storage
        #: The name it has, or is to get.
        self.target: StoredName = StoredName("", "")
        self._folder = folder
        self._name = name
        self._overwrite = overwrite
        self._store: Storage
        # Names that the same operation gave, those of files of tests among them, which no storage knows of.
        self._given = given
        self._staged: StagedUpload | None = None
        # Whether the storage had to have a name before all was staged, and whether it was given any.
        self._is_reserved = False
        self._has_tried_names = False

    def choose_name(self) -> Steps[None]:
        """Decide whether it may be saved, and under which name."""
        sent = self.uset._check_storage(self.storage)
        self._store = self.uset._storage
        basename = yield from settled(self.uset.get_basename(sent))
        self.target = self.uset._choose_name(self.storage, basename, self._folder, self._name)

    def stage(self) -> Steps[None]:
        """Copy the whole of it, wherever its stream stands."""
        if isinstance(self.storage, BaseTestingFileStorage):
            self.uset._check_size(self.storage, self.target.basename, self.storage.stream.seek(0, os.SEEK_END))
            return
        if isinstance(self.storage, BaseReceivedFile) and not self.storage.is_replaced:
            yield from self._claim(self.storage.spool)
        elif isinstance(self.storage, BasePart):
            with answering_for_the_disk():
                self._staged = staged = self._store.stage()
            while batch := (yield from settled(self.storage.receive_batch(first=not staged.size))):
                with answering_for_the_disk():
                    staged.write_all(batch)
                del batch  # or its memory would wait for the client, too
                yield from self._look_at(staged)
        else:
            yield from self._copy(self.storage.stream)

    def _claim(self, spool: Spool) -> Steps[None]:
        self.uset._check_size(self.storage, self.target.basename, spool.size)
        self._staged = spool.claim(self._store)
        if self._staged is not None:
            return
        # Its descriptor must not live as long as the traceback of an error.
        with closing(spool.pieces()) as pieces:
            yield from self._fill(pieces)

    def _fill(self, batches: Iterable[list[bytes]]) -> Steps[None]:
        """Stage what comes from something that blocks, and let others go on in between."""
        self._staged = staged = self._store.stage()
        pause_at = PIECE
        for pieces in batches:
            staged.write_all(pieces)
            yield from self._look_at(staged)
            if staged.size >= pause_at:
                pause_at += PIECE
                yield

    def _look_at(self, staged: StagedUpload) -> Steps[None]:
        """Look at what was staged so far: is it too much, and can the storage go on without a name?"""
        self.uset._check_size(self.storage, self.target.basename, staged.size)
        if staged.needs_name:
            yield from self._take_name(self._store.reserve)
            self._is_reserved = True

    def _copy(self, stream: IO[bytes]) -> Steps[None]:
        # Two saves of one upload at a time would take turns in moving one stream.
        lock = _lock_of(stream)
        # A wait without end could take the last worker thread from the save that holds the lock.
        while not lock.acquire(timeout=0.01):
            yield
        try:
            if not hasattr(stream, "seekable") or stream.seekable():
                stream.seek(0)
            yield from self._fill(_chunks(stream))
        finally:
            lock.release()

    def publish(self) -> Steps[None]:
        """Give it its name, or another one if that is taken."""
        if self._is_reserved:
            self._store.publish(self._staged, self.target, overwrite=self._overwrite)
        else:
            yield from self._take_name(self._store.publish)

    def _take_name(self, take: Callable[..., None]) -> Steps[None]:
        """Find a name that the storage gives it."""
        first, number, attempts = self.target, 0, 0
        while not (yield from self._try_name(take)):
            if self.uset._counts_namesakes:
                number = self._count_up(first, number)
                continue
            attempts += 1
            answer = yield from self._ask_for_name(first)
            if attempts > MAX_ATTEMPTS or self.target.basename == answer != first.basename:
                raise FileExistsError(
                    errno.EEXIST,
                    f"{type(self.uset).__name__}.resolve_conflict returned a name that is taken, again; to replace "
                    "the file, return the name that it was given, or save with overwrite=True",
                    self._store.location(str(self.target)),
                )
            if answer != first.basename:
                self.target = StoredName(first.folder, answer)
                self.uset._check_renamed(self.storage, first.basename, answer)
            elif first in self._given:
                # It would replace another upload of the same save_all, and one of the two would be lost.
                number = self._count_up(first, number)
            else:
                self.target, self._overwrite = first, True

    def _count_up(self, first: StoredName, number: int) -> int:
        # Counting goes on from the number that was lost to another writer, in the same step.
        number = free_number(lambda n: self._is_taken(first.numbered(n)), above=number)
        self.target = first.numbered(number)
        return number

    def _ask_for_name(self, first: StoredName) -> Steps[str]:
        folder = self._store.folder_path(first.folder)
        answer = yield from settled(self.uset.resolve_conflict(folder, first.basename))
        return check_basename(basename_in(folder, answer))

    def _is_taken(self, name: StoredName) -> bool:
        return name in self._given or self._store.is_taken(name)

    def _try_name(self, take: Callable[..., None]) -> Steps[bool]:
        if self._given and self.target in self._given:
            return False
        if self._staged is None:
            return (yield from self._pretend())
        self._has_tried_names = True
        try:
            take(self._staged, self.target, overwrite=self._overwrite)
        except FileExistsError:
            return False
        self._given.add(self.target)
        return True

    def _pretend(self) -> Steps[bool]:
        """Do for a file of an app's tests what :meth:`Storage.publish` does, but leave the storage alone."""
        self._store.folder_path(self.target.folder)  # refuses a folder that leads out of the set
        if not self._overwrite and self._is_taken(self.target):
            return False
        self._given.add(self.target)
        if isinstance(self.storage, BaseTestingFileStorage):
            yield from settled(self.storage.save(self._store.location(str(self.target))))  # type: ignore[func-returns-value]
        return True

    def withdraw(self, reason: BaseException) -> None:
        """Undo all that was done, because something failed. What stays is said in a note on the reason."""
        if isinstance(self.storage, BaseTestingFileStorage):
            self.storage.saved = None
        if self._staged is None:
            return
        try:
            # What an overwriting upload has replaced cannot come back: better the new file than none.
            if self._has_tried_names and not self._overwrite:
                self._store.withdraw(self._staged, self.target)
        except Exception as error:  # the others are to be taken back, too
            reason.add_note(f"The file {str(self.target)!r} could not be taken back: {error}")
        try:
            self.close()
        except Exception as error:
            reason.add_note(f"What was staged of {str(self.target)!r} could not be closed: {error}")

    def finish(self) -> Steps[None]:
        """Close it if that may take time, or fail: an error of close(2) may be about the content."""
        if self._staged is not None and not self._staged.closes_at_once:
            self.close()
        yield from ()

    def close(self) -> None:
        """Close what was staged; without a name, nothing is left of it."""
        if self._staged is None:
            return
        if not (isinstance(self.storage, BaseReceivedFile) and self.storage.spool.owns(self._staged)):
            self._staged.close()

    def announce(self, signal: NamedSignal, **values: Any) -> Steps[None]:
        """Send a signal about it."""
        yield from settled(self.uset._send(signal, upload_set=self.uset, storage=self.storage, **values))

    def explain(self, error: Exception) -> None:
        """Add to an operating system's error which file of which set it was about."""
        if isinstance(error, OSError):
            if error.filename is None:
                error.filename = self.storage.filename
            error.add_note(f"The upload {self.storage.filename!r} was not saved in the upload set {self.uset.name!r}.")


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
