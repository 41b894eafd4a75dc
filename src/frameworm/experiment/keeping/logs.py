"""Checking the record of one experiment: every byte of its journals and segments."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from frameworm.experiment.errors import DamageError, SegmentDamageError, StoreVersionError
from frameworm.experiment.keeping.findings import Finding
from frameworm.experiment.keeping.merge import Source, holds, merge, open_source, sync_folder
from frameworm.experiment.keeping.salvage import Salvaged
from frameworm.experiment.keeping.ward import Ward
from frameworm.experiment.query.sources import segment_events
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.recording.journal_reader import read_journal
from frameworm.experiment.storage.segment import SegmentReader

_MOST_SHOWN = 20
"""Damages of one file that are listed one by one."""


@dataclass(slots=True)
class _File:
    """A journal or segment: what is wrong with it, and the journals whose records it holds."""

    path: Path
    name: WriterName
    sealed: bool
    damage: list[DamageError]
    journals: frozenset[str]


def check_logs(ward: Ward) -> Iterator[Finding]:
    """Check all journals and segments of an experiment."""
    files: list[_File] = []
    for entry in sorted(os.listdir(ward.logs)):
        name = WriterName.parse(entry)
        if name is None:
            continue
        path = ward.logs / entry
        try:
            size = path.stat().st_size
            files.append(_looked_at(path, name, entry.endswith(".seg")))
            ward.advance(size)
        except StoreVersionError as error:
            yield ward.finding(
                "newer-version", "wrong", path, str(error), "upgrade with `pip install --upgrade frameworm`"
            )
        except FileNotFoundError:
            continue  # sealed meanwhile
        except OSError as error:
            yield ward.finding("unreadable", "damage", path, f"cannot be read: {error.strerror}", "see to its rights")
    findings: list[Finding] = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # sealed or merged meanwhile: it, or what it is compared with
            findings += list(_judged(ward, file, [other for other in files if other is not file]))
    yield from findings
    mendable = any(finding.severity == "damage" and finding.repair for finding in findings)
    if ward.reader is not None and not ward.reader.fold().begun and not mendable:
        yield ward.finding(
            "logs-lost",
            "damage",
            ward.logs,
            "no journal or segment tells how the experiment was made; what is known of it is from metadata.json",
            "bring logs/ back from a copy",
        )


def _looked_at(path: Path, name: WriterName, sealed: bool) -> _File:
    if not sealed:
        contents = read_journal(path)
        return _File(path, name, False, list(contents.damage), frozenset({name.journal}))
    damage = damage_of(path)
    try:
        with SegmentReader(path) as segment:
            journals = frozenset(segment.sources)
    except SegmentDamageError:
        journals = frozenset({name.journal})
    return _File(path, name, True, list(damage), journals)


def damage_of(path: Path) -> list[SegmentDamageError]:
    """Return what is damaged in a segment, each place once; every block of it is decoded."""
    found: dict[int, SegmentDamageError] = {}
    try:
        segment = SegmentReader(path)
    except SegmentDamageError as error:
        return [error]
    events: list[SegmentDamageError] = []
    with segment:
        tries: list[Callable[[], object]] = [
            lambda: segment.keys,
            lambda: events.extend(segment_events(segment)[1]),
            segment.summaries,
        ]
        try:
            n = len(segment.counts)
        except SegmentDamageError:
            n = 0
            tries.append(lambda: segment.counts)
        for attempt in tries:
            try:
                attempt()
            except SegmentDamageError as error:
                found.setdefault(error.offset, error)
        for i in range(n):
            for read in (segment.read, segment.overview):
                try:
                    read(i)
                except SegmentDamageError as error:
                    found.setdefault(error.offset, error)
    return sorted([*found.values(), *events], key=lambda error: error.offset)


def _judged(ward: Ward, file: _File, others: list[_File]) -> Iterator[Finding]:
    """Say what is wrong with one file, given those beside it."""
    better = _better(file, others)
    if file.damage:
        yield from _damaged(ward, file, better, others)
    elif better is not None:
        yield from _superseded(ward, file, better)
    elif not file.sealed and not ward.busy and ward.reader is not None and all(o.name != file.name for o in others):
        yield from _unsealed(ward, file)


def _better(file: _File, others: list[_File]) -> _File | None:
    """Return an undamaged file that readers take instead of this one, or may take once this one is gone."""
    for other in others:
        if other.damage:
            continue
        if file.journals < other.journals or (file.journals == other.journals and other.sealed and not file.sealed):
            return other
    return None


def _damaged(ward: Ward, file: _File, better: _File | None, others: list[_File]) -> Iterator[Finding]:
    parts = [other for other in others if not other.damage and other.journals <= file.journals]
    have = frozenset(journal for part in parts for journal in part.journals)
    repair: Callable[[], object] | None = partial(ward.set_aside, file.path)
    if better is not None:
        remedy = f"{better.path.name} holds it all; this one is set aside"
    elif file.sealed and have == file.journals:
        remedy = f"{', '.join(part.path.name for part in parts[:3])} still holds it; this one is set aside"
    else:
        salvaged = _salvaged(ward, file)
        if salvaged is None:
            remedy, repair = "nothing of it can be read: bring it back from a copy", None
        else:
            remedy = f"what can be read is written anew ({salvaged.says}), the original is kept"
            repair = partial(_write_anew, ward, file)
    for n, damage in enumerate(file.damage[:_MOST_SHOWN]):
        more = len(file.damage) - _MOST_SHOWN
        what = f"{damage.what}; and {more} more" if n == _MOST_SHOWN - 1 and more > 0 else damage.what
        kind = "segment-damaged" if file.sealed else "journal-damaged"
        yield ward.finding(kind, "damage", file.path, what, remedy, repair if n == 0 else None, offset=damage.offset)


def _salvaged(ward: Ward, file: _File) -> Salvaged | None:
    begun = ward.reader is not None and ward.reader.fold().begun
    try:
        found = Salvaged(file.path, file.name, sealed=file.sealed, snapshot=None if begun else ward.folder)
    except DamageError:
        return None
    return found if found.holds_anything else None


def _write_anew(ward: Ward, file: _File) -> None:
    """Write what can be read of a damaged file as a segment; the original is kept below ``.frameworm``."""
    salvaged = _salvaged(ward, file)
    if salvaged is None:
        return
    kept = ward.keep(file.path)
    note = (
        f"frameworm doctor: {file.path.name} was damaged at byte {file.damage[0].offset} ({salvaged.says}); "
        f"the original is kept as {os.path.relpath(kept, ward.root)}"
    )
    segment = merge(ward.logs, [salvaged], note=note, path=file.path if file.sealed else None)
    if segment != file.path:
        file.path.unlink()
        sync_folder(ward.logs)


def _superseded(ward: Ward, file: _File, better: _File) -> Iterator[Finding]:
    """Judge a file that readers pass over: a crash came before it was removed."""
    if holds(open_source(better.path), open_source(file.path)):
        yield ward.finding(
            "sealed-already" if not file.sealed else "merged-already",
            "leftover",
            file.path,
            f"{better.path.name} holds all of it; a crash came before this one was removed",
            "removed, as both were compared record by record",
            partial(_remove, ward, file.path),
        )
        return
    yield ward.finding(
        "differs-from-segment",
        "wrong",
        file.path,
        f"holds records that {better.path.name} does not, which is read in its place",
        "set aside; look into both before anything is thrown away",
        partial(ward.set_aside, file.path),
    )


def _remove(ward: Ward, path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_folder(ward.logs)


def _unsealed(ward: Ward, file: _File) -> Iterator[Finding]:
    """Judge a journal that nobody writes any more."""
    assert ward.reader is not None
    writer = next((w for w in ward.reader.info.writers if w["journal"] == file.name.journal), {})
    if writer.get("role") == "editor" and writer["closed"]:
        return  # small and in order; `compact` takes it in
    torn = file.path.stat().st_size - read_journal(file.path).end
    what = "was never sealed" if writer.get("closed") else "was never sealed: its writer is gone"
    if torn:
        what += f"; it ends in {torn} bytes of a record whose call had not returned"
    yield ward.finding(
        "unsealed", "leftover", file.path, f"{what}. It reads in full", "sealed", partial(_seal, ward, file.path)
    )


def _seal(ward: Ward, path: Path) -> None:
    source: Source = open_source(path)
    merge(ward.logs, [source])
    _remove(ward, path)
