"""One metric of an experiment on an axis, in a few buckets: what a chart draws of it, whatever its x.

Steps come from the overviews where they ascend, at 0.1 ms a series; all else is read in full, 3 ms for 100,000 points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from frameworm.experiment.errors import DamageError, InputError
from frameworm.experiment.model import NO_EPOCH, Buckets, Points, SeriesKey, default_context
from frameworm.experiment.query.downsample import coarsened, downsample
from frameworm.experiment.query.metrics import resolve_metric
from frameworm.experiment.storage.series import bucketed, merged, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from frameworm.experiment.query.read import ExperimentReader

    Floats = NDArray[np.float64]

Kind = Literal["step", "epoch", "relative", "time", "metric"]
Error = Literal["std", "sem", "ci"]

_EXACT = 2**53
_ALL = (-math.inf, math.inf)


class Axis(NamedTuple):
    """What x is: ``kind``, and the other metric's name where it is one."""

    kind: Kind
    metric: str = ""

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Return the axis that ``step``, ``epoch``, ``relative``, ``time`` or ``metric:<name>`` stands for.

        Raises:
            InputError: it is none of these.
        """
        for kind in get_args(Kind):
            if text == kind != "metric":
                return cls(kind)
        if text.startswith("metric:") and len(text) > 7:
            return cls("metric", text[7:])
        raise InputError(f"x is {text!r:.80}; allowed is step, epoch, relative, time or metric:<name>")


@dataclass(frozen=True, slots=True)
class Line:
    """A series in buckets, each a run of points along x. Arrays (n,).

    Attributes:
        context: of the series.
        x: float64, ascending unless it is a path: of the last point of each bucket.
        low: float64, smallest value; NaN where all of a bucket are.
        high: float64, largest value, likewise.
        last: float64, value of the last point, bit for bit.
        times_ms: int64, time of the last point.
        count: points that the buckets stand for.
        exact: each bucket is a single point.
        rounded: some x, being a step past 2^53, is no float64: it is the nearest one.
        path: x goes to and fro. Points are in the order of steps, each of them one that was logged.
    """

    context: str
    x: Floats
    low: Floats
    high: Floats
    last: Floats
    times_ms: NDArray[np.int64]
    count: int
    exact: bool
    rounded: bool = False
    path: bool = False


def find_series(reader: ExperimentReader, metric: str, context: str = "") -> list[SeriesKey]:
    """Return the series that are meant, none if the experiment has no such.

    Args:
        reader: of the experiment.
        metric: its name; ``loss@val`` is short for the context, unless a metric is called so.
        context: train, val, …; empty for the default one, ``*`` for all.
    """
    contexts = reader.contexts_of(metric)
    if not contexts and not context:
        wanted = resolve_metric(metric, lambda name: bool(reader.contexts_of(name)), "last")
        metric, context, contexts = wanted.name, wanted.context or "", reader.contexts_of(wanted.name)
    if not contexts:
        return []
    chosen = contexts if context == "*" else [context or default_context(contexts)]
    return [SeriesKey(metric, one) for one in chosen if one in contexts]


class Drawn(NamedTuple):
    """What was read of a series: ``lines_of`` makes lines of many at once, in a quarter of the time.

    Attributes:
        context: of the series.
        found: buckets in the order of x, perhaps more than are wanted.
        began_ms: where relative time begins.
        x: of each bucket's last point, if neither its step nor its time; there are no more buckets than wanted, then.
        path: as in ``Line``.
    """

    context: str
    found: Buckets
    began_ms: int = 0
    x: NDArray[np.int64] | Floats | None = None
    path: bool = False


def read_series(
    reader: ExperimentReader,
    key: SeriesKey,
    axis: Axis,
    buckets: int,
    bounds: tuple[float, float] = _ALL,
    *,
    paths: bool = True,
) -> Drawn:
    """Return one series on an axis.

    Points lie in the order of x, those of equal x in that of arrival. On the axis of epochs a bucket is an epoch, or
    several; points without one are left out. On that of another metric, points are left out at whose step it has
    none, or NaN or an infinity; of several at a step the last counts. Where that metric neither only rises nor only
    falls, points in the order of x would be a comb of what lies far apart: they are a path through the plane then.

    Args:
        reader: of the experiment.
        key: one of its series.
        axis: what x is.
        buckets: at most so many, and as few as a third where that spares reading points.
        bounds: smallest and largest x wanted. A bucket at the end may reach past them.
        paths: points may come as a path; if not, they are in the order of x even if that is a comb.

    Raises:
        DamageError: the points are damaged.
    """
    if axis.kind == "step":
        return Drawn(key.context, _along_steps(reader, key, buckets, bounds))
    if axis.kind == "time":
        return Drawn(key.context, _along_time(reader, key, buckets, bounds))
    if axis.kind == "relative":
        began = reader.began_ms
        low, high = (began + 1000 * bound for bound in bounds)
        return Drawn(key.context, _along_time(reader, key, buckets, (low, high)), began)
    points = reader.read(*key)
    if axis.kind == "epoch":
        return _along_epochs(key, take(points, np.flatnonzero(points.epochs != NO_EPOCH)), buckets, bounds)
    return _along_metric(key, points, _other(reader, axis.metric), buckets, bounds, paths)


def read_at_once(
    reader: ExperimentReader, keys: Sequence[SeriesKey], axis: Axis, buckets: int, bounds: tuple[float, float] = _ALL
) -> dict[SeriesKey, Drawn]:
    """Return those series that can be read together, as ``read_series`` and ``lines_of`` give them one by one."""
    if axis.kind != "step" or bounds != _ALL:
        return {}
    try:
        found = reader.read_thinned(keys, buckets)
    except DamageError:
        return {}  # whoever reads the one that is damaged is told
    return {key: Drawn(key.context, one) for key, one in found.items()}


def lines_of(drawn: Sequence[Drawn], axis: Axis, buckets: int) -> list[Line]:
    """Return series that were read on an axis as lines of at most so many buckets each."""
    every = coarsened([one.found for one in drawn], buckets)
    return [_line(one, found, axis) for one, found in zip(drawn, every, strict=True)]


def _line(drawn: Drawn, found: Buckets, axis: Axis) -> Line:
    x: NDArray[np.int64] | Floats
    if drawn.x is not None:
        x = drawn.x
    elif axis.kind == "relative":
        x = (found.times_ms - drawn.began_ms) / 1000.0
    else:
        x = found.times_ms if axis.kind == "time" else found.steps
    count = int(found.counts.sum())
    return Line(
        context=drawn.context,
        x=x.astype(np.float64),
        low=found.min,
        high=found.max,
        last=found.last,
        times_ms=found.times_ms,
        count=count,
        exact=count == len(x),
        path=drawn.path,
        rounded=x.dtype == np.int64 and len(x) > 0 and (int(x[-1]) > _EXACT or int(x[0]) < -_EXACT),
    )


def _ascend(numbers: NDArray[np.int64]) -> bool:
    return bool((numbers[1:] >= numbers[:-1]).all())


def _steps_ascend(found: Buckets) -> bool:
    return bool((found.min_steps[1:] >= found.max_steps[:-1]).all() and (found.steps == found.max_steps).all())


def _along_steps(reader: ExperimentReader, key: SeriesKey, buckets: int, bounds: tuple[float, float]) -> Buckets:
    low, high = whole_steps(bounds)
    steps = None if bounds == _ALL else (low, high)
    found = reader.read_entries(key, buckets, steps)
    if _steps_ascend(found):
        return found
    points = reader.read(*key)
    if steps is not None:
        points = take(points, np.flatnonzero((points.steps >= low) & (points.steps <= high)))
    return downsample([take(points, np.argsort(points.steps, kind="stable"))], buckets, None)


def whole_steps(bounds: tuple[float, float]) -> tuple[int, int]:
    """Return the smallest and the largest int64 within bounds, which may be ints, exactly."""
    low, high = bounds
    return (
        -(2**63) if low < -(2**63) else 2**63 - 1 if low >= 2**63 else math.ceil(low),
        2**63 - 1 if high >= 2**63 else -(2**63) if high < -(2**63) else math.floor(high),
    )


def _along_time(reader: ExperimentReader, key: SeriesKey, buckets: int, bounds: tuple[float, float]) -> Buckets:
    """Return the series in the order of time.

    Overviews know the times of last points only. Where both times and steps ascend, which is nearly always, a range
    of time is found by reading a range of steps around it, and then a narrower one.
    """
    found = reader.read_entries(key, buckets, None)
    while _ascend(found.times_ms):
        if bounds == _ALL:
            return found
        first = int(np.searchsorted(found.times_ms, bounds[0], "left"))
        stop = int(np.searchsorted(found.times_ms, bounds[1], "right"))
        stop += int(stop < len(found.counts) and found.counts[stop] > 1)  # it may begin within the bounds
        kept = Buckets._make(row[first:stop] for row in found)
        if bool((kept.counts == 1).all()):
            return kept
        if not _steps_ascend(found):
            break
        steps = int(kept.min_steps[0]), int(kept.max_steps[-1])
        closer = reader.read_entries(key, buckets, steps)
        if closer.counts.sum() == found.counts.sum():
            return kept
        found = closer
    points = reader.read(*key)
    order = np.argsort(points.times_ms, kind="stable")
    times = points.times_ms[order]
    inside = slice(int(np.searchsorted(times, bounds[0], "left")), int(np.searchsorted(times, bounds[1], "right")))
    return downsample([take(points, order[inside])], buckets, None)


def _along_epochs(key: SeriesKey, points: Points, buckets: int, bounds: tuple[float, float]) -> Drawn:
    epochs = points.epochs.astype(np.int64)
    points = take(points, np.flatnonzero((epochs >= bounds[0]) & (epochs <= bounds[1])))
    points = take(points, np.argsort(points.epochs, kind="stable"))
    if not len(points):
        return Drawn(key.context, downsample([points], buckets, None), x=np.empty(0, np.int64))
    starts = np.flatnonzero(np.append(True, points.epochs[1:] != points.epochs[:-1]))
    found = bucketed(points, starts)
    ends = np.append(starts[1:], len(points)) - 1
    if len(starts) > buckets:
        chosen = len(starts) * np.arange(buckets) // buckets
        found, ends = merged(found, chosen), ends[np.append(chosen[1:], len(starts)) - 1]
    return Drawn(key.context, found, x=points.epochs[ends].astype(np.int64))


def _other(reader: ExperimentReader, metric: str) -> Points | None:
    keys = find_series(reader, metric)
    return reader.read(*keys[0]) if keys else None


def _along_metric(
    key: SeriesKey, points: Points, other: Points | None, buckets: int, bounds: tuple[float, float], paths: bool
) -> Drawn:
    x, there = _values_at(points.steps, other)
    there &= np.isfinite(x) & (x >= bounds[0]) & (x <= bounds[1])
    at = np.flatnonzero(there)
    at = at[np.argsort(points.steps[at], kind="stable")]
    turns = np.diff(x[at])
    if paths and (turns > 0).any() and (turns < 0).any():
        chosen = _corners(x[at], points.values[at], buckets)
        found = bucketed(take(points, at[chosen]), np.arange(len(chosen)))
        return Drawn(key.context, found._replace(counts=np.diff(chosen, prepend=-1)), x=x[at[chosen]], path=True)
    at = at[np.argsort(x[at], kind="stable")]
    found = downsample([take(points, at)], buckets, None)
    return Drawn(key.context, found, x=x[at[np.cumsum(found.counts) - 1]])


def _corners(x: Floats, y: Floats, most: int) -> NDArray[np.intp]:
    """Return which points of a path to keep, at most so many: all that is seen of it at this resolution.

    Of each run of points these are the lowest, the highest, the leftmost, the rightmost and the last, so that the path
    reaches as far as it did, and the first that is not finite, so that a gap is told.
    """
    if len(x) <= most:
        return np.arange(len(x))
    if (runs := most // 6) == 0:
        return (len(x) - 1) * np.arange(most) // (most - 1)
    run = np.arange(len(x)) * runs // len(x)
    starts = np.searchsorted(run, np.arange(runs))
    finite = np.where(np.isfinite(y), y, np.nan)
    kept = [np.append(starts[1:], len(x)) - 1]
    for extreme, values in ((np.fmin, finite), (np.fmax, finite), (np.fmin, x), (np.fmax, x)):
        kept.append(np.flatnonzero(values == extreme.reduceat(values, starts)[run]))
    kept.append(np.flatnonzero(~np.isfinite(y)))
    firsts = [some[np.unique(run[some], return_index=True)[1]] for some in kept]
    return np.unique(np.concatenate(firsts))


def _values_at(steps: NDArray[np.int64], other: Points | None) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the last value of another series at each of these steps, and where there is one."""
    if other is None or not len(other):
        return np.full(len(steps), np.nan), np.zeros(len(steps), np.bool_)
    order = np.argsort(other.steps, kind="stable")
    known = other.steps[order]
    at = np.searchsorted(known, steps, "right") - 1
    there = (at >= 0) & (known[at] == steps)
    return other.values[order[at]], there


