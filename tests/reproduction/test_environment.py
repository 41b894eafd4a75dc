"""Interpreters, packages and variables: what is set again, what is named, and environments made from a list."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment.errors import ReproductionError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.provenance.environment import capture_quick, capture_slow
from frameworm.experiment.reproduction.environment import surround
from frameworm.experiment.reproduction.layout import Layout
from frameworm.experiment.reproduction.repository import Repository
from frameworm.experiment.reproduction.venv import make_venv

from .conftest import Project


@pytest.fixture(scope="module")
def info() -> ExperimentInfo:
    environment = json.loads(json.dumps({**capture_quick(), **capture_slow()}))
    environment["variables"] = {"PYTHONHASHSEED": "5"}
    states = {"states": {"python": "x"}, "hash_randomization": False}
    return ExperimentInfo("exp_001", "0" * 32, "e", Path("/x"), environment=environment, randomness=states)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    tree = tmp_path / "proj"
    tree.mkdir()
    old = Path("/old/proj")
    return Layout(tmp_path, old, old, tree, tree, [(str(old), str(tree))])


def told(layout: Layout, kind: str) -> list[str]:
    return [remark.text for remark in layout.remarks if remark.kind == kind]


def changed(info: ExperimentInfo, **facts: Any) -> ExperimentInfo:
    return replace(info, environment={**info.environment, **facts})


def test_every_difference_is_named_and_nothing_else(info: ExperimentInfo, layout: Layout) -> None:
    packages = {**info.environment["packages"], "numpy": "1.0", "gone-package": "3.2"}
    del packages["click"]
    old = changed(info, python_version="3.11.0", cpu_model="Abacus", packages=packages, os_release="Old 1")
    old.environment["variables"] = {"OMP_NUM_THREADS": "3"}
    surround(old, layout)
    differing = [text for text in told(layout, "differs") if not text.startswith("LC_CTYPE")]  # Python sets it itself
    assert any(text.startswith("python version: ") for text in differing)
    assert any(text.startswith("cpu model: Abacus → ") for text in differing)
    assert any(text.startswith("numpy 1.0 → ") for text in differing)
    assert "gone-package 3.2, only in the record" in differing
    assert any(text.startswith("click ") and text.endswith("only in this environment") for text in differing)
    assert any(text.startswith("os release: ") for text in differing)
    assert len(differing) == 6


def test_variables_are_those_of_the_record_and_no_others(
    info: ExperimentInfo, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MY_TOKEN", "kept: the program may need it")
    old = changed(info)
    old.environment["variables"] = {"MKL_NUM_THREADS": "2", "XLA_FLAGS": "--key=***", "TORCH_HOME": "/old/proj/cache"}
    here = surround(old, layout)
    assert "OMP_NUM_THREADS" not in here.variables
    assert here.variables["MKL_NUM_THREADS"] == "2"
    assert here.variables["TORCH_HOME"] == f"{layout.tree}/cache"
    assert here.variables["MY_TOKEN"].startswith("kept")
    assert any("XLA_FLAGS held a secret" in text for text in told(layout, "unknown"))


def test_threads_are_as_many_as_they_were_where_processors_are_not(info: ExperimentInfo, layout: Layout) -> None:
    old = replace(changed(info, cpu_count_usable=64), randomness={**info.randomness, "torch_threads": 32})
    here = surround(old, layout)
    assert here.variables["OMP_NUM_THREADS"] == "32"
    assert any(text.startswith("cpu count usable: 64 → ") for text in told(layout, "differs"))


def test_one_process_that_torchrun_started_does_not_wait_for_it(info: ExperimentInfo, layout: Layout) -> None:
    old = changed(info)
    launched = {"WORLD_SIZE": "1", "RANK": "0", "MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    old.environment["variables"] = {**launched, "TORCHELASTIC_RUN_ID": "none"}
    here = surround(old, layout)
    assert not [name for name in here.variables if name.startswith("TORCHELASTIC_")]
    assert here.variables["MASTER_ADDR"] == "127.0.0.1"
    assert (here.variables["RANK"], here.variables["WORLD_SIZE"]) == ("0", "1")
    assert here.variables["MASTER_PORT"] != "29500"


def test_a_lost_standard_input_is_refused(info: ExperimentInfo, layout: Layout) -> None:
    with pytest.raises(ReproductionError, match="standard input is gone: /nowhere"):
        surround(changed(info, stdin="/nowhere"), layout)


# ---------------------------------------------------------------------------------------------- environments


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    yield tmp_path / "cache"


def wheel(folder: Path) -> Path:
    path = folder / "calc-1.5-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("calc.py", "FACTOR = 1.5\n")
        archive.writestr("calc-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: calc\nVersion: 1.5\n")
        archive.writestr("calc-1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("calc-1.5.dist-info/RECORD", "")
    return path


def lock(exp_dir: Path, *lines: str) -> Path:
    (exp_dir / "provenance").mkdir(parents=True, exist_ok=True)
    (exp_dir / "provenance" / "requirements.txt").write_text("\n".join(lines) + "\n")
    return exp_dir


def test_an_environment_is_made_once_from_a_list(
    info: ExperimentInfo, layout: Layout, tmp_path: Path, cache: Path
) -> None:
    editable = tmp_path / "elsewhere"
    (editable / "src").mkdir(parents=True)
    (editable / "src" / "mine.py").write_text("VALUE = 3\n")
    sources = {
        "mine": {"url": editable.as_uri(), "editable": True},
        "lost": {"url": "file:///nowhere/lost", "editable": True},
        "own": {"url": "file:///old/proj", "editable": True},
    }
    exp_dir = lock(tmp_path / "exp", "# Python 3", "frameworm==0.1.0", f"calc @ {wheel(tmp_path).as_uri()}")
    python = make_venv(changed(info, package_sources=sources), exp_dir, layout)
    code = "import calc, mine, frameworm; print(calc.FACTOR, mine.VALUE, frameworm.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1.5 3 0.")
    assert Path(python).is_relative_to(cache)
    assert any(text.startswith("mine was editable; used is") for text in told(layout, "unknown"))
    assert told(layout, "differs") == ["lost was editable, from /nowhere/lost, which is not here"]
    made = Path(python).lstat().st_ctime_ns
    assert make_venv(changed(info, package_sources=sources), exp_dir, layout) == python
    assert Path(python).lstat().st_ctime_ns == made


def test_packages_that_cannot_be_had_are_named(
    info: ExperimentInfo, layout: Layout, tmp_path: Path, cache: Path
) -> None:
    exp_dir = lock(tmp_path / "exp", "torch==9.9.9+cpu")
    with pytest.raises(ReproductionError) as caught:
        make_venv(info, exp_dir, layout)
    assert "ERROR: " in str(caught.value)
    assert "torch==9.9.9+cpu is a build of an index of its own; name that in PIP_EXTRA_INDEX_URL" in str(caught.value)
    assert not [path for path in (cache / "frameworm" / "venvs").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"python_version": "3.1.9"}, r"there is no python3\.1 on PATH"),
        ({"python_implementation": "pypy"}, "it ran on pypy"),
    ],
)
def test_another_python_is_looked_for(
    info: ExperimentInfo, layout: Layout, tmp_path: Path, facts: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReproductionError, match=message):
        make_venv(changed(info, **facts), lock(tmp_path / "exp"), layout)


# ---------------------------------------------------------------------------------------------- repositories


def test_contents_of_git_lfs_come_from_its_store(project: Project, tmp_path: Path) -> None:
    import hashlib

    content = b"large content " * 100
    digest = hashlib.sha256(content).hexdigest()
    other = "0" * 64
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 1400\n"
    (project.folder / "model.bin").write_text(pointer.format(digest))
    (project.folder / "lost.bin").write_text(pointer.format(other))
    project.git("add", "model.bin", "lost.bin")
    project.git("commit", "-qm", "large files")
    stored = project.folder / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4]
    stored.mkdir(parents=True)
    (stored / digest).write_bytes(content)
    repository = Repository(tmp_path / "laid", project.git("rev-parse", "HEAD"))
    repository.obtain([project.folder], tmp_path / "none", None)
    repository.check_out(None)
    assert repository.fill_large_files() == ["lost.bin"]
    assert (tmp_path / "laid" / "model.bin").read_bytes() == content


def test_a_fork_is_run_again_as_a_fork(project: Project) -> None:
    project.run()
    (project.folder / "fork.py").write_text(
        "import sys\nfrom frameworm.experiment import Experiment\n"
        "config = {'training.lr': 0.1}\n"
        "with Experiment.fork('exp_001', sys.argv[1], step=9, config=config, system_metrics_s=0) as exp:\n"
        "    for step in range(10, 15):\n        exp.log_metric('weight', step * exp.config['training']['lr'], step)\n"
    )
    command = [sys.executable, "fork.py", str(project.root)]
    subprocess.run(command, cwd=project.folder, env=project.environment(), check=True)
    found = project.manager.reproduce("exp_002", strict=True)
    assert found.outcome == "identical"
    assert found.verdict == "bit-identical over 5 points of 1 series"  # what it inherits proves nothing
    said = [one.text for one in found.remarks if one.text.startswith("exp_002 is a fork")]
    assert said == [
        "exp_002 is a fork of exp_001: its own points are compared, not those up to step 9 that it inherits"
    ]
    assert found.diff.b.parent["relation"] == "reproduction"
