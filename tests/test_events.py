"""Events and metadata.json of any values: what does not fit is told, and nothing else is touched."""

import contextlib
import itertools
import json
import math
import re
import shutil
import struct
import warnings
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frameworm.experiment import Experiment, ExperimentManager, events
from frameworm.experiment.errors import ConfigError, ExperimentError, FramewormWarning
from frameworm.experiment.events import Event, decode
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.recording.fold import Fold
from frameworm.experiment.recording.journal import EVENT_FLAG, header
from frameworm.experiment.storage.schema import DETAILS, Entry, add_rows, experiments

ROOT = Path(__file__).parents[1]
STRANGE = [
    None, True, 0, -1, 1.5, 2**63, -(2**70), 10**400, math.inf, math.nan, "", "x", "\0\x1b[31m", "\ud800",
    [], [1], [[1]], ["x"], [None], {}, {"a": 1}, {"a": {"b": [None]}}, [{"a": 1}],
]  # fmt: skip


_MANY = 40
"""Keys of an object that stand for as many things, not for what is known of one."""


def deep(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


def paths(value, before=()):
    """Yield the keys that lead to every value in an event; of many that are alike, packages or files, to a few."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, inner in itertools.islice(items, 3 if len(items) > _MANY or isinstance(value, list) else None):
        yield (*before, key)
        yield from paths(inner, (*before, key))


def changed(raw, path, value):
    """Return the event with another value there."""
    copy = json.loads(json.dumps(raw))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


def record(root: Path) -> list[dict[str, Any]]:
    """Record an experiment with an event of each kind that a recorder writes, and return these as they were read."""
    quiet = {"root_dir": root, "capture_console": False, "system_metrics_s": 0}
    weights = root.parent / "weights"
    weights.write_bytes(b"w")
    with Experiment("parent", **quiet) as parent:
        parent.log_metric("loss", 1.0)
        parent.log_artifact(weights)
    exp = Experiment.fork(parent.experiment_id, step=0, name="victim", **quiet)
    with exp:
        exp.log_metrics({"a": 1.0, "b": 2.0})
        exp.update_config({"training.lr": 0.5})
        exp.set_tags(["one", "two"])
        exp.add_note("a note")
        exp.log_dataset(weights, "numbers")
        exp.use_artifact(parent.experiment_id, "weights")
        exp.log_histogram("h", [1.0, 2.0, 3.0])
        exp.log_image("i", [[0, 255], [255, 0]])
        exp.log_artifact(weights)
        exp.alert("title", "text")
    exp = Experiment.resume(exp.experiment_id, step=0, **quiet)
    exp.end()
    reader = ExperimentReader(exp.exp_dir)
    assert not reader.damage
    found = [dict(event) for source in reader._sources for part in source.parts for event in part.events]
    edits = [
        {"type": "tags_edit", "add": ["three"], "remove": ["one"]},
        {"type": "name", "name": "renamed"},
        {"type": "description", "description": "described"},
        {"type": "artifacts_removed", "paths": ["artifacts/weights"]},
        {"type": "artifacts_restored", "paths": ["artifacts/weights"]},
        {"type": "dropped", "records": 3},
        {"type": "heartbeat"},
    ]
    latest = max(event["t"] for event in found)
    return [*found, *({"t": latest, **edit} for edit in edits)]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> list[dict[str, Any]]:
    return record(tmp_path_factory.mktemp("written") / "root")


def journal_of(events: Iterable[object]) -> bytes:
    """Return a journal of these events, as a stranger may write it."""
    out = header()
    for event in events:
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        out += struct.pack("<II", EVENT_FLAG | len(payload), zlib.crc32(payload)) + payload + bytes(-len(payload) % 8)
    return out


def put(folder: Path, events: Iterable[object]) -> Path:
    """Make an experiment's folder of these events and nothing else."""
    (folder / "logs").mkdir(parents=True)
    journal = folder / "logs" / "journal-stranger-1-1"
    journal.write_bytes(journal_of(events))
    return journal


# ---------------------------------------------------------------------------------------------------- one event


def test_the_page_of_the_format_has_the_same_kinds_and_keys():
    text = (ROOT / "docs" / "formats" / "journal.md").read_text()
    told: dict[str, set[str]] = {}
    for kinds, keys in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*?) \|", text, re.MULTILINE):
        names = re.sub(r": .*", "", keys) if ": `" in keys and "media" not in kinds else keys
        for kind in re.findall(r"\w+", kinds):
            told[kind] = set(re.findall(r"`(\w+)`", names))
    known = {kind: set(one.fields) - {"t", "type"} for kind, one in events._KINDS.items()}
    only_in_segments = {"source", "sums"}
    assert told.keys() == known.keys() - only_in_segments
    told["name"], told["description"] = {"name"}, {"description"}
    told["media"] &= known["media"]  # what is in ``about`` is listed there too
    assert told == {kind: keys for kind, keys in known.items() if kind not in only_in_segments}


