"""Segments: bytes a point, sealing and reading, by pattern and with a fixed seed.

python -m benchmarks.segment
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frameworm.experiment.model import NO_EPOCH, SeriesKey
from frameworm.experiment.storage.segment import SegmentReader, write_segment

N = 1_000_000
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def best_ms(call: Callable[[], object], times: int = 5) -> float:
    """The shortest of some calls, in milliseconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken) * 1e3


def loss(n: int, seed: int = 0) -> Floats:
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.05, n))
    return ((2 * np.exp(-3 * np.arange(n) / n) + 0.1) * noise).astype(np.float32).astype(np.float64)


def accuracy(n: int) -> Floats:
    return 0.9 - 0.4 * np.exp(-3 * np.arange(n) / n) + np.random.default_rng(5).normal(0, 0.01, n)


def clock(n: int, mean_ms: float, deviation_ms: float) -> Ints:
    return 1_760_000_000_000 + np.cumsum(np.random.default_rng(9).normal(mean_ms, deviation_ms, n)).astype(np.int64)


def short(n: int, k: int) -> Floats:
    rng = np.random.default_rng(6)
    values = rng.lognormal(-3, 2, k) * (1 + 0.1 * rng.normal(size=(n, k)))
    return values.astype(np.float32).astype(np.float64)


def patterns() -> Iterator[tuple[str, Floats, Ints]]:
    """Yield name, values (steps, series) and the time of each row, or of each point."""
    cosine = 0.0005 * (1 + np.cos(np.pi * np.arange(N) / N))
    yield "noisy float32 loss, 15±1 ms", loss(N)[:, None], clock(N, 15, 1)
    yield "noisy float32 loss, 120±6 ms", loss(N)[:, None], clock(N, 120, 6)
    yield "cosine float64, 15±1 ms", cosine[:, None], clock(N, 15, 1)
    yield "accuracy to 4 places, 15±1 ms", np.round(accuracy(N), 4)[:, None], clock(N, 15, 1)
    yield "normal float64, 15±1 ms", np.random.default_rng(0).normal(size=(N, 1)), clock(N, 15, 1)
    losses = np.stack([loss(N // 20, seed) for seed in range(20)], 1)
    yield "20 losses, log_metrics", losses, clock(N // 20, 120, 6)
    yield "20 losses, log_metric", losses, clock(N, 6, 0.5)
    yield "10,000 series × 100, log_metrics", short(100, 10_000), clock(100, 120, 6)
    yield "100,000 series × 10, log_metrics", short(10, 100_000), clock(10, 120, 6)
    yield "5 series × 10", short(10, 5), clock(10, 120, 6)


def main() -> None:
    print(
        f"{'segment':34} {'points':>9} {'B/point':>8} {'seal ms':>8} {'M/s':>6} {'read one ms':>12} {'summaries':>10}"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.seg"
        for name, values, times in patterns():
            steps, k = values.shape
            n = values.size
            arrays = {
                "keys": [SeriesKey(f"layers.{i // 8}.attention.weight/norm_{i % 8}", "train") for i in range(k)],
                "index": np.tile(np.arange(k, dtype=np.uint32), steps),
                "steps": np.repeat(np.arange(steps), k),
                "epochs": np.full(n, NO_EPOCH, np.int32),
                "times_ms": times if len(times) == n else np.repeat(times, k),
                "values": values.ravel(),
                "events": b'{"t":1760000000000,"type":"console","text":"epoch 1"}\n' * 40,
                "sources": ["journal-host-1-1"],
            }
            seal = best_ms(lambda arrays=arrays: write_segment(path, **arrays))

            def read() -> None:
                with SegmentReader(path) as reader:
                    reader.read(len(reader.counts) // 2)

            def summaries() -> None:
                with SegmentReader(path) as reader:
                    reader.summaries()

            print(
                f"{name:34} {n:9,} {path.stat().st_size / n:8.3f} {seal:8.2f} {n / seal / 1e3:6.1f} "
                f"{best_ms(read):12.2f} {best_ms(summaries):10.2f}"
            )


if __name__ == "__main__":
    main()
