"""What a place for uploads has to do: stage bytes that nobody sees, then publish them under a name."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, Self

from .._names import StoredName
from .stored_file import FileInfo, StoredFile


class LocalFile(Protocol):
    """An open file of this machine that has the content of an upload."""

    @property
    def size(self) -> int:
        """Bytes of the content."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield the content from its start, in chunks of at most 1 MiB.

        :raises OSError: it cannot be read.
        :raises ValueError: it was changed since it was received.
        """
        ...


class StagedUpload(ABC):
    """Bytes on their way into a storage, which nobody sees before they are published; a context manager."""

    #: Bytes that were written.
    size: int = 0

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Append all of the data, and add its length to :attr:`size`.

        :param data: may be changed by the caller once this has returned.
        :raises OSError: it could not be written.
        """

    def write_all(self, pieces: list[bytes]) -> None:
        """Append many pieces. By default, :meth:`write` each.

        :raises OSError: they could not be written.
        """
        for piece in pieces:
            self.write(piece)

    @property
    def needs_name(self) -> bool:
        """Whether :meth:`Storage.reserve` has to be called before more is written. By default, never."""
        return False

    @property
    def closes_at_once(self) -> bool:
        """Whether :meth:`close` waits for nothing once it was published. By default, it is taken to block."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Release what it takes. If it was not published, nothing is left of it. Closing it again does nothing.

        :raises OSError: an error that may be about the content.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Storage(ABC):
    """Keeps the files of one upload set. Every method blocks, and may be called by many threads at once.

    Names are those in the set, with ``/`` between folders. They are clean and lead to no other place. What
    :meth:`stage` returns is a :class:`StagedUpload` of the storage's own, and no other is given to its methods.

    Where saving or deleting may take seconds, it calls :func:`check_cancelled` now and then.
    """

    @abstractmethod
    def stage(self) -> StagedUpload:
        """Start an upload that nobody sees.

        :raises OSError: it cannot be started.
        """

    def stage_file(self, file: LocalFile) -> StagedUpload | None:
        """Stage the content of a file of this machine. It need not be read before it is published.

        :param file: stays open until the staged upload is closed, and is not to be closed here.
        :returns: ``None``, as by default, if the content has to be written to what :meth:`stage` returns.
        :raises OSError: it cannot be started.
        """
        return None

    # Any, as each storage has its own kind of staged upload, and gets no other.
    def reserve(self, staged: Any, target: StoredName, *, overwrite: bool = False) -> None:
        """Take the name of an upload that is not complete, for a storage that has to write under a name.

        It is called only for an upload that says that it :attr:`~StagedUpload.needs_name`. Nothing may be visible by
        that name before the upload is published.

        :param staged: what :meth:`stage` returned.
        :param overwrite: let the upload replace what has the name by the time that it is published.
        :raises FileExistsError: the name is taken.
        :raises OSError: it failed otherwise.
        """
        raise NotImplementedError

    @abstractmethod
    def publish(self, staged: Any, target: StoredName, *, overwrite: bool = False) -> None:
        """Give a staged upload its name. Others see all of it or nothing, at any time.

        If the name is taken, it is called again with the same upload and another name.

        :param staged: what :meth:`stage` or :meth:`stage_file` returned. It is closed afterwards, not here.
        :param overwrite: replace what has the name.
        :raises FileExistsError: the name is taken. What has it is as it was.
        :raises OSError: it failed otherwise.
        """

    @abstractmethod
    def withdraw(self, staged: Any, target: StoredName) -> None:
        """Undo :meth:`reserve` and :meth:`publish`, also where they failed, unless another has the name by now.

        It is not called for an upload that was to replace a file. :meth:`StagedUpload.close` is called for all.

        :param staged: what :meth:`stage` or :meth:`stage_file` returned; it is not closed yet.
        :raises OSError: it failed.
        """

    def is_taken(self, target: StoredName) -> bool:
        """Return True if :meth:`publish` would find the name taken. By default, if a file of the set has it."""
        return self.exists(str(target))

    @abstractmethod
    def stat(self, name: str) -> FileInfo:
        """Return the metadata of a file.

        :raises FileNotFoundError: the set has no such file; see :func:`not_found`.
        """

    @abstractmethod
    def open(self, name: str) -> StoredFile:
        """Open a file for reading.

        :raises FileNotFoundError: the set has no such file.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file.

        :raises FileNotFoundError: the set has no such file.
        """

    @abstractmethod
    def list(self, folder: str = "") -> Iterator[str]:
        """Yield the names of the files in a folder and in those below it, in the order of the names.

        The order is that of their segments: ``a/c`` comes before ``a.b``. What is staged is left out, and so are names
        with a segment that begins with a dot, which no other method finds.
        """

    @abstractmethod
    def location(self, name: str) -> str:
        """Return where a name is kept, for people to read: an absolute path, or a URL without secrets.

        It does not block. If ``location("")`` is a path, uploads are staged in that directory while they arrive.
        """

    def exists(self, name: str) -> bool:
        """Return True if the set has a file of this name. By default, if :meth:`stat` finds it."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def path(self, name: str) -> str:
        """Return the absolute path that a stored name has.

        :raises NotImplementedError: the files are not on the disk. By default, they are not.
        """
        raise NotImplementedError(f"{self.location(name)} has no path, as it is on no disk: use open() or url()")

    def folder_path(self, folder: str) -> str:
        """Return where a folder is kept, as ``resolve_conflict`` is told it. It need not exist.

        By default, its :meth:`location`.
        """
        return self.location(folder)

    def folder_name(self, folder_path: str) -> str:
        """Return the folder that :meth:`folder_path` returned this for."""
        return folder_path.removeprefix(self.folder_path("")).strip("/")

    #: Whether its calls wait for a network or a disk, so that it is better to make them side by side.
    is_slow: bool = False
    #: Whether it has :meth:`sign`.
    signs: bool = False

    def sign(self, name: str, seconds: int) -> str:
        """Return a URL by which everyone who has it can fetch a file.

        :param seconds: for which the URL is valid.
        :raises NotImplementedError: the storage has no such URLs. By default, it has none.
        """
        raise NotImplementedError(f"{self.location(name)} has no signed URL")


def not_found(name: str) -> FileNotFoundError:
    """Return the error for a name that no file of a set has."""
    return FileNotFoundError(errno.ENOENT, "The upload set has no such file", name)
