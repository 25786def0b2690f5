"""A directory of uploads."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator
from io import FileIO

from ..exceptions import InvalidName
from ..names import StoredName, is_hidden, is_stored
from .base import Storage, not_found
from .staging import StagedFile, part_path
from .stored import FileInfo, StoredFile

# What a look-up answers for a name that no file can have: there is no such file.
_NOT_FOUND = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO})
# O_NONBLOCK: opening a pipe that somebody put there must not wait for its other end.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class LocalStorage(Storage[StagedFile]):
    """Keeps the files of one set below one directory. Every method blocks.

    :param root: the directory, made when the first file is staged.
    :param fsync: return from :meth:`publish` only when the file would survive a loss of power.
    """

    def __init__(self, root: str, *, fsync: bool = False) -> None:
        self.root: str = absolute(root)
        self._fsync = fsync
        self.is_slow: bool = fsync

    def path(self, name: str) -> str:
        """Return the absolute path that a stored name has."""
        return os.path.join(self.root, *name.split("/"))

    def location(self, name: str) -> str:
        """Return the absolute path that a stored name has."""
        return self.path(name)

    def folder_path(self, folder: str) -> str:
        """Return the absolute path of a folder of the set; it need not exist.

        :raises InvalidName: a symbolic link takes it out of the set.
        """
        if not folder:
            return self.root
        path = self.path(folder)
        if not self._is_inside(path):
            raise InvalidName(f"Security: Path traversal attempt detected: the folder {folder!r} leads out of the set")
        return path

    def folder_name(self, folder_path: str) -> str:
        """Return the folder that :meth:`folder_path` returned this for."""
        relative = os.path.relpath(folder_path, self.root)
        return "" if relative == os.curdir else relative.replace(os.sep, "/")

    def stage(self) -> StagedFile:
        """Start a new file that nobody sees.

        :raises OSError: the directory cannot be made or written to.
        """
        try:
            return StagedFile(self.root)
        except FileNotFoundError:
            self._make_directory(self.root)
            return StagedFile(self.root)

    def publish(
        self, staged: StagedFile, target: StoredName, *, overwrite: bool = False
    ) -> Generator[None, None, None]:
        """Give a staged file its name, in one step; only where it has to be copied first are there more.

        :param overwrite: replace what has the name.
        :raises FileExistsError: the name is taken.
        :raises InvalidName: a symbolic link takes the folder out of the set.
        :raises OSError: the file system refused.
        """
        directory = self.folder_path(target.folder)
        path = os.path.join(directory, target.basename)
        place = _replace if overwrite else StagedFile.publish
        remedied: set[int | None] = set()
        if self._fsync:
            staged.sync()
        while True:
            try:
                place(staged, path)
                break
            except OSError as error:
                if error.errno in remedied or error.errno not in (errno.ENOENT, errno.EXDEV):
                    raise
                problem = error.errno
            remedied.add(problem)
            if problem == errno.EXDEV:
                # Something is mounted below the root, or it was staged elsewhere.
                yield from staged.move_to(directory)
                if self._fsync:
                    staged.sync()
            else:
                self._make_directory(directory)
        if self._fsync:
            _sync_directories(directory, self.root)

    def withdraw(self, staged: StagedFile, target: StoredName) -> None:
        """Take the name away again from a file that :meth:`publish` gave it, unless another has it by now."""
        path = self.path(str(target))
        if staged.is_at(path):
            os.unlink(path)

    def is_taken(self, target: StoredName) -> bool:
        """Tell whether anything has this name, be it a directory or a link that leads nowhere."""
        path = self.path(str(target))
        return os.path.exists(path) or os.path.islink(path)

    def stat(self, name: str) -> FileInfo:
        """Return what is known of a file.

        :raises FileNotFoundError: the set has no such file.
        """
        path = self._visible_path(name)
        try:
            status = os.stat(path)
        except OSError as error:
            raise _translated(error, name) from error
        if not stat.S_ISREG(status.st_mode):
            raise not_found(name)
        return FileInfo.from_stat(name, status)

    def open(self, name: str) -> StoredFile:
        """Open a file for reading.

        :raises FileNotFoundError: the set has no such file.
        """
        path = self._visible_path(name)
        try:
            descriptor = os.open(path, _READ_FLAGS)
        except OSError as error:
            raise _translated(error, name) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise not_found(name)
        return StoredFile(FileIO(descriptor), FileInfo.from_stat(name, status))

    def delete(self, name: str) -> None:
        """Remove a file. Its folder stays.

        :raises FileNotFoundError: the set has no such file.
        """
        self.stat(name)
        try:
            os.unlink(self.path(name))
        except OSError as error:
            raise _translated(error, name) from error

    def list(self, folder: str = "") -> Iterator[str]:
        """Yield the names of the files in a folder and in those below it, in the order of the names.

        What other methods would not find or refuse is left out.
        """
        if is_hidden(folder):
            return
        try:
            entries = sorted(os.scandir(self.folder_path(folder)), key=lambda entry: entry.name)
        except OSError as error:
            if error.errno in _NOT_FOUND:
                return
            raise
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if not is_stored(name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self.list(name)
            elif entry.is_file() and (not entry.is_symlink() or self._is_inside(entry.path)):
                yield name

    def _visible_path(self, name: str) -> str:
        path = self.path(name)
        if is_hidden(name) or not self._is_inside(path):
            raise not_found(name)
        return path

    def _is_inside(self, path: str) -> bool:
        root = os.path.realpath(self.root)
        return os.path.commonpath([os.path.realpath(path), root]) == root

    def _make_directory(self, path: str) -> None:
        known = path
        while not os.path.exists(known):
            known = os.path.dirname(known)
        try:
            os.makedirs(path, exist_ok=True)
        except FileExistsError as error:
            # To a caller, FileExistsError would mean that an upload's name is taken.
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from error
        if self._fsync and known != path:
            _sync_directories(os.path.dirname(path), known)


def absolute(path: str) -> str:
    """Return a path in its absolute, plain form."""
    # Unlike abspath, this is pure for absolute paths, and may so be called on an event loop.
    return os.path.normpath(path) if os.path.isabs(path) else os.path.abspath(path)


def _sync_directories(lowest: str, highest: str) -> None:
    """Return when the names in a directory, and in those above it, are on the disk (fsync(2))."""
    while True:
        descriptor = os.open(lowest, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network and FUSE file systems know no such thing, and keep names by themselves.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)
        if lowest == highest:
            return
        lowest = os.path.dirname(lowest)


def _replace(staged: StagedFile, path: str) -> None:
    part = part_path(os.path.dirname(path))
    staged.publish(part)
    try:
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _translated(error: OSError, name: str) -> OSError:
    return not_found(name) if error.errno in _NOT_FOUND else error
