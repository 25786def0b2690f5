"""Blocking work that is written once and driven by both flavours.

An operation is a generator. Between its yields it blocks as it likes. It yields ``None`` where other
work may go on, and by :func:`settled` what a hook returned, if a subclass of the async set made that
hook a coroutine. The sync driver just runs it. The async driver runs each step in a worker thread, so
that a whole small save costs one hop (100 to 150 microseconds).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from typing import Any, TypeVar

from .worker import call_in_thread

T = TypeVar("T")

Steps = Generator[Any, Any, T]


def settled(value: Any) -> Steps[Any]:
    """Return what a hook returned, once the driver has awaited it if it has to be."""
    if not isawaitable(value):
        return value
    try:
        return (yield value)
    except GeneratorExit:
        # The operation was ended before the driver awaited it, and Python would warn of that.
        getattr(value, "close", lambda: None)()
        raise


def drive(steps: Steps[T]) -> T:
    """Run an operation to its end in this thread.

    :raises TypeError: a hook is a coroutine, which nobody here can await.
    """
    while True:
        try:
            awaited = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if awaited is not None:
            getattr(awaited, "close", lambda: None)()
            steps.throw(TypeError(f"A hook of a blocking upload set must not be a coroutine, as {awaited!r} is"))


async def drive_async(
    steps: Steps[T],
    *,
    undo: Callable[[BaseException], None] = lambda reason: None,
    alone: bool = False,
) -> T:
    """Run an operation in worker threads, and what its hooks returned on the event loop.

    If the task is cancelled, the operation is ended at its next yield and has cleaned up when this returns.

    :param undo: is called in a thread if the task is cancelled, with the reason. The operation may have come to its
        end, though its result is lost.
    :param alone: see :func:`start_in_thread`.
    """

    async def advance(resume: Callable[[Any], Any], value: Any) -> tuple[bool, Any]:
        return await in_thread(_advance, resume, value, alone=alone)

    def end(reason: BaseException) -> None:
        steps.close()
        undo(reason)

    try:
        return await _drive(steps, advance)
    except asyncio.CancelledError as reason:
        await in_thread(end, reason, alone=alone)
        raise


async def drive_inline(steps: Steps[T]) -> T:
    """Run an operation that does not block by itself on the event loop."""

    async def advance(resume: Callable[[Any], Any], value: Any) -> tuple[bool, Any]:
        return _advance(resume, value)

    return await _drive(steps, advance)


async def _drive(steps: Steps[T], advance: Callable[[Callable[[Any], Any], Any], Awaitable[tuple[bool, Any]]]) -> T:
    resume: Callable[[Any], Any] = steps.send
    value: Any = None
    while True:
        finished, value = await advance(resume, value)
        if finished:
            result: T = value
            return result
        resume = steps.send
        if isawaitable(value):
            try:
                value = await value
            except BaseException as error:  # the operation has to clean up whatever it was
                resume, value = steps.throw, error


def _advance(resume: Callable[[Any], Any], value: Any) -> tuple[bool, Any]:
    # A future cannot carry StopIteration.
    try:
        return False, resume(value)
    except StopIteration as stop:
        return True, stop.value


async def in_thread(function: Callable[..., T], /, *args: Any, alone: bool = False) -> T:
    """Call a blocking function in a worker thread and wait for it; see :func:`completed`."""
    return await completed(start_in_thread(function, *args, alone=alone))


def start_in_thread(function: Callable[..., T], /, *args: Any, alone: bool = False) -> asyncio.Future[T]:
    """Call a blocking function in a worker thread, with the caller's context.

    :param alone: whether to make the call in a thread of its own, as it is a slow one. Others are made one after the
        other, which costs less.
    """
    bound = partial(copy_context().run, function, *args)
    if alone:
        return asyncio.get_running_loop().run_in_executor(None, bound)
    return call_in_thread(bound)


async def completed(call: Awaitable[T], undo: Callable[[T], object] | None = None) -> T:
    """Wait for work in a thread.

    :param undo: is given the result if nobody else will get it.

    A thread cannot be interrupted: on cancellation this waits until the work is done, so that nothing
    goes on behind the caller's back, and then raises :exc:`asyncio.CancelledError`.
    """
    future = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue
        # The exception has to be retrieved, or asyncio would report it as lost.
        if not future.cancelled() and future.exception() is None and undo is not None:
            undo(future.result())
        raise
