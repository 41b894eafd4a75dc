"""Writing a segment: everything is computed for all series at once, and never in a loop over points or series."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frameworm.experiment.errors import InputError
from frameworm.experiment.model import Points, SeriesKey
from frameworm.experiment.storage.codec import checksum, encode, is_float32
from frameworm.experiment.storage.segment_layout import (
    BLOCK,
    DIRECTORY_ENTRY,
    GROUP_LONG,
    HEADER_SIZE,
    LONG,
    OUTLINE,
    WINDOW,
    Footer,
    Section,
    Stream,
    pack_header,
)
from frameworm.experiment.storage.series import bucketed, merged, sort_by_series, statistics, take

__all__ = ["write_segment"]


def write_segment(
    path: Path,
    *,
    keys: Sequence[SeriesKey],
    index: NDArray[Any],
    epochs: NDArray[Any],
    steps: NDArray[Any],
    times_ms: NDArray[Any],
    values: NDArray[Any],
    events: bytes,
    sources: Sequence[str],
) -> None:
    """Write all points and events of a journal as one segment, atomically and durably.

    It is written beside as ``<path>.<pid>.tmp``, fsynced, renamed, and its folder fsynced: when this returns, the
    journal may go. What was at ``path`` is replaced. The same input gives the same bytes.

    Args:
        path: the segment.
        keys: the series; those without points are kept too.
        index: (n,) integers, position in ``keys`` of each point; points are in arrival order.
        epochs: (n,) int32, ``NO_EPOCH`` where none was given.
        steps: (n,) int64.
        times_ms: (n,) int64.
        values: (n,) float64.
        events: kept verbatim; JSON lines.
        sources: names of the journals this comes from.

    Raises:
        InputError: lengths differ, an index is not a position in ``keys``, or a name holds NUL.
        TypeError: an array is not safely of its type, such as float64 steps.
        OSError: the disk refused; ``path`` is as it was.
    """
    points = Points(
        _exactly(steps, np.int64),
        _exactly(epochs, np.int32),
        _exactly(times_ms, np.int64),
        _exactly(values, np.float64),
    )
    if not np.can_cast(index.dtype, np.intp):
        index = index.astype(np.intp, casting="same_kind")
    lengths = {len(index), len(points.steps), len(points.epochs), len(points.times_ms), len(points.values)}
    if len(lengths) != 1:
        raise InputError(f"index, epochs, steps, times_ms and values differ in length: {sorted(lengths)}")
    if len(index) and not (0 <= int(index.min()) <= int(index.max()) < len(keys)):
        raise InputError(f"index runs from {index.min()} to {index.max()}, allowed are 0 to {len(keys) - 1}")
    encoder = _Encoder()
    _add_points(encoder, len(keys), index, points)
    _replace(path, encoder.finish(keys, sources, events, len(index)))


def _exactly(column: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """As a contiguous array of a type that holds every number of it; a float step must not be cut to an integer."""
    return np.ascontiguousarray(column.astype(dtype, casting="safe", copy=False))


class _Encoder:
    """Collects the parts of a file and their places."""

    def __init__(self) -> None:
        self._parts = [pack_header()]
        self._offset = HEADER_SIZE
        self._directory: list[tuple[int, int, int, int, int, int, int]] = []

    def add_column(self, stream: Stream, column: NDArray[Any]) -> None:
        """Append one column of a stream: 1 to BLOCK numbers."""
        encoding, data = encode(column.astype(stream.dtype, copy=False))
        crc = checksum(data)
        self._directory.append((self._put(data), len(data), len(column), crc, stream, encoding, 0))

    def add_stream(self, stream: Stream, numbers: NDArray[Any]) -> None:
        """Append a whole stream."""
        for start in range(0, len(numbers), BLOCK):
            self.add_column(stream, numbers[start : start + BLOCK])

    def finish(self, keys: Sequence[SeriesKey], sources: Sequence[str], events: bytes, n: int) -> list[bytes]:
        """Append everything else and return the parts of the file in their order."""
        contexts = list(dict.fromkeys(key.context for key in keys))
        names = [*sources, *contexts, *(key.name for key in keys)]
        text = "".join(f"{name}\0" for name in names)
        if text.count("\0") != len(names):
            name = next(name for name in names if "\0" in name)
            raise InputError(f"the name {name!r} holds NUL; names of series and sources may not")
        number = {context: i for i, context in enumerate(contexts)}
        self.add_stream(Stream.CONTEXT, np.array([number[key.context] for key in keys], np.uint32))
        try:
            packed_text = self._section(text.encode())
        except UnicodeEncodeError as error:
            raise InputError(
                f"a name holds a lone surrogate, {error.object[error.start]!r}; names are UTF-8"
            ) from error
        packed_events = self._section(events)
        directory = np.array(self._directory, DIRECTORY_ENTRY).tobytes()
        place = self._put(directory)
        where = Section(place, len(directory), len(directory), checksum(directory))
        counts = (n, len(keys), len(contexts), len(sources), len(self._directory))
        self._put(Footer(*counts, packed_text, packed_events, where).pack())
        return self._parts

    def _section(self, data: bytes) -> Section:
        packed = zlib.compress(data, 6)
        return Section(self._put(packed), len(packed), len(data), checksum(packed))

    def _put(self, data: bytes) -> int:
        offset = self._offset
        self._parts.append(data)
        self._offset += len(data)
        return offset


def _add_points(encoder: _Encoder, n: int, index: NDArray[np.integer[Any]], points: Points) -> None:
    """Encode the points of ``n`` series, and what is stored of each series."""
    counts = np.bincount(index, minlength=n)
    groups = np.zeros(n, np.uint32)
    groups[index[~is_float32(points.values)]] = 1
    groups[counts >= LONG] = GROUP_LONG
    encoder.add_stream(Stream.COUNT, counts)
    encoder.add_stream(Stream.GROUP, groups)

    # From here on series are in the order they lie in the file: by group, then by number.
    laid = np.argsort(groups, kind="stable")
    rank = np.empty(n, np.uint16 if n <= 1 << 16 else np.uint32)
    rank[laid] = np.arange(n)
    order = sort_by_series(rank[index], n)
    counts, groups = counts[laid], groups[laid]
    values = points.values if order is None else points.values[order]

    timeline, owns = _timelines(points, order, counts)
    encoder.add_stream(Stream.TIMELINE, timeline[rank])
    on_timeline = order
    if not owns.all():
        kept = np.flatnonzero(np.repeat(owns, counts))
        on_timeline = kept if order is None else order[kept]
    blocks = list(pairwise(_cut(counts[owns], groups[owns])))
    columns = ((Stream.STEP, points.steps), (Stream.EPOCH, points.epochs), (Stream.TIME, points.times_ms))
    for stream, column in columns:
        for start, stop in blocks:
            encoder.add_column(stream, _part(column, on_timeline, start, stop))
    for start, stop in pairwise(_cut(counts, groups)):
        encoder.add_column(Stream.VALUE, values[start:stop])

    is_long = counts >= LONG
    if is_long.any():
        _add_long(encoder, points, order, values, counts[is_long])


def _part(column: NDArray[Any], order: NDArray[np.intp] | None, start: int, stop: int) -> NDArray[Any]:
    return column[start:stop] if order is None else column[order[start:stop]]


def _cut(counts: NDArray[np.intp], groups: NDArray[np.uint32]) -> list[int]:
    """Return where blocks of series begin and end, in points.

    Short series of one group fill a block without being cut; each long one has blocks of its own.
    """
    ends, edges = np.cumsum(counts), [0]
    shorts = np.searchsorted(groups, [1, GROUP_LONG])
    for stop in (int(ends[n - 1]) for n in shorts if n):
        while edges[-1] < stop:
            limit = edges[-1] + BLOCK
            edges.append(stop if limit >= stop else int(ends[np.searchsorted(ends, limit, "right") - 1]))
    for stop in ends[shorts[1] :].tolist():
        edges += range(edges[-1] + BLOCK, stop, BLOCK)
        edges.append(stop)
    return edges


def _timelines(
    points: Points, order: NDArray[np.intp] | None, counts: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Find the series that have the same steps, epochs and times as one before them.

    Sums of hashes name the candidates, then every point is compared. Goes through the points in pieces that stay in
    the processor's cache, in 10 ns a point where nothing is shared.

    Returns:
        The number of each series' timeline, in order of first appearance; which series are the first of theirs.
    """
    n, starts = len(counts), np.cumsum(counts) - counts
    sums = counts.astype(np.uint64)
    alone = np.arange(n), np.ones(n, np.bool_)
    if n <= 1:
        return alone
    for _, (part_steps, part_epochs, part_times), series, edges in _pieces(points, order, counts):
        mixed = part_steps.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= part_times.view(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed += part_epochs.astype(np.uint64) * np.uint64(0x165667B19E3779F9)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xD6E8FEB86659FD93)
        sums[series] += np.add.reduceat(mixed, edges)
    _, firsts, which = np.unique(sums, return_index=True, return_inverse=True)
    if len(firsts) == n:
        return alone
    first = firsts[which]
    shared = (counts[first] == counts) & (first != np.arange(n))
    shift = starts[first] - starts
    for begin, part, series, edges in _pieces(points, order, counts):
        if shared[series].any():
            sizes = np.diff(edges, append=len(part[0]))
            there = np.repeat(np.where(shared[series], shift[series], 0), sizes)
            there += np.arange(begin, begin + len(there))
            others = _moments(points, there if order is None else order[there])
            same = np.logical_and.reduce([a == b for a, b in zip(part, others, strict=True)])
            shared[series] &= np.logical_and.reduceat(same, edges)
    number = np.cumsum(~shared) - 1
    return number[np.where(shared, first, np.arange(n))], ~shared


