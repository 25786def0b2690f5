"""Directories: made one by one, and on the disk if that is asked for."""

from __future__ import annotations

import errno
import os


def make_directory(path: str, *, fsync: bool) -> None:
    """Make a directory, if it is not there, and those above it.

    :param fsync: return when they would survive a loss of power.
    :raises NotADirectoryError: something else has the name.
    """
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        make_directory(parent, fsync=fsync)
    try:
        os.mkdir(path)
    except FileExistsError as error:
        if not os.path.isdir(path):
            # To a caller, FileExistsError would mean that an upload's name is taken.
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from error
    if fsync:
        sync_directories(parent, parent)


def sync_directories(lowest: str, highest: str) -> None:
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
