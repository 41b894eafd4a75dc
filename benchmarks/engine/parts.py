"""What a figure is made of, where it is near its limit: a call of ``log_metric``, a short experiment, a first start."""

from __future__ import annotations

import builtins
import os
import statistics
import struct
import subprocess
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from drivers import Log, LogRow, Peer


def call(driver: Peer, n: int) -> dict[str, float]:
    """Time each part of a call by itself, without what reading the clock takes; medians of n calls."""
    from measuring import warm_up

    warm_up(driver)
    file = os.open(driver.folder / "beside", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    record = bytes(32)
    pack = struct.Struct("<Iiqqd").pack
    figures = {}

    def body(log: Log, log_row: LogRow) -> None:
        time.sleep(1)
        parts: dict[str, Callable[[int], object]] = {
            "nothing": lambda step: None,
            "write": lambda step: os.write(file, record),
            "pack": lambda step: pack(1, -1, step, 0, 0.5),
            "time": lambda step: time.time_ns() // 1_000_000,
            "whole": lambda step: log("loss", 0.5, step),
        }
        for part, do in parts.items():
            figures[part] = _median_ns(do, n)

    driver.run("parts", {}, body)
    os.close(file)
    nothing = figures.pop("nothing")
    found = {f"{part}_us": (taken - nothing) / 1e3 for part, taken in figures.items()}
    return {**found, "rest_us": found["whole_us"] - found["write_us"] - found["pack_us"] - found["time_us"]}


def _median_ns(do: Callable[[int], object], n: int) -> float:
    taken = array("q", bytes(8 * n))
    clock = time.perf_counter_ns
    for step in range(n):
        start = clock()
        do(step)
        taken[step] = clock() - start
    return statistics.median(taken)


def short(driver: Peer, n: int) -> dict[str, float]:
    """Run short experiments in this repository and outside of any; and do alone some of what each of them does."""
    from drive import shorts
    from frameworm.experiment.provenance.git import STATUS
    from measuring import clock, warm_up

    warm_up(driver)
    asked = []
    for _ in range(50):
        begin = clock()
        subprocess.run(["git", *STATUS], stdout=subprocess.DEVNULL, check=True)
        asked.append(clock() - begin)
    inside = shorts(driver, n)
    os.chdir("/")
    begin_s = time.process_time()
    outside = shorts(driver, n)
    cpu_s = time.process_time() - begin_s
    return {
        "inside_ms": inside["median_ms"],
        "outside_ms": outside["median_ms"],
        "cpu_ms": cpu_s / n * 1e3,
        "git_ms": statistics.median(asked) / 1e6,
        "files_ms": _files_ms(next(driver.folder.glob("exp_002*")), n),
    }


def _files_ms(like: Path, n: int) -> float:
    """Make the folders and files of an experiment with plain calls, two of them fsynced; return the median of n."""
    from measuring import clock

    folders = ["", *(str(path.relative_to(like)) for path in sorted(like.rglob("*")) if path.is_dir())]
    files = [(str(path.relative_to(like)), path.read_bytes()) for path in sorted(like.rglob("*")) if path.is_file()]
    taken = []
    for number in range(n):
        copy = like.parent / f"copy-{number}"
        begin = clock()
        for folder in folders:
            (copy / folder).mkdir()
        for at, (name, content) in enumerate(files):
            file = os.open(copy / name, os.O_CREAT | os.O_WRONLY)
            os.write(file, content)
            if at < 2:
                os.fsync(file)
            os.close(file)
        taken.append(clock() - begin)
    return statistics.median(taken) / 1e6


def start(driver: Peer, experiments: int) -> dict[str, float]:
    """Start the first experiments of a process, and note how long the first one's thread waits for imports."""
    from measuring import clock, params_of

    assert experiments == 2
    begun, imported = [], []

    def body(log: Log, log_row: LogRow) -> None:
        begun.append(clock() - begin)
        imported.append(sum(taken))

    with _imports() as taken:
        begin = clock()
        driver.run("first", params_of(0), body)
    begin = clock()
    driver.run("second", params_of(1), body)
    return {"first_ms": begun[0] / 1e6, "imports_ms": imported[0] / 1e6, "second_ms": begun[1] / 1e6}


@contextmanager
def _imports() -> Iterator[list[int]]:
    """Note the ns of each import statement of this thread, those within it included."""
    from measuring import clock

    taken: list[int] = []
    thread, within = threading.get_ident(), False
    import_ = builtins.__import__

    def timed(*arguments: Any, **named: Any) -> Any:
        nonlocal within
        if within or threading.get_ident() != thread:
            return import_(*arguments, **named)
        within = True
        begin = clock()
        try:
            return import_(*arguments, **named)
        finally:
            within = False
            taken.append(clock() - begin)

    with patch.object(builtins, "__import__", timed):
        yield taken
