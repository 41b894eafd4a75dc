"""One process's part in an experiment: it begins, follows its folder, meets forks and signals, and ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from frameworm.experiment.errors import ExperimentError, InputError, StateError, StoreError, tell
from frameworm.experiment.model import ENDED, SYSTEM_CONTEXT, ExperimentInfo, Status
from frameworm.experiment.provenance.capture import TIMEOUT_S, Capture
from frameworm.experiment.provenance.plan import Plan
from frameworm.experiment.recording.console import ConsoleCapture
from frameworm.experiment.recording.ending import Ending, ending_of
from frameworm.experiment.recording.fold import Fold
from frameworm.experiment.recording.liveness import identity
from frameworm.experiment.recording.process import uninterrupted, unwatch, watch
from frameworm.experiment.recording.recorder import Recorder, guard
from frameworm.experiment.recording.system import SystemSampler
from frameworm.experiment.secrets import mask_text
from frameworm.experiment.storage import folder as folders

if TYPE_CHECKING:
    from frameworm.experiment.query.lineage import Origin
    from frameworm.experiment.query.read import ExperimentReader

_SNAPSHOT_INTERVAL_S = 2.0
_ENTERED_SERIES = 10_000
"""To enter more takes longer than sealing them: 2 s for 100,000. A training need not wait for it."""


class Session:
    """What an ``Experiment`` is while a process records it: pending, running, ended; and what is known of it."""

    _recorder: Recorder
    _exp_dir: Path
    _plan: Plan | None = None  # of the reproduction that this experiment is
    _origin: Origin | None = None  # of the fork that it is

    def _prepare(self, *, strict: bool, capture_console: bool, system_metrics_s: float) -> None:
        """Set what every way of getting an experiment starts from."""
        if not system_metrics_s >= 0:
            raise InputError(f"system_metrics_s: expected seconds, 0 for none, got {system_metrics_s!r}")
        self._fold = Fold()
        self._strict = strict
        self._owner = True
        self._pid = os.getpid()  # of the process that has a part in it: who inherited or received it must log first
        self._inherited = False  # by a fork, or received
        self._joining = threading.Lock()
        self._console: ConsoleCapture | None = None
        self._capture_console = capture_console
        self._system_metrics_s = system_metrics_s
        self._changed = False
        self._capture: Capture | None = None
        self._ordinal = 0
        self._record_inputs = False
        self._began_s = 0.0
        self._enters = True  # itself in the catalog as it ends
        self._following = threading.RLock()  # a signal that ends the experiment may come amid it
        self._astray = False  # the folder was removed while we record into it
        self._former: list[Path] = []  # where it lay before it was moved
        self._sink: Recorder | _Refusing = _Refusing(self._why_not)
        self._state = "pending"

    def _join(self, exp_dir: Path, reader: ExperimentReader) -> None:
        """Take part in what another process records, with a journal of its own."""
        self._owner = False
        self._exp_dir = exp_dir
        self._fold = reader.fold()
        self._recorder = Recorder(self.log_dir, {**identity(), "role": "attached"}, strict=self._strict)
        self._state = "running"
        watch(self)
        self._run(lambda: None)

    def _receive(self, exp_dir: Path, facts: dict[str, Any]) -> None:
        """Be what another process has pickled: it joins at the first log, or has ended, or is gone."""
        self._owner = False
        self._inherited = True
        self._pid = 0
        self._exp_dir = exp_dir
        self._state = "gone"
        try:
            reader = open_reader(exp_dir)
            info = reader.info
        except (ExperimentError, OSError):
            info = None
        if info is None or info.uid != facts["uid"]:
            self._fold.apply({"type": "create", "t": 0, **facts})
        else:
            self._fold = reader.fold()
            self._state = "running" if info.status in ("pending", "running") else "ended"
            if info.status == "crashed":
                self._apply({"type": "status", "t": info.ended_ms, "status": "crashed", "duration_s": 0.0})
        if self._state == "running":
            self._sink = _Refusing(self._rejoin)

    # ------------------------------------------------------------------------------------ start and end

    def start(self) -> Self:
        """Begin recording: status ``running``; code version, environment and console are captured from here on.

        Raises:
            StateError: it is running already, or has ended.
        """
        if self._state != "pending":
            raise StateError(f"{self.experiment_id} cannot start: it is {self.status}; {self._remedy()}")
        if self._pid != os.getpid():  # made before a fork: the journal is the parent's
            self._recorder.abandon()
            counters = None if self._origin is None else self._origin.next_steps
            writer = {**identity(), "role": "owner"}
            self._recorder = Recorder(self.log_dir, writer, next_steps=counters, strict=self._strict)
            self._pid = os.getpid()
        watch(self)
        with uninterrupted():  # a signal has to find it pending or running, not half of each
            self._begin()
        return self

    def _begin(self) -> None:
        self._began_s = time.monotonic()
        self._event("status", status="running")
        self._capture = Capture(
            self._exp_dir,
            self._captured,
            ordinal=self._ordinal,
            random_dir=None if self._plan is None or self._plan.random_dir is None else Path(self._plan.random_dir),
            record_inputs=self._record_inputs,
        )
        self._state = "running"
        if self._capture_console:
            self._console = ConsoleCapture(self.log_dir / "console.log")
            self._console.start()
            self._recorder.every(1.0, self._console.flush)
        if self._system_metrics_s:
            sampler = SystemSampler(self._exp_dir.parent)
            self._recorder.every(self._system_metrics_s, lambda: self._log_system(sampler))
        self._recorder.every(1.0, self._follow_capture)
        self._recorder.every(_SNAPSHOT_INTERVAL_S, self._refresh_metadata)
        self._run(self._finish_capture)

    def _run(self, first: Callable[[], None]) -> None:
        self._sink = self._recorder
        self._recorder.every(1.0, self._follow)
        self._recorder.start(first)

    def _follow(self) -> None:
        """Go where the folder was moved to; say so, and also when it is gone."""
        with self._following:
            logs_dir = self._recorder.follow()
            before = self._exp_dir
            if logs_dir is None:
                if not self._astray:
                    self._astray = True
                    tell(f"{before}: the folder was removed; training goes on, but what it records is lost with it")
            elif logs_dir != before / folders.LOGS:
                self._exp_dir = logs_dir.parent
                self._former.append(before)
                tell(f"{before} was moved to {logs_dir.parent}; recording goes on there")

    def _place(self) -> Path:
        """Return the folder as it lies at this moment, for something to be written to it; takes 10 µs.

        Raises:
            StoreError: it was removed; what lies there now is somebody else's.
        """
        self._follow()
        if self._astray:
            raise StoreError(f"{self._exp_dir}: the experiment's folder was removed")
        return self._exp_dir

    def _now_at(self, path: str | os.PathLike[str]) -> str | os.PathLike[str]:
        """Return where a file is now that was put into the experiment's folder before that was moved."""
        for former in self._former if isinstance(path, str | os.PathLike) else ():
            inside = os.path.relpath(os.fsdecode(path), former)
            if not inside.startswith("..") and not os.path.lexists(path):
                return self._exp_dir / inside
        return path

    def _finish_capture(self) -> None:
        """Complete the record of code, randomness and environment; on the background thread."""
        self._follow()
        if self._capture is not None and self._astray:
            self._capture.abandon()
        elif self._capture is not None:
            self._capture.finish(self._exp_dir)
            if self._state == "running":  # else the end is waiting, and writes it itself
                guard(self._refresh_metadata, "writing metadata.json")

    def _follow_capture(self) -> None:
        if self._capture is not None and not self._astray:
            self._capture.follow(self._exp_dir)

    def _log_system(self, sampler: SystemSampler) -> None:
        sample = sampler.sample()
        if sample:
            self._recorder.log_metrics(sample, None, None, SYSTEM_CONTEXT)

    def end(self, status: Status = "completed", reason: str = "") -> None:
        """End the experiment: everything recorded is put on the disk, sealed, and entered in the catalog.

        One of more than 10,000 series is entered by whoever asks the catalog next. Ending twice does nothing. Failures
        of the disk are told as warnings: what was recorded stays readable.

        Args:
            status: ``completed``, ``failed`` or ``killed``.
            reason: why, in a line.

        Raises:
            InputError: another status.
            StateError: it was never started.
        """
        if status not in ENDED:
            raise InputError(f"status: expected {', '.join(sorted(ENDED))}, got {status!r}")
        if self._state == "pending":
            raise StateError(f"{self.experiment_id} was not started; {self._remedy()}")
        if self._state == "running":
            with uninterrupted():
                self._end(status, reason, capture_s=TIMEOUT_S)

    def _end(self, status: Status, reason: str, capture_s: float) -> None:
        self._state = "ended"
        if self._pid != os.getpid():  # it has logged nothing: what else there is belongs to another process
            self._sink = _Refusing(self._why_not)
            return
        unwatch(self)
        if self._console is not None:
            guard(self._console.stop, "the copy of the console")
        self._recorder.stop_thread(capture_s)
        self._sink = _Refusing(self._why_not)
        guard(self._follow, "looking for the folder")
        if self._capture is not None and not self._astray:
            guard(self._complete_capture, "completing the record of code and inputs")
        if self._owner:
            duration_s = time.monotonic() - self._began_s
            self._event("status", status=status, reason=mask_text(reason), duration_s=duration_s)
        guard(self._follow, "looking for the folder")
        self._enters &= self._recorder.n_series <= _ENTERED_SERIES
        self._recorder.close()
        if not self._astray:
            guard(self._settle, "sealing")

    def _complete_capture(self) -> None:
        if self._capture is not None:
            self._capture.complete(self._exp_dir, {dataset["path"] for dataset in self.info.datasets})

    def _captured(self, kind: str, **values: Any) -> None:
        """Record what was found out; what would be run again is signed before, so that a kill leaves none unsigned."""
        if kind == "code" or "packages" in values.get("environment", ()):
            guard(lambda: self._sign(**values), "signing the record")
        self._event(kind, **values)

    def _sign(self, code: dict[str, Any] | None = None, environment: Mapping[str, Any] | None = None) -> None:
        from frameworm.experiment.provenance.signature import sign

        info = self._fold.info(self._exp_dir)
        known = {**info.environment, **(environment or {})}
        sign(self._exp_dir, replace(info, environment=known, code=info.code if code is None else code))

    def _settle(self) -> None:
        """Seal what nobody writes any more; refresh the snapshot and the catalog."""
        from frameworm.experiment.query.enter import enter
        from frameworm.experiment.recording.journal import WriterName, sync_file
        from frameworm.experiment.recording.liveness import is_alive
        from frameworm.experiment.recording.seal import seal

        closed = [self._recorder.name]
        journals = [n for n in map(WriterName.parse, os.listdir(self.log_dir)) if n is not None and n not in closed]
        if journals:
            now = time.time_ns() // 1_000_000
            for writer in open_reader(self._exp_dir).info.writers:
                name = WriterName.parse(writer["journal"])
                gone = writer["closed"] or not is_alive(writer, (now - writer["heartbeat_ms"]) / 1000)
                if name in journals and gone and (self.log_dir / name.journal).exists():
                    closed.append(name)
        for name in closed:
            guard(lambda name=name: seal(self.log_dir, name), f"sealing {name.journal}")  # type: ignore[misc]
            if (journal := self.log_dir / name.journal).exists():
                guard(lambda journal=journal: sync_file(journal), f"putting {journal} on the disk")  # type: ignore[misc]
        reader = open_reader(self._exp_dir)
        self._fold = reader.fold()
        if self._owner or reader.info.status in ENDED:
            if journals:  # others may have changed it; what this process changed is there
                folders.write_config(self._exp_dir, reader.info.config)
            folders.write_metadata(self._exp_dir, reader.info)
            if self._enters:
                enter(self._exp_dir)

    def __enter__(self) -> Self:
        if self._state == "running":
            return self
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state == "running":
            self.on_exit(ending_of(error))

    def on_exit(self, ending: Ending) -> None:
        """End so; at the exit of the interpreter called for you."""
        if self._state != "running":
            return
        if ending.traceback and not self._inherited:  # what ends a child does not end the experiment
            guard(lambda: self._keep_traceback(ending.traceback), "keeping the traceback")
        self.end(ending.status, ending.reason)

    def _keep_traceback(self, text: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW  # a FIFO waits
        descriptor = os.open(self._place() / folders.LOGS / "traceback.txt", flags, 0o666)
        with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(mask_text(text))

    def on_signal(self, name: str) -> None:
        """End as killed, quickly: a second, deadlier signal often follows; called for you.

        It is not entered in the catalog, which takes as long as all the rest: whoever lists next, enters it.
        """
        if self._state == "running":
            self._enters = False
            self._end("killed", f"received {name}", capture_s=0.5)

    def on_fork(self) -> None:
        """Leave the parent's journal alone in a forked child; its first log opens one of its own."""
        self._recorder.abandon()
        self._inherited = True
        self._joining, self._following = threading.Lock(), threading.RLock()
        if self._state == "running":
            self._owner = False
            self._sink = _Refusing(self._rejoin)

    def _rejoin(self) -> Recorder:
        """Give a process that inherited or received it a journal of its own; called at its first log."""
        with self._joining:
            if self._pid != os.getpid():
                self._console = self._capture = None
                self._join(self._exp_dir, open_reader(self._exp_dir))
                self._pid = os.getpid()
        return self._recorder

    def _why_not(self) -> Recorder:
        raise StateError(f"{self.experiment_id} is {self.status} and records nothing; {self._remedy()}")

    def _remedy(self) -> str:
        if self._state == "pending":
            return "begin with `with exp:` or exp.start()"
        if self._state == "running":
            return "it needs no second start"
        if self._state == "gone":
            return f"it is not in {self._exp_dir} any more; Experiment.attach or resume with the root_dir where it lies"
        return f"Experiment.resume({self.experiment_id!r}, …) goes on with it"

    # ------------------------------------------------------------------------------------------ events

    def _editable(self) -> Recorder:
        """Return the recorder: config, tags and notes can also be set before the start."""
        return self._recorder if self._state == "pending" else self._sink.ready()

    def _event(self, kind: str, **values: Any) -> None:
        self._apply(self._recorder.event(kind, **values))

    def _apply(self, event: dict[str, Any]) -> None:
        self._fold.apply(event)
        self._changed = True

    def _refresh_metadata(self) -> None:
        if self._changed and not self._astray:
            self._changed = False
            try:
                place = self._place()
                folders.write_metadata(place, self._fold.info(place))
            except (FileNotFoundError, StoreError):  # it was moved or removed this moment
                self._changed = True

    # -------------------------------------------------------------------------------------- attributes

    @property
    def info(self) -> ExperimentInfo:
        """Everything known of this experiment but its points, as this process sees it."""
        return self._fold.info(self._exp_dir)

    @property
    def experiment_id(self) -> str:
        """``exp_001`` and so on; unique in its root."""
        return self.info.experiment_id

    @property
    def uid(self) -> str:
        """UUIDv7, 32 hex digits; unique everywhere."""
        return self.info.uid

    @property
    def name(self) -> str:
        """What people call it."""
        return self.info.name

    @property
    def project(self) -> str:
        """Named group it belongs to."""
        return self.info.project

    @property
    def description(self) -> str:
        """Free text."""
        return self.info.description

    @property
    def config(self) -> dict[str, Any]:
        """The config as it is stored; change it with ``log_config`` or ``update_config``."""
        return self.info.config

    @property
    def tags(self) -> list[str]:
        """Words to filter by."""
        return list(self.info.tags)

    @property
    def status(self) -> Status:
        """``pending``, ``running``, ``completed``, ``failed`` or ``killed``."""
        return self.info.status

    @property
    def exp_dir(self) -> Path:
        """Folder of the experiment."""
        return self._exp_dir

    @property
    def checkpoint_dir(self) -> Path:
        """Folder for model checkpoints."""
        if self._state == "running" and self._pid == os.getpid():
            guard(self._follow, "looking for the folder")
        return self._exp_dir / folders.CHECKPOINTS

    @property
    def log_dir(self) -> Path:
        """Folder of journals, segments, console and traceback."""
        return self._exp_dir / folders.LOGS

    @property
    def artifact_dir(self) -> Path:
        """Folder of logged files."""
        return self._exp_dir / folders.ARTIFACTS

    @property
    def provenance_dir(self) -> Path:
        """Folder of the uncommitted diff and the list of packages."""
        return self._exp_dir / folders.PROVENANCE

    @property
    def start_time(self) -> datetime | None:
        """When it started, UTC; None before."""
        return _time(self.info.started_ms)

    @property
    def end_time(self) -> datetime | None:
        """When it ended, UTC; None before."""
        return _time(self.info.ended_ms)

    @property
    def refused_values(self) -> int:
        """How many metric values were left out because they were no numbers."""
        return 0 if self._pid == 0 else self._recorder.refused_values

    def __repr__(self) -> str:
        return f"<Experiment {self.experiment_id} {self.name!r} {self.status} in {self._exp_dir}>"


class _Refusing:
    """Stands where the recorder would while nothing can be recorded: asks ``ready`` for one, which may raise."""

    def __init__(self, ready: Callable[[], Recorder]) -> None:
        self.ready = ready

    def log_metric(self, *arguments: Any) -> None:
        self.ready().log_metric(*arguments)

    def log_metrics(self, *arguments: Any) -> None:
        self.ready().log_metrics(*arguments)


def open_reader(exp_dir: Path) -> ExperimentReader:
    """Return a reader of an experiment, having told of what is damaged."""
    from frameworm.experiment.query.read import ExperimentReader

    reader = ExperimentReader(exp_dir)
    for damage in reader.damage:
        tell(f"{damage}; the rest is read")
    return reader


def _time(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)
