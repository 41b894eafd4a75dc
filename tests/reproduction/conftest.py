"""A small project that learns from a file, in git or not, and the folder it is recorded in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from frameworm.experiment import ExperimentManager

TRAIN = """\
import random, sys
from frameworm.experiment import Experiment, seed_everything
import calc
import helper

seed_everything(int(sys.argv[1]))
config = {"training": {"lr": 0.5, "steps": 20}}
with Experiment("walk", config, root_dir=sys.argv[2], system_metrics_s=0) as exp:
    exp.log_dataset("data/points.txt")
    points = [float(line) for line in open("data/points.txt")]
    weight = 0.0
    for step in range(exp.config["training"]["steps"]):
        weight += exp.config["training"]["lr"] * helper.pull(random.choice(points), weight) * calc.FACTOR
        exp.log_metric("weight", weight, step)
        if step % 5 == 4:
            exp.log_metric("error", sum(abs(p - weight) for p in points), step, metric_type="val")
"""
HELPER = "def pull(point, weight):\n    return point - weight\n"


@dataclass
class Project:
    """A project with a script ``train.py``, a module, data, and a package ``calc`` of its own."""

    folder: Path
    root: Path
    site: Path

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *words], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def install(self, version: str, factor: float) -> None:
        for old in self.site.glob("calc*"):
            subprocess.run(["rm", "-r", str(old)], check=True)
        (self.site / f"calc-{version}.dist-info").mkdir(parents=True)
        (self.site / f"calc-{version}.dist-info" / "METADATA").write_text(f"Name: calc\nVersion: {version}\n")
        (self.site / "calc.py").write_text(f"FACTOR = {factor}\n")

    def environment(self) -> dict[str, str]:
        source = str(Path(__file__).parents[2] / "src")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAMEWORM_", "GIT_"))}
        return {**kept, "PYTHONPATH": os.pathsep.join([str(self.site), source]), "PYTHONHASHSEED": "0"}

    def run(self, *words: str, **options: object) -> str:
        """Run Python in the project and return the id of the experiment it recorded."""
        before = set(self.root.glob("exp_*"))
        command = [sys.executable, *(words or ("train.py", "3", str(self.root)))]
        environment = self.environment()
        subprocess.run(command, cwd=self.folder, env=environment, check=True, timeout=120, **options)  # type: ignore[call-overload]
        (made,) = set(self.root.glob("exp_*")) - before
        return made.name[:7]

    @property
    def manager(self) -> ExperimentManager:
        return ExperimentManager(self.root)

    def stored(self, experiment_id: str) -> Path:
        (folder,) = self.root.glob(f"{experiment_id}_*")
        return folder


def make_project(folder: Path, *, in_git: bool) -> Project:
    project = Project(folder / "project", folder / "experiments", folder / "site")
    (project.folder / "data").mkdir(parents=True)
    (project.folder / "train.py").write_text(TRAIN)
    (project.folder / "helper.py").write_text(HELPER)
    (project.folder / "data" / "points.txt").write_text("".join(f"{n * 0.37 % 1}\n" for n in range(40)))
    project.install("1.0", 1.0)
    if in_git:
        (project.folder / ".gitignore").write_text("data/\n__pycache__/\n")
        project.git("init", "-q")
        project.git("add", ".")
        project.git("rm", "-q", "--cached", "helper.py")  # untracked
        project.git("commit", "-qm", "first")
        with open(project.folder / "train.py", "a") as file:
            file.write("# not committed\n")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, in_git=True)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[bool], Project]:
    return lambda in_git: make_project(tmp_path, in_git=in_git)
