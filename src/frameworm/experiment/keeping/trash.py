"""The trash, ``.frameworm/trash``: deleted experiments, and artifacts taken out of experiments, until it is emptied.

An entry is called like the experiment's folder, ``-``, and the time in Unix ms. One without ``logs/`` holds only some
files of an experiment that is still there.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from frameworm.experiment.errors import ExperimentError, ExperimentNotFoundError, StateError, StoreError
from frameworm.experiment.keeping.edit import edit
from frameworm.experiment.paths import place_inside
from frameworm.experiment.provenance.plan import check_changeable
from frameworm.experiment.query.read import writers_at_work
from frameworm.experiment.storage.blobs import BLOBS, sweep
from frameworm.experiment.storage.folder import (
    HIDDEN,
    LOGS,
    experiment_folders,
    id_of,
    not_found,
    number_of,
    read_metadata,
)

TRASH = "trash"
EMPTYING = ".emptying-"
"""What the names of entries begin with that are being removed for good."""

_ENTRY = re.compile(r"(?P<folder>exp_[0-9]{3,18}(?:_.*)?)-(?P<time_ms>[0-9]{10,18})\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """One thing in the trash.

    Attributes:
        experiment_id: whose it is.
        name: what people called the experiment; empty if that cannot be read.
        status: its status; empty likewise, and for single files.
        deleted_ms: when it came there, Unix ms.
        whole: whether it is an experiment; else it is some of its files.
        files: how many files it holds.
        size_bytes: what they take.
        path: where it lies.
    """

    experiment_id: str
    name: str
    status: str
    deleted_ms: int
    whole: bool
    files: int
    size_bytes: int
    path: Path

    @property
    def folder(self) -> str:
        """Name of the experiment's folder."""
        return self.path.name.rpartition("-")[0]


def entries(root: Path, experiment_id: str | None = None) -> list[TrashEntry]:
    """Return what is in the trash of a root, or of one experiment of it, the newest first."""
    matches = [(path, match) for path in _paths(root) if (match := _ENTRY.match(path.name))]
    if experiment_id is not None:
        matches = [(path, m) for path, m in matches if id_of(number_of(m["folder"]) or 0) == experiment_id]
    found = [_entry(path, match) for path, match in matches]
    return sorted(found, key=lambda entry: (-entry.deleted_ms, entry.path.name))


def check_nobody_writes(folders: Iterable[Path]) -> None:
    """See that no process writes to any of these experiments: owner, attached rank or fork, whatever the status.

    Raises:
        StateError: one does; names all such experiments, and a process of each.
    """
    busy = []
    for folder in folders:
        if writers := writers_at_work(folder):
            first = writers[0]
            more = f" and {len(writers) - 1} more" if len(writers) > 1 else ""
            who = f"process {first.get('pid')} on {first.get('host')}{more}"
            busy.append(f"{id_of(number_of(folder.name) or 0)} is still written to by {who}")
    if busy:
        raise StateError(f"{'; '.join(busy[:8])}: end it first, or delete it with force=True (--force)")


def delete(root: Path, folders: Sequence[Path], *, force: bool = False) -> list[Path]:
    """Move experiments to the trash, all or none of them.

    Args:
        root: the root.
        folders: theirs.
        force: also those that are written to.

    Returns:
        where they are now.

    Raises:
        StateError: a process writes to one of them.
        StoreError: the root cannot be written; those before the one it names were moved.
    """
    check_changeable(*folders)
    if not force:
        check_nobody_writes(folders)
    moved = []
    for folder in folders:
        try:
            moved.append(folder.rename(new_entry(root, folder.name)))
        except OSError as error:
            raise StoreError(f"{folder} cannot be moved to {root / HIDDEN / TRASH}: {error}") from error
    return moved


def new_entry(root: Path, folder: str) -> Path:
    """Return where something of an experiment's folder is to go; the trash is made.

    Raises:
        OSError: the root cannot be written.
    """
    trash = root / HIDDEN / TRASH
    trash.mkdir(parents=True, exist_ok=True)
    time_ms = time.time_ns() // 1_000_000
    while os.path.lexists(path := trash / f"{folder}-{time_ms}"):
        time_ms += 1
    return path


