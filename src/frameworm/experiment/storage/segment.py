"""Segments: the immutable file that a closed journal becomes, about 3 bytes a point.

    write_segment(path, keys=…, index=…, …)   every point and event of one journal, at once
    SegmentReader(path).read(i)               the points of one series, decoding its blocks only

How the points lie in the file (``docs/formats/segment.md`` draws every byte):

- Values lie series by series, each in arrival order. A *long* series (4,096 points or more) has blocks of its own,
  so that each is encoded after its own kind; short ones share blocks, those whose values are all float32 apart
  from the others: one float64 learning rate would double what the float32 losses beside it take.
- Steps, epochs and times are a *timeline*. Series logged together have the very same timeline; it is stored
  once, which takes 20 metrics logged by ``log_metrics`` from 3.3 to 2.8 bytes a point, and makes 100,000 of them cost
  nothing but their values and names.
- Long series carry their statistics and an overview; those of short ones are computed again from their points,
  at 10 ns each, and so take no room.
"""

from __future__ import annotations

import os
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from frameworm.experiment.errors import SegmentDamageError, StateError, StoreVersionError, UnsafePathError
from frameworm.experiment.model import Buckets, Points, SeriesKey, SeriesSummary
from frameworm.experiment.paths import open_regular
from frameworm.experiment.storage.codec import CodecError, checksum, decode
from frameworm.experiment.storage.segment_layout import (
    BLOCK,
    DIRECTORY_ENTRY,
    FOOTER_SIZE,
    GROUP_LONG,
    HEADER_SIZE,
    LONG,
    VERSION,
    WINDOW,
    Footer,
    LayoutError,
    Section,
    Stream,
    parse_header,
)
from frameworm.experiment.storage.segment_writer import write_segment
from frameworm.experiment.storage.series import Statistics, bucketed, statistics, summarize, summary_of

__all__ = ["SegmentReader", "summarize", "write_segment"]


class _Columns(NamedTuple):
    """The columns of one stream: entries of the directory, and the first number of each with the total behind."""

    entries: list[tuple[int, int, int, int, int, int, int]]
    firsts: list[int]


_NOTHING: NDArray[Any] = np.empty(0)


