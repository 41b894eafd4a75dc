"""Two real runs of a real program, one thing changed between them: the diff names that very thing first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from frameworm.experiment import ExperimentManager
from frameworm.experiment.query.changes import PARTS
from frameworm.experiment.query.diff import ExperimentDiff

SOURCE = Path(__file__).parents[2] / "src"

TRAIN = """\
import json
import random
import sys

import tinymath

from frameworm.experiment import Experiment, seed_everything
from model import gradient

config = json.load(open("config.json"))
seed_everything(config["seed"])
with Experiment("baseline", config, root_dir=sys.argv[1], capture_console=False, system_metrics_s=0) as exp:
    exp.log_dataset("numbers.csv")
    numbers = [float(line) for line in open("numbers.csv")]
    weight = random.random()
    for step in range(40):
        x = random.choice(numbers)
        weight -= config["training"]["lr"] * gradient(weight, x)
        exp.log_metric("loss", tinymath.square(weight - x), step=step)
        if step % 10 == 9:
            exp.log_metric("val_loss", sum(tinymath.square(weight - x) for x in numbers), step=step, metric_type="val")
"""
MODEL = """\
def gradient(weight, x):
    # of the square
    return 2 * (weight - x)
"""
INSTALLED = "1.4.2", "def square(x):\n    return x * x\n"


class Project:
    """A small project with its own data, config and a package installed beside it."""

    def __init__(self, folder: Path, *, git: bool) -> None:
        self.code = folder / "project"
        self.installed = folder / "installed"
        self.root = folder / "experiments"
        self.code.mkdir()
        (self.code / "train.py").write_text(TRAIN)
        (self.code / "model.py").write_text(MODEL)
        (self.code / "config.json").write_text('{"seed": 1, "training": {"lr": 0.1}, "notes": "first"}')
        (self.code / "numbers.csv").write_text("".join(f"{n / 7}\n" for n in range(50)))
        self.install(*INSTALLED)
        self._runs = 0
        if git:
            self.git("init", "--quiet", "--initial-branch=main")
            self.git("add", ".")
            self.git("commit", "--quiet", "-m", "start")

    def install(self, version: str, code: str) -> None:
        """Put a distribution where the program finds it, as pip would."""
        shutil.rmtree(self.installed, ignore_errors=True)
        about = self.installed / f"tinymath-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tinymath\nVersion: {version}\n")
        (self.installed / "tinymath.py").write_text(code)

    def git(self, *words: str) -> None:
        settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *settings, *words], cwd=self.code, check=True, capture_output=True)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.code / name).read_text()
        assert old in text
        (self.code / name).write_text(text.replace(old, new))

    @contextmanager
    def changed_by(self, change: Callable[[Project], None]) -> Iterator[None]:
        """Make a change for a while."""
        kept = {path: path.read_bytes() for path in self.code.iterdir() if path.is_file()}
        change(self)
        yield
        for path, content in kept.items():
            path.write_bytes(content)
        self.install(*INSTALLED)

    def run(self, *, fails: bool = False) -> str:
        """Run the program as it is now and return the experiment's id."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTHON", "FRAMEWORM_"))
        }
        paths = os.pathsep.join([str(SOURCE), str(self.installed)])
        done = subprocess.run(
            [sys.executable, "train.py", str(self.root)],
            cwd=self.code,
            env={**kept, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode != 0) == fails, done.stderr
        self._runs += 1
        return f"exp_{self._runs:03d}"

    def diff(self, a: str, b: str) -> ExperimentDiff:
        return ExperimentManager(self.root).diff(a, b)


@pytest.fixture(scope="module", params=[True, False], ids=["git", "no git"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which exp_001 has run; exp_002 is the same once more."""
    project = Project(tmp_path_factory.mktemp("project"), git=request.param)
    project.run()
    project.run()
    return project


def test_two_runs_of_the_same_are_the_same(project: Project) -> None:
    diff = project.diff("exp_001", "exp_002")
    assert diff.same_metrics and diff.first is None and not diff.causes
    assert [name for name in PARTS if diff.part(name)] == []
    assert (diff.code.basis, diff.code.files) == ("equal", ())
    assert (
        diff.verdict == "Same config, code, data, packages and seed; all 2 series are identical bit for bit, 44 points."
    )


def change_the_config(project: Project) -> None:
    project.edit("config.json", '"lr": 0.1', '"lr": 0.01')


def change_the_code(project: Project) -> None:
    project.edit("model.py", "2 * (weight", "2.5 * (weight")


def change_the_data(project: Project) -> None:
    project.edit("numbers.csv", "\n1.0\n", "\n1.5\n")


def change_the_package(project: Project) -> None:
    project.install("1.5.0", "def square(x):\n    return x**2 * (1 + 2**-52)\n")


@pytest.mark.parametrize(
    ("change", "part", "key", "title"),
    [
        (change_the_config, "config", "training.lr", "config training.lr: 0.1 → 0.01"),
        (change_the_code, "code", "model.py", "code model.py, line 3"),
        (change_the_data, "data", "numbers.csv", "data numbers.csv: another content"),
        (change_the_package, "packages", "tinymath", "package tinymath: 1.4.2 → 1.5.0"),
    ],
)
def test_the_one_thing_that_changed_is_named_first(
    project: Project, change: Callable[[Project], None], part: str, key: str, title: str
) -> None:
    with project.changed_by(change):
        newest = project.run()
    for diff in (project.diff("exp_001", newest), project.diff(newest, "exp_001")):
        assert diff.first is not None and diff.first.label == "loss@train"
        assert (diff.causes[0].part, diff.causes[0].key, diff.causes[0].strength) == (part, key, "likely")
        assert all(cause.strength == "unlikely" for cause in diff.causes[1:])
        assert key in diff.verdict.partition(";")[0]
        assert "metrics part at step" in diff.verdict
    assert project.diff("exp_001", newest).causes[0].title == title


def test_chance_is_named_where_nothing_was_seeded(project: Project) -> None:
    with project.changed_by(lambda project: project.edit("train.py", 'seed_everything(config["seed"])\n', "")):
        a, b = project.run(), project.run()
    diff = project.diff(a, b)
    assert (diff.causes[0].title, diff.code.basis) == ("random generators: not seeded", "equal")
    assert "no seed" in diff.causes[0].evidence


def test_one_that_was_killed_is_the_same_as_far_as_it_goes(project: Project) -> None:
    def kill(project: Project) -> None:
        project.edit(
            "train.py",
            '        exp.log_metric("loss"',
            '        if step == 25:\n            os.kill(os.getpid(), 9)\n        exp.log_metric("loss"',
        )
        project.edit("train.py", "import json", "import json\nimport os")

    with project.changed_by(kill):
        newest = project.run(fails=True)
    diff = project.diff("exp_001", newest)
    assert {one.label: (one.state, one.same_points) for one in diff.series} == {
        "loss@train": ("shorter", 25),
        "val_loss@val": ("shorter", 2),
    }
    assert diff.causes[0].title == f"{newest} ended earlier: crashed"
    assert f"metrics are identical until {newest} ends (loss@train after step 24)" in diff.verdict
