"""Each example runs, quickly, as its user would run it; and what it recorded is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from frameworm.experiment import ExperimentManager

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(tmp_path):
    def run(name: str, *arguments: str) -> tuple[str, ExperimentManager]:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), "--root-dir", str(tmp_path / "experiments"), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        return done.stdout, ExperimentManager(tmp_path / "experiments")

    return run


def test_every_example_is_tested():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert names <= tested


def test_quickstart(run):
    shown, manager = run("quickstart.py", "--epochs", "3")
    assert "exp_001 completed: 132 steps recorded" in shown
    assert len(manager.get_metric_history("exp_001", "loss")) == 132
    assert manager.get_metric_history("exp_001", "val_accuracy")["metric_value"].iloc[-1] > 0.9
    found = manager.get_experiment("exp_001")
    assert found["config"]["training"]["lr"] == 0.05
    assert list(manager.root_dir.glob("exp_001*/artifacts/weights.npz"))


def test_pytorch_loop(run):
    shown, manager = run("pytorch_loop.py", "--epochs", "2")
    assert "exp_001 completed: 46 steps recorded" in shown
    assert len(manager.get_metric_history("exp_001", "loss")) == 46
    assert manager.get_metric_history("exp_001", "val_accuracy")["metric_value"].iloc[-1] > 0.7
    assert list(manager.root_dir.glob("exp_001*/checkpoints/best.pt"))


def test_many_processes(run):
    shown, manager = run("many_processes.py", "--epochs", "40", "--processes", "3")
    assert "exp_001: 3 processes logged to it" in shown
    reader = manager.reader("exp_001")
    for fold in (1, 2, 3):
        points = reader.read("val_accuracy", f"fold-{fold}")
        assert points.steps.tolist() == list(range(1, 41))
        assert points.values[-1] > 0.8
    assert manager.get_experiment("exp_001")["status"] == "completed"


def test_vae_digits(run, tmp_path):
    shown, manager = run("vae_digits.py", "--epochs", "2", "--plots", str(tmp_path / "plots"))
    listed = manager.list_experiments(tags=["vae", "digits"], status="completed")
    assert list(listed["experiment_id"]) == ["exp_003", "exp_002", "exp_001"]
    assert list(listed["name"]) == ["beta-vae", "vae-high-lr", "vae-baseline"]
    compared = manager.compare_experiments(["exp_001", "exp_002", "exp_003"], metrics=["loss", "val_loss", "kl_div"])
    assert (compared[["loss", "val_loss", "kl_div"]] > 0).all(axis=None)
    for path in ("comparison.png", "metrics.png", "grid.png"):
        assert (tmp_path / "plots" / path).stat().st_size > 10_000
        assert path in shown
    for folder in manager.root_dir.glob("exp_*"):
        assert (folder / "artifacts" / "digits.png").exists()
        assert (folder / "checkpoints" / "best.pt").exists()
