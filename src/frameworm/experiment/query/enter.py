"""Entering experiments in the catalog as they end, without each of them waiting for the disk.

A transaction costs three fsyncs and the compilation of ten statements: 10 ms where the rest of a short experiment takes
5. As the catalog is an index, and whoever asks it next enters what it does not know, an experiment that ends within a
second of the last one waits for those that follow.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from pathlib import Path

from frameworm.experiment.errors import StoreError, tell
from frameworm.experiment.storage.folder import CATALOG_NAME

INTERVAL_S = 1.0
"""An experiment that ends is entered at once, unless another was entered in the same catalog so recently."""


class _Waiting:
    """The folders to be entered by this process. Any thread may call; a forked child starts with none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: dict[Path, None] = {}
        self._entered_s = -INTERVAL_S
        self._exiting = False

    def add(self, folder: Path) -> None:
        with self._lock:
            self._folders[folder] = None
            new_root = not (folder.parent / CATALOG_NAME).exists()
            if self._exiting or new_root or time.monotonic() - self._entered_s >= INTERVAL_S:
                self._enter()

    def finish(self) -> None:
        """Enter all that wait; from here on, none does."""
        with self._lock:
            self._exiting = True
            try:
                self._enter()
            except StoreError as error:
                tell(f"what ended last is not in the catalog yet: {error}; whoever lists it next enters it")

    def _enter(self) -> None:
        from frameworm.experiment.query.sync import enter_folders
        from frameworm.experiment.storage.catalog import Catalog, CatalogDamageError, CatalogUnavailableError

        folders, self._folders = list(self._folders), {}
        try:
            for root in dict.fromkeys(folder.parent for folder in folders if folder.is_dir()):
                catalog = Catalog.open(root)
                if catalog.persistent:
                    for _ in enter_folders(catalog, [folder.name for folder in folders if folder.parent == root]):
                        pass
        except (CatalogDamageError, CatalogUnavailableError):
            pass  # Damaged, or locked for long. Nothing is lost: who asks next mends it, and enters what it lacks.
        finally:
            self._entered_s = time.monotonic()


_waiting = _Waiting()
atexit.register(lambda: _waiting.finish())


def _start_anew() -> None:
    global _waiting
    _waiting = _Waiting()


os.register_at_fork(after_in_child=_start_anew)


def enter(folder: Path) -> None:
    """Enter an experiment that ended in the catalog of its root: now, with those that follow, or at exit.

    If the process is killed before, the next who asks the catalog enters it.

    Raises:
        StoreError: ``experiments.db`` is a database of something else, or a newer release's.
    """
    _waiting.add(folder)
