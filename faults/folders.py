"""Rows 15 to 17: folders that are moved, removed or become read-only; read-only mounts; network file systems."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from faults import disks, strace
from faults.child import PATIENCE_S, Child, Ledger
from faults.harness import Run
from faults.workload import Found, begin, compare, log

_LOGGING, _ENDED = 1, 2


def log_until_go(ledger: Ledger, root: str) -> None:
    """Log at some pace until told to end; then end."""
    exp = begin(root).start()
    i = 0
    while not ledger.go:
        for _ in range(25):
            log(exp, "rows", i)
            ledger.acknowledged = i = i + 1
        if ledger.phase < _LOGGING:
            exp.flush()
            ledger.covered = i
            ledger.phase = _LOGGING
        time.sleep(0.002)
    exp.end()
    ledger.phase = _ENDED


def _warned(child: Child, path: Path) -> None:
    """Wait for a warning that names the path; training has to go on meanwhile, and afterwards."""
    end = time.monotonic() + PATIENCE_S
    while not child.warnings(str(path)):
        assert time.monotonic() < end, f"no warning names {path}: {child.told()}"
        assert child.process.poll() is None, child.told()
        time.sleep(0.02)
    child.wait_for("acknowledged", child.ledger.acknowledged + 100)


def moved(what: str) -> Callable[[Run], None]:
    """Return the row that renames the experiment's folder, or the root above it."""

    def row(run: Run) -> None:
        from frameworm.experiment import ExperimentManager

        def trial(number: int, folder: Path) -> Found:
            root = folder / "root"
            with Child(folder, log_until_go, root) as child:
                child.wait_for("phase", _LOGGING)
                (exp_dir,) = root.glob("exp_*")
                place = exp_dir.with_name("exp_001_renamed") if what == "folder" else folder / "elsewhere"
                os.rename(exp_dir if what == "folder" else root, place)
                root = root if what == "folder" else place
                _warned(child, exp_dir)
                child.ledger.go = 1
                child.wait()
            manager = ExperimentManager(root)
            (row,) = manager.list_rows()
            assert row["status"] == "completed", row
            return compare(manager.reader("exp_001"), "rows", child.ledger.acknowledged, in_flight=0)

        run.trials(range(run.scale(1, 4)), trial)

    return row


def removed(run: Run) -> None:
    """Remove the experiment's folder: a warning names it, and the training comes to its own end."""

    def trial(number: int, folder: Path) -> Found:
        with Child(folder, log_until_go, folder / "root") as child:
            child.wait_for("phase", _LOGGING)
            (exp_dir,) = (folder / "root").glob("exp_*")
            _remove(exp_dir)
            _warned(child, exp_dir)
            child.ledger.go = 1
            child.wait()
            assert child.ledger.phase == _ENDED
        assert not list((folder / "root").glob("exp_*/logs/*")), "something was written where the folder was removed"
        return Found(0, 0)

    run.trials(range(run.scale(1, 4)), trial)


def _remove(exp_dir: Path) -> None:
    """Remove a folder into which a process writes: a file that comes while it is emptied is removed too."""
    while exp_dir.exists():
        shutil.rmtree(exp_dir, ignore_errors=True)


def turned_read_only(run: Run) -> None:
    """Let ext4 meet an error and become read-only, as it does on a failing disk: what was flushed is there."""
    disks.needed("ext4", run.folder / "try")

    def trial(number: int, folder: Path) -> Found:
        from frameworm.experiment.query.read import ExperimentReader

        disk = disks.Disk("ext4", folder / "ext4", 64 << 20)
        try:
            root = disk.place / "root"
            with Child(folder / "child", log_until_go, root, environment={"TMPDIR": str(folder)}) as child:
                child.wait_for("phase", _LOGGING)
                (exp_dir,) = root.glob("exp_*")
                disk.fail()
                _warned(child, exp_dir)
                child.ledger.go = 1
                child.wait()
            disk.boot()
            (exp_dir,) = root.glob("exp_*")
            found = compare(ExperimentReader(exp_dir), "rows", child.ledger.covered, child.ledger.acknowledged)
            rescued = list(folder.glob("frameworm-*/journal-*"))
            assert len(rescued) == 1, f"what the disk refused was not put elsewhere: {child.warnings()}"
            return found
        finally:
            disk.close()

    run.trials(range(run.scale(1, 4)), trial)


