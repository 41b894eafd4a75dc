"""The recorder: one process's way of writing into one experiment.

It numbers series, counts steps, packs points and rows into the journal, and keeps the background thread that
puts the journal on the disk every second, leaves checksums and heartbeats, and starts a new journal when one
has grown large. ``Experiment`` checks arguments' meaning and says what to record; this module is where a
microsecond counts.
"""

from __future__ import annotations

import math
import operator
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, TypeVar

from frameworm.experiment.errors import MetricError, StateError, tell
from frameworm.experiment.foreign import describe
from frameworm.experiment.model import NO_EPOCH, SeriesKey
from frameworm.experiment.recording.journal import (
    POINT,
    POINT_SIZE,
    ROW_FLAG,
    JournalWriter,
    WriterName,
    encode_event,
    now_ms,
    row_struct,
)
from frameworm.experiment.recording.scalars import number_of, why_not

if TYPE_CHECKING:
    import subprocess

SYNC_INTERVAL_S = 1.0
HEARTBEAT_INTERVAL_S = 10.0
ROTATE_BYTES = 64 * 2**20
"""Size past which a journal is closed, to be sealed, and the next one started."""

MAX_NAME_BYTES = 4096

_DEEPEST = 64
"""How far metrics may be nested."""

_BAD_CHARACTER = re.compile("[\0\n\r\ud800-\udfff]")
_INT64 = range(-(2**63), 2**63)
_EPOCHS = range(NO_EPOCH + 1, 2**31)

_Result = TypeVar("_Result")

_pack_point = POINT.pack
_write = os.write


class _Series:
    """A declared series and its step counter; ``row`` holds the counter while it is not None."""

    __slots__ = ("id", "key", "next_step", "row")

    def __init__(self, series_id: int, key: SeriesKey, next_step: int) -> None:
        self.id = series_id
        self.key = key
        self.next_step = next_step
        self.row: _Row | None = None


class _Row:
    """A declared set of series. While ``owns``, ``next_step`` counts for all of its series at once.

    ``plain`` says that its values have been floats of Python so far. Packing would make a number of anything that has
    ``__float__``, also of what a mask hides, so their kinds are looked at: the sum of twenty floats, of which one is
    something else, is no float, and takes 0.1 µs. Tensors are not to be added up, which is work for their device.
    """

    __slots__ = ("head", "next_step", "owns", "pack", "plain", "series", "size")

    def __init__(self, set_id: int, series: tuple[_Series, ...]) -> None:
        self.head = ROW_FLAG | set_id
        self.series = series
        packer = row_struct(len(series))
        self.pack = packer.pack
        self.size = packer.size
        self.owns = False
        self.plain = False
        self.next_step = 0


