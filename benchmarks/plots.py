"""The plots, as SVG and PNG."""

from __future__ import annotations

from math import log
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

MIB = 1 << 20
OURS = "#0b6e4f"
OTHERS = "#9aa5b1"
FLOOR = "#d9dee4"

#: The plots, and what they show.
PLOTS = {
    "throughput": "MiB per second of large uploads",
    "small": "uploads per second of small files",
    "save": "how the time of save() grows with the file",
    "clients": "how the time of an upload grows with the clients",
    "sizes": "how the time of an upload grows with its size",
}

Results = dict[str, Any]
Points = dict[str, dict[float, float]]


def draw(results: Results, directory: Path) -> None:
    """Write all plots for which there are figures into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    # The same figures give the same file.
    with mpl.rc_context({"svg.hashsalt": "quart_uploads", "svg.fonttype": "none", "font.size": 9}):
        _bars(results, directory, "throughput", _largest_of(results, 100 * MIB), "MiB/s", scale=1 / MIB)
        _bars(results, directory, "small", _largest_of(results, 4096), "uploads/s", scale=1 / 4096)
        save = _points(results, "size", lambda record: (record.get("save") or {}).get("p50"), clients=1)
        _lines(results, directory, "save", save, "bytes", "seconds of save()")
        clients = _points(results, "clients", lambda record: record["latency"]["p50"], size=256 << 10)
        _lines(results, directory, "clients", clients, "clients at the same time", "seconds of an upload of 256 KiB")
        sizes = _points(results, "size", lambda record: record["latency"]["p50"], clients=1)
        _lines(results, directory, "sizes", sizes, "bytes", "seconds of an upload")


def _uploads(results: Results) -> list[dict[str, Any]]:
    """The records of uploads to a disk."""
    return [
        each
        for each in results["records"]
        if each["scenario"] == "upload" and each.get("requests") and not results["systems"][each["system"]]["engine"]
    ]


def _largest_of(results: Results, size: int) -> list[dict[str, Any]]:
    """The uploads of a size, or of the largest below it, from 8 clients, or as many as there are."""
    found = _uploads(results)
    size = max((each["size"] for each in found if each["size"] <= size), default=0)
    found = [each for each in found if each["size"] == size]
    numbers = {each["clients"] for each in found}
    clients = 8 if 8 in numbers else max(numbers, default=0)
    return [each for each in found if each["clients"] == clients]


def _points(results: Results, key: str, value: Any, **fixed: int) -> Points:
    """For each system, the median of a value by what it depends on."""
    values: dict[str, dict[float, list[float]]] = {}
    for record in _uploads(results):
        found = value(record)
        if found and all(record[name] == wanted for name, wanted in fixed.items()):
            values.setdefault(record["system"], {}).setdefault(record[key], []).append(found)
    return {system: {at: median(found) for at, found in sorted(row.items())} for system, row in values.items()}


def _bars(results: Results, directory: Path, name: str, records: list[dict[str, Any]], unit: str, scale: float) -> None:
    speeds: dict[str, list[float]] = {}
    for record in records:
        speeds.setdefault(record["system"], []).append(record["bytes"] / record["seconds"] * scale)
    if not speeds:
        return
    keys = sorted(speeds, key=lambda key: median(speeds[key]))
    middles = [median(speeds[key]) for key in keys]
    reach = [
        [middle - min(speeds[key]) for key, middle in zip(keys, middles, strict=True)],
        [max(speeds[key]) - middle for key, middle in zip(keys, middles, strict=True)],
    ]
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.3 * len(keys)), layout="constrained")
    axes.barh([_label(results, key) for key in keys], middles, xerr=reach, color=list(map(_color, keys)), ecolor="#444")
    clients, size = records[0]["clients"], records[0]["size"]
    sized = f"{size // MIB} MiB" if size >= MIB else f"{size // 1024} KiB"
    load = f"files of {sized} from {clients} client{'s' * (clients > 1)}"
    axes.set_xlabel(f"{unit}, {load}; the lines are the range of the rounds")
    _save(figure, axes, directory, name)


def _lines(results: Results, directory: Path, name: str, points: Points, x: str, y: str) -> None:
    points = {key: row for key, row in points.items() if len(row) > 1}
    if not points:
        return
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for key, row in points.items():
        ours = key.startswith("ours_")
        label = f"{_label(results, key)}: slope {slope(row):.2f}"
        axes.loglog(list(row), list(row.values()), marker=".", label=label, linewidth=2 if ours else 1, zorder=2 + ours)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, axes, directory, name)


def slope(row: dict[float, float]) -> float:
    """The slope of the line through points on logarithmic axes (least squares): 0 is constant, 1 is linear."""
    xs, ys = [log(x) for x in row], [log(y) for y in row.values()]
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - middle_x) ** 2 for x in xs)


def _label(results: Results, key: str) -> str:
    system = results["systems"][key]
    return f"{system['title']} ({system['server']})"


def _color(key: str) -> str:
    return OURS if key.startswith("ours_") else FLOOR if key.startswith(("floor_", "nginx")) else OTHERS


def _save(figure: Any, axes: Axes, directory: Path, name: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(directory / f"{name}.svg", metadata={"Date": None})
    figure.savefig(directory / f"{name}.png", dpi=150)
    plt.close(figure)
