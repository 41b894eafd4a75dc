"""The tracker beside a plain dict: whatever two processes do to a root, what is read is what went in."""

from __future__ import annotations

import shutil
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from faults.worker import Worker
from frameworm.experiment import ExperimentManager
from frameworm.experiment.errors import ExperimentNotFoundError, StateError
from frameworm.experiment.model import NO_EPOCH

Key = tuple[str, str]
Point = tuple[int, int, bytes]

NAMES = st.sampled_from(["loss", "a/b", "ħ", " ", "-x"])
CONTEXTS = st.sampled_from(["train", "val", "ctx 3"])
VALUES = st.one_of(st.floats(), st.integers(-(2**53), 2**53), st.booleans())
STEPS = st.one_of(st.none(), st.integers(-(2**63), 2**62))
EPOCHS = st.one_of(st.none(), st.integers(-(2**31) + 1, 2**31 - 1))
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
TAGS = st.lists(TEXTS.filter(lambda text: text and "\n" not in text and "\r" not in text), max_size=3, unique=True)
WORKERS = st.sampled_from([0, 1])


@dataclass
class Writer:
    """One process's part of an experiment, in the order it was given."""

    points: dict[Key, list[Point]] = field(default_factory=dict)
    next_steps: dict[Key, int] = field(default_factory=dict)

    def log(self, key: Key, value: float, step: int | None, epoch: int | None) -> None:
        step = self.next_steps.get(key, 0) if step is None else step
        self.next_steps[key] = step + 1
        mark = NO_EPOCH if epoch is None else epoch
        self.points.setdefault(key, []).append((step, mark, struct.pack("<d", value)))


@dataclass
class Model:
    """One experiment."""

    name: str
    writers: list[Writer]
    ended: str = ""
    live: set[int] = field(default_factory=set)
    tags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    in_trash: bool = False

    @property
    def status(self) -> str:
        return self.ended or ("running" if self.live else "crashed")

    def points(self) -> dict[Key, list[Point]]:
        found: dict[Key, list[Point]] = {}
        for writer in self.writers:
            for key, points in writer.points.items():
                found.setdefault(key, []).extend(points)
        return found


@dataclass
class Session:
    """What one process has open."""

    experiment_id: str
    writer: Writer
    owner: bool


