"""Make directories, and write their entries to the disk."""

from __future__ import annotations

import errno
import os


def make_directory(path: str, *, fsync: bool) -> None:
    """Make a directory and its parents, unless they exist.

    :param path: the absolute path of the directory.
    :param fsync: if true, return only after the new directories are on the disk.
    :raises NotADirectoryError: a part of the path is not a directory.
    :raises OSError: a directory could not be made.
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
            # Callers would take FileExistsError to mean that the name of an upload is taken.
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from error
    if fsync:
        sync_directories(parent, parent)


def sync_directories(lowest: str, highest: str) -> None:
    """Write the entries of directories to the disk (fsync(2)).

    :param lowest: the absolute path of the first directory.
    :param highest: the last one: ``lowest`` itself or a directory above it.
    :raises OSError: a directory could not be opened or written to the disk.
    """
    while True:
        descriptor = os.open(lowest, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network and FUSE file systems do not support fsync(2) for directories, and need none.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)
        if lowest == highest:
            return
        lowest = os.path.dirname(lowest)