def test_all_that_is_written_is_known(written):
    decoded = [decode(event) for event in written]
    assert decoded == written
    assert all(type(event) is not Event for event in decoded)
    kinds = {event["type"] for event in written}
    assert kinds == events._KINDS.keys() - {"series", "set", "snapshot", "check", "source", "sums"}


def test_kinds_and_keys_of_a_newer_release_are_kept(written):
    for event in [*written, {"t": 1, "type": "hologram", "rays": [1, {"a": None}]}]:
        newer = {**event, "newer": {"key": [1, None]}}
        assert decode(newer) == newer


def test_each_value_replaced_by_each_strange_one(written):
    """Whatever passes can be folded, entered and shown; whatever does not says where and what."""
    passed = refused = 0
    told = "|".join(("expected", "is missing", "comes twice", "comes with", "nested"))
    for number, event in enumerate(written):
        for path, value in itertools.product(paths(event), STRANGE):
            raw = changed(event, path, value)
            try:
                decoded = decode(raw)
            except ValueError as error:
                assert re.search(told, str(error)), error
                refused += 1
                continue
            passed += 1
            fold = Fold()
            for each in (*written[:number], decoded, *written[number + 1 :]):
                with contextlib.suppress(ConfigError):
                    fold.apply(each)
            if fold.begun:
                info = fold.info(Path("exp_001_x"))
                add_rows({table: [] for table in (experiments, *DETAILS)}, Entry(info, (), False))
    assert refused > 2 * passed > 1000


