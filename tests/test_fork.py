"""Forking and rewinding: readers show the whole line, files keep everything, nothing is copied."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frameworm.experiment import Experiment, ExperimentManager, visualization
from frameworm.experiment.cli import main
from frameworm.experiment.errors import (
    ConfigError,
    ExperimentNotFoundError,
    FramewormWarning,
    InputError,
    MetricNotFoundError,
)
from frameworm.experiment.model import SeriesKey
from frameworm.experiment.provenance.plan import VARIABLE, Plan
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.storage import schema
from frameworm.experiment.storage.segment import SegmentReader
from frameworm.experiment.storage.segment_layout import Stream

QUIET: dict[str, Any] = {"capture_console": False, "system_metrics_s": 0}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # outside git: capturing takes no time
    return tmp_path / "experiments"


def record(root: Path, losses: list[float], **options: Any) -> Experiment:
    """Record steps 0, 1, … of loss, and half as many of it in val."""
    with Experiment("base", root_dir=root, **QUIET, **options) as exp:
        for step, loss in enumerate(losses):
            exp.log_metric("loss", loss, step=step)
            if step % 2 == 0:
                exp.log_metric("loss", -loss, step=step, metric_type="val")
        exp.log_metric("cpu", 50.0, metric_type="system")
    return exp


def values(root: Path, experiment_id: str, name: str = "loss", context: str = "train") -> list[float]:
    return ExperimentManager(root).reader(experiment_id).read(name, context).values.tolist()


def rows(root: Path) -> list[Any]:
    """Return what the catalog says of every series, with its values bit for bit."""
    manager = ExperimentManager(root)
    manager.list_rows()
    assert manager.index.catalog is not None
    found = manager.index.catalog.rows(sa.select(schema.series))
    return sorted(
        tuple(struct.pack("<d", value) if isinstance(value, float) else value for value in row) for row in found
    )


def rebuilt(root: Path) -> list[Any]:
    ExperimentManager(root).rebuild()
    return rows(root)


# ------------------------------------------------------------------------------------------------ the line


def test_a_fork_shows_the_parents_points_up_to_the_step_and_then_its_own(root: Path) -> None:
    record(root, [10.0, 9.0, 8.0, 7.0, 6.0])
    with Experiment.fork("exp_001", root, step=2, **QUIET) as fork:
        fork.log_metric("loss", 1.5, step=3)
        fork.log_metric("new", 4.0)
        seen = fork.get_metrics("loss")
    assert [row["metric_value"] for row in seen] == [10.0, 9.0, 8.0, 1.5, -10.0, -8.0]
    assert values(root, "exp_002") == [10.0, 9.0, 8.0, 1.5]
    assert values(root, "exp_001") == [10.0, 9.0, 8.0, 7.0, 6.0]
    manager = ExperimentManager(root)
    history = manager.get_metric_history("exp_002", "loss")
    assert list(zip(history["step"], history["metric_type"], strict=True)) == [
        *((step, "train") for step in range(4)),
        *((step, "val") for step in (0, 2)),
    ]
    reader = manager.reader("exp_002")
    assert reader.keys() == [SeriesKey("loss", "train"), SeriesKey("loss", "val"), SeriesKey("new", "train")]
    assert reader.missing == ""
    assert [path.name for path in reader.chain()] == ["exp_001_base", "exp_002_base"]
    assert reader.read_downsampled("loss", "val", points=10).last.tolist() == [-10.0, -8.0]
    assert {name: points.values.tolist() for name, points in reader.read_all("loss").items()} == {
        "train": [10.0, 9.0, 8.0, 1.5],
        "val": [-10.0, -8.0],
    }
    compared = manager.compare_experiments(["exp_001", "exp_002"], metrics=["loss", "loss.max", "loss@val"])
    assert compared["loss"].tolist() == [6.0, 1.5]
    assert compared["loss.max"].tolist() == [10.0, 10.0]
    assert compared["loss@val"].tolist() == [-6.0, -8.0]
    assert manager.list_experiments()["experiment_id"].tolist() == ["exp_002", "exp_001"]
    assert manager.search_experiments("metrics.loss < 2 and metrics.loss.count == 4")["experiment_id"].tolist() == [
        "exp_002"
    ]


def test_nothing_is_copied(root: Path) -> None:
    record(root, np.random.default_rng(0).normal(size=20_000).tolist())
    with Experiment.fork("exp_001", root, step=19_000, **QUIET) as fork:
        fork.log_metric("loss", 1.0)
    own = ExperimentManager(root).reader("exp_002", own=True)
    assert own.read("loss").steps.tolist() == [19_001]
    assert own.chain() == [fork.exp_dir]
    with Experiment("of one point", root_dir=root, **QUIET) as other:
        other.log_metric("loss", 1.0)
    size, usual = (sum(file.stat().st_size for file in one.log_dir.iterdir()) for one in (fork, other))
    assert size < usual + 5_000


def test_the_record_says_where_a_fork_comes_from(root: Path) -> None:
    base = record(root, [1.0], config={"lr": 0.1, "model": {"width": 8, "depth": 2}}, project="digits", tags=["a"])
    fork = Experiment.fork("exp_001", root, step=0, config={"model.width": 16, "seed": 3}, tags=["b"], **QUIET)
    assert fork.status == "pending"
    with fork:
        pass
    assert fork.config == {"lr": 0.1, "model": {"width": 16, "depth": 2}, "seed": 3}
    assert (fork.name, fork.project, fork.tags) == ("base", "digits", ["b"])
    expected = {"relation": "fork", "experiment_id": "exp_001", "uid": base.uid, "step": 0, "rewinds": 0}
    found = ExperimentManager(root).get_experiment("exp_002")
    assert found["parent"] == expected
    assert json.loads((fork.exp_dir / "metadata.json").read_text())["parent"] == expected
    named = Experiment.fork("exp_001", root, step=0, name="other", project="words", description="why", **QUIET)
    assert (named.name, named.project, named.description) == ("other", "words", "why")
    assert named.config == base.config


def test_steps_that_are_not_given_count_on_from_what_is_inherited(root: Path) -> None:
    with Experiment("base", root_dir=root, **QUIET) as base:
        for n in range(10):
            base.log_metric("loss", n)
            base.log_metrics({"a": n, "b": n}, metric_type="val")
        base.log_metric("rare", 1.0)
        base.log_metric("late", 1.0, step=100)
    with Experiment.fork("exp_001", root, step=6, **QUIET) as fork:
        fork.log_metric("loss", -1.0)
        fork.log_metrics({"a": -1.0, "b": -1.0}, metric_type="val")
        fork.log_metric("rare", 2.0)
        fork.log_metric("late", 2.0)
    reader = ExperimentManager(root).reader("exp_002")
    last = {key.name: reader.read(*key).steps[-1] for key in reader.keys()}
    assert last == {"loss": 7, "a": 7, "b": 7, "rare": 1, "late": 0}
    assert reader.read("late").values.tolist() == [2.0]


def test_a_series_that_begins_past_the_step_is_not_there(root: Path) -> None:
    with Experiment("base", root_dir=root, **QUIET) as base:
        base.log_metric("early", 1.0, step=1)
        base.log_metric("late", 1.0, step=9)
    Experiment.fork("exp_001", root, step=5, **QUIET).start().end()
    reader = ExperimentManager(root).reader("exp_002")
    assert reader.keys() == [SeriesKey("early", "train")]
    assert [summary.name for summary in reader.summaries()] == ["early"]
    with pytest.raises(MetricNotFoundError, match="has no metric 'late'"):
        reader.read("late")


def test_forks_of_forks(root: Path) -> None:
    record(root, [float(n) for n in range(10)])
    with Experiment.fork("exp_001", root, step=7, **QUIET) as second:
        for n in range(8, 12):
            second.log_metric("loss", 100.0 + n, step=n)
    with Experiment.fork("exp_002", root, step=9, **QUIET) as third:
        third.log_metric("loss", 200.0, step=10)
    with Experiment.fork("exp_003", root, step=3, **QUIET) as fourth:
        fourth.log_metric("loss", 300.0, step=4)
    assert values(root, "exp_003") == [*map(float, range(8)), 108.0, 109.0, 200.0]
    assert values(root, "exp_004") == [0.0, 1.0, 2.0, 3.0, 300.0]
    manager = ExperimentManager(root)
    assert [path.name[:7] for path in manager.reader("exp_004").chain()] == ["exp_001", "exp_002", "exp_003", "exp_004"]
    assert manager.forks_of("exp_001") == ["exp_002", "exp_003", "exp_004"]
    assert manager.forks_of(["exp_003", "exp_001"]) == ["exp_002", "exp_004"]
    assert manager.forks_of("exp_004") == []
    assert rows(root) == rebuilt(root)


@pytest.mark.parametrize("step", [True, 1.0, "5", None, 2**63, -(2**63) - 1])
def test_a_step_is_an_integer_of_64_bits(root: Path, step: Any) -> None:
    record(root, [1.0])
    before = sorted(os.listdir(root))
    with pytest.raises(InputError, match="step: expected a whole number"):
        Experiment.fork("exp_001", root, step=step, **QUIET)
    if step is not None:
        with pytest.raises(InputError, match="step: expected a whole number"):
            Experiment.resume("exp_001", root, step=step, **QUIET)
    assert sorted(os.listdir(root)) == before


def test_what_cannot_be_forked_leaves_nothing_behind(root: Path) -> None:
    record(root, [1.0], config={"lr": 0.1})
    with pytest.raises(ExperimentNotFoundError, match="did you mean exp_001"):
        Experiment.fork("exp_010", root, step=0, **QUIET)
    with pytest.raises(ConfigError):
        Experiment.fork("exp_001", root, step=0, config={"lr.deep": 1}, **QUIET)
    assert sorted(os.listdir(root / ".frameworm")) == ["ids"]
    assert os.listdir(root / ".frameworm" / "ids") == ["1"]


# -------------------------------------------------------------------------------------- rewinding


def test_rewinding_hides_what_is_past_the_step_and_keeps_it(root: Path) -> None:
    record(root, [10.0, 9.0, 8.0, 7.0, 6.0])
    with Experiment.resume("exp_001", root, step=2, **QUIET) as exp:
        exp.log_metric("loss", 1.0)
        assert exp.get_metrics("loss")[3]["metric_value"] == 1.0
    assert values(root, "exp_001") == [10.0, 9.0, 8.0, 1.0]
    assert values(root, "exp_001", "loss", "val") == [-10.0, -8.0]
    assert values(root, "exp_001", "cpu", "system") == [50.0]
    manager = ExperimentManager(root)
    assert manager.reader("exp_001", own=True).read("loss").values.tolist() == [10.0, 9.0, 8.0, 7.0, 6.0, 1.0]
    found = manager.get_experiment("exp_001")
    assert [one["step"] for one in found["rewinds"]] == [2]
    assert found["metrics_summary"]["loss"]["count"] == 4
    assert found["metrics_summary"]["loss"]["min"] == 1.0
    assert manager.compare_experiments(["exp_001"])["loss"].tolist() == [1.0]
    assert rows(root) == rebuilt(root)


def test_rewinding_again_and_again(root: Path) -> None:
    record(root, [float(n) for n in range(10)])
    for step, mark in ((6, 100.0), (8, 200.0), (4, 300.0)):
        with Experiment.resume("exp_001", root, step=step, **QUIET) as exp:
            for n in range(step + 1, step + 4):
                exp.log_metric("loss", mark + n, step=n)
    assert values(root, "exp_001") == [0.0, 1.0, 2.0, 3.0, 4.0, 305.0, 306.0, 307.0]
    with Experiment.resume("exp_001", root, **QUIET) as exp:  # goes on, without rewinding
        exp.log_metric("loss", -1.0)
    assert ExperimentManager(root).reader("exp_001").read("loss").steps.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert len(ExperimentManager(root).reader("exp_001", own=True).read("loss")) == 20


def test_compacting_leaves_the_line_as_it_is(root: Path) -> None:
    rng = np.random.default_rng(1)
    record(root, rng.normal(size=100).tolist())
    for step in (None, 60, None, 80):
        with Experiment.resume("exp_001", root, step=step, **QUIET) as exp:
            for value in rng.normal(size=50).tolist():
                exp.log_metric("loss", value)
    with Experiment.fork("exp_001", root, step=90, **QUIET) as fork:
        fork.log_metric("loss", 1.0)
    manager = ExperimentManager(root)
    before = [manager.reader(one).read("loss").values.tobytes() for one in ("exp_001", "exp_002")]
    everything = manager.reader("exp_001", own=True).read("loss").values.tobytes()
    known = rows(root)
    done = manager.compact("exp_001")
    assert (done[0].files_before, done[0].files_after) == (5, 4)  # the two before the first rewind
    assert [manager.reader(one).read("loss").values.tobytes() for one in ("exp_001", "exp_002")] == before
    assert manager.reader("exp_001", own=True).read("loss").values.tobytes() == everything
    assert rebuilt(root) == known
    assert manager.doctor().healthy


def test_a_fork_stays_as_it_is_when_its_parent_is_rewound_or_resumed(root: Path) -> None:
    record(root, [float(n) for n in range(10)])
    with Experiment.resume("exp_001", root, step=7, **QUIET) as exp:
        exp.log_metric("loss", 100.0, step=8)
    with Experiment.fork("exp_001", root, step=8, **QUIET) as fork:
        fork.log_metric("loss", 200.0, step=9)
    expected = [*map(float, range(8)), 100.0, 200.0]
    assert values(root, "exp_002") == expected
    with Experiment.resume("exp_001", root, step=3, **QUIET) as exp:
        exp.log_metric("loss", -1.0, step=4)
    assert values(root, "exp_001") == [0.0, 1.0, 2.0, 3.0, -1.0]
    assert values(root, "exp_002") == expected
    with Experiment.resume("exp_002", root, step=5, **QUIET) as fork:
        fork.log_metric("loss", 300.0)
    assert values(root, "exp_002") == [*map(float, range(6)), 300.0]
    assert rows(root) == rebuilt(root)


def test_a_rewind_survives_kill_9(root: Path) -> None:
    record(root, [float(n) for n in range(10)])
    program = f"""
