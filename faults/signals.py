"""Rows 3 to 5: dead and paused writers, SIGTERM before SIGKILL, two SIGINTs into an end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from faults.child import Child, Ledger
from faults.harness import Run
from faults.kill import log_for_ever
from faults.workload import Found, begin, compare, log

_LOGGING, _ENDING = 1, 2


def _status(folder: Path) -> str:
    from frameworm.experiment import ExperimentManager

    (row,) = ExperimentManager(folder / "root").list_rows()
    return str(row["status"])


def _shift(folder: Path, seconds: float) -> None:
    """Let the journals look as if last written so many seconds earlier: time that went by, or a clock that jumped."""
    for journal in (folder / "root").glob("exp_*/logs/journal-*"):
        at = journal.stat().st_mtime - seconds
        os.utime(journal, (at, at))


def dead_or_alive(run: Run) -> None:
    """A writer that lives, paused or not, is running; one that is dead is crashed. Here, and on another host."""

    def here(_: int, folder: Path) -> Found:
        with Child(folder, log_for_ever, "scalars") as child:
            child.wait_for("acknowledged", 1000)
            assert _status(folder) == "running"
            child.signal(signal.SIGSTOP)
            for seconds in (3600, -7200):  # silent for an hour; then a clock an hour ahead
                _shift(folder, seconds)
                assert _status(folder) == "running", "a paused writer was taken for dead"
            child.signal(signal.SIGCONT)
            child.wait_for("acknowledged", child.ledger.acknowledged + 1000)
            child.kill()
            assert _status(folder) == "crashed", "a dead writer was taken for a live one"
            _shift(folder, -3600)
            assert _status(folder) == "crashed", "a dead writer whose clock was ahead was taken for a live one"
            return Found(0, 0)

    def elsewhere(_: int, folder: Path) -> Found:
        under = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")
        with Child(folder, log_for_ever, "scalars", under=under) as child:
            child.wait_for("acknowledged", 1000)
            assert _status(folder) == "running"
            child.signal(signal.SIGSTOP)
            _shift(folder, 50)
            assert _status(folder) == "running", "a writer elsewhere was given up too early"
            child.signal(signal.SIGCONT)
            child.wait_for("acknowledged", child.ledger.acknowledged + 1000)
            child.kill()
            _shift(folder, 61)
            assert _status(folder) == "crashed", "a writer elsewhere, silent for 61 s, was taken for a live one"
            return Found(0, 0)

    run.trials(range(run.scale(1, 10)), here)
    if subprocess.run(["unshare", "--uts", "hostname", "elsewhere"], capture_output=True).returncode:
        run.remarks.append("other host left out: needs the right to unshare")
    else:
        run.trials(range(run.scale(1, 10)), elsewhere)


def log_until_told(ledger: Ledger, own_handler: bool) -> None:
    """Log until a signal comes; with a handler of the user's own if asked for."""
    if own_handler:

        def handler(number: int, frame: object) -> None:
            ledger.phase = 99
            raise SystemExit(7)

        signal.signal(signal.SIGTERM, handler)
    log_for_ever(ledger, "rows")


def terminated(run: Run) -> None:
    """SIGTERM, SIGKILL five seconds later, as SLURM does: killed in good order, and who had a handler keeps it."""

    def trial(number: int, folder: Path) -> Found:
        own = bool(number % 2)
        with Child(folder, log_until_told, own) as child:
            child.wait_for("acknowledged")
            time.sleep(run.random(number).uniform(0, 0.3))
            child.signal(signal.SIGTERM)
            try:
                code = child.process.wait(5)
            except subprocess.TimeoutExpired:
                code = 0
            child.kill()
            assert code == (7 if own else -signal.SIGTERM), f"exit code {code}\n{child.told()}"
            assert child.ledger.phase == (99 if own else 1), "the handler of the user's own was not called"
            return _read(folder, "rows", child.ledger.acknowledged, "failed" if own else "killed")

    run.trials(range(run.scale(2, 100)), trial)


def _read(folder: Path, kind: str, acknowledged: int, status: str) -> Found:
    from frameworm.experiment.query.read import ExperimentReader

    (exp_dir,) = (folder / "root").glob("exp_*")
    reader = ExperimentReader(exp_dir)
    assert reader.info.status == status, f"status {reader.info.status}, expected {status}"
    assert _status(folder) == status
    return compare(reader, kind, acknowledged)


def end_on_interrupt(ledger: Ledger) -> None:
    """Log a while, then end; count an interruption as the user's program would."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs in the background ignore it
    exp = begin("root").start()
    for i in range(20_000):
        log(exp, "scalars", i)
        ledger.acknowledged = i + 1
    ledger.phase = _ENDING
    try:
        exp.end()
        time.sleep(0.2)  # the interruption must not be lost with the end
    except KeyboardInterrupt:
        ledger.longest_ns = 1
    ledger.covered = ledger.acknowledged


def interrupted_twice(run: Run) -> None:
    """Two SIGINTs, 10 ms apart, at a random instant of ``end()``."""

    def trial(number: int, folder: Path) -> Found | None:
        with Child(folder, end_on_interrupt) as child:
            child.wait_for("phase", _ENDING)
            time.sleep(run.random(number).uniform(0, 0.05))
            child.signal(signal.SIGINT)
            time.sleep(0.01)
            child.signal(signal.SIGINT)
            code = child.wait(None)
            assert code in (0, 1, -signal.SIGINT), child.told()
            assert child.ledger.longest_ns or code, "the interruption was swallowed"
            return _read(folder, "scalars", child.ledger.acknowledged, "completed")

    run.trials(range(run.scale(2, 100)), trial)