@pytest.mark.parametrize("key", ["t", "type", "experiment_id", "uid", "name", "project", "description"])
def test_nothing_that_an_experiment_begins_with_may_lack(written, key):
    create = next(event for event in written if event["type"] == "create")
    with pytest.raises(ValueError, match=f"{key}: is missing"):
        decode({name: value for name, value in create.items() if name != key})


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"type": "status", "status": {"a": 1}}, "status: expected a text, got an object"),
        ({"type": "status", "status": "sleeping"}, "status: expected completed, failed, killed, pending, running, got"),
        ({"type": "status", "status": "failed"}, "duration_s: is missing"),
        ({"type": "status", "status": "failed", "duration_s": -1.0}, "duration_s: expected a finite number from 0"),
        ({"type": "tags", "tags": 1.5}, "tags: expected a list, got 1.5"),
        ({"type": "tags", "tags": ["a", 1]}, "tags: item 1: expected a text, got 1"),
        ({"type": "tags", "tags": ["x"] * 100_001}, "tags: expected 0 to 100,000 items, got 100,001"),
        ({"type": "rewind", "step": [[1]]}, "step: expected a whole number, got a list"),
        ({"type": "rewind", "step": True}, "step: expected a whole number, got true"),
        ({"type": "rewind", "step": 2**63}, f"step: expected a whole number from {-(2**63)} to {2**63 - 1}"),
        ({"type": "rewind", "step": 10**4000}, "got a number of 13288 bits"),
        ({"type": "note", "text": "x" * (1 << 24) + "x"}, "text: expected at most 16,777,216 characters"),
        ({"type": "parent", "parent": None}, "parent: expected an object, got null"),
        (
            {"type": "parent", "parent": {"relation": "fork", "experiment_id": "exp_001", "uid": "u"}},
            "step: is missing",
        ),
        ({"type": "config", "config": {"a.b": 1, "a": {"b": 2}}, "lossy": [], "merge": False}, "comes twice"),
        ({"type": "config", "config": {"a": deep(150)}, "lossy": [], "merge": False}, "nested deeper than 129"),
        ({"type": "hologram", "rays": deep(70)}, "nested deeper than 64"),
        ({"type": ["tags"]}, "type: expected a text, got a list"),
        ({"type": "note", "text": "x", "t": 2**50}, "t: expected a whole number from 0"),
        ({"type": "note", "text": "x", "t": 1.5}, "t: expected a whole number, got 1.5"),
        (
            {"type": "media", "media": "image", "name": "a", "context": "b", "step": 0, "about": {"digest": "d"}},
            "comes",
        ),
    ],
)
def test_what_does_not_fit_is_told(event, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        decode({"t": 1, **event})


@pytest.mark.parametrize("value", [None, 1, "text", [], ["t", "type"]])
def test_what_is_no_object_is_no_event(value):
    with pytest.raises(ValueError, match="expected an object"):
        decode(value)


# ---------------------------------------------------------------------------------------------------- one root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A root of two experiments, and a place for a hostile one: exp_003."""
    root = tmp_path_factory.mktemp("hostile") / "root"
    record(root)
    return root


def looked_at(root: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Do what people do with a root that has a hostile experiment; return the rows and the ids that doctor names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FramewormWarning)
        manager = ExperimentManager(root)
        rows = {row["experiment_id"]: row for row in manager.list_rows()}
        frame = manager.list_experiments()
        assert list(frame["experiment_id"]) == list(rows)
        assert set(manager.compare_experiments(list(rows))["experiment_id"]) == set(rows)
        assert (
            manager.search_experiments("status == 'completed' or metrics.loss > 0 or config.training.lr > 0")
            is not None
        )
        assert len(manager.compact()) == len(rows)
        for one in rows:
            try:
                manager.get_experiment(one)
                manager.diff("exp_001", one).to_dict()
            except ExperimentError:
                assert one == "exp_003"
        report = manager.doctor()
        return rows, [finding.experiment_id for finding in report.findings if finding.severity == "damage"]


def whole(rows):
    return {one: {**row, "updated_at": None, "path": None} for one, row in rows.items() if one != "exp_003"}


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_hides_no_other_experiment(root, written, data):
    before, _ = _unharmed(root)
    number = data.draw(st.integers(0, len(written) - 1))
    path = data.draw(st.sampled_from(list(paths(written[number]))))
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    value = data.draw(
        st.sampled_from(STRANGE)
        | st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
    )
    hostile = list(written)
    hostile[number] = changed(written[number], path, value)
    for earlier in root.glob("exp_003_*"):
        shutil.rmtree(earlier)
    journal = put(root / f"exp_003_hostile_{next(_NUMBERS)}", hostile)
    try:
        decode(json.loads(json.dumps(hostile[number])))
        fits = True
    except ValueError:
        fits = False
    rows, damaged = looked_at(root)
    assert whole(rows) == before
    assert rows.keys() == {"exp_001", "exp_002", "exp_003"}
    if not fits:
        assert (
            rows["exp_003"]["damage"] is not None
            and f"logs/{journal.name}: damaged at byte" in rows["exp_003"]["damage"]
        )
        assert "exp_003" in damaged


_NUMBERS = itertools.count()
"""Of folders: one whose experiment ended and is sealed is not looked into again."""


@cache
def _unharmed(root):
    rows, damaged = looked_at(root)
    assert damaged == []
    return whole(rows), damaged
