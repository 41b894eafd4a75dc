"""``make bench``: what recording and reading cost here, beside the floor: an empty method call, one small write.

Each figure is the median of several rounds in the same process, with the least and the most; a busy machine shows
in the floor as well, so compare the ratios.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from frameworm.experiment import Experiment, ExperimentManager

ROUNDS = 7
CALLS = 20_000


class Empty:
    """The floor: a method of the same signature that does nothing."""

    def log_metric(self, name, value, step=None, epoch=None, metric_type="train"):
        """Do nothing."""


def seconds_per(count: int, call: Callable[[int], object]) -> list[float]:
    """Return the seconds of one call, in each of several rounds of ``count`` calls."""
    rounds = []
    for number in range(ROUNDS):
        start = time.perf_counter()
        for i in range(number * count, (number + 1) * count):
            call(i)
        rounds.append((time.perf_counter() - start) / count)
    return rounds


def quantiles_of(count: int, call: Callable[[int], object]) -> str:
    taken = []
    for i in range(count):
        start = time.perf_counter()
        call(i)
        taken.append(time.perf_counter() - start)
    taken.sort()
    parts = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    return "   ".join(f"{name} {taken[int(count * q)] * 1e6:.2f} µs" for name, q in parts)


def show(what: str, rounds: list[float], unit: str, floor: float | None = None, aim: str = "") -> None:
    scale = {"ns": 1e9, "µs": 1e6, "ms": 1e3}[unit]
    middle = statistics.median(rounds)
    line = f"{what:<46} {middle * scale:9.2f} {unit}   ({min(rounds) * scale:.2f} to {max(rounds) * scale:.2f})"
    if floor:
        line += f"   {middle / floor:5.1f} × empty call"
    print(f"{line}   {aim}".rstrip())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        exp = Experiment("bench", root_dir=root, capture_console=False, system_metrics_s=0).start()
        time.sleep(1)
        empty = seconds_per(CALLS, lambda i: Empty.log_metric(exp, "loss", 0.5, i))  # type: ignore[arg-type]
        floor = statistics.median(empty)
        show("empty method call", empty, "µs")
        file = os.open(root / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        record = bytes(32)
        show("os.write of 32 bytes", seconds_per(CALLS, lambda i: os.write(file, record)), "µs", floor)
        os.close(file)
        show(
            "log_metric(name, value, step)",
            seconds_per(CALLS, lambda i: exp.log_metric("loss", 0.5, i)),
            "µs",
            floor,
            "aim ≤ 2",
        )
        print(f"{'':<4}call by call: {quantiles_of(100_000, lambda i: exp.log_metric('loss', 0.5, i))}")
        show("log_metric(name, value)", seconds_per(CALLS, lambda i: exp.log_metric("auto", 0.5)), "µs", floor)
        for size in (20, 10_000):
            row = {f"m{size}/{i}": float(i) for i in range(size)}
            exp.log_metrics(row, 0)
            taken = seconds_per(max(20, CALLS // size), lambda i, row=row: exp.log_metrics(row, i))
            aim = "aim ≤ 6 µs a call" if size == 20 else ""
            if size == 20:
                show(f"log_metrics of {size}", taken, "µs", floor, aim)
            show(f"log_metrics of {size}, a metric", [t / size for t in taken], "ns")
        start = time.perf_counter()
        exp.end()
        print(f"{'end(): synced, sealed, in the catalog':<46} {(time.perf_counter() - start) * 1e3:9.1f} ms")

        losses = (1 + np.random.default_rng(0).normal(0, 0.1, 1_000_000)).astype(np.float32).astype(float).tolist()
        with Experiment("million", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
            start = time.perf_counter()
            for step, loss in enumerate(losses):
                exp.log_metric("loss", loss, step)
            logged = time.perf_counter() - start
        size = sum(path.stat().st_size for path in exp.log_dir.glob("*.seg"))
        print(f"{'1,000,000 points logged':<46} {logged:9.2f} s    {size / 1e6:.2f} bytes a point sealed (aim ≤ 3.5)")
        with Experiment("hundred thousand", root_dir=root, capture_console=False, system_metrics_s=0) as small:
            for step, loss in enumerate(losses[:100_000]):
                small.log_metric("loss", loss, step)
        manager = ExperimentManager(root)

        def read(experiment_id: str) -> list[float]:
            rounds = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                manager.get_metric_history(experiment_id, "loss")
                rounds.append(time.perf_counter() - start)
            return rounds

        show("100,000 points to a DataFrame", read(small.experiment_id), "ms", aim="aim ≤ 15")
        show("1,000,000 points to a DataFrame", read(exp.experiment_id), "ms")
    statements = ("pass", "import numpy", "import frameworm.experiment", "from frameworm.experiment import Experiment")
    for module in statements:
        rounds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", module], check=True)
            rounds.append(time.perf_counter() - start)
        show(f"python -c '{module}'", rounds, "ms")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
