"""The folders that the page shows while it is measured; big ones are made once and kept."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.environments import PROJECT
from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.model import NO_EPOCH, SeriesKey
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.segment import write_segment


def kept(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return the folder, made by ``make`` if an earlier run has not."""
    if not folder.exists():
        making = folder.with_name(folder.name + ".making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        make(making)
        making.rename(folder)
    return folder


def table(cache: Path, n: int) -> Path:
    """So many experiments of 50 params and 20 metrics, which the catalog alone holds: small charts stay empty."""

    def make(root: Path) -> None:
        sys.path.insert(0, str(PROJECT / "benchmarks"))  # its modules import one another by their own names
        try:
            from engine.catalog import entries
        finally:
            sys.path.pop(0)
        catalog = Catalog.open(root)
        batch = []
        for entry in entries(root, n):
            batch.append(entry)
            if len(batch) == 500:
                catalog.upsert_many(batch)
                batch = []
        catalog.upsert_many(batch)

    return kept(cache / f"table-{n}", make)


def charts(cache: Path, experiments: int, metrics: int, points: int) -> Path:
    """Experiments of so many series each, falling and noisy, written as sealed segments."""

    def make(root: Path) -> None:
        steps = np.tile(np.arange(points), metrics)
        index = np.repeat(np.arange(metrics, dtype=np.uint32), points)
        falling = 2 * np.exp(-3 * np.arange(points) / points) + 0.1
        for number in range(experiments):
            with Experiment(
                f"seed {number}", {"seed": number}, root_dir=root, capture_console=False, system_metrics_s=0
            ) as exp:
                pass
            noise = np.random.default_rng(number).normal(0, 0.05, metrics * points).astype(np.float32)
            values = np.tile(falling * (1 + number / experiments), metrics) * np.exp(noise)
            first = next(name for path in exp.log_dir.glob("*.seg") if (name := WriterName.parse(path.name)))
            name = first._replace(n=first.n + 1)
            write_segment(
                exp.log_dir / name.segment,
                keys=[SeriesKey(f"m/{metric:02d}", "train") for metric in range(metrics)],
                index=index,
                steps=steps,
                epochs=np.full(metrics * points, NO_EPOCH, np.int32),
                times_ms=1_760_000_000_000 + steps * 15,
                values=values.astype(np.float32).astype(np.float64),
                events=b'{"t":1760000000000,"type":"open","host":"host","pid":1}\n',
                sources=[name.journal],
            )
        ExperimentManager(root).rebuild()

    return kept(cache / f"charts-{experiments}x{metrics}x{points}", make)


def names(cache: Path, n: int) -> Path:
    """One experiment of so many metric names, ten points each."""

    def make(root: Path) -> None:
        with Experiment("wide", {}, root_dir=root, capture_console=False, system_metrics_s=0) as exp:
            for step in range(10):
                exp.log_metrics({f"layers.{i // 8}/norm_{i % 8}": float(i + step) for i in range(n)}, step=step)

    return kept(cache / f"names-{n}", make)
