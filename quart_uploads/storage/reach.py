"""What a path leads to, whatever symbolic links are put in its way meanwhile.

Looking at a path and then using it are two steps, and between them a folder may become a link to somewhere else. So
the thing is opened first, and what was opened is looked at and used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# With O_PATH nothing is read and no device is started (open(2)), and a file needs no permission to be read.
_FLAGS = getattr(os, "O_PATH", 0) | os.O_CLOEXEC
_HAS_LINKS_OF_DESCRIPTORS = hasattr(os, "O_PATH") and os.path.exists("/proc/self/fd")


@contextmanager
def reached(path: str) -> Iterator[tuple[str, str]]:
    """Yield where a path really leads to, free of links, and a path by which that very thing can be used meanwhile.

    Where descriptors have no links in ``/proc``, both are what the path was resolved to: a folder of it that is
    exchanged later is followed.

    :raises OSError: there is no such thing, or no way to it.
    """
    if not _HAS_LINKS_OF_DESCRIPTORS:
        real = os.path.realpath(path, strict=True)
        yield real, real
        return
    descriptor = os.open(path, _FLAGS)
    try:
        link = f"/proc/self/fd/{descriptor}"
        yield os.readlink(link), link
    finally:
        os.close(descriptor)
