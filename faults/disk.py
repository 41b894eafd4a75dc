"""Rows 7 to 9: a disk that is full, that fails, limits on files: told of once, and nothing acknowledged is lost."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from faults import disks, strace
from faults.child import PATIENCE_S, Child, Ledger
from faults.harness import Run
from faults.many import numbered
from faults.workload import Found, begin, compare, log

_STARTED, _REFUSED, _ENDED = 1, 2, 3


def log_through(ledger: Ledger, root: str, kind: str, most: int) -> None:
    """Log at some pace, flushing now and then, until told that the disk is well; then flush, and end.

    What a flush raises is what it should raise: the phase says that it did.
    """
    exp = begin(root).start()
    i = 0

    def record(count: int) -> None:
        nonlocal i
        for _ in range(count):
            start = time.perf_counter_ns()
            log(exp, kind, i)
            ledger.longest_ns = max(ledger.longest_ns, time.perf_counter_ns() - start)
            i += 1
            ledger.acknowledged = i

    def flush() -> bool:
        try:
            exp.flush()
        except OSError:
            ledger.phase = _REFUSED
            return False
        ledger.covered = i
        return True

    record(50)
    exp.flush()
    ledger.phase = _STARTED
    while not ledger.go:
        if i < most:
            record(25)
        flush()
        time.sleep(0.002)
    end = time.monotonic() + PATIENCE_S
    while not flush():
        assert time.monotonic() < end, "the disk is well again, and flush() still raises"
        time.sleep(0.05)
    record(1000)
    exp.end()
    ledger.phase = _ENDED


def _whole(root: Path, child: Child, kind: str, warnings: int = 1) -> Found:
    """Check that the experiment ended well with every point, and that the journal's trouble was told of just once."""
    from frameworm.experiment.query.read import ExperimentReader

    told = [line for line in child.warnings() if "cannot be written" in line]
    assert len(told) == warnings, f"warned of {len(told)} times, expected {warnings}: {child.warnings()}"
    (exp_dir,) = root.glob("exp_*")
    reader = ExperimentReader(exp_dir)
    assert reader.info.status == "completed", reader.info.status
    return compare(reader, kind, child.ledger.acknowledged, in_flight=0)


def full(run: Run) -> None:
    """Fill a disk of 256 KB, log on for a while, make room."""

    def trial(number: int, folder: Path) -> Found:
        kind = ("scalars", "rows")[number % 2]
        with disks.tmpfs(folder / "disk", 256) as place:
            with Child(folder, log_through, place / "root", kind, 1 << 17) as child:
                child.wait_for("phase", _REFUSED)
                time.sleep(run.random(number).uniform(0, 2))
                disks.grow(place, 64 << 10)
                child.ledger.go = 1
                child.wait()
            return _whole(place / "root", child, kind)

    run.trials(range(run.scale(2, 20)), trial)


