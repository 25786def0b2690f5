"""Where uploads are staged before it is known which set they are for."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable

from .local import LocalStorage
from .staged_file import StagedFile

# What a directory answers that cannot be made or written to, though others may be.
_NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT})

_log = logging.getLogger(__name__)


class StagingArea:
    """Stages uploads in the first of some directories that can be written to.

    :param directories: in the order of preference.
    """

    def __init__(self, directories: Iterable[str]) -> None:
        self._storages = [LocalStorage(directory) for directory in dict.fromkeys(directories)]

    @property
    def directory(self) -> str:
        """Where the next upload is tried to be staged."""
        return self._storages[0].root

    def stage(self) -> StagedFile:
        """Start a new file that nobody sees. Blocks.

        :raises OSError: none of the directories can be made or written to, or the disk is full.
        """
        while True:
            storages = self._storages
            try:
                return storages[0].stage()
            except OSError as error:
                if error.errno not in _NOT_WRITABLE or len(storages) == 1:
                    raise
                _log.warning(
                    "Uploads cannot be staged in %s (%s), but are in %s", storages[0].root, error, storages[1].root
                )
                self._storages = storages[1:]
