"""Media and alerts: what was logged is there, bit for bit, and bad input is told at the call."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import ArtifactError, FramewormWarning, InputError, MetricError, StateError
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.storage.media import media_path


@pytest.fixture
def exp(tmp_path):
    with Experiment(name="media", root_dir=tmp_path / "root", capture_console=False, system_metrics_s=0) as experiment:
        yield experiment


def items(experiment: Experiment) -> list[dict]:
    return ExperimentReader(experiment.exp_dir).media()


def content(experiment: Experiment, item: dict) -> bytes:
    return media_path(experiment.exp_dir, item["digest"], item["suffix"]).read_bytes()


def picture(experiment: Experiment, item: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content(experiment, item))))


GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        pytest.param(GREY, GREY, id="grey"),
        pytest.param(GREY[:, :, None], GREY, id="one channel"),
        pytest.param(COLOUR, COLOUR, id="channels last"),
        pytest.param(np.moveaxis(np.tile(COLOUR, (3, 3, 1)), 2, 0), np.tile(COLOUR, (3, 3, 1)), id="channels first"),
        pytest.param(GREY > 5, (GREY > 5) * np.uint8(255), id="bool"),
        pytest.param(np.array([[0.0, 1.0, 2.0, -1.0, np.nan]]), np.array([[0, 255, 255, 0, 0]], np.uint8), id="floats"),
        pytest.param(Image.fromarray(COLOUR), COLOUR, id="PIL"),
    ],
)
def test_a_picture_comes_out_as_it_went_in(exp, given, stored):
    exp.log_image("sample", given, step=7, epoch=1, metric_type="val", caption="a caption")
    (item,) = items(exp)
    assert (picture(exp, item) == stored).all() and picture(exp, item).shape == stored.shape
    about = {key: item[key] for key in ("kind", "name", "context", "step", "epoch", "caption", "width", "height")}
    assert about == {
        "kind": "image", "name": "sample", "context": "val", "step": 7, "epoch": 1, "caption": "a caption",
        "width": stored.shape[1], "height": stored.shape[0],
    }  # fmt: skip


def test_a_tensor_is_a_picture(exp):
    torch = pytest.importorskip("torch")
    exp.log_image("sample", torch.ones(3, 5, 6, dtype=torch.bfloat16, requires_grad=True))
    assert (picture(exp, items(exp)[0]) == np.full((5, 6, 3), 255)).all()


def test_a_file_is_taken_as_it_is(exp, tmp_path):
    path = tmp_path / "named.wrongly"
    Image.fromarray(COLOUR).save(path, "JPEG")
    exp.log_image("sample", path)
    assert content(exp, items(exp)[0]) == path.read_bytes() and items(exp)[0]["suffix"] == "jpg"


def test_sound_is_a_wav(exp):
    exp.log_audio("tone", np.array([[0.0, 1.0], [-1.0, np.nan], [5.0, 0.5]]), sample_rate=8000)
    (item,) = items(exp)
    with wave.open(io.BytesIO(content(exp, item))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        samples = np.frombuffer(file.readframes(10), "<i2").reshape(-1, 2)
    assert samples.tolist() == [[0, 32767], [-32767, 0], [32767, 16384]]
    assert item["duration_s"] == 3 / 8000


def test_a_film_has_its_frames(exp):
    exp.log_video("walk", np.zeros((5, 8, 9, 3), np.uint8) + np.arange(5, dtype=np.uint8)[:, None, None, None] * 50)
    (item,) = items(exp)
    assert Image.open(io.BytesIO(content(exp, item))).n_frames == 5
    assert (item["frames"], item["width"], item["height"]) == (5, 9, 8)


def test_a_histogram_counts_what_is_finite(exp):
    exp.log_histogram("weights", np.array([[0.0, 1.0], [np.nan, np.inf]]), bins=2)
    exp.log_histogram("weights", np.histogram([1, 2, 2, 3], bins=3))
    exp.log_histogram("weights", [])
    first, second, empty = items(exp)
    assert (first["counts"], first["edges"], first["not_finite"]) == ([1, 1], [0.0, 0.5, 1.0], 2)
    assert second["counts"] == [1, 2, 1]
    assert empty["counts"] == [] and [item["step"] for item in items(exp)] == [0, 1, 2]


def test_a_table_keeps_its_cells_and_pictures(exp):
    pandas = pytest.importorskip("pandas")
    exp.log_table("errors", pandas.DataFrame({"n": [1, 2**60], "x": [0.5, float("nan")], "s": ["a", None]}))
    exp.log_table("errors", [{"digit": GREY, "label": 3}, {"label": np.int64(4), "odd": {1}}])
    first, second = items(exp)
    assert json.loads(content(exp, first))["rows"] == [[1, 0.5, "a"], [str(2**60), {"number": "nan"}, None]]
    table = json.loads(content(exp, second))
    assert table["columns"] == ["digit", "label", "odd"] and table["rows"][1] == [None, 4, "{1}"]
    cell = table["rows"][0][0]
    stored = media_path(exp.exp_dir, cell["image"], cell["suffix"])
    assert (np.asarray(Image.open(stored)) == GREY).all()


def test_text_and_figures(exp):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2])
    exp.log_text("story", "ünïcode\n\x1b[31mred <script>")
    exp.log_figure("plot", figure)
    story, plot = items(exp)
    assert content(exp, story).decode() == "ünïcode\n\x1b[31mred <script>"
    assert plot["kind"] == "figure" and picture(exp, plot).shape[:2] == (plot["height"], plot["width"])


def test_equal_contents_are_one_file(exp):
    for step in range(5):
        exp.log_image("same", GREY, step=step)
    assert len({item["digest"] for item in items(exp)}) == 1
    assert len([path for path in (exp.exp_dir / "media").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (lambda e: e.log_image("x", np.zeros((2, 3, 5, 7))), r"shape .* got \(2, 3, 5, 7\)"),
        (lambda e: e.log_image("x", np.full((2, 2), 256)), "0 to 255, or .* got 256 to 256"),
        (lambda e: e.log_image("x", "missing.png"), "missing.png.* cannot be read"),
        (lambda e: e.log_image("x", __file__), "first bytes"),
        (lambda e: e.log_image("x", object()), "expected numbers, got object"),
        (lambda e: e.log_audio("x", [0.0]), "sample_rate: expected"),
        (lambda e: e.log_audio("x", np.zeros((2, 2, 3)), 8000), r"got \(2, 2, 3\)"),
        (lambda e: e.log_video("x", []), "expected frames of one size, got 0"),
        (lambda e: e.log_video("x", np.zeros((2, 3, 3)), fps=0), "fps: expected"),
        (lambda e: e.log_histogram("x", ["a"]), "expected numbers"),
        (lambda e: e.log_histogram("x", [1], bins=0), "bins: expected 1 to 1024, got 0"),
        (lambda e: e.log_table("x", [[1, 2]], columns=["a"]), "row 0 has 2 cells for 1 columns"),
        (lambda e: e.log_table("x", {"a": 1}), "expected a DataFrame"),
        (lambda e: e.log_text("x", 5), "expected a str, got int 5"),
        (lambda e: e.log_figure("x", 5), "expected one of matplotlib or plotly"),
        (lambda e: e.alert("x", level="loud"), "level: expected info, warning, error, got 'loud'"),
        (lambda e: e.alert(" "), "title: expected a line"),
    ],
)
def test_what_cannot_be_kept_is_told_and_leaves_nothing(exp, log, message):
    with pytest.raises(InputError, match=message):
        log(exp)
    assert items(exp) == []


def test_names_and_steps_are_checked_as_those_of_metrics(exp):
    with pytest.raises(MetricError, match="at least one character"):
        exp.log_image("", GREY)
    with pytest.raises(MetricError, match="step: expected an int"):
        exp.log_text("x", "y", step=0.5)


def test_ended_it_refuses_and_keeps_all_when_sealed(tmp_path):
    with Experiment(name="m", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        exp.log_text("story", "one")
        exp.alert("look", "at this\nnow", level="error")
    with pytest.raises(StateError):
        exp.log_text("story", "two")
    reader = ExperimentReader(exp.exp_dir)
    assert [item["step"] for item in reader.media()] == [0]
    (alert,) = reader.info.alerts
    assert alert["time_ms"] >= reader.info.created_ms
    assert (alert["title"], alert["text"], alert["level"]) == ("look", "at this\nnow", "error")
    with Experiment.resume(exp.experiment_id, tmp_path, capture_console=False, system_metrics_s=0) as again:
        again.log_text("story", "two")
    assert [item["step"] for item in ExperimentReader(exp.exp_dir).media()] == [0, 1]


def test_a_disk_that_refuses_warns_and_training_goes_on(exp):
    (exp.exp_dir / "media").write_text("in the way")
    with pytest.warns(FramewormWarning, match="text 'story' was not stored"):
        exp.log_text("story", "one")
    with pytest.warns(FramewormWarning, match="table 'errors' was not stored"):
        exp.log_table("errors", [{"digit": GREY}])
    assert items(exp) == []


def test_the_path_of_a_content_cannot_lead_elsewhere(tmp_path):
    for digest, suffix in (("sha256:../../etc/passwd", "txt"), ("sha256:" + "0" * 64, "html"), ("", "png")):
        with pytest.raises(ArtifactError):
            media_path(tmp_path, digest, suffix)


def test_what_was_logged_survives_kill(tmp_path):
    program = """
