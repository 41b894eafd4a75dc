"""Row 19, bytes that come in, go, come twice, change places or turn to zero, at any place of a journal or segment.

Each record that is still there whole is read, or it is told that something was not. The journals are taken apart here
a second time, by a loop as simple as the format's page, so that the reader is not its own witness.
"""

from __future__ import annotations

import json
import os
import random
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from faults.harness import Run
from faults.workload import Found

if TYPE_CHECKING:
    from frameworm.experiment.recording.recorder import Recorder

KINDS = ("points", "rows", "mixed", "threads", "events", "names", "between", "segment")
WAYS = ("flip", "insert", "remove", "double", "copy", "swap", "zeros", "noise")
_RECORDS = 400
_CHECK_EVERY = 90

Point = tuple[int, int, int, int, int]
"""Series id, step, epoch, time, bits of the value."""


class Record(NamedTuple):
    """A record of a journal: its bytes, and the points or the event in it."""

    start: int
    end: int
    points: tuple[Point, ...]
    event: str


@dataclass
class Outcome:
    """What came of one damaged file.

    Attributes:
        intact: points whose records are still there whole.
        read: those of them that were read.
        told: whether damage was reported.
        lost: intact points, and events, that were not read.
        wrong: points read that were never given, or oftener than they were given.
        unproved: whether the damage lies behind the last checksum of the journal.
    """

    intact: int = 0
    read: int = 0
    told: bool = False
    lost: int = 0
    wrong: int = 0
    unproved: bool = False

    @property
    def silent(self) -> bool:
        """Whether something is missing or wrong without a word."""
        return not self.told and bool(self.lost or self.wrong)


@dataclass
class Counts:
    """Sums over many outcomes."""

    files: int = 0
    intact: int = 0
    read: int = 0
    told: int = 0
    lost_untold: int = 0
    wrong_untold: int = 0
    wrong_told: int = 0
    unseen: int = 0
    bad: list[str] = field(default_factory=list)

    def add(self, case: str, outcome: Outcome) -> None:
        """Count one file in."""
        self.files += 1
        self.intact += outcome.intact
        self.read += outcome.read
        self.told += outcome.told
        if outcome.told:
            self.wrong_told += outcome.wrong
        elif outcome.unproved and outcome.wrong:
            self.unseen += 1  # without a checksum, any bytes are a value, those of another record too
        else:
            self.lost_untold += outcome.lost
            self.wrong_untold += outcome.wrong
            if outcome.silent:
                self.bad.append(f"{case}: {outcome.lost} lost and {outcome.wrong} wrong, untold")


def _fill(writer: Recorder, kind: str, chance: random.Random, count: int, first: int) -> None:
    for step in range(first, first + count):
        epoch = None if kind in ("points", "events") else step // 50
        one = kind if kind != "mixed" else ("points", "rows", "events")[step % 3]
        if one == "rows":
            writer.log_metrics({f"r{i}": chance.random() for i in range(5)}, step, epoch, "val")
        elif one == "threads":
            writer.log_metric(f"m{chance.randrange(7)}", chance.random(), step, epoch, "train")
        elif one == "names":
            writer.log_metric(f"a name as long as some are/{step // 2}", chance.random(), step, epoch, "train")
        elif one == "events" and step % 2:
            writer.event("note", text=f"note {step} " + "é" * chance.randrange(20))
        else:
            value = float(step % 50) if step % 4 else chance.random()
            writer.log_metric("loss", value, step, epoch, "train")


@cache
def journal(folder: Path, kind: str) -> tuple[bytes, tuple[Record, ...], int]:
    """Return a journal, its records, and up to where its checksums reach."""
    from frameworm.experiment.recording.journal import encode_event, now_ms
    from frameworm.experiment.recording.recorder import Recorder

    chance = random.Random(kind)
    place = folder / kind
    place.mkdir()
    writer = Recorder(place, {"host": "h", "pid": os.getpid()})
    for first in range(0, _RECORDS, _CHECK_EVERY):
        _fill(writer, "threads" if kind == "between" else kind, chance, min(_CHECK_EVERY, _RECORDS - first), first)
        if first + _CHECK_EVERY > _RECORDS:
            break  # the last have no checksum, as those of a process that was killed
        if kind == "between":  # another thread logs between the sum and its event
            start, data = writer._journal._checked, writer._journal.path.read_bytes()
            writer.log_metric("between", 1.0, first, None, "train")
            event = {"t": now_ms(), "type": "check", "from": start, "to": len(data), "crc": zlib.crc32(data[start:])}
            writer._journal.append(encode_event(event))
            writer._journal._checked = len(data)
        else:
            writer._journal.check()
    data = writer._journal.path.read_bytes()
    records = tuple(_taken_apart(data))
    writer._journal.close()
    return data, records, max(json.loads(r.event)["to"] for r in records if '"type":"check"' in r.event)


