"""What a place for uploads has to do: stage bytes that nobody sees, then publish them under a name."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from .._names import StoredName
from .stored_file import FileInfo, StoredFile

if TYPE_CHECKING:
    from .staged_file import StagedFile


class StagedUpload(ABC):
    """Bytes on their way into a storage, which nobody sees before they are published; a context manager."""

    #: Bytes that were written.
    size: int = 0

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Append all of the data.

        :raises OSError: it could not be written.
        """

    def write_all(self, pieces: list[bytes]) -> None:
        """Append many pieces."""
        for piece in pieces:
            self.write(piece)

    @property
    def needs_name(self) -> bool:
        """Whether :meth:`Storage.reserve` has to be called before more is written."""
        return False

    @property
    def closes_at_once(self) -> bool:
        """Whether :meth:`close` waits for nothing once it was published."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Let go of it; if it was not published, nothing is left of it. Closing it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


S = TypeVar("S", bound=StagedUpload)


class Storage(ABC, Generic[S]):
    """Keeps the files of one upload set. Every method blocks, and may be called by many threads at once.

    Names are those in the set, with ``/`` between folders: they are clean and lead nowhere else. What happens
    in steps is a generator, which may yield where it can be ended: a long transfer yields now and then, and if it
    is closed there, nothing is left of it once the staged upload is closed.
    """

    @abstractmethod
    def stage(self) -> S:
        """Start an upload that nobody sees.

        :raises OSError: it cannot be started.
        """

    def stage_file(self, file: StagedFile) -> S | None:
        """Stage the content of a local file without reading it before it is published.

        :returns: ``None``, as here, if the content has to be written to what :meth:`stage` returns.
        """
        return None

    def reserve(self, staged: S, target: StoredName, *, overwrite: bool = False) -> Generator[None, None, None]:
        """Take the name of an upload that is not complete, in steps, if the storage has to write under a name.

        It is called only for what says that it :attr:`~StagedUpload.needs_name`. Nothing may be visible by that name
        before the upload is published.

        :raises FileExistsError: the name is taken.
        """
        raise NotImplementedError

    @abstractmethod
    def publish(self, staged: S, target: StoredName, *, overwrite: bool = False) -> Generator[None, None, None]:
        """Give a staged upload its name, in steps: whoever looks sees all of it or nothing.

        :param overwrite: replace what has the name.
        :raises FileExistsError: the name is taken. Whatever has it is as it was.
        :raises OSError: it failed otherwise.
        """

    @abstractmethod
    def withdraw(self, staged: S, target: StoredName) -> None:
        """Undo :meth:`reserve` and :meth:`publish`, also where they failed, unless another has the name by now."""

    @abstractmethod
    def is_taken(self, target: StoredName) -> bool:
        """Tell whether :meth:`publish` would find the name taken."""

    @abstractmethod
    def stat(self, name: str) -> FileInfo:
        """Return what is known of a file.

        :raises FileNotFoundError: the set has no such file.
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

        Names with a segment that begins with a dot are left out, as all other methods do not find them.
        """

    @abstractmethod
    def location(self, name: str) -> str:
        """Return where a name is kept, for people to read: a path, or a URL without secrets."""

    def exists(self, name: str) -> bool:
        """Tell whether the set has a file of this name."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def path(self, name: str) -> str:
        """Return the absolute path that a stored name has.

        :raises NotImplementedError: as here, where the files are not on the disk.
        """
        raise NotImplementedError(f"{self.location(name)} has no path, as it is on no disk: use open() or url()")

    def folder_path(self, folder: str) -> str:
        """Return where a folder is kept, as ``resolve_conflict`` is told; it need not exist."""
        return self.location(folder)

    def folder_name(self, folder_path: str) -> str:
        """Return the folder that :meth:`folder_path` returned this for."""
        return folder_path.removeprefix(self.folder_path("")).strip("/")

    #: Whether its calls wait for a network or a disk, so that it is better to make them side by side.
    is_slow: bool = False
    #: Whether it has :meth:`sign`.
    signs: bool = False

    def sign(self, name: str, seconds: int) -> str:
        """Return a URL by which everybody can fetch a file for some time.

        :raises NotImplementedError: the storage has no such URLs.
        """
        raise NotImplementedError(f"{self.location(name)} has no signed URL")


def not_found(name: str) -> FileNotFoundError:
    """Return the error for a name that no file of a set has."""
    return FileNotFoundError(errno.ENOENT, "The upload set has no such file", name)