def log_through_in_threads(ledger: Ledger, root: str, count: int) -> None:
    """Log from several threads until told that the disk is well; then flush, and end."""
    exp = begin(root).start()
    counts = [0] * count

    def log_on(number: int) -> None:
        while not ledger.go or counts[number] < 100:
            for _ in range(5):
                exp.log_metric(f"thread {number}", counts[number], counts[number])
                exp.log_metrics({f"row {number}": counts[number], f"other {number}": 1.0}, counts[number])
                counts[number] += 1
            time.sleep(0.002)

    threads = [threading.Thread(target=log_on, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    while not ledger.go:
        try:
            exp.flush()
        except OSError:
            ledger.phase = _REFUSED
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    Path("counts").write_text(" ".join(map(str, counts)))
    exp.end()


def _of_threads(root: Path, counts: list[int]) -> Found:
    from frameworm.experiment import ExperimentManager

    reader = ExperimentManager(root).reader("exp_001")
    acknowledged = lost = 0
    for thread, wanted in enumerate(counts):
        for name in (f"thread {thread}", f"row {thread}"):
            found = numbered(reader, name, 1, wanted)
            acknowledged, lost = acknowledged + found.acknowledged, lost + found.lost
    return Found(acknowledged, lost)


def full_with_threads(run: Run) -> None:
    """Fill a small disk from eight threads: records are cut in the middle while others are written."""

    def trial(number: int, folder: Path) -> Found:
        with disks.tmpfs(folder / "disk", 256) as place:
            with Child(folder, log_through_in_threads, place / "root", 8) as child:
                child.wait_for("phase", _REFUSED)
                time.sleep(run.random(number).uniform(0, 1.5))
                disks.grow(place, 64 << 10)
                child.ledger.go = 1
                child.wait()
            assert len(child.warnings("cannot be written")) == 1, child.warnings()
            return _of_threads(place / "root", list(map(int, (folder / "counts").read_text().split())))

    run.trials(range(run.scale(1, 20)), trial)


def failing(call: str, errors: Sequence[str]) -> Callable[[Run], None]:
    """Return the row in which a system call on the journal fails for a while, with each of these errors in turn."""

    def row(run: Run) -> None:
        strace.needed()

        def trial(number: int, folder: Path) -> Found:
            chance = run.random(number)
            with Child(folder, log_through, folder / "root", "rows", 1 << 15) as child:
                child.wait_for("phase", _STARTED)
                (journal,) = (folder / "root").glob("exp_*/logs/journal-*")
                time.sleep(chance.uniform(0, 0.3))
                fault = f"error={errors[number % len(errors)]}"
                with strace.attached(child.pid, folder / "calls", call, inject=fault, paths=[journal]):
                    child.wait_for("phase", _REFUSED)
                    time.sleep(chance.choice((0, 0.1, 1.5)))
                child.ledger.go = 1
                child.wait()
                return _whole(folder / "root", child, "rows", warnings=int(call == "write"))

        run.trials(range(run.scale(2, 20)), trial)

    return row


def lost_pages(run: Run) -> None:
    """A disk that cannot take what is in memory: fsync fails, the kernel forgets, the next fsync says all is well.

    An xfs in a file on a tmpfs that is full: real errors. (Not an ext4: it writes what has room and what has none
    at once, and loop devices tell of no error where part of a write had room.) Then there is room again, ``flush()``
    returns, and the power goes.
    """
    disks.needed("xfs", run.folder / "try")

    def trial(number: int, folder: Path) -> Found | None:
        from frameworm.experiment.query.read import ExperimentReader

        with disks.tmpfs(folder / "memory", 340 << 10) as memory:
            disk = disks.Disk("xfs", memory / "xfs", 320 << 20, thin=True)
            try:
                ballast = memory / "ballast"
                with Child(folder, log_through, disk.place / "root", "rows", 1 << 15) as child:
                    child.wait_for("covered", 50)
                    with open(ballast, "wb", buffering=0) as file:
                        try:
                            while file.write(bytes(4096)) == 4096:
                                pass
                        except OSError as error:
                            assert error.errno == errno.ENOSPC
                    child.wait_for("phase", _REFUSED)
                    time.sleep(run.random(number).uniform(0, 0.5))
                    ballast.unlink()
                    before = child.ledger.acknowledged
                    end = time.monotonic() + 10
                    while child.ledger.covered <= before:
                        if time.monotonic() > end and "Read-only file system" in child.told():
                            return None  # the file system has given up, and no flush() returns: another fault
                        assert time.monotonic() < end, f"flush() does not return any more\n{child.told()}"
                        time.sleep(0.01)
                    covered = child.ledger.covered
                    disk.cut()
                    child.kill()
                    acknowledged = child.ledger.acknowledged
                disk.boot()
                (exp_dir,) = (disk.place / "root").glob("exp_*")
                return compare(ExperimentReader(exp_dir), "rows", covered, in_flight=acknowledged + 1 - covered)
            finally:
                disk.close()

    run.trials(range(run.scale(1, 10)), trial, workers=1)


def log_at_limits(ledger: Ledger, limit: str, lifted: bool) -> None:
    """Log with no file descriptor left, or with files limited in size; end with the limit lifted, or not."""
    from frameworm.experiment.errors import ExperimentError

    exp = begin("root").start()
    log(exp, "scalars", 0)
    which = getattr(resource, limit)
    soft, hard = resource.getrlimit(which)
    used = max(map(int, os.listdir("/proc/self/fd"))) if limit == "RLIMIT_NOFILE" else 200_000
    resource.setrlimit(which, (used, hard))
    for i in range(1, 10_000):
        log(exp, "scalars", i)
        ledger.acknowledged = i + 1
    exp.set_tags(["at the limit"])
    for way in (lambda: exp.log_artifact(__file__), exp.flush, exp.get_metrics):
        try:
            way()
        except (ExperimentError, OSError) as error:
            print(f"{type(error).__name__}: {error}")
    time.sleep(1.5)  # the ticks of the background thread are at their limits as well
    if lifted:
        resource.setrlimit(which, (soft, hard))
        exp.flush()
        ledger.covered = ledger.acknowledged
    exp.end()
    ledger.phase = _ENDED


def limits(limit: str) -> Callable[[Run], None]:
    """Return the row of one limit: RLIMIT_NOFILE or RLIMIT_FSIZE."""

    def row(run: Run) -> None:
        def trial(number: int, folder: Path) -> Found:
            from frameworm.experiment import ExperimentManager
            from frameworm.experiment.query.read import ExperimentReader

            lifted = not number % 2
            with Child(folder, log_at_limits, limit, lifted) as child:
                child.wait()
            (exp_dir,) = (folder / "root").glob("exp_*")
            reader = ExperimentReader(exp_dir)
            (row,) = ExperimentManager(folder / "root").list_rows()
            assert row["status"] == reader.info.status
            if lifted or limit == "RLIMIT_NOFILE":
                assert reader.info.status == "completed" and row["tags"] == ["at the limit"], row
                return compare(reader, "scalars", child.ledger.acknowledged, in_flight=0)
            # Never given room again, the points beyond the limit went with the process; that it was told is checked.
            assert child.warnings("cannot be written"), child.told()
            return compare(reader, "scalars", 200_000 // 32 - 1000, in_flight=10_000)

        run.trials(range(run.scale(2, 4)), trial)

    return row
