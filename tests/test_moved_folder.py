"""The folder moves, goes or is replaced while it is recorded into: nothing raises, nothing is made in its old place."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import FramewormWarning
from frameworm.experiment.query.read import ExperimentReader


def renamed(exp_dir: Path) -> Path:
    return exp_dir.rename(exp_dir.with_name(f"{exp_dir.name}_renamed"))


def moved_to_another_root(exp_dir: Path) -> Path:
    (exp_dir.parent.parent / "other").mkdir()
    return exp_dir.rename(exp_dir.parent.parent / "other" / exp_dir.name)


def root_renamed(exp_dir: Path) -> Path:
    return exp_dir.parent.rename(exp_dir.parent.with_name("renamed")) / exp_dir.name


def parent_renamed(exp_dir: Path) -> Path:
    above = exp_dir.parent.parent
    return above.rename(above.with_name("above_renamed")) / exp_dir.parent.name / exp_dir.name


def moved_and_replaced(exp_dir: Path) -> Path:
    moved = renamed(exp_dir)
    exp_dir.mkdir()
    return moved


def moved_and_copied_back(exp_dir: Path) -> Path:
    moved = renamed(exp_dir)
    shutil.copytree(moved, exp_dir)
    return moved


def moved_and_linked(exp_dir: Path) -> Path:
    moved = moved_to_another_root(exp_dir)
    exp_dir.symlink_to(moved)
    return moved


def deleted(exp_dir: Path) -> None:
    while exp_dir.exists():  # its background thread may write amid it
        shutil.rmtree(exp_dir, ignore_errors=True)


def root_deleted(exp_dir: Path) -> None:
    deleted(exp_dir.parent)


def replaced_by_a_folder(exp_dir: Path) -> None:
    deleted(exp_dir)
    for part in ("artifacts", "checkpoints", "logs", "media", "provenance"):
        (exp_dir / part).mkdir(parents=True)


def replaced_by_a_file(exp_dir: Path) -> None:
    deleted(exp_dir)
    exp_dir.write_text("mine")


HARMS = [
    renamed, moved_to_another_root, root_renamed, parent_renamed, moved_and_replaced, moved_and_copied_back,
    moved_and_linked, deleted, root_deleted, replaced_by_a_folder, replaced_by_a_file,
]  # fmt: skip


def log_everything(exp: Experiment, made: Path, step: int) -> None:
    exp.log_metric("loss", float(step), step=step)
    exp.log_text("text", f"text {step}", step=step)
    exp.log_image("image", np.full((2, 2), step, np.uint8), step=step)
    exp.log_table("table", [{"step": step}], step=step)
    exp.log_histogram("histogram", [1.0, step], step=step)
    made.write_text(f"model {step}")
    exp.log_artifact(made, artifact_name="models/model.txt")
    exp.alert(f"alert {step}")
    exp.update_config({"step": step})
    exp.add_note(f"note {step}")
    exp.set_tags([f"step {step}"])


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        os.path.join(parent, name): Path(parent, name).read_bytes()
        for parent, _, names in os.walk(folder)
        for name in names
    }


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_all_is_where_the_experiment_is_now_and_nothing_where_it_was(tmp_path: Path, harm) -> None:
    root = tmp_path / "above" / "experiments"
    exp = Experiment("run", {"step": 0}, root_dir=root, capture_console=False, system_metrics_s=0)
    old = exp.exp_dir
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with exp:
            log_everything(exp, tmp_path / "made", 1)
            exp._recorder.stop_thread(5.0)  # what follows must not need its help
            exp._refresh_metadata()
            saved = exp.checkpoint_dir / "last.txt"
            saved.write_text("weights")
            now = harm(old)
            there = tree(old)
            log_everything(exp, tmp_path / "made", 2)
            exp._refresh_metadata()
            exp.log_artifact(saved)  # by the path that it was saved under
            exp.flush()
        told = [str(one.message) for one in caught if issubclass(one.category, FramewormWarning)]
    assert [one.category for one in caught if not issubclass(one.category, FramewormWarning)] == []
    if not old.is_symlink():
        assert tree(old) == there, "something was written to the old place"
    if now is None:
        assert any(str(old) in one and "removed" in one for one in told)
        return
    assert os.path.samefile(exp.exp_dir, now)
    assert old.is_symlink() or any(str(old) in one and str(now) in one for one in told)
    reader = ExperimentReader(now)
    assert reader.info.status == "completed"
    assert reader.read("loss").values.tolist() == [1.0, 2.0]
    assert sorted({item["name"] for item in reader.media()}) == ["histogram", "image", "table", "text"]
    assert reader.info.config["step"] == 2 and reader.info.tags == ("step 2",)
    assert (now / next(one.path for one in reader.info.artifacts if one.name == "last.txt")).read_text() == "weights"
    assert (now / "artifacts" / "models" / "model.v2.txt").read_text() == "model 2"
    if not old.exists():
        assert ExperimentManager(now.parent).doctor().findings == []
