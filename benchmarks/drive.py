"""Do one workload with one peer and write what was measured as one JSON object.

    python benchmarks/drive.py PEER WORKLOAD SIZE FOLDER RESULT

It runs in the peer's own interpreter, so it imports the standard library, the driver and the peer. Every peer does
the same work in the same loops. RESULT is a file, as peers take over stdout.

Times are of ``perf_counter_ns``; a call timed by itself includes reading the clock, about 0.05 µs, for the floor
too. "Durable" means that the experiment is ended and every file of it is fsynced, by the peer or else by us.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from drivers import Log, LogRow, Peer, peer_class
from measuring import (
    Figures,
    clock,
    latencies,
    losses,
    params_of,
    peak_mib,
    put_on_disk,
    repeated,
    rows_of,
    size_of,
    warm_up,
)


def main(peer: str, workload: str, size: str, folder: str, result: str) -> None:
    """Import the peer, do the workload, write the figures."""
    before = clock()
    driver = peer_class(peer)(Path(folder))
    imported_s = (clock() - before) / 1e9
    figures = function_of(workload)(driver, *(int(number) for number in size.split("x")))
    figures["imported_s"] = imported_s
    Path(result).write_text(json.dumps(figures))


def function_of(workload: str) -> Callable[..., Figures]:
    """Return the function of a workload: one of this module, or ``engine.<module>.<function>``."""
    if workload in WORKLOADS:
        return WORKLOADS[workload]
    module, _, function = workload.rpartition(".")
    found: Callable[..., Figures] = getattr(importlib.import_module(module), function)
    return found


# ------------------------------------------------------------------------------------------ logging


def scalar(driver: Peer, n: int) -> Figures:
    """One scalar a call, n times, until all is durable."""
    values = losses(n)
    warm_up(driver)
    size_before, memory_before = size_of(driver.folder), peak_mib()
    at: list[int] = []
    memory: list[float] = []

    def body(log: Log, log_row: LogRow) -> None:
        at.append(clock())
        for step, value in enumerate(values):
            log("loss", value, step)
        at.append(clock())
        memory.append(peak_mib())

    driver.run("scalar", {}, body)
    put_on_disk(driver.folder)
    durable = clock()
    return {
        "call_us": (at[1] - at[0]) / n / 1e3,
        "durable_s": (durable - at[0]) / 1e9,
        "points_per_s": n / (durable - at[0]) * 1e9,
        "bytes_per_point": (size_of(driver.folder) - size_before) / n,
        "memory_mib": max(0.0, max(*memory, peak_mib()) - memory_before),
    }


def latency(driver: Peer, n: int) -> Figures:
    """One scalar a call, each call timed, a second after the start."""
    values = losses(n)
    warm_up(driver)
    taken = array("q", bytes(8 * n))

    def body(log: Log, log_row: LogRow) -> None:
        time.sleep(1)
        for step, value in enumerate(values):
            start = clock()
            log("loss", value, step)
            taken[step] = clock() - start

    driver.run("latency", {}, body)
    return latencies(taken)


def rows(driver: Peer, names: int, steps: int) -> Figures:
    """One dict of values a call."""
    given = rows_of(names, steps)
    warm_up(driver)
    size_before, memory_before = size_of(driver.folder), peak_mib()
    taken = array("q", bytes(8 * steps))
    at: list[int] = []
    memory: list[float] = []

    def body(log: Log, log_row: LogRow) -> None:
        at.append(clock())
        for step, row in enumerate(given):
            start = clock()
            log_row(row, step)
            taken[step] = clock() - start
        memory.append(peak_mib())

    driver.run("rows", {}, body)
    put_on_disk(driver.folder)
    durable = clock()
    points = names * steps
    alone = driver.points_size()
    return {
        **({} if alone is None else {"sealed_bytes": alone / points}),
        "metric_ns": statistics.median(taken) / names,
        "durable_s": (durable - at[0]) / 1e9,
        "points_per_s": points / (durable - at[0]) * 1e9,
        "bytes_per_point": (size_of(driver.folder) - size_before) / points,
        "memory_mib": max(0.0, max(*memory, peak_mib()) - memory_before),
    }


def short(driver: Peer, n: int) -> Figures:
    """Short experiments, one after the other: 10 params, 5 metrics, 10 steps."""
    warm_up(driver)
    return shorts(driver, n)


def shorts(driver: Peer, n: int) -> Figures:
    taken = []
    size_before = size_of(driver.folder)
    for number in range(n):
        value = random.Random(number).random()

        def body(log: Log, log_row: LogRow, value: float = value) -> None:
            for step in range(10):
                log_row({f"m{i}": value + i + 1 / (step + 1) - 0.1 for i in range(5)}, step)

        start = clock()
        driver.run(f"short {number}", params_of(number), body)
        taken.append(clock() - start)
    return {
        "each_ms": sum(taken) / n / 1e6,
        "median_ms": statistics.median(taken) / 1e6,
        "kib_each": (size_of(driver.folder) - size_before) / n / 1024,
    }


def start(driver: Peer, experiments: int) -> Figures:
    """The first experiment of a process, from the call that makes it, after the import."""
    at: list[int] = []

    def body(log: Log, log_row: LogRow) -> None:
        at.append(clock())
        log("loss", 0.5, 0)
        at.append(clock())

    assert experiments == 1
    begin = clock()
    driver.run("start", params_of(0), body)
    ended = clock()
    return {
        "start_ms": (at[0] - begin) / 1e6,
        "first_log_ms": (at[1] - begin) / 1e6,
        "whole_ms": (ended - begin) / 1e6,
    }


# ------------------------------------------------------------------------------------------ processes


def processes(driver: Peer, k: int, n: int) -> Figures:
    """Processes with an experiment each, let go at once when all have started; n scalars each."""
    warm_up(driver)  # makes the store: here a rate is measured, not who copes with many first ones
    ready_in, ready_out = os.pipe()
    go_in, go_out = os.pipe()
    results = [driver.folder.parent / f"child-{number}.json" for number in range(k)]
    peer, folder = sys.argv[1], sys.argv[4]
    children = [
        subprocess.Popen(
            [sys.executable, __file__, peer, "child", f"{n}x{ready_out}x{go_in}", folder, str(result)],
            pass_fds=(ready_out, go_in),
            stdin=subprocess.DEVNULL,
        )
        for result in results
    ]
    os.close(ready_out)
    os.close(go_in)
    ready = 0
    while ready < k and (got := os.read(ready_in, k)):  # ended by the last child's death, too
        ready += len(got)
    begin = time.monotonic()
    os.close(go_out)
    failed = sum(child.wait() != 0 for child in children)
    put_on_disk(driver.folder)
    durable_s = time.monotonic() - begin
    done = [json.loads(result.read_text()) for result in results if result.exists()]
    logged_s = max((one["logged_s"] for one in done), default=begin) - begin
    points = n * len(done)
    return {
        "errors": max(failed, k - len(done)),
        "logged_per_s": points / logged_s if done else 0.0,
        "durable_per_s": points / durable_s,
        "logged_s": logged_s,
        "durable_s": durable_s,
        "calls_cpu_s": sum(one["calls_cpu_s"] for one in done),
        "beside_cpu_s": sum(one["beside_cpu_s"] for one in done),
    }


def child(driver: Peer, n: int, ready: int, go: int) -> Figures:
    """One of the processes."""
    values = losses(n)
    at: list[float] = []
    cpu: Figures = {}

    def body(log: Log, log_row: LogRow) -> None:
        os.write(ready, b"1")
        os.close(ready)
        os.read(go, 1)
        thread, whole = time.thread_time(), time.process_time()
        for step, value in enumerate(values):
            log("loss", value, step)
        at.append(time.monotonic())
        calls = time.thread_time() - thread
        cpu.update(calls_cpu_s=calls, beside_cpu_s=time.process_time() - whole - calls)

    driver.run(f"process {os.getpid()}", {}, body)
    return {"logged_s": at[0], **cpu}


# ------------------------------------------------------------------------------------------ reading


def fill_read(driver: Peer, n: int) -> Figures:
    """Record what ``read`` reads."""
    driver.fill(losses(n))
    driver.settle()
    return {}


def fill_store(driver: Peer, n: int) -> Figures:
    """Record what ``store`` lists."""
    figures = shorts(driver, n)
    driver.settle()
    return figures


def read(driver: Peer, n: int) -> Figures:
    """Read one series whole, as arrays and as a DataFrame, and 1,000 points of it."""
    return {
        **repeated("arrays", driver.arrays),
        **repeated("frame", driver.frame),
        **repeated("chart", driver.chart),
    }


def store(driver: Peer, n: int) -> Figures:
    """List, search and compare short experiments."""
    return {
        **repeated("list", driver.list_all),
        **repeated("search", driver.search),
        **repeated("compare", driver.compare),
    }


WORKLOADS: dict[str, Callable[..., Figures]] = {
    "scalar": scalar,
    "latency": latency,
    "rows": rows,
    "short": short,
    "start": start,
    "processes": processes,
    "child": child,
    "fill_read": fill_read,
    "fill_store": fill_store,
    "read": read,
    "store": store,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
