"""The figure of the report: each peer beside frameworm and the floor, on logarithmic axes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.drivers import NAMES
from benchmarks.footprint import BARE, IMPORT, NUMPY
from benchmarks.harness import OURS
from benchmarks.report import compared_value, growth, number, title_of
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS

PANELS = (
    ("latency", "p50_us", "One scalar: a call, µs (point: p50, line: to p99.9)"),
    ("scalar", "durable_s", "100,000 scalars until durable, s"),
    ("scalar", "bytes_per_point", "A point on the disk, bytes"),
    ("rows-20", "metric_ns", "A dict of 20: a metric, ns"),
    ("rows-10000", "points_per_s", "A dict of 10,000: points/s until durable (more is better)"),
    ("short", "each_ms", "A short experiment, start to end, ms"),
    ("processes-8", "logged_per_s", "8 processes at once: points/s (more is better)"),
    ("read-100k", "arrays_ms", "100,000 points to arrays, ms"),
    ("store", "list_ms", "List of 1,000 experiments, ms"),
    (IMPORT, "import_s", "Import, s"),
)
OURS_COLOUR, PEER_COLOUR, FLOOR_COLOUR, INK = "#c2410c", "#475569", "#94a3b8", "#0f172a"


def draw(results: Results, path: Path) -> bool:
    """Draw what was measured; False if there is nothing."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [(title, _bars(results, workload, key)) for workload, key, title in PANELS]
    panels = [(title, bars) for title, bars in panels if bars]
    if not panels:
        return False
    style = {"font.family": "sans-serif", "font.size": 8.5, "svg.hashsalt": "frameworm", "svg.fonttype": "path"}
    with plt.rc_context(style):
        rows = math.ceil(len(panels) / 2)
        figure, grid = plt.subplots(rows, 2, figsize=(10.5, 2.75 * rows), squeeze=False, layout="constrained")
        for axes, (title, bars) in zip(grid.flat, panels, strict=False):
            _panel(axes, title, bars)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.suptitle(
            "frameworm beside its peers and the floor: medians, logarithmic axes, less is better where not said",
            x=0.01,
            ha="left",
            fontsize=9,
            color="#475569",
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    return True


def compact(value: float) -> str:
    """Return a number with three digits that count, thousands as k, millions as M."""
    if value >= 1e6:
        return f"{number(value / 1e6)}M"
    return f"{number(value / 1e3)}k" if value >= 1e4 else number(value)


class Bar(NamedTuple):
    """One peer in one panel: the point, and where the line from it ends; ``about`` if it is extrapolated."""

    peer: str
    value: float
    end: float
    about: bool

    @property
    def floor(self) -> bool:
        """Whether this is no peer but the floor."""
        return self.peer.startswith("floor") or self.peer in (BARE, NUMPY)


def _bars(results: Results, workload_name: str, key: str) -> list[Bar]:
    """Return frameworm, the peers from the best on, the floor."""
    shown = {peer: one for peer, one in results.of(workload_name).items() if one.rounds}
    workload = next((one for one in WORKLOADS if one.name == workload_name), None)
    column = next((one for one in workload.columns if one.key == key), None) if workload else None
    found = []
    more = column is not None and column.more_is_better
    for peer, one in shown.items():
        if more and peer == "floor-call":
            continue  # doing nothing has no rate worth an axis
        if workload is None or column is None:
            value, about = one.median(key), False
        else:
            value = compared_value(workload, column, one, shown)
            about = column.extrapolate and growth(workload, one, shown) != 1
        if value:
            found.append(Bar(peer, value, one.median("p999_us") or value if key == "p50_us" else value, about))
    order = (*NAMES, NUMPY, BARE)
    floor = sorted((bar for bar in found if bar.floor), key=lambda bar: order.index(bar.peer))
    peers = sorted((bar for bar in found if not bar.floor), key=lambda bar: -bar.value if more else bar.value)
    return sorted(peers, key=lambda bar: bar.peer != OURS) + floor


def _panel(axes: Any, title: str, bars: list[Bar]) -> None:
    low, high = min(bar.value for bar in bars), max(bar.end for bar in bars)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.6, high * (high / low) ** 0.18 * 1.6)
    axes.xaxis.set_major_formatter(lambda value, _: compact(value))
    axes.minorticks_off()
    for y, bar in enumerate(bars):
        ours = bar.peer == OURS
        colour = OURS_COLOUR if ours else FLOOR_COLOUR if bar.floor else PEER_COLOUR
        axes.plot([low / 1.6, bar.value], [y, y], color=colour, linewidth=0.7, alpha=0.45, zorder=1)
        if bar.end > bar.value:
            axes.plot([bar.value, bar.end], [y, y], color=colour, linewidth=1.6, solid_capstyle="round", zorder=2)
        axes.plot(bar.value, y, "o", color=colour, markersize=6 if ours else 5, zorder=3)
        text = f"≈ {compact(bar.value)}" if bar.about else compact(bar.value)
        weight = "bold" if ours else "normal"
        axes.annotate(text, (bar.end, y), (6, 0), textcoords="offset points", va="center", color=colour, weight=weight)
    axes.set_yticks(range(len(bars)), [title_of(bar.peer) for bar in bars])
    for label, bar in zip(axes.get_yticklabels(), bars, strict=True):
        label.set_color(OURS_COLOUR if bar.peer == OURS else "#64748b" if bar.floor else INK)
        label.set_fontweight("bold" if bar.peer == OURS else "normal")
        label.set_fontstyle("italic" if bar.floor else "normal")
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_title(title, loc="left", fontsize=9.5, weight="bold", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", which="major", color="#e2e8f0", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
