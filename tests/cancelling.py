"""Cancel a coroutine where it waits for the n-th time, so that a test can do it everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any


class CancelledAt:
    """Awaits a coroutine, and cancels its task at one of its waits and at the next ones, as a lost client does."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], wait: int, times: int = 1) -> None:
        self._coroutine = coroutine
        self._waits = range(wait, wait + times)
        self.count = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            try:
                future = resume()
            except StopIteration as stop:
                return stop.value
            if self.count in self._waits:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            self.count += 1
            try:
                yield future
                resume = partial(self._coroutine.send, None)
            except BaseException as error:
                resume = partial(self._coroutine.throw, error)


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
                try:
                    await waiting
                except asyncio.CancelledError:
                    return True
                assert waiting.count <= wait, "a cancellation was lost"
                return False

            # In a task of its own, whose cancellations end with it.
            was_cancelled = await asyncio.create_task(run())
            checked = check(was_cancelled)
            if checked is not None:
                await checked
            cancelled += was_cancelled
            if not was_cancelled:
                break
    return cancelled
