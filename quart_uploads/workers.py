"""Worker threads for brief blocking calls, as few at a time as keep up.

Threads that make system calls take turns with the event loop, and with each other, for the interpreter lock at every
one of them. With 8 saves of 4 KiB at a time, each costs 183 microseconds on a pool of threads, but 29 if one thread
makes all calls that are waiting and wakes the event loop once. Without any threads it is 13.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

#: Another thread joins if in so many seconds each made fewer than so many calls: it waits for a disk, not for the lock.
PATIENCE, BRISK = 0.01, 3
#: Calls after which a thread makes room for others who use the executor.
SHIFT = 256


class Workers:
    """Makes the blocking calls of one event loop, in threads of its default executor."""

    def __init__(self) -> None:
        self._calls: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._outcomes: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._begun = 0
        self._working = 0
        self._is_starting = False
        self._is_watching = False

    def submit(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Have a call made; the future gets what it returns or raises."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._calls.append((future, call))
        if not self._working:
            self._start_soon(loop)
        return future

    def _start_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a thread when this turn of the event loop is over: it may bring more calls."""
        if not self._is_starting:
            self._is_starting = True
            loop.call_soon(self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_starting = False
        try:
            work = loop.run_in_executor(None, self._work)
        except RuntimeError as error:  # the executor was shut down
            while self._calls:
                self._calls.popleft()[0].set_exception(error)
            return
        self._working += 1
        work.add_done_callback(lambda _: self._finish(loop))
        if not self._is_watching:
            self._is_watching = True
            loop.call_later(PATIENCE, self._watch, loop, self._begun)

    def _work(self) -> None:
        """Make the calls that are waiting; in a thread."""
        for _ in range(SHIFT):
            try:
                future, call = self._calls.popleft()
            except IndexError:
                return
            self._begun += 1
            try:
                self._outcomes.append((future, call(), None))
            except BaseException as error:
                self._outcomes.append((future, None, error))

    def _finish(self, loop: asyncio.AbstractEventLoop) -> None:
        self._working -= 1
        self._tell()
        if self._calls and not self._working:
            self._start_soon(loop)

    def _watch(self, loop: asyncio.AbstractEventLoop, begun: int) -> None:
        """Look now and then whether the threads come on."""
        self._tell()
        if self._calls and self._begun - begun < BRISK * self._working:
            self._start(loop)
        self._is_watching = bool(self._working)
        if self._is_watching:
            loop.call_later(PATIENCE, self._watch, loop, self._begun)

    def _tell(self) -> None:
        while self._outcomes:
            future, result, error = self._outcomes.popleft()
            if future.done():  # cancelled by who waited for it
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


_workers: WeakKeyDictionary[asyncio.AbstractEventLoop, Workers] = WeakKeyDictionary()


def call_in_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """Have a blocking call made in a thread, together with others of the running event loop."""
    loop = asyncio.get_running_loop()
    workers = _workers.get(loop)
    if workers is None:
        workers = _workers[loop] = Workers()
    return workers.submit(call)
