"""Uploads as the library's own request classes give them to views."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from time import sleep
from typing import IO

from werkzeug.datastructures import FileStorage

from .._names import StoredName
from .._threads import Steps
from ..storage import PIPE_PAUSE, LocalStorage
from .part_head import PartHead
from .spool import Spool


class BaseReceivedFile(FileStorage):
    """An upload that was staged while it arrived, so that saving it only has to publish it."""

    spool: Spool

    def __init__(self, spool: Spool, head: PartHead) -> None:
        super().__init__(None, head.filename, head.name, headers=head.headers)
        self.spool = spool
        #: Whether the app put another stream in the place of what was received.
        self.is_replaced: bool = False
        self._reader: IO[bytes] | None = None

    @property
    def stream(self) -> IO[bytes]:
        """The content, for reading. It is opened when it is first asked for: few views do."""
        if self.is_replaced:
            return self._replacement
        if self._reader is None:
            self._reader = self.spool.open()
        return self._reader

    @stream.setter
    def stream(self, stream: IO[bytes]) -> None:
        self._replacement = stream
        self.is_replaced = True

    @property
    def content_length(self) -> int:
        """The size of the content in bytes."""
        return super().content_length if self.is_replaced else self.spool.size

    def close(self) -> None:
        """Give the content up, on the disk too. The request does it when it ends."""
        if self.is_replaced:
            self._replacement.close()
        if self._reader is not None:
            self._reader.close()
        self.spool.close()

    def _save_as(self, path: str | os.PathLike[str]) -> Steps[None]:
        """Store the content under a path: as a new file in one step, or in the file that is there."""
        # What is behind the path's links, as the system finds it: "link/.." is not where the link is.
        folder, basename = os.path.split(os.fspath(path))
        if basename and not os.path.lexists(path):
            with suppress(FileExistsError):  # it is there by now
                self._publish_in(os.path.realpath(folder), basename)
                return
        # Who made it may hold it open, or rely on its mode, its owner, or that it is a link, a pipe or a device.
        # It is emptied only when it is known that there is something to write, and that it is not the upload itself.
        descriptor = yield from _opened(path)
        with open(descriptor, "wb", buffering=0) as file:
            for count in self.spool.write_to(file.fileno()):
                if not count:
                    yield

    def _publish_in(self, folder: str, basename: str) -> None:
        storage = LocalStorage(folder)
        staged = self.spool.claim(storage) or storage.stage()
        try:
            if not self.spool.owns(staged):
                for pieces in self.spool.pieces():
                    staged.write_all(pieces)
            storage.publish(staged, StoredName("", basename))
        finally:
            if not self.spool.owns(staged):
                staged.close()


def _opened(path: str | os.PathLike[str]) -> Steps[int]:
    """Open what is to be written into, and return its descriptor."""
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        except OSError as error:
            # A pipe that nobody reads yet. The call would wait for a reader, and nobody could end it.
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                raise
        sleep(PIPE_PAUSE)
        yield