import os, signal
from frameworm.experiment import Experiment
exp = Experiment.resume("exp_001", {str(root)!r}, step=4, capture_console=False, system_metrics_s=0)
exp.log_metric("loss", 100.0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    reader = ExperimentManager(root).reader("exp_001")
    assert reader.info.status == "crashed"
    assert reader.read("loss").values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 100.0]


# -------------------------------------------------------------------------------------- parents that change


LOGGING = """
import sys, time
from frameworm.experiment import Experiment
with Experiment("running", root_dir=sys.argv[1], capture_console=False, system_metrics_s=0) as exp:
    for step in range(100):
        exp.log_metric("loss", step, step=step)
    print("ready", flush=True)
    for line in sys.stdin:
        exp.log_metric("loss", float(line), step=int(line))
        print("logged", flush=True)
"""


@pytest.fixture
def running(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that records exp_001 and logs each step it is sent."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOGGING, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def send(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{step}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "logged\n"


def test_a_running_parent_goes_on_and_the_fork_too(root: Path, running: subprocess.Popen[str]) -> None:
    with Experiment.fork("exp_001", root, step=50, **QUIET) as fork:
        fork.log_metric("loss", 0.5)
        kept = ExperimentManager(root).reader("exp_002")
        assert kept.read("loss").steps.tolist() == list(range(52))
        send(running, 100)
        send(running, 7)  # at or before the step: inherited too
        fork.log_metric("loss", 0.25)
        assert kept.refresh()
        assert kept.read("loss").steps.tolist() == [*range(51), 7, 51, 52]
    manager = ExperimentManager(root)
    assert manager.get_experiment("exp_001")["status"] == "running"
    assert manager.search_experiments("metrics.loss.count == 54")["experiment_id"].tolist() == ["exp_002"]
    send(running, 8)
    assert manager.search_experiments("metrics.loss.count == 55")["experiment_id"].tolist() == ["exp_002"]
    running.kill()
    running.wait()
    assert values(root, "exp_002") == [*map(float, range(51)), 7.0, 8.0, 0.5, 0.25]
    assert manager.get_experiment("exp_001")["status"] == "crashed"
    assert rows(root) == rebuilt(root)


def test_a_parent_that_ends_later_is_taken_into_the_rows_of_its_forks(
    root: Path, running: subprocess.Popen[str]
) -> None:
    Experiment.fork("exp_001", root, step=1000, **QUIET).start().end()
    manager = ExperimentManager(root)
    assert manager.compare_experiments(["exp_002"])["loss"].tolist() == [99.0]
    send(running, 500)
    running.communicate()  # ends by itself
    assert manager.compare_experiments(["exp_001", "exp_002"])["loss"].tolist() == [500.0, 500.0]
    assert rows(root) == rebuilt(root)


def test_a_parent_is_found_whatever_its_folder_is_called(root: Path) -> None:
    base = record(root, [1.0, 2.0])
    with Experiment.fork("exp_001", root, step=0, **QUIET) as fork:
        fork.log_metric("loss", 3.0)
    with Experiment("stranger", root_dir=root, **QUIET) as stranger:
        stranger.log_metric("loss", 99.0)
    base.exp_dir.rename(root / "exp_001_another_name")
    assert values(root, "exp_002") == [1.0, 3.0]
    (root / "exp_001_another_name").rename(root / "exp_020_moved")
    stranger.exp_dir.rename(root / "exp_001_stranger")  # in its place, and somebody else
    assert values(root, "exp_002") == [1.0, 3.0]
    (root / "exp_020_moved" / "metadata.json").unlink()  # the record itself says who it is
    os.utime(root)
    assert values(root, "exp_002") == [1.0, 3.0]
    copied = root.parent / "elsewhere"
    shutil.copytree(root, copied)
    shutil.rmtree(root)
    assert values(copied, "exp_002") == [1.0, 3.0]


def test_a_deleted_parent_is_told_and_a_restored_one_is_there_again(root: Path) -> None:
    record(root, [1.0, 2.0])
    with Experiment.fork("exp_001", root, step=0, **QUIET) as fork:
        fork.log_metric("loss", 3.0)
    with Experiment.fork("exp_002", root, step=9, **QUIET) as second:
        second.log_metric("loss", 4.0)
    manager = ExperimentManager(root)
    whole = rows(root)
    with pytest.warns(FramewormWarning) as told:
        manager.delete_experiment("exp_001")
    messages = [str(one.message) for one in told]
    assert len(messages) == 2
    for message, folder in zip(messages, ("exp_002_base", "exp_003_base"), strict=True):
        assert folder in message
        assert "the points up to step 0 that it inherits from exp_001 are missing" in message
        assert "`frameworm restore exp_001` brings it back" in message
    with pytest.warns(FramewormWarning, match="exp_002: the points up to step 0 that it inherits from exp_001"):
        reader = manager.reader("exp_002")
    assert reader.read("loss").values.tolist() == [3.0]
    assert reader.missing and reader.damage == []
    assert manager.compare_experiments(["exp_003"], ["loss.max", "loss.count"]).iloc[0, 4:].tolist() == [4.0, 2.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FramewormWarning)
        assert rows(root) == rebuilt(root) != whole
    manager.restore("exp_001")
    assert reader.refresh()
    assert reader.read("loss").values.tolist() == [1.0, 3.0]
    assert reader.missing == ""
    assert rows(root) == whole == rebuilt(root)


def test_a_parent_removed_by_hand_is_told_of(root: Path) -> None:
    base = record(root, [1.0, 2.0])
    with Experiment.fork("exp_001", root, step=0, **QUIET) as fork:
        fork.log_metric("loss", 3.0)
    manager = ExperimentManager(root)
    manager.list_rows()
    reader = manager.reader("exp_002")
    assert reader.read("loss").values.tolist() == [1.0, 3.0]
    shutil.rmtree(base.exp_dir)
    with pytest.warns(FramewormWarning, match=r"exp_002_base: .* are missing: exp_001 is not in "):
        assert manager.compare_experiments(["exp_002"], ["loss.count"])["loss.count"].tolist() == [1]
    assert reader.refresh()
    assert reader.read("loss").values.tolist() == [3.0]
    assert "are missing" in reader.missing
    with pytest.warns(FramewormWarning, match="are missing"):
        history = manager.get_metric_history("exp_002", "loss")
    assert history["metric_value"].tolist() == [3.0]


def test_damage_of_a_parent_does_not_hide_a_forks_own_points(root: Path) -> None:
    rng = np.random.default_rng(2)
    with Experiment("base", root_dir=root, **QUIET) as base:
        for loss, accuracy in rng.normal(size=(6_000, 2)).tolist():
            base.log_metric("loss", loss)
            base.log_metric("accuracy", accuracy)
    with Experiment.fork("exp_001", root, step=5_500, **QUIET) as fork:
        fork.log_metric("loss", 3.0)
        fork.log_metric("accuracy", 4.0)
    [segment] = base.log_dir.glob("*.seg")
    content = bytearray(segment.read_bytes())
    with SegmentReader(segment) as whole:
        offset = next(entry[0] for entry in whole._directory.tolist() if entry[4] == Stream.VALUE)
    content[offset + 100] ^= 0xFF  # in the values of the first series
    segment.write_bytes(content)
    reader = ExperimentReader(fork.exp_dir)
    with pytest.warns(FramewormWarning, match=r"metrics-.*damaged.*what is inherited of 'loss' \(train\) is left out"):
        assert reader.read("loss").values.tolist() == [3.0]
    assert len(reader.read("accuracy")) == 5_502
    assert reader.read_downsampled("loss", points=10).last.tolist() == [3.0]
    assert {s.name: s.count for s in reader.summaries()} == {"loss": 1, "accuracy": 5_502}
    assert [error.path for error in reader.damage] == [str(segment)]
    with pytest.warns(FramewormWarning) as told:
        ExperimentManager(root).rebuild()
    assert any("exp_002_base is damaged; what can be read is shown" in str(one.message) for one in told)


def test_an_unreadable_parent_is_told(root: Path) -> None:
    base = record(root, [1.0])
    with Experiment.fork("exp_001", root, step=0, **QUIET) as fork:
        fork.log_metric("loss", 3.0)
    shutil.rmtree(base.log_dir)
    base.log_dir.mkdir()
    uid = json.loads((base.exp_dir / "metadata.json").read_text())["uid"]
    (base.exp_dir / "metadata.json").write_text(json.dumps({"uid": uid}))
    reader = ExperimentReader(fork.exp_dir)
    assert reader.read("loss").values.tolist() == [3.0]
    assert "inherits from exp_001 are missing" in reader.missing


def test_records_that_name_each_other_are_read_all_the_same(root: Path) -> None:
    """No call of ours makes them; a copy edited by hand might."""
    record(root, [1.0])
    fork = Experiment.fork("exp_001", root, step=0, **QUIET)
    uid = fork.uid
    with fork:
        fork.log_metric("loss", 3.0)
        fork._event("parent", parent={**fork.info.parent, "experiment_id": "exp_002", "uid": uid})
    reader = ExperimentReader(fork.exp_dir)
    assert set(reader.read("loss").values.tolist()) == {3.0}
    assert "are missing" in reader.missing


# -------------------------------------------------------------------------------------- in every way, bit for bit

Logged = tuple[str, str, int, bytes]

_VALUES = st.floats() | st.sampled_from([math.nan, -0.0, 5e-324, 1e308, -math.inf])
_POINTS = st.lists(
    st.tuples(
        st.sampled_from(("loss", "é/π")), st.sampled_from(("train", "val", "system")), st.integers(-3, 12), _VALUES
    ),
    max_size=12,
)
_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(("fork", "fork", "rewind", "resume", "compact")),
        st.integers(0, 4),
        st.integers(-4, 13),
        _POINTS,
    ),
    min_size=1,
    max_size=5,
)


