"""Made the golden segments of format version 1. Kept to say how; the files are never made again.

Every encoding, every group, shared and own timelines, a series without points and an empty segment occur.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from frameworm.experiment.model import NO_EPOCH, SeriesKey
from frameworm.experiment.storage.segment import SegmentReader, write_segment

HERE = Path(__file__).parent
KEYS = [
    SeriesKey("loss", "train"),
    SeriesKey("loss", "val"),
    SeriesKey("lr", "train"),
    SeriesKey("日本/a b", "train"),
    SeriesKey("edge", "train"),
    SeriesKey("never logged", "test"),
    SeriesKey("constant", "system"),
    SeriesKey("accuracy", "train"),
]
COUNTS = [70_000, 40, 5_000, 40, 7, 0, 4_096, 40]
FIELDS = (
    "name",
    "context",
    "count",
    "nan_count",
    "first",
    "last",
    "min",
    "max",
    "sum",
    "last_step",
    "last_epoch",
    "first_time_ms",
    "last_time_ms",
)
OVERVIEW_FIELDS = ("min", "max", "last", "steps", "times_ms")
NAN = 0x7FF8_0000_DEAD_BEEF
EDGE_BITS = [NAN, 0x7FF0_0000_0000_0001, 0xFFF0_0000_0000_0000, 0x8000_0000_0000_0000, 1, 0x7FEF_FFFF_FFFF_FFFF, 0]


def noise(n: int) -> np.ndarray:
    """Integers from 0 to 9 without a random generator."""
    return (np.arange(n, dtype=np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15) >> np.uint64(40)) % np.uint64(10)


def values(name: str, n: int) -> np.ndarray:
    steps = np.arange(n)
    if name == "lr":
        return 0.001 * (1 - steps / n)
    if name == "edge":
        return np.array(EDGE_BITS, np.uint64).view(np.float64)
    if name == "constant":
        return np.full(n, 0.1)
    return (1 / (1 + steps / 100) + noise(n) / 1e4).astype(np.float32).astype(np.float64)


def main() -> None:
    index = np.repeat(np.arange(len(KEYS), dtype=np.uint32), COUNTS)
    steps = np.concatenate([np.arange(n, dtype=np.int64) for n in COUNTS])
    epochs = np.where(index == 1, steps // 10, NO_EPOCH).astype(np.int32)
    times = np.concatenate([1_760_000_000_000 + 20 * np.arange(n) + noise(n).astype(np.int64) % 3 for n in COUNTS])
    edge = np.flatnonzero(index == 4)
    steps[edge[:3]] = [2**63 - 1, -(2**63), 0]
    epochs[edge[3]] = 2**31 - 1
    points = np.concatenate([values(key.name, n) for key, n in zip(KEYS, COUNTS, strict=True)])
    # Mixed as they would arrive, in the order of their times; stable, so that each series keeps its own.
    arrival = np.argsort(times, kind="stable")
    write_segment(
        HERE / "metrics-golden-4711-1.seg",
        keys=KEYS,
        index=index[arrival],
        epochs=epochs[arrival],
        steps=steps[arrival],
        times_ms=times[arrival],
        values=points[arrival],
        events='{"t":1,"type":"note","text":"é"}\n'.encode() * 3,
        sources=["journal-golden-4711-1"],
    )
    none = np.empty(0, np.int64)
    write_segment(
        HERE / "metrics-golden-4711-2.seg",
        keys=[],
        index=none,
        epochs=none.astype(np.int32),
        steps=none,
        times_ms=none,
        values=none.astype(np.float64),
        events=b"",
        sources=[],
    )
    (HERE / "expected.json").write_text(json.dumps(describe(), indent=1, ensure_ascii=False) + "\n")


def describe() -> dict[str, object]:
    """Say what the golden segment holds, as this release reads it; long arrays by their SHA-256."""
    series = []
    with SegmentReader(HERE / "metrics-golden-4711-1.seg") as reader:
        for i, key in enumerate(reader.keys):
            points = reader.read(i)
            overview = reader.overview(i) if reader.is_long(i) else None
            series.append(
                {
                    "name": key.name,
                    "context": key.context,
                    "count": len(points),
                    "steps": digest(points.steps),
                    "epochs": digest(points.epochs),
                    "times_ms": digest(points.times_ms),
                    "values": digest(points.values),
                    "overview": [digest(getattr(overview, field)) for field in OVERVIEW_FIELDS if overview],
                }
            )
        summaries = [[repr(getattr(summary, field)) for field in FIELDS] for summary in reader.summaries()]
        return {
            "series": series,
            "summaries": summaries,
            "events": reader.events().decode(),
            "sources": reader.sources,
        }


def digest(column: np.ndarray) -> str:
    return hashlib.sha256(column.astype(column.dtype.newbyteorder("<")).tobytes()).hexdigest()


if __name__ == "__main__":
    main()
