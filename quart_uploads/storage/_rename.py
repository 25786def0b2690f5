"""Rename a file unless the new name is taken. This is for file systems without hard links.

Python has no function for it: :func:`os.rename` replaces a file that has the name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # renameat2(2)
_RENAME_EXCL = 4  # renamex_np(2)


def rename_exclusively(source: str, target: str) -> None:
    """Rename a file atomically, unless the target exists.

    :param source: the path of the file.
    :param target: its new path.
    :raises FileExistsError: the target exists.
    :raises OSError: another error occurred. With ENOTSUP, the platform has no such call.
    """
    library = ctypes.CDLL(None, use_errno=True)
    old, new = os.fsencode(source), os.fsencode(target)
    if hasattr(library, "renameat2"):
        failed = library.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_NOREPLACE)
    elif sys.platform == "darwin":
        failed = library.renamex_np(old, new, _RENAME_EXCL)
    else:
        raise OSError(errno.ENOTSUP, "The file system has neither hard links nor an exclusive rename", target)
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)
