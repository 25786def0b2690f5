"""One upload on its way into a set."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from blinker import NamedSignal
from werkzeug.datastructures import FileStorage

from .._names import StoredName, basename_in, check_basename, free_number
from .._receiving import BasePart
from .._threads import Steps, settled
from ..storage import StagedUpload, Storage
from .rules import Rules
from .sources import source_of

#: Names that an overridden ``resolve_conflict`` may offer in vain before it is taken to be broken.
MAX_ATTEMPTS = 1000


class Upload:
    """One upload on its way into a set, in four phases: a name, its bytes, the name for good, the end."""

    def __init__(
        self,
        rules: Rules,
        file: FileStorage | BasePart,
        folder: str | None,
        name: str | None,
        overwrite: bool,
        given: set[StoredName],
    ) -> None:
        self.rules = rules
        self.file = file
        #: The name it has, or is to get.
        self.target: StoredName = StoredName("", "")
        self._folder = folder
        self._name = name
        self._overwrite = overwrite
        self._source = source_of(file)
        self._storage: Storage
        # Names that the same operation gave, those of files of tests among them, which no storage knows of.
        self._given = given
        self._staged: StagedUpload | None = None
        # Whether the storage had to have a name before all was staged, and whether it was given any.
        self._is_reserved = False
        self._has_tried_names = False

    def choose_name(self) -> Steps[None]:
        """Decide whether it may be saved, and under which name."""
        sent = self.rules.sent_name(self.file)
        self._storage = self.rules.storage
        basename = yield from settled(self.rules.upload_set.get_basename(sent))
        self.target = self.rules.choose_name(self.file, basename, self._folder, self._name)

    def stage(self) -> Steps[None]:
        """Have all of it staged, unless it is already."""
        if (size := self._source.size) is not None:
            self._check_size(size)
        self._staged = self._source.claim(self._storage)
        if self._staged is None:
            yield from self._source.copy_to(self)

    def begin(self) -> StagedUpload:
        """Start staging."""
        staged: StagedUpload = self._storage.stage()
        self._staged = staged
        return staged

    def look_at(self, staged: StagedUpload) -> Steps[None]:
        """Look at what was staged so far: is it too much, and can the storage go on without a name?"""
        self._check_size(staged.size)
        if staged.needs_name:
            yield from self._take_name(self._storage.reserve)
            self._is_reserved = True

    def _check_size(self, size: int) -> None:
        self.rules.check_size(self.file, self.target.basename, size)

    def publish(self) -> Steps[None]:
        """Give it its name, or another one if that is taken."""
        if self._is_reserved:
            self._storage.publish(self._staged, self.target, overwrite=self._overwrite)
        else:
            yield from self._take_name(self._storage.publish)

    def _take_name(self, take: Callable[..., None]) -> Steps[None]:
        """Find a name that the storage gives it."""
        first, number, attempts = self.target, 0, 0
        while not (yield from self._try_name(take)):
            if self.rules.counts_up:
                number = self._count_up(first, number)
                continue
            attempts += 1
            answer = yield from self._ask_for_name(first)
            if attempts > MAX_ATTEMPTS or self.target.basename == answer != first.basename:
                raise FileExistsError(
                    errno.EEXIST,
                    f"{type(self.rules.upload_set).__name__}.resolve_conflict returned a name that is taken, again; "
                    "to replace the file, return the name that it was given, or save with overwrite=True",
                    self._storage.location(str(self.target)),
                )
            if answer != first.basename:
                self.target = StoredName(first.folder, answer)
                self.rules.check_renamed(self.file, first.basename, answer)
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
        folder = self._storage.folder_path(first.folder)
        answer = yield from settled(self.rules.upload_set.resolve_conflict(folder, first.basename))
        return check_basename(basename_in(folder, answer))

    def _is_taken(self, name: StoredName) -> bool:
        return name in self._given or self._storage.is_taken(name)

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
        self._storage.folder_path(self.target.folder)  # refuses a folder that leads out of the set
        if not self._overwrite and self._is_taken(self.target):
            return False
        self._given.add(self.target)
        yield from self._source.pretend_at(self._storage.location(str(self.target)))
        return True

    def withdraw(self, reason: BaseException) -> None:
        """Undo all that was done, because something failed. What stays is said in a note on the reason."""
        if self._staged is None:
            self._source.withdraw()
            return
        try:
            # What an overwriting upload has replaced cannot come back: better the new file than none.
            if self._has_tried_names and not self._overwrite:
                self._storage.withdraw(self._staged, self.target)
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
        if self._staged is not None and not self._source.owns(self._staged):
            self._staged.close()

    def announce(self, signal: NamedSignal, **values: Any) -> Steps[None]:
        """Send a signal about it."""
        rules = self.rules
        yield from settled(rules.framework.send(signal, upload_set=rules.upload_set, storage=self.file, **values))

    def explain(self, error: Exception) -> None:
        """Add to an operating system's error which file of which set it was about."""
        if isinstance(error, OSError):
            if error.filename is None:
                error.filename = self.file.filename
            set_name = self.rules.upload_set.name
            error.add_note(f"The upload {self.file.filename!r} was not saved in the upload set {set_name!r}.")