class Tracker(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.workers = [Worker(), Worker()]
        self.sessions: list[Session | None] = [None, None]
        self.models: dict[str, Model] = {}

    def teardown(self) -> None:
        for worker in self.workers:
            worker.kill()
        shutil.rmtree(self.root)

    def at(self, who: int) -> tuple[Worker, Session, Model]:
        session = self.sessions[who]
        assert session is not None
        return self.workers[who], session, self.models[session.experiment_id]

    def open(self, who: int, experiment_id: str, writer: Writer, *, owner: bool) -> None:
        self.sessions[who] = Session(experiment_id, writer, owner)
        self.models[experiment_id].live.add(who)

    # -------------------------------------------------------------------------------- begin, resume, attach

    @rule(who=WORKERS, name=TEXTS.filter(lambda text: text.isprintable()))
    def begin(self, who: int, name: str) -> None:
        if self.sessions[who] is None:
            experiment_id = self.workers[who].call("begin", self.root, name)
            assert experiment_id not in self.models, "an id was given twice"
            self.models[experiment_id] = Model(name, [Writer()])
            self.open(who, experiment_id, self.models[experiment_id].writers[0], owner=True)

    @precondition(lambda self: self.models)
    @rule(who=WORKERS, data=st.data())
    def resume(self, who: int, data: st.DataObject) -> None:
        if self.sessions[who] is not None:
            return
        experiment_id = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[experiment_id]
        if model.in_trash or model.status == "running":
            with pytest.raises(ExperimentNotFoundError if model.in_trash else StateError):
                self.workers[who].call("resume", self.root, experiment_id)
            return
        self.workers[who].call("resume", self.root, experiment_id)
        writer = Writer(next_steps={key: points[-1][0] + 1 for key, points in model.points().items()})
        model.writers.append(writer)
        model.ended = ""
        self.open(who, experiment_id, writer, owner=True)

    @precondition(lambda self: any(model.status == "running" for model in self.models.values()))
    @rule(who=WORKERS, data=st.data())
    def attach(self, who: int, data: st.DataObject) -> None:
        if self.sessions[who] is None:
            running = sorted(name for name, model in self.models.items() if model.status == "running")
            experiment_id = data.draw(st.sampled_from(running))
            self.workers[who].call("attach", self.root, experiment_id)
            self.models[experiment_id].writers.append(Writer())
            self.open(who, experiment_id, self.models[experiment_id].writers[-1], owner=False)

    # -------------------------------------------------------------------------------- recording

    @rule(who=WORKERS, name=NAMES, value=VALUES, step=STEPS, epoch=EPOCHS, context=CONTEXTS)
    def log_metric(self, who: int, name: str, value: float, step: int | None, epoch: int | None, context: str) -> None:
        if self.sessions[who] is not None:
            worker, session, _ = self.at(who)
            worker.call("do", "log_metric", name, value, step, epoch, context)
            session.writer.log((name, context), value, step, epoch)

    @rule(who=WORKERS, row=st.dictionaries(NAMES, VALUES, max_size=4), step=STEPS, epoch=EPOCHS, context=CONTEXTS)
    def log_metrics(self, who: int, row: dict[str, float], step: int | None, epoch: int | None, context: str) -> None:
        if self.sessions[who] is not None:
            worker, session, _ = self.at(who)
            for _ in range(3):
                worker.call("do", "log_metrics", row, step, epoch, context)
                for name, value in row.items():
                    session.writer.log((name, context), value, step, epoch)

    @rule(who=WORKERS, tags=TAGS, note=TEXTS)
    def annotate(self, who: int, tags: list[str], note: str) -> None:
        if self.sessions[who] is not None:
            worker, session, model = self.at(who)
            worker.call("do", "add_note", note)
            model.notes.append(note)
            if session.owner:
                worker.call("do", "set_tags", tags)
                model.tags = tags

    @rule(who=WORKERS)
    def flush(self, who: int) -> None:
        if self.sessions[who] is not None:
            self.workers[who].call("do", "flush")

    @rule(who=WORKERS, values=st.lists(VALUES, min_size=1, max_size=3), name=NAMES, context=CONTEXTS)
    def fork(self, who: int, values: list[float], name: str, context: str) -> None:
        if self.sessions[who] is not None:
            worker, _, model = self.at(who)
            worker.call("fork", [("log_metric", (name, value, None, None, context)) for value in values])
            model.writers.append(Writer())
            for value in values:
                model.writers[-1].log((name, context), value, None, None)

    # -------------------------------------------------------------------------------- ends

    @rule(who=WORKERS, status=st.sampled_from(["completed", "failed", "killed"]))
    def end(self, who: int, status: str) -> None:
        if self.sessions[who] is not None:
            worker, session, model = self.at(who)
            worker.call("do", "end", status)
            model.live.discard(who)
            self.sessions[who] = None
            if session.owner:
                model.ended = status

    @rule(who=WORKERS)
    def kill(self, who: int) -> None:
        self.workers[who].kill()
        self.workers[who] = Worker()
        if self.sessions[who] is not None:
            self.at(who)[2].live.discard(who)
            self.sessions[who] = None

    # -------------------------------------------------------------------------------- keeping

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def delete_or_restore(self, data: st.DataObject) -> None:
        experiment_id = data.draw(st.sampled_from(sorted(self.models)))
        model, manager = self.models[experiment_id], ExperimentManager(self.root)
        if model.in_trash:
            manager.restore(experiment_id)
        elif model.status == "running":
            with pytest.raises(StateError):
                manager.delete_experiment(experiment_id)
            return
        elif model.live:
            return  # ended, and another process still logs to it
        else:
            manager.delete_experiment(experiment_id)
        model.in_trash = not model.in_trash

    @precondition(lambda self: self.models)
    @rule(what=st.sampled_from(["catalog gone", "rebuild", "compact", "repair"]))
    def keep(self, what: str) -> None:
        manager = ExperimentManager(self.root)
        if what == "catalog gone":
            (self.root / "experiments.db").unlink(missing_ok=True)
        elif what == "rebuild":
            assert manager.rebuild() == sum(not model.in_trash for model in self.models.values())
        elif what == "compact":
            manager.compact()
        else:
            manager.doctor(repair=True)

    # -------------------------------------------------------------------------------- what must hold

    @invariant()
    def reads_what_went_in(self) -> None:
        if not self.models:
            return
        manager = ExperimentManager(self.root)
        here = {name: model for name, model in self.models.items() if not model.in_trash}
        listed = {row["experiment_id"]: (row["name"], row["status"], row["tags"]) for row in manager.list_rows()}
        assert listed == {name: (model.name, model.status, model.tags) for name, model in here.items()}
        for experiment_id, model in here.items():
            reader = manager.reader(experiment_id)
            assert reader.damage == []
            assert sorted(note.text for note in reader.info.notes) == sorted(model.notes)
            assert reader.info.config == {"name": model.name}
            assert self.read(reader) == model.points()
            counts = {(s.name, s.context): s.count for s in reader.summaries()}
            assert counts == {key: len(points) for key, points in model.points().items()}

    @staticmethod
    def read(reader: Any) -> dict[Key, list[Point]]:
        found = {}
        for key in reader.keys():
            points = reader.read(*key)
            columns = (points.steps.tolist(), points.epochs.tolist(), points.values.tolist())
            found[tuple(key)] = [(s, e, struct.pack("<d", v)) for s, e, v in zip(*columns, strict=True)]
        return found


TestTracker = Tracker.TestCase
TestTracker.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
