"""The journal: the append-only file that one process writes, and how it is read back.

``docs/formats/journal.md`` draws every byte. In short: a header, then records whose sizes are multiples of 8.
The first uint32 of a record, its *head*, has the kind in the two highest bits:

* 0, point: head = series id, then epoch int32, step int64, time int64, value float64 (32 bytes);
* 1, row: head = set id, then epoch, step, time as above and one float64 for each series of the set;
* 2, event: head = payload length, then the payload's crc32, the payload (JSON), zeros up to a multiple of 8.

A head of 0 is never written, so that zeros left by a power cut are not taken for points. Reading parses runs of
equal or periodically repeating records at once with NumPy; a torn tail is where the file ends, never an error.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from frameworm.experiment.config import dump_json, load_json
from frameworm.experiment.errors import JournalDamageError, StateError, StoreVersionError, tell
from frameworm.experiment.model import Points, SeriesKey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAGIC = b"\x93FWJ\r\n\x1a\n"
VERSION = 1
HEADER_SIZE = 16
POINT = struct.Struct("<Iiqqd")
POINT_SIZE = POINT.size
ROW_PREFIX_SIZE = 24
MAX_ID = 2**30 - 1
ROW_FLAG = 1 << 30
EVENT_FLAG = 2 << 30
MAX_EVENT_SIZE = 2**30 - 1

PENDING_LIMIT = 256 * 2**20
"""Bytes kept in memory while the disk refuses writes; beyond it points are dropped, counted and told."""

_EVENT_PREFIX = b'{"t":'
_LOOKAHEAD = 32
_FEW_RUNS = 16
_NAME = re.compile(r"(?P<kind>journal|metrics)-(?P<host>.+)-(?P<pid>\d+)-(?P<n>\d+)(?:\.seg)?\Z")


class WriterName(NamedTuple):
    """What the file names of a journal and of its segment say; tuples sort in reading order."""

    n: int
    host: str
    pid: int

    @property
    def journal(self) -> str:
        """File name of the journal."""
        return f"journal-{self.host}-{self.pid}-{self.n}"

    @property
    def segment(self) -> str:
        """File name of the segment it is sealed to."""
        return f"metrics-{self.host}-{self.pid}-{self.n}.seg"

    @classmethod
    def parse(cls, file_name: str) -> WriterName | None:
        """Return what a file name in ``logs/`` says, or None if it is neither journal nor segment."""
        match = _NAME.match(file_name)
        if match is None or (match["kind"] == "metrics") != file_name.endswith(".seg"):
            return None
        return cls(int(match["n"]), match["host"], int(match["pid"]))


# ---------------------------------------------------------------------------------------------- writing


def header() -> bytes:
    """Return the 16 bytes that open a journal."""
    start = MAGIC + struct.pack("<I", VERSION)
    return start + struct.pack("<I", zlib.crc32(start))


def encode_event(event: dict[str, Any]) -> bytes:
    """Return the frame of one event; its key ``t`` (Unix ms) comes first, which lets readers find frames."""
    payload = dump_json(event).encode()
    if not payload.startswith(_EVENT_PREFIX):
        raise ValueError(f"an event starts with its time t, got {payload[:40]!r}")
    if len(payload) > MAX_EVENT_SIZE:
        raise ValueError(f"an event holds at most {MAX_EVENT_SIZE} bytes, got {len(payload)}")
    frame = struct.pack("<II", EVENT_FLAG | len(payload), zlib.crc32(payload)) + payload
    return frame + bytes(-len(frame) % 8)


def row_struct(size: int) -> struct.Struct:
    """Return the packer of a row of ``size`` values."""
    return struct.Struct(f"<Iiqq{size}d")


class JournalWriter:
    """One journal file, open for appending.

    Any thread may call any method: ``lock`` is taken inside, and is public so that a caller can hold it around
    its own state and a write. When ``append`` returns, the bytes are with the kernel: SIGKILL loses nothing.
    ``sync`` puts them on the disk. When the disk refuses (full, gone, error) records wait in memory, one
    warning is given, and they are written, in order, as soon as the disk takes them again.
    """

    def __init__(self, logs_dir: Path, host: str, preamble: Callable[[], bytes], *, after: int = 0) -> None:
        """Create the next journal in ``logs_dir``, numbered past ``after`` and all that are there.

        Args:
            logs_dir: folder of the experiment's journals.
            host: name of this machine, as it is to stand in the file name.
            preamble: gives the records that every journal of this writer starts with: who writes, and all
                series and sets declared so far, so that each journal can be read without the others.
            after: the new journal's number is larger than this.

        Raises:
            OSError: the file cannot be created.
        """
        self.lock = threading.RLock()
        self.logs_dir = logs_dir
        self._preamble = preamble
        self.pid = os.getpid()
        self._host = host
        self._pending = bytearray()
        self._dropped = 0
        self._failed: OSError | None = None
        self._closed = False
        self._file = -1
        self.fd = -1
        """The descriptor to write whole records to, ``lock`` held; -1 while anything waits in memory."""
        numbers = [w.n for w in map(WriterName.parse, os.listdir(logs_dir)) if w is not None]
        self._create(max([after, *numbers]) + 1)
        self.fd = self._file

    def _create(self, n: int) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC
        while True:
            name = WriterName(n, self._host, self.pid)
            try:
                self._file = os.open(self.logs_dir / name.journal, flags, 0o666)
                break
            except FileExistsError:
                n += 1
        self.name = name
        self._checked = HEADER_SIZE
        start = header() + self._preamble()
        if os.write(self._file, start) != len(start):
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))

    @property
    def path(self) -> Path:
        """Where the journal lies."""
        return self.logs_dir / self.name.journal

    def append(self, record: bytes) -> None:
        """Append one whole record or event frame; never raises for what the disk does."""
        with self.lock:
            try:
                written = os.write(self.fd, record)
            except OSError as error:
                self.refused(record, 0, error)
                return
            if written != len(record):
                self.refused(record, written, None)

    def refused(self, record: bytes, written: int, error: OSError | None) -> None:
        """Keep a record of which the disk took only ``written`` bytes; ``lock`` must be held.

        Raises:
            StateError: the journal is closed.
        """
        if self._closed:
            raise StateError(f"{self.path} is closed")
        if self.fd >= 0:
            self.fd = -1
            self._failed = error or OSError(errno.ENOSPC, "No space left on device")
            if written:
                self._cut(os.fstat(self._file).st_size - written)
            tell(
                f"{self.path}: cannot be written ({self._failed}); training goes on, points wait in memory "
                f"(up to {PENDING_LIMIT >> 20} MiB) until the disk takes them"
            )
        if len(self._pending) + len(record) > PENDING_LIMIT:
            self._dropped += 1
        else:
            self._pending += record

    def _cut(self, size: int) -> None:
        """Cut a torn record off, so that what follows stays aligned. Only this process writes here."""
        try:
            os.ftruncate(self._file, size)
        except OSError as error:
            # The torn record has to stay the file's last: go on in a new journal.
            self._failed = error
            os.close(self._file)
            self._file = -1

    @property
    def pending(self) -> int:
        """Bytes that wait in memory for the disk."""
        return len(self._pending)

    def retry(self) -> bool:
        """Write what waits in memory; return whether nothing waits any more."""
        with self.lock:
            if self.fd >= 0:
                return True
            data, done = bytes(self._pending), 0
            try:
                if self._file < 0:
                    self._create(self.name.n + 1)
                size = os.fstat(self._file).st_size
                while done < len(data):
                    done += os.write(self._file, memoryview(data)[done:])
            except OSError as error:
                self._failed = error
                if done:
                    self._cut(size)
                return False
            self._pending.clear()
            self.fd = self._file
            if self._dropped:
                tell(f"{self.path}: {self._dropped} records were dropped while the disk refused writes")
                self.append(encode_event({"t": now_ms(), "type": "dropped", "records": self._dropped}))
                self._dropped = 0
            return True

    def sync(self) -> None:
        """Put all that was appended on the disk.

        Raises:
            OSError: what waits in memory could not be written, or the disk did not confirm.
        """
        if not self.retry():
            assert self._failed is not None
            what = f"{self._failed.strerror}; {self.pending} bytes wait in memory"
            raise OSError(self._failed.errno, what, str(self.path))
        os.fsync(self._file)

    def check(self) -> None:
        """Append a checksum of the bytes since the last one, read back from the file."""
        with self.lock:
            if self.fd < 0:
                return
            file, start, end = self._file, self._checked, os.fstat(self._file).st_size
        crc, offset = 0, start
        while offset < end:
            piece = os.pread(file, min(1 << 20, end - offset), offset)
            if not piece:
                return
            crc = zlib.crc32(piece, crc)
            offset += len(piece)
        if start < end:
            event = encode_event({"t": now_ms(), "type": "check", "from": start, "to": end, "crc": crc})
            with self.lock:
                # The event has a checksum of its own: counting it as unchecked would make an idle journal grow.
                alone = self.size_bytes() == end
                self.append(event)
                self._checked = end + len(event) if alone else end

    def size_bytes(self) -> int:
        """Size of the file."""
        return os.fstat(self._file).st_size if self._file >= 0 else 0

    def close(self) -> None:
        """Close the file; nothing can be appended afterwards."""
        with self.lock:
            self._closed = True
            if self._file >= 0:
                os.close(self._file)
            self._file = self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0 and os.getpid() == self.pid:
            os.close(self._file)


def now_ms() -> int:
    """Return the wall clock in Unix milliseconds, UTC."""
    return time.time_ns() // 1_000_000


# ---------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class _Run:
    """``count`` repetitions, ``stride`` bytes apart, of the same sequence of records.

    ``parts`` gives each record of the sequence: its offset from the run's start and the ids of its series, or
    None for a point, whose id stands in its head.
    """

    offset: int
    count: int
    stride: int
    parts: tuple[tuple[int, tuple[int, ...] | None], ...]


@dataclass(slots=True)
class JournalContents:
    """What one journal held when it was read.

    Attributes:
        keys: the series declared; series id i is ``keys[i - 1]``.
        events: every event, in order, as written.
        damage: what could not be read; all else is there.
        end: bytes understood; what follows is a torn tail.
    """

    path: Path
    keys: list[SeriesKey] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    damage: list[JournalDamageError] = field(default_factory=list)
    end: int = 0
    _buffer: bytes = b""
    _runs: list[_Run] = field(default_factory=list)
    _by_series: tuple[NDArray[np.int64], Points] | None = None

    def columns(self) -> tuple[NDArray[np.uint32], Points]:
        """Return all points: positions in ``keys`` uint32 (n,) and the points (n,), in arrival order."""
        return _join([self._columns(run) for run in self._runs])

    def read(self, position: int) -> Points:
        """Return the points of ``keys[position]``, in arrival order."""
        import numpy as np

        if len(self._runs) > _FEW_RUNS:
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
            if all(ids is not None and series_id not in ids for _, ids in run.parts):
                continue
            index, points = self._columns(run)
            mine = index == position
            pieces.append(
                (
                    np.empty(0, np.uint32),
                    _chosen(points, mine),
                )
            )
        return _join(pieces)[1]

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

    def _columns(self, run: _Run) -> tuple[NDArray[np.uint32], Points]:
        """Return the points of one run in arrival order."""
        import numpy as np

        indexes: list[Any] = []
        epochs: list[Any] = []
        steps: list[Any] = []
        times: list[Any] = []
        values: list[Any] = []
        for at, ids in run.parts:
            size = 1 if ids is None else len(ids)
            part = self._row(run, run.offset + at, size)
            if ids is None:
                heads = np.ndarray((run.count, 1), "<u4", self._buffer, run.offset + at, (run.stride, 4))
                indexes.append(heads - np.uint32(1))
            else:
                indexes.append(np.broadcast_to(np.asarray(ids, np.uint32) - np.uint32(1), (run.count, size)))
            for column, source in zip((epochs, steps, times), part[:3], strict=True):
                column.append(np.broadcast_to(source[:, None], (run.count, size)))
            values.append(part[3])

        def flat(parts: list[Any]) -> Any:
            return np.concatenate(parts, axis=1).ravel() if len(parts) > 1 else parts[0].ravel()

        return flat(indexes), Points(flat(steps), flat(epochs), flat(times), flat(values))


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
    buffer = path.read_bytes()
    contents = JournalContents(path, _buffer=buffer)
    if len(buffer) < HEADER_SIZE:
        if not (MAGIC + struct.pack("<I", VERSION)).startswith(buffer[:12]):
            contents.damage.append(JournalDamageError(path, 0, "not a journal: the header is another"))
        return contents
    if buffer[:8] != MAGIC:
        contents.damage.append(
            JournalDamageError(path, 0, f"not a journal: magic expected {MAGIC!r}, got {buffer[:8]!r}")
        )
        return contents
    version, crc = struct.unpack_from("<II", buffer, 8)
    if crc != zlib.crc32(buffer[:12]):
        contents.damage.append(JournalDamageError(path, 8, "header checksum"))
    elif version != VERSION:
        raise StoreVersionError(f"{path}: journal version {version}, this release reads {VERSION}: upgrade frameworm")
    _Scanner(contents, buffer).scan()
    if verify:
        _verify(contents, buffer)
    return contents


def _verify(contents: JournalContents, buffer: bytes) -> None:
    for event in contents.events:
        if event.get("type") == "check":
            start, end = event["from"], event["to"]
            actual = zlib.crc32(memoryview(buffer)[start:end])
            if actual != event["crc"]:
                what = f"bytes {start}-{end}: checksum expected {event['crc']:08x}, got {actual:08x}"
                contents.damage.append(JournalDamageError(contents.path, start, what))


class _Scanner:
    """One pass over a journal's bytes; fills ``contents``."""

    def __init__(self, contents: JournalContents, buffer: bytes) -> None:
        self.contents = contents
        self.buffer = buffer
        self.size = len(buffer)
        self.heads = memoryview(buffer)[: self.size & ~3].cast("I")
        self.sets: dict[int, tuple[int, ...]] = {}

    def scan(self) -> None:
        offset = HEADER_SIZE
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
        self.contents.end = min(offset, self.size)

    def _damaged(self, offset: int, what: str) -> None:
        self.contents.damage.append(JournalDamageError(self.contents.path, offset, what))

    def _is_torn(self, offset: int, head: int) -> bool:
        """Whether what starts here can be a record that was cut by the end of the file."""
        kind, low = head >> 30, head & MAX_ID
        left = self.size - offset
        if head == 0:
            return not any(self.buffer[offset:])
        if kind == 0:
            return low <= len(self.contents.keys) and left < POINT_SIZE
        if kind == 1:
            return low in self.sets and left < ROW_PREFIX_SIZE + 8 * len(self.sets[low])
        return kind == 2 and left < 8 + low

    def _resync(self, offset: int) -> int | None:
        """Return where the next whole event starts after damage."""
        at = offset
        while (at := self.buffer.find(_EVENT_PREFIX, at + 1)) >= 0:
            start = at - 8
            if start <= offset or start % 8:
                continue
            head = self.heads[start >> 2]
            if head >> 30 == 2 and self._payload(start, head) is not None:
                return start
        return None

    def _payload(self, offset: int, head: int) -> bytes | None:
        length = head & MAX_ID
        payload = self.buffer[offset + 8 : offset + 8 + length]
        if len(payload) < length or zlib.crc32(payload) != self.heads[(offset >> 2) + 1]:
            return None
        return payload

    def _event(self, offset: int, head: int) -> int:
        payload = self._payload(offset, head)
        if payload is None:
            return 0
        event = load_json(payload)
        if event["type"] == "series":
            self._declare_series(offset, event)
        elif event["type"] == "set":
            self.sets[event["id"]] = tuple(event["series"])
        else:
            self.contents.events.append(event)
        frame = 8 + len(payload)
        return frame + -frame % 8

    def _declare_series(self, offset: int, event: dict[str, Any]) -> None:
        keys = self.contents.keys
        if event["first"] > len(keys) + 1:
            # Declarations between were damaged: ids keep their places, names are lost.
            missing = range(len(keys) + 1, event["first"])
            keys.extend(SeriesKey(f"?/{self.contents.path.name}/{i}", "lost") for i in missing)
        start = event["first"] - 1
        keys[start : start + len(event["names"])] = [SeriesKey(name, event["context"]) for name in event["names"]]

    def _records(self, offset: int) -> int:
        """Take the points and rows from here as one run; return its size in bytes, 0 if none is whole."""
        import numpy as np

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
        stride = starts[period]
        limit = (self.size - offset) // stride
        count, window = 1, 1024
        while count < limit:
            span = min(window, limit - count)
            good = span
            for part in range(period):
                heads: Any = np.ndarray((span,), "<u4", self.buffer, offset + count * stride + starts[part], (stride,))
                if classes[part]:
                    wrong = heads != classes[part]
                else:
                    wrong = (heads - np.uint32(1)) >= np.uint32(declared)
                first = int(wrong.argmax())
                if wrong[first]:
                    good = min(good, first)
            count += good
            if good < span:
                break
            window *= 4
        parts = tuple(zip(starts[:period], shapes[:period], strict=True))
        self.contents._runs.append(_Run(offset, count, stride, parts))
        return count * stride


def _period(classes: list[int]) -> int:
    """Return the length of the shortest sequence that repeats in ``classes``, or the whole length."""
    n = len(classes)
    for period in range(1, n // 2 + 1):
        if classes[period:] == classes[:-period]:
            return period
    return n
