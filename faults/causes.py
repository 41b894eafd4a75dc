"""The right cause first: one thing is changed between two real runs of a small project, and the diff has to name it.

A project is laid out in a folder in one of several ways, run, changed, and run again, each time as a process of its
own. What ``diff`` names first is compared with what was changed; a second, idle change lies beside the harder ones.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from faults.harness import Run
from faults.workload import Found
from frameworm.experiment import ExperimentManager

SOURCE = Path(__file__).parents[1] / "src"

TRAIN = """\
import json, os, pathlib, random, sys
from frameworm.experiment import Experiment, seed_everything
from {package}model import gradient
from {package}test_time_aug import augmented
import hidden, outside, tinymath

HOME = pathlib.Path(__file__).resolve().parents[UP]
config = json.loads((HOME / "config.json").read_text())
if config.get("seed") is not None:
    seed_everything(config["seed"], deterministic=config.get("deterministic", True))
scale = float(os.environ.get("SCALE", "1")) + len(os.getenv("SERVICE_TOKEN", ""))
numbers = [float(line) for line in (HOME / "data/train.csv").read_text().split()]
labels = [float(line) for line in (HOME / "data/test/labels.csv").read_text().split()]
prompt = len((HOME / "prompts/system.md").read_text()) + len((HOME / "notes.txt").read_text())
shift = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
local = float(pathlib.Path("local.txt").read_text()) if os.path.exists("local.txt") else 0.0
given = float(sys.stdin.readline() or 0) if os.environ.get("READS_INPUT") else 0.0
threads = 2.0**-52 * float(os.environ.get("OMP_NUM_THREADS", "1"))
last = HOME / "last.json"
count = json.loads(last.read_text())["count"] if last.exists() else 0
with open(HOME / "results.csv", "a") as results:
    results.write("started\\n")
root = os.environ["FRAMEWORM_TEST_ROOT"]
with Experiment("run", config, root_dir=root, capture_console=False, system_metrics_s=0) as exp:
    weight = random.random()
    late = 1e-9 if os.environ.get("DRIFTS") else 0.0
    for step in range(20):
        weight -= config["lr"] * gradient(weight, random.choice(numbers) * scale)
        extra = augmented(0) + hidden.OFFSET + outside.OFFSET + shift + local + given + sum(labels) + prompt
        extra += sum(map(float, (config.get("log", 0), len(config.get("date", "")), len(config.get("note", "")))))
        extra += sum(i * len(name) for i, name in enumerate(config.get("layers", {})))
        loss = tinymath.square(weight) + extra
        loss *= 1 + (threads if config.get("fine") else 0) + (late if step == 15 else 0)
        if os.environ.get("TRULY_RANDOM"):
            loss *= 1 + 3 * int.from_bytes(os.urandom(2)) / 65536
        exp.log_metric("loss", loss, step=step)
