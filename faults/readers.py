"""Row 28: a reader that never closes its transaction. Writers go on, files stay as small as they are."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from faults.child import PATIENCE_S, Child, Ledger
from faults.harness import Run
from faults.many import log_and_end
from faults.workload import Found, compare


def read_for_ever(ledger: Ledger, root: str) -> None:
    """Begin to read the catalog, and do not come to an end."""
    connection = sqlite3.connect(Path(root) / "experiments.db", isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM experiments").fetchone()
    ledger.phase = 1
    time.sleep(PATIENCE_S)


def transaction_left_open(run: Run) -> None:
    """Record experiments beside such a reader; once it is gone, all of them are listed."""
    from frameworm.experiment import ExperimentManager

    def trial(number: int, folder: Path) -> Found:
        root = folder / "root"
        with Child(folder / "first", log_and_end, root, "number 0", 5) as first:
            first.wait()
        before = os.stat(root / "experiments.db").st_size
        with Child(folder / "reader", read_for_ever, root) as reader:
            reader.wait_for("phase")
            with Child(folder / "writer", log_and_end, root, "number 1", run.scale(1, 5)) as writer:
                writer.wait()
                assert not writer.warnings(), writer.warnings()
            files = {path.name: path.stat().st_size for path in root.glob("experiments.db*")}
            assert files.keys() <= {"experiments.db", "experiments.db-journal"}, files
            assert sum(files.values()) <= 4 * before, files
        manager = ExperimentManager(root)
        statuses = {row["name"]: row["status"] for row in manager.list_rows()}
        assert statuses == {"number 0": "completed", "number 1": "completed"}, statuses
        assert [path.name for path in root.glob("experiments.db*")] == ["experiments.db"]
        return compare(manager.reader("exp_002"), "rows", writer.ledger.acknowledged, in_flight=0)

    run.trials(range(run.scale(1, 4)), trial)
