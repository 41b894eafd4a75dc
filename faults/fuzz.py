"""Row 19, any bytes at all: what reads journals and segments neither crashes, hangs nor fills the memory.

The bytes are random, mutations of the golden files, or pieces of several; in half of them the checksums are made
right again, so that what lies behind them is tried too. All is done in a process whose memory and time are limited.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faults.child import Child, Ledger
from faults.harness import Run
from faults.workload import Found

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
KINDS = {"journal": "journal-*", "segment": "*.seg"}
_MOST_BYTES = 3 << 30
"""Address space of the process that reads, libraries included: an allocation that a size field asks for hits this."""

_PER_BYTE = 400
_MARGIN = 64 << 20
"""Python's memory for a file of n bytes is at most 400 n, and 64 MB."""

_SECONDS = 20


def golden(kind: str) -> list[bytes]:
    """Return the golden files of a kind, shortened where they are large, so that many are tried."""
    files = [path.read_bytes() for path in sorted(GOLDEN.glob(f"{kind}-v*/{KINDS[kind]}"))]
    assert files, f"no golden {kind}"
    return files


def mutated(kind: str, chance: random.Random, *, forged: bool = True) -> bytes:
    """Return a file to try; ``forged`` ones have checksums that fit, and events that nobody wrote."""
    files = golden(kind)
    way = chance.random()
    if way < 0.1:
        return chance.randbytes(chance.choice((0, 1, 15, 16, 17, 100, 5000)))
    if way < 0.2:
        return chance.choice(files)[:16] + chance.randbytes(chance.choice((8, 100, 5000)))
    if way < 0.21 and kind == "journal":  # what looks like ten thousand large events
        return files[0] + bytes(8) + (struct.pack("<II", 2 << 30 | 500_000, 0) + b'{"t":   ') * 50_000
    data = bytearray(chance.choice(files))
    if way < 0.4:
        other = chance.choice([*files, *golden("segment" if kind == "journal" else "journal")])
        cut, at = sorted((chance.randrange(len(other)), chance.randrange(len(other))))
        where = chance.randrange(len(data))
        data[where : where + chance.choice((0, at - cut))] = other[cut:at]
    else:
        for _ in range(chance.choice((1, 1, 1, 2, 5, 20))):
            _mutate(data, chance)
    if not forged:
        return bytes(data)
    if kind == "journal" and chance.random() < 0.5:
        data += b"".join(_forged_event(chance) for _ in range(chance.randrange(1, 4)))
        data += chance.choice((b"", struct.pack("<Iiqqd", chance.randrange(1, 9), 0, 0, 0, 0.0)))
    if chance.random() < 0.5:
        (_mend_journal if kind == "journal" else _mend_segment)(data)
    return bytes(data)


def _mutate(data: bytearray, chance: random.Random) -> None:
    if not data:
        return
    at = chance.randrange(len(data))
    if chance.random() < 0.2:
        at = max(0, len(data) - 1 - chance.randrange(200))  # the footer of a segment
    way = chance.randrange(6)
    if way == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif way == 1:
        data[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 2**31, 2**32 - 1, chance.randrange(2**32))))
    elif way == 2:
        data[at : at + 8] = struct.pack("<Q", chance.choice((0, 2**63, 2**64 - 1, 2**40, chance.randrange(2**64))))
    elif way == 3:
        del data[at : at + chance.choice((1, 8, 100))]
    elif way == 4:
        data[at:at] = chance.randbytes(chance.choice((1, 8, 100)))
    else:
        del data[at:]


_STRANGE: tuple[Any, ...] = (
    None,
    -1,
    0,
    1,
    3,
    2**30,
    2**62,
    2**70,
    1.5,
    "",
    "x",
    [],
    [1],
    [-1, 2**40],
    ["a", 3],
    {},
    {"a": 1},
)


def _forged_event(chance: random.Random) -> bytes:
    """Return an event that none of ours has ever been, with a checksum that fits."""
    event: Any = {"t": chance.choice((1795427118934, *_STRANGE))}
    keys = ("type", "first", "context", "names", "id", "series", "from", "to", "crc", "status", "uid", "config", "tags")
    for key in chance.sample(keys, chance.randrange(len(keys))):
        event[key] = chance.choice(_STRANGE)
    if chance.random() < 0.8:
        event["type"] = chance.choice(("series", "series", "set", "set", "check", "status", "open", "create", "note"))
    payload = json.dumps(event).encode()
    if chance.random() < 0.1:
        payload = b'{"t":' + chance.choice((b"[" * 100_000, b"1}", b"1,}", b"1e999}", b"\xff\xff}", b'1,"type":1}'))
    frame = struct.pack("<II", 2 << 30 | len(payload), zlib.crc32(payload)) + payload
    return frame + bytes(-len(frame) % 8)


