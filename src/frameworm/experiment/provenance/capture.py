"""What an experiment records of where it comes from, taken as it starts and completed in the background."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from frameworm.experiment.provenance.code import capture_code
from frameworm.experiment.provenance.environment import capture_quick, capture_slow, write_requirements
from frameworm.experiment.provenance.git import GitCapture
from frameworm.experiment.provenance.inputs import InputList
from frameworm.experiment.provenance.notebook import run_files, store_cells, with_cells
from frameworm.experiment.provenance.randomness import collect_states, keep_states, restore_states, seed_late_imports
from frameworm.experiment.recording.cells import Cell, current_cells
from frameworm.experiment.recording.process import no_fork
from frameworm.experiment.recording.recorder import guard
from frameworm.experiment.storage.blobs import BLOBS
from frameworm.experiment.storage.folder import HIDDEN, PROVENANCE

TIMEOUT_S = 20.0


class Capture:
    """Code, environment, randomness and inputs of one session of an experiment.

    Made as the experiment starts, on its thread: what may change from then on is taken here, or asked of processes
    that are started here. ``finish`` runs on the background thread, ``complete`` at the end. Failures are told, and
    cost the part that failed.
    """

    def __init__(
        self,
        exp_dir: Path,
        event: Callable[..., None],
        *,
        ordinal: int,
        random_dir: Path | None = None,
        record_inputs: bool = False,
    ) -> None:
        """Take the state of the process.

        Args:
            exp_dir: the experiment's folder, which may be moved later.
            event: records an event: its type, and its values by name.
            ordinal: how many experiments this process made before this one.
            random_dir: provenance folder with states that the random generators are set to first.
            record_inputs: list the files that are opened for reading.
        """
        self._event = event
        self._cwd = _working_folder()
        self._git = GitCapture.launch(self._cwd, exp_dir / PROVENANCE, exp_dir.parent)
        seed_late_imports()
        if random_dir is not None:
            guard(lambda: restore_states(random_dir), "restoring the random generators")
        self._states = collect_states()
        self._code: dict[str, Any] = {}
        self._modules = 0
        self._cells = current_cells()
        self._stored_cells: tuple[Cell, ...] = ()
        event("environment", environment={**capture_quick(), "ordinal": ordinal})
        self._inputs = InputList(exp_dir.parent) if record_inputs else None
        if self._inputs is not None:
            self._inputs.start()

    def abandon(self) -> None:
        """Let go of the processes that were started; ``finish`` will not come."""
        self._git.close()

    def finish(self, exp_dir: Path) -> None:
        """Record what takes time to find; ``exp_dir`` is where the experiment's folder is now."""
        provenance_dir = exp_dir / PROVENANCE
        git = guard(lambda: self._finish_git(provenance_dir), "asking git") or {}  # at once: git waits to be read
        with no_fork():
            for name in ("json", "pwd"):
                importlib.import_module(name)  # whatever the parts below need
        guard(lambda: self._finish_code(exp_dir, provenance_dir, git.get("root")), "capturing the code")
        guard(
            lambda: self._event("randomness", randomness=keep_states(self._states, provenance_dir)),
            "capturing the random generators",
        )
        guard(lambda: self._finish_environment(provenance_dir), "capturing the environment")

    def _finish_git(self, provenance_dir: Path) -> dict[str, Any]:
        self._git.provenance_dir = provenance_dir
        found = self._git.collect(TIMEOUT_S)
        self._event("git", git=found)
        return found

    def _finish_code(self, exp_dir: Path, provenance_dir: Path, root: str | None) -> None:
        self._modules = len(sys.modules)
        blobs_dir = exp_dir.parent / HIDDEN / BLOBS
        top = None if root is None else Path(root)
        self._code = capture_code(
            provenance_dir, blobs_dir, self._cwd, root=top, untracked=self._git.untracked, ran=self._ran()
        )
        self._tell_code(provenance_dir)

    def _ran(self) -> list[Path] | None:
        """Return the files that cells ran; None for a program that has no cells."""
        return None if self._cells is None else run_files(self._cells.so_far(), self._cwd)

    def _tell_code(self, provenance_dir: Path) -> None:
        code = self._code
        if self._cells is not None:
            self._stored_cells = self._cells.so_far()
            stored = store_cells(self._stored_cells, provenance_dir)
            code = with_cells(code, stored, self._cells.starting_dir)
        self._event("code", code=code)

    def follow(self, exp_dir: Path) -> None:
        """Record the cells that began since; should the kernel die, they are there."""
        if self._code and self._cells is not None and self._cells.so_far() != self._stored_cells:
            guard(lambda: self._tell_code(exp_dir / PROVENANCE), "recording the cells")

    def _finish_environment(self, provenance_dir: Path) -> None:
        slow = capture_slow()
        write_requirements(provenance_dir, slow["packages"], slow["package_sources"])
        self._event("environment", environment=slow)

    def complete(self, exp_dir: Path, known: Container[str | None]) -> None:
        """Record what is known at the end only: modules imported since the start, files opened for reading.

        Args:
            exp_dir: where the experiment's folder is now.
            known: paths whose fingerprints are recorded already.
        """
        snapshot = self._code.get("kind") == "snapshot"
        if snapshot and (self._modules != len(sys.modules) or self._cells is not None):
            blobs_dir = exp_dir.parent / HIDDEN / BLOBS
            ran = self._ran()
            code = guard(
                lambda: capture_code(exp_dir / PROVENANCE, blobs_dir, self._cwd, ran=ran), "capturing the code"
            )
            if code is not None:
                self._code = code
                guard(lambda: self._tell_code(exp_dir / PROVENANCE), "recording the code")
        else:
            self.follow(exp_dir)
        if self._inputs is not None:
            for path in (path for path in self._inputs.stop() if path not in known):
                guard(lambda path=path: self._record_input(path), f"the fingerprint of {path}")  # type: ignore[misc]

    def _record_input(self, path: str) -> None:
        from frameworm.experiment.provenance.data import fingerprint

        self._event("dataset", dataset={"name": os.path.basename(path), **fingerprint(path), "opened": True})


def _working_folder() -> Path:
    """Return where the process runs; the root folder should that have been removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")
