"""Bytes a point of sealed series, by pattern and with fixed seeds; how fast a journal is sealed."""

from __future__ import annotations

import os
import shutil
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from pcodec import standalone

from drivers import Peer
from frameworm.experiment import Experiment
from frameworm.experiment.model import NO_EPOCH, SeriesKey
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.recording.seal import seal
from frameworm.experiment.storage.segment import SegmentReader, write_segment

REPEATS = 3


def loss(n: int) -> np.ndarray:
    """A falling loss with 5 % noise, as float32 gives it."""
    noise = np.exp(np.random.default_rng(0).normal(0, 0.05, n))
    return ((2 * np.exp(-3 * np.arange(n) / n) + 0.1) * noise).astype(np.float32).astype(np.float64)


def cosine(n: int) -> np.ndarray:
    """A learning rate on a cosine schedule, float64."""
    return 0.0005 * (1 + np.cos(np.pi * np.arange(n) / n))


def accuracy(n: int) -> np.ndarray:
    """A noisy accuracy, rounded to four places."""
    noise = np.random.default_rng(5).normal(0, 0.01, n)
    return np.round(0.9 - 0.4 * np.exp(-3 * np.arange(n) / n) + noise, 4)


def clock(n: int) -> np.ndarray:
    """Times in milliseconds, 15 ± 1 ms apart."""
    return 1_760_000_000_000 + np.cumsum(np.random.default_rng(9).normal(15, 1, n)).astype(np.int64)


def measure(driver: Peer, n: int) -> dict[str, float]:
    """Seal n points of each pattern, and two journals of n points."""
    figures = {}
    path = driver.folder / "metrics.seg"
    for pattern in (loss, cosine, accuracy):
        write_segment(
            path,
            keys=[SeriesKey("loss", "train")],
            index=np.zeros(n, np.uint32),
            steps=np.arange(n),
            epochs=np.full(n, NO_EPOCH, np.int32),
            times_ms=clock(n),
            values=pattern(n),
            events=b"",
            sources=["journal-host-1-1"],
        )
        figures[f"{pattern.__name__}_bytes"] = path.stat().st_size / n
        with SegmentReader(path) as reader:
            assert np.array_equal(reader.read(0).values, pattern(n)), "a segment gives back what it was given"
    values = loss(n).tolist()

    def few(exp: Experiment) -> None:
        for step, value in enumerate(values):
            exp.log_metric("loss", value, step)

    def many(exp: Experiment) -> None:
        names = [f"layers.{i // 8}/weight_norm_{i % 8}" for i in range(n // 10)]
        for step in range(10):
            exp.log_metrics(dict(zip(names, values[step * len(names) :], strict=False)), step)

    return figures | sealing(driver.folder, "few", few, n) | sealing(driver.folder, "many", many, n)


def sealing(folder: Path, what: str, log: Callable[[Experiment], None], n: int) -> dict[str, float]:
    """Seal the journal of an experiment several times: points a second of CPU time, which is one core's."""
    with Experiment(what, root_dir=folder / what, capture_console=False, system_metrics_s=0) as exp:
        log(exp)
        exp.flush()
        journal = next(exp.log_dir.glob("journal-*"))
        copy = folder / f"copy-{what}"
        copy.mkdir()
        shutil.copy(journal, copy / journal.name)
    name = WriterName.parse(journal.name)
    assert name is not None
    cores, walls, shares = [], [], []
    for number in range(REPEATS):
        target = folder / f"{what}-{number}"
        shutil.copytree(copy, target)
        with _libraries() as inside:
            wall, core = time.perf_counter(), time.process_time()
            seal(target, name)
            wall_s, core_s = time.perf_counter() - wall, time.process_time() - core
        walls.append(n / wall_s)
        cores.append(n / core_s)
        shares.append(sum(inside) / wall_s)
    return {
        f"{what}_per_s": statistics.median(cores),
        f"{what}_wall_per_s": statistics.median(walls),
        f"{what}_libraries": statistics.median(shares),
    }


@contextmanager
def _libraries() -> Iterator[list[float]]:
    """Note the seconds of each call of what compresses, checks and syncs, which is not ours to make quicker."""
    taken: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                taken.append(time.perf_counter() - begin)

        return call

    with ExitStack() as stack:
        for owner, names in (
            (standalone, ("simple_compress", "simple_decompress_into", "simple_decompress")),
            (zlib, ("compress", "crc32")),
            (os, ("fsync",)),
        ):
            for one in names:
                stack.enter_context(patch.object(owner, one, timed(getattr(owner, one))))
        yield taken
