"""Bringing the catalog up to date with the folders it is an index of."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from frameworm.experiment.errors import FramewormWarning, StoreError, StoreNotFoundError
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.folder import LOGS, experiment_folders, id_of, number_of
from frameworm.experiment.storage.schema import Entry, is_stale

_BATCH = 500
"""Folders entered in one transaction: the write lock is then held for some 0.3 s."""

_PROGRESS_FROM = 200
"""Folders to read from which a progress bar is worth its line."""


def sync(catalog: Catalog) -> None:
    """Enter folders that are new or may have changed, forget those that are gone.

    A folder that cannot be read, or whose number another folder has, is told of by a ``FramewormWarning`` and
    left out.

    Raises:
        StoreNotFoundError: the root is gone.
    """
    root = catalog.root
    try:
        names = set(os.listdir(root))
    except (FileNotFoundError, NotADirectoryError):
        experiment_folders(root)  # says what is wrong
        raise StoreNotFoundError(f"{root}: no such folder") from None
    known = catalog.folders()
    known_names = known.fresh | known.stale.keys()
    gone = known_names - names
    if gone:
        catalog.remove([id_of(number) for name in gone if (number := number_of(name)) is not None])
    folders = _new_folders(root, names, known_names)
    folders += [name for name in known.stale if name in names and _changed(root / name, *known.stale[name])]
    entries = (entry for name in _with_progress(folders) if (entry := read_entry(root / name)) is not None)
    while batch := list(islice(entries, _BATCH)):
        _enter(catalog, batch)


def _enter(catalog: Catalog, batch: list[Entry]) -> None:
    try:
        catalog.upsert_many(batch)
    except StoreError:
        raise
    except Exception as error:  # a value that no writer of ours makes, as in a metadata.json edited by hand
        if len(batch) == 1:
            _warn(f"{batch[0].info.path} is left out: it cannot be entered ({type(error).__name__}: {error})")
            return
        for entry in batch:
            _enter(catalog, [entry])


def read_entry(folder: Path) -> Entry | None:
    """Return what the catalog is to know of an experiment's folder; None, with a warning, if it is unreadable."""
    number = number_of(folder.name)
    assert number is not None
    mark = fingerprint(folder)  # before reading: what is written meanwhile must show as a change
    try:
        reader = ExperimentReader(folder)
        info, summaries = reader.info, reader.summaries()
    except Exception as error:  # whatever is wrong in one folder, the others are to be listed
        if folder.exists():
            _warn(f"{folder} is left out: it cannot be read ({type(error).__name__}: {error})")
        return None
    if reader.damage:
        _warn(f"{folder} is damaged; what can be read is shown: {'; '.join(map(str, reader.damage[:3]))}")
    if info.experiment_id != id_of(number):  # a folder renamed or copied by hand: its name is what it is asked by
        info = replace(info, experiment_id=id_of(number))
    stale = is_stale(info)
    return Entry(info, summaries, stale, mark if stale else "")


def fingerprint(folder: Path) -> str:
    """Return a text that changes whenever a journal or segment of the folder does."""
    try:
        with os.scandir(folder / LOGS) as files:
            found = sorted(
                (file.name, (stat := file.stat()).st_size, stat.st_mtime_ns)
                for file in files
                if file.name.startswith(("journal-", "metrics-"))
            )
    except OSError:
        return ""
    return hashlib.blake2b(repr(found).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def _changed(folder: Path, status: str, known: str) -> bool:
    """Whether a stale folder has to be read again.

    A running experiment may become crashed without a byte being written. A crashed one is stale for ever, as
    its writer may be resumed, and is looked into only once its files change.
    """
    return status in ("pending", "running") or known == "" or fingerprint(folder) != known


def _new_folders(root: Path, names: set[str], known: set[str]) -> list[str]:
    """Return the folders to enter, by number, one for each number."""
    unknown = sorted((number, name) for name in names - known if (number := number_of(name)) is not None)
    if not unknown:
        return []
    taken = {number_of(name): name for name in known & names}
    folders = []
    for number, name in unknown:
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
