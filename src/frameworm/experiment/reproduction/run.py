"""Running an experiment again, from laying it out to the verdict."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import ExperimentError, ReproductionError, StateError, tell
from frameworm.experiment.model import SYSTEM_CONTEXT, ExperimentInfo
from frameworm.experiment.provenance.plan import VARIABLE, Plan
from frameworm.experiment.provenance.randomness import STATES
from frameworm.experiment.query.diff import diff_experiments
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.reproduction.child import end, ended_by_signals, tied
from frameworm.experiment.reproduction.command import command_here, find_cwd, recorded_command
from frameworm.experiment.reproduction.environment import Surroundings, surround
from frameworm.experiment.reproduction.inputs import check_inputs
from frameworm.experiment.reproduction.layout import Layout, lay_out
from frameworm.experiment.reproduction.report import Prepared, Reproduction
from frameworm.experiment.reproduction.trust import Foreign, foreign
from frameworm.experiment.storage.folder import PROVENANCE, experiment_folders, id_here

_POLL_S = 0.1
_LOOK_S = 0.5
_TAIL_LINES = 20
_SEED = re.compile(r"(^|[._-])seeds?$", re.IGNORECASE)


class Watcher:
    """Told how a reproduction goes; this one does nothing with it, and trusts nobody."""

    def trusts(self, foreign: Foreign) -> bool:
        """Whether to run an experiment that this user did not record; asked unless that was said already."""
        return False

    def installing(self, packages: int, folder: Path) -> None:
        """A virtual environment is being made, which may take minutes."""

    def prepared(self, prepared: Prepared) -> None:
        """All is laid out and about to be run."""

    def printed(self, text: str) -> None:
        """The program printed something."""

    def progressed(self, points: int) -> None:
        """So many points were logged so far."""


def reproduce(
    exp_dir: Path,
    folder_of: Callable[[str], Path | None],
    *,
    settings: Mapping[str, Any] | None = None,
    venv: bool = False,
    project: Path | None = None,
    links: Sequence[str] = (),
    share_large: bool = False,
    trust: bool = False,
    strict: bool = False,
    keep: bool = False,
    watcher: Watcher | None = None,
) -> Reproduction:
    """Run an experiment again and compare; as ``ExperimentManager.reproduce`` documents it."""
    watcher = watcher or Watcher()
    settings = dict(settings or {})
    original = _own(exp_dir)
    label = id_here(exp_dir, original.info.experiment_id)
    if original.info.status in ("running", "pending"):
        raise StateError(f"{label} is {original.info.status}; it can be reproduced when it has ended")
    command = recorded_command(original.info)
    stranger = foreign(original.info, exp_dir, label)
    if stranger is not None and not trust and not watcher.trusts(stranger):
        raise ReproductionError(stranger.refusal())
    others = _others(original.info, label, folder_of)
    with ended_by_signals(), _folder(label, keep) as folder:
        try:
            layout = lay_out(original.info, exp_dir, folder, project=project, share=share_large)
            for link in links:
                _link(link, layout)
            check_inputs(original.info, exp_dir, layout, folder_of)
            _say_course(original.info, label, layout, others)
            if strict and layout.unproven:
                raise ReproductionError(f"the code is not proved to be what ran: {'; '.join(layout.unproven)}")
            python = sys.executable
            if venv:
                from frameworm.experiment.reproduction.venv import make_venv

                python = make_venv(original.info, exp_dir, layout, watcher.installing)
            here = surround(original.info, layout, python, own=stranger is None)
        except OSError as error:
            if isinstance(error, ExperimentError):
                raise
            raise ReproductionError(f"{label} cannot be laid out: {error}") from error
        words = command_here(command, python, settings, layout)
        cwd = find_cwd(command, original.info.code.get("script"), layout)
        plan = _plan(original.info, exp_dir, label, folder, settings, others)
        points = _points(original)
        remarks = tuple(layout.remarks)
        watcher.prepared(Prepared(label, original.info.name, remarks, tuple(words), cwd, folder, points))
        run = _Run(plan, exp_dir.parent, folder, watcher)
        exit_code = run.go(words, cwd, here)
        found = run.found()
        if found is None:
            raise ReproductionError(_nothing_made(exit_code, run.tail(), layout))
        diff = diff_experiments(original, _own(found))
        return Reproduction(
            experiment_id=label,
            reproduction_id=id_here(found, diff.b.experiment_id),
            diff=diff,
            remarks=remarks,
            settings=settings,
            exit_code=exit_code,
            folder=folder if keep else None,
            made=frozenset((*here.made, *layout.lent)),
            tail=tuple(run.tail()),
            hint=_missed(run.tail(), layout) if exit_code else "",
        )


@contextlib.contextmanager
def _folder(label: str, keep: bool) -> Iterator[Path]:
    """Make the folder to lay an experiment out in; removed in the end, however that comes, unless it is kept."""
    folder = Path(tempfile.mkdtemp(prefix=f"frameworm-{label}-")).resolve()
    try:
        yield folder
    except BaseException:
        if keep:
            tell(f"kept: {folder}")
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _link(path: str, layout: Layout) -> None:
    """Lend something of the project that was not recorded."""
    source = layout.project / path
    if not source.exists():
        raise ReproductionError(f"{source} is not there and cannot be lent")
    recorded = Path(os.path.normpath(layout.root / path))
    layout.lend(source, layout.place(recorded) or layout.mirrored(recorded))
    layout.say("data", "unknown", f"{path} is lent as it is today; it was not recorded", path)


def _own(exp_dir: Path) -> ExperimentReader:
    """Open an experiment; of a fork what it computed itself, as what it inherits is not computed again."""
    reader = ExperimentReader(exp_dir)
    if not reader.info.forked_from or reader.info.rewinds:
        return reader
    return ExperimentReader(exp_dir, own=True)


def _others(info: ExperimentInfo, label: str, folder_of: Callable[[str], Path | None]) -> dict[str, str]:
    """Return the ids of the experiments that it forks or uses, by those in its record."""
    found = {}
    for one in filter(None, [info.forked_from, *info.used]):
        folder = folder_of(one["uid"])
        if folder is not None:
            found[one["experiment_id"]] = id_here(folder, one["experiment_id"])
        elif one == info.forked_from:
            raise ReproductionError(
                f"{label} is a fork of an experiment that is not in this root ({one['experiment_id']} where it was "
                "recorded); import or restore that first"
            )
    return found


def _say_course(info: ExperimentInfo, label: str, layout: Layout, others: Mapping[str, str]) -> None:
    sessions = sum(writer.get("role") == "owner" for writer in info.writers)
    if sessions > 1:
        text = f"{label} was resumed; the command of its last session is run, from the beginning"
        layout.say("command", "differs", text)
    fork = info.forked_from
    if fork:
        source = others[fork["experiment_id"]]
        text = f"{label} is a fork of {source}: its own points are compared, not those up to step {fork['step']}"
        layout.say("command", "unknown", f"{text} that it inherits")


def _plan(
    info: ExperimentInfo,
    exp_dir: Path,
    label: str,
    folder: Path,
    settings: dict[str, Any],
    others: dict[str, str],
) -> Plan:
    scratch = folder / "others"
    scratch.mkdir()
    has_states = (exp_dir / PROVENANCE / STATES).is_file()
    reseeded = any(_SEED.search(key) for key in settings)  # restored states would undo the new seed
    return Plan(
        ordinal=info.environment.get("ordinal", 0),
        root_dir=str(exp_dir.parent.absolute()),
        scratch_dir=str(scratch),
        parent={
            "relation": "reproduction",
            "experiment_id": label,
            "uid": info.uid,
            "attempt": os.urandom(8).hex(),
        },
        settings=settings,
        random_dir=str((exp_dir / PROVENANCE).absolute()) if has_states and not reseeded else None,
        others=others,
        recorded_id=info.experiment_id,
    )


def _points(reader: ExperimentReader) -> int:
    return sum(summary.count for summary in reader.summaries() if summary.context != SYSTEM_CONTEXT)


class _Run:
    """The program as it runs, and the experiment that it makes."""

    def __init__(self, plan: Plan, root_dir: Path, folder: Path, watcher: Watcher) -> None:
        self._plan = plan
        self._root_dir = root_dir
        self._folder = folder
        self._watcher = watcher
        self._output = folder / "output.log"
        self._before = set(experiment_folders(root_dir))
        self._reader: ExperimentReader | None = None

    def go(self, command: list[str], cwd: Path, here: Surroundings) -> int:
        """Run the program to its end and return its exit code; a signal to us ends it."""
        plan = self._folder / "plan.json"
        self._plan.write(plan)
        with contextlib.ExitStack() as open_files:
            output = open_files.enter_context(open(self._output, "wb"))
            stdin = open_files.enter_context(open(here.stdin or os.devnull, "rb"))
            shown = open_files.enter_context(open(self._output, "rb"))
            try:
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env={**here.variables, VARIABLE: str(plan)},
                    stdin=stdin,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    umask=-1 if here.umask is None else here.umask,
                    start_new_session=True,  # a signal is passed on once, and its own children end with it
                )
            except OSError as error:
                raise ReproductionError(f"{command[0]} cannot be run: {error}") from error
            try:
                open_files.enter_context(tied(process))
                looked_s = time.monotonic()
                while process.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_POLL_S)
                    self._show(shown.read())
                    if time.monotonic() - looked_s > _LOOK_S:
                        self._look()
                        looked_s = time.monotonic()
                self._show(shown.read())
                self._look()
            finally:
                end(process)
        return process.returncode

    def _show(self, output: bytes) -> None:
        if output:
            self._watcher.printed(output.decode("utf-8", "replace"))

    def _look(self) -> None:
        """Tell how many points there are."""
        try:
            if self._reader is None:
                found = self.found()
                self._reader = None if found is None else _own(found)
            if self._reader is not None:
                self._reader.refresh()
                self._watcher.progressed(_points(self._reader))
        except (ExperimentError, OSError):  # seen while it was made, sealed or moved; the next look sees it whole
            self._reader = None

    def found(self) -> Path | None:
        """Return the folder of the new experiment."""
        for name in sorted(set(experiment_folders(self._root_dir)) - self._before):
            try:
                parent = ExperimentReader(self._root_dir / name).info.parent
            except (ExperimentError, OSError):
                continue
            if parent.get("attempt") == self._plan.parent["attempt"]:
                return self._root_dir / name
        return None

    def tail(self) -> list[str]:
        """Return the last lines that the program printed."""
        with open(self._output, "rb") as file:
            file.seek(max(0, self._output.stat().st_size - 65_536))
            return file.read().decode("utf-8", "replace").rstrip().splitlines()[-_TAIL_LINES:]


def _nothing_made(exit_code: int, tail: list[str], layout: Layout) -> str:
    """Say that the program made no experiment."""
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    said = "\n".join(f"  {line}" for line in tail[-8:])
    text = f"the program ended with {how} before it recorded the experiment; it printed\n{said or '  nothing'}"
    return "\n".join(filter(None, [text, _missed(tail, layout)]))


def _missed(tail: list[str], layout: Layout) -> str:
    """Return what to do about a file that the program missed because it was not recorded."""
    for line in reversed(tail):
        missing = re.search(r"No such file or directory: '([^']+)'|No module named '([\w.]+)'", line)
        if missing is None:
            continue
        path = missing[1] or missing[2].replace(".", "/")
        for name in (path, f"{path}.py"):
            place = Path(name) if os.path.isabs(name) else layout.cwd / name
            if place.is_relative_to(layout.tree):
                relative = place.relative_to(layout.tree)
                if (layout.project / relative).exists():
                    return f"{relative} is in {layout.project} but was not recorded; --link {relative} lends it"
    return ""