class Model:
    """What an experiment should show: its sessions, each begun with a rewind or without, behind what it inherits."""

    def __init__(self, parent: Model | None = None, step: int = 0) -> None:
        self.parent, self.step = parent, step
        self.parent_rewinds = 0 if parent is None else parent.rewinds
        self.sessions: list[tuple[int | None, list[Logged]]] = []

    @property
    def rewinds(self) -> int:
        return sum(rewind is not None for rewind, _ in self.sessions)

    def line(self, rewinds: int | None = None) -> list[Logged]:
        line: list[Logged] = []
        if self.parent is not None:
            line = [p for p in self.parent.line(self.parent_rewinds) if p[1] != "system" and p[2] <= self.step]
        done = 0
        for rewind, points in self.sessions:
            if rewind is not None:
                if done == rewinds:
                    return line
                done += 1
                line = [p for p in line if p[1] == "system" or p[2] <= rewind]
            line = line + points
        return line

    def log(self, exp: Experiment, points: Any, rewind: int | None = None) -> None:
        with exp:
            for name, context, step, value in points:
                exp.log_metric(name, value, step=step, metric_type=context)
        packed = [(name, context, step, struct.pack("<d", value)) for name, context, step, value in points]
        self.sessions.append((rewind, packed))


def by_series(line: list[Logged]) -> dict[SeriesKey, list[tuple[int, bytes]]]:
    found: dict[SeriesKey, list[tuple[int, bytes]]] = {}
    for name, context, step, value in line:
        found.setdefault(SeriesKey(name, context), []).append((step, value))
    return found


