"""Make lines, tables and the page of the documentation from the records. Plots are in ``plots.py``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import plots
from load import MIB
from records import OURS, STOCK, Record, Results, by_cell, number, rate, ratio_in_rounds, speed, title

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results.json"
PAGE = ROOT / "docs" / "explanation" / "performance.md"

#: If the clients were busy for a larger part of the time, they may be the bottleneck.
BUSY = 0.9
#: Minimum ratio that counts as faster.
AHEAD = 1.05


@dataclass(frozen=True)
class Table:
    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def line(record: Record) -> str:
    """Return a record as one line, for the output while the benchmark runs."""
    start = f"{record['label']:32} {record['system']:28}"
    if why := record.get("skipped") or record.get("broken"):
        return f"{start} {why}"
    if "seconds" not in record:
        return f"{start} grows by {record['growth'] / MIB:.0f} MiB"
    return f"{start} {rate(record):9,.1f}/s {speed(record):8,.1f} MiB/s  {files(record)}"


def files(record: Record) -> str:
    """Return a summary of the lost, damaged and failed files; ``"all whole"`` if there are none."""
    found = [f"{record[key]:,} {key}" for key in ("lost", "damaged", "failed") if record.get(key)]
    if found:
        return ", ".join(found)
    return "all whole" if "stored" in record else ""


def dump(results: Results) -> str:
    """Return results as JSON, with one record per line."""
    rest = json.dumps({**results, "records": []}, indent=1)
    records = ",\n".join("  " + json.dumps(_rounded(record)) for record in results["records"])
    return rest.replace('"records": []', f'"records": [\n{records}\n ]') + "\n"


def _rounded(value: Any) -> Any:
    """Return a value with its floats rounded to five significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def text(results: Results) -> str:
    """Return all tables as text for a terminal."""
    return "\n".join(_plain(table) for table in tables(results))


def tables(results: Results) -> Iterator[Table]:
    """Yield a table for every cell."""
    for label, rounds in by_cell(results).items():
        scenario = next(iter(rounds.values()))[0]["scenario"]
        columns = _COLUMNS[scenario]
        rows = []
        for key, records in sorted(rounds.items(), key=_fastest_first):
            good = [record for record in records if "skipped" not in record and "broken" not in record]
            if not good:
                reason = records[0].get("skipped") or records[0].get("broken")
                rows.append((title(results, key), str(reason), *[""] * (len(columns) - 1)))
                continue
            rows.append((title(results, key), *(column(good, rounds) for column in columns.values())))
        yield Table(label, ("System", *columns), rows)


def _fastest_first(system: tuple[str, list[Record]]) -> float:
    return -max(rate(record) if "seconds" in record else 0.0 for record in system[1])


Column = Callable[[list[Record], dict[str, list[Record]]], str]


def _spread(value: Callable[[Record], float]) -> Column:
    """Return a column with the median, and the range if the rounds differ."""

    def column(records: list[Record], others: dict[str, list[Record]]) -> str:
        values = sorted(map(value, records))
        low, middle, high = map(number, (values[0], median(values), values[-1]))
        return middle if low == high else f"{middle} ({low} to {high})"

    return column


def _middle(value: Callable[[Record], float | None]) -> Column:
    def column(records: list[Record], others: dict[str, list[Record]]) -> str:
        values = [found for record in records if (found := value(record)) is not None]
        return number(median(values)) if values else ""

    return column


def _kind(key: str, others: dict[str, list[Record]]) -> str:
    """Return the kind of system to compare a system with: a key of STOCK and OURS."""
    if OURS["objects"] in others or STOCK["objects"] in others:
        return "objects"
    return "wsgi" if key.endswith("@gunicorn") else "asgi"


def _ratio(records: list[Record], others: dict[str, list[Record]]) -> str:
    ratio = ratio_in_rounds(records, others.get(STOCK[_kind(records[0]["system"], others)], []), rate)
    busy = "*" if median(record["client_busy"] for record in records) > BUSY else ""
    return "" if ratio is None else f"{number(ratio)}{busy}"


def _files(records: list[Record], others: dict[str, list[Record]]) -> str:
    total = {key: sum(record.get(key, 0) for record in records) for key in ("stored", "lost", "damaged", "failed")}
    if any(total[key] for key in ("lost", "damaged", "failed")):
        return f"{files(total)} of {total['stored']:,}"
    return f"all {total['stored']:,} whole" if total["stored"] else "none kept"


def _of(field: str, key: str, scale: float = 1000) -> Callable[[Record], float | None]:
    return lambda record: record[field][key] * scale if record.get(field) else None


def _cpu(record: Record) -> float | None:
    return float(record["cpu"] / (record["bytes"] / (1 << 30))) if record.get("bytes") else None


