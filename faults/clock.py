"""Row 18: the wall clock jumps an hour forth and two back while an experiment runs."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from faults.child import Child, Ledger
from faults.harness import LeftOut, Run
from faults.workload import Found, begin, compare, log

_EACH = 200
_JUMPS = ("+0", "+3600", "-3600", "+0")
_HOUR_MS = 3_600_000


def log_through_jumps(ledger: Ledger) -> None:
    """Log some points and a note at each time of the clock."""
    with begin("root") as exp:
        for number in range(len(_JUMPS)):
            for i in range(number * _EACH, (number + 1) * _EACH):
                log(exp, "scalars", i)
                ledger.acknowledged = i + 1
            exp.add_note(f"jump {number}")
            ledger.phase = number + 1
            ledger.wait("go", number + 1)


def jumps(run: Run) -> None:
    """Let libfaketime move the clock of a child, but not the monotonic one, which does not jump."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None or shutil.which("faketime") is None:
        raise LeftOut("needs libfaketime")

    def trial(number: int, folder: Path) -> Found | None:
        import numpy as np

        from frameworm.experiment import ExperimentManager

        clock = folder / "clock"
        clock.write_text("+0")
        environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",  # of older releases
        }
        began = time.monotonic()
        with Child(folder, log_through_jumps, environment=environment) as child:
            for number, jump in enumerate(_JUMPS[1:], 1):
                child.wait_for("phase", number)
                manager = ExperimentManager(folder / "root")
                assert [row["status"] for row in manager.list_rows()] == ["running"], manager.list_rows()
                (folder / "next").write_text(jump)
                (folder / "next").rename(clock)
                child.ledger.go = number
            child.wait_for("phase", len(_JUMPS))
            child.ledger.go = len(_JUMPS)
            child.wait()
            assert not child.warnings(), child.warnings()
        took_s = time.monotonic() - began
        known = manager.get_experiment("exp_001")
        assert known["status"] == "completed" and 0 <= known["duration_s"] <= took_s, known
        notes = [note["text"] if isinstance(note, dict) else note.text for note in known["notes"]]
        assert [note for note in notes if "jump" in note] == [f"jump {n}" for n in range(len(_JUMPS))], notes
        reader = manager.reader("exp_001")
        found = compare(reader, "scalars", child.ledger.acknowledged, in_flight=0)
        times = reader.read(reader.keys()[0].name).times_ms
        forth, back = int(np.diff(times).max()), int(np.diff(times).min())
        if not (forth > 0.9 * _HOUR_MS and back < -1.9 * _HOUR_MS):
            return None
        return found

    run.trials(range(run.scale(1, 10)), trial)
