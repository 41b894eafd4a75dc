"""Rows 10 to 14: many processes at once, one that holds the catalog's lock and stands still, forks, threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from faults.child import PATIENCE_S, Child, Ledger, children
from faults.harness import Run
from faults.workload import Found, begin, compare, log

if TYPE_CHECKING:
    from frameworm.experiment import Experiment
    from frameworm.experiment.query.read import ExperimentReader

_READY, _ENDED = 1, 2
_UNHURRIED_S = 4.0
"""No call to log may take so long: who waits for the catalog waits 5 s. Far above what a call takes: a busy machine
must not fail the row."""


def _go_together(made: list[Child]) -> None:
    for child in made:
        child.wait_for("phase", _READY)
    for child in made:
        child.ledger.go = 1


def numbered(reader: ExperimentReader, name: str, writers: int, each: int) -> Found:
    """Check a series to which ``writers`` logged ``writer * each + i`` for i from 0: all there, each one in order."""
    import numpy as np

    read = reader.read(name)
    numbers = read.values.astype(np.int64)
    lost = writers * each - len(np.intersect1d(numbers, np.arange(writers * each)))
    assert len(numbers) + lost == writers * each, f"{len(numbers)} points, {writers * each} were given"
    assert (read.steps == numbers % each).all(), "a point has another's step"
    for writer in range(writers):
        mine = numbers[numbers // each == writer]
        assert (np.diff(mine) > 0).all(), f"the points of writer {writer} are out of order"
    assert not reader.damage, reader.damage
    return Found(writers * each, lost)


# ------------------------------------------------------------------------------------- 10: starting at once


def start_and_end(ledger: Ledger, root: str, number: int) -> None:
    """Wait for the others, then make, start and end an experiment."""
    from frameworm.experiment import Experiment  # noqa: F401 - imported before the barrier, so that all meet

    ledger.phase = _READY
    ledger.wait("go")
    with begin(root, f"number {number}") as exp:
        for i in range(100):
            log(exp, "scalars", i)
            ledger.acknowledged = i + 1
    ledger.phase = _ENDED


def starting_at_once(run: Run) -> None:
    """Fifty processes start at once on an empty root: fifty experiments, fifty ids, no error."""
    from frameworm.experiment import ExperimentManager

    def trial(folder: Path) -> Found:
        count = run.scale(6, 50)
        root = folder / "root"
        made = [Child(folder / str(n), start_and_end, root, n) for n in range(count)]
        with children(*made):
            _go_together(made)
            for child in made:
                child.wait()
                assert not child.warnings(), child.warnings()
        manager = ExperimentManager(root)
        rows = manager.list_rows()
        assert {row["name"] for row in rows} == {f"number {n}" for n in range(count)}, rows
        assert len({row["experiment_id"] for row in rows}) == len(rows) == count
        assert {row["status"] for row in rows} == {"completed"}
        found = [compare(manager.reader(row["experiment_id"]), "scalars", 100, in_flight=0) for row in rows]
        return Found(sum(f.acknowledged for f in found), sum(f.lost for f in found))

    run.trial(trial)


# ------------------------------------------------------------------------------------- 11: logging at once


def log_beside_others(ledger: Ledger, root: str, number: int, each: int) -> None:
    """Attach to the one experiment and log to the same metric as all others."""
    from frameworm.experiment import Experiment

    exp = Experiment.attach("exp_001", root)
    ledger.phase = _READY
    ledger.wait("go")
    for i in range(each):
        exp.log_metric("shared", number * each + i, i)
    exp.end()
    ledger.acknowledged = each


def logging_at_once(run: Run) -> None:
    """Sixty-four processes log 10,000 points each to one metric of one experiment."""
    from frameworm.experiment import ExperimentManager

    def trial(folder: Path) -> Found:
        count, each = run.scale(8, 64), run.scale(2_000, 10_000)
        root = folder / "root"
        with begin(root) as owner:
            made = [Child(folder / str(n), log_beside_others, root, n, each) for n in range(count)]
            with children(*made):
                _go_together(made)
                for child in made:
                    child.wait()
                    assert not child.warnings(), child.warnings()
        manager = ExperimentManager(root)
        assert manager.get_experiment(owner.experiment_id)["status"] == "completed"
        return numbered(manager.reader(owner.experiment_id), "shared", count, each)

    run.trial(trial)


# ------------------------------------------------------------------------------------- 12: the catalog's lock


def hold_the_lock(ledger: Ledger, root: str) -> None:
    """Take the catalog's lock, and keep it."""
    connection = sqlite3.connect(Path(root) / "experiments.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    ledger.phase = _READY
    time.sleep(PATIENCE_S)


def log_and_end(ledger: Ledger, root: str, name: str, patience_s: float) -> None:
    """Log for half a second, noting how long a call takes; then end, waiting so long for a locked catalog."""
    from frameworm.experiment.storage.catalog import Catalog

    for call in (Catalog.__init__, Catalog.open, Catalog.in_memory):
        (call.__kwdefaults__ or {})["timeout_s"] = patience_s
    with begin(root, name) as exp:
        i, end = 0, time.monotonic() + 0.5
        while time.monotonic() < end:
            start = time.perf_counter_ns()
            log(exp, "rows", i)
            ledger.longest_ns = max(ledger.longest_ns, time.perf_counter_ns() - start)
            ledger.acknowledged = i = i + 1
    ledger.phase = _ENDED


def lock_held_by_a_stopped_process(run: Run) -> None:
    """Stop the process that holds the catalog's lock: others log without waiting, end, and can be listed."""
    from frameworm.experiment import ExperimentManager

    def trial(number: int, folder: Path) -> Found:
        root = folder / "root"
        with begin(root, "before"):
            pass
        with Child(folder / "holder", hold_the_lock, root) as holder:
            holder.wait_for("phase", _READY)
            holder.signal(signal.SIGSTOP)
            with Child(folder / "other", log_and_end, root, "other", run.scale(1, 5)) as other:
                other.wait()
                assert not other.warnings(), other.warnings()
            if run.full:
                listed = {row["name"]: row["status"] for row in ExperimentManager(root).list_rows()}
                assert listed == {"before": "completed", "other": "completed"}, f"under the lock: {listed}"
        assert other.ledger.longest_ns < _UNHURRIED_S * 1e9, f"a call took {other.ledger.longest_ns / 1e9:.3f} s"
        listed = {row["name"]: row["status"] for row in ExperimentManager(root).list_rows()}
        assert listed == {"before": "completed", "other": "completed"}, f"once it is free: {listed}"
        return compare(ExperimentManager(root).reader("exp_002"), "rows", other.ledger.acknowledged, in_flight=0)

    run.trials(range(run.scale(1, 4)), trial)


# ------------------------------------------------------------------------------------- 13: forks


def fork_again_and_again(ledger: Ledger, forks: int, each: int) -> None:
    """Fork while eight threads log and hold locks; each child logs to the experiment it was forked with.

    Every other child is a ``multiprocessing`` process, as a DataLoader's workers are.
    """
    exp = begin("root").start()
    stop = threading.Event()
    counts = [0] * 8

    def log_on(thread: int) -> None:
        while not stop.is_set():
            exp.log_metric(f"thread {thread}", counts[thread], counts[thread])
            exp.log_metrics({f"a {thread}": 1.0, f"b {thread}": 2.0})
            counts[thread] += 1
            time.sleep(0.002)

    threads = [threading.Thread(target=log_on, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for number in range(forks):
        if number % 2:
            process = multiprocessing.get_context("fork").Process(target=_in_the_fork, args=(exp, number, each))
            process.start()
            process.join(PATIENCE_S / 4)
            assert process.exitcode == 0, f"fork {number}: {process.exitcode}"
        else:
            pid = os.fork()
            if not pid:
                _in_the_fork(exp, number, each)
                os._exit(0)
            end = time.monotonic() + PATIENCE_S / 4
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                    raise AssertionError(f"fork {number} hangs")
                time.sleep(0.001)
        ledger.acknowledged = number + 1
    stop.set()
    for thread in threads:
        thread.join()
    Path("counts").write_text(" ".join(map(str, counts)))
    exp.end()


def _in_the_fork(exp: Experiment, number: int, each: int) -> None:
    for i in range(each):
        exp.log_metric("forks", number * each + i, i)
    if number % 3 == 0:
        exp.end()


def forks(run: Run) -> None:
    """Fork thirty times with threads at work."""
    from frameworm.experiment import ExperimentManager

    def trial(number: int, folder: Path) -> Found:
        count, each = run.scale(4, 30), 200
        with Child(folder, fork_again_and_again, count, each) as child:
            child.wait()
        manager = ExperimentManager(folder / "root")
        known = manager.get_experiment("exp_001")
        assert known["status"] == "completed" and not known["damage"], known
        reader = manager.reader("exp_001")
        points, lost = numbered(reader, "forks", count, each)
        for thread, wanted in enumerate(map(int, (folder / "counts").read_text().split())):
            of_thread = numbered(reader, f"thread {thread}", 1, wanted)
            points, lost = points + wanted, lost + of_thread.lost
        return Found(points, lost)

    run.trials(range(run.scale(1, 10)), trial)


# ------------------------------------------------------------------------------------- 14: threads


def log_in_threads(ledger: Ledger, count: int, each: int) -> None:
    """Log from many threads to one metric, from the moment of one barrier."""
    with begin("root") as exp:
        barrier = threading.Barrier(count)

        def log_on(number: int) -> None:
            barrier.wait()
            for i in range(each):
                exp.log_metric("shared", number * each + i, i)
                if not i % 10:
                    exp.log_metrics({f"row {number}": i, "other": i}, i)

        threads = [threading.Thread(target=log_on, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ledger.phase = _ENDED


def threads(run: Run) -> None:
    """Sixty-four threads log to one experiment."""
    from frameworm.experiment import ExperimentManager

    def trial(number: int, folder: Path) -> Found:
        count, each = 64, run.scale(200, 2_000)
        with Child(folder, log_in_threads, count, each) as child:
            child.wait()
            assert not child.warnings(), child.warnings()
        reader = ExperimentManager(folder / "root").reader("exp_001")
        points, lost = numbered(reader, "shared", count, each)
        rows = len(range(0, each, 10))
        for thread in range(count):
            assert reader.read(f"row {thread}").steps.tolist() == list(range(0, each, 10))
        assert len(reader.read("other").steps) == count * rows
        return Found(points + 2 * count * rows, lost)

    run.trials(range(run.scale(1, 10)), trial)
