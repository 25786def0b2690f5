"""Functions on the records of the benchmark, for tables and plots."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from load import MIB

#: For each kind of system, the one that people use without this library, and the one with this library.
STOCK = {"asgi": "quart_save@uvicorn", "wsgi": "flask_reuploaded@gunicorn", "objects": "aioboto3_app@uvicorn"}
OURS = {"asgi": "ours_quart@uvicorn", "wsgi": "ours_flask@gunicorn", "objects": "ours_objects@uvicorn"}

Record = dict[str, Any]
Results = dict[str, Any]


def human_size(count: float) -> str:
    """Return a number of bytes in a readable unit."""
    for unit, name in ((1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit:.0f} {name}"
    return f"{count / 1000:.0f} KB"


def number(value: float) -> str:
    """Return a number with about three significant digits, or more before the decimal point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rate(record: Record) -> float:
    """Return the requests per second of a record."""
    return float(record["requests"] / record["seconds"]) if record.get("seconds") else 0.0


def speed(record: Record) -> float:
    """Return the MiB per second of a record."""
    return float(record["bytes"] / record["seconds"] / MIB) if record.get("seconds") else 0.0


def by_cell(results: Results) -> dict[str, dict[str, list[Record]]]:
    """Return the records by cell and by system."""
    found: dict[str, dict[str, list[Record]]] = {}
    for record in results["records"]:
        found.setdefault(record["label"], {}).setdefault(record["system"], []).append(record)
    return found


def title(results: Results, key: str) -> str:
    system = results["systems"][key]
    return f"{system['title']} ({system['server']})"


def ratio_in_rounds(records: list[Record], others: list[Record], value: Callable[[Record], float]) -> float | None:
    """Return the median of the ratios of two systems within each round; ``None`` if no round has both."""
    theirs = {record["round"]: value(record) for record in others if "seconds" in record}
    found = [value(record) / theirs[record["round"]] for record in records if theirs.get(record["round"])]
    return median(found) if found else None