def _taken_apart(data: bytes) -> list[Record]:
    records, sets, at = [], {}, 16
    while at < len(data):
        (head,) = struct.unpack_from("<I", data, at)
        low = head & (2**30 - 1)
        if head >> 30 == 2:
            event = json.loads(data[at + 8 : at + 8 + low])
            if event["type"] == "set":
                sets[event["id"]] = event["series"]
            end = at + 8 + low + -low % 8
            records.append(Record(at, end, (), json.dumps(event, separators=(",", ":"))))
        else:
            ids = [low] if head >> 30 == 0 else sets[low]
            epoch, step, time_ms, *bits = struct.unpack_from(f"<iqq{len(ids)}Q", data, at + 4)
            end = at + 24 + 8 * len(ids)
            points = tuple((i, step, epoch, time_ms, b) for i, b in zip(ids, bits, strict=True))
            records.append(Record(at, end, points, ""))
        at = end
    return records


Piece = tuple[int, int] | bytes
"""From where to where in the file that it was, or bytes that are new."""


def damaged(size: int, way: str, chance: random.Random, data: bytes, least: int = 0) -> list[Piece]:
    """Return what becomes of a file of ``size`` bytes, damaged somewhere from ``least`` on."""
    at = chance.randrange(least, size)
    length = min(chance.choice((1, 2, 3, 4, 7, 8, 9, 16, 24, 31, 32, 33, 40, 64, chance.randrange(1, 65))), size - at)
    if chance.random() < 0.1:
        length = min(size - at, chance.randrange(1, 2000))
    after = at + length
    if way == "flip":
        return [(0, at), bytes([data[at] ^ 1 << chance.randrange(8)]), (at + 1, size)]
    if way == "insert":
        new = bytes(length) if chance.random() < 0.3 else chance.randbytes(length)
        return [(0, at), new, (at, size)]
    if way == "remove":
        return [(0, at), (after, size)]
    if way == "double":
        return [(0, after), (at, size)]
    if way == "copy":
        to = chance.randrange(least, size)
        return [(0, to), (at, after), (to, size)]
    if way == "swap":
        other = chance.randrange(least, size)
        a, b = sorted((at, other))
        length = min(length, b - a, size - b)
        return [(0, a), (b, b + length), (a + length, b), (a, a + length), (b + length, size)]
    return [(0, at), bytes(length) if way == "zeros" else chance.randbytes(length), (after, size)]


def _bytes(pieces: list[Piece], data: bytes) -> bytes:
    return b"".join(piece if isinstance(piece, bytes) else data[piece[0] : piece[1]] for piece in pieces)


def _intact(pieces: list[Piece], records: tuple[Record, ...]) -> list[Record]:
    """Return the records that are still whole, once each."""
    spans: list[tuple[int, int]] = []
    for piece, before in zip(pieces, [b"", *pieces], strict=False):
        if isinstance(piece, tuple):
            joined = isinstance(before, tuple) and before[1] == piece[0]
            spans.append((spans.pop()[0], piece[1]) if joined else piece)
    return [r for r in records if any(start <= r.start and r.end <= end for start, end in spans)]


