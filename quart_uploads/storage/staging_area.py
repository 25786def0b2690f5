"""The staging area for uploads that do not belong to a set yet."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable

from .local import LocalStorage
from .staged_file import StagedFile

# Errors that mean that this directory cannot be used, so that the next one is tried.
_NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT})

_log = logging.getLogger(__name__)


class StagingArea:
    """Stages uploads in the first directory of a list that can be written to.

    :param directories: the paths of the directories, in order of preference.
    """

    def __init__(self, directories: Iterable[str]) -> None:
        self._storages = [LocalStorage(directory) for directory in dict.fromkeys(directories)]

    @property
    def directory(self) -> str:
        """The directory that is tried first for the next upload."""
        return self._storages[0].root

    def stage(self) -> StagedFile:
        """Start a new file that is not visible. This blocks.

        :raises OSError: none of the directories can be made or written to, or another error occurred.
        """
        while True:
            storages = self._storages
            try:
                return storages[0].stage()
            except OSError as error:
                if error.errno not in _NOT_WRITABLE or len(storages) == 1:
                    raise
                _log.warning(
                    "Uploads cannot be staged in %s (%s), trying %s instead", storages[0].root, error, storages[1].root
                )
                self._storages = storages[1:]
