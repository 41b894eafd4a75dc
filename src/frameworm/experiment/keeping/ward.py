"""One experiment as it is checked, and the place where damaged originals are kept."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from frameworm.experiment.keeping.findings import Finding, Severity
from frameworm.experiment.keeping.merge import sync_folder
from frameworm.experiment.query.read import ExperimentReader, living
from frameworm.experiment.storage.folder import HIDDEN, LOGS

DAMAGED = "damaged"
"""Folder below ``.frameworm`` in which originals are kept that could not be mended where they were."""

TEMPORARY_S = 600.0
"""Age from which a temporary file is one that a crash left behind."""

SILENT_ELSEWHERE_S = 86_400.0
"""How long a writer on another machine must have been silent until its journal is touched: it may only be paused, and
would go on writing into a file that is gone. On this machine its process is looked for instead."""


@dataclass(slots=True)
class Ward:
    """An experiment's folder that is being checked.

    Attributes:
        root: the root it lies in.
        folder: its folder.
        label: its id.
        stamp: when the check began; names the folder that originals are kept in.
        advance: told how many bytes have been read since it was last called.
        reader: what can be read of it; None if nothing can.
        busy: whether somebody still writes: then nothing is mended.
    """

    root: Path
    folder: Path
    label: str
    stamp: str
    advance: Callable[[int], object]
    reader: ExperimentReader | None = None
    busy: bool = False

    @property
    def logs(self) -> Path:
        """Folder of journals and segments."""
        return self.folder / LOGS

    def finding(
        self,
        kind: str,
        severity: Severity,
        path: Path,
        what: str,
        remedy: str,
        repair: Callable[[], object] | None = None,
        *,
        offset: int | None = None,
    ) -> Finding:
        """Return a finding about this experiment; a repair is left out while somebody writes."""
        if self.busy and repair is not None:
            remedy, repair = f"once it has ended: {remedy}", None
        where = os.path.relpath(path, self.root)
        return Finding(self.label, kind, severity, where, offset, what, remedy, repair)

    def keep(self, path: Path) -> Path:
        """Keep a second name, or a copy, of a damaged original that is about to be replaced."""
        kept = self._kept_name(path)
        try:
            os.link(path, kept, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(path, kept)
        sync_folder(kept.parent)
        return kept

    def set_aside(self, path: Path) -> Path:
        """Move a damaged or half-written original out of the way; it is kept."""
        kept = self._kept_name(path)
        path.rename(kept)
        sync_folder(kept.parent)
        sync_folder(path.parent)
        return kept

    def _kept_name(self, path: Path) -> Path:
        return kept_name(self.root, self.stamp, path)


def kept_name(root: Path, stamp: str, path: Path) -> Path:
    """Return a free name for an original below ``.frameworm/damaged``; its folder is made."""
    kept = root / HIDDEN / DAMAGED / stamp / path.relative_to(root)
    kept.parent.mkdir(parents=True, exist_ok=True)
    n = 1
    while os.path.lexists(kept):
        n += 1
        kept = kept.with_name(f"{path.name}.{n}")
    return kept


def is_busy(reader: ExperimentReader) -> bool:
    """Whether somebody may still write to an experiment: the one who records it, another process, an editor."""
    info = reader.info
    return info.status == "running" or bool(living(info.writers, reader.exp_dir.parent, SILENT_ELSEWHERE_S))


def is_old(path: Path) -> bool:
    """Whether a temporary file has been left alone for so long that nobody can be at work on it."""
    try:
        return time.time() - path.lstat().st_mtime > TEMPORARY_S
    except FileNotFoundError:
        return False
