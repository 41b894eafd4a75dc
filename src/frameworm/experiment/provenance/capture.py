"""What an experiment records of where it comes from, taken as it starts and completed in the background."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import tell
from frameworm.experiment.provenance.code import CodeRecord
from frameworm.experiment.provenance.environment import capture_quick, capture_slow, write_requirements
from frameworm.experiment.provenance.git import GitCapture
from frameworm.experiment.provenance.inputs import InputList
from frameworm.experiment.provenance.notebook import run_files, store_cells, with_cells
from frameworm.experiment.provenance.randomness import collect_states, keep_states, restore_states, seed_late_imports
from frameworm.experiment.provenance.reads import capture_reads
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
        cells = current_cells()
        self._cells = cells if cells and cells.so_far() else None  # none where IPython was given a file to run
        self._code = CodeRecord(self._cwd, cells=self._cells is not None)
        program = self._code.program
        self._git = GitCapture.launch(program.folder, exp_dir / PROVENANCE, exp_dir.parent, program.file)
        seed_late_imports()
        if random_dir is not None:
            guard(lambda: restore_states(random_dir), "restoring the random generators")
        self._states = collect_states()
        self._recorded: dict[str, Any] = {}
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
        guard(lambda: self._finish_code(exp_dir, provenance_dir, in_git="root" in git), "capturing the code")
        guard(
            lambda: self._event("randomness", randomness=keep_states(self._states, provenance_dir)),
            "capturing the random generators",
        )
        guard(lambda: self._finish_environment(provenance_dir), "capturing the environment")
        guard(lambda: self._finish_reads(exp_dir, whole=False), "noting what was read")

    def _finish_git(self, provenance_dir: Path) -> dict[str, Any]:
        self._git.provenance_dir = provenance_dir
        found = self._git.collect(TIMEOUT_S, self._code.loaded)
        self._event("git", git=found)
        why = found.get("error") or found.get("refused")
        if why and self._git.root is not None:
            commit = f"commit {found['commit'][:10]} is recorded" if found.get("commit") else "no commit is recorded"
            tell(f"git refuses {self._git.root}: {why}; {commit}, and the program's files are stored as outside git")
        return found

    def _finish_code(self, exp_dir: Path, provenance_dir: Path, *, in_git: bool) -> None:
        blobs_dir = exp_dir.parent / HIDDEN / BLOBS
        self._recorded = self._code.take(provenance_dir, blobs_dir, self._git, in_git=in_git, ran=self._ran())
        self._tell_code(provenance_dir)

    def _ran(self) -> list[Path]:
        """Return the files that cells ran."""
        return [] if self._cells is None else run_files(self._cells.so_far(), self._cwd)

    def _tell_code(self, provenance_dir: Path) -> None:
        code = self._recorded
        if self._cells is not None:
            self._stored_cells = self._cells.so_far()
            stored = store_cells(self._stored_cells, provenance_dir, in_loop=self._cells.in_loop)
            code = with_cells(code, stored, self._cells.starting_dir)
        self._event("code", code=code)

    def follow(self, exp_dir: Path) -> bool:
        """Record what was imported and the cells that began since; on the background thread, or at the end.

        Returns:
            whether there was anything: it is written as it comes, so that it is there should the process die.
        """
        return bool(self._recorded) and guard(lambda: self._follow(exp_dir), "recording the code") is True

    def _follow(self, exp_dir: Path) -> bool:
        blobs_dir = exp_dir.parent / HIDDEN / BLOBS
        more = self._code.follow(exp_dir / PROVENANCE, blobs_dir, self._ran())
        self._recorded = more or self._recorded
        if not more and (self._cells is None or self._cells.so_far() == self._stored_cells):
            return False
        self._tell_code(exp_dir / PROVENANCE)
        return True

    def _finish_environment(self, provenance_dir: Path) -> None:
        slow = capture_slow()
        write_requirements(provenance_dir, slow["packages"], slow["package_sources"])
        self._event("environment", environment=slow)

    def _finish_reads(self, exp_dir: Path, *, whole: bool) -> None:
        self._event("environment", environment={"reads": capture_reads(exp_dir.parent, whole=whole)})

    def complete(self, exp_dir: Path, known: Container[str | None]) -> None:
        """Record what is known at the end only: modules imported since the start, files opened for reading.

        Args:
            exp_dir: where the experiment's folder is now.
            known: paths whose fingerprints are recorded already.
        """
        self.follow(exp_dir)
        guard(lambda: self._finish_reads(exp_dir, whole=True), "noting what was read")
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
