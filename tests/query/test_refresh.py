"""A reader that is kept and refreshed tells what one opened just now would."""

import os
import subprocess
import sys
import textwrap

import pytest

from frameworm.experiment import Experiment
from frameworm.experiment.keeping.edit import edit
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.recording.recorder import Recorder
from frameworm.experiment.recording.seal import seal


def told(reader: ExperimentReader) -> list[object]:
    series = {key: repr(reader.read(*key).values.tolist()) for key in reader.keys()}
    info = reader.info
    facts = (info.status, info.name, info.tags, info.notes, info.config, len(info.artifacts), info.git, info.reason)
    return [series, repr(reader.summaries()), facts, list(map(str, reader.damage))]


def same(reader: ExperimentReader) -> bool:
    """Compare with one just opened; what a background thread recorded in between is taken in first."""
    for _ in range(50):
        fresh = told(ExperimentReader(reader.exp_dir))
        if fresh == told(reader) or not reader.refresh():
            break
    return fresh == told(reader)


@pytest.fixture
def running(tmp_path):
    exp = Experiment("live", root_dir=tmp_path, capture_console=False, system_metrics_s=0)
    exp.start()
    exp.log_metric("loss", 1.0)
    yield exp
    exp.end()


def test_what_was_logged_since_is_there(running):
    reader = ExperimentReader(running.exp_dir)
    for step in range(5):
        running.log_metric("loss", step / 3)
        running.log_metrics({"a": step, "b": -step}, metric_type="val")
        assert reader.refresh()
        assert reader.read("loss").values[-1] == step / 3
        assert same(reader)
    running.set_tags(["new"])
    running.add_note("seen")
    assert reader.refresh()
    assert reader.info.tags == ("new",)
    assert [note.text for note in reader.info.notes] == ["seen"]
    assert same(reader)


def test_an_experiment_that_ends_is_read_from_its_segment(running):
    reader = ExperimentReader(running.exp_dir)
    points = reader.read("loss")
    running.end()
    assert reader.refresh()
    assert reader.info.status == "completed"
    assert same(reader)
    assert points.values.tolist() == reader.read("loss").values.tolist()
    assert not reader.refresh()


def test_every_writer_that_comes_or_goes_is_noticed(running):
    reader = ExperimentReader(running.exp_dir)
    logs = running.exp_dir / "logs"
    other = Recorder(logs, {"host": "elsewhere", "pid": 7, "role": "attached"})
    other.log_metric("loss", 7.0, None, None, "train")
    assert reader.refresh()
    assert same(reader)
    assert len(reader.read("loss")) == 2
    other.log_metric("more", 8.0, None, None, "train")
    assert reader.refresh()
    assert same(reader)
    name = other.name
    other.close()
    seal(logs, name)
    assert reader.refresh()
    assert same(reader)
    assert len(reader.read("more")) == 1
    os.rename(logs / name.segment, logs / "aside")
    assert reader.refresh()
    assert same(reader)


def test_a_journal_that_goes_on_in_the_next_is_one_series(tmp_path):
    exp_dir = tmp_path / "exp_001_x"
    logs = exp_dir / "logs"
    logs.mkdir(parents=True)
    writer = Recorder(logs, {"host": "h", "pid": os.getpid()})
    writer.event("create", experiment_id="exp_001", uid="0" * 32, name="x", project="default", description="")
    reader = ExperimentReader(exp_dir)
    expected = []
    for n in range(1, 4):
        for step in range(10):
            writer.log_metric("loss", step * n, None, None, "train")
            expected.append(float(step * n))
        assert reader.refresh()
        assert reader.read("loss").values.tolist() == expected
        name = writer.name
        writer.close()
        if n < 3:
            writer = Recorder(logs, {"host": "h", "pid": os.getpid()}, after=name.n)
            seal(logs, WriterName(name.n, name.host, name.pid))
    reader.refresh()
    assert same(reader)


def test_a_writer_that_dies_without_a_byte_is_news(tmp_path):
    script = """
        import sys, time
        from frameworm.experiment import Experiment
        exp = Experiment("dies", root_dir=sys.argv[1], capture_console=False, system_metrics_s=0).start()
        exp.log_metric("loss", 1.0)
        print(exp.exp_dir, flush=True)
        sys.stdin.read()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdin=-1, stdout=-1, text=True
    )
    try:
        assert child.stdout is not None
        reader = ExperimentReader(tmp_path / child.stdout.readline().strip())
        assert reader.info.status == "running"
    finally:
        child.kill()
        child.communicate()
    assert reader.refresh()
    assert reader.info.status == "crashed"
    assert same(reader)
    assert not reader.refresh()


def test_a_settled_folder_is_not_listed_again_until_it_changes(tmp_path, monkeypatch):
    with Experiment("done", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        exp.log_metric("loss", 1.0)
    reader = ExperimentReader(exp.exp_dir)
    with monkeypatch.context() as patch:
        patch.setattr("frameworm.experiment.query.read.open_sources", None)  # whoever lists fails
        with pytest.raises(TypeError):
            reader.refresh()  # two changes within a tick of the file system's clock look like one
    monkeypatch.setattr("frameworm.experiment.query.read._SETTLED_NS", 0)
    assert not reader.refresh()
    with monkeypatch.context() as patch:
        patch.setattr("frameworm.experiment.query.read.open_sources", None)
        assert not reader.refresh()
    edit(exp.exp_dir, {"type": "tags", "tags": ["late"]})
    assert reader.refresh()
    assert list(reader.info.tags) == ["late"] and same(reader)
