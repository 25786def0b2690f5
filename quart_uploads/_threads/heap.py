"""Advice to glibc's allocator, whose defaults suit neither large messages nor bursts of them. No other gets any."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable
from time import monotonic

#: A process is quiet if no more than so many bytes arrive in so many seconds.
QUIET, BUSY = 1.0, 16 << 20


def keep_large_blocks() -> None:
    """Have the memory of messages used again.

    glibc gives every freed message of 256 KiB back to the kernel and faults its pages in again for the next, until it
    has seen a larger block freed.
    """
    del bytearray(8 << 20)[:]


class FreeMemory:
    """The memory that bursts of messages leave in holes of the heap.

    To give it back takes time, and so does using it again, so it is done only when not much arrives.
    """

    def __init__(self) -> None:
        #: Bytes that have arrived.
        self.arrived: int = 0
        self._trim = _malloc_trim()
        self._due = 0.0

    def give_back_soon(self) -> None:
        """Give it back to the kernel when the process has become quiet."""
        if self._trim is None or monotonic() < self._due:
            return
        self._look_later(asyncio.get_running_loop(), self._trim)

    def _look_later(self, loop: asyncio.AbstractEventLoop, trim: Callable[[int], int]) -> None:
        self._due = monotonic() + 2 * QUIET
        loop.call_later(QUIET, self._look, loop, trim, self.arrived)

    def _look(self, loop: asyncio.AbstractEventLoop, trim: Callable[[int], int], arrived: int) -> None:
        if self.arrived - arrived <= BUSY:
            loop.run_in_executor(None, trim, 0)
        else:
            self._look_later(loop, trim)


def _malloc_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    function: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    return function


free_memory: FreeMemory = FreeMemory()