def try_journal(folder: Path, kind: str, way: str, seed: object, path: Path) -> Outcome | None:
    """Damage a journal and read it; None if the damage changed nothing."""
    from frameworm.experiment.recording.journal_reader import read_journal

    data, records, checked = journal(folder, kind)
    chance = random.Random(f"{kind} {way} {seed}")
    pieces = damaged(len(data), way, chance, data, checked if chance.random() < 0.3 else 0)
    changed = _bytes(pieces, data)
    if changed == data:
        return None
    path.write_bytes(changed)
    contents = read_journal(path)
    outcome = Outcome(told=bool(contents.damage))
    whole = _intact(pieces, records)
    outcome.unproved = changed[:checked] == data[:checked]
    index, points = contents.columns()
    bits = points.values.view("<u8").tolist()
    columns = (index + 1).tolist(), points.steps.tolist(), points.epochs.tolist(), points.times_ms.tolist(), bits
    read = Counter(zip(*columns, strict=True))
    given = Counter(point for record in records for point in record.points)
    intact = Counter(point for record in whole for point in record.points)
    outcome.intact = intact.total()
    outcome.read = (intact & read).total()
    outcome.wrong = (read - given).total()
    events = Counter(json.dumps(event, separators=(",", ":")) for event in contents.events)
    declared = ('"type":"series"', '"type":"set"')
    expected = Counter(r.event for r in whole if r.event and not any(kind in r.event for kind in declared))
    outcome.lost = outcome.intact - outcome.read + (expected - events).total()
    outcome.wrong += (events - Counter(r.event for r in records if r.event)).total()
    if any(key.name.startswith("?/") for key in contents.keys):
        outcome.lost += 1
    return outcome


@cache
def segment(folder: Path) -> tuple[bytes, dict[Any, Any]]:
    """Return a segment, and all its series."""
    from frameworm.experiment.recording.journal import WriterName
    from frameworm.experiment.recording.recorder import Recorder
    from frameworm.experiment.recording.seal import seal

    place = folder / "segment"
    place.mkdir()
    writer = Recorder(place, {"host": "h", "pid": os.getpid()})
    chance = random.Random("segment")
    for number, kind in enumerate(("mixed", "threads", "names")):
        _fill(writer, kind, chance, _RECORDS, number * _RECORDS)
    writer.close()
    name = WriterName.parse(writer._journal.path.name)
    assert name is not None
    seal(place, name)
    path = place / name.segment
    return path.read_bytes(), _series(path)[0]


def _series(path: Path) -> tuple[dict[Any, Any], bool]:
    from frameworm.experiment.errors import DamageError, StoreVersionError
    from frameworm.experiment.storage.segment import SegmentReader

    found: dict[Any, Any] = {}
    told = False
    try:
        with SegmentReader(path) as reader:
            try:
                found["events"] = reader.events()
            except DamageError:
                told = True
            for i, key in enumerate(reader.keys):
                try:
                    points = reader.read(i)
                except DamageError:
                    told = True
                    continue
                columns = (points.steps, points.epochs, points.times_ms, points.values)
                found[key] = [column.tobytes() for column in columns]
    except (DamageError, StoreVersionError):
        told = True
    return found, told


def try_segment(folder: Path, way: str, seed: object, path: Path) -> Outcome | None:
    """Damage a segment and read it; each series is one intact record, and the events are one."""
    data, given = segment(folder)
    changed = _bytes(damaged(len(data), way, random.Random(f"segment {way} {seed}"), data), data)
    if changed == data:
        return None
    path.write_bytes(changed)
    found, told = _series(path)
    right = sum(found.get(key) == value for key, value in given.items())
    wrong = sum(given.get(key) != value for key, value in found.items())
    return Outcome(len(given), right, told, len(given) - right, wrong)


def try_one(folder: Path, kind: str, way: str, seed: object, path: Path) -> Outcome | None:
    """Damage and read one file."""
    if kind == "segment":
        return try_segment(folder, way, seed, path)
    return try_journal(folder, kind, way, seed, path)


def inserts_and_removals(run: Run) -> None:
    """Damage many files in every way: what is whole is read, or it is told that something is not."""
    counts = Counts()
    made = run.folder / "made"
    made.mkdir()

    def trial(case: tuple[str, str], folder: Path) -> Found:
        kind, way = case
        path = folder / ("metrics-fuzz-1-9.seg" if kind == "segment" else "journal-fuzz-1-9")
        mine = Counts()
        for seed in range(run.scale(10, 400)):
            if outcome := try_one(made, kind, way, seed, path):
                mine.add(f"{kind} {way} {seed}", outcome)
                counts.add(f"{kind} {way} {seed}", outcome)
        assert not mine.bad, "; ".join(mine.bad[:5])
        return Found(mine.intact, 0)

    run.trials([(kind, way) for kind in KINDS for way in WAYS], trial, workers=1)
    run.remarks.append(
        f"{counts.files:,} files, {counts.told:,} told of; {counts.read / counts.intact:.2%} of "
        f"{counts.intact:,} intact points read, the others told of; silently lost {counts.lost_untold}, wrong "
        f"{counts.wrong_untold}; {counts.unseen} files had a wrong value where no checksum reaches"
    )
