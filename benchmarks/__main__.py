"""Benchmarks of concurrent uploads: ``nox -s bench``, or ``python benchmarks`` where everything is installed.

In every round all systems run at the same time, and each cell (one load, as "4 KiB from 8 clients") is measured on one
system after the other, while those that wait are idle. So the figures that are compared are seconds apart.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import plots
import report
import scenarios
from engine import engine
from load import MIB
from obstore.exceptions import BaseError
from records import Record, human_size
from systems import Server, System, allow_many_files, find_systems, running

KIB, GIB = 1 << 10, 1 << 30


@dataclass(frozen=True)
class Plan:
    """What to measure, and for how long."""

    rounds: int
    #: Seconds of each upload or download cell.
    seconds: float
    #: Sizes, and how many clients upload each.
    uploads: dict[int, tuple[int, ...]]
    #: How many clients upload how many files of one name each.
    one_name: tuple[int, int]
    #: Sizes that go to an object store, and how many clients upload each.
    objects: dict[int, int]
    #: Sizes that are served.
    downloads: tuple[int, ...]
    sleeping: int
    half_sent: int


PLANS = {
    "full": Plan(
        rounds=3,
        seconds=1.0,
        uploads={
            4 * KIB: (1, 8, 64, 256),
            256 * KIB: (1, 8, 64),
            10 * MIB: (1, 8, 64),
            100 * MIB: (1, 8, 64),
            GIB: (1, 8),
        },
        one_name=(8, 125),
        objects={4 * KIB: 8, 10 * MIB: 8, 100 * MIB: 1},
        downloads=(20_000, 100 * MIB),
        sleeping=GIB,
        half_sent=500,
    ),
    "quick": Plan(
        rounds=2,
        seconds=0.3,
        uploads={4 * KIB: (8,), 100 * MIB: (1,)},
        one_name=(8, 15),
        objects={10 * MIB: 8},
        downloads=(),
        sleeping=0,
        half_sent=0,
    ),
    "smoke": Plan(
        rounds=1,
        seconds=0.1,
        uploads={4 * KIB: (1, 2), 256 * KIB: (1, 2)},
        one_name=(2, 3),
        objects={256 * KIB: 2},
        downloads=(20_000,),
        sleeping=256 * KIB,
        half_sent=2,
    ),
}


@dataclass(frozen=True)
class Cell:
    """One load."""

    scenario: str
    label: str
    measure: Callable[[Server], Record | None]
    #: Bytes that all clients send at the same time.
    at_once: int = 0
    #: Whether it is for the systems that save into an object store, or for the others.
    engine: bool = False
    #: Whether it is about the memory of a process that has done nothing before. One round is enough.
    fresh: bool = False


def cells(plan: Plan) -> Iterator[Cell]:
    """The loads of a plan, small before large, so that memory which a process keeps is that of smaller ones."""
    for size, numbers in plan.uploads.items():
        for clients in numbers:
            yield Cell(
                "upload",
                f"{human_size(size)} from {clients} client{'s' * (clients > 1)}",
                partial(scenarios.upload, size=size, clients=clients, seconds=plan.seconds),
                size * clients,
            )
    for size, clients in plan.objects.items():
        yield Cell(
            "upload",
            f"{human_size(size)} from {clients} client{'s' * (clients > 1)} to S3",
            partial(scenarios.upload, size=size, clients=clients, seconds=plan.seconds),
            size * clients,
            engine=True,
        )
    clients, count = plan.one_name
    yield Cell(
        "one name",
        f"{clients * count} uploads of one name",
        partial(scenarios.upload, size=4 * KIB, clients=clients, seconds=0, name="same.bin", count=count),
    )
    for size in plan.downloads:
        for part in (None, slice(1000, 1000 + size // 10)):
            yield Cell(
                "download",
                f"{human_size(size)} served{' in part' if part else ''}",
                partial(scenarios.download, size=size, clients=8, seconds=plan.seconds, part=part),
            )
    if plan.half_sent:
        yield Cell(
            "half sent",
            f"{plan.half_sent} half-sent uploads",
            partial(scenarios.half_sent, clients=plan.half_sent),
            fresh=True,
        )
    if plan.sleeping:
        yield Cell(
            "sleeping",
            f"{human_size(plan.sleeping)} to a sleeping view",
            partial(scenarios.sleeping_view, size=plan.sleeping),
            plan.sleeping,
            fresh=True,
        )


def measure(systems: list[System], plan: Plan, directory: Path) -> Iterator[Record]:
    """Run all rounds, and yield a record for every cell and system."""
    for number in range(1, plan.rounds + 1):
        for with_engine in (False, True):
            chosen = [system for system in systems if system.engine == with_engine]
            with ExitStack() as stack:
                store = stack.enter_context(engine()) if chosen and with_engine else None
                starting = [running(system, directory / f"{number}-{system.key}", store) for system in chosen]
                with ThreadPoolExecutor(4) as pool:
                    servers = list(pool.map(stack.enter_context, starting))
                for cell in cells(plan):
                    if cell.engine == with_engine and not cell.fresh:
                        for server in servers:
                            yield from _recorded(cell, server, number, plan.rounds)
    for cell in cells(plan):
        if cell.fresh:
            for system in systems:
                if not system.engine:
                    with running(system, directory / f"{cell.scenario.split()[0]}-{system.key}") as server:
                        yield from _recorded(cell, server, 1, 1)


def _recorded(cell: Cell, server: Server, number: int, rounds: int) -> Iterator[Record]:
    record = _measured(cell, server)
    if record is not None:
        about = {"scenario": cell.scenario, "label": cell.label, "system": server.system.key, "round": number}
        record = {**about, **record}
        print(f"{number}/{rounds}  {report.line(record)}", flush=True)
        yield record


def _measured(cell: Cell, server: Server) -> Record | None:
    # A system that neither limits what it receives nor streams it has it in memory, in temporary files (which on
    # tmpfs are memory) and in place, and the client has it once.
    needed, free = 4 * cell.at_once, _available_memory()
    if needed > free:
        return {"skipped": f"needs {needed / GIB:.0f} GiB of memory, and {free / GIB:.0f} GiB are free"}
    try:
        return cell.measure(server)
    except (OSError, RuntimeError, ValueError, BaseError, subprocess.TimeoutExpired) as error:
        server.forget_files()
        return {"broken": f"{type(error).__name__}: {error}"}


def _available_memory() -> int:
    found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else 0


def describe_machine(destination: str) -> dict[str, Any]:
    """What the figures depend on."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    file_system = subprocess.run(["stat", "-f", "-c", "%T", destination], capture_output=True, text=True, check=True)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory": int(memory[1]) * 1024 if memory else 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "file_system": file_system.stdout.strip(),
        "client_processes": scenarios.PROCESSES,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", choices=PLANS, default="full", help="how much to measure")
    parser.add_argument("--quick", dest="plan", action="store_const", const="quick", help="the same as --plan quick")
    parser.add_argument("--rounds", type=int, help="how often each cell is measured")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="SYSTEM", help="patterns as ours_quart@uvicorn")
    parser.add_argument("--destination", default="/dev/shm", help="on tmpfs, the default, the disk is not the subject")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="where to leave results")
    parser.add_argument("--publish", action="store_true", help="put the results into the documentation as well")
    options = parser.parse_args()

    plan = PLANS[options.plan]
    if options.rounds:
        plan = Plan(**{**vars(plan), "rounds": options.rounds})
    systems = [each for each in find_systems() if any(fnmatch(each.key, pattern) for pattern in options.only)]
    for system in [*systems]:
        if reason := system.missing():
            print(f"{system.title} is left out: {reason}.")
            systems.remove(system)
    if not systems:
        sys.exit("There is no such system.")
    for system in systems:
        system.install()

    allow_many_files()
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "plan": options.plan,
        "machine": describe_machine(options.destination),
        "systems": {each.key: {**asdict(each), "versions": each.versions()} for each in systems},
        "records": [],
    }
    directory = Path(tempfile.mkdtemp(dir=options.destination))
    try:
        for record in measure(systems, plan, directory):
            results["records"].append(record)
    except KeyboardInterrupt:
        print("Interrupted. This is what was measured until then.")
    finally:
        shutil.rmtree(directory)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(report.dump(results))
    plots.draw(results, options.output)
    print(report.text(results))
    print(f"The figures and plots are in {options.output}.")
    if options.publish:
        report.publish(results)


if __name__ == "__main__":
    main()
