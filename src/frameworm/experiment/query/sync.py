"""Bringing the catalog up to date with the folders it is an index of."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from frameworm.experiment.errors import FramewormWarning, StoreError, StoreNotFoundError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.recording.liveness import is_alive
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.folder import METADATA, experiment_folders, fingerprint, id_of, number_of
from frameworm.experiment.storage.schema import Entry, is_stale

_BATCH = 500
"""Folders entered in one transaction: the write lock is then held for some 0.3 s."""

_MOST_TOLD = 2000
"""Characters of what is said to be damaged in one experiment."""

_TICK_S = 2.0
"""The coarsest time stamps of a file system: FAT's."""

_FINE_TICK_S = 0.1
"""The coarsest of one that counts parts of a second: it takes them from a clock that ticks every 1 to 16 ms."""

_TRUST_S = 60.0
"""How long a listing is believed; for how long clocks may differ."""

_PROGRESS_FROM = 200
"""Folders to read from which a progress bar is worth its line."""


class Watch:
    """What one process remembers of a root, so that it need not list ten thousand folders for each question.

    The modification time of the root changes whenever a folder comes, goes or is renamed, and whenever anybody
    writes the catalog, whose rollback journal comes and goes beside it. While it stays as it was when the root was
    listed, the listing and the list of stale rows still hold. Two things could deceive:

    - File systems count time in ticks: a folder made in the very tick of the listing would leave the time as it
      is. So a listing counts only if the time had been seen a tick before it, by our own clock, or is a minute old
      by the wall clock, of which a server's may differ. A tick is two seconds, or a tenth where the time shows parts
      of a second.
    - Network file systems show times that are some seconds old. So, in any case, the root is listed once a minute.

    Any thread may use it. Whatever it remembers, running and stale experiments are looked at each time.
    """

    def __init__(self) -> None:
        self._listed: _Listing | None = None
        self._writers: dict[str, tuple[dict[str, Any], ...]] = {}

    def stale(self, catalog: Catalog) -> dict[str, tuple[str, str]] | None:
        """Return the stale rows as the catalog has them, or None if the root has to be listed."""
        listed = self._listed
        if (
            listed is None
            or not listed.settled
            or listed.catalog is not catalog
            or time.monotonic() - listed.at_s > _TRUST_S
            or listed.mark != _mark(catalog.root)
        ):
            return None
        return listed.stale

    def listing(self, catalog: Catalog) -> _Listing:
        """Return what is to be kept of a listing that is about to be made."""
        mark, now = _mark(catalog.root), time.monotonic()
        before = self._listed
        same = before is not None and before.mark == mark
        since = before.since_s if before is not None and same else now
        tick_s = _FINE_TICK_S if mark[2] % 1_000_000_000 else _TICK_S
        settled = now - since >= tick_s or time.time() - mark[2] / 1e9 > _TRUST_S
        return _Listing(catalog, mark, since, now, settled, {})

    def keep(self, listing: _Listing | None) -> None:
        """Remember a listing; None to forget."""
        self._listed = listing

    def entered(self, entry: Entry) -> None:
        """Remember who records a running experiment."""
        if entry.info.status == "running":
            self._writers[entry.info.path.name] = entry.info.writers
        else:
            self._writers.pop(entry.info.path.name, None)

    def is_still(self, folder: Path, status: str, known: str) -> bool:
        """Whether nothing has happened to an experiment that goes on: no byte was written, and its writer lives."""
        if known == "" or fingerprint(folder) != known:
            return False
        if status == "pending":
            return True
        now_ms = time.time_ns() // 1_000_000
        return any(
            not writer["closed"] and is_alive(writer, (now_ms - writer["heartbeat_ms"]) / 1000)
            for writer in self._writers.get(folder.name, ())
        )


class _Listing(NamedTuple):
    catalog: Catalog
    mark: tuple[int, int, int]
    since_s: float
    at_s: float
    settled: bool
    stale: dict[str, tuple[str, str]]


def _mark(root: Path) -> tuple[int, int, int]:
    status = os.stat(root)
    return status.st_dev, status.st_ino, status.st_mtime_ns


def sync(catalog: Catalog, watch: Watch | None = None) -> None:
    """Enter folders that are new or may have changed, forget those that are gone.

    A folder of which nothing can be read is told of by a ``FramewormWarning`` and entered as damaged; one whose number
    another folder has is told of and left out.

    Args:
        catalog: of the root.
        watch: remembers from one call to the next.

    Raises:
        StoreNotFoundError: the root is gone.
    """
    root = catalog.root
    watch = watch or Watch()
    try:
        stale, folders = watch.stale(catalog), list[str]()
        if stale is None:
            listing = watch.listing(catalog)
            stale, folders = _compare(catalog)
            watch.keep(listing._replace(stale=stale))
    except (FileNotFoundError, NotADirectoryError):
        experiment_folders(root)  # says what is wrong
        raise StoreNotFoundError(f"{root}: no such folder") from None
    folders += [name for name, (status, known) in stale.items() if _changed(watch, root / name, status, known)]
    if not folders:
        return
    watch.keep(None)
    done: set[str] = set()
    while folders:
        uids = []
        for entry in enter_folders(catalog, _with_progress(folders)):
            watch.entered(entry)
            uids.append(entry.info.uid)
        done.update(folders)
        folders = [folder for folder, _, _ in catalog.forks(uids) if folder not in done]  # what they inherit changed


