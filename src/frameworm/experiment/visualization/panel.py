"""One panel: curves drawn into axes, with marks for what has no place on them, and labels at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from frameworm.experiment.visualization.curves import Curve, spaced
from frameworm.experiment.visualization.style import (
    SMALL_PT,
    TEXT_PT,
    Look,
    Theme,
    elide,
    style_axes,
    style_x_ticks,
    style_y_ticks,
    text_width,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RAW_LIMIT = 24
"""More raw lines than this behind smoothed ones are a fog: only the smoothed ones are drawn."""


def draw_panel(
    axes: Axes,
    curves: Sequence[tuple[Curve, Look]],
    theme: Theme,
    *,
    x_limits: tuple[float, float],
    log: bool,
    whole_x: bool,
    title: str = "",
) -> None:
    """Draw curves and set limits, ticks, title and notes."""
    style_axes(axes, theme)
    log = log and any(np.isfinite(curve.y).any() for curve, _ in curves)
    axes.set_yscale("log" if log else "linear", **({"nonpositive": "mask"} if log else {}))
    # Limits come first: left to itself, autoscaling overflows where values are near the largest float64.
    axes.set_autoscale_on(False)
    axes.set_xlim(*x_limits)
    _set_y_limits(axes, [curve for curve, _ in curves], log)
    faint = min(0.3, 1.5 / max(1, len(curves)))
    for order, (curve, look) in enumerate(curves):
        zorder = 3 - order / max(1, len(curves))
        if curve.band is not None:
            axes.fill_between(
                curve.x, *curve.band, color=look.color, alpha=0.18 if len(curves) <= 4 else 0.12, linewidth=0, zorder=1
            )
        if curve.raw is not None and len(curves) <= _RAW_LIMIT:
            axes.plot(*curve.raw, color=look.color, linewidth=0.7, alpha=faint, zorder=1.2, **_PLAIN)
        rough = is_rough(curve.y)
        axes.plot(
            curve.x,
            curve.y,
            color=look.color,
            linestyle="solid" if rough else look.dashes,
            linewidth=min(look.width, 0.8) if rough else look.width,
            alpha=look.alpha,
            zorder=zorder,
            **_PLAIN,
        )
        lonely = _lonely(curve.y)
        axes.plot(
            curve.x[lonely],
            curve.y[lonely],
            "o",
            color=look.color,
            markersize=4 if len(curves) <= 8 else 3,
            zorder=zorder,
        )
        if curve.best is not None:
            axes.plot(
                *([v] for v in curve.best),
                "o",
                markersize=5.5,
                markerfacecolor=theme.background,
                markeredgecolor=look.color,
                markeredgewidth=1.4,
                zorder=4,
            )
        _draw_bad(axes, curve, look)
    width, height = _size_inches(axes)
    style_x_ticks(axes, whole=whole_x, room_inches=width)
    style_y_ticks(axes, log=log, room_inches=height)
    _write_notes(axes, [curve for curve, _ in curves], theme, title, width)


_PLAIN: dict[str, Any] = {"marker": "", "solid_capstyle": "round", "solid_joinstyle": "round", "antialiased": True}


def _size_inches(axes: Axes) -> tuple[float, float]:
    """Return about how large the axes will be: their share of the figure without the room for labels."""
    spec = axes.get_subplotspec()
    assert spec is not None
    rows, columns = spec.get_gridspec().get_geometry()
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    return float(width) / columns * 0.82, float(height) / rows * 0.72


def _lonely(y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points have no neighbour to be joined with: a line would not show them."""
    there = np.isfinite(y)
    before = np.concatenate(([False], there[:-1]))
    after = np.concatenate((there[1:], [False]))
    return there & ~before & ~after


def _draw_bad(axes: Axes, curve: Curve, look: Look) -> None:
    """Mark NaN at the x axis, and infinities at the edge they lie beyond."""
    at_edge = axes.get_xaxis_transform()
    limits = axes.get_xlim()
    for xs, y, marker, size in (
        (curve.bad.nan, 0.0, "x", 3.2),
        (curve.bad.above, 1.0, "^", 4.5),
        (curve.bad.below, 0.0, "v", 4.5),
    ):
        xs = spaced(xs, *limits, slots=90)
        if len(xs):
            axes.plot(
                xs,
                np.full(len(xs), y),
                marker,
                color=look.color,
                markersize=size,
                markeredgewidth=1.0,
                transform=at_edge,
                clip_on=False,
                zorder=5 if marker == "x" else 5.1,
            )


