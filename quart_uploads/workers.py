"""Worker threads for brief blocking calls, as few at a time as keep up.

Threads that make system calls take turns with the event loop, and with each other, for the interpreter lock at every
one of them. With 8 saves of 4 KiB at a time, each costs 183 microseconds on a pool of threads, but 29 if one thread
makes all calls that are waiting and wakes the event loop once. Without any threads it is 13.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic, thread_time
from typing import Any
from weakref import WeakKeyDictionary

#: Seconds for which no first thread is started while the event loop is at other work, which takes SOME each time it
#: comes round. They would fight for the lock, and that work may bring more calls: 15 % more uploads of 4 KiB.
DEFER, SOME = 0.02, 0.00005
#: Seconds that calls wait until another thread joins, if the last ones took more than BRIEF each while the event loop
#: had little to do: so they wait for a disk, or copy. Others need the lock most of the time.
PATIENCE, BRIEF = 0.005, 0.00025
#: Seconds after which a call must wait for a disk, where the event loop has little to do and where it has much: each
#: of its system calls may then wait 5 milliseconds for the lock (sys.setswitchinterval).
STUCK, STUCK_WHILE_BUSY = 0.02, 0.1
#: Calls, and seconds, after which a thread makes room for others who use the executor.
SHIFT, TURN = 256, 0.05


class Workers:
    """Makes the blocking calls of one event loop, in threads of its default executor."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._outcomes: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        # When each thread began with what it is at.
        self._since: dict[object, float] = {}
        self._is_starting = False
        self._start_by = 0.0
        self._is_queued = False
        self._is_watching = False
        # Since the last look: the time, the CPU seconds of the event loop, and the calls that were made.
        self._looked = (0.0, 0.0)
        self._made = 0
        self._is_busy = False

    def submit(self, call: Callable[[], Any], at_once: bool) -> asyncio.Future[Any]:
        """Have a call made; the future gets what it returns or raises."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._calls.append((monotonic(), future, call))
        if not self._has_prompt_thread():
            self._start_soon(loop, at_once)
        return future

    def _has_prompt_thread(self) -> bool:
        recently = monotonic() - (STUCK_WHILE_BUSY if self._is_busy else STUCK)
        return any(since > recently for since in tuple(self._since.values()))

    def _start_soon(self, loop: asyncio.AbstractEventLoop, at_once: bool = False) -> None:
        latest = monotonic() + (0 if at_once else DEFER)
        if self._is_starting:
            self._start_by = min(self._start_by, latest)
        else:
            self._is_starting, self._start_by = True, latest
            loop.call_soon(self._start_when_idle, loop, 0.0)

    def _start_when_idle(self, loop: asyncio.AbstractEventLoop, last: float) -> None:
        now = monotonic()
        if now - last < SOME or now >= self._start_by:
            self._is_starting = False
            self._start(loop)
        else:
            loop.call_soon(self._start_when_idle, loop, now)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_queued:  # for a thread of the executor, all of which are busy
            return
        self._is_queued = True
        try:
            work = loop.run_in_executor(None, self._work)
        except RuntimeError as error:  # the executor was shut down, or the system gives it no more threads
            self._is_queued = False
            if not self._since:
                self._fail(error)
            return
        work.add_done_callback(partial(self._finish, loop))
        if not self._is_watching:
            self._watch_on(loop)

    def _work(self) -> None:
        """Make the calls that are waiting; in a thread."""
        me, start = object(), monotonic()
        self._since[me] = start
        self._is_queued = False
        for _ in range(SHIFT):
            try:
                _, future, call = self._calls.popleft()
            except IndexError:
                break
            try:
                self._outcomes.append((future, call(), None))
            except BaseException as error:
                self._outcomes.append((future, None, error))
            self._since[me] = now = monotonic()
            if now - start > TURN:
                break
        del self._since[me]

    def _finish(self, loop: asyncio.AbstractEventLoop, work: asyncio.Future[None]) -> None:
        if work.cancelled():  # by the shutdown of the executor, before it began
            self._is_queued = False
        self._tell()
        if self._calls and not self._has_prompt_thread():
            self._start_soon(loop)

    def _watch_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_watching = True
        self._looked, self._made = (monotonic(), thread_time()), 0
        loop.call_later(PATIENCE, self._watch, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look now and then whether the threads come on."""
        self._tell()
        elapsed = monotonic() - self._looked[0]
        self._is_busy = thread_time() - self._looked[1] > elapsed / 2
        is_slow = self._made * BRIEF < elapsed * len(self._since)
        if self._is_overdue() and ((is_slow and not self._is_busy) or not self._has_prompt_thread()):
            self._start(loop)
        self._is_watching = False
        if self._calls or self._since or self._outcomes or self._is_queued:
            self._watch_on(loop)
        else:
            self._is_busy = False

    def _is_overdue(self) -> bool:
        try:
            return monotonic() - self._calls[0][0] >= PATIENCE
        except IndexError:
            return False

    def _tell(self) -> None:
        while self._outcomes:
            future, result, error = self._outcomes.popleft()
            self._made += 1
            if future.done():  # cancelled by who waited for it
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                # It would end the coroutine that awaits it, as if that had returned.
                reason = RuntimeError("a blocking call raised StopIteration")
                reason.__cause__ = error
                future.set_exception(reason)
            else:
                future.set_exception(error)

    def _fail(self, error: RuntimeError) -> None:
        while self._calls:
            _, future, _ = self._calls.popleft()
            if not future.done():
                future.set_exception(error)


_workers: WeakKeyDictionary[asyncio.AbstractEventLoop, Workers] = WeakKeyDictionary()


def call_in_thread(call: Callable[[], Any], *, at_once: bool = False) -> asyncio.Future[Any]:
    """Have a blocking call made in a thread, together with others of the running event loop.

    :param at_once: do not wait until the event loop has nothing else to do.
    """
    loop = asyncio.get_running_loop()
    workers = _workers.get(loop)
    if workers is None:
        workers = _workers[loop] = Workers()
    return workers.submit(call, at_once)