def enter_folders(catalog: Catalog, folders: Iterable[str]) -> Iterator[Entry]:
    """Read these folders and enter them; yield what each was found to hold, once it is entered.

    One that cannot be read is told of by a ``FramewormWarning`` and entered as damaged.
    """
    entries = (entry for name in folders if (entry := read_entry(catalog.root / name)) is not None)
    while batch := list(islice(entries, _BATCH)):
        _enter(catalog, batch)
        yield from batch


def _compare(catalog: Catalog) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """List the root and forget what is gone; return the rows that are stale, and the folders that are new."""
    root = catalog.root
    names = set(os.listdir(root))
    known = catalog.folders()
    known_names = known.fresh | known.stale.keys()
    unknown = names - known_names
    gone = known_names - names if len(names) - len(unknown) < len(known_names) else set()
    if gone:
        catalog.remove([id_of(number) for name in gone if (number := number_of(name)) is not None])
        known = catalog.folders()  # forks of them are stale now
    stale = {name: row for name, row in known.stale.items() if name in names}
    return stale, _new_folders(root, unknown, known_names - gone)


def _enter(catalog: Catalog, batch: list[Entry]) -> None:
    try:
        catalog.upsert_many(batch)
    except StoreError:
        raise
    except Exception as error:  # a value that the tables do not take, though it was checked: the others are entered
        if len(batch) > 1:
            for entry in batch:
                _enter(catalog, [entry])
        elif batch[0].info.status != "damaged":
            _enter(catalog, [_damaged(batch[0].info.path, f"it cannot be entered ({type(error).__name__}: {error})")])
        else:
            _warn(f"{batch[0].info.path} is left out: it cannot be entered ({type(error).__name__}: {error})")


def read_entry(folder: Path) -> Entry | None:
    """Return what the catalog is to know of an experiment's folder, told of if it is damaged; None if it is gone."""
    from frameworm.experiment.query.read import ExperimentReader  # with NumPy, which is not needed if nothing is new

    number = number_of(folder.name)
    assert number is not None
    mark = fingerprint(folder)  # before reading: what is written meanwhile must show as a change
    try:
        reader = ExperimentReader(folder)
        info, summaries = reader.info, reader.summaries()
    except Exception as error:  # whatever is wrong in one folder, the others are to be listed
        if not folder.exists():
            return None
        return _damaged(folder, str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}")
    if reader.missing:
        _warn(f"{folder}: {reader.missing}; its own points are listed")
    damage = reader.damage_told
    if damage:
        _warn(f"{folder} is damaged; what can be read is shown: {damage}")
    if info.experiment_id != id_of(number):  # a folder renamed or copied by hand: its name is what it is asked by
        info = replace(info, experiment_id=id_of(number))
    stale = is_stale(info) or bool(damage)
    return Entry(info, summaries, stale, mark if stale else "", damage)


def _damaged(folder: Path, why: str) -> Entry:
    """Return what the catalog is to know of an experiment of which nothing can be read."""
    why = why.removeprefix(f"{folder}: ")[:_MOST_TOLD]
    _warn(f"{folder} is damaged: {why}")
    number = number_of(folder.name)
    assert number is not None
    changed_ms = max(0, folder.stat().st_mtime_ns // 1_000_000)
    info = ExperimentInfo(
        experiment_id=id_of(number),
        uid="",
        name=folder.name,
        path=folder,
        status="damaged",
        created_ms=changed_ms,
        updated_ms=changed_ms,
        reason=why,
    )
    return Entry(info, (), True, _state(folder, info.status), why)


def _state(folder: Path, status: str) -> str:
    """Return a text that changes whenever what a row tells of may have changed."""
    if status != "damaged":
        return fingerprint(folder)
    try:
        seen = os.stat(folder / METADATA, follow_symlinks=False)
    except OSError:
        return f"{fingerprint(folder)}-"
    return f"{fingerprint(folder)}-{seen.st_size}-{seen.st_mtime_ns}"


def _changed(watch: Watch, folder: Path, status: str, known: str) -> bool:
    """Whether a stale folder has to be read again.

    A running experiment may become crashed without a byte being written. A crashed one is stale for ever, as
    its writer may be resumed, and is looked into only once its files change.
    """
    if status in ("pending", "running"):
        return not watch.is_still(folder, status, known)
    return known == "" or _state(folder, status) != known


def _new_folders(root: Path, unknown: set[str], known: set[str]) -> list[str]:
    """Return the folders to enter, by number, one for each number."""
    numbered = sorted((number, name) for name in unknown if (number := number_of(name)) is not None)
    if not numbered:
        return []
    taken = {number_of(name): name for name in known}
    folders = []
    for number, name in numbered:
        if number >= 2**63 or not name.isascii() or not name.startswith(id_of(number)):
            continue  # not a name of ours
        if not (root / name).is_dir():
            continue
        if number in taken:
            _warn(
                f"{root / name} is left out: {taken[number]} has the same id. Rename one to a free number: mv "
                f"{name} {id_of(max(n for n in taken if n is not None) + 1)}{name[len(id_of(number)) :]}"
            )
            continue
        taken[number] = name
        folders.append(name)
    return folders


def _with_progress(folders: list[str]) -> Iterable[str]:
    if len(folders) < _PROGRESS_FROM or not sys.stderr.isatty():
        return folders
    from rich.console import Console
    from rich.progress import track

    return track(folders, "Reading experiments", console=Console(stderr=True), transient=True)


def _warn(message: str) -> None:
    warnings.warn(message, FramewormWarning, stacklevel=2)
