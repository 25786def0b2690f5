"""Files on their way into a directory: complete before they have a name.

On Linux a staged file is anonymous (``O_TMPFILE``), so that a crash leaves nothing behind. Where
the platform or the file system lacks that, it is a hidden ``.upload-*.part``. Either way it gets
its final name by a call that fails if the name is taken, so that no upload can replace another.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import closing, suppress
from io import BufferedReader, FileIO
from threading import Lock
from typing import IO

from .._threads import check_cancelled
from ._copy import copied
from ._rename import rename_exclusively
from .base import StagedUpload
from .stored_file import CHUNK

PART_PREFIX = ".upload-"
PART_SUFFIX = ".part"

# What open(2) answers where O_TMPFILE is not known: EISDIR from a kernel, the others from file systems.
_NO_TMPFILE = frozenset({errno.EISDIR, errno.EOPNOTSUPP, errno.ENOENT, errno.EINVAL, errno.ENOSYS})
# What link(2) answers where there are no hard links: EPERM on vfat, the others from network and FUSE file systems.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})
# What a look-up answers where there is no file.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR})

_MODE = 0o666  # less the umask, as for any file that a program makes
_FLAGS = os.O_RDWR | os.O_CLOEXEC

# An anonymous file gets its name by way of its link in /proc.
_HAS_ANONYMOUS = hasattr(os, "O_TMPFILE") and os.path.exists("/proc/self/fd")

_IOV_MAX = 1024  # what Linux takes in one writev(2)


def part_path(directory: str) -> str:
    """Return a new hidden name in a directory, for a file that is not complete or not in place."""
    return os.path.join(directory, f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}")


class StagedFile(StagedUpload):
    """A file being written that nobody can see; a context manager that throws away what was not published.

    :param directory: where it is staged, on the file system that it will be published on.
    :param named: stage it under a hidden name even where there are anonymous files.
    :raises OSError: the directory cannot be written to.
    """

    def __init__(self, directory: str, *, named: bool = False) -> None:
        self.size: int = 0
        self._part: str | None = None
        descriptor = None if named else _open_anonymous(directory)
        if descriptor is None:
            self._part = part_path(directory)
            descriptor = os.open(self._part, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
        self._file = FileIO(descriptor, "r+")
        # Two saves of one upload may be at it at the same time, and one of them may have to put another file in place.
        self._lock = Lock()
        self._sealed: tuple[int, int] | None = None
        # What it was when it was closed.
        self._last: os.stat_result | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Append all of the data.

        :raises OSError: it could not be written, for one ENOSPC.
        """
        view = memoryview(data)
        while view:
            # write(2) may take less than it was given, at a full disk or a file size limit.
            written = self._file.write(view)
            self.size += written
            view = view[written:]

    def write_all(self, pieces: list[bytes]) -> None:
        """Append many pieces, in as few calls as the system allows."""
        for start in range(0, len(pieces), _IOV_MAX):
            some = pieces[start : start + _IOV_MAX]
            total = sum(map(len, some))
            written = os.writev(self._file.fileno(), some)
            self.size += written
            if written < total:
                # A disk that is almost full takes a part, and the rest with the error that tells why.
                self.write(b"".join(some)[written:])

    def seal(self) -> bool:
        """Note how the content is, before it gets a name by which it can be edited; tells whether it had none yet."""
        with self._lock:
            is_first = self._sealed is None
            self._sealed = self._sealed or self._state()
            return is_first

    def chunks(self) -> Iterator[bytes]:
        """Yield the content in chunks of at most 1 MiB. No position moves.

        :raises ValueError: it was changed after :meth:`seal`.
        """
        with self._lock:
            descriptor = os.dup(self._file.fileno())
        with closing(FileIO(descriptor, "r")):
            offset = 0
            while chunk := os.pread(descriptor, CHUNK, offset):
                offset += len(chunk)
                self._check_seal()
                yield chunk
            self._check_seal()

    def is_open_as(self, target: int) -> bool:
        """Return True if a descriptor is one of this very file.

        :raises ValueError: the content was changed after :meth:`seal`.
        """
        self._check_seal()
        return os.path.samestat(os.fstat(self._file.fileno()), os.fstat(target))

    def copy_to(self, target: int) -> Iterator[int]:
        """Write the content to an open file, by the kernel where it can. Yield the bytes of each step.

        :param target: the file's descriptor.
        :raises ValueError: the content was changed after :meth:`seal`.
        """
        with self._lock:
            source = os.dup(self._file.fileno())
        with closing(FileIO(source, "r")):
            self._check_seal()
            yield from copied(source, target)
            self._check_seal()

    def read(self, offset: int, size: int) -> bytes:
        """Return some of the content. No position moves."""
        with self._lock:
            return os.pread(self._file.fileno(), size, offset)

    def _check_seal(self) -> None:
        with self._lock:
            is_changed = self._sealed is not None and self._sealed != self._state()
        if is_changed:
            raise ValueError("The upload was saved, and the stored file was changed since: save all copies before that")

    def _state(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns

    def reader(self) -> IO[bytes]:
        """Return a file object for reading the content. All of them share one position."""
        with self._lock:
            file = FileIO(os.dup(self._file.fileno()), "r")
        file.seek(0)
        return BufferedReader(file)

    def sync(self) -> None:
        """Return when the content is on the disk."""
        os.fsync(self._file.fileno())

    def move_to(self, directory: str, *, named: bool = False) -> None:
        """Become a file that is staged elsewhere, with the same content.

        :raises asyncio.CancelledError: it was cancelled midway, and is as it was; see :func:`check_cancelled`.
        """
        with StagedFile(directory, named=named) as copy:
            for count in self.copy_to(copy._file.fileno()):
                copy.size += count
                check_cancelled()
            with self._lock:
                self._file, copy._file = copy._file, self._file
                self._part, copy._part = copy._part, self._part
                self._sealed = self._sealed and self._state()

    def is_at(self, path: str) -> bool:
        """Return True if this very file, not just one like it, has the path.

        :raises OSError: that could not be found out.
        """
        try:
            found = os.stat(path, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return False
            raise
        if not self._file.closed:
            return os.path.samestat(os.fstat(self._file.fileno()), found)
        # Once it is closed and deleted, another file may get its number. That would have a later time of its own.
        last = self._last
        return last is not None and os.path.samestat(last, found) and last.st_ctime_ns == found.st_ctime_ns

    def publish(self, path: str) -> None:
        """Give the file its name, in one step that another process sees whole or not at all.

        :raises FileExistsError: the name is taken.
        :raises OSError: with EXDEV, the path is on another file system.
        """
        if self._part is None:
            self._link_anonymous(path)
            return
        if self._file.writable():
            # Network file systems may write, and find a quota exceeded, only when the file is closed.
            with self._lock:
                writer, self._file = self._file, FileIO(self._part)
                writer.close()
                self._sealed = self._sealed and self._state()
        try:
            os.link(self._part, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            rename_exclusively(self._part, path)
            self._part = None

    def _link_anonymous(self, path: str) -> None:
        try:
            # Under the lock, or it might be closed meanwhile, and its number be that of another upload.
            # CPython only calls linkat(2), which can follow the link in /proc, if a directory descriptor is
            # given. The path is absolute, so that the descriptor itself is not looked at.
            with self._lock:
                descriptor = self._file.fileno()
                os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # A security module may forbid links through /proc; those of named files may still be allowed.
            # The path may lead by a descriptor, which is closed before the hidden name is removed.
            self.move_to(os.path.realpath(os.path.dirname(path)), named=True)
            self.publish(path)

    @property
    def closes_at_once(self) -> bool:
        """Whether closing it waits for nothing: only a local file system has files without a name."""
        return self._part is None

    def close(self) -> None:
        """Close the file; if it was not published, nothing is left of it. Closing it again does nothing."""
        try:
            if self._part is not None:
                part, self._part = self._part, None
                with suppress(FileNotFoundError):  # it was tidied up
                    os.unlink(part)
                self._last = os.fstat(self._file.fileno())
        finally:
            with self._lock:
                self._file.close()


def _open_anonymous(directory: str) -> int | None:
    if not _HAS_ANONYMOUS:
        return None
    try:
        return os.open(directory, _FLAGS | os.O_TMPFILE, _MODE)
    except OSError as error:
        if error.errno in _NO_TMPFILE and os.path.isdir(directory):
            return None
        raise
