"""A series of any length at a few hundred buckets, as a chart needs it.

What is drawn from the buckets is true: they cover every point exactly once, and each tells the smallest and the
largest value of its run, so that no spike is lost whatever the zoom. Drawn a bucket a pixel, they give the very
picture that all points give, but for the order within one pixel.

Source: the aggregation of M4 (U. Jugel, Z. Jerzak, G. Hackenbroich, V. Markl, "M4: A Visualization-Oriented Time
Series Data Aggregation", PVLDB 7(10), 2014), over buckets of equal numbers of points rather than of equal width,
because steps need not ascend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frameworm.experiment.model import Buckets, Points
from frameworm.experiment.storage.series import bucketed, merged, take

__all__ = ["LongSeries", "Windows", "coarsened", "downsample", "entries_of", "joined", "thinned", "window_of"]

_WINDOWS = ((4096, 4), (256, 2))
"""Sizes of windows that overviews come in, and from how many of them a bucket on they serve instead of points or
smaller windows: buckets then differ by a
quarter, or by half, in size, and no more than 512 points a bucket are decoded."""

_MANY = 1_000
"""Windows of a series that are kept until those of all others are there, to be joined with them."""

_AT_ONCE = 1_000_000
"""Points decoded at once where some of them may lie out of range."""


class LongSeries(NamedTuple):
    """A series that has overviews.

    Attributes:
        overview: gives it in windows of 4,096 or of 256 points.
        read: gives its points from ``start`` to ``stop``.
        first: gives value and time (Unix ms) of its first point, without decoding points.
        size: how many points it has.
        last_step: points past it do not count.
    """

    overview: Callable[[int], Buckets]
    read: Callable[[int, int], Points]
    first: Callable[[], tuple[float, int]]
    size: int
    last_step: int = 2**63 - 1

    def until(self, step: int) -> LongSeries:
        """Return the same without points past a step."""
        return self._replace(last_step=min(self.last_step, step))


class Windows(NamedTuple):
    """Many long series in windows, one behind the other.

    Attributes:
        all: the windows.
        firsts: (series + 1,) where each series begins in them, and their number.
        values: (series,) value of the first point of each.
        times_ms: (series,) its time.
    """

    all: Buckets
    firsts: NDArray[np.int64]
    values: NDArray[np.float64]
    times_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Run:
    """Windows of a long series that lie one behind the other: all of their points are wanted, or only some steps."""

    series: LongSeries
    start: int
    windows: Buckets
    size: int
    steps: tuple[int, int] | None

    def __len__(self) -> int:
        return self.size

    def is_all_counted(self) -> bool:
        """Whether no point is past the last step that counts."""
        return int(self.windows.max_steps.max()) <= self.series.last_step

    def points(self) -> Points:
        return self.series.read(self.start, self.start + len(self))

    def cut(self, steps: tuple[int, int]) -> Iterator[Points]:
        """Yield the points at these steps."""
        stop = self.start + len(self)
        for at in range(self.start, stop, _AT_ONCE):
            yield _inside(self.series.read(at, min(at + _AT_ONCE, stop)), steps)

    def split(self) -> list[Points | _Run]:
        """Return the points of the first window, and the others as a run."""
        start = self.start + int(self.windows.counts[0])
        others = Buckets._make(row[1:] for row in self.windows)
        rest = self.size - (start - self.start)
        return [self.series.read(self.start, start), _Run(self.series, start, others, rest, self.steps)]

    def told_apart(self) -> Buckets:
        """Return the windows, the first point of the series before the others of the first; no point is decoded.

        It still counts in the smallest and the largest value of those.
        """
        windows = self.windows
        if self.start or windows.counts[0] < 2:
            return windows
        value, time_ms = self.series.first()
        step, nan = int(windows.min_steps[0]), int(value != value)
        head = (1, nan, value + 0.0, value + 0.0, value, step, step, step, time_ms)
        found = Buckets._make(np.concatenate(([one], row)) for one, row in zip(head, windows, strict=True))
        found.counts[1] -= 1
        found.nan_counts[1] -= nan
        return found


def downsample(
    parts: Sequence[Points | LongSeries], limit: int, steps: tuple[int, int] | None, fewest: int | None = None
) -> Buckets:
    """Return the points of all parts, one behind the other, in at most ``limit`` buckets; see ``entries_of``."""
    return coarsened([entries_of(parts, limit, steps, fewest)], limit)[0]


def entries_of(
    parts: Sequence[Points | LongSeries], limit: int, steps: tuple[int, int] | None, fewest: int | None = None
) -> Buckets:
    """Return the points of all parts, one behind the other, in buckets of which ``coarsened`` makes ``limit``.

    Args:
        parts: in reading order.
        limit: 2 or more.
        steps: only points whose step is from the first to the second of these, both included.
        fewest: as few buckets as this, and windows whole, at the ends of the steps as well, where that spares
            decoding points; None for buckets of nearly equal size, of which the first is the first point alone.
    """
    for window, enough in _WINDOWS:
        most = (limit * enough if fewest is None else fewest) * window
        if window > _WINDOWS[-1][0] and sum(len(p) if isinstance(p, Points) else p.size for p in parts) <= most:
            continue
        found = [_runs(part, window, steps) for part in parts]
        runs = [run for some in found for run in some]
        if sum(map(len, runs)) > most:
            break
        # Of 50 parts a range of steps touches one or two: smaller windows are read of those alone.
        parts = [part for part, some in zip(parts, found, strict=True) if some]
    loose = fewest is not None and sum(map(len, runs)) > most
    pieces: list[Points | _Run] = []
    for run in runs:
        if isinstance(run, Points) or run.steps is None or (loose and run.is_all_counted()):
            pieces.append(run)
        else:
            pieces += run.cut(run.steps)
    pieces = [piece for piece in pieces if len(piece)]
    total = sum(map(len, pieces))
    if total <= most:
        points = joined([piece.points() if isinstance(piece, _Run) else piece for piece in pieces])
        return bucketed(points, _starts(np.arange(total + 1), limit)) if total else _EMPTY
    if isinstance(pieces[0], _Run) and fewest is None:
        pieces[:1] = pieces[0].split()
    every = []
    for number, piece in enumerate(pieces):
        if isinstance(piece, _Run):
            every.append(piece.windows if number else piece.told_apart())
        elif len(piece):
            starts = np.arange(0, len(piece), window)
            every.append(bucketed(piece, starts if number else np.union1d(starts, min(1, len(piece) - 1))))
    entries = every[0] if len(every) == 1 else _concatenated(every)
    return coarsened([entries], limit)[0] if len(entries.counts) > _MANY else entries


def coarsened(every: Sequence[Buckets], limit: int) -> list[Buckets]:
    """Return series in at most ``limit`` buckets each, by joining neighbours.

    All at once: of a hundred series of 391 windows, that takes 10 µs each instead of 100.
    """
    wide = [number for number, entries in enumerate(every) if len(entries.counts) > limit]
    found = list(every)
    if not wide:
        return found
    known: dict[bytes, NDArray[np.intp]] = {}  # series of one program are cut alike
    starts = []
    for number in wide:
        counts = every[number].counts
        cut = counts.tobytes()
        if cut not in known:
            known[cut] = _starts(np.append(0, np.cumsum(counts)), limit)
        starts.append(known[cut])
    firsts = np.cumsum([0, *(len(every[number].counts) for number in wide)])
    all_starts = np.concatenate([mine + first for mine, first in zip(starts, firsts[:-1], strict=True)])
    whole = merged(_concatenated([every[number] for number in wide]), all_starts)
    stops = np.cumsum([0, *map(len, starts)]).tolist()
    for number, (start, stop) in zip(wide, pairwise(stops), strict=True):
        found[number] = Buckets._make(row[start:stop] for row in whole)
    return found


def window_of(size: int, limit: int) -> int | None:
    """Return the size of the windows that ``entries_of`` takes of a whole long series; None if it decodes points.

    Args:
        size: of the series.
        limit: most buckets, a third of which is enough.
    """
    return next((window for window, _ in _WINDOWS if size > limit // 3 * window), None)


def thinned(windows: Windows, limit: int) -> list[Buckets | None]:
    """Return what ``coarsened`` makes of many whole long series; None for those whose steps do not ascend.

    All at once: of 20 series of 391 windows, that takes 10 µs each instead of 60.
    """
    all_, firsts = windows.all, windows.firsts[:-1]
    ascend = all_.min_steps >= np.append(all_.max_steps[:1], all_.max_steps[:-1])
    ascend[firsts] = True
    ascend &= all_.steps == all_.max_steps
    in_order = np.logical_and.reduceat(ascend, firsts)
    known: dict[bytes, NDArray[np.intp]] = {}  # series of one program are cut alike
    every = []
    for first, stop in pairwise(windows.firsts.tolist()):
        counts = all_.counts[first:stop]
        cut = counts.tobytes()
        if cut not in known:
            known[cut] = _starts(np.concatenate(([0, 1], np.cumsum(counts))), limit)
        every.append(known[cut])
    rest = merged(all_, np.concatenate([mine[1:] + (first - 1) for mine, first in zip(every, firsts, strict=True)]))
    stops = np.cumsum([0, *map(len, every)])
    heads = stops[:-1]
    others = np.delete(np.arange(stops[-1]), heads)
    step, nan = all_.min_steps[firsts], np.isnan(windows.values).astype(np.int64)
    one, value = np.ones(len(firsts), np.int64), windows.values + 0.0
    first_points = Buckets(one, nan, value, value, windows.values, step, step, step, windows.times_ms)
    found = Buckets._make(np.empty(stops[-1], row.dtype) for row in rest)
    for row, first_row, other_row in zip(found, first_points, rest, strict=True):
        row[heads], row[others] = first_row, other_row
    found.counts[heads + 1] -= 1
    found.nan_counts[heads + 1] -= nan
    return [
        Buckets._make(row[start:stop] for row in found) if whole else None
        for (start, stop), whole in zip(pairwise(stops.tolist()), in_order.tolist(), strict=True)
    ]


def _concatenated(every: Sequence[Buckets]) -> Buckets:
    return Buckets._make(np.concatenate(rows) for rows in zip(*every, strict=True))


def _runs(part: Points | LongSeries, window: int, steps: tuple[int, int] | None) -> list[Points | _Run]:
    """Return what is wanted of a part: points, or runs of windows that hold what is."""
    if isinstance(part, Points):
        return [part if steps is None else _inside(part, steps)]
    windows = part.overview(window)
    if part.last_step < 2**63 - 1:
        low, high = steps or (-(2**63), 2**63 - 1)
        steps = low, min(high, part.last_step)
    if steps is None:
        return [_Run(part, 0, windows, part.size, None)]
    touched = (windows.max_steps >= steps[0]) & (windows.min_steps <= steps[1])
    whole = (windows.min_steps >= steps[0]) & (windows.max_steps <= steps[1])
    starts = np.append(0, np.cumsum(windows.counts))
    cuts = np.flatnonzero((np.diff(touched) != 0) | (np.diff(whole) != 0)) + 1
    return [
        _Run(
            part,
            int(starts[first]),
            Buckets._make(row[first:stop] for row in windows),
            int(starts[stop] - starts[first]),
            None if whole[first] else steps,
        )
        for first, stop in pairwise([0, *cuts.tolist(), len(touched)])
        if touched[first]
    ]


def _inside(points: Points, steps: tuple[int, int]) -> Points:
    return take(points, np.flatnonzero((points.steps >= steps[0]) & (points.steps <= steps[1])))


def _starts(edges: NDArray[np.int64], limit: int) -> NDArray[np.intp]:
    """Return where buckets begin among entries.

    The first bucket is the first entry, most often a single point; the others share the rest as evenly as the entries
    allow.

    Args:
        edges: (entries + 1,) how many points lie before each entry, and the number of all.
        limit: most buckets.
    """
    total = int(edges[-1])
    if len(edges) - 1 <= limit:
        return np.arange(len(edges) - 1)
    even = 1 + (total - 1) * np.arange(limit - 1) // (limit - 1)
    starts = np.append(0, np.searchsorted(edges[:-1], even).clip(max=len(edges) - 2))
    # Not ``np.unique``, which hashes: ten times the time.
    distinct: NDArray[np.intp] = starts[np.append(True, starts[1:] > starts[:-1])]
    return distinct


def joined(parts: Sequence[Points]) -> Points:
    """Return the points of all parts, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    return Points(
        steps=np.concatenate([np.empty(0, np.int64), *(p.steps for p in parts)]),
        epochs=np.concatenate([np.empty(0, np.int32), *(p.epochs for p in parts)]),
        times_ms=np.concatenate([np.empty(0, np.int64), *(p.times_ms for p in parts)]),
        values=np.concatenate([np.empty(0, np.float64), *(p.values for p in parts)]),
    )


_I, _F = np.empty(0, np.int64), np.empty(0, np.float64)
_EMPTY = Buckets(_I, _I, _F, _F, _F, _I, _I, _I, _I)
