"""The catalog: filling, listing, searching and comparing 10,000 experiments of 50 params and 20 metrics.

python -m benchmarks.catalog
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from frameworm.experiment.manager import ExperimentManager
from frameworm.experiment.model import ExperimentInfo, SeriesSummary
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.schema import Entry

N, PARAMS, METRICS = 10_000, 50, 20


def timed(call: Callable[[], object], times: int = 15) -> str:
    """The median of some calls after a first one, and the least."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return f"{statistics.median(taken) * 1e3:8.1f} ms  (least {min(taken) * 1e3:.1f})"


def entries(root: Path) -> Iterator[Entry]:
    """Yield experiments with random values, fixed seed."""
    choose = random.Random(1)
    for n in range(1, N + 1):
        config = {
            "training": {"lr": choose.random(), **{f"p{j}": choose.random() for j in range(PARAMS // 2 - 1)}},
            "model": {f"q{j}": choose.choice(["adam", 3, True, [1, 2]]) for j in range(PARAMS // 2)},
        }
        names = ["loss", "val_loss", *(f"m/{j}" for j in range(METRICS - 2))]
        info = ExperimentInfo(
            experiment_id=f"exp_{n:03d}",
            uid=f"{n:032x}",
            name=f"run {n}",
            path=root / f"exp_{n:03d}_run_{n}",
            config=config,
            status="completed",
            tags=("vae", "mnist") if n % 2 else ("vae",),
            created_ms=1_700_000_000_000 + n * 1000,
            git={"commit": "abcd" * 10, "dirty": bool(n % 2)},
        )
        yield Entry(
            info,
            [
                SeriesSummary(name, "train", 100, 0, choose.random(), choose.random(), 0.1, 0.9, 50.0, 99, 1, 1, 2)
                for name in names
            ],
            False,
        )


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = list(entries(root))
        for entry in made:
            entry.info.path.mkdir()
        catalog = Catalog.open(root)
        start = time.perf_counter()
        for first in range(0, N, 500):
            catalog.upsert_many(made[first : first + 500])
        print(f"catalog of {N:,} experiments, {PARAMS} params and {METRICS} metrics each")
        print(f"  fill                 {time.perf_counter() - start:8.1f} s")
        print(f"  size                 {catalog.path.stat().st_size / 1e6:8.1f} MB")
        print(f"  enter one            {timed(lambda: catalog.upsert(*made[4000]))}")
        manager = ExperimentManager(root)
        text = "config.training.lr < 1e-2 and metrics.val_loss <= 0.5 and 'mnist' in tags and status == 'completed'"
        some = [f"exp_{n:03d}" for n in range(5, 1000, 100)]
        calls: dict[str, Callable[[], object]] = {
            "list all": manager.list_experiments,
            "list the newest 20": lambda: manager.list_experiments(limit=20),
            "search a param": lambda: manager.search_experiments({"training.lr": ("<", 0.001)}),
            "search a metric": lambda: manager.search_experiments(metric_filter={"val_loss": ("<", 0.001)}),
            "search by text": lambda: manager.search_experiments(text),
            "compare 10": lambda: manager.compare_experiments(some),
        }
        for name, call in calls.items():
            print(f"  {name:<20} {timed(call)}")


if __name__ == "__main__":
    main()