class Recorder:
    """Writes the points and events of one process to one experiment.

    Any thread may call any method. When ``log_*`` or ``event`` returns, the record is with the kernel and
    SIGKILL loses nothing; when ``sync`` returns it is on the disk. A fork leaves the child without a recorder:
    it opens one of its own.
    """

    def __init__(
        self,
        logs_dir: Path,
        writer: dict[str, Any],
        *,
        next_steps: Mapping[SeriesKey, int] | None = None,
        strict: bool = False,
        after: int = 0,
    ) -> None:
        """Open a new journal in ``logs_dir``.

        Args:
            logs_dir: the experiment's ``logs`` folder.
            writer: who writes, kept in the journal's first event; has the keys ``host`` and ``pid``.
            next_steps: where the step counters go on, for a resumed experiment.
            strict: raise for a bad value instead of one warning.
            after: number of a journal that this one must come after.
        """
        self.strict = strict
        self.refused_values = 0
        self._writer = writer
        self._next_steps = dict(next_steps or {})
        self._all: dict[tuple[str, str], _Series] = {}
        self._free: dict[str, dict[str, _Series]] = {}  # by context and name, those that no row counts for
        self._rows: dict[tuple[tuple[str, ...], str], _Row] = {}
        self._warned: set[tuple[str, str]] = set()
        self._open = True
        self._journal = JournalWriter(logs_dir, _file_safe(str(writer["host"])), self._preamble, after=after)
        self._lock = self._journal.lock
        self._slot = self._journal.slot
        self._rotated: list[WriterName] = []
        self._sealers: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._ticks: list[tuple[float, Callable[[], object]]] = []

    # ------------------------------------------------------------------------------------------ points

    # The two ways in take no lock, which would cost 0.15 µs: a record goes out by one write, which the kernel keeps
    # apart from all others; only the step counters of calls without a step need one. Whatever is unusual raises
    # before anything is written, and is left to the careful ways, which record it or say what is wrong.

    def log_metric(self, name: str, value: Any, step: int | None, epoch: int | None, context: str) -> None:
        """Record one point; see ``Experiment.log_metric``."""
        try:
            series = self._free[context][name]
            if value.__class__ is not float:
                value = number_of(value)
            mark = NO_EPOCH if epoch is None else epoch
            if step is None:
                step = self._count(series)
                record = _pack_point(series.id, mark, step, time_ns() // 1_000_000, value)
            else:
                if step.__class__ is not int:
                    step = operator.index(step)
                record = _pack_point(series.id, mark, step, time_ns() // 1_000_000, value)
                series.next_step = step + 1
        except Exception:
            self._log_carefully(name, value, step, epoch, context)
            return
        try:
            written = _write(self._slot, record)
        except OSError as error:
            self._journal.refused(record, 0, error)
        else:
            if written != POINT_SIZE:
                self._journal.refused(record, written, None)

    def _count(self, counter: _Series | _Row) -> int:
        with self._lock:
            step = counter.next_step
            counter.next_step = step + 1
        return step

    def _log_carefully(self, name: Any, value: Any, step: Any, epoch: Any, context: Any) -> None:
        key = SeriesKey(checked_name(name, "metric name"), checked_name(context, "metric_type"))
        step, epoch = checked_step(step), checked_epoch(epoch)
        number = self._number(key, value)
        if number is None:
            return
        with self._lock:
            self._must_be_open()
            series = self._series([key])[0]
            if series.row is not None:
                self._disown(series.row)
            step = checked_step(series.next_step) if step is None else step
            series.next_step = step + 1
            time_ms = now_ms()
            self._journal.append(POINT.pack(series.id, NO_EPOCH if epoch is None else epoch, step, time_ms, number))

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None, epoch: int | None, context: str) -> None:
        """Record one row of points; see ``Experiment.log_metrics``."""
        try:
            row = self._rows[tuple(metrics), context]
            if not row.owns:
                self._log_row_carefully(metrics, step, epoch, context)
                return
            mark = NO_EPOCH if epoch is None else epoch
            values: Iterable[float] = metrics.values()
            if not row.plain or sum(values).__class__ is not float:
                row.plain = False
                values = _floats(values)
            if step is None:
                step = self._count(row)
                record = row.pack(row.head, mark, step, time_ns() // 1_000_000, *values)
            else:
                if step.__class__ is not int:
                    step = operator.index(step)
                record = row.pack(row.head, mark, step, time_ns() // 1_000_000, *values)
                row.next_step = step + 1
        except Exception:
            self._log_row_carefully(metrics, step, epoch, context)
            return
        try:
            written = _write(self._slot, record)
        except OSError as error:
            self._journal.refused(record, 0, error)
        else:
            if written != row.size:
                self._journal.refused(record, written, None)

    def _log_row_carefully(self, metrics: Any, step: Any, epoch: Any, context: Any) -> None:
        context = checked_name(context, "metric_type")
        step, epoch = checked_step(step), checked_epoch(epoch)
        flat = _flatten(metrics)
        for name in flat:
            checked_name(name, "metric name")
        numbers = {
            name: value if type(value) is float else self._number(SeriesKey(name, context), value)
            for name, value in flat.items()
        }
        good = {name: number for name, number in numbers.items() if number is not None}
        with self._lock:
            self._must_be_open()
            if len(good) == len(flat) > 0:
                row = self._row(tuple(good), context)
                row.plain = all(type(value) is float for value in flat.values())
                if row.owns or self._adopt(row, step):
                    step = checked_step(row.next_step) if step is None else step
                    row.next_step = step + 1
                    marked_epoch = NO_EPOCH if epoch is None else epoch
                    self._journal.append(row.pack(row.head, marked_epoch, step, now_ms(), *good.values()))
                    return
            for name, number in good.items():
                self._log_carefully(name, number, step, epoch, context)

    def _series(self, keys: list[SeriesKey]) -> list[_Series]:
        """Return the series of one context, declaring at once those that are new."""
        new = [key for key in dict.fromkeys(keys) if key not in self._all]
        if new:
            first = len(self._all) + 1
            # Declared before others can find it: they log without a lock, and a point must not come before its series.
            self._journal.append(_series_event(first, new))
            for series_id, key in enumerate(new, first):
                self._all[key] = series = _Series(series_id, key, self._next_steps.get(key, 0))
                self._free.setdefault(key.context, {})[key.name] = series
        return [self._all[key] for key in keys]

    def _row(self, names: tuple[str, ...], context: str) -> _Row:
        row = self._rows.get((names, context))
        if row is None:
            series = self._series([SeriesKey(name, context) for name in names])
            row = _Row(len(self._rows) + 1, tuple(series))
            self._journal.append(_set_event(row))
            self._rows[names, context] = row
        return row

    def _adopt(self, row: _Row, step: int | None) -> bool:
        """Let ``row`` count for its series; False if their steps differ and none was given."""
        for series in row.series:
            if series.row is not None:
                self._disown(series.row)
        next_step = row.series[0].next_step
        if step is None and any(series.next_step != next_step for series in row.series):
            return False
        row.owns, row.next_step = True, next_step
        for series in row.series:
            series.row = row
            self._free[series.key.context].pop(series.key.name, None)
        return True

    def _disown(self, row: _Row) -> None:
        row.owns = False
        for series in row.series:
            series.row = None
            series.next_step = row.next_step
            self._free[series.key.context][series.key.name] = series

    def _number(self, key: SeriesKey, value: Any) -> float | None:
        """Return the value as a float, or None after having told that it is no number."""
        try:
            return number_of(value)
        except Exception as error:  # whatever the value's own code raises
            problem = why_not(value, error)
        message = (
            f"metric {key.name!r} ({key.context}): expected one number, got {problem}; "
            "log a scalar, for example value.mean()"
        )
        if self.strict:
            raise MetricError(message)
        self.refused_values += 1
        if key not in self._warned:
            self._warned.add(key)
            tell(f"{message}. It is left out; said once for this metric")
        return None

    # ------------------------------------------------------------------------------------------ events

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Record an event and return it; values are as ``normalize_config`` makes them."""
        event = {"t": now_ms(), "type": kind, **fields}
        frame = encode_event(event)
        with self._lock:
            self._must_be_open()
            self._journal.append(frame)
        return event

    def _preamble(self) -> bytes:
        """Return what every journal of this writer starts with."""
        frames = [encode_event({"t": now_ms(), "type": "open", **self._writer})]
        by_context: list[list[SeriesKey]] = []
        for key in map(SeriesKey._make, self._all):
            if by_context and by_context[-1][0].context == key.context:
                by_context[-1].append(key)
            else:
                by_context.append([key])
        first = 1
        for keys in by_context:
            frames.append(_series_event(first, keys))
            first += len(keys)
        frames += [_set_event(row) for row in self._rows.values()]
        return b"".join(frames)

    def _must_be_open(self) -> None:
        if not self._open:
            raise StateError("the experiment has ended; Experiment.resume(...) goes on with it")

    # ------------------------------------------------------------------------------------- durability

    @property
    def n_series(self) -> int:
        """How many series this process has logged to."""
        return len(self._all)

    @property
    def name(self) -> WriterName:
        """Name of the journal that is written now."""
        return self._journal.name

    def ready(self) -> Recorder:
        """Return this recorder: it can record."""
        return self

    def moved(self, logs_dir: Path) -> None:
        """Tell that the folder was renamed."""
        self._journal.logs_dir = logs_dir

    def follow(self) -> Path | None:
        """Return where the ``logs`` folder is now, whoever moved it; None if it was deleted."""
        return self._journal.follow()

    def sync(self) -> None:
        """Put everything recorded on the disk.

        Raises:
            OSError: the disk refused; what is not written waits in memory.
        """
        self._journal.sync()
        if self._thread is not None and not self._thread.is_alive() and not self._stop.is_set():
            tell("the background thread had died; it is started anew: flush() was needed for the disk to have it all")
            self._start(lambda: None)

    def every(self, interval_s: float, call: Callable[[], object]) -> None:
        """Have the background thread call ``call`` about every ``interval_s`` seconds."""
        self._ticks.append((interval_s, call))

    def start(self, first: Callable[[], None]) -> None:
        """Start the background thread; it begins with ``first``."""
        self.every(SYNC_INTERVAL_S, self._sync_tick)
        self.every(HEARTBEAT_INTERVAL_S, lambda: self.event("heartbeat"))
        self._start(first)

    def _start(self, first: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=self._run, args=(first,), name="frameworm-recorder", daemon=True)
        self._thread.start()

    def _run(self, first: Callable[[], None]) -> None:
        try:
            self._tick(first)
        except BaseException as error:  # not even SystemExit may end it unsaid
            tell(
                f"the background thread has died ({type(error).__name__}: {error}); training goes on and points are "
                "recorded, but only flush() puts them on the disk"
            )

    def _tick(self, first: Callable[[], None]) -> None:
        due = [interval for interval, _ in self._ticks]
        elapsed = 0.0
        guard(first, "capture")
        while not self._stop.wait(SYNC_INTERVAL_S):
            elapsed += SYNC_INTERVAL_S
            for i, (interval, call) in enumerate(self._ticks):
                if elapsed >= due[i]:
                    due[i] = elapsed + interval
                    guard(call, getattr(call, "__name__", "tick"))

    def _sync_tick(self) -> None:
        if not self._open or not self._journal.retry():
            return
        self._journal.check()
        self._seal(self._rotated)
        self._rotated = []
        if self._journal.size_bytes() > ROTATE_BYTES:
            closed = self._journal.rotate(encode_event({"t": now_ms(), "type": "close"}))
            # Sealed a tick later: by then what other threads were writing to it has arrived.
            self._rotated = [] if closed is None else [closed]
        self._journal.sync()

    def _seal(self, names: list[WriterName]) -> None:
        """Have another process seal journals that are not written any more."""
        self._sealers = [sealer for sealer in self._sealers if sealer.poll() is None]
        if not names:
            return
        import subprocess

        journals = [name.journal for name in names]
        command = [sys.executable, "-m", "frameworm.experiment.recording.seal", str(self._journal.logs_dir), *journals]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._sealers.append(
            subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        )

    def stop_thread(self, timeout_s: float) -> None:
        """End the background thread and wait for it, at most so long."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def close(self) -> None:
        """Close the journal and wait for those that are being sealed. Whoever seals it, puts it on the disk."""
        with self._lock:
            self.event("close")
            self._journal.retry()
            self._journal.rescue()
            self._open = False
            self._free, self._rows, self._all = {}, {}, {}
        self._journal.close()  # not under the lock: the background thread may hold what this waits for, and want that
        self._seal(self._rotated)
        for sealer in self._sealers:
            sealer.wait()

    def abandon(self) -> None:
        """Forget everything without touching the files: for the child of a fork."""
        self._open = False
        self._free, self._rows, self._all = {}, {}, {}
        self._lock = threading.RLock()


def _floats(values: Iterable[Any]) -> list[float]:
    """Return the numbers that values stand for; raise where one stands for none."""
    try:
        return [*map(float.conjugate, values)]  # floats, and those of NumPy that are some, in 0.3 µs
    except TypeError:
        return [*map(number_of, values)]


def guard(call: Callable[[], _Result], what: str) -> _Result | None:
    """Run something of ours beside the training: a failure is told, training goes on, and None is returned."""
    try:
        return call()
    except Exception as error:
        tell(f"{what} failed ({type(error).__name__}: {error}); training goes on")
        return None


def _series_event(first: int, keys: list[SeriesKey]) -> bytes:
    names = [key.name for key in keys]
    return encode_event({"t": now_ms(), "type": "series", "first": first, "context": keys[0].context, "names": names})


def _set_event(row: _Row) -> bytes:
    ids = [series.id for series in row.series]
    return encode_event({"t": now_ms(), "type": "set", "id": row.head ^ ROW_FLAG, "series": ids})


def _file_safe(host: str) -> str:
    """Return the host name as it may stand in a file name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in host)[:64] or "host"


# ------------------------------------------------------------------------------------------ arguments


def checked_name(name: Any, what: str) -> str:
    """Return the name as a plain str.

    Raises:
        MetricError: not a str, empty, too long, or with a character that cannot be kept.
    """
    if not isinstance(name, str):
        raise MetricError(f"{what}: expected a str, got {type(name).__name__} {describe(name)}")
    if not name:
        raise MetricError(f"{what}: expected at least one character, got an empty str")
    bad = _BAD_CHARACTER.search(name)
    if bad is not None:
        raise MetricError(f"{what} {name!r:.80}: the character {bad[0]!r} cannot be part of a name; remove it")
    if 4 * len(name) > MAX_NAME_BYTES and len(name.encode()) > MAX_NAME_BYTES:
        raise MetricError(f"{what} {name!r:.80}: at most {MAX_NAME_BYTES} bytes, got {len(name.encode())}")
    return str(name)


def checked_step(step: Any) -> Any:
    """Return the step as a plain int, or None.

    Raises:
        MetricError: no whole number, or not an int64.
    """
    if step is None:
        return None
    number = _whole(step, "step")
    if number not in _INT64:
        raise MetricError(f"step: expected an int from -2**63 to 2**63 - 1, got {number}")
    return int(number)


def checked_epoch(epoch: Any) -> Any:
    """Return the epoch as a plain int, or None.

    Raises:
        MetricError: no whole number, or not an int32.
    """
    if epoch is None:
        return None
    number = _whole(epoch, "epoch")
    if number not in _EPOCHS:
        raise MetricError(f"epoch: expected an int from -2**31 + 1 to 2**31 - 1, got {number}")
    return int(number)


def _whole(value: Any, what: str) -> int:
    """Return a whole number, or say what came and, where that helps, how to make one of it."""
    try:
        return operator.index(value)
    except Exception:  # whatever the value's own code raises
        message = f"{what}: expected an int, got {type(value).__name__} {describe(value)}"
    if isinstance(value, float) and value.is_integer():
        message += f"; pass int({what})"
    elif isinstance(value, float) and math.isfinite(value):
        message += f"; pass int({what}), and log the fraction as a metric of its own if it matters"
    raise MetricError(message)


def _flatten(metrics: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return nested metrics as one dict whose names are joined by ``/``."""
    if depth > _DEEPEST:
        raise MetricError(f"metrics: {prefix!r:.80}… is nested more than {_DEEPEST} deep, or holds itself; flatten it")
    if not _is_mapping(metrics):
        raise MetricError(f"metrics: expected a dict of name: value, got {type(metrics).__name__} {describe(metrics)}")
    try:
        items = list(metrics.items())
    except Exception as error:  # whatever a mapping of another library raises
        raise MetricError(f"metrics: {type(metrics).__name__} cannot be read: {describe(error)}") from error
    flat: dict[str, Any] = {}
    for name, value in items:
        if not isinstance(name, str):
            raise MetricError(f"metric name: expected a str, got {type(name).__name__} {describe(name)}")
        if type(value) is not float and _is_mapping(value):
            inner = _flatten(value, f"{prefix}{name}/", depth + 1)
            twice = next((key for key in inner if key in flat), None)
            flat |= inner
        else:
            twice = prefix + name if prefix + name in flat else None
            flat[prefix + name] = value
        if twice is not None:
            raise MetricError(f"metrics: {twice!r} is given twice, nested and with a slash; rename one")
    return flat


def _is_mapping(value: Any) -> bool:
    try:
        return isinstance(value, Mapping)
    except Exception:  # its ``__class__`` is asked, which may be anything's own
        return False