def _mend_journal(data: bytearray) -> None:
    """Make the checksums right of the header and of what looks like an event."""
    if len(data) >= 16:
        data[12:16] = struct.pack("<I", zlib.crc32(data[:12]))
    at = 0
    while (at := data.find(b'{"t":', at + 1)) >= 8:
        (head,) = struct.unpack_from("<I", data, at - 8)
        if head >> 30 == 2:
            data[at - 4 : at] = struct.pack("<I", zlib.crc32(data[at : at + (head & (2**30 - 1))]))


def _mend_segment(data: bytearray) -> None:
    """Make the checksums right of header, columns, directory, text, events and footer."""
    if len(data) < 136:
        return
    data[12:16] = struct.pack("<I", zlib.crc32(data[:12]))
    footer = len(data) - 120

    def section(at: int) -> tuple[int, int]:
        offset, length = struct.unpack_from("<QQ", data, footer + at)
        return offset, length

    offset, length = section(80)
    if offset + length <= footer:
        for entry in range(offset, offset + length - 23, 24):
            start, size = struct.unpack_from("<QI", data, entry)
            if start + size <= footer:
                data[entry + 16 : entry + 20] = struct.pack("<I", zlib.crc32(data[start : start + size]))
    for at in (24, 52, 80):
        offset, length = section(at)
        if offset + length <= footer:
            data[footer + at + 24 : footer + at + 28] = struct.pack("<I", zlib.crc32(data[offset : offset + length]))
    data[footer + 108 : footer + 112] = struct.pack("<I", zlib.crc32(data[footer : footer + 108]))


# ------------------------------------------------------------------------------------- reading


def _journal_calls(path: Path) -> Iterator[Callable[[], object]]:
    from frameworm.experiment.recording.journal_reader import read_journal

    contents = read_journal(path)
    for error in contents.damage:
        assert error.path == str(path) and error.offset >= 0, error
    yield contents.columns
    for position in range(min(len(contents.keys), 20)):
        yield lambda position=position: contents.read(position)  # type: ignore[misc]


def _segment_calls(path: Path) -> Iterator[Callable[[], object]]:
    from frameworm.experiment.storage.segment import SegmentReader

    reader = SegmentReader(path)
    yield lambda: reader.keys
    yield lambda: reader.counts
    yield reader.events
    yield reader.summaries
    for i in range(10):
        yield lambda i=i: reader.read(i)  # type: ignore[misc]
        yield lambda i=i: reader.overview(i)  # type: ignore[misc]


def read_all(kind: str, path: Path) -> int:
    """Read everything from a file; return how many errors of the documented kinds came.

    Raises:
        Exception: of any other kind.
    """
    from frameworm.experiment.errors import DamageError, StoreVersionError

    errors = 0
    calls = {"journal": _journal_calls, "segment": _segment_calls}[kind](path)
    while True:
        try:
            call = next(calls, None)
        except (DamageError, StoreVersionError):
            return errors + 1
        if call is None:
            return errors
        try:
            call()
        except (DamageError, StoreVersionError):
            errors += 1
        except IndexError as error:
            assert " of " in str(error), "an IndexError that is not the one documented"
            return errors


def read_many(ledger: Ledger, kind: str, seed: int, count: int) -> None:
    """Read ``count`` files, one after the other, within limits."""
    path = Path(f"{kind}-fuzz-1-1" if kind == "journal" else "metrics-fuzz-1-1.seg")
    read_all(kind, _write(path, golden(kind)[0]))  # imports, before memory is limited
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    tracemalloc.start()
    for number in range(count):
        data = mutated(kind, random.Random(f"{seed} {number}"))
        _write(path, data)
        ledger.phase = number
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime) + _SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))  # SIGXCPU ends the process
        tracemalloc.reset_peak()
        read_all(kind, path)
        peak = tracemalloc.get_traced_memory()[1]
        assert peak <= _MARGIN + _PER_BYTE * len(data), f"{peak} bytes of memory for a file of {len(data)}"
        ledger.acknowledged = number + 1


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def any_bytes(run: Run) -> None:
    """Read files of any bytes; a file that does harm is left behind."""

    def trial(case: tuple[str, int], folder: Path) -> Found:
        kind, seed = case
        count = run.scale(150, 2500)
        with Child(folder, read_many, kind, seed, count) as child:
            code = child.wait(None)
            number = child.ledger.phase
            assert code == 0, f"{kind} {seed} {number}: exit code {code}\n{child.told()}"
        return Found(0, 0)

    run.trials([(kind, seed) for seed in range(run.scale(1, 2)) for kind in KINDS], trial)
    run.remarks.append(f"{run.scale(150, 2500) * run.injected:,} files")
