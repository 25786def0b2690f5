"""The threads in which the async flavour makes its blocking calls."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from quart_uploads import workers
from quart_uploads.steps import in_thread


async def test_a_call_that_blocks_does_not_hold_up_others() -> None:
    release = threading.Event()
    blocked = [asyncio.create_task(in_thread(release.wait, 30)) for _ in range(3)]
    await asyncio.sleep(0)
    await in_thread(release.set)
    assert await asyncio.gather(*blocked) == [True, True, True]


async def test_a_result_does_not_wait_for_a_later_call_that_blocks() -> None:
    release = threading.Event()
    first, blocked = (asyncio.create_task(in_thread(call)) for call in (lambda: 1, lambda: release.wait(30)))
    assert await first == 1
    release.set()
    assert await blocked


async def test_calls_that_come_together_share_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    hops: list[Any] = []
    loop = asyncio.get_running_loop()
    run_in_executor = loop.run_in_executor
    monkeypatch.setattr(loop, "run_in_executor", lambda *args: hops.append(args) or run_in_executor(*args))
    assert await asyncio.gather(*(in_thread(abs, -number) for number in range(200))) == list(range(200))
    # One, but for a machine that stops for longer than others are let wait.
    assert len(hops) < 20


async def test_calls_wait_until_the_event_loop_is_idle_and_those_that_copy_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "DEFER", 60)
    for at_once in (False, True):
        begun = threading.Event()
        calls = [asyncio.create_task(in_thread(begun.set, at_once=at_once)) for _ in range(2)]
        for _ in range(20):
            await asyncio.sleep(0)
            time.sleep(0.01)
        assert begun.is_set() == at_once
        await asyncio.gather(*calls)


async def test_calls_wait_no_longer_than_a_moment_for_a_busy_event_loop() -> None:
    begun = threading.Event()
    call = asyncio.create_task(in_thread(begun.set))
    for _ in range(1000):
        await asyncio.sleep(0)
        time.sleep(0.01)
        if begun.is_set():
            break
    assert begun.is_set()
    await call


async def test_no_thread_joins_for_many_brief_calls() -> None:
    at_work: list[int] = []
    running = 0

    def brief() -> None:
        nonlocal running
        running += 1
        at_work.append(running)
        sum(range(2000))
        running -= 1

    await asyncio.gather(*(in_thread(brief) for _ in range(3000)))
    # A machine that stops for a moment looks like a disk.
    assert sum(number > 1 for number in at_work) < 1000


async def test_more_calls_than_a_thread_makes_in_its_shift_are_all_made() -> None:
    calls = [asyncio.create_task(in_thread(abs, -number)) for number in range(2000)]
    assert await asyncio.gather(*calls) == list(range(2000))


async def test_calls_are_refused_when_the_threads_are_gone() -> None:
    executor = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(executor)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        await asyncio.wait_for(in_thread(abs, 1), 10)


async def test_an_exception_in_a_thread_reaches_the_caller_alone() -> None:
    good, bad = await asyncio.gather(in_thread(int, "1"), in_thread(int, "x"), return_exceptions=True)
    assert good == 1
    assert isinstance(bad, ValueError)


async def test_calls_that_wait_for_a_network_are_made_side_by_side() -> None:
    together = threading.Barrier(3)
    calls = (in_thread(together.wait, 30, alone=True) for _ in range(3))
    assert sorted(await asyncio.gather(*calls)) == [0, 1, 2]


async def test_a_call_does_not_wait_for_the_next_look_while_another_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    blocked = asyncio.create_task(in_thread(release.wait, 30))
    await asyncio.sleep(0.05)
    monkeypatch.setattr(workers.Workers, "_watch", lambda *args: None)  # the look that would start a thread
    await asyncio.sleep(0.05)
    assert await in_thread(abs, -1) == 1
    release.set()
    assert await blocked


async def test_slow_calls_do_not_pile_up_in_the_executor() -> None:
    executor = ThreadPoolExecutor(2)
    asyncio.get_running_loop().set_default_executor(executor)
    calls = [asyncio.create_task(in_thread(time.sleep, 0.1)) for _ in range(8)]
    await asyncio.sleep(0.25)
    assert executor._work_queue.qsize() <= 1
    await asyncio.gather(*calls)


async def test_a_call_that_raises_stop_iteration_ends_with_an_error() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(in_thread(next, iter(())), 10)
    assert await in_thread(abs, -1) == 1


async def test_calls_that_wait_for_a_full_executor_do_not_keep_the_event_loop_busy() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    release = threading.Event()
    others = loop.run_in_executor(None, release.wait, 30)
    calls = []
    going_round = 0
    for _ in range(40):
        calls.append(asyncio.create_task(in_thread(abs, -1)))
        for _ in range(30):
            time.sleep(0.0003)  # so that no turn of the loop looks idle
            waiting = [repr(handle) for handle in loop._ready]  # type: ignore[attr-defined]
            going_round = max(going_round, sum("_start_when_idle" in handle for handle in waiting))
            await asyncio.sleep(0)
    assert going_round == 1
    release.set()
    assert await asyncio.gather(others, *calls) == [True, *[1] * 40]


async def test_a_thread_that_came_late_does_not_hold_up_others() -> None:
    """It was asked for when the executor was full, and begins when nothing was left to do for it."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(4))
    release, blocked = threading.Event(), threading.Event()
    others = [loop.run_in_executor(None, release.wait, 30) for _ in range(3)]
    slow = asyncio.create_task(in_thread(time.sleep, 0.03))
    await asyncio.sleep(0.002)
    others.append(loop.run_in_executor(None, release.wait, 30))
    await asyncio.gather(slow, in_thread(abs, -1))
    await asyncio.sleep(0.05)
    blocking = asyncio.create_task(in_thread(blocked.wait, 30))
    call = asyncio.create_task(in_thread(abs, -1))
    await asyncio.sleep(0.05)
    release.set()
    assert await call == 1
    blocked.set()
    assert await asyncio.gather(blocking, *others) == [True] * 5


async def test_calls_are_refused_when_the_executor_drops_what_waits() -> None:
    executor = ThreadPoolExecutor(1)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)
    release = threading.Event()
    others = loop.run_in_executor(None, release.wait, 30)
    call = asyncio.create_task(in_thread(abs, -1))
    await asyncio.sleep(0.05)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError, match="after shutdown"):
        await asyncio.wait_for(call, 10)
    release.set()
    await others
