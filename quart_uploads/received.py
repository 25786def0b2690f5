"""Uploads as the library's own request classes give them to views."""

from __future__ import annotations

import os
from typing import IO

from werkzeug.datastructures import FileStorage

from .forms import PartHead
from .names import StoredName
from .steps import drive
from .storage import LocalStorage, Spool


class BaseReceivedFile(FileStorage):
    """An upload that was staged while it arrived, so that saving it only has to publish it."""

    spool: Spool

    def __init__(self, spool: Spool, head: PartHead) -> None:
        super().__init__(None, head.filename, head.name, headers=head.headers)
        self.spool = spool
        self._stream: IO[bytes] | None = None

    @property
    def stream(self) -> IO[bytes]:
        """The content, for reading. It is opened when it is first asked for: few views do."""
        if self._stream is None:
            self._stream = self.spool.open()
        return self._stream

    @stream.setter
    def stream(self, stream: IO[bytes]) -> None:
        self._stream = stream

    @property
    def content_length(self) -> int:
        """The size of the content in bytes."""
        return self.spool.size

    def close(self) -> None:
        """Let go of the content, on the disk too. The request does it when it ends."""
        if self._stream is not None:
            self._stream.close()
        self.spool.close()

    def _save_as(self, path: str | os.PathLike[str]) -> None:
        """Store the content under a path, in the place of what is there."""
        directory, basename = os.path.split(os.path.abspath(path))
        storage = LocalStorage(directory)
        staged = drive(self.spool.claiming(storage))
        try:
            storage.publish(staged, StoredName("", basename), overwrite=True)
        finally:
            if not self.spool.owns(staged):
                staged.close()
