"""Benchmarks of concurrent uploads: run ``nox -s bench``, or ``python benchmarks`` if everything is installed.

In every round all systems are started together. A cell is one load, such as "4 KiB from 8 clients". Each cell is
measured on one system after the other, while the other systems are idle. So compared figures are measured within
seconds of each other.
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
    """The loads to measure, and the duration of each."""

    rounds: int
    #: Seconds for each upload or download cell.
    seconds: float
    #: For each file size in bytes, the numbers of clients that upload it.
    uploads: dict[int, tuple[int, ...]]
    #: The number of clients that upload files of one name, and the number of files of each client.
    one_name: tuple[int, int]
    #: For each size in bytes that is uploaded to an object store, the number of clients.
    objects: dict[int, int]
    #: Sizes of the files to download, in bytes.
    downloads: tuple[int, ...]
    #: Size of the file for the sleeping view, in bytes; 0 to leave the cell out.
    sleeping: int
    #: Number of clients that send half a file; 0 to leave the cell out.
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
    #: Bytes that all clients together send at the same time.
    at_once: int = 0
    #: True for systems that save into an object store, False for the others.
    engine: bool = False
    #: True if it measures the memory of a new process. One round is enough for that.
    fresh: bool = False


def cells(plan: Plan) -> Iterator[Cell]:
    """Yield the cells of a plan. Small loads come first, because processes may keep the memory of earlier loads."""
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
    # Some systems keep the content in memory, in temporary files and in the stored file, and the client has one copy.
    # The files are in memory, too, if the destination is on tmpfs.
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
    """Return the properties of the machine that the figures depend on."""
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
    parser.add_argument("--destination", default="/dev/shm", help="on tmpfs, the default, no disk is measured")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="where to write results")
    parser.add_argument("--publish", action="store_true", help="also write the results into the documentation")
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
        print("Interrupted. These are the results so far.")
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
