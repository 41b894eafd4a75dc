"""Compacting: what an ended experiment left in many files is put into few, each series in one run.

Sixty-four processes leave sixty-four segments, a resumption another one, an edit a journal of its own. Merged, a series
is read from one place. Everything reads exactly as before: points, events, summaries, to the last bit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from frameworm.experiment.errors import DamageError, ExperimentError
from frameworm.experiment.keeping.merge import Source, holds, merge, open_source, sync_folder
from frameworm.experiment.keeping.ward import is_busy
from frameworm.experiment.provenance.plan import check_changeable
from frameworm.experiment.query.line import rewinds_of
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.recording.journal_reader import read_journal
from frameworm.experiment.storage.folder import LOGS, id_of, number_of, write_metadata

LEAST_POINTS = 2**24
"""Points that are merged on any machine; more if a quarter of the free memory holds them, at 32 bytes each."""


_TRIES = 5
"""So often is it looked what there is to merge, while others merge as well."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What compacting one experiment did.

    Attributes:
        experiment_id: which one.
        files_before: journals and segments there were.
        files_after: segments there are.
        bytes_before: what they took.
        bytes_after: what they take.
        skipped: why nothing was done; empty if nothing stood against it.
    """

    experiment_id: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    skipped: str = ""


def compact(folder: Path) -> Compaction:
    """Seal and merge what an ended experiment left; one that is still written or damaged is skipped.

    A crash at any instant leaves a folder that reads the same.

    Raises:
        StoreError: the folder cannot be read, or what was written cannot be read back.
        OSError: the disk refused; the experiment reads as before.
    """
    check_changeable(folder)
    for _ in range(_TRIES - 1):
        with contextlib.suppress(FileNotFoundError):  # merged, or sealed, by somebody else meanwhile
            return _compact(folder)
    return _compact(folder)


def _compact(folder: Path) -> Compaction:
    logs = folder / LOGS
    number = number_of(folder.name)
    assert number is not None
    before = _sizes(logs)
    skipped = _obstacle(folder, logs)
    if not skipped:
        for group in _groups(logs):
            _merge_files(logs, group)
        _remove_superseded(logs)
        info = ExperimentReader(folder).info
        if info.status == "crashed":
            write_metadata(folder, info)  # its process could not
    after = _sizes(logs)
    return Compaction(id_of(number), len(before), len(after), sum(before.values()), sum(after.values()), skipped)


def _obstacle(folder: Path, logs: Path) -> str:
    """Say why an experiment cannot be compacted."""
    try:
        reader = ExperimentReader(folder)
        if is_busy(reader):
            return f"{reader.info.status}: somebody may still write to it"
        damage = list(reader.damage)
        for name in _sizes(logs):
            if not name.endswith(".seg"):
                damage += read_journal(logs / name).damage
    except FileNotFoundError:
        raise
    except (ExperimentError, OSError) as error:
        return f"cannot be read: {error}"
    return "damaged: see `frameworm doctor`" if damage else ""


def _sizes(logs: Path) -> dict[str, int]:
    """Return the journals and segments there are, and their sizes."""
    names = [name for name in os.listdir(logs) if WriterName.parse(name) is not None]
    return {name: (logs / name).stat().st_size for name in names}


def _in_force(logs: Path) -> Iterator[tuple[WriterName, Path, Source]]:
    """Yield what readers read, in their order: a segment before its journal, what was merged not at all."""
    names: dict[WriterName, Path] = {}
    for entry in os.listdir(logs):
        name = WriterName.parse(entry)
        if name is not None and (name not in names or entry.endswith(".seg")):
            names[name] = logs / entry
    found = [(name, names[name], open_source(names[name])) for name in sorted(names)]
    journals = [{part.journal for part in source.parts} for _, _, source in found]
    for one, own in zip(found, journals, strict=True):
        if not any(own < other for other in journals):
            yield one


def _groups(logs: Path) -> list[list[Path]]:
    """Return which files to make one of: the first ones, as many as memory holds, and each journal behind them.

    Only the first are merged, in numbers that are whole: sums are added up from the first file on, and would be
    rounded differently if later ones were added up among themselves. It also means that of two merges, done at
    once, one holds all that the other does. A rewind ends them: what was logged before it has to lie apart.
    """
    by_number: dict[int, list[Path]] = {}
    points: dict[int, int] = {}
    rewound: set[int] = set()
    for name, path, source in _in_force(logs):
        if rewinds_of(source.parts):
            rewound.add(name.n)
        by_number.setdefault(name.n, []).append(path)
        points[name.n] = points.get(name.n, 0) + sum(summary.count for summary in source.summaries())
    first: list[Path] = []
    groups = [first]
    left, whole = _most_points(), True
    for n in sorted(by_number):
        left -= points[n]
        whole = whole and left >= 0 and (n not in rewound or not first)
        if whole:
            first += by_number[n]
        else:
            groups += [[path] for path in by_number[n]]
    return [group for group in groups if len(group) > 1 or (group and not group[0].name.endswith(".seg"))]


def _most_points() -> int:
    import psutil

    return max(LEAST_POINTS, int(psutil.virtual_memory().available) // 128)


def _merge_files(logs: Path, paths: list[Path]) -> None:
    sizes: list[int] = []
    segment = logs
    while sizes != (now := [path.stat().st_size for path in paths]):
        # Once more if a record has come that was on its way when its writer closed the journal.
        sizes = now
        segment = merge(logs, [open_source(path) for path in paths])
    for path in paths:
        if path != segment:
            path.unlink(missing_ok=True)
    sync_folder(logs)


def _remove_superseded(logs: Path) -> None:
    """Finish what an earlier merge or sealing began: remove files all of whose records are in another, compared."""
    force = list(_in_force(logs))
    kept = {path for _, path, _ in force}
    for name in _sizes(logs):
        if logs / name in kept:
            continue
        try:
            part = open_source(logs / name)
            if any(holds(whole, part) for _, _, whole in force):
                (logs / name).unlink(missing_ok=True)
        except (DamageError, FileNotFoundError):
            continue
    sync_folder(logs)
