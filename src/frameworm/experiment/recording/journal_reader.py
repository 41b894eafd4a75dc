"""Reading a journal back: live, ended, torn or damaged.

Runs of equal or periodically repeating records are parsed at once with NumPy; a torn tail is where the file ends,
never an error. The format is drawn in ``docs/formats/journal.md``, its constants and its writer are in ``journal``;
``journal_scan`` finds the records.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.errors import JournalDamageError, StoreVersionError, UnsafePathError
from frameworm.experiment.model import Points
from frameworm.experiment.paths import open_regular
from frameworm.experiment.recording.journal import (
    HEADER_SIZE,
    MAGIC,
    ROW_PREFIX_SIZE,
    VERSION,
)
from frameworm.experiment.recording.journal_scan import Run, Scanned, Scanner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FEW_RUNS = 16


@dataclass(slots=True)
class JournalContents(Scanned):
    """What one journal held when it was read, or last refreshed.

    Any thread may read; nobody while another refreshes.
    """

    _buffer: bytearray = field(default_factory=bytearray)
    _size: int = 0
    _file: tuple[int, int] = (0, 0)
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

        Where the file was replaced or cut back, it is read anew; what is no regular file is damage, and not opened.

        Raises:
            FileNotFoundError: the journal is gone; most likely it was sealed.
            OSError: it cannot be read.
        """
        try:
            descriptor = open_regular(self.path)
        except UnsafePathError as error:
            anew = bool(self._size)
            self._restart()
            self.damage, self._file = [JournalDamageError(self.path, 0, str(error))], (0, 0)
            return anew
        with open(descriptor, "rb", buffering=0) as file:
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
        self._buffer, self._size, self._by_series = bytearray(), 0, None
        self._forget()

    def _scan(self) -> None:
        """Understand the bytes from ``end`` on."""
        problem = None
        if self.end < HEADER_SIZE:
            self._forget()
            if problem := _wrong_header(self.path, self._buffer, self._size):
                self.damage.append(problem)
            if self._size < HEADER_SIZE:
                return
        scanner = Scanner(self, self._buffer, self._size)
        if self.end < HEADER_SIZE:
            start = HEADER_SIZE
            if problem and problem.offset == 0 and (start := scanner.next_event(0)) == self._size:
                return  # a file of somebody else's
            self._forget(start)
            self.damage += [problem] if problem else []
        if any(damage.offset >= self._proved.offset for damage in self.damage):
            scanner.go_back()  # what looked damaged at the end may have been a record on its way
        elif self._runs and self._runs[-1].count == 1 and self._runs[-1].end == self.end:
            self.end = self._runs.pop().offset  # part of a sequence that now may go on
        scanner.scan()

    def columns(self) -> tuple[NDArray[np.uint32], Points]:
        """Return all points: positions in ``keys`` uint32 (n,) and the points (n,), in arrival order."""
        if self._in_order():
            return _join([self._columns([run]) for run in self._runs])
        import numpy as np

        # An event every second cuts a journal into thousands of short runs: those alike are taken at once.
        alike: dict[tuple[int, ...], list[Run]] = {}
        for run in self._runs:
            alike.setdefault((run.offset % 8, *(head for _, _, head in run.parts)), []).append(run)
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

    def _row(self, run: Run, offset: int, size: int) -> tuple[Any, Any, Any, Any]:
        """Return views (epochs, steps, times (count,), values (count, size)) of one record of a run."""
        import numpy as np

        def view(dtype: str, at: int) -> Any:
            return np.ndarray((run.count,), dtype, self._buffer, offset + at, (run.stride,))

        values = np.ndarray((run.count, size), "<f8", self._buffer, offset + ROW_PREFIX_SIZE, (run.stride, 8))
        return view("<i4", 4), view("<i8", 8), view("<i8", 16), values

    def _gathered(self, starts: NDArray[np.int64], size: int) -> tuple[Any, Any, Any, Any]:
        """Return the same of the records that begin at ``starts``, as copies."""
        import numpy as np

        first = int(starts[0]) % 8  # not 0 only behind bytes that came in, or went
        words = (self._size - first) // 8
        long = np.frombuffer(self._buffer, "<i8", words, first)
        at = starts >> 3
        values = np.frombuffer(self._buffer, "<f8", words, first)[
            (at + ROW_PREFIX_SIZE // 8)[:, None] + np.arange(size)
        ]
        return np.frombuffer(self._buffer, "<i4", words * 2, first)[2 * at + 1], long[at + 1], long[at + 2], values

    def _columns(self, runs: Sequence[Run]) -> tuple[NDArray[np.uint32], Points]:
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
                align = int(starts[0]) % 4
                heads = np.frombuffer(self._buffer, "<u4", (self._size - align) // 4, align)[(starts + at) >> 2]
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


def _starts(runs: Sequence[Run]) -> NDArray[np.int64]:
    """Return where each repetition begins."""
    import numpy as np

    if any(run.starts is not None or run.stride != runs[0].stride for run in runs):
        return np.concatenate([_starts([run]) if run.starts is None else run.starts for run in runs])
    counts = np.array([run.count for run in runs])
    before = np.repeat(np.cumsum(counts) - counts, counts)
    within = np.arange(counts.sum()) - before
    starts: NDArray[np.int64] = np.repeat([run.offset for run in runs], counts) + within * runs[0].stride
    return starts


def _offsets(runs: Sequence[Run]) -> NDArray[np.int64]:
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


def read_journal(path: Path) -> JournalContents:
    """Read a journal as it is now, live, ended, torn or damaged.

    Raises:
        StoreVersionError: written by a newer release.
        OSError: the file cannot be opened.
    """
    contents = JournalContents(path)
    contents.refresh()
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
