"""Cancel a coroutine at its n-th wait, so that a test can cancel it at every wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, Self


class CancelledAt:
    """Awaits a coroutine, and cancels its task at one wait and at the next ones, like a lost client."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], wait: int, times: int = 1) -> None:
        self._coroutine = coroutine
        self._waits = range(wait, wait + times)
        self.count = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        return _Counted(self._coroutine, self._suspend).__await__()

    def _suspend(self) -> None:
        if self.count in self._waits:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        self.count += 1


async def cancel_everywhere(
    start: Callable[[], Coroutine[Any, Any, Any]], check: Callable[[bool], Awaitable[None] | None]
) -> int:
    """Run a coroutine again and again, cancelled at its first wait, its second, and so on, until it ends before.

    :param check: is told after each run whether it was cancelled.
    :returns: how often it was cancelled.
    """
    cancelled = 0
    for times in (1, 2, 4):
        for wait in range(1000):

            async def run(wait: int = wait, times: int = times) -> bool:
                waiting = CancelledAt(start(), wait, times)
                was_cancelled = False
                try:
                    await waiting
                except* asyncio.CancelledError:  # Quart 0.23 has a group of what went wrong when a request ended
                    was_cancelled = True
                assert was_cancelled or waiting.count <= wait, "a cancellation was lost"
                return was_cancelled

            # In a task of its own, whose cancellations end with it.
            was_cancelled = await asyncio.create_task(run())
            checked = check(was_cancelled)
            if checked is not None:
                await checked
            cancelled += was_cancelled
            if not was_cancelled:
                break
    return cancelled


class Canceller:
    """Counts the waits of all tasks that the running loop starts from now on, and cancels the task of the n-th wait.

    :param at: the number of the wait, from 1.
    :param then: is called when that was done.
    """

    def __init__(self, at: int, then: Callable[[], object]) -> None:
        self.count = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self._at = at
        self._then = then

    def __enter__(self) -> Self:
        asyncio.get_running_loop().set_task_factory(self._start)
        return self

    def __exit__(self, *exc_info: object) -> None:
        asyncio.get_running_loop().set_task_factory(None)

    @property
    def is_done(self) -> bool:
        """True if there were so many waits."""
        return self.count >= self._at

    async def finish(self) -> None:
        """Wait for all tasks that were started."""
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _start(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        async def counted() -> Any:
            return await _Counted(coroutine, self._suspend)

        task = asyncio.Task(counted(), loop=loop, **kwargs)
        self.tasks.append(task)
        return task

    def _suspend(self) -> None:
        self.count += 1
        if self.count == self._at:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            self._then()


class _Counted:
    def __init__(self, coroutine: Coroutine[Any, Any, Any], suspend: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._suspend = suspend

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            try:
                future = resume()
            except StopIteration as stop:
                return stop.value
            self._suspend()
            try:
                yield future
                resume = partial(self._coroutine.send, None)
            except BaseException as error:
                resume = partial(self._coroutine.throw, error)
