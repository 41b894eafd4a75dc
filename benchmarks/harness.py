"""Running the workloads: every peer in its own interpreter, in turn, round by round, in fresh folders."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.drivers import Peer, peer_class
from benchmarks.environments import PROJECT, InstallError, interpreter
from benchmarks.results import Result, Results
from benchmarks.workloads import Workload

OURS = "frameworm"
TIMEOUT_S = 120.0
FILL_TIMEOUT_S = 600.0


class FailedError(RuntimeError):
    """A workload did not come to its end; says why in a line."""


class Harness:
    """Runs workloads and keeps their results.

    Args:
        results: where the figures go.
        rounds: how often each peer does each workload; frameworm and the floor more often where a workload says so.
        quick: small sizes, to see that everything works.
        cache: folder of environments, of what is read, and of work under way.
        here: run frameworm and the floor in this interpreter rather than in an environment made for them.
    """

    def __init__(
        self, results: Results, cache: Path, *, rounds: int, quick: bool, here: bool, console: Console
    ) -> None:
        self.results = results
        self.cache = cache
        self.rounds = rounds
        self.quick = quick
        self.here = here
        self.console = console
        self._pythons: dict[str, Path | InstallError] = {}
        self._work = ""

    def run(self, workloads: Sequence[Workload], peers: Sequence[str]) -> None:
        """Run every workload with every peer that takes part.

        What they record is removed at the end of all: a file system may make new files wait for a while after very many
        were removed (ext4 then took 250 µs to make a folder, and 30 at rest).
        """
        columns = TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        work = tempfile.TemporaryDirectory(dir=self.folder("work"), ignore_cleanup_errors=True)
        with Progress(*columns, console=self.console) as progress, work as self._work:
            task = progress.add_task("", total=len(workloads))
            for workload in workloads:
                self._run_one(workload, peers, progress)
                progress.advance(task)

    # ------------------------------------------------------------------------------------------ one workload

    def _run_one(self, workload: Workload, peers: Sequence[str], progress: Progress) -> None:
        taking_part = {}
        for name in peers:
            size = self.size(workload, peer_class(name))
            if size is not None and (name == OURS or not workload.own):
                at = datetime.now(UTC).isoformat(timespec="seconds")
                taking_part[name] = Result(workload.name, name, size, at=at, load=round(os.getloadavg()[0], 2))
        times = {name: self._times(workload, name) for name in taking_part}
        most = max(times.values(), default=0)
        task = progress.add_task(workload.name, total=most)
        for number in range(most):
            for name, result in taking_part.items():
                if result.failure or number >= times[name]:
                    continue
                progress.update(task, description=f"{workload.name}: {name} {result.size}")
                try:
                    result.rounds.append(self.once(workload, name, result.size))
                except (FailedError, InstallError) as error:
                    result.failure = str(error)
                    self.console.print(f"[yellow]{workload.name}: {name}: {error}")
            progress.advance(task)
        for result in taking_part.values():
            self.results.put(result)
        progress.remove_task(task)

    def _times(self, workload: Workload, name: str) -> int:
        usual = 1 if workload.once else self.rounds
        fast = name == OURS or name.startswith("floor")
        return max(usual, workload.rounds) if fast and not self.quick else usual

    def size(self, workload: Workload, peer: type[Peer]) -> str | None:
        """Return what the peer is given of a workload; None if it takes no part."""
        group = workload.name.split("-")[0]
        size = workload.full(self.quick)
        own = peer.sizes.get(workload.name, peer.sizes.get(group, size))
        if own is None:
            return None
        return size if self.quick else own

    def once(self, workload: Workload, name: str, size: str) -> dict[str, float]:
        """Run a workload once and return its figures.

        Raises:
            FailedError: it ended in an error or took too long.
            InstallError: the peer cannot be installed.
        """
        python = self.python(name)
        if workload.fill:
            return self._drive(python, name, workload.runs, size, self._filled(python, name, workload.fill, size))
        folder = Path(tempfile.mkdtemp(dir=self._work)) / "data"
        folder.mkdir()
        return self._drive(python, name, workload.runs, size, folder)

    def python(self, name: str) -> Path:
        """Return the interpreter of a peer, installing it the first time.

        Raises:
            InstallError: it cannot be installed.
        """
        if name not in self._pythons:
            peer = peer_class(name)
            try:
                own = self.here and (name == OURS or name.startswith("floor"))
                base = peer_class(OURS) if name.startswith("floor") else peer
                home = OURS if name.startswith("floor") else name
                self._pythons[name] = Path(sys.executable) if own else interpreter(home, base, self.cache)
            except InstallError as error:
                self._pythons[name] = error
        found = self._pythons[name]
        if isinstance(found, InstallError):
            raise found
        return found

    def _filled(self, python: Path, name: str, fill: str, size: str) -> Path:
        """Return the folder with what is read, recorded once and kept while the code that records it stays as it is."""
        folder = self.folder("filled") / f"{name}-{fill}-{size}"
        code = fingerprint(name)
        done = folder / "code"
        if not done.exists() or done.read_text() != code:
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "data").mkdir(parents=True)
            self._drive(python, name, fill, size, folder / "data", timeout_s=FILL_TIMEOUT_S)
            done.write_text(code)
        return folder / "data"

    def _drive(
        self, python: Path, name: str, runs: str, size: str, folder: Path, timeout_s: float = TIMEOUT_S
    ) -> dict[str, float]:
        program = PROJECT / "benchmarks" / "drive.py"
        result = folder.parent / "figures.json"
        result.unlink(missing_ok=True)
        command = [str(python), str(program), name, runs, size, str(folder), str(result)]
        os.sync()  # what earlier ones left to be written is not this one's burden
        took = self.command(command, timeout_s, peer_class(name).environment)
        try:
            figures: dict[str, float] = json.loads(result.read_text())
        except FileNotFoundError:
            raise FailedError("ended without figures") from None
        return {**figures, "job_s": took}

    # ------------------------------------------------------------------------------------------ processes

    def command(self, command: list[str], timeout_s: float, environment: dict[str, str]) -> float:
        """Run a command as a user would in a small git repository, and return the seconds it took.

        Raises:
            FailedError: it failed, with the last line of what it said, or took longer than ``timeout_s``.
        """
        home = self.folder("home")
        private = {"HOME": str(home), "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore", "GIT_TERMINAL_PROMPT": "0"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FRAMEWORM"))}
        with tempfile.TemporaryFile(dir=home) as said:
            begin = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=self._repository(),
                env={**kept, **private, **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                _end(process.pid)
                process.wait()
                raise FailedError(f"not done after {timeout_s:.0f} s") from None
            except BaseException:
                _end(process.pid)
                raise
            took = time.perf_counter() - begin
            if process.returncode:
                said.seek(0)
                lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
                raise FailedError(lines[-1][:300] if lines else f"exit code {process.returncode}")
        return took

    def _repository(self) -> Path:
        """Return a git repository with one commit and one change, the same for all peers."""
        folder = self.cache / "repository"
        if not (folder / ".git").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "train.py").write_text("print('a training')\n")
            who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
            for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "start"]):
                subprocess.run(["git", *command], cwd=folder, check=True)
            (folder / "train.py").write_text("print('another training')\n")
        return folder

    def folder(self, name: str) -> Path:
        """Return a folder of the cache."""
        folder = self.cache / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _end(pid: int) -> None:
    """Kill a process and its descendants."""
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def fingerprint(name: str) -> str:
    """Return what changes with the code that records for a peer: its driver, and for frameworm itself its sources."""
    files = [PROJECT / "benchmarks" / "drivers" / f"{name.split('-')[0]}.py"]
    if name == OURS:
        files += sorted((PROJECT / "src").rglob("*.py")) + sorted((PROJECT / "benchmarks" / "engine").glob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
