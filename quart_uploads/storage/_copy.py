"""Copy the content of an open file, in the kernel if possible.

That is cheaper, and some file systems then let both files share their blocks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from time import sleep

from .stored_file import CHUNK, STRIDE

# Errors of the kernel if it cannot copy: EXDEV and EOPNOTSUPP between some file systems, EINVAL for pipes and devices,
# EBADF for files opened with O_APPEND, ENOTSOCK on systems where sendfile(2) only writes to sockets.
_CANNOT = frozenset(
    {errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF, errno.EPERM, errno.ENOTSOCK}
)

#: Seconds to wait before the next write to a full pipe.
PIPE_PAUSE = 0.01


def copied(source: int, target: int) -> Iterator[int]:
    """Copy a whole file to the current position of another. Yield the number of bytes of each step; 0 for a full pipe.

    :param source: the descriptor of the file to copy. Its position does not move.
    :param target: the descriptor of the file to write to.
    :raises OSError: one of the files could not be read or written.
    """
    offset = 0
    for copy in _KERNEL_COPIES:
        try:
            for count in _each(partial(copy, source, target), offset):
                offset += count
                yield count
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
    yield from _each(partial(_read_and_write, source, target), offset)


def written(target: int, content: bytes) -> Iterator[int]:
    """Write bytes to an open file. Yield the number of bytes of each step; 0 for a full pipe.

    :param target: the descriptor of the file.
    :raises OSError: the bytes could not be written.
    """
    view = memoryview(content)
    return _each(lambda offset: os.write(target, view[offset:]), 0)


def _each(copy: Callable[[int], int], offset: int) -> Iterator[int]:
    while True:
        try:
            count = copy(offset)
        except BlockingIOError:
            # The pipe is full. It was opened with O_NONBLOCK, because a blocked write(2) could not be cancelled.
            sleep(PIPE_PAUSE)
            yield 0
            continue
        if not count:
            return
        offset += count
        yield count


def _read_and_write(source: int, target: int, offset: int) -> int:
    return os.write(target, os.pread(source, CHUNK, offset))


def _copy_range(source: int, target: int, offset: int) -> int:
    return os.copy_file_range(source, target, STRIDE, offset)


def _send(source: int, target: int, offset: int) -> int:
    return os.sendfile(target, source, offset, STRIDE)


_KERNEL_COPIES = [copy for copy, call in ((_copy_range, "copy_file_range"), (_send, "sendfile")) if hasattr(os, call)]