_Moments = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]


def _moments(points: Points, at: Any) -> _Moments:
    return points.steps[at], points.epochs[at], points.times_ms[at]


def _pieces(
    points: Points, order: NDArray[np.intp] | None, counts: NDArray[np.intp]
) -> Iterator[tuple[int, _Moments, NDArray[np.intp], NDArray[np.intp]]]:
    """Yield pieces of BLOCK points: first point, moments, series in it, and where in it each begins."""
    filled = np.flatnonzero(counts)
    stops = np.cumsum(counts[filled])
    starts = stops - counts[filled]
    n = int(counts.sum())
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        inside = slice(np.searchsorted(stops, begin, "right"), np.searchsorted(starts, end, "left"))
        part = _moments(points, slice(begin, end) if order is None else order[begin:end])
        yield begin, part, filled[inside], np.maximum(starts[inside] - begin, 0)


def _add_long(
    encoder: _Encoder,
    points: Points,
    order: NDArray[np.intp] | None,
    values: NDArray[np.float64],
    counts: NDArray[np.intp],
) -> None:
    """Encode statistics and overview of the long series, whose points are the last ``sum(counts)`` in order."""

    def at(positions: NDArray[np.intp]) -> Points:
        return take(points, positions if order is None else order[positions])

    base = len(values) - int(counts.sum())
    stops = base + np.cumsum(counts)
    result = statistics(counts, values[base:], at(stops - counts), at(stops - 1))
    encoder.add_stream(Stream.STATISTICS_FLOAT, result.floats.ravel())
    encoder.add_stream(Stream.STATISTICS_INT, result.ints.ravel())

    def starts(of: NDArray[np.intp], size: int) -> NDArray[np.intp]:
        ends = np.cumsum(of)
        return np.concatenate(
            [np.arange(end - n, end, size) for n, end in zip(of.tolist(), ends.tolist(), strict=True)]
        )

    mine = take(points, slice(base, None) if order is None else order[base:])
    overview = bucketed(mine, starts(counts, WINDOW))
    outline = merged(overview, starts(-(-counts // WINDOW), OUTLINE // WINDOW))
    encoder.add_stream(Stream.OVERVIEW_FLOAT, np.concatenate([overview.min, overview.max, overview.last]))
    encoder.add_stream(Stream.OVERVIEW_INT, np.concatenate([overview.steps, overview.times_ms]))
    encoder.add_stream(Stream.OVERVIEW_NAN, overview.nan_counts)
    encoder.add_stream(Stream.OVERVIEW_STEPS, np.concatenate([overview.min_steps, overview.max_steps]))
    encoder.add_stream(Stream.OUTLINE_FLOAT, np.concatenate([outline.min, outline.max, outline.last]))
    ints = (outline.steps, outline.times_ms, outline.nan_counts, outline.min_steps, outline.max_steps)
    encoder.add_stream(Stream.OUTLINE_INT, np.concatenate(ints))


def _replace(path: Path, parts: Sequence[bytes]) -> None:
    """Write a file so that at every instant the old one or the new one is there, whole."""
    # A name of its own for each process: ranks that end together may seal the same journal at once.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
