"""Reading a journal back: live, ended, torn or damaged.

Runs of equal or periodically repeating records are parsed at once with NumPy; a torn tail is where the file ends,
never an error. The format is drawn in ``docs/formats/journal.md``, its constants and its writer are in ``journal``.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.config import load_json
from frameworm.experiment.errors import JournalDamageError, StoreVersionError
from frameworm.experiment.events import Check, Event, Series, Set, decode
from frameworm.experiment.model import Points, SeriesKey
from frameworm.experiment.recording.journal import (
    EVENT_PREFIX,
    HEADER_SIZE,
    MAGIC,
    MAX_ID,
    POINT_SIZE,
    ROW_FLAG,
    ROW_PREFIX_SIZE,
    VERSION,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOOKAHEAD = 32
_FEW_RUNS = 16
_MANY_RECORDS = 65_536


@dataclass(frozen=True, slots=True)
class _Run:
    """``count`` repetitions, ``stride`` bytes apart, of the same sequence of records.

    ``parts`` gives each record of the sequence: its offset from the run's start, the ids of its series, or None for
    a point, whose id stands in its head, and the head of a row, or 0 for a point.

    Where several threads log as they come there are no repetitions: then ``starts`` gives the places of the records of
    one kind, int64 (count,), and ``stride`` is 0.
    """

    offset: int
    count: int
    stride: int
    parts: tuple[tuple[int, tuple[int, ...] | None, int], ...]
    starts: NDArray[np.int64] | None = None

    @property
    def end(self) -> int:
        return self.offset + self.count * self.stride


@dataclass(slots=True)
class JournalContents:
    """What one journal held when it was read, or last refreshed.

    Any thread may read; nobody while another refreshes.

    Attributes:
        keys: the series declared; series id i is ``keys[i - 1]``.
        events: every event, in order, as written.
        damage: what could not be read; all else is there.
        end: bytes understood; what follows is a torn tail.
    """

    path: Path
    keys: list[SeriesKey] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    damage: list[JournalDamageError] = field(default_factory=list)
    end: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _size: int = 0
    _file: tuple[int, int] = (0, 0)
    _sets: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _runs: list[_Run] = field(default_factory=list)
    _by_series: tuple[NDArray[np.int64], Points] | None = None

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file that was read."""
        return self._file

    @property
    def buffered_bytes(self) -> int:
        """What is kept of the file in memory, and of a copy of it sorted by series."""
        copy = 0 if self._by_series is None else 28 * len(self._by_series[1])
        return len(self._buffer) + copy

    def refresh(self) -> bool:
        """Take in what was appended since the last time, and nothing else; return whether there was anything.

        Where the file was replaced or cut back, it is read anew.

        Raises:
            FileNotFoundError: the journal is gone; most likely it was sealed.
            OSError: it cannot be read.
        """
        with open(self.path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity == self._file and status.st_size == self._size == self.end:
                return False
            if identity != self._file or status.st_size < self.end:
                self._restart()
                self._file = identity
            before = self.end
            size = max(status.st_size, before)
            if size > len(self._buffer):
                larger = bytearray(max(size, len(self._buffer) * 3 // 2))
                larger[:before] = memoryview(self._buffer)[:before]
                self._buffer = larger
            view = memoryview(self._buffer)[before:size]
            file.seek(before)
            got = 0
            while got < len(view) and (more := file.readinto(view[got:])):
                got += more
        self._size = before + got
        self._by_series = None
        self._scan()
        return self.end != before

    def _restart(self) -> None:
        self._buffer, self._size, self.end, self._by_series = bytearray(), 0, 0, None
        for items in (self.keys, self.events, self.damage, self._runs):
            items.clear()
        self._sets.clear()

    def _scan(self) -> None:
        """Understand the bytes from ``end`` on."""
        if self.end < HEADER_SIZE:
            problem = _wrong_header(self.path, self._buffer, self._size)
            self.damage[:] = [problem] if problem else []
            if self._size < HEADER_SIZE or (problem and problem.offset == 0):
                return
            self.end = HEADER_SIZE
        # What looked damaged at the end may have been a record on its way.
        self.damage[:] = [damage for damage in self.damage if damage.offset < self.end]
        if self._runs and self._runs[-1].count == 1 and self._runs[-1].end == self.end:
            self.end = self._runs.pop().offset  # part of a sequence that now may go on
        _Scanner(self, self._buffer, self._size).scan()

    def columns(self) -> tuple[NDArray[np.uint32], Points]:
        """Return all points: positions in ``keys`` uint32 (n,) and the points (n,), in arrival order."""
        if self._in_order():
            return _join([self._columns([run]) for run in self._runs])
        import numpy as np

        # An event every second cuts a journal into thousands of short runs: those alike are taken at once.
        alike: dict[tuple[int, ...], list[_Run]] = {}
        for run in self._runs:
            alike.setdefault(tuple(head for _, _, head in run.parts), []).append(run)
        index, points = _join([self._columns(runs) for runs in alike.values()])
        if len(alike) > 1:
            order = np.argsort(np.concatenate([_offsets(runs) for runs in alike.values()]), kind="stable")
            index, points = index[order], _chosen(points, order)
        return index, points

    def read(self, position: int) -> Points:
        """Return the points of ``keys[position]``, in arrival order."""
        import numpy as np

        if not self._in_order():
            return self._read_sorted(position)
        series_id = position + 1
        pieces = []
        for run in self._runs:
            if len(run.parts) == 1 and run.parts[0][1] is not None:
                ids = run.parts[0][1]
                if series_id not in ids:
                    continue
                epochs, steps, times, values = self._row(run, run.offset, len(ids))
                pieces.append((np.empty(0, np.uint32), Points(steps, epochs, times, values[:, ids.index(series_id)])))
                continue
            if all(ids is not None and series_id not in ids for _, ids, _ in run.parts):
                continue
            index, points = self._columns([run])
            mine = index == position
            pieces.append(
                (
                    np.empty(0, np.uint32),
                    _chosen(points, mine),
                )
            )
        return _join(pieces)[1]

    def _in_order(self) -> bool:
        """Whether the runs are few, and lie one after the other."""
        return len(self._runs) <= _FEW_RUNS and all(run.starts is None for run in self._runs)

    def _read_sorted(self, position: int) -> Points:
        """Read from a copy sorted by series: with many runs, going through them all for each series takes long."""
        import numpy as np

        if self._by_series is None:
            index, points = self.columns()
            order = np.argsort(index, kind="stable")
            ends = np.cumsum(np.bincount(index, minlength=len(self.keys)))
            self._by_series = ends, _chosen(points, order)
        ends, points = self._by_series
        mine = slice(int(ends[position - 1]) if position else 0, int(ends[position]))
        return _chosen(points, mine)

    def _row(self, run: _Run, offset: int, size: int) -> tuple[Any, Any, Any, Any]:
        """Return views (epochs, steps, times (count,), values (count, size)) of one record of a run."""
        import numpy as np

        def view(dtype: str, at: int) -> Any:
            return np.ndarray((run.count,), dtype, self._buffer, offset + at, (run.stride,))

        values = np.ndarray((run.count, size), "<f8", self._buffer, offset + ROW_PREFIX_SIZE, (run.stride, 8))
        return view("<i4", 4), view("<i8", 8), view("<i8", 16), values

    def _gathered(self, starts: NDArray[np.int64], size: int) -> tuple[Any, Any, Any, Any]:
        """Return the same of the records that begin at ``starts``, as copies."""
        import numpy as np

        words = self._size // 8
        long = np.frombuffer(self._buffer, "<i8", words)
        at = starts >> 3
        values = np.frombuffer(self._buffer, "<f8", words)[(at + ROW_PREFIX_SIZE // 8)[:, None] + np.arange(size)]
        return np.frombuffer(self._buffer, "<i4", words * 2)[2 * at + 1], long[at + 1], long[at + 2], values

    def _columns(self, runs: Sequence[_Run]) -> tuple[NDArray[np.uint32], Points]:
        """Return the points of runs that have the same sequence of records, in arrival order."""
        import numpy as np

        indexes: list[Any] = []
        epochs: list[Any] = []
        steps: list[Any] = []
        times: list[Any] = []
        values: list[Any] = []
        first = runs[0]
        starts = None if len(runs) == 1 and first.starts is None else _starts(runs)
        for at, ids, _ in first.parts:
            size = 1 if ids is None else len(ids)
            if starts is None:
                part = self._row(first, first.offset + at, size)
                heads = np.ndarray((first.count,), "<u4", self._buffer, first.offset + at, (first.stride,))
            else:
                part = self._gathered(starts + at, size)
                heads = np.frombuffer(self._buffer, "<u4", self._size // 4)[(starts + at) >> 2]
            count = len(heads)
            if ids is None:
                indexes.append((heads - np.uint32(1))[:, None])
            else:
                indexes.append(np.broadcast_to(np.asarray(ids, np.uint32) - np.uint32(1), (count, size)))
            for column, source in zip((epochs, steps, times), part[:3], strict=True):
                column.append(np.broadcast_to(source[:, None], (count, size)))
            values.append(part[3])

        def flat(parts: list[Any]) -> Any:
            return np.concatenate(parts, axis=1).ravel() if len(parts) > 1 else parts[0].ravel()

        return flat(indexes), Points(flat(steps), flat(epochs), flat(times), flat(values))


def _starts(runs: Sequence[_Run]) -> NDArray[np.int64]:
    """Return where each repetition begins."""
    import numpy as np

    if any(run.starts is not None or run.stride != runs[0].stride for run in runs):
        return np.concatenate([_starts([run]) if run.starts is None else run.starts for run in runs])
    counts = np.array([run.count for run in runs])
    before = np.repeat(np.cumsum(counts) - counts, counts)
    within = np.arange(counts.sum()) - before
    starts: NDArray[np.int64] = np.repeat([run.offset for run in runs], counts) + within * runs[0].stride
    return starts


def _offsets(runs: Sequence[_Run]) -> NDArray[np.int64]:
    """Return where the record of each point begins, in the order of ``_columns``."""
    import numpy as np

    sizes = [1 if ids is None else len(ids) for _, ids, _ in runs[0].parts]
    within = np.repeat([at for at, _, _ in runs[0].parts], sizes)
    offsets: NDArray[np.int64] = (_starts(runs)[:, None] + within).ravel()
    return offsets


def _chosen(points: Points, which: Any) -> Points:
    """Return some of the points: those of a slice, a mask or positions."""
    return Points(points.steps[which], points.epochs[which], points.times_ms[which], points.values[which])


def _join(pieces: Sequence[tuple[NDArray[np.uint32], Points]]) -> tuple[NDArray[np.uint32], Points]:
    import numpy as np

    def column(parts: list[Any], dtype: str) -> Any:
        joined = np.concatenate(parts) if parts else np.empty(0, dtype)
        return np.ascontiguousarray(joined, dtype=dtype)

    return column([p[0] for p in pieces], "=u4"), Points(
        steps=column([p[1].steps for p in pieces], "=i8"),
        epochs=column([p[1].epochs for p in pieces], "=i4"),
        times_ms=column([p[1].times_ms for p in pieces], "=i8"),
        values=column([p[1].values for p in pieces], "=f8"),
    )


def read_journal(path: Path, *, verify: bool = False) -> JournalContents:
    """Read a journal as it is now, live, ended, torn or damaged.

    Args:
        path: the file.
        verify: compare the checksums that the writer left with the bytes (about 1 ms a MB).

    Raises:
        StoreVersionError: written by a newer release.
        OSError: the file cannot be opened.
    """
    contents = JournalContents(path)
    contents.refresh()
    if verify:
        _verify(contents)
    return contents


def _wrong_header(path: Path, buffer: bytearray, size: int) -> JournalDamageError | None:
    """Return what is wrong with the first bytes of a file; a header cut short is none of it.

    Raises:
        StoreVersionError: written by a newer release.
    """
    start = bytes(buffer[: min(size, HEADER_SIZE)])
    if size < HEADER_SIZE:
        if (MAGIC + struct.pack("<I", VERSION)).startswith(start[:12]):
            return None
        return JournalDamageError(path, 0, "not a journal: the header is another")
    if start[:8] != MAGIC:
        return JournalDamageError(path, 0, f"not a journal: magic expected {MAGIC!r}, got {start[:8]!r}")
    version, crc = struct.unpack_from("<II", start, 8)
    if crc != zlib.crc32(start[:12]):
        return JournalDamageError(path, 8, "header checksum")
    if version != VERSION:
        raise StoreVersionError(
            f"{path}: journal version {version}, this release reads {VERSION}: upgrade with "
            "`pip install --upgrade frameworm`"
        )
    return None


def _verify(contents: JournalContents) -> None:
    for event in contents.events:
        if isinstance(event, Check):
            start, end = event.start, min(event.end, contents._size)
            actual = zlib.crc32(memoryview(contents._buffer)[start:end])
            if actual != event.crc:
                what = f"bytes {start}-{event.end}: checksum expected {event.crc:08x}, got {actual:08x}"
                contents.damage.append(JournalDamageError(contents.path, start, what))


_VAIN_BYTES = 64 << 20
"""So many bytes are checksummed in vain after damage, and as many as the file has: bounded whatever they are."""


class _Scanner:
    """One pass over a journal's bytes from where ``contents`` ends; adds to it."""

    def __init__(self, contents: JournalContents, buffer: bytearray, size: int) -> None:
        self.contents = contents
        self.buffer = buffer
        self.size = size
        self.heads = memoryview(buffer)[: size & ~3].cast("I")
        self.sets = contents._sets
        self.vain = 0  # bytes looked through for an event after damage that turned out to be none

    def scan(self) -> None:
        offset = self.contents.end
        while offset + 8 <= self.size:
            head = self.heads[offset >> 2]
            step = self._event(offset, head) if head >> 30 == 2 else self._records(offset)
            if step:
                offset += step
                continue
            found = self._resync(offset)
            if found is None:
                if not self._is_torn(offset, head):
                    self._damaged(offset, f"no record starts with {head:#010x}")
                break
            self._damaged(offset, f"{found - offset} bytes are no records; reading goes on at {found}")
            offset = found
        self.contents.end = offset

    def _damaged(self, offset: int, what: str) -> None:
        self.contents.damage.append(JournalDamageError(self.contents.path, offset, what))

    def _is_torn(self, offset: int, head: int) -> bool:
        """Whether what starts here can be a record that was cut by the end of the file."""
        kind, low = head >> 30, head & MAX_ID
        left = self.size - offset
        if head == 0:
            return not any(self.buffer[offset : self.size])
        if kind == 0:
            return low <= len(self.contents.keys) and left < POINT_SIZE
        if kind == 1:
            return low in self.sets and left < ROW_PREFIX_SIZE + 8 * len(self.sets[low])
        return kind == 2 and left < _frame_size(low)

    def _resync(self, offset: int) -> int | None:
        """Return where the next whole event starts after damage."""
        at = offset
        while self.vain < _VAIN_BYTES + self.size and (at := self.buffer.find(EVENT_PREFIX, at + 1, self.size)) >= 0:
            start = at - 8
            if start <= offset or start % 8:
                continue
            head = self.heads[start >> 2]
            if head >> 30 == 2:
                if self._payload(start, head) is not None:
                    return start
                self.vain += min(head & MAX_ID, self.size - start)
        return None

    def _payload(self, offset: int, head: int) -> bytes | None:
        length = head & MAX_ID
        payload = bytes(self.buffer[offset + 8 : min(offset + 8 + length, self.size)])
        if len(payload) < length or zlib.crc32(payload) != self.heads[(offset >> 2) + 1]:
            return None
        return payload

    def _event(self, offset: int, head: int) -> int:
        payload = self._payload(offset, head)
        if payload is None or offset + _frame_size(len(payload)) > self.size:
            return 0
        try:
            self._take(offset, decode(load_json(payload)))
        except ValueError as error:
            self._damaged(offset, f"an event that no release writes: {error}")
        return _frame_size(len(payload))

    def _take(self, offset: int, event: Event) -> None:
        """Take in an event.

        Raises:
            ValueError: it does not fit those before it.
        """
        if isinstance(event, Series):
            at, names, context = event.first - 1, event.names, event.context
            self._lose_names(offset, at)
            self.contents.keys[at : at + len(names)] = [SeriesKey(name, context) for name in names]
        elif isinstance(event, Set):
            ids = tuple(event.series)
            self._lose_names(offset, max(ids))
            self.sets[event.id] = ids
        else:
            self.contents.events.append(event)

    def _lose_names(self, offset: int, count: int) -> None:
        """See that there are ``count`` keys: where declarations were damaged, ids keep their places."""
        keys = self.contents.keys
        if count - len(keys) > offset // 3:  # a name takes three bytes at least: so many, no damage has cost
            raise ValueError("more series than were declared")
        lost = range(len(keys) + 1, count + 1)
        keys.extend(SeriesKey(f"?/{self.contents.path.name}/{i}", "lost") for i in lost)

    def _records(self, offset: int) -> int:
        """Take the points and rows from here as one run; return its size in bytes, 0 if none is whole."""
        runs = self.contents._runs
        if (
            runs and runs[-1].stride and (more := self._repetitions(runs[-1], offset))
        ):  # most often it goes on as before
            if runs[-1].end == offset:
                runs[-1] = replace(runs[-1], count=runs[-1].count + more)
            else:
                runs.append(replace(runs[-1], offset=offset, count=more))
            return more * runs[-1].stride
        shapes: list[tuple[int, ...] | None] = []
        classes: list[int] = []
        starts = [0]
        declared = len(self.contents.keys)
        at = offset
        while len(classes) < _LOOKAHEAD and at + ROW_PREFIX_SIZE <= self.size:
            head = self.heads[at >> 2]
            kind = head >> 30
            if kind == 0 and 0 < head <= declared:
                ids, size = None, POINT_SIZE
            elif kind == 1 and (head & MAX_ID) in self.sets:
                ids = self.sets[head & MAX_ID]
                size = ROW_PREFIX_SIZE + 8 * len(ids)
            else:
                break
            if at + size > self.size:
                break
            at += size
            shapes.append(ids)
            classes.append(head if kind else 0)
            starts.append(at - offset)
        if not classes:
            return 0
        period = _period(classes)
        if period == _LOOKAHEAD:
            return self._scattered(offset)
        run = _Run(
            offset, 1, starts[period], tuple(zip(starts[:period], shapes[:period], classes[:period], strict=True))
        )
        run = replace(run, count=1 + self._repetitions(run, run.end))
        runs.append(run)
        return run.count * run.stride

    def _scattered(self, offset: int) -> int:
        """Take many records that come in no order, as a run of each kind; return their size in bytes."""
        import numpy as np

        heads, declared = self.heads, len(self.contents.keys)
        sizes = {ROW_FLAG | number: ROW_PREFIX_SIZE + 8 * len(ids) for number, ids in self.sets.items()}
        places: dict[int, list[int]] = {head: [] for head in (0, *sizes)}
        at, last = offset, self.size - POINT_SIZE
        for _ in range(_MANY_RECORDS):
            if at > last:
                break
            head = heads[at >> 2]
            if 0 < head <= declared:
                places[0].append(at)
                at += POINT_SIZE
                continue
            size = sizes.get(head, 0)
            if not size or at + size > self.size:
                break
            places[head].append(at)
            at += size
        for head, found in places.items():
            if found:
                ids = self.sets[head & MAX_ID] if head else None
                run = _Run(found[0], len(found), 0, ((0, ids, head),), np.array(found, np.int64))
                self.contents._runs.append(run)
        return at - offset

    def _repetitions(self, run: _Run, offset: int) -> int:
        """Return how many more times the sequence of a run is there from ``offset`` on."""
        import numpy as np

        limit = (self.size - offset) // run.stride
        declared = len(self.contents.keys)
        count, window = 0, 1024
        while count < limit:
            span = min(window, limit - count)
            good = span
            for start, _, head in run.parts:
                at = offset + count * run.stride + start
                heads: Any = np.ndarray((span,), "<u4", self.buffer, at, (run.stride,))
                wrong = heads != head if head else (heads - np.uint32(1)) >= np.uint32(declared)
                first = int(wrong.argmax())
                if wrong[first]:
                    good = min(good, first)
            count += good
            if good < span:
                break
            window *= 4
        return count


def _frame_size(payload: int) -> int:
    """Return the size of an event whose payload has so many bytes."""
    return 8 + payload + -payload % 8


def _period(classes: list[int]) -> int:
    """Return the length of the shortest sequence that repeats in ``classes``, or the whole length."""
    n = len(classes)
    for period in range(1, n // 2 + 1):
        if classes[period:] == classes[:-period]:
            return period
    return n