_LATENCY = {
    "p50 ms": _middle(_of("latency", "p50")),
    "p99 ms": _middle(_of("latency", "p99")),
    "max ms": _middle(_of("latency", "max")),
}
_COLUMNS: dict[str, dict[str, Column]] = {
    "upload": {
        "uploads/s": _spread(rate),
        "MiB/s": _middle(speed),
        "times stock": _ratio,
        **_LATENCY,
        "CPU s/GiB": _middle(_cpu),
        "memory MiB": _middle(lambda record: record["memory"] / MIB),
        "ping p99 ms": _middle(_of("ping", "p99")),
        "ping max ms": _middle(_of("ping", "max")),
        "save ms": _middle(_of("save", "p50")),
        "files": _files,
    },
    "one name": {
        "uploads/s": _spread(rate),
        "first saves ms": _middle(lambda record: record["first"] * 1000),
        "last saves ms": _middle(lambda record: record["last"] * 1000),
        "files": _files,
    },
    "download": {
        "requests/s": _spread(rate),
        "MiB/s": _middle(speed),
        "times stock": _ratio,
        **_LATENCY,
        "CPU s/GiB": _middle(_cpu),
        "answers": lambda records, others: files({**records[0], "stored": 1}),
    },
    "half sent": {
        "memory grows by MiB": _spread(lambda record: round(record["growth"] / MIB)),
        "at its peak": _spread(lambda record: round(record["peak_growth"] / MIB)),
    },
    "sleeping": {
        "memory grows by MiB": _spread(lambda record: round(record["growth"] / MIB)),
        "files": _files,
    },
}


def _plain(table: Table) -> str:
    lengths = [[len(cell) for cell in row] for row in (table.header, *table.rows) if row[-1] or row is table.header]
    widths = [max(column) for column in zip(*lengths, strict=True)]
    widths[0] = max(len(row[0]) for row in table.rows)

    def line(row: tuple[str, ...]) -> str:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        return "  ".join([first.strip().ljust(widths[0]), *others]).rstrip()

    return "\n".join(["", table.title, line(table.header), *map(line, table.rows)])


def _markdown(table: Table) -> str:
    columns = ["---", *["--:"] * (len(table.header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (table.header, tuple(columns), *table.rows))


def page(results: Results) -> str:
    """Return the performance page of the documentation, as Markdown."""
    machine = results["machine"]
    parts = [
        "# Performance",
        "% Made by benchmarks/report.py from benchmarks/results.json: change these, not the page.",
        f"Measured on {results['date']} with `nox -s bench` on {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory'] / (1 << 30):.0f} GiB, {machine['system']}, Python {machine['python']}. Files were stored "
        f"on {machine['file_system']}. `benchmarks/README.md` tells how to read and repeat it.",
        "Each figure is the median of the rounds, with the range in brackets. _Times stock_ compares within a round: "
        "with Quart's own `FileStorage.save`, on gunicorn with Flask-Reuploaded, for S3 with aioboto3. With a star, "
        f"the clients were busy for more than {BUSY:.0%} of the time and may have been the limit.",
        *(f"![{plots.PLOTS[name]}](performance/{name}.svg)" for name in plots.available(results)),
        "## Where others are ahead",
        "\n".join(f"* {each}" for each in _ahead(results)) or "Nowhere in this run.",
        "## What the files were like afterwards",
        "\n".join(f"* {each}" for each in _mishaps(results)) or "All files of all systems were whole.",
        "## Every figure",
    ]
    for table in tables(results):
        parts += [f"### {table.title}", _markdown(table)]
    parts += ["## Versions", _markdown(_versions(results))]
    return "\n\n".join(parts) + "\n"


def _ahead(results: Results) -> Iterator[str]:
    """Yield, for each cell, the ways to save uploads that are faster than this library by more than AHEAD."""
    for label, rounds in by_cell(results).items():
        ahead = []
        for key, records in rounds.items():
            ours = OURS[_kind(key, rounds)]
            good = [record for record in records if "seconds" in record]
            if results["systems"][key]["is_limit"] or key.startswith("ours_"):
                continue
            ratio = ratio_in_rounds(good, rounds.get(ours, []), rate)
            if ratio is not None and ratio > AHEAD:
                ahead.append(f"{title(results, key)} {number(ratio)} times {title(results, ours)}")
        if ahead:
            yield f"{label}: {', '.join(ahead)}."


def _mishaps(results: Results) -> Iterator[str]:
    for label, rounds in by_cell(results).items():
        found = []
        for key, records in rounds.items():
            told = _files(records, rounds)
            if "whole" not in told and told != "none kept":
                found.append(f"{title(results, key)} {told}")
        if found:
            yield f"{label}: {', '.join(found)}."


def _versions(results: Results) -> Table:
    rows = [
        (title(results, key), ", ".join(f"{name} {number}" for name, number in system["versions"].items()))
        for key, system in results["systems"].items()
    ]
    return Table("Versions", ("System", "Versions"), rows)


def publish(results: Results) -> None:
    """Write results into the documentation."""
    RESULTS.write_text(dump(results))
    results = json.loads(RESULTS.read_text())  # the page shows the rounded figures of the file
    PAGE.write_text(page(results))
    plots.draw(results, PAGE.with_suffix(""))


if __name__ == "__main__":
    publish(json.loads(RESULTS.read_text()))
