"""Curves: series smoothed, averaged over groups, and thinned to what a figure can show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from frameworm.experiment.visualization.series import Series, mean_by_x

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Band = Literal["std", "se", "minmax"]

COLUMNS = 1_000
"""Columns a long curve is thinned to, two points each; a printed panel is about as many pixels wide."""
OFF_SCALE = 1e150
"""Values from here on are shown as infinite: matplotlib computes ticks beyond the largest float64 for them."""


class Bad(NamedTuple):
    """Where values are that have no place in a panel, as x: float64, for each kind."""

    nan: Floats
    above: Floats
    below: Floats

    @staticmethod
    def of(members: Sequence[Series]) -> Bad:
        """Find the bad values of some series; of many close together one is kept."""

        def places(test: Callable[[Floats], NDArray[np.bool_]]) -> Floats:
            kept = [spaced(s.x[test(s.y)], s.x[0], s.x[-1]) for s in members if len(s.x)]
            return np.sort(np.concatenate([np.empty(0), *kept]))

        return Bad(places(np.isnan), places(lambda y: y >= OFF_SCALE), places(lambda y: y <= -OFF_SCALE))


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn of one series or group.

    Attributes:
        x: float64 (n,), ascending; y: float64 (n,), NaN where the line has a gap.
        raw: x and y before smoothing, or None if nothing was smoothed.
        band: lower and upper edge at x, or None.
        bad: where values are NaN or infinite.
        best: the lowest or highest value as logged, if asked for.
        left_out: how many finite values a logarithmic axis cannot show.
        logged: how many points there were.
        unaligned: the members of this group have no x in common.
    """

    label: str
    x: Floats
    y: Floats
    bad: Bad
    raw: tuple[Floats, Floats] | None = None
    band: tuple[Floats, Floats] | None = None
    best: tuple[float, float] | None = None
    left_out: int = 0
    logged: int = 0
    unaligned: bool = False

    @property
    def end(self) -> tuple[float, float] | None:
        """The last point of the line, or None if it has none."""
        shown = np.flatnonzero(np.isfinite(self.y))
        return (float(self.x[shown[-1]]), float(self.y[shown[-1]])) if len(shown) else None

    def stretched(self, factor: float) -> Curve:
        """Return the curve with every x multiplied, as when seconds become hours."""
        return replace(
            self,
            x=self.x * factor,
            raw=None if self.raw is None else (self.raw[0] * factor, self.raw[1]),
            bad=Bad(*(x * factor for x in self.bad)),
            best=None if self.best is None else (self.best[0] * factor, self.best[1]),
        )


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to the series of one panel; ``span``: from its first x to its last, of all its series."""

    smoothing: float = 0.0
    span: float = 0.0
    log: bool = False
    best: Literal["min", "max"] | None = None
    band: Band = "std"


def curve_of(label: str, series: Series, how: Treatment) -> Curve:
    """Make the curve of one series."""
    x, y = series.x, finite(series.y)
    left_out = 0
    if how.log:
        left_out = int((y <= 1 / OFF_SCALE).sum())
        y = np.where(y > 1 / OFF_SCALE, y, np.nan)
    return Curve(
        label,
        *_thinned(x, smooth(x, y, how.smoothing, how.span)),
        Bad.of([series]),
        raw=_thinned(x, y) if how.smoothing else None,
        best=_best(x, y, how.best),
        left_out=left_out,
        logged=series.logged,
    )


def curve_of_group(label: str, members: Sequence[Series], how: Treatment) -> Curve:
    """Make the curve of a group: the mean of its members, smoothed one by one, and a band around it."""
    smoothed = [(s.x, smooth(s.x, finite(s.y), how.smoothing, how.span)) for s in members if len(s.x)]
    bad = Bad.of(members)
    logged = sum(s.logged for s in members)
    table = align([mean_by_x(x, y) for x, y in smoothed])
    if table is None:
        return Curve(label, np.empty(0), np.empty(0), bad, logged=logged, unaligned=bool(smoothed))
    x, mean, lower, upper = _mean_and_band(*table, how.band)
    left_out = 0
    if how.log:
        mean, lower, upper, left_out = on_log_axis(mean, lower, upper)
    keep = np.unique(np.concatenate([thin(x, part) for part in (mean, lower, upper)]))
    return Curve(
        label,
        x[keep],
        mean[keep],
        bad,
        band=(lower[keep], upper[keep]),
        best=_best(x, mean, how.best),
        left_out=left_out,
        logged=logged,
    )


def on_log_axis(y: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats, Floats, int]:
    """Return a line and its band as a logarithmic axis can show them, and how many points of the line it cannot."""
    shown = np.where(y > 1 / OFF_SCALE, y, np.nan)
    # A band that reaches zero has no lower edge on a log axis: it is drawn to a tenth of the line.
    lower = np.where(lower > 0, lower, shown / 10)
    upper = np.where((upper > 0) & ~np.isnan(shown), upper, np.nan)
    return shown, lower, upper, int((y <= 1 / OFF_SCALE).sum())


def smooth(x: Floats, y: Floats, amount: float, span: float) -> Floats:
    """Return the debiased exponential moving average of y over x.

    With a = ``amount`` and u = ``span`` / 1000, point t becomes

        Σ a^((x_t - x_i) / u) · y_i  /  Σ a^((x_t - x_i) / u)    over the points i ≤ t that are not NaN:

    a point's weight falls by the factor a on each thousandth of the axis. For 1,000 even points that is the usual
    average m_t = a·m_{t-1} + (1-a)·y_t from m_0 = 0, divided by 1 - a^t so that it does not start near zero (Kingma
    and Ba, "Adam", 2015, section 3); its form for uneven x is Eckner's ("Algorithms for unevenly spaced time
    series", 2014). Measured by points instead, a = 0.9 would hardly touch a loss logged a million times and drag
    one logged once an epoch far behind itself. NaN stays NaN.
    """
    known = ~np.isnan(y)
    if not amount or span <= 0 or not known.any():
        return y
    import pandas as pd

    # pandas takes x as times: a nanosecond is 10^-9 of a thousandth of the axis.
    times = ((x[known] - x[0]) * (1000 / span) * 1e9).astype("datetime64[ns]")
    half_life = f"{max(1, round(math.log(0.5) / math.log(amount) * 1e9))}ns"
    result = np.full(len(y), np.nan)
    # (The published stubs forget that a half-life in times is text.)
    mean = pd.Series(y[known]).ewm(halflife=half_life, times=times).mean()  # type: ignore[arg-type]
    result[known] = mean.to_numpy(np.float64)
    return result


def thin(x: Floats, y: Floats, columns: int = COLUMNS) -> Ints:
    """Return the positions of the points that a line of ``columns`` pixels needs.

    x is cut into equal columns; of each the lowest and the highest point are kept, so every spike stays. A column
    with nothing but NaN keeps one, so gaps stay too. The first and last points are always kept.

    Args:
        x: float64 (n,), ascending.
        y: float64 (n,).
        columns: at most 2 · columns + 2 points are kept.
    """
    n = len(x)
    if n <= 2 * columns:
        return np.arange(n)
    width = x[-1] - x[0]
    place = (x - x[0]) / width if width > 0 else np.zeros(n)
    column = np.minimum((place * columns).astype(np.int64), columns - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    lengths = np.diff(starts, append=n)
    lowest, highest = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    kept = [np.array([0, n - 1]), starts[np.isnan(lowest)]]
    for extreme in (lowest, highest):
        hits = np.flatnonzero(y == np.repeat(extreme, lengths))
        kept.append(hits[np.diff(column[hits], prepend=-1) > 0])
    return np.unique(np.concatenate(kept))


def align(members: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats] | None:
    """Put the members of a group on one x.

    If every member has exactly those x of the union that lie in its own range (the same steps, though some may
    have begun later or ended early), the values are taken as they are, over the union. Otherwise each member is
    interpolated linearly (its NaN left out) over the range that all have in common, at the union of their x there
    or, if that is more than 2,000, at 2,000 equal distances.

    Args:
        members: x ascending, each once, and y.

    Returns:
        x float64 (n,) and a table float64 (members, n), NaN where a member has nothing; None if there is no
        member or no x that all have in common.
    """
    if not members:
        return None
    union = np.unique(np.concatenate([x for x, _ in members]))
    spans = [(np.searchsorted(union, x[0]), np.searchsorted(union, x[-1]) + 1) for x, _ in members]
    if all(stop - start == len(x) for (start, stop), (x, _) in zip(spans, members, strict=True)):
        table = np.full((len(members), len(union)), np.nan)
        for row, (start, stop), (_, y) in zip(table, spans, members, strict=True):
            row[start:stop] = y
        return union, table
    known = [(x[ok], y[ok]) for x, y in members if (ok := np.isfinite(y)).any()]
    if not known:
        return None
    first, last = max(x[0] for x, _ in known), min(x[-1] for x, _ in known)
    if first > last:
        return None
    grid = union[(union >= first) & (union <= last)]
    if len(grid) > 2 * COLUMNS:
        grid = np.linspace(first, last, 2 * COLUMNS)
    return grid, np.stack([np.interp(grid, x, y) for x, y in known])


def _mean_and_band(x: Floats, table: Floats, band: Band) -> tuple[Floats, Floats, Floats, Floats]:
    """Return x, mean, lower and upper edge over the members that have a value there."""
    there = np.isfinite(table)
    count = there.sum(axis=0)
    some = np.maximum(count, 1)
    mean = np.where(there, table / some, 0.0).sum(axis=0)
    if band == "minmax":
        lower, upper = np.fmin.reduce(table, axis=0), np.fmax.reduce(table, axis=0)
    else:
        # Divided by the largest deviation first: the square of 1e200 is no float64.
        apart = np.where(there, np.abs(table - mean), 0.0)
        largest = np.maximum(apart.max(axis=0), 1e-300)
        spread = largest * np.sqrt(((apart / largest) ** 2).sum(axis=0) / np.maximum(count - 1, 1))
        spread = spread / np.sqrt(some) if band == "se" else spread
        lower, upper = mean - spread, mean + spread
    empty = count == 0
    mean, lower, upper = (np.where(empty, np.nan, part) for part in (mean, lower, upper))
    return x, mean, lower, upper


def finite(y: Floats) -> Floats:
    """Return y with NaN in place of what has no place on an axis."""
    return np.where(np.abs(y) < OFF_SCALE, y, np.nan)


def spaced(x: Floats, first: float, last: float, slots: int = COLUMNS) -> Floats:
    """Return of ascending x between first and last the first in each of as many slots: enough marks to be seen."""
    if not len(x) or last <= first:
        return x[:1]
    slot = np.floor((x - first) / (last - first) * slots)
    kept: Floats = x[np.concatenate(([True], slot[1:] > slot[:-1]))]
    return kept


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    keep = thin(x, y)
    return x[keep], y[keep]


def _best(x: Floats, y: Floats, best: Literal["min", "max"] | None) -> tuple[float, float] | None:
    if best is None or not np.isfinite(y).any():
        return None
    at = int(np.nanargmin(y) if best == "min" else np.nanargmax(y))
    return float(x[at]), float(y[at])
