"""``Experiment``: the write side. One tracked execution, recorded as it runs."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from frameworm.experiment.config import merge, normalize_config
from frameworm.experiment.errors import ArtifactError, InputError, StateError, StoreError, tell
from frameworm.experiment.media import MediaLog
from frameworm.experiment.model import ENDED, SYSTEM_CONTEXT, Artifact, SeriesKey
from frameworm.experiment.provenance import reads
from frameworm.experiment.provenance.plan import current_plan, folder_of
from frameworm.experiment.recording.liveness import identity
from frameworm.experiment.recording.process import watched
from frameworm.experiment.recording.recorder import Recorder, guard
from frameworm.experiment.secrets import mask_config
from frameworm.experiment.session import open_reader
from frameworm.experiment.storage import folder as folders
from frameworm.experiment.storage.artifacts import store_artifact
from frameworm.experiment.texts import checked_tags, checked_text

__all__ = ["Experiment"]

_SNAPSHOT_INTERVAL_S = 2.0
_CAPTURE_TIMEOUT_S = 20.0

reads.watch()  # from here on: programs read their settings and data before they start an experiment
_made = itertools.count()  # numbers the experiments that this process makes


class Experiment(MediaLog):
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
        record_inputs: at the end, record fingerprints of the files that Python code opened for reading meanwhile, as
            ``log_dataset`` would.

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
        record_inputs: bool = False,
    ) -> None:
        checked_text(name, "name")
        description = checked_text(description, "description", lines=True)
        checked_text(project, "project")
        words = checked_tags(tags)
        record = normalize_config(config)
        uid = _uuid7()
        self._prepare(strict=strict, capture_console=capture_console, system_metrics_s=system_metrics_s)
        self._record_inputs = record_inputs
        self._ordinal = next(_made)
        plan = current_plan()
        if plan is not None and plan.ordinal == self._ordinal and not plan.is_made():
            self._plan = plan
            root_dir = plan.root_dir
            record = normalize_config(merge(record.config, normalize_config(plan.settings).config))
        elif plan is not None:
            root_dir = plan.scratch_dir

        origin = self._origin

        def fill(experiment_id: str, making: Path) -> None:
            self._recorder = Recorder(
                making / folders.LOGS,
                {**identity(), "role": "owner", "uid": uid},
                next_steps=None if origin is None else origin.next_steps,
                strict=strict,
            )
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
            if origin is not None:
                self._event("config", config=origin.config, lossy=origin.lossy_params, merge=False)
            masked = mask_config(record.config)
            self._event("config", config=masked, lossy=list(record.lossy), merge=origin is not None)
            self._event("tags", tags=words)
            if self._plan is not None:
                self._event("parent", parent={**self._plan.parent, **({"fork": origin.parent} if origin else {})})
            elif origin is not None:
                self._event("parent", parent=origin.parent)
            folders.write_config(making, self.config)
            folders.write_metadata(making, self._fold.info(making))

        _, self._exp_dir = folders.create_folder(Path(root_dir), name, fill)
        self._exp_dir = self._exp_dir.absolute()
        if plan is not None:
            plan.note(self.experiment_id, self._exp_dir, own=self._plan is not None)
        self._recorder.moved(self.log_dir)

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
        exp_dir = folder_of(experiment_id, root_dir, write=True)
        reader = open_reader(exp_dir)
        if reader.info.status in ENDED:
            raise StateError(
                f"{experiment_id} has ended ({reader.info.status}); "
                f"Experiment.resume({experiment_id!r}, …) goes on with it"
            )
        self = cls.__new__(cls)
        self._prepare(strict=strict, capture_console=False, system_metrics_s=0.0)
        self._join(exp_dir, reader)
        return self

    @classmethod
    def resume(
        cls,
        experiment_id: str,
        root_dir: str | os.PathLike[str] = "experiments",
        *,
        step: int | None = None,
        strict: bool = False,
        capture_console: bool = True,
        system_metrics_s: float = 15.0,
    ) -> Experiment:
        """Go on with an experiment that ended, was killed or crashed; it runs when this returns.

        Steps that are not given count on from the last recorded one. What was recorded stays.

        Args:
            experiment_id: the experiment.
            root_dir: its root.
            step: rewind: the last step that counts. Points past it, logged so far, are left out of everything that
                is shown; they stay in the files, and ``ExperimentManager.reader(id, own=True)`` reads them. The
                system's metrics are not rewound.
            strict: as for ``Experiment``, and so for what follows.
            capture_console: the same.
            system_metrics_s: the same.

        Raises:
            ExperimentNotFoundError: no experiment of that id in ``root_dir``.
            InputError: the step is no 64-bit integer.
            StateError: it is still running.
        """
        exp_dir = folder_of(experiment_id, root_dir, write=True)
        reader = open_reader(exp_dir)
        if reader.info.status == "running":
            raise StateError(f"{experiment_id} is running; Experiment.attach({experiment_id!r}, …) logs to it as well")
        from frameworm.experiment.query.lineage import checked_step, next_steps

        kept = reader if step is None else reader.until(step := checked_step(step), inherited=False)
        counters = next_steps(kept.summaries())
        self = cls.__new__(cls)
        self._prepare(strict=strict, capture_console=capture_console, system_metrics_s=system_metrics_s)
        self._exp_dir = exp_dir
        self._fold = reader.fold()
        self._recorder = Recorder(self.log_dir, {**identity(), "role": "owner"}, next_steps=counters, strict=strict)
        if step is not None:
            self._event("rewind", step=step)
        if reader.info.status in ENDED:
            guard(self._doubt_catalog, "telling the catalog of the resumption")
        return self.start()

    @classmethod
    def fork(
        cls,
        experiment_id: str,
        root_dir: str | os.PathLike[str] = "experiments",
        *,
        step: int,
        name: str | None = None,
        config: Any = None,
        description: str = "",
        tags: Iterable[str] = (),
        project: str | None = None,
        strict: bool = False,
        capture_console: bool = True,
        system_metrics_s: float = 15.0,
        record_inputs: bool = False,
    ) -> Experiment:
        """Make a new experiment that goes on from a step of another one, which stays as it is.

        Readers and figures show the whole line: the points of the other up to the step, the step included, and then
        the fork's own. Nothing is copied: the points are read from the other's folder, whatever it is renamed to.
        Steps that are not given count on from the last inherited one. The system's metrics are not inherited, nor
        are artifacts, checkpoints, notes and tags.

            with Experiment.fork("exp_001", step=5000, config={"training.lr": 1e-4}) as exp:
                exp.log_metric("loss", 0.3, step=5001)

        The other may be running: what it still logs at or before the step is inherited too. It may be a fork itself,
        and may be rewound later: that changes nothing here.

        Args:
            experiment_id: the experiment to fork.
            root_dir: the folder of both.
            step: the last step to inherit; of every series, whatever its context.
            name: by default that of the other.
            config: merged into the config of the other; keys may be dotted.
            description: as for ``Experiment``, and so for what follows.
            tags: the same.
            project: by default that of the other.
            strict: the same.
            capture_console: the same.
            system_metrics_s: the same.
            record_inputs: the same.

        Returns:
            a pending experiment; begin with ``with``, or ``start()``.

        Raises:
            ExperimentNotFoundError: no experiment of that id in ``root_dir``.
            InputError: the step is no 64-bit integer, or another argument is not allowed.
            ConfigError: the config cannot be stored.
            StoreError: ``root_dir`` cannot be written.
        """
        from frameworm.experiment.query.lineage import origin_of

        reader = open_reader(folder_of(experiment_id, root_dir))
        merge(reader.info.config, normalize_config(config).config)
        self = cls.__new__(cls)
        self._origin = origin_of(reader, step)
        cls.__init__(
            self,
            reader.info.name if name is None else name,
            config,
            description,
            tags,
            root_dir,
            project=reader.info.project if project is None else project,
            strict=strict,
            capture_console=capture_console,
            system_metrics_s=system_metrics_s,
            record_inputs=record_inputs,
        )
        return self

    def _doubt_catalog(self) -> None:
        """Have readers look into the folder again, which the catalog takes for ended."""
        from frameworm.experiment.storage.catalog import Catalog

        Catalog.open(self._exp_dir.parent).mark_stale(self.experiment_id)

    # ---------------------------------------------------------------------------------------- copies

    def __copy__(self) -> Self:
        """Return the same: two objects cannot write as one process."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the same, so that copies of what holds an experiment go on with it."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Have pickle, and what is built on it, send where the experiment is: who receives it attaches to it."""
        facts = {name: getattr(self.info, name) for name in ("experiment_id", "uid", "name", "project", "description")}
        return _received, (type(self), os.fspath(self._exp_dir), facts, self._strict)

    # ---------------------------------------------------------------------------------------- logging

    def log_metric(
        self,
        name: str,
        value: Any,
        step: int | None = None,
        epoch: int | None = None,
        metric_type: str = "train",
    ) -> None:
        """Record one point of a metric, in less than the time of two small writes: one or two microseconds.

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
        checked_text(artifact_type, "artifact_type")
        try:
            place = self._place()
            stored = store_artifact(
                self._now_at(path),
                place / folders.ARTIFACTS,
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

    def log_dataset(self, data: Any, name: str | None = None) -> dict[str, Any]:
        """Record the fingerprint of data that is learnt from or tested on: enough to tell it from any other, no copy.

        Takes as long as reading the data once (some GB a second).

        Args:
            data: path of a file or folder, array or tensor, pandas or Polars DataFrame, or a dict or list of these.
            name: what to call it; by default the last part of the path.

        Returns:
            the record: ``name``, ``kind``, ``fingerprint`` (``blake3:…``), ``path``, ``size_bytes`` and more.

        Raises:
            InputError: data of another kind, or unreadable; no name for what has no path.
            StateError: the experiment is not running.
        """
        from frameworm.experiment.provenance.data import fingerprint

        recorder = self._sink.ready()
        if name is None and isinstance(data, str | os.PathLike):
            name = os.path.basename(os.path.abspath(os.fsdecode(data)))
        if name is None:
            raise InputError(f"log_dataset: a {type(data).__name__} has no name of its own; pass name=")
        dataset = {"name": checked_text(name, "dataset name"), **fingerprint(data)}
        self._apply(recorder.event("dataset", dataset=dataset))
        return dataset

    def use_artifact(self, experiment_id: str, artifact_name: str, *, version: int | None = None) -> Path:
        """Return where an artifact of another experiment of this root lies, and record that this one uses it.

        Args:
            experiment_id: whose artifact.
            artifact_name: the name it was logged under.
            version: which of its versions; by default the latest.

        Raises:
            ExperimentNotFoundError: no such experiment.
            ArtifactError: it has no such artifact, or the file is gone.
            StateError: this experiment is not running.
        """
        from frameworm.experiment.storage.artifacts import artifact_path

        recorder = self._sink.ready()
        source = open_reader(folder_of(experiment_id, self._exp_dir.parent)).info
        named = [artifact for artifact in source.artifacts if artifact.name == artifact_name]
        found = [artifact for artifact in named if version in (None, artifact.version)]
        if not found:
            names = ", ".join(dict.fromkeys(artifact.name for artifact in source.artifacts)) or "none"
            wanted = artifact_name if version is None or not named else f"{artifact_name} of version {version}"
            raise ArtifactError(f"{experiment_id} has no artifact {wanted}; it has {names}")
        artifact = max(found, key=lambda artifact: artifact.version)
        path = artifact_path(source.path, artifact)
        if not path.is_file():
            raise ArtifactError(f"{path}: the file of artifact {artifact.name!r} is gone; frameworm doctor tells more")
        use = {"experiment_id": experiment_id, "uid": source.uid, "artifact": artifact.name}
        self._apply(recorder.event("use", use={**use, "version": artifact.version, "digest": artifact.digest}))
        return path

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
        guard(lambda: folders.write_config(self._place(), self.config), "writing config.yaml")

    def set_tags(self, tags: Iterable[str]) -> None:
        """Replace the tags.

        Raises:
            InputError: a tag is not allowed.
            StateError: the experiment has ended.
        """
        self._apply(self._editable().event("tags", tags=checked_tags(tags)))

    def add_note(self, text: str) -> None:
        """Add a note, kept with its time.

        Raises:
            InputError: not a str.
            StateError: the experiment has ended.
        """
        self._apply(self._editable().event("note", text=checked_text(text, "note", lines=True)))

    def flush(self) -> None:
        """Put everything recorded so far on the disk; it survives a power cut when this returns.

        Raises:
            OSError: the disk refused.
            StateError: the experiment is not running.
        """
        recorder = self._sink.ready()
        self._sync_media()
        recorder.sync()
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

        reader = open_reader(self._exp_dir)
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


def _received(cls: type[Experiment], exp_dir: str, facts: dict[str, Any], strict: bool) -> Experiment:
    """Return the experiment that was pickled: this process's own, else attached, else, once it has ended, to be read.

    Nothing is raised, so that a checkpoint which holds an experiment can be loaded when that has gone.
    """
    for session in watched():
        if isinstance(session, cls) and session.uid == facts["uid"]:
            return session
    self = cls.__new__(cls)
    self._prepare(strict=strict, capture_console=False, system_metrics_s=0.0)
    self._receive(Path(exp_dir), facts)
    return self


def _uuid7() -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix ms, then random bits."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"{number:032x}"