def files_of(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the files below a folder, relative to it, and their sizes."""
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(parent, name)
            yield os.path.relpath(path, folder), os.lstat(path).st_size


def restore(root: Path, experiment_id: str) -> list[Path]:
    """Bring what the trash holds of an experiment back to its place: itself, and files taken out of it.

    Returns:
        what is in its place again.

    Raises:
        ExperimentNotFoundError: the trash holds nothing of it.
        StateError: something lies in its place; nothing was moved.
        UnsafePathError: a link leads out of the experiment's folder where a file is to go.
        StoreError: the root cannot be written.
    """
    check_changeable(root)
    mine = entries(root, experiment_id)
    if not mine:
        known = sorted({entry.experiment_id for entry in entries(root)})
        if not known:
            raise ExperimentNotFoundError(f"the trash of {root} is empty")
        error = not_found(root / HIDDEN / TRASH, [experiment_id], known)
        raise ExperimentNotFoundError(str(error), error.suggestions)
    taken = [name for name, number in experiment_folders(root).items() if id_of(number) == experiment_id]
    whole = [entry for entry in mine if entry.whole]
    parts = [entry for entry in mine if not entry.whole]
    if taken and not parts:
        raise StateError(f"{root / taken[0]} lies in the place of {experiment_id}; nothing was restored")
    if not taken and not whole:
        raise StateError(
            f"the trash holds files of {experiment_id}, which is not there itself: {parts[0].path}; copy what you need"
        )
    names = [_names_for(entry, root / taken[0] if taken else whole[0].path) for entry in parts]
    back = []
    try:
        if not taken:
            folder = root / whole[0].folder
            whole[0].path.rename(folder)
            back.append(folder)
        else:
            folder = root / taken[0]
        for entry, wanted in zip(parts, names, strict=True):
            back += _restore_files(entry, folder, wanted)
    except OSError as error:
        if isinstance(error, ExperimentError):
            raise
        raise StoreError(f"{experiment_id} cannot be restored: {error}") from error
    return back


def _names_for(entry: TrashEntry, folder: Path) -> list[str]:
    """Return the files of an entry, for each of which there is room in an experiment's folder."""
    names = [name for name, _ in files_of(entry.path)]
    for name in names:
        place = place_inside(folder, name, follow=False)
        if os.path.lexists(place):
            raise StateError(f"{place} lies in the place of a file in the trash, {entry.path}; move one away")
    return names


def _restore_files(entry: TrashEntry, folder: Path, names: list[str]) -> list[Path]:
    """Record that files are there again, and move them back into their experiment."""
    edit(folder, {"type": "artifacts_restored", "paths": names})
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (entry.path / name).rename(folder / name)
    shutil.rmtree(entry.path)
    return [folder / name for name in names]


def empty(root: Path, before_ms: int | None = None) -> list[TrashEntry]:
    """Remove what is in the trash for good, but what a process still writes to: experiments deleted by force.

    Args:
        root: the root.
        before_ms: only what came there before this time, Unix ms; None for everything.

    Returns:
        what was removed.

    Raises:
        StoreError: something cannot be removed.
    """
    check_changeable(root)
    removed = []
    try:
        for path in _paths(root):
            if path.name.startswith(EMPTYING):
                _remove(path)
        for entry in entries(root):
            if (before_ms is None or entry.deleted_ms < before_ms) and not writers_at_work(entry.path):
                # Renamed first: what is half removed must not be offered to be restored.
                going = entry.path.with_name(EMPTYING + entry.path.name)
                entry.path.rename(going)
                _remove(going)
                removed.append(entry)
        sweep(root / HIDDEN / BLOBS)  # what only they held
    except OSError as error:
        raise StoreError(f"{root / HIDDEN / TRASH} cannot be emptied: {error}") from error
    return removed


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def _paths(root: Path) -> list[Path]:
    try:
        return sorted((root / HIDDEN / TRASH).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _entry(path: Path, match: re.Match[str]) -> TrashEntry:
    number = number_of(match["folder"])
    assert number is not None
    whole = (path / LOGS).exists()
    name = status = ""
    if whole:
        try:
            info = read_metadata(path)
            name, status = info.name, info.status
        except StoreError:
            pass
    sizes = [size for _, size in files_of(path)]
    return TrashEntry(id_of(number), name, status, int(match["time_ms"]), whole, len(sizes), sum(sizes), path)