class SegmentReader:
    """One segment, opened for reading; every part is read and verified when it is first needed.

    Any thread may read. The file is read with ``pread`` alone: one that is cut short meanwhile gives an error, where a
    memory map would kill the process. It may be removed meanwhile: an open segment stays readable.

    Every method and property raises ``SegmentDamageError`` with path and offset when the bytes it needs are
    damaged; what else the file holds stays readable.
    """

    def __init__(self, path: Path) -> None:
        """Open it, reading header and footer only.

        Raises:
            SegmentDamageError: it is not a whole segment.
            StoreVersionError: it is of a later format.
            FileNotFoundError: there is none.
        """
        self.path = path
        self._fd = -1
        self._streams: dict[Stream, _Columns] = {}
        self._firsts: dict[int, list[int]] = {}
        self._cache: dict[Stream, tuple[int, NDArray[Any]]] = {}
        try:
            self._fd = open_regular(path)
        except UnsafePathError as error:
            raise SegmentDamageError(path, 0, str(error)) from None
        try:
            self._footer = self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def is_at(self, path: Path) -> bool:
        """Whether the file opened is the one at ``path`` now.

        Raises:
            FileNotFoundError: there is none.
        """
        there, mine = os.stat(path), os.fstat(self._fd)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    @property
    def mark(self) -> tuple[int, ...]:
        """Device, inode, size and time of change of the file opened."""
        status = os.fstat(self._fd)
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    @property
    def cached_bytes(self) -> int:
        """What is kept of columns that were read, so that the next series need not read them again."""
        return sum(column.nbytes for _, column in self._cache.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    @property
    def keys(self) -> list[SeriesKey]:
        """The series, in the order they were written."""
        return self._names[1]

    @property
    def sources(self) -> list[str]:
        """Names of the journals this was sealed from."""
        return self._names[0]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Points of each series, int64 (series,)."""
        counts = self._table(Stream.COUNT).astype(np.int64)
        if int(counts.sum()) != self._footer.points:
            raise self._bad(Stream.COUNT, f"points of all series are {counts.sum()}, expected {self._footer.points}")
        return counts

    def events(self) -> bytes:
        """Return the events, verbatim."""
        return self._section(self._footer.events, "events")

    @property
    def events_offset(self) -> int:
        """Where the events begin in the file."""
        return self._footer.events.offset

    def read(self, i: int, start: int = 0, stop: int | None = None) -> Points:
        """Return the points of ``keys[i]`` in arrival order, decoding the blocks they lie in.

        Args:
            i: position in ``keys``.
            start: the first point wanted, counted from 0.
            stop: the point behind the last one wanted; None for all from ``start``.

        Raises:
            IndexError: there is no series ``i``.
        """
        count = self._count(i)
        stop = count if stop is None else min(stop, count)
        start = min(start, stop)
        values, timelines = self._places
        value, moment = int(values[i]), int(timelines[i])
        return Points(
            self._numbers(Stream.STEP, moment + start, moment + stop),
            self._numbers(Stream.EPOCH, moment + start, moment + stop),
            self._numbers(Stream.TIME, moment + start, moment + stop),
            self._numbers(Stream.VALUE, value + start, value + stop),
        )

    def is_long(self, i: int) -> bool:
        """Whether ``keys[i]`` has 4,096 points or more, and so overviews.

        Raises:
            IndexError: there is no series ``i``.
        """
        return self._count(i) >= LONG

    def overview(self, i: int, window: int = WINDOW) -> Buckets:
        """Return ``keys[i]`` in buckets of 256 or of 4,096 points, the last for what is left.

        The arrays are shared, and not to be changed. Points are decoded for a short series alone, and in files of the
        first releases.

        Args:
            i: position in ``keys``.
            window: 256 or 4096.

        Raises:
            IndexError: there is no series ``i``.
        """
        count = self._count(i)
        if count < LONG or not self._columns(Stream.OUTLINE_INT).entries:
            return bucketed(self.read(i), np.arange(0, count, window))
        return self._overview(range(i, i + 1), window)

    def overviews(self, positions: Sequence[int], window: int = WINDOW) -> Buckets | None:
        """Return many long series as ``overview`` does, one behind the other; None in files of the first releases.

        Args:
            positions: in ``keys``, ascending, each of a long series.
            window: 256 or 4096.
        """
        if not self._columns(Stream.OUTLINE_INT).entries:
            return None
        gaps = [k for k in range(1, len(positions)) if positions[k] != positions[k - 1] + 1]
        runs = pairwise([0, *gaps, len(positions)])
        every = [self._overview(range(positions[a], positions[b - 1] + 1), window) for a, b in runs]
        return every[0] if len(every) == 1 else Buckets._make(map(np.concatenate, zip(*every, strict=True)))

    def _overview(self, series: range, window: int) -> Buckets:
        """Return long series that lie one behind the other in windows."""
        firsts = self._windows(window)
        total, first, stop = firsts[-1], firsts[series.start], firsts[series.stop]

        def rows(stream: Stream, number: int) -> list[NDArray[Any]]:
            self._expect(stream, number * total)
            return [self._view(stream, row * total + first, row * total + stop) for row in range(number)]

        if window == WINDOW:
            low, high, last = rows(Stream.OVERVIEW_FLOAT, 3)
            steps, times_ms = rows(Stream.OVERVIEW_INT, 2)
            min_steps, max_steps = rows(Stream.OVERVIEW_STEPS, 2)
            nan_counts = rows(Stream.OVERVIEW_NAN, 1)[0].astype(np.int64)
        else:
            low, high, last = rows(Stream.OUTLINE_FLOAT, 3)
            steps, times_ms, nan_counts, min_steps, max_steps = rows(Stream.OUTLINE_INT, 5)
        counts = np.full(stop - first, window, np.int64)
        for i in series:
            n = firsts[i + 1] - firsts[i]
            if n:  # it is long: others may lie between
                counts[firsts[i + 1] - 1 - first] = int(self.counts[i]) - (n - 1) * window
        return Buckets(counts, nan_counts, low, high, last, min_steps, max_steps, steps, times_ms)

    def first(self, i: int) -> tuple[float, int]:
        """Return value and time (Unix ms) of the first point of ``keys[i]``; of a long series nothing is decoded.

        Raises:
            IndexError: there is no series ``i``, or it has no points.
        """
        if self.is_long(i):
            floats, ints = self._long_statistics
            at = int((self.counts[:i] >= LONG).sum())
            return float(floats[0, at]), int(ints[3, at])
        points = self.read(i, 0, 1)
        return float(points.values[0]), int(points.times_ms[0])

    def long_firsts(self, positions: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return values and times (Unix ms) of the first points of long series, at these positions in ``keys``."""
        floats, ints = self._long_statistics
        at = (np.cumsum(self.counts >= LONG) - 1)[list(positions)]
        return floats[0, at], ints[3, at]

    def summary(self, i: int) -> SeriesSummary | None:
        """Return the summary of ``keys[i]``, stored for a long series; None if it has no points.

        Raises:
            IndexError: there is no series ``i``.
        """
        if not self.is_long(i):
            return summary_of(self.keys[i], self.read(i))
        at = slice((at := int((self.counts[:i] >= LONG).sum())), at + 1)
        floats, ints = self._long_statistics
        return Statistics(self.counts[i : i + 1], floats[:, at], ints[:, at]).summaries([self.keys[i]])[0]

    def summaries(self) -> list[SeriesSummary]:
        """Return a summary of each series that has points, in the order of ``keys``.

        Long series have theirs stored; the blocks of all short ones are decoded.
        """
        counts, keys = self.counts, self.keys
        filled = np.flatnonzero(counts)
        floats, ints = np.empty((5, len(counts))), np.empty((5, len(counts)), np.int64)
        is_long = counts >= LONG
        floats[:, is_long], ints[:, is_long] = self._long_statistics
        starts, moments = self._places
        short = filled[~is_long[filled]]
        short = short[np.argsort(starts[short])]
        if len(short):
            n = counts[short]
            values = self._numbers(Stream.VALUE, int(starts[short[0]]), int(starts[short[-1]] + n[-1]))
            first, last = self._ends(moments[short], n, values)
            result = statistics(n, values, first, last)
            floats[:, short], ints[:, short] = result.floats, result.ints
        result = Statistics(counts[filled], floats[:, filled], ints[:, filled])
        return result.summaries([keys[i] for i in filled.tolist()])

    def short(self) -> tuple[NDArray[np.intp], Points]:
        """Return the points of all short series, each in arrival order, and the position of each in ``keys``."""
        counts = self.counts
        starts, moments = self._places
        series = np.flatnonzero((counts > 0) & (counts < LONG))
        series = series[np.argsort(starts[series])]
        n = counts[series]
        index = np.repeat(series, n)
        at = np.arange(len(index)) - np.repeat(np.cumsum(n) - n, n) + moments[index]
        base, stop = (int(at.min()), int(at.max()) + 1) if len(at) else (0, 0)
        first = int(starts[series[0]]) if len(series) else 0
        return index, Points(
            self._numbers(Stream.STEP, base, stop)[at - base],
            self._numbers(Stream.EPOCH, base, stop)[at - base],
            self._numbers(Stream.TIME, base, stop)[at - base],
            self._numbers(Stream.VALUE, first, first + len(index)),
        )

    # ------------------------------------------------------------------------------------------- the parts

    def _ends(self, moments: NDArray[np.int64], n: NDArray[np.int64], values: Any) -> tuple[Points, Points]:
        """Return the first and the last points of short series that lie one behind the other."""
        stop = int((moments + n).max())
        base = int(moments.min())
        firsts, lasts = moments - base, moments - base + n - 1
        stops = np.cumsum(n)
        steps = self._numbers(Stream.STEP, base, stop)
        epochs = self._numbers(Stream.EPOCH, base, stop)
        times_ms = self._numbers(Stream.TIME, base, stop)
        first = Points(steps[firsts], epochs[firsts], times_ms[firsts], values[stops - n])
        last = Points(steps[lasts], epochs[lasts], times_ms[lasts], values[stops - 1])
        return first, last

    @cached_property
    def _names(self) -> tuple[list[str], list[SeriesKey]]:
        """Sources and series."""
        footer = self._footer
        try:
            names = self._section(footer.text, "text").decode().split("\0")
        except UnicodeDecodeError as error:
            raise self._damage(footer.text.offset, f"text: not UTF-8: {error}") from error
        expected = footer.sources + footer.contexts + footer.series
        if names.pop():
            raise self._damage(footer.text.offset, "text: no NUL at the end")
        if len(names) != expected:
            raise self._damage(footer.text.offset, f"text: {len(names)} names, expected {expected}")
        contexts = names[footer.sources : footer.sources + footer.contexts]
        which = self._table(Stream.CONTEXT)
        if footer.series and int(which.max()) >= len(contexts):
            raise self._bad(Stream.CONTEXT, f"context {which.max()} of {len(contexts)}")
        series = names[footer.sources + footer.contexts :]
        keys = [SeriesKey(name, contexts[c]) for name, c in zip(series, which.tolist(), strict=True)]
        return names[: footer.sources], keys

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each series begins in the stream of values, and in those of steps, epochs and times."""
        counts, groups, timelines = self.counts, self._table(Stream.GROUP), self._table(Stream.TIMELINE)
        if bool((groups > GROUP_LONG).any() or ((groups == GROUP_LONG) != (counts >= LONG)).any()):
            raise self._bad(Stream.GROUP, f"groups and counts disagree on which series have {LONG} points")
        laid = np.argsort(groups, kind="stable")
        starts = np.empty(len(counts), np.int64)
        starts[laid] = np.cumsum(counts[laid]) - counts[laid]
        if len(counts) and int(timelines.max()) >= len(counts):
            raise self._bad(Stream.TIMELINE, f"timeline {timelines.max()} of {len(counts)} series")
        sizes = np.zeros(len(counts), np.int64)
        sizes[timelines] = counts
        if bool((sizes[timelines] != counts).any()):
            raise self._bad(Stream.TIMELINE, "series of one timeline differ in length")
        for stream in (Stream.STEP, Stream.EPOCH, Stream.TIME):
            self._expect(stream, int(sizes.sum()))
        self._expect(Stream.VALUE, self._footer.points)
        return starts, (np.cumsum(sizes) - sizes)[timelines]

    def _windows(self, window: int) -> list[int]:
        """Return the number of the first window of each series, and behind them how many all have."""
        if window not in self._firsts:
            each = np.where(self.counts >= LONG, -(-self.counts // window), 0)
            self._firsts[window] = [0, *np.cumsum(each).tolist()]
        return self._firsts[window]

    @cached_property
    def _long_statistics(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The stored statistics (5, m) of the long series, rows as in ``Statistics``."""
        m = int((self.counts >= LONG).sum())
        floats, ints = self._table(Stream.STATISTICS_FLOAT, 5 * m), self._table(Stream.STATISTICS_INT, 5 * m)
        return floats.reshape(5, m), ints.reshape(5, m)

    @cached_property
    def _directory(self) -> NDArray[Any]:
        """What is known of each column, (columns,) of DIRECTORY_ENTRY."""
        where = self._footer.directory
        data = self._bytes(where.offset, where.length, "directory", where.crc)
        if len(data) != self._footer.columns * DIRECTORY_ENTRY.itemsize:
            raise self._damage(where.offset, f"directory: {len(data)} bytes for {self._footer.columns} columns")
        entries = np.frombuffer(data, DIRECTORY_ENTRY)
        bad = (entries["count"] == 0) | (entries["count"] > BLOCK)
        bad |= (entries["offset"] < HEADER_SIZE) | (entries["offset"] > where.offset)
        bad |= entries["length"] > where.offset - np.minimum(entries["offset"], where.offset)
        if bad.any():
            entry = entries[bad][0]
            raise self._damage(where.offset, f"directory: no such column can be: {entry}")
        return entries

    def _columns(self, stream: Stream) -> _Columns:
        """Return the columns of a stream; streams that this release does not know are left alone."""
        if stream not in self._streams:
            entries = self._directory
            mine = entries[entries["stream"] == int(stream)]
            self._streams[stream] = _Columns(mine.tolist(), [0, *np.cumsum(mine["count"], dtype=np.int64).tolist()])
        return self._streams[stream]

    def _count(self, i: int) -> int:
        counts = self.counts
        if not 0 <= i < len(counts):
            raise IndexError(f"series {i} of {len(counts)} in {self.path}")
        return int(counts[i])

    def _table(self, stream: Stream, expected: int | None = None) -> NDArray[Any]:
        """Read a whole stream; of one number a series where no length is given."""
        n = self._footer.series if expected is None else expected
        self._expect(stream, n)
        return self._numbers(stream, 0, n)

    def _expect(self, stream: Stream, n: int) -> None:
        total = self._columns(stream).firsts[-1]
        if total != n:
            raise self._bad(stream, f"{total} numbers, expected {n}")

    def _view(self, stream: Stream, start: int, stop: int) -> NDArray[Any]:
        """Read numbers ``start`` to ``stop`` of a stream, as a view of what is kept of it where that has them all."""
        firsts = self._columns(stream).firsts
        k = bisect_right(firsts, start) - 1
        if not start < stop <= firsts[k + 1]:
            return self._numbers(stream, start, stop)
        column = self._column(stream, k)
        return column[start - firsts[k] : stop - firsts[k]]

    def _column(self, stream: Stream, k: int) -> NDArray[Any]:
        """Return column ``k`` of a stream, which is kept until another one of it is needed."""
        number, column = self._cache.get(stream, (-1, _NOTHING))
        if number != k:
            entries, firsts = self._columns(stream)
            column = np.empty(firsts[k + 1] - firsts[k], stream.dtype)
            self._decode(stream, entries[k], column)
            column.flags.writeable = False
            self._cache[stream] = (k, column)
        return column

    def _numbers(self, stream: Stream, start: int, stop: int) -> NDArray[Any]:
        """Read numbers ``start`` to ``stop`` of a stream."""
        entries, firsts = self._columns(stream)
        out = np.empty(stop - start, stream.dtype)
        at = start
        while at < stop:
            k = bisect_right(firsts, at) - 1
            first, end = firsts[k], firsts[k + 1]
            upto = min(end, stop)
            part = out[at - start : upto - start]
            if len(part) == end - first:
                self._decode(stream, entries[k], part)
            else:
                # Short series are read one by one, hundreds of them from the same column.
                part[:] = self._column(stream, k)[at - first : upto - first]
            at = upto
        return out

    def _decode(self, stream: Stream, entry: tuple[int, int, int, int, int, int, int], out: NDArray[Any]) -> None:
        offset, length, _, crc, _, encoding, _ = entry
        what = f"{stream.name} column of {len(out)}"
        data = self._bytes(offset, length, what, crc)
        try:
            decode(encoding, data, out)
        except CodecError as error:
            raise self._damage(offset, f"{what}: {error}") from error

    def _section(self, where: Section, what: str) -> bytes:
        """Read and unpack text or events."""
        data = self._bytes(where.offset, where.length, what, where.crc)
        # zlib packs at most 1,032 to 1: a larger size is forged, and nothing is allocated for it.
        if where.size > 1032 * where.length + 64:
            raise self._damage(where.offset, f"{what}: {where.length} bytes cannot hold {where.size}")
        unpacker = zlib.decompressobj()
        try:
            result = unpacker.decompress(data, where.size + 1)
        except zlib.error as error:
            raise self._damage(where.offset, f"{what}: {error}") from error
        if len(result) != where.size or not unpacker.eof:
            raise self._damage(where.offset, f"{what}: unpacks to {len(result)} bytes, expected {where.size}")
        return result

    # -------------------------------------------------------------------------------------------- the file

    def _open(self) -> Footer:
        size = self._size = os.fstat(self._fd).st_size
        end = size - FOOTER_SIZE
        try:
            version = parse_header(self._bytes(0, HEADER_SIZE, "header"))
            if version > VERSION:
                raise StoreVersionError(
                    f"{self.path}: segment format {version}, this release reads up to {VERSION}: upgrade with "
                    "`pip install --upgrade frameworm`"
                )
            if end < HEADER_SIZE:
                raise self._damage(
                    size, f"file of {size} bytes, a segment has at least {HEADER_SIZE + FOOTER_SIZE}: truncated"
                )
            footer = Footer.parse(self._bytes(end, FOOTER_SIZE, "footer"))
        except LayoutError as error:
            raise self._damage(end if error.at_end else 0, str(error)) from error
        for section in (footer.text, footer.events, footer.directory):
            if section.offset < HEADER_SIZE or section.offset + section.length > end:
                raise self._damage(end, f"footer: a section at {section.offset} of {section.length} bytes is outside")
        return footer

    def _bytes(self, offset: int, length: int, what: str, crc: int | None = None) -> bytes:
        """Read and verify bytes of the file."""
        if self._fd < 0:
            raise StateError(f"{self.path} is closed: open a SegmentReader again")
        if offset + length > self._size:
            raise self._damage(self._size, f"{what}: ends here, expected {length} bytes from {offset}: truncated")
        data = b""
        while len(data) < length:  # more than once for 2 GB and more
            try:
                more = os.pread(self._fd, length - len(data), offset + len(data))
            except OSError as error:
                raise self._damage(offset + len(data), f"{what}: {error.strerror}") from error
            if not more:
                raise self._damage(offset + len(data), f"{what}: cut off since the file was opened")
            data = data + more if data else more
        if crc is not None and (actual := checksum(data)) != crc:
            raise self._damage(offset, f"{what}: checksum mismatch, expected {crc:#010x}, actual {actual:#010x}")
        return data

    def _bad(self, stream: Stream, what: str) -> SegmentDamageError:
        """Damage of a whole stream."""
        entries = self._columns(stream).entries
        return self._damage(entries[0][0] if entries else self._footer.directory.offset, f"{stream.name}: {what}")

    def _damage(self, offset: int, what: str) -> SegmentDamageError:
        return SegmentDamageError(self.path, offset, what)