# ------------------------------------------------------------------------------------------ groups


class Band(NamedTuple):
    """The mean of a group of lines along x, and how far its members are apart. Arrays (n,).

    Attributes:
        x: float64, ascending.
        low: float64; NaN where less than two members have a value.
        high: float64, likewise.
        mean: float64; NaN where none has.
        counts: int64, members that have a value: less than all before the last began and after the first ended.
    """

    x: Floats
    low: Floats
    high: Floats
    mean: Floats
    counts: NDArray[np.int64]


def band_of(lines: Sequence[Line], most: int, error: Error) -> Band:
    """Return the mean of lines, and a band around it.

    At an x where a member has no value, one is taken from the straight line between its neighbours, never beyond its
    ends. Where all lines have the same x, as seeds of one program do, nothing is interpolated: mean and band are
    those of the very values logged there. NaN and infinities are no values.

    Args:
        lines: of the members, as ``lines_of`` returns them.
        most: x are at most so many, evenly chosen from the members'.
        error: ``std``: standard deviation (n - 1); ``sem``: that / √n; ``ci``: Student's interval of the mean, 95 %,
            taken for normal.

    Source: Student, Biometrika 6, 1908.
    """
    from scipy import special

    members = [_values_of(line) for line in lines]
    x = np.unique(np.concatenate([np.empty(0), *(xs for xs, _ in members)]))
    if len(x) > most:
        x = x[(len(x) - 1) * np.arange(most) // (most - 1)]
    table = np.full((len(members), len(x)), np.nan)
    for row, (xs, values) in zip(table, members, strict=True):
        if len(xs):
            row[:] = np.interp(x, xs, values, left=np.nan, right=np.nan)
    there = np.isfinite(table)
    counts = there.sum(axis=0)
    with np.errstate(all="ignore"):  # of values near the largest float64 the square is infinite
        mean = np.where(there, table, 0.0).sum(axis=0) / np.where(counts, counts, np.nan)
        squares = np.where(there, (table - mean) ** 2, 0.0).sum(axis=0)
        half = np.sqrt(squares / np.where(counts > 1, counts - 1, np.nan))
        if error != "std":
            half /= np.sqrt(counts)
        if error == "ci":
            half *= special.stdtrit(np.maximum(counts - 1, 1), 0.975)
    return Band(x, mean - half, mean + half, mean, counts)


def _values_of(line: Line) -> tuple[Floats, Floats]:
    """Return each x once, with the last finite value there."""
    finite = np.flatnonzero(np.isfinite(line.last))
    x, values = line.x[finite], line.last[finite]
    last = np.flatnonzero(np.append(x[1:] > x[:-1], True)[: len(x)])
    return x[last], values[last]