def shown(reader: ExperimentReader) -> dict[SeriesKey, list[tuple[int, bytes]]]:
    found = {}
    for key in reader.keys():
        points = reader.read(*key)
        found[key] = [(s, struct.pack("<d", v)) for s, v in zip(points.steps.tolist(), points.values, strict=True)]
    return found


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=_POINTS, actions=_ACTIONS)
def test_a_line_is_the_parents_up_to_the_step_and_then_its_own(root: Path, first: Any, actions: Any) -> None:
    shutil.rmtree(root, ignore_errors=True)
    models = [Model()]
    models[0].log(Experiment("base", root_dir=root, **QUIET), first)
    for action, which, step, points in actions:
        which %= len(models)
        one = f"exp_{which + 1:03d}"
        if action == "fork":
            models.append(Model(models[which], step))
            models[-1].log(Experiment.fork(one, root, step=step, **QUIET), points)
        elif action == "rewind":
            models[which].log(Experiment.resume(one, root, step=step, **QUIET), points, step)
        elif action == "resume":
            models[which].log(Experiment.resume(one, root, **QUIET), points)
        else:
            ExperimentManager(root).compact(one)
    manager = ExperimentManager(root)
    for number, model in enumerate(models, 1):
        reader = manager.reader(f"exp_{number:03d}")
        expected = by_series(model.line())
        assert shown(reader) == expected
        for summary in reader.summaries():
            points = expected[SeriesKey(summary.name, summary.context)]
            assert (summary.count, summary.last_step) == (len(points), points[-1][0])
            assert struct.pack("<dd", summary.first, summary.last) == points[0][1] + points[-1][1]
            buckets = reader.read_downsampled(summary.name, summary.context, points=4)
            assert buckets.counts.sum() == len(points)
            assert struct.pack("<d", buckets.last[-1]) == points[-1][1]
        own = [point for _, points in model.sessions for point in points]
        assert shown(manager.reader(f"exp_{number:03d}", own=True)) == by_series(own)
    assert rows(root) == rebuilt(root)