def x_limits_of(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the range of x that shows all curves and marks, with a margin."""
    xs = [part for c in curves for part in (c.x, *c.bad) if len(part)]
    first, last = (float(min(x.min() for x in xs)), float(max(x.max() for x in xs))) if xs else (0.0, 1.0)
    margin = (last - first) * 0.012 or 0.5 * max(1.0, abs(first) * 1e-3)
    return first - margin, last + margin


def is_rough(y: NDArray[np.float64]) -> bool:
    """Return whether a line goes up and down so much that dashes and broad strokes would make a blot of it."""
    y = y[np.isfinite(y)]
    return len(y) > 200 and float(np.abs(np.diff(y)).sum()) > 6 * float(y.max() - y.min())


def _set_y_limits(axes: Axes, curves: Sequence[Curve], log: bool) -> None:
    ys = [part for c in curves for part in (c.y, *(c.band or ()), *([c.raw[1]] if c.raw else []))]
    finite = np.concatenate([np.empty(0), *(y[np.isfinite(y)] for y in ys)])
    if log:
        low, high = np.log10(finite.min()), np.log10(finite.max())
        margin = (high - low) * 0.05 or 0.3
        axes.set_ylim(10.0 ** max(low - margin, -307.0), 10.0 ** min(high + margin, 307.0))
        return
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    margin = (high / 2 - low / 2) * 0.1 or abs(high) * 0.05 or 0.5
    axes.set_ylim(low - max(margin, 1e-300), high + max(margin, 1e-300))


def _write_notes(axes: Axes, curves: Sequence[Curve], theme: Theme, title: str, width_inches: float) -> None:
    """Write the panel's title on the left and what the reader has to know on the right."""
    notes = ["log scale"] if title and axes.get_yscale() == "log" else []
    if any(len(c.bad.nan) for c in curves):
        notes.append("× NaN")
    if any(len(c.bad.above) for c in curves):
        notes.append("▲ +∞")
    if any(len(c.bad.below) for c in curves):
        notes.append("▼ −∞")
    if left_out := sum(c.left_out for c in curves):
        notes.append(f"{left_out:,} {'value' if left_out == 1 else 'values'} ≤ 0 not on a log axis")
    empty = {c.label: _why_empty(c) for c in curves if c.end is None}
    for why in dict.fromkeys(empty.values()):
        if len(empty) == len(curves):
            axes.yaxis.set_major_locator(NullLocator())
            _write_in_the_middle(axes, " · ".join(dict.fromkeys(empty.values())), theme)
            break
        which = [elide(label, 20) for label, reason in empty.items() if reason == why]
        notes.append(f"{why}: {', '.join(which[:3])}" + (f" and {len(which) - 3} more" if len(which) > 3 else ""))
    note = " · ".join(filter(None, notes))
    room = round(width_inches / text_width("0"))
    if title:
        title = elide(title, max(12, round(width_inches / text_width("0", TEXT_PT))))
        axes.set_title(title, loc="left", fontsize=TEXT_PT, color=theme.text, fontweight="bold", pad=6)
        room -= round(len(title) * 1.3) + 2
    if note:
        axes.set_title(elide(note, max(room, 12)), loc="right", fontsize=SMALL_PT, color=theme.muted, pad=6)


def _why_empty(curve: Curve) -> str:
    if not curve.logged:
        return "no points"
    if curve.unaligned:
        return "no x in common"
    if not len(curve.x):
        return "no epochs"
    return "no positive value" if curve.left_out else "no finite value"


def _write_in_the_middle(axes: Axes, text: str, theme: Theme) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=TEXT_PT, color=theme.muted)


def handle(look: Look) -> Line2D:
    """Return the sample of a line for a legend."""
    return Line2D([], [], color=look.color, linestyle=look.dashes, linewidth=max(look.width, 1.2))


def can_label_ends(curves: Sequence[Curve]) -> bool:
    """Return whether labels can stand at the lines' ends: few lines, all ending near the right edge."""
    ends = [curve.end for curve in curves]
    starts = [float(curve.x[0]) for curve in curves if len(curve.x)]
    if not 0 < len(curves) <= 8 or not all(ends):
        return False
    last = [end[0] for end in ends if end]
    return min(last) >= max(last) - 0.12 * (max(last) - min(starts)) and max(last) > min(starts)


def label_ends(axes: Axes, curves: Sequence[tuple[Curve, Look]], labels: Sequence[str]) -> None:
    """Write each line's label to the right of its end, moved apart where they would overlap.

    The figure's layout has to be settled: positions are computed on the drawn size.
    """
    box = axes.get_window_extent()
    ends = [curve.end for curve, _ in curves]
    at = np.array([(axes.transData.transform(end)[1] - box.y0) / box.height for end in ends if end])
    figure = axes.get_figure(root=True)
    assert figure is not None
    row = SMALL_PT * 1.3 / 72 * figure.dpi / box.height
    for (curve, look), label, wanted, y in zip(curves, labels, at, spread(at, row), strict=True):
        end = curve.end
        assert end is not None
        x = (axes.transData.transform(end)[0] - box.x0) / box.width
        gap = 0.15 * figure.dpi / box.width
        axes.plot(
            [x, 1 + gap * 0.2, 1 + gap * 0.85],
            [wanted, wanted if x > 0.97 else y, y],
            color=look.color,
            linewidth=0.7,
            alpha=0.55,
            transform=axes.transAxes,
            clip_on=False,
            scalex=False,
            scaley=False,
            **_PLAIN,
        )
        axes.text(
            1 + gap,
            y,
            label,
            transform=axes.transAxes,
            va="center_baseline",
            ha="left",
            fontsize=SMALL_PT,
            color=look.color,
        )


def spread(at: NDArray[np.float64], row: float) -> NDArray[np.float64]:
    """Return positions at least ``row`` apart, in the same order, as near as can be to those wanted, in [0, 1].

    Neighbours that overlap are joined into a block centred on their mean, until no two blocks overlap.
    """
    order = np.argsort(at, kind="stable")
    blocks: list[list[int]] = []
    centres: list[float] = []
    for i in order:
        block, centre = [int(i)], float(at[i])
        while blocks and centre - len(block) * row / 2 < centres[-1] + len(blocks[-1]) * row / 2:
            block = blocks.pop() + block
            centres.pop()
            half = len(block) * row / 2
            centre = float(np.clip(at[block].mean(), half - row / 2, max(half, 1 - half + row / 2)))
        blocks.append(block)
        centres.append(centre)
    placed = np.empty(len(at))
    for block, centre in zip(blocks, centres, strict=True):
        for k, i in enumerate(block):
            placed[i] = centre + (k - (len(block) - 1) / 2) * row
    return placed
