"""Rows 19 and 20: flipped bits, torn, cut and foreign files; a catalog that is gone or damaged."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.child import Child, Ledger
from faults.harness import Run, told
from faults.kill import log_for_ever
from faults.workload import Found, begin, log

if TYPE_CHECKING:
    from frameworm.experiment.model import Points, SeriesKey

Points_by_key = dict["SeriesKey", "Points"]


def log_with_checksums(ledger: Ledger, kind: str) -> None:
    """Log until killed, with a checksum over the last records many times a second."""
    from frameworm.experiment.recording import recorder

    recorder.SYNC_INTERVAL_S = 0.02
    log_for_ever(ledger, kind)


def make_root(folder: Path) -> Path:
    """Make a root with an ended experiment (a segment), a killed one (a journal) and a failed one."""
    root = folder / "root"
    with begin(root, "ended") as exp:
        for i in range(12_000):
            log(exp, "rows" if i % 3 else "scalars", i)
    with Child(folder / "child", log_with_checksums, "scalars") as child:
        child.wait_for("acknowledged", 5000)
        child.kill()
    shutil.move(next((folder / "child" / "root").glob("exp_*")), root / "exp_002_killed")
    exp = begin(root, "failed").start()
    log(exp, "rows", 0)
    exp.end("failed", "on purpose")
    return root


# ------------------------------------------------------------------------------------- 19: journals and segments


def _flip_a_bit(data: bytearray, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


def _overwrite_some(data: bytearray, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    length = min(chance.choice((1, 8, 512, 4096)), len(data) - at)
    data[at : at + length] = bytes(length) if chance.random() < 0.5 else chance.randbytes(length)
    return bytes(data)


def _take_some_out(data: bytearray, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 7, 8, 32, 512))]
    return bytes(data)


def _cut_short(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data[: chance.randrange(len(data))])


def _add_some(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data) + chance.randbytes(chance.choice((1, 8, 100, 5000)))


_WAYS: tuple[Callable[[bytearray, random.Random], bytes], ...] = (
    _flip_a_bit,
    _flip_a_bit,
    _overwrite_some,
    _take_some_out,
    _cut_short,
    _add_some,
)


def _points(exp_dir: Path) -> tuple[Points_by_key, list[Any]]:
    """Return every series that can be read, and the damage told of on the way."""
    from frameworm.experiment.errors import DamageError
    from frameworm.experiment.query.read import ExperimentReader

    reader = ExperimentReader(exp_dir)
    found: Points_by_key = {}
    damage = []
    try:
        keys = reader.keys()
    except DamageError as error:
        keys, damage = [], [error]
    for key in keys:
        try:
            found[key] = reader.read(*key)
        except DamageError as error:
            damage.append(error)
    return found, [*reader.damage, *damage]


def _same(one: Points, other: Points, n: int | None = None) -> bool:
    columns = ("steps", "epochs", "times_ms", "values")
    return all(getattr(one, c)[:n].tobytes() == getattr(other, c)[:n].tobytes() for c in columns)


def _right(mine: Points | None, whole: Points) -> int:
    """Return how many points were read as they were given; the steps of one series are all different."""
    import numpy as np

    if mine is None:
        return 0
    given = dict(zip(whole.steps.tolist(), whole.values.view(np.uint64).tolist(), strict=True))
    read = zip(mine.steps.tolist(), mine.values.view(np.uint64).tolist(), strict=True)
    return sum(given.get(step) == bits for step, bits in read)


def damaged_files(run: Run) -> None:
    """Damage a journal or a segment at a random offset: it is told of, and nothing wrong is read in silence."""
    from frameworm.experiment import ExperimentManager

    root = make_root(run.folder)
    whole = {name: _points(root / name)[0] for name in ("exp_001_ended", "exp_002_killed")}
    read = [0, 0]

    def trial(number: int, folder: Path) -> Found:
        chance = run.random(number)
        name = ("exp_001_ended", "exp_002_killed")[number % 2]
        shutil.copytree(root / name, folder / "root" / name)
        (path,) = (folder / "root" / name / "logs").glob(("*.seg", "journal-*")[number % 2])
        way = _WAYS[number // 2 % len(_WAYS)]
        before = path.read_bytes()
        path.write_bytes(way(bytearray(before), chance))
        if path.read_bytes() == before:
            return Found(0, 0)
        found, damage = _points(folder / "root" / name)
        for error in damage:
            assert error.path == str(path) and 0 <= error.offset <= max(len(before), path.stat().st_size), error
        wrong: list[SeriesKey] = []
        torn = number % 2 == 1 and way is _cut_short
        for key, points in whole[name].items():
            mine = found.get(key)
            n = 0 if mine is None else len(mine.steps)
            read[0] += _right(mine, points)
            read[1] += len(points.steps)
            # What is read of a torn journal is all there was up to somewhere. That is no damage, and not told.
            if mine is not None and n <= len(points.steps) and _same(mine, points, n):
                assert n == len(points.steps) or damage or number % 2, f"{key}: {n} of {len(points.steps)} points"
            elif mine is not None or not torn:
                wrong.append(key)
        wrong += [key for key in found if key not in whole[name]]
        if wrong and not damage:
            with told():
                findings = ExperimentManager(folder / "root").doctor().findings
            at = next(i for i, (a, b) in enumerate(zip(before, path.read_bytes(), strict=False)) if a != b)
            told_of = any(
                f.severity == "damage" and f.path.endswith(path.name) and f.offset is not None for f in findings
            )
            assert told_of or at >= _checked(before), (
                f"{way.__name__} at {at}: {wrong} are wrong, and no word of damage"
            )
        return Found(0, 0)

    run.trials(range(run.scale(24, 1000)), trial)
    run.remarks.append(f"{read[0] / read[1]:.0%} of the points of damaged files are still read")


def _checked(journal: bytes) -> int:
    """Return up to where the checksums that its writer left reach."""
    ends = [json.loads(event)["to"] for event in re.findall(rb'\{"t":\d+,"type":"check",[^}]*\}', journal)]
    return max(ends, default=0)


_FOREIGN = {
    "text": b"dear diary,\n" * 100,
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "a program": b"\x7fELF" + bytes(range(256)) * 20,
    "another format": b"\x93NUMPY\x01\x00" + bytes(1000),
}


def foreign_files(run: Run) -> None:
    """Put a file of somebody else's under one of our names: it is never written to, and in nobody's way."""
    from frameworm.experiment import Experiment, ExperimentManager
    from frameworm.experiment.errors import StoreError

    root = make_root(run.folder)

    def trial(number: int, folder: Path) -> Found:
        content = list(_FOREIGN.values())[number % len(_FOREIGN)]
        shutil.copytree(root, folder / "root")
        manager = ExperimentManager(folder / "root")
        logs = folder / "root" / "exp_002_killed" / "logs"
        places = [logs / "journal-elsewhere-1-9", logs / "metrics-elsewhere-1-8.seg", logs / "notes.txt"]
        (journal,) = logs.glob("journal-*")
        places.append(journal.with_name(journal.name.replace("journal-", "metrics-") + ".seg"))
        for place in places:
            place.write_bytes(content)
            os.utime(place, (0, 0))  # a fresh one might be a journal just begun by a writer elsewhere
        with told():
            assert len(manager.list_rows()) == 3
            manager.get_experiment("exp_002")
            with Experiment.resume("exp_002", folder / "root", capture_console=False, system_metrics_s=0) as exp:
                exp.log_metric("after", 1.0)
            manager.doctor()
            assert manager.reader("exp_002").read("after").values.tolist() == [1.0]
        for place in places[:-1]:
            assert place.read_bytes() == content, f"{place.name} was written to"
        # Another program's database is not ours to index.
        catalog = folder / "root" / "experiments.db"
        catalog.unlink()
        with sqlite3.connect(catalog) as connection:
            connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.close()
        before = catalog.read_bytes()
        try:
            ExperimentManager(folder / "root").list_rows()
        except StoreError as error:
            assert str(catalog) in str(error), error
        else:
            raise AssertionError("another program's database was taken for ours")
        assert catalog.read_bytes() == before
        return Found(0, 0)

    run.trials(range(run.scale(2, 20)), trial, workers=1)


# ------------------------------------------------------------------------------------- 20: the catalog


def _all(root: Path) -> list[Any]:
    from frameworm.experiment import ExperimentManager

    manager = ExperimentManager(root)
    rows = manager.list_rows()
    for row in rows:
        row["path"] = Path(row["path"]).name
    found = [row["experiment_id"] for row in manager.list_rows("status == 'completed'")]
    compared = manager.compare_experiments([row["experiment_id"] for row in rows])
    return [rows, found, compared.to_csv()]


def damaged_catalog(run: Run) -> None:
    """Remove the catalog, or damage it at a random offset: it is made anew from the folders, equal to before."""
    from frameworm.experiment import ExperimentManager

    root = make_root(run.folder)
    whole = _all(root)
    silent = [0]

    def trial(number: int, folder: Path) -> Found:
        chance = run.random(number)
        shutil.copytree(root, folder / "root")
        catalog = folder / "root" / "experiments.db"
        if number % 8 == 0:
            catalog.unlink()
        else:
            way = _WAYS[number % len(_WAYS)]
            catalog.write_bytes(way(bytearray(catalog.read_bytes()), chance))
        if number % 8 == 7:  # what a writer that was killed leaves beside it, damaged as well
            Path(f"{catalog}-journal").write_bytes(chance.randbytes(3000))
        with told():
            if _all(folder / "root") != whole:
                # SQLite has no checksums: a bit flipped in a cell is read as it is, until the doctor compares it.
                silent[0] += 1
                report = ExperimentManager(folder / "root").doctor(repair=True)
                assert report.findings, "the catalog says something else, and the doctor finds nothing"
            assert _all(folder / "root") == whole
        return Found(0, 0)

    run.trials(range(run.scale(8, 200)), trial, workers=1)
    if silent[0]:
        run.remarks.append(f"{silent[0]} changed a cell, and were found by doctor")