def test_long_series_are_downsampled_as_if_the_line_were_one_experiment(root: Path) -> None:
    rng = np.random.default_rng(3)
    steps = np.concatenate([np.arange(30_000), rng.integers(0, 40_000, 5_000)])  # the last of them in any order
    losses = rng.normal(size=len(steps)).astype(np.float32).astype(np.float64)
    with Experiment("base", root_dir=root, **QUIET) as base:
        for step, loss in zip(steps.tolist(), losses.tolist(), strict=True):
            base.log_metric("loss", loss, step=step)
    with Experiment.fork("exp_001", root, step=21_000, **QUIET) as fork:
        for step in range(21_001, 27_000):
            fork.log_metric("loss", float(step % 7), step=step)
    with Experiment.fork("exp_002", root, step=25_000, **QUIET) as last:
        last.log_metric("loss", 1.0)
    inside = steps <= 21_000
    expected = np.concatenate([losses[inside], np.arange(21_001, 25_001) % 7, [1.0]])
    reader = ExperimentManager(root).reader("exp_003")
    points = reader.read("loss")
    assert points.values.tobytes() == expected.tobytes()
    for most in (2, 50, 400, 50_000):
        buckets = reader.read_downsampled("loss", points=most)
        assert len(buckets.counts) <= most
        starts = np.cumsum(buckets.counts) - buckets.counts
        assert buckets.counts.sum() == len(expected)
        assert (np.minimum.reduceat(expected, starts) == buckets.min).all()
        assert (np.maximum.reduceat(expected, starts) == buckets.max).all()
        assert (np.maximum.reduceat(points.steps, starts) == buckets.max_steps).all()
    window = reader.read_downsampled("loss", points=100, steps=(20_500, 21_500))
    assert window.counts.sum() == ((points.steps >= 20_500) & (points.steps <= 21_500)).sum()
    summary = reader.summaries()[0]
    assert (summary.count, summary.min, summary.max) == (len(expected), expected.min(), expected.max())
    assert summary.mean == pytest.approx(expected.mean(), rel=1e-12)


