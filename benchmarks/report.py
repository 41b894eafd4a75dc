"""``RESULTS.md`` and ``results.svg``, made from the results alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.drivers import NAMES, peer_class
from benchmarks.footprint import BARE, IMPORT, INSTALLED, NUMPY
from benchmarks.harness import OURS
from benchmarks.results import Result, Results
from benchmarks.targets import TARGETS, WRITE_US
from benchmarks.workloads import GROUPS, WORKLOADS, Column, Workload


def write(results: Results, folder: Path, *, quick: bool) -> list[Path]:
    """Write the report and the chart, and return their paths."""
    from benchmarks.chart import draw

    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "RESULTS.md"
    parts = [part for make in (_head, _targets, _tables, _footprint, _left_out) for part in make(results)]
    if quick:
        parts.insert(1, "**Sizes were small: these figures show that everything runs, not how fast.**")
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    figure = folder / "results.svg"
    return [page, figure] if draw(results, figure) else [page]


def title_of(peer: str) -> str:
    """Return a peer's name as it stands in the report."""
    return {BARE: "bare interpreter", NUMPY: "NumPy"}.get(peer) or peer_class(peer).title


def number(value: float) -> str:
    """Return a number with three digits that count, and commas."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 3
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if abs(value) >= 0.001 else f"{value:.1e}"


def spread(values: list[float], scale: float = 1.0) -> str:
    """Return ``median (min–max)``."""
    scaled = [value * scale for value in values]
    middle = number(statistics.median(scaled))
    if len(scaled) == 1:
        return middle
    return f"{middle} ({number(min(scaled))}–{number(max(scaled))})"


def points_of(size: str) -> int:
    """Return how many points, or experiments, a size stands for."""
    total = 1
    for factor in size.split("x"):
        total *= int(factor)
    return total


def growth(workload: Workload, result: Result, biggest: dict[str, Result]) -> float:
    """Return by what a figure that grows with the size is multiplied to compare with the full size."""
    full = max((points_of(other.size) for other in biggest.values()), default=points_of(result.size))
    return full / points_of(result.size)


def ratio_text(ratio: float) -> str:
    """Return a ratio with two digits that count."""
    if ratio >= 9.5:
        return f"{float(f'{ratio:.2g}'):,.0f} ×"
    if ratio < 0.005:
        return "< 0.01 ×"
    return f"{ratio:.1f} ×" if ratio >= 0.95 else f"{ratio:.2f} ×"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; all columns but the first are set right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---------------------------------------------------------------------------------------------- the parts


def _head(results: Results) -> Iterator[str]:
    machine = results.machine
    measured = [one for workload in WORKLOADS for one in results.of(workload.name).values() if one.at]
    when = sorted({one.at[:10] for one in measured})
    loads = [one.load for one in measured]
    yield "# Speed, size and scale"
    yield (
        f"Made by `make bench` on {machine['cpu']}, {machine['memory']}, {machine['system']}, "
        f"Python {machine['python']}"
        + (f"; measured {' to '.join(dict.fromkeys((when[0], when[-1])))}" if when else "")
        + (f", load average {min(loads):.1f} to {max(loads):.1f} before each workload." if loads else ".")
    )
    yield (
        "Figures are medians of rounds in which all peers took turns, with the least and the most in brackets. Each "
        "peer runs in a virtual environment of its own and makes the calls its documentation recommends for local "
        "use. `×` compares with frameworm: 10 × is ten times worse. `≈` marks what a slow peer would take for the "
        "whole: it was given the size in the last column. [How to read and repeat this](../docs/benchmarks.md)."
    )
    yield "![Each peer beside frameworm and the floor](results.svg)"


def _targets(results: Results) -> Iterator[str]:
    rows = []
    met = [target.met(results) for target in TARGETS]
    for target, reached in zip(TARGETS, met, strict=True):
        values = target.values(results)
        bound = f"{'≥' if target.at_least else '≤'} {number(target.bound)} {target.unit}".rstrip()
        verdict = {True: "met", False: "**missed**", None: "not measured"}[reached]
        rows.append([target.what, bound, spread(values) if values else "–", verdict])
    yield "## To reach"
    yield f"{met.count(True)} met, {met.count(False)} missed, {met.count(None)} not measured."
    floor = results.get("latency", "floor-write")
    if floor:
        write_us = statistics.median(floor.values("p50_us"))
        yield (
            f"The bounds are for a machine on which a small `os.write` takes {WRITE_US} µs. Here it took "
            f"{number(write_us)} µs, {number(write_us / WRITE_US)} times as long. [What the limits "
            "are](../docs/benchmarks.md#what-the-limits-are)."
        )
    yield table(["what", "to reach", "measured", ""], rows)


def _tables(results: Results) -> Iterator[str]:
    told: set[str] = set()
    for workload in WORKLOADS:
        shown = {peer: one for peer, one in results.of(workload.name).items() if one.rounds}
        group = workload.name.split("-")[0]
        if not shown or group in told:
            continue
        yield f"## {GROUPS.get(group, workload.title)}"
        if workload.text:
            yield workload.text
        if group in GROUPS:
            told.add(group)
            yield _grouped(group, workload.columns, results)
        elif workload.own:
            yield _alone(workload, shown[OURS])
        else:
            yield _compared(workload, shown)


def _alone(workload: Workload, ours: Result) -> str:
    """Return a table of one peer: a row a figure."""
    shown = [column for column in workload.columns if ours.values(column.key)]
    return table(["", "frameworm"], [[one.title, spread(ours.values(one.key), one.scale)] for one in shown])


def _grouped(group: str, columns: tuple[Column, ...], results: Results) -> str:
    """Return a table of one peer: a row a workload."""
    rows = []
    for workload in WORKLOADS:
        one = results.get(workload.name, OURS)
        if workload.name.split("-")[0] == group and one is not None and one.rounds:
            rows.append([workload.title, *(spread(one.values(column.key), column.scale) for column in columns)])
    return table(["", *(column.title for column in columns)], rows)


def _compared(workload: Workload, shown: dict[str, Result]) -> str:
    columns = [column for column in workload.columns if any(one.values(column.key) for one in shown.values())]
    head = ["", columns[0].title, "×"] + [column.title for column in columns[1:]] + ["size"]
    rows = []
    for peer in NAMES:
        if peer not in shown:
            continue
        result = shown[peer]
        cells = [_cell(workload, column, result, shown) for column in columns]
        ratio = _ratio(workload, columns[0], result, shown)
        name = f"*{title_of(peer)}*" if peer.startswith("floor") else title_of(peer)
        rows.append([f"**{name}**" if peer == OURS else name, cells[0], ratio, *cells[1:], _size(result.size)])
    return table(head, rows)


def _cell(workload: Workload, column: Column, result: Result, shown: dict[str, Result]) -> str:
    values = result.values(column.key)
    if not values:
        return "–"
    factor = growth(workload, result, shown) if column.extrapolate else 1.0
    if factor == 1:
        return spread(values, column.scale)
    return f"≈ {number(statistics.median(values) * column.scale * factor)}"


def compared_value(workload: Workload, column: Column, result: Result, shown: dict[str, Result]) -> float | None:
    """Return a figure as it is compared: its median in the column's unit, extrapolated if it grows with the size."""
    median = result.median(column.key)
    if median is None:
        return None
    return median * column.scale * (growth(workload, result, shown) if column.extrapolate else 1.0)


