"""Row 21: stores of older and of newer releases; a kill while the catalog of an older one is made anew."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from faults import strace
from faults.child import Child, Ledger
from faults.damage import make_root
from faults.harness import Run, told
from faults.workload import Found, begin, log

_COMMAND = "pip install --upgrade frameworm"
_READY = 1


def _newer(path: Path) -> None:
    """Give a journal or a segment the version after ours, with a header that fits."""
    data = bytearray(path.read_bytes())
    data[8:12] = struct.pack("<I", struct.unpack_from("<I", data, 8)[0] + 1)
    data[12:16] = struct.pack("<I", zlib.crc32(data[:12]))
    path.write_bytes(data)


def newer(run: Run) -> None:
    """A store of a newer release is refused with the command to run, and not written to; logging is not in its way."""
    from frameworm.experiment import Experiment, ExperimentManager
    from frameworm.experiment.errors import StoreVersionError

    root = make_root(run.folder)

    def trial(what: str, folder: Path) -> Found:
        shutil.copytree(root, folder / "root")
        manager = ExperimentManager(folder / "root")
        if what == "catalog":
            place = folder / "root" / "experiments.db"
            with sqlite3.connect(place) as connection:
                connection.execute("UPDATE meta SET value = '99' WHERE key = 'version'")
            connection.close()
            calls: list[Callable[[], object]] = [manager.list_rows]
        else:
            name = {"journal": "exp_002_killed", "segment": "exp_001_ended"}[what]
            (place,) = (folder / "root" / name / "logs").glob({"journal": "journal-*", "segment": "*.seg"}[what])
            _newer(place)
            calls = [
                lambda: manager.get_experiment(name[:7]),
                lambda: manager.get_metric_history(name[:7], "layer 0/ħ"),
                lambda: Experiment.resume(name[:7], folder / "root"),
            ]
            with told():
                assert "exp_003" in {row["experiment_id"] for row in manager.list_rows()}
        before = place.read_bytes()
        for call in calls:
            try:
                call()
            except StoreVersionError as error:
                assert _COMMAND in str(error) and str(place) in str(error), error
            else:
                raise AssertionError(f"a {what} of a newer release was taken for one of ours")
        with told() as warnings, begin(folder / "root", "recorded all the same") as exp:
            log(exp, "rows", 0)
        assert exp.status == "completed" and all(_COMMAND in text for text in warnings), warnings
        assert place.read_bytes() == before, f"the {what} of a newer release was written to"
        return Found(0, 0)

    run.trials(["catalog", "journal", "segment"], trial, workers=1)


def list_once(ledger: Ledger, root: str) -> None:
    """List, once traced."""
    import sqlalchemy.dialects.sqlite  # noqa: F401

    from frameworm.experiment import ExperimentManager
    from frameworm.experiment.query import listing, read, sync  # noqa: F401
    from frameworm.experiment.storage import catalog  # noqa: F401

    ledger.phase = _READY
    ledger.wait("go")
    assert len(ExperimentManager(root).list_rows()) == 3


def _make_older(catalog: Path) -> None:
    """Turn a catalog into one of an older release: another version, other tables."""
    with sqlite3.connect(catalog) as connection:
        connection.execute("UPDATE meta SET value = '0' WHERE key = 'version'")
        connection.execute("DROP TABLE params")
        connection.execute("ALTER TABLE experiments RENAME COLUMN notes TO remarks")
        connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT)")
    connection.close()


def older_and_killed(run: Run) -> None:
    """Kill at every system call while the catalog of an older release is made anew: the next reader has it whole."""
    from frameworm.experiment import ExperimentManager

    strace.needed()
    root = make_root(run.folder)
    rows = [{**row, "path": None} for row in ExperimentManager(root).list_rows()]
    _make_older(root / "experiments.db")

    def list_under_strace(folder: Path, inject: str, calls: str) -> Child:
        shutil.copytree(root, folder / "root")
        with Child(folder, list_once, folder / "root") as child:
            child.wait_for("phase", _READY)
            with strace.attached(child.pid, folder / "calls", calls, inject=inject):
                child.ledger.go = 1
                child.wait(None)
        return child

    whole = list_under_strace(run.folder / "whole", "", strace.CHANGING)
    assert whole.process.returncode == 0, whole.told()
    counts = strace.calls(run.folder / "whole" / "calls", whole.pid)
    assert counts["pwrite64"] > 3, counts
    cases = [(call, n) for call in counts for n in range(1, counts[call] + 1)]
    run.remarks.append(f"{len(cases)} calls")

    def trial(case: tuple[str, int], folder: Path) -> Found | None:
        call, n = case
        child = list_under_strace(folder, f"signal=SIGKILL:when={n}", call)
        for _ in range(2):
            assert [{**row, "path": None} for row in ExperimentManager(folder / "root").list_rows()] == rows
        with sqlite3.connect(folder / "root" / "experiments.db") as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            assert "runs" not in names and "params" in names, names
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        return Found(0, 0) if child.process.returncode == -9 else None

    run.trials(cases if run.full else run.random("versions").sample(cases, 4), trial)