# ------------------------------------------------------------------------------------- 16: viewing only


def viewed_read_only(run: Run) -> None:
    """List, search, compare, show and plot on a read-only mount, of ended, crashed and running experiments."""

    def trial(number: int, folder: Path) -> Found:
        with begin(folder / "root", "ended") as exp:
            for i in range(1000):
                log(exp, "rows", i)
        with Child(folder, log_until_go, folder / "root") as crashed:
            crashed.wait_for("phase", _LOGGING)
            crashed.kill()
        with Child(folder / "running", log_until_go, folder / "root") as running:
            running.wait_for("phase", _LOGGING)
            if number % 2:
                (folder / "root" / "experiments.db").unlink()
            with disks.bound(folder / "root", folder / "view", read_only=True) as root:
                before = sorted(path.name for path in root.iterdir())
                listed = json.loads(_command("list", "--json", root=root))
                statuses = {row["experiment_id"]: row["status"] for row in listed}
                assert statuses == {"exp_001": "completed", "exp_002": "crashed", "exp_003": "running"}, statuses
                every = [
                    ("plot", "exp_001", "layer 0/ħ", "--output", str(folder / "plot.png")),
                    ("show", "exp_003"),
                    ("list",),
                    ("search", "status == 'completed'"),
                    ("compare", "exp_001", "exp_002"),
                ]
                for words in every if run.full else every[:2]:
                    assert _command(*words, root=root), words
                assert (folder / "plot.png").stat().st_size > 1000
                assert sorted(path.name for path in root.iterdir()) == before
        return Found(0, 0)

    run.trials(range(run.scale(1, 4)), trial, workers=1)


def _command(*words: str, root: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "frameworm.experiment.cli", *words, "--root-dir", str(root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert not done.returncode, f"{words}: {done.stdout}{done.stderr}"
    assert "Warning" not in done.stderr, f"{words}: {done.stderr}"
    return done.stdout


# ------------------------------------------------------------------------------------- 17: network file systems


def write_and_list(ledger: Ledger, root: str, name: str) -> None:
    """Do what writers and readers do, once traced."""
    from frameworm.experiment import ExperimentManager

    ledger.phase = 1
    ledger.wait("go")
    with begin(root, name) as exp:
        for i in range(200):
            log(exp, "rows", i)
    assert any(row["name"] == name for row in ExperimentManager(root).list_rows())


def without_shared_memory(run: Run) -> None:
    """See in the system calls that nothing is used that network file systems lack: WAL, mapped files, flock."""
    strace.needed()

    def trial(number: int, folder: Path) -> Found:
        from frameworm.experiment import ExperimentManager

        count = run.scale(2, 6)
        root = folder / "root"
        made = [Child(folder / str(n), write_and_list, root, f"writer {n}") for n in range(count)]
        with made[0], made[1]:
            made[0].wait_for("phase")
            with strace.attached(made[0].pid, folder / "calls", "openat,mmap,flock"):
                for child in made:
                    child.wait_for("phase")
                    child.ledger.go = 1
                for child in made:
                    child.wait()
                    assert not child.warnings(), child.warnings()
        seen = [line for line in (folder / "calls").read_text(errors="replace").splitlines() if str(root) in line]
        assert any("experiments.db-journal" in line for line in seen), "SQLite's rollback journal was not seen"
        for pattern in (r"experiments\.db-(wal|shm)", r" mmap\(", r" flock\("):
            assert not [line for line in seen if re.search(pattern, line)], pattern
        manager = ExperimentManager(root)
        rows = manager.list_rows()
        assert len(rows) == count and {row["status"] for row in rows} == {"completed"}, rows
        found = [compare(manager.reader(row["experiment_id"]), "rows", 200, in_flight=0) for row in rows]
        return Found(sum(f.acknowledged for f in found), sum(f.lost for f in found))

    run.trials(range(run.scale(1, 4)), trial)