import os, signal, sys
from frameworm.experiment import Experiment, ExperimentManager
exp = Experiment(name="killed", root_dir=sys.argv[1], capture_console=False, system_metrics_s=0).start()
exp.log_text("story", "told")
exp.log_histogram("weights", [1, 2, 3])
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (folder,) = Path(tmp_path).glob("exp_001*")
    story, weights = ExperimentReader(folder).media()
    assert media_path(folder, story["digest"], story["suffix"]).read_text() == "told"
    assert sum(weights["counts"]) == 3


def test_a_forked_child_logs_too(exp):
    exp.log_text("story", "parent")
    child = os.fork()
    if child == 0:
        try:
            exp.log_text("story", "child")
            exp.end()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert sorted((item["step"], content(exp, item)) for item in items(exp)) == [(0, b"parent"), (1, b"child")]


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lambda path: path.unlink(), "media-missing"),
        (lambda path: (path.unlink(), path.write_text("tolt")), "media-changed"),
        (lambda path: (path.unlink(), path.write_text("longer")), "media-changed"),
    ],
)
def test_the_doctor_tells_what_is_not_as_recorded(tmp_path, harm, kind):
    with Experiment(name="m", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        exp.log_text("story", "told")
    assert not ExperimentManager(tmp_path).doctor().findings
    harm(media_path(exp.exp_dir, items(exp)[0]["digest"], "txt"))
    assert [finding.kind for finding in ExperimentManager(tmp_path).doctor().findings] == [kind]
