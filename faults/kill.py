"""Rows 1 and 2: kill -9, at random instants and at every system call of a short experiment."""

from __future__ import annotations

import os
import time
from pathlib import Path

from faults.child import Child, Ledger
from faults.harness import Run
from faults.workload import Found, begin, compare, log

_LOGGING, _ENDING, _ENDED = 1, 2, 3


def log_for_ever(ledger: Ledger, kind: str) -> None:
    """Log until killed."""
    exp = begin("root")
    ledger.phase = _LOGGING
    with exp:
        for i in range(1 << 40):
            log(exp, kind, i)
            ledger.acknowledged = i + 1


def log_into_small_journals(ledger: Ledger, kind: str) -> None:
    """Log until killed, with a new journal, and sealing of the last one, many times a second."""
    from frameworm.experiment.recording import recorder

    recorder.ROTATE_BYTES = 1 << 17
    recorder.SYNC_INTERVAL_S = 0.02
    log_for_ever(ledger, kind)


def end_again_and_again(ledger: Ledger, kind: str, records: int) -> None:
    """Log some, end, go on with the same experiment, until killed."""
    from frameworm.experiment import Experiment

    exp = begin("root").start()
    for i in range(1 << 40):
        log(exp, kind, i)
        ledger.acknowledged = i + 1
        if i % records == records - 1:
            ledger.phase = _ENDING
            exp.end()
            ledger.phase = _ENDED
            exp = Experiment.resume("exp_001", "root", capture_console=False, system_metrics_s=0)


def opens_without_repair(root: Path, kind: str, acknowledged: int, *, in_flight: int = 1) -> Found:
    """Check what must hold for the store in ``root`` with one experiment whose writer was killed."""
    from frameworm.experiment import ExperimentManager
    from frameworm.experiment.query.read import ExperimentReader

    folders = sorted(root.glob("exp_*"))
    if not folders:
        assert not acknowledged, f"{acknowledged} records were acknowledged, and there is no experiment"
        return Found(0, 0)
    before = {path: path.stat().st_size for path in folders[0].rglob("*") if path.is_file()}
    reader = ExperimentReader(folders[0])
    found = compare(reader, kind, acknowledged, in_flight)
    after = {path: path.stat().st_size for path in folders[0].rglob("*") if path.is_file()}
    assert before == after, "reading changed the folder"
    if reader.info.status == "running":
        # Killed between the making of a journal and its first byte, which says who writes: silence has to tell.
        for journal in folders[0].glob("logs/journal-*"):
            at = journal.stat().st_mtime - 61
            os.utime(journal, (at, at))
        reader = ExperimentReader(folders[0])
    status = reader.info.status
    assert status in ("pending", "crashed", "completed"), f"status {status}"
    rows = ExperimentManager(root).list_rows()
    assert [(row["experiment_id"], row["status"]) for row in rows] == [("exp_001", status)], f"listed: {rows}"
    return found


def at_random_instants(run: Run) -> None:
    """Kill a child at a random instant of its life; a third each while it logs, begins journals, ends."""

    def trial(number: int, folder: Path) -> Found | None:
        chance = run.random(number)
        kind = ("scalars", "rows")[number % 2]
        way = number // 2 % 4
        if way == 0:
            child, until, most_s = Child(folder, log_into_small_journals, kind), "acknowledged", 0.6
        elif way == 1:
            child, until, most_s = Child(folder, end_again_and_again, kind, chance.choice((1, 30, 2000))), "phase", 1.0
        elif way == 2:
            child, until, most_s = Child(folder, log_for_ever, kind), "pid", 0.4
        else:
            child, until, most_s = Child(folder, log_for_ever, kind), "acknowledged", 0.4
        with child:
            child.wait_for(until)
            time.sleep(chance.uniform(0, most_s))
            assert child.process.poll() is None, child.told()
            child.kill()
            warned = child.warnings()
            assert not warned, warned
            return opens_without_repair(folder / "root", kind, child.ledger.acknowledged)

    run.trials(range(run.scale(8, 1000)), trial)
