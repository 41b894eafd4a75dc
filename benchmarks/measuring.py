"""What every workload measures with: the same material for all peers, times, sizes and memory."""

from __future__ import annotations

import os
import random
import statistics
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers import Log, LogRow, Peer

clock = time.perf_counter_ns
Figures = dict[str, float]


def losses(n: int, seed: int = 0) -> list[float]:
    """Return a falling, noisy loss as a training in float32 gives it."""
    noise = random.Random(seed).gauss
    return array("f", ((2 * (1 - i / n) ** 3 + 0.1) * (1 + noise(0, 0.05)) for i in range(n))).tolist()


def rows_of(names: int, steps: int) -> list[dict[str, float]]:
    """Return one value for each of so many names at each step: noise of 10 % about a level, in float32."""
    choose = random.Random(0)
    keys = [f"layers.{i // 8}/weight_norm_{i % 8}" for i in range(names)]
    levels = [choose.lognormvariate(-3, 2) for _ in keys]
    noise = choose.gauss
    return [
        dict(zip(keys, array("f", [level * (1 + noise(0, 0.1)) for level in levels]).tolist(), strict=True))
        for _ in range(steps)
    ]


def params_of(seed: int) -> dict[str, Any]:
    """Return ten params."""
    choose = random.Random(seed)
    return {"lr": choose.random(), "optimizer": choose.choice(["adam", "sgd"])} | {f"p{i}": i / 8 for i in range(8)}


def all_files(folder: Path) -> list[Path]:
    return [Path(at, name) for at, _, names in os.walk(folder) for name in names]


def size_of(folder: Path) -> int:
    """Return the bytes of all files; one that goes meanwhile counts nothing."""
    total = 0
    for path in all_files(folder):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:
            continue
    return total


def put_on_disk(folder: Path) -> None:
    """Fsync every file: what the peer did already costs next to nothing."""
    for path in all_files(folder):
        try:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            os.fsync(file)
        except OSError:
            pass  # a socket or pipe
        finally:
            os.close(file)


def peak_mib() -> float:
    """Return the most memory this process and its living children have had at once, each by itself."""
    parents, peaks = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        parents[int(fields["Pid"])] = int(fields["PPid"])
        peaks[int(fields["Pid"])] = int(fields.get("VmHWM", "0 kB").split()[0])
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(peaks[pid] for pid in family) / 1024


def quantile(ordered: list[int], q: float) -> int:
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def warm_up(driver: Peer) -> None:
    """Record one small experiment: tables are made and modules imported that only the first one waits for."""

    def body(log: Log, log_row: LogRow) -> None:
        for step in range(10):
            log("warm", 0.5, step)
        log_row({"warm_a": 0.5, "warm_b": 0.5}, 0)

    driver.run("warm", {}, body)


def latencies(taken: array[int]) -> Figures:
    """Return the quantiles of times in ns."""
    ordered = sorted(taken)
    return {
        "p50_us": quantile(ordered, 0.5) / 1e3,
        "p99_us": quantile(ordered, 0.99) / 1e3,
        "p999_us": quantile(ordered, 0.999) / 1e3,
        "max_us": ordered[-1] / 1e3,
    }


def repeated(what: str, call: Callable[[], Any] | None, times: int = 5) -> Figures:
    """Return the first time and the median of those after it, and how many came back."""
    if call is None:
        return {}
    taken = []
    for _ in range(times + 1):
        begin = clock()
        got = call()
        taken.append(clock() - begin)
        if taken[-1] > 2e9:
            break
    count = len(got[0]) if isinstance(got, tuple) else len(got)
    rest = taken[1:] or taken
    return {f"{what}_ms": statistics.median(rest) / 1e6, f"{what}_first_ms": taken[0] / 1e6, f"{what}_count": count}
