"""Row 27: the background thread dies. One warning, training goes on, and ``flush()`` keeps its promise."""

from __future__ import annotations

import ctypes
import threading
import time
from pathlib import Path

from faults.child import PATIENCE_S, Child, Ledger
from faults.harness import Run
from faults.workload import Found, begin, compare, log


def lose_the_thread(ledger: Ledger, way: str) -> None:
    """Have the background thread really die, log on, flush, end."""
    exp = begin("root").start()
    for i in range(100):
        log(exp, "rows", i)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "frameworm-recorder")
    if way == "killed":
        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    else:

        def broken() -> None:
            raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[way]("on purpose")

        exp._recorder.every(0, broken)
        exp._recorder._ticks.insert(0, (0.0, broken))
    end = time.monotonic() + PATIENCE_S / 2
    while thread.is_alive():
        assert time.monotonic() < end, "the thread lives on"
        time.sleep(0.05)
    exp._recorder._ticks[:] = [(interval, tick) for interval, tick in exp._recorder._ticks if tick.__name__ != "broken"]
    for i in range(100, 2000):
        log(exp, "rows", i)
        ledger.acknowledged = i + 1
    exp.flush()
    ledger.covered = ledger.acknowledged
    exp.end()


def background_thread_dies(run: Run) -> None:
    """Kill it as a debugger would, and by exceptions that nobody expects."""

    def trial(way: str, folder: Path) -> Found:
        from frameworm.experiment import ExperimentManager

        with Child(folder, lose_the_thread, way) as child:
            child.wait()
        told = child.warnings("thread has died")
        assert len(told) == 1, f"told {len(told)} times: {child.told()}"
        manager = ExperimentManager(folder / "root")
        assert manager.get_experiment("exp_001")["status"] == "completed"
        return compare(manager.reader("exp_001"), "rows", child.ledger.acknowledged, in_flight=0)

    run.trials(["killed", "SystemExit", "KeyboardInterrupt"][: run.scale(2, 3)], trial)
