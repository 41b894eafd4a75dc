"""Row 2: kill -9 at every system call of a short experiment: made, started, logged to, ended, sealed, listed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from faults import strace
from faults.child import Child, Ledger
from faults.harness import Run
from faults.kill import opens_without_repair
from faults.workload import Found, begin, log

_READY, _TAGGED, _STORED, _ENDED = 1, 2, 3, 4
_RECORDS = 20
_CONTENT = b"weights" * 1000


def short_experiment(ledger: Ledger) -> None:
    """Do one of everything that an experiment does to the disk."""
    from importlib import metadata

    import numpy  # noqa: F401 - what is imported late would fill the trace with calls that change nothing
    import pcodec  # noqa: F401
    import sqlalchemy.dialects.sqlite  # noqa: F401

    from frameworm.experiment import manager  # noqa: F401
    from frameworm.experiment.query import describe, read, sync  # noqa: F401
    from frameworm.experiment.storage import catalog, segment_writer  # noqa: F401

    # Thousands of calls on the background thread, which would be counted first and change nothing either.
    metadata.distributions = lambda **about: iter(())
    Path("weights.bin").write_bytes(_CONTENT)
    ledger.phase = _READY
    ledger.wait("go")
    with begin("root") as exp:
        for i in range(_RECORDS):
            log(exp, "scalars", i)
            ledger.acknowledged = i + 1
        exp.set_tags(["tagged"])
        ledger.phase = _TAGGED
        exp.log_artifact("weights.bin")
        ledger.phase = _STORED
        exp.flush()
    ledger.phase = _ENDED


def trace(folder: Path, inject: str = "", calls: str = strace.CHANGING) -> Child:
    """Run the short experiment in ``folder``, with a fault in its calls, to its end or death."""
    child = Child(folder, short_experiment)
    with child:
        child.wait_for("phase", _READY)
        with strace.attached(child.pid, folder / "calls", calls, inject=inject):
            child.ledger.go = 1
            child.wait(None)
    return child


def agrees(root: Path, ledger: Ledger) -> Found:
    """Check that the store opens, all that was acknowledged is in it, and catalog and folder say the same."""
    from frameworm.experiment import Experiment, ExperimentManager

    found = opens_without_repair(root, "scalars", ledger.acknowledged, in_flight=0 if ledger.phase == _ENDED else 1)
    made = [path.name for path in root.glob("exp_*")]
    if made:
        manager = ExperimentManager(root)
        known = manager.get_experiment("exp_001")
        assert known["damage"] == [] and (known["tags"] == ["tagged"] or ledger.phase < _TAGGED), known
        assert len(known["artifacts"]) == 1 or ledger.phase < _STORED, known["artifacts"]
        for artifact in known["artifacts"]:
            content = (Path(known["path"]) / artifact["path"]).read_bytes()
            assert artifact["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}" and content == _CONTENT
        assert known["status"] == "completed" or ledger.phase < _ENDED, known["status"]
        listed = manager.list_rows()
        manager.rebuild()
        assert manager.list_rows() == listed, f"listed {listed}, rebuilt {manager.list_rows()}"
        if known["status"] != "pending":
            with Experiment.resume("exp_001", root, capture_console=False, system_metrics_s=0) as exp:
                exp.log_metric("after", 1.0)
            assert [row["status"] for row in manager.list_rows()] == ["completed"]
            assert manager.reader("exp_001").read("after").values.tolist() == [1.0]
    with begin(root, "next") as exp:
        assert exp.exp_dir.name not in made
    return found


def at_every_call(run: Run) -> None:
    """Count the calls of an undisturbed run, then die at each of them."""
    strace.needed()
    whole = trace(run.folder / "whole")
    assert whole.process.returncode == 0, whole.told()
    counts = strace.calls(run.folder / "whole" / "calls", whole.pid)
    assert counts["write"] >= _RECORDS and counts["fsync"] >= 3 and counts["rename"] >= 3, counts
    cases = [(call, n) for call in counts for n in range(1, counts[call] + 2)]
    run.remarks.append(f"{sum(counts.values())} calls")

    def trial(case: tuple[str, int], folder: Path) -> Found | None:
        call, n = case
        child = trace(folder, f"signal=SIGKILL:when={n}", call)
        found = agrees(folder / "root", child.ledger)
        return found if child.process.returncode == -9 else None

    chosen = cases if run.full else run.random("syscalls").sample(cases, 6)
    run.trials(chosen, trial)
