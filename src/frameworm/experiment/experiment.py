"""``Experiment``: the write side. One tracked execution, recorded as it runs."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from frameworm.experiment.config import normalize_config
from frameworm.experiment.errors import InputError, StateError, StoreError, tell
from frameworm.experiment.model import ENDED, SYSTEM_CONTEXT, Artifact, ExperimentInfo, SeriesKey, Status
from frameworm.experiment.provenance.environment import capture_quick, capture_slow, write_requirements
from frameworm.experiment.provenance.git import GitCapture
from frameworm.experiment.recording.console import ConsoleCapture
from frameworm.experiment.recording.fold import Fold
from frameworm.experiment.recording.liveness import identity
from frameworm.experiment.recording.process import uninterrupted, unwatch, watch
from frameworm.experiment.recording.recorder import Recorder, guard
from frameworm.experiment.recording.system import SystemSampler
from frameworm.experiment.secrets import mask_config
from frameworm.experiment.storage import folder as folders
from frameworm.experiment.storage.artifacts import store_artifact

if TYPE_CHECKING:
    from frameworm.experiment.query.read import ExperimentReader

__all__ = ["Experiment"]

_SNAPSHOT_INTERVAL_S = 2.0
_CAPTURE_TIMEOUT_S = 20.0


class Experiment:
    """One tracked execution: its config, metrics, artifacts, code version and environment.

    Use it as a context manager; leaving the block ends the experiment as ``completed``, ``failed`` (an exception)
    or ``killed`` (interrupted)::

        with Experiment(name="my-experiment", config={"training": {"lr": 0.001}}, tags=["vae"]) as exp:
            exp.log_metric("loss", 0.42, step=1)

    ``start()`` and ``end()`` do the same without a block. Any thread may log; a forked child that logs gets a
    journal of its own. What a ``log_*`` call has recorded when it returns survives the death of the process, what
    was recorded before ``flush()`` returns survives a power cut. Trouble with the disk warns
    (``FramewormWarning``) and never raises from ``log_*``; misuse of a call raises at the call.

    Args:
        name: what people call it; need not be unique.
        config: dict or other Mapping, dataclass, pydantic or attrs object, OmegaConf, argparse.Namespace, an object
            with ``to_dict()``, or the path of a YAML, JSON or TOML file. Values that look secret are masked.
        description: free text.
        tags: words to filter by.
        root_dir: the folder of all experiments; made if missing.
        project: named group of experiments.
        strict: raise ``MetricError`` for a metric value that is no number, instead of warning once and counting.
        capture_console: copy stdout and stderr to ``logs/console.log``.
        system_metrics_s: seconds between samples of CPU, memory, disk, network and GPU; 0 for none.

    Raises:
        ConfigError: the config cannot be stored.
        InputError: another argument is not allowed.
        StoreError: ``root_dir`` cannot be written.
    """

    def __init__(
        self,
        name: str,
        config: Any = None,
        description: str = "",
        tags: Iterable[str] = (),
        root_dir: str | os.PathLike[str] = "experiments",
        *,
        project: str = "default",
        strict: bool = False,
        capture_console: bool = True,
        system_metrics_s: float = 15.0,
    ) -> None:
        _checked_text(name, "name")
        _checked_text(description, "description", lines=True)
        _checked_text(project, "project")
        checked_tags = _checked_tags(tags)
        record = normalize_config(config)
        uid = _uuid7()
        self._prepare(capture_console=capture_console, system_metrics_s=system_metrics_s)

        def fill(experiment_id: str, making: Path) -> None:
            self._recorder = Recorder(making / folders.LOGS, {**identity(), "role": "owner", "uid": uid}, strict=strict)
            self._exp_dir = making
            self._event(
                "create",
                experiment_id=experiment_id,
                uid=uid,
                name=name,
                project=project,
                description=description,
            )
            self._event("status", status="pending", duration_s=0.0)
            self._event("config", config=mask_config(record.config), lossy=list(record.lossy), merge=False)
            self._event("tags", tags=checked_tags)
            folders.write_config(making, self.config)
            folders.write_metadata(making, self._fold.info(making))

        _, self._exp_dir = folders.create_folder(Path(root_dir), name, fill)
        self._exp_dir = self._exp_dir.absolute()
        self._recorder.moved(self.log_dir)

    def _prepare(self, *, capture_console: bool, system_metrics_s: float) -> None:
        """Set what every way of getting an experiment starts from."""
        if not system_metrics_s >= 0:
            raise InputError(f"system_metrics_s: expected seconds, 0 for none, got {system_metrics_s!r}")
        self._fold = Fold()
        self._owner = True
        self._pid = os.getpid()
        self._console: ConsoleCapture | None = None
        self._capture_console = capture_console
        self._system_metrics_s = system_metrics_s
        self._changed = False
        self._began_s = 0.0
        self._sink: Recorder | _Refusing = _Refusing(self._why_not)
        self._state = "pending"

    @classmethod
    def attach(
        cls, experiment_id: str, root_dir: str | os.PathLike[str] = "experiments", *, strict: bool = False
    ) -> Experiment:
        """Log to an experiment that another process, or another rank, has open.

        Ending an attached experiment, or leaving its block, only ends this process's part; its status stays with
        the process that started it. Steps that are not given count from 0 in each process.

        Raises:
            ExperimentNotFoundError: no experiment of that id in ``root_dir``.
            StateError: the experiment has ended.
        """
        exp_dir = folders.find_folder(Path(root_dir), experiment_id).absolute()
        reader = _reader(exp_dir)
        if reader.info.status in ENDED:
            raise StateError(
                f"{experiment_id} has ended ({reader.info.status}); "
                f"Experiment.resume({experiment_id!r}, …) goes on with it"
            )
        self = cls.__new__(cls)
        self._prepare(capture_console=False, system_metrics_s=0.0)
        self._attach(exp_dir, reader, strict=strict)
        self._run(lambda: None)
        return self

    def _attach(self, exp_dir: Path, reader: ExperimentReader, *, strict: bool) -> None:
        self._owner = False
        self._exp_dir = exp_dir
        self._fold = reader.fold()
        self._recorder = Recorder(self.log_dir, {**identity(), "role": "attached"}, strict=strict)
        self._state = "running"

    @classmethod
    def resume(
        cls,
        experiment_id: str,
        root_dir: str | os.PathLike[str] = "experiments",
        *,
        strict: bool = False,
        capture_console: bool = True,
        system_metrics_s: float = 15.0,
    ) -> Experiment:
        """Go on with an experiment that ended, was killed or crashed; it runs when this returns.

        Steps that are not given count on from the last recorded one. What was recorded stays.

        Raises:
            ExperimentNotFoundError: no experiment of that id in ``root_dir``.
            StateError: it is still running.
        """
        exp_dir = folders.find_folder(Path(root_dir), experiment_id).absolute()
        reader = _reader(exp_dir)
        if reader.info.status == "running":
            raise StateError(f"{experiment_id} is running; Experiment.attach({experiment_id!r}, …) logs to it as well")
        self = cls.__new__(cls)
        self._prepare(capture_console=capture_console, system_metrics_s=system_metrics_s)
        self._exp_dir = exp_dir
        self._fold = reader.fold()
        next_steps = {SeriesKey(s.name, s.context): s.last_step + 1 for s in reader.summaries()}
        self._recorder = Recorder(self.log_dir, {**identity(), "role": "owner"}, next_steps=next_steps, strict=strict)
        if reader.info.status in ENDED:
            guard(self._doubt_catalog, "telling the catalog of the resumption")
        return self.start()

    def _doubt_catalog(self) -> None:
        """Have readers look into the folder again, which the catalog takes for ended."""
        from frameworm.experiment.storage.catalog import Catalog

        Catalog.open(self._exp_dir.parent).mark_stale(self.experiment_id)

    # ------------------------------------------------------------------------------------ start and end

    def start(self) -> Experiment:
        """Begin recording: status ``running``; code version, environment and console are captured from here on.

        Raises:
            StateError: it is running already, or has ended.
        """
        if self._state != "pending":
            raise StateError(f"{self.experiment_id} cannot start: it is {self.status}; {self._remedy()}")
        self._began_s = time.monotonic()
        git = GitCapture.launch(_working_folder(), self.provenance_dir)
        self._event("status", status="running")
        self._event("environment", environment=capture_quick())
        self._state = "running"
        if self._capture_console:
            self._console = ConsoleCapture(self.log_dir / "console.log")
            self._console.start()
            self._recorder.every(1.0, self._console.flush)
        if self._system_metrics_s:
            sampler = SystemSampler(self._exp_dir)
            self._recorder.every(self._system_metrics_s, lambda: self._log_system(sampler))
        self._recorder.every(_SNAPSHOT_INTERVAL_S, self._refresh_metadata)
        self._run(lambda: self._capture(git))
        return self

    def _run(self, first: Callable[[], None]) -> None:
        self._sink = self._recorder
        self._recorder.start(first)
        watch(self)

    def _capture(self, git: GitCapture) -> None:
        """Complete the record of code and environment; on the background thread."""
        guard(lambda: self._event("git", git=git.collect(_CAPTURE_TIMEOUT_S)), "capturing the git state")
        guard(self._capture_environment, "capturing the environment")
        guard(self._refresh_metadata, "writing metadata.json")

    def _capture_environment(self) -> None:
        slow = capture_slow()
        write_requirements(self.provenance_dir, slow["packages"], slow["package_sources"])
        self._event("environment", environment=slow)

    def _log_system(self, sampler: SystemSampler) -> None:
        sample = sampler.sample()
        if sample:
            self._recorder.log_metrics(sample, None, None, SYSTEM_CONTEXT)

    def end(self, status: Status = "completed", reason: str = "") -> None:
        """End the experiment: everything recorded is put on the disk, sealed, and entered in the catalog.

        Ending twice does nothing. Failures of the disk are told as warnings: what was recorded stays readable.

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
                self._end(status, reason, capture_s=_CAPTURE_TIMEOUT_S)

    def _end(self, status: Status, reason: str, capture_s: float) -> None:
        self._state = "ended"
        unwatch(self)
        if self._console is not None:
            guard(self._console.stop, "the copy of the console")
        self._recorder.stop_thread(capture_s)
        self._sink = _Refusing(self._why_not)
        if self._owner:
            duration_s = time.monotonic() - self._began_s
            self._event("status", status=status, reason=reason, duration_s=duration_s)
        guard(self._recorder.sync, "putting the journal on the disk")
        self._recorder.close()
        guard(self._settle, "sealing")

    def _settle(self) -> None:
        """Seal what nobody writes any more; refresh the snapshot and the catalog."""
        from frameworm.experiment.recording.journal import WriterName
        from frameworm.experiment.recording.liveness import is_alive
        from frameworm.experiment.recording.seal import seal

        reader = _reader(self._exp_dir)
        now = time.time_ns() // 1_000_000
        for writer in reader.info.writers:
            name = WriterName.parse(writer["journal"])
            gone = writer["closed"] or not is_alive(writer, (now - writer["heartbeat_ms"]) / 1000)
            if name is not None and gone and (self.log_dir / name.journal).exists():
                guard(lambda name=name: seal(self.log_dir, name), f"sealing {name.journal}")  # type: ignore[misc]
        reader = _reader(self._exp_dir)
        self._fold = reader.fold()
        if self._owner or reader.info.status in ENDED:
            folders.write_config(self._exp_dir, reader.info.config)
            folders.write_metadata(self._exp_dir, reader.info)
            self._enter_in_catalog(reader)

    def _enter_in_catalog(self, reader: ExperimentReader) -> None:
        from frameworm.experiment.storage.catalog import Catalog, CatalogUnavailableError
        from frameworm.experiment.storage.schema import is_stale

        try:
            catalog = Catalog.open(self._exp_dir.parent)
            catalog.upsert(reader.info, reader.summaries(), stale=is_stale(reader.info))
        except CatalogUnavailableError:
            # Locked for long, or read-only. Nothing is lost: who lists next finds the folder and enters it.
            pass

    def __enter__(self) -> Experiment:
        if self._state == "running":
            return self
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state != "running":
            return
        status, reason = _outcome(error)
        if status == "failed" and error is not None:
            guard(lambda: self._keep_traceback(error), "keeping the traceback")
        self.end(status, reason)

    def _keep_traceback(self, error: BaseException) -> None:
        from frameworm.experiment.secrets import mask_text

        text = "".join(traceback.format_exception(error))
        with open(self.log_dir / "traceback.txt", "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(mask_text(text))

    def on_exit(self, failure: BaseException | None) -> None:
        """End at interpreter exit, as failed if an exception was not caught; called for you."""
        if failure is not None:
            guard(lambda: self._keep_traceback(failure), "keeping the traceback")
        self.end(*_outcome(failure))

    def on_signal(self, name: str) -> None:
        """End as killed, quickly: a second, deadlier signal often follows; called for you."""
        if self._state == "running":
            self._end("killed", f"received {name}", capture_s=0.5)

    def on_fork(self) -> None:
        """Leave the parent's journal alone in a forked child; its first log opens one of its own."""
        self._recorder.abandon()
        if self._state == "running":
            self._owner = False
            self._sink = _Refusing(self._reopen)

    def _reopen(self) -> Recorder:
        """Give a forked child its own journal; called at its first log."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._console = None
            self._attach(self._exp_dir, _reader(self._exp_dir), strict=self._recorder.strict)
            self._run(lambda: None)
        return self._recorder

    def _why_not(self) -> Recorder:
        raise StateError(f"{self.experiment_id} is {self.status} and records nothing; {self._remedy()}")

    def _remedy(self) -> str:
        if self._state == "pending":
            return "begin with `with exp:` or exp.start()"
        if self._state == "running":
            return "it needs no second start"
        return f"Experiment.resume({self.experiment_id!r}, …) goes on with it"

    # ---------------------------------------------------------------------------------------- logging

    def log_metric(
        self,
        name: str,
        value: Any,
        step: int | None = None,
        epoch: int | None = None,
        metric_type: str = "train",
    ) -> None:
        """Record one point of a metric, in about a microsecond.

        Args:
            name: the metric; ``/`` makes sections.
            value: a number, or a 0-d array or tensor; kept as float64, NaN and infinities bit for bit.
            step: int64; if left out, one more than the series' last step, from 0.
            epoch: int32, kept beside the step.
            metric_type: the context: train, val, test, or any other word.

        Raises:
            MetricError: name, step, epoch or metric_type is not allowed; with ``strict`` also the value.
            StateError: the experiment is not running.
        """
        self._sink.log_metric(name, value, step, epoch, metric_type)

    def log_metrics(
        self,
        metrics: Mapping[str, Any],
        step: int | None = None,
        epoch: int | None = None,
        metric_type: str = "train",
    ) -> None:
        """Record one point of each of several metrics with one write.

        Nested dicts become names joined by ``/``. A value that is no number is left out with a warning; the others
        are recorded.

        Args:
            metrics: name to value, as in ``log_metric``.
            step: for all of them; if left out, each series counts on by itself.
            epoch: int32, kept beside the step.
            metric_type: the context.

        Raises:
            MetricError: a name, step, epoch or metric_type is not allowed; with ``strict`` also a value.
            StateError: the experiment is not running.
        """
        self._sink.log_metrics(metrics, step, epoch, metric_type)

    def log_artifact(
        self, path: str | os.PathLike[str], artifact_type: str = "file", artifact_name: str | None = None
    ) -> list[Artifact]:
        """Copy a file, or every file of a directory, into the experiment.

        A name that was logged before gets a new version; earlier ones stay.

        Args:
            path: file or directory.
            artifact_type: free word: model, plot, data, …
            artifact_name: name to store it under, ``/`` for folders; by default the last part of ``path``.

        Returns:
            what was stored, one entry a file; nothing, with a warning, when the disk refuses.

        Raises:
            ArtifactError: missing, not a regular file, an unsafe name, or changing while it was copied.
            StateError: the experiment is not running.
        """
        recorder = self._sink.ready()
        _checked_text(artifact_type, "artifact_type")
        try:
            stored = store_artifact(
                path,
                self.artifact_dir,
                name=artifact_name,
                artifact_type=artifact_type,
                existing=self._fold.info(self._exp_dir).artifacts,
            )
        except StoreError as error:
            tell(f"artifact {os.fspath(path)!r} was not stored: {error}; training goes on")
            return []
        for artifact in stored:
            self._apply(recorder.event("artifact", **asdict(artifact)))
        return stored

    def log_config(self, config: Any) -> None:
        """Replace the config; takes what the constructor takes.

        Raises:
            ConfigError: the config cannot be stored.
            StateError: the experiment has ended.
        """
        self._set_config(config, merge=False)

    def update_config(self, config: Any) -> None:
        """Merge values into the config; keys may be dotted (``{"training.lr": 0.1}``).

        Raises:
            ConfigError: the config cannot be stored.
            StateError: the experiment has ended.
        """
        self._set_config(config, merge=True)

    def _set_config(self, config: Any, *, merge: bool) -> None:
        recorder = self._editable()
        record = normalize_config(config)
        masked = mask_config(record.config)
        self._apply(recorder.event("config", config=masked, lossy=list(record.lossy), merge=merge))
        guard(lambda: folders.write_config(self._exp_dir, self.config), "writing config.yaml")

    def set_tags(self, tags: Iterable[str]) -> None:
        """Replace the tags.

        Raises:
            InputError: a tag is not allowed.
            StateError: the experiment has ended.
        """
        self._apply(self._editable().event("tags", tags=_checked_tags(tags)))

    def add_note(self, text: str) -> None:
        """Add a note, kept with its time.

        Raises:
            InputError: not a str.
            StateError: the experiment has ended.
        """
        self._apply(self._editable().event("note", text=_checked_text(text, "note", lines=True)))

    def flush(self) -> None:
        """Put everything recorded so far on the disk; it survives a power cut when this returns.

        Raises:
            OSError: the disk refused.
            StateError: the experiment is not running.
        """
        self._sink.ready().sync()
        if self._console is not None:
            self._console.flush()

    def get_metrics(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return recorded points, of all processes, as dicts.

        Args:
            name: one metric; by default all but the system's.

        Returns:
            dicts of ``metric_name, metric_value, step, epoch, metric_type, timestamp``; series by series, each in
            arrival order; epoch None if none was given; timestamp in UTC.

        Raises:
            MetricNotFoundError: no metric of that name.
        """
        from frameworm.experiment.model import NO_EPOCH

        reader = _reader(self._exp_dir)
        if name is None:
            keys = [key for key in reader.keys() if key.context != SYSTEM_CONTEXT]
        else:
            keys = [SeriesKey(name, context) for context in reader.contexts(name)]
        rows = []
        for key in keys:
            points = reader.read(*key)
            columns = (points.values, points.steps, points.epochs, points.times_ms)
            for value, step, epoch, time_ms in zip(*(column.tolist() for column in columns), strict=True):
                rows.append(
                    {
                        "metric_name": key.name,
                        "metric_value": value,
                        "step": step,
                        "epoch": None if epoch == NO_EPOCH else epoch,
                        "metric_type": key.context,
                        "timestamp": datetime.fromtimestamp(time_ms / 1000, UTC),
                    }
                )
        return rows

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
        if self._changed:
            self._changed = False
            folders.write_metadata(self._exp_dir, self._fold.info(self._exp_dir))

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
        return self._recorder.refused_values

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


def _reader(exp_dir: Path) -> ExperimentReader:
    from frameworm.experiment.query.read import ExperimentReader

    reader = ExperimentReader(exp_dir)
    for damage in reader.damage:
        tell(f"{damage}; the rest is read")
    return reader


def _working_folder() -> Path:
    """Return where the process runs; the root folder should that have been removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def _outcome(error: BaseException | None) -> tuple[Status, str]:
    """Return the status and reason with which a block ends that ``error`` leaves."""
    if error is None or (isinstance(error, SystemExit) and not error.code) or isinstance(error, GeneratorExit):
        return "completed", ""
    reason = traceback.format_exception_only(error)[-1].strip()[:500]
    return ("killed" if isinstance(error, KeyboardInterrupt) else "failed"), reason


def _time(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)


def _uuid7() -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix ms, then random bits."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"{number:032x}"


def _checked_text(text: Any, what: str, *, lines: bool = False) -> str:
    """Return the text.

    Raises:
        InputError: not a str, or with a character that cannot be kept.
    """
    if not isinstance(text, str):
        raise InputError(f"{what}: expected a str, got {type(text).__name__} {text!r:.80}")
    bad = next((c for c in text if c == "\0" or (c in "\r\n" and not lines) or "\ud800" <= c <= "\udfff"), None)
    if bad is not None:
        raise InputError(f"{what} {text!r:.80}: the character {bad!r} cannot be kept; remove it")
    return text


def _checked_tags(tags: Any) -> list[str]:
    """Return the tags without repetitions; one str is one tag.

    Raises:
        InputError: not strings, or one is empty.
    """
    if isinstance(tags, str):
        tags = [tags]
    if not isinstance(tags, Iterable):
        raise InputError(f"tags: expected strings, got {type(tags).__name__} {tags!r:.80}")
    checked = [_checked_text(tag, "tag") for tag in tags]
    if "" in checked:
        raise InputError("tags: expected words, got an empty str; leave it out")
    return list(dict.fromkeys(checked))