# -------------------------------------------------------------------------------------- figures, commands


def test_figures_draw_the_whole_line(root: Path, tmp_path: Path) -> None:
    record(root, [1.0 / (n + 1) for n in range(100)])
    with Experiment.fork("exp_001", root, step=60, **QUIET) as fork:
        for n in range(61, 100):
            fork.log_metric("loss", 0.5 / (n + 1), step=n)
    figure = visualization.plot_metric_comparison(
        ExperimentManager(root), ["exp_001", "exp_002"], "loss", tmp_path / "fork.png"
    )
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 100]
    assert len(lines) == 2
    assert (tmp_path / "fork.png").stat().st_size > 10_000


def frameworm(root: Path, *arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["--root-dir", str(root), *arguments])


def test_commands(root: Path) -> None:
    record(root, [1.0, 2.0, 3.0])
    with Experiment.fork("exp_001", root, step=1, name="fork", **QUIET) as fork:
        fork.log_metric("loss", 5.0)
    with Experiment.resume("exp_001", root, step=0, **QUIET) as base:
        base.log_metric("loss", 7.0)
    done = frameworm(root, "show", "exp_002")
    assert "fork      of exp_001 at step 1" in done.stdout
    assert (done.exit_code, done.stderr) == (0, "")
    assert "rewound   to step 0" in frameworm(root, "show", "exp_001").stdout
    document = json.loads(frameworm(root, "plot", "exp_002", "loss", "--json").stdout)
    assert document[0]["values"] == [1.0, 2.0, 5.0]
    assert json.loads(frameworm(root, "show", "exp_002", "--json").stdout)["parent"]["experiment_id"] == "exp_001"
    done = frameworm(root, "prune", "name == 'base'", "--dry-run")
    assert "forks that lose the points they inherit, until it is restored: exp_002" in done.stdout
    assert "exp_002" not in frameworm(root, "prune", "--status", "completed", "--dry-run").stdout.partition("forks")[2]
    done = frameworm(root, "delete", "exp_001", "--yes")
    assert "exp_002_fork: the points up to step 1 that it inherits from exp_001 are missing" in done.stderr
    assert done.exit_code == 0
    done = frameworm(root, "show", "exp_002")
    assert "warning: exp_002: the points up to step 1" in done.stderr
    assert frameworm(root, "restore", "exp_001").exit_code == 0
    done = frameworm(root, "delete", "exp_001", "exp_002", "--yes")
    assert (done.exit_code, done.stderr) == (0, "")


def test_the_reproduction_of_a_fork_is_a_fork_too(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = record(root, [1.0, 2.0, 3.0])
    program = """
import sys
from frameworm.experiment import Experiment
with Experiment.fork("exp_001", step=1, capture_console=False, system_metrics_s=0) as fork:
    fork.log_metric("loss", 5.0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    original = ExperimentManager(root).get_experiment("exp_002")
    parent = {"relation": "reproduction", "experiment_id": "exp_002", "uid": original["uid"]}
    plan = Plan(0, str(root), str(tmp_path / "scratch"), parent, {"lr": 3}, None)
    plan.write(tmp_path / "plan.json")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "plan.json"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-c", program], check=True, cwd=elsewhere)
    again = ExperimentManager(root).reader("exp_003")
    assert again.info.parent == {**parent, "fork": {**original["parent"]}}
    assert again.info.forked_from["uid"] == base.uid
    assert again.info.config == {"lr": 3}
    assert again.read("loss").values.tolist() == [1.0, 2.0, 5.0]