def _ratio(workload: Workload, column: Column, result: Result, shown: dict[str, Result]) -> str:
    ours = shown.get(OURS)
    mine = None if ours is None else compared_value(workload, column, ours, shown)
    theirs = compared_value(workload, column, result, shown)
    if result.peer == OURS or not mine or not theirs:
        return ""
    return ratio_text(mine / theirs if column.more_is_better else theirs / mine)


def _size(size: str) -> str:
    return " × ".join(f"{int(part):,}" for part in size.split("x"))


def _footprint(results: Results) -> Iterator[str]:
    imported, sizes = results.of(IMPORT), results.of(INSTALLED)
    if not imported and not sizes:
        return
    numpy = imported[NUMPY].median("import_s") if NUMPY in imported else None
    rows = []
    for peer in (BARE, NUMPY, *NAMES):
        one, size = imported.get(peer), sizes.get(peer)
        if (one is None or not one.rounds) and size is None:
            continue
        seconds = one.values("import_s") if one else []
        distributions, mib = (size.median("distributions"), size.median("size_mib")) if size else (None, None)
        rows.append(
            [
                f"**{title_of(peer)}**" if peer == OURS else title_of(peer).split(",")[0],
                spread(seconds) if seconds else "–",
                ratio_text(statistics.median(seconds) / numpy) if seconds and numpy else "–",
                number(distributions) if distributions else "–",
                number(mib) if mib else "–",
            ]
        )
    yield "## Importing and installing"
    yield (
        "The time is of a whole process, `python -c 'import …'`, the page cache warm. Distributions and MiB are what "
        "pip installs for the peer alone, without pip."
    )
    yield table(["", "import, s", "× NumPy", "distributions", "MiB"], rows)


def _left_out(results: Results) -> Iterator[str]:
    lines = []
    failed: dict[tuple[str, str], list[str]] = {}
    for name in (*(workload.name for workload in WORKLOADS), IMPORT, INSTALLED):
        for peer, one in results.of(name).items():
            if one.failure:
                failed.setdefault((peer, one.failure), []).append(name)
    for (peer, failure), workloads in sorted(failed.items()):
        lines.append(f"- {title_of(peer)}, {', '.join(workloads)}: `{failure.replace('`', chr(39))}`")
    if lines:
        yield "## Left out"
        yield "\n".join(lines)
    notes = []
    for peer in NAMES:
        driver = peer_class(peer)
        if any(results.get(workload.name, peer) for workload in WORKLOADS):
            pinned = ", ".join(f"`{one}`" for one in driver.requirements if not one.startswith("-e"))
            read = f"; read with {driver.reader}" if driver.reader else ""
            note = f" {driver.notes}" if driver.notes else ""
            if pinned or read or note:
                notes.append(f"- {driver.title}: {pinned}{read}.{note}")
    if notes:
        yield "## The peers"
        yield "\n".join(notes)
