"""Blocking work that is written once and driven by both flavours.

An operation is a generator. Between its yields it blocks as it likes. It yields ``None`` where other
work may go on, and by :func:`settled` what a hook returned, if a subclass of the async set made that
hook a coroutine. The sync driver just runs it. The async driver runs each step in a worker thread, so
that a whole small save costs one hop (100 to 150 microseconds).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from inspect import isawaitable
from typing import Any, TypeVar

from .worker import call_in_thread

T = TypeVar("T")

Steps = Generator[Any, Any, T]


class _Cancellation:
    """Whether a task was cancelled, for the thread that works for it."""

    def __init__(self) -> None:
        self._is_pending = False

    def request(self) -> None:
        self._is_pending = True

    def check(self) -> None:
        if self._is_pending:
            self._is_pending = False  # what cleans up after it may call this, too
            raise asyncio.CancelledError


_cancellation: ContextVar[_Cancellation | None] = ContextVar("cancellation", default=None)


def check_cancelled() -> None:
    """Raise if the task that waits for this call of a storage was cancelled.

    Call it now and then in a long transfer, in the thread that the storage was called in. It costs next to nothing. Let
    the error through: the storage is then asked to :meth:`~quart_uploads.storage.Storage.withdraw` the upload, unless
    it was to replace a file, and in any case the staged upload is closed. In Flask it never raises.

    :raises asyncio.CancelledError: the task was cancelled. It is raised only once, so that cleaning up can go on.
    """
    if (cancellation := _cancellation.get()) is not None:
        cancellation.check()


@contextmanager
def cancelled() -> Iterator[None]:
    """A context in which the next :func:`check_cancelled` raises, as if a task had been cancelled."""
    cancellation = _Cancellation()
    cancellation.request()
    token = _cancellation.set(cancellation)
    try:
        yield
    finally:
        _cancellation.reset(token)


@contextmanager
def uncancelled() -> Iterator[None]:
    """A context in which :func:`check_cancelled` never raises, for cleaning up."""
    token = _cancellation.set(None)
    try:
        yield
    finally:
        _cancellation.reset(token)


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

    If the task is cancelled, the operation is ended at its next yield or :func:`check_cancelled`, and has cleaned up
    when this returns.

    :param undo: is called in a thread if the task is cancelled, with the reason. The operation may have come to its
        end, though its result is lost.
    :param alone: see :func:`start_in_thread`.
    """

    cancellation = _Cancellation()

    async def advance(resume: Callable[[Any], Any], value: Any) -> tuple[bool, Any]:
        call = start_in_thread(_advance_for, cancellation, resume, value, alone=alone)
        return await completed(call, on_cancel=cancellation.request)

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


def _advance_for(cancellation: _Cancellation, resume: Callable[[Any], Any], value: Any) -> tuple[bool, Any]:
    _cancellation.set(cancellation)  # in the context of this call, which is a copy
    return _advance(resume, value)


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


async def completed(
    call: Awaitable[T],
    undo: Callable[[T], object] | None = None,
    on_cancel: Callable[[], None] = lambda: None,
) -> T:
    """Wait for work in a thread.

    :param undo: is given the result if nobody else will get it.
    :param on_cancel: is called on cancellation, before the work is waited for.

    A thread cannot be interrupted: on cancellation this waits until the work is done, so that nothing
    goes on behind the caller's back, and then raises :exc:`asyncio.CancelledError`.
    """
    future = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError as reason:
        on_cancel()
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue
        # The exception has to be retrieved, or asyncio would report it as lost.
        error = None if future.cancelled() else future.exception()
        for note in getattr(error, "__notes__", ()):  # what could not be cleaned up
            reason.add_note(note)
        if isinstance(error, Exception):
            reason.add_note(f"What was waited for failed: {error!r}")
        if not future.cancelled() and error is None and undo is not None:
            undo(future.result())
        raise