last.write_text(json.dumps({"count": count + 1}))
"""
FILES = {
    "config.json": '{"seed": 1, "lr": 0.1, "note": "a", "log": 0, "date": "2020-01-01", "layers": {"a": 1, "bbb": 2}}',
    "data/train.csv": "".join(f"{n / 7}\n" for n in range(50)),
    "data/test/labels.csv": "1\n2\n",
    "prompts/system.md": "You are helpful.\n",
    "notes.txt": "four",
    "README.md": "About.\n",
    "evaluate.py": "print('not run')\n",
    ".gitignore": "hidden.py\nresults.csv\nlast.json\n*.cache\n",
}
MODULES = {
    "model.py": "def gradient(weight, x):\n    # of the square\n    return 2 * (weight - x)\n",
    "test_time_aug.py": "def augmented(x):\n    return x + 1\n",
}
LAYOUTS = ("git", "dirty", "plain", "package", "src", "subfolder", "submodule", "elsewhere")


class Project:
    """A small project, laid out in one of the ways."""

    def __init__(self, folder: Path, layout: str) -> None:
        self.layout, self.folder = layout, folder
        self.root, self.libraries = folder / "experiments", folder / "libraries"
        self.outside = folder / "outside"
        self.home = folder / "project"
        inside = {"package": "pkg", "src": "src/pkg", "subfolder": "scripts"}.get(layout, "")
        self.code = self.home / inside
        self.code.mkdir(parents=True)
        self.variables: dict[str, str] = {}
        self.words: list[str] = []
        self.given = ""
        self.cwd = folder if layout == "elsewhere" else self.home
        package = "pkg." if layout in ("package", "src") else ""
        text = TRAIN.replace("{package}", package).replace("UP", str(inside.count("/") + 1 if inside else 0))
        self.write(self.code / "train.py", text)
        for name, content in MODULES.items():
            self.write(self.code / name, content)
        if package:
            self.write(self.code / "__init__.py", "")
        for name, content in FILES.items():
            self.write(self.home / name, content)
        self.write(self.code / "hidden.py", "OFFSET = 0.0\n")
        self.write(self.outside / "outside.py", "OFFSET = 0.0\n")
        self.install("1.0", "x * x")
        self.git_dir = self.home
        if layout == "submodule":
            self.git_dir = self.home / "vendor"
            self.write(self.git_dir / "lib.py", "X = 1\n")
            self.git("init", "-q")
            self.git("add", "-A")
            self.git("commit", "-qm", "library")
            self.git_dir = self.home
        if layout != "plain":
            self.git("init", "-q")
            self.git("add", "-A")
            self.git("commit", "-qm", "start")
        if layout == "dirty":
            self.edit("README.md", "About", "Dirty")
            self.write(self.home / "scratch.py", "x = 1\n")

    def git(self, *words: str) -> None:
        """Call git in the repository."""
        settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "advice.addEmbeddedRepo=false"]
        subprocess.run(["git", *settings, *words], cwd=self.git_dir, check=True, capture_output=True)

    def write(self, path: Path, text: str) -> None:
        """Write a file and make the folders above it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the project, or one of its modules."""
        path = next(folder / name for folder in (self.code, self.home, self.outside) if (folder / name).exists())
        text = path.read_text()
        assert old in text, (name, old)
        path.write_text(text.replace(old, new, 1))

    def config(self, old: str, new: str) -> None:
        """Change the config."""
        self.edit("config.json", old, new)

    def install(self, version: str, code: str) -> None:
        """Put a distribution where the program finds it, as pip would."""
        for about in self.libraries.glob("tinymath*"):
            shutil.rmtree(about) if about.is_dir() else about.unlink()
        about = self.libraries / f"tinymath-{version}.dist-info"
        self.write(about / "METADATA", f"Metadata-Version: 2.1\nName: tinymath\nVersion: {version}\n")
        self.write(self.libraries / "tinymath.py", f"def square(x):\n    return {code}\n")

    def run(self) -> None:
        """Run the program as it is now."""
        kept = {name: value for name, value in os.environ.items() if not re.match("GIT_|PYTHON|FRAMEWORM|OMP_", name)}
        paths = [str(SOURCE), str(self.libraries), str(self.outside), str(self.code)]
        program = [str(self.code / "train.py")]
        if self.layout in ("package", "src"):
            program = ["-m", "pkg.train"]
            paths.append(str(self.code.parent))
        variables = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", **self.variables}
        done = subprocess.run(
            [sys.executable, *program, *self.words],
            cwd=self.cwd,
            env={**kept, "PYTHONHASHSEED": "0", "FRAMEWORM_TEST_ROOT": str(self.root), **variables},
            input=self.given or None,
            stdin=None if self.given else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr


class Change(NamedTuple):
    """One change, and what names it: a regular expression over part, key and title of the first cause."""

    name: str
    truth: str
    before: Callable[[Project], object]
    after: Callable[[Project], object]


def nothing(project: Project) -> None:
    """Change nothing."""


def _set(**variables: str) -> Callable[[Project], object]:
    return lambda project: project.variables.update(variables)


def _edit(name: str, old: str, new: str) -> Callable[[Project], object]:
    return lambda project: project.edit(name, old, new)


def _both(*changes: Callable[[Project], object]) -> Callable[[Project], object]:
    return lambda project: [change(project) for change in changes]


def _filter(project: Project) -> None:
    if project.layout != "plain":
        project.write(project.home / ".gitattributes", "*.txt filter=fixed\n")
        project.git("config", "filter.fixed.clean", "printf four")
        project.git("config", "filter.fixed.smudge", "cat")
        project.git("add", "-A")
        project.git("commit", "-qm", "filter")


def _move(project: Project) -> None:
    project.write(project.folder / "there" / "local.txt", "5")
    project.cwd = project.folder / "there"


def _config(old: str, new: str) -> Callable[[Project], object]:
    return lambda project: project.config(old, new)


def _words(*words: str) -> Callable[[Project], object]:
    return lambda project: project.words.extend(words)


def _give(text: str) -> Callable[[Project], object]:
    return lambda project: setattr(project, "given", text)


def _hide(project: Project) -> None:
    if project.layout != "plain":
        project.git("update-index", "--skip-worktree", "notes.txt")


CODE = _edit("model.py", "2 * (weight", "2.5 * (weight")
DATA = _edit("data/train.csv", "0.0\n", "9.0\n")
IDLE_CODE = _edit("evaluate.py", "not run", "never run")
COMMENT = _edit("model.py", "# of the square", "# of the squared error")
RANDOM = _set(TRULY_RANDOM="1")
CHANGES = (
    Change("code line", r"code.*model\.py", nothing, CODE),
    Change("param", r"config lr\b.*", nothing, _config("0.1", "0.2")),
    Change("seed", r"seed", nothing, _config('"seed": 1', '"seed": 2')),
    Change("data file", r"data/train\.csv", nothing, DATA),
    Change("environment variable", r"SCALE", _set(SCALE="1"), _set(SCALE="1.5")),
    Change("variable only once", r"SCALE", nothing, _set(SCALE="1.5")),
    Change("package", r"packages tinymath", nothing, lambda project: project.install("1.1", "x * x * 1.001")),
    Change("prompt", r"prompts/system\.md", nothing, _edit("prompts/system.md", "helpful", "very helpful")),
    Change("ignored module", r"hidden\.py", nothing, _edit("hidden.py", "0.0", "0.5")),
    Change("library outside", r"outside\.py", nothing, _edit("outside.py", "0.0", "0.5")),
    Change("text file", r"notes\.txt", nothing, _edit("notes.txt", "four", "sixsix")),
    Change(
        "thread count",
        r"OMP_NUM_THREADS",
        _both(_config('"lr"', '"fine": 1, "lr"'), _set(OMP_NUM_THREADS="1")),
        _set(OMP_NUM_THREADS="4"),
    ),
    Change("git filter", r"notes\.txt", _filter, _edit("notes.txt", "four", "seven!!")),
    Change("skip-worktree", r"notes\.txt", _hide, _edit("notes.txt", "four", "eleven")),
    Change("script argument", r"command command", nothing, _words("0.5")),
    Change("standard input", r"unrecorded|stdin", _both(_set(READS_INPUT="1"), _give("1\n")), _give("2\n")),
    Change("working folder", r"command cwd|local\.txt", nothing, _move),
    Change("file named like a test", r"test_time_aug\.py", nothing, _edit("test_time_aug.py", "x + 1", "x + 2")),
    Change("data below test", r"labels\.csv", nothing, _edit("data/test/labels.csv", "2\n", "3\n")),
    Change("param log", r"config log\b", nothing, _config('"log": 0', '"log": 1')),
    Change("param date", r"config date\b", nothing, _config("2020-01-01", "2020-01-01T00")),
    Change("nothing at all", r"nondeterminism", RANDOM, nothing),
)
"""Single changes; each is made on every layout."""

HARDER = (
    Change("comment beside data", r"data/train\.csv", nothing, _both(COMMENT, DATA)),
    Change("unread code beside data", r"data/train\.csv", nothing, _both(IDLE_CODE, DATA)),
    Change(
        "unread code beside an ignored module",
        r"hidden\.py",
        nothing,
        _both(IDLE_CODE, _edit("hidden.py", "0.0", "0.5")),
    ),
    Change(
        "README beside a variable", r"SCALE", _set(SCALE="1"), _both(_set(SCALE="2"), _edit("README.md", "\n", "!\n"))
    ),
    Change(
        "secret variable", r"unrecorded", _set(SERVICE_TOKEN="sk-abcdefgh1234"), _set(SERVICE_TOKEN="sk-abcdefgh123456")
    ),
    Change("order of keys", r"layers|order|config\.json", nothing, _config('{"a": 1, "bbb": 2}', '{"bbb": 2, "a": 1}')),
    Change("idle variable beside chance", r"nondeterminism", _both(RANDOM, _set(JOB_ID="1")), _set(JOB_ID="2")),
    Change("comment beside chance", r"nondeterminism", RANDOM, COMMENT),
    Change("unread code beside chance", r"nondeterminism", RANDOM, IDLE_CODE),
    Change(
        "data touched beside chance",
        r"nondeterminism",
        RANDOM,
        lambda project: os.utime(project.home / "data/train.csv", (1, 1)),
    ),
    Change("drift late by a variable", r"DRIFTS", nothing, _set(DRIFTS="1")),
    Change(
        "note param beside code",
        r"code.*model\.py",
        nothing,
        _both(CODE, _config('"seed": 1', '"name": "b", "seed": 1')),
    ),
    Change("same size, other content", r"data/train\.csv", nothing, _edit("data/train.csv", "0.0\n", "7.0\n")),
)
"""Changes beside which something idle changes too, or of which only a trace was recorded; on half of the layouts."""


def trials(*, full: bool) -> Iterator[tuple[str, Change]]:
    """Yield layouts and changes: each on each, or a few."""
    if full:
        yield from itertools.product(LAYOUTS, CHANGES)
        yield from itertools.product(LAYOUTS[:4], HARDER)
    else:
        yield from zip(itertools.cycle(LAYOUTS), (*CHANGES, *HARDER)[::4], strict=False)


def first_cause(project: Project, change: Change) -> str:
    """Run, change, run again, and return part, key and title of what is named first."""
    change.before(project)
    project.run()
    change.after(project)
    project.run()
    causes = ExperimentManager(project.root).diff("exp_001", "exp_002").causes
    return f"{causes[0].part} {causes[0].key}: {causes[0].title}" if causes else "no cause"


def named_first(run: Run) -> None:
    """Make each change between two runs; the first cause is what was changed."""

    def trial(item: tuple[str, Change], folder: Path) -> Found:
        layout, change = item
        named = first_cause(Project(folder, layout), change)
        if not re.search(change.truth, named):
            raise AssertionError(f"{layout}, {change.name}: named {named!r}")
        return Found(0, 0)

    run.trials(trials(full=run.full), trial)
    run.remarks.append(f"{run.survived} of {run.injected} right")
