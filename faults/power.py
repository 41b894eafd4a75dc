"""Row 6: power cuts. Nothing is lost that ``flush()`` or ``end()`` had covered, and the store opens."""

from __future__ import annotations

import queue
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from faults import disks
from faults.child import Child, Ledger
from faults.harness import Run, told
from faults.workload import Found, begin, compare, log


def log_and_flush(ledger: Ledger, root: str, name: str, kind: str, every: int) -> None:
    """Log for ever, with a flush now and then."""
    with begin(root, name) as exp:
        for i in range(1 << 40):
            log(exp, kind, i)
            ledger.acknowledged = i + 1
            if i % every == every - 1:
                try:
                    exp.flush()
                except OSError:
                    time.sleep(60)  # the power is off
                ledger.covered = i + 1


def log_and_seal(ledger: Ledger, root: str, name: str, kind: str, every: int) -> None:
    """As above, with a new journal, and sealing of the last, many times a second."""
    from frameworm.experiment.recording import recorder

    recorder.ROTATE_BYTES = 1 << 17
    recorder.SYNC_INTERVAL_S = 0.02
    log_and_flush(ledger, root, name, kind, every)


def end_and_resume(ledger: Ledger, root: str, name: str, kind: str, every: int) -> None:
    """Log some, end, and go on with the same experiment, for ever."""
    from frameworm.experiment import Experiment

    exp = begin(root, name).start()
    for i in range(1 << 40):
        log(exp, kind, i)
        ledger.acknowledged = i + 1
        if i % every == every - 1:
            exp.end()
            if (Path.cwd() / "output").stat().st_size:  # a warning: the power is off
                time.sleep(60)
            ledger.covered = i + 1
            exp = Experiment.resume(exp.experiment_id, root, capture_console=False, system_metrics_s=0)


_WAYS = (log_and_flush, log_and_seal, end_and_resume)


def cuts(file_system: str) -> Callable[[Run], None]:
    """Return the row that cuts the power of this file system."""

    def row(run: Run) -> None:
        disks.needed(file_system, run.folder / "try")
        free: queue.Queue[disks.Disk] = queue.Queue()
        made = [disks.Disk(file_system, run.folder / f"disk{n}") for n in range(run.workers)]
        for disk in made:
            free.put(disk)

        def trial(number: int, folder: Path) -> Found:
            disk = free.get()
            try:
                return cut(run, disk, number, folder)
            finally:
                free.put(disk)

        try:
            run.trials(range(run.scale(4, 200)), trial)
        finally:
            for disk in made:
                disk.close()

    return row


def cut(run: Run, disk: disks.Disk, number: int, folder: Path) -> Found:
    """Cut the power once while a child works, boot, and look."""
    from frameworm.experiment import ExperimentManager
    from frameworm.experiment.query.read import ExperimentReader

    chance = run.random(number)
    root, name, kind = disk.place / "root", f"cut {number}", ("scalars", "rows")[number % 2]
    at_any_time = number % 10 == 9  # also before anything is covered: the store opens all the same
    with Child(folder, _WAYS[number // 2 % 3], root, name, kind, chance.choice((1, 40, 3000))) as child:
        child.wait_for("pid" if at_any_time else "covered")
        time.sleep(chance.uniform(0, 0.4))
        # Read before the cut: a flush that is under way while the switch is thrown may still be answered by the
        # kernel, which a machine without power cannot do.
        covered = child.ledger.covered
        disk.cut()
        child.kill()
        acknowledged = child.ledger.acknowledged
    disk.boot()
    folders = list(root.glob(f"exp_*_cut_{number}"))
    with told() as warnings:
        if root.exists():
            listed = {row["name"] for row in ExperimentManager(root).list_rows()}
    if not covered:
        for exp_dir in folders:  # whether it can be read was not promised; others' listings shall not tell of it
            shutil.rmtree(exp_dir)
        return Found(0, 0)
    assert not warnings, warnings
    assert name in listed, f"{name} is not listed: {sorted(listed)}"
    return compare(ExperimentReader(folders[0]), kind, covered, in_flight=acknowledged + 1 - covered)
