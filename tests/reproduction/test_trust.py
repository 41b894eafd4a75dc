"""Whose record it is: only what the user recorded here is run without a word."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import ReproductionError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.provenance.signature import SIGNATURE, is_own
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.reproduction.trust import allowed_variables, foreign

from .conftest import Project


def own(folder: Path) -> bool:
    return is_own(folder, ExperimentReader(folder).info)


@pytest.fixture
def imported(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentManager:
    monkeypatch.setenv("PYTHONPATH", project.environment()["PYTHONPATH"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    project.run()
    project.manager.export("exp_001", tmp_path / "bundle.zip", data=True)
    (tmp_path / "elsewhere").mkdir()
    manager = ExperimentManager(tmp_path / "elsewhere")
    manager.import_bundle(tmp_path / "bundle.zip")
    return manager


def test_an_import_runs_only_after_a_word(imported: ExperimentManager) -> None:
    with pytest.raises(ReproductionError) as caught:
        imported.reproduce("exp_001")
    text = str(caught.value)
    assert "exp_001 was not recorded here by you" in text
    assert "train.py 3" in text
    assert "commit " in text
    assert "files, from the record: helper.py" in text
    assert "OMP_NUM_THREADS=1" in text
    assert "PYTHONPATH" in text.partition("not set")[2]
    assert "--trust (trust=True in Python)" in text
    assert len(imported.list_rows()) == 1
    found = imported.reproduce("exp_001", trust=True)
    assert found.outcome == "identical"
    (told,) = (one.text for one in found.remarks if one.text.startswith("not set, as the record is not yours: "))
    assert "PYTHONPATH" in told


def cli(root: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "frameworm.experiment.cli", "--root-dir", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_the_command_refuses_without_a_terminal_and_asks_at_one(imported: ExperimentManager, tmp_path: Path) -> None:
    root = imported.root_dir
    refused = cli(root, "reproduce", "exp_001", "--verify", input="y\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "run it with --trust" in refused.stderr
    assert cli(root, "reproduce", "exp_001", "--json").returncode == 1
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "frameworm.experiment.cli", "--root-dir", str(root), "reproduce", "exp_001"]
    for answer, made in (("n\n", 1), ("y\n", 2)):
        os.write(ours, answer.encode())
        subprocess.run(command, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL, timeout=120)
        assert len(imported.list_rows()) == made
        said = os.read(ours, 65_536).decode("utf-8", "replace")
    assert "was not recorded here by you. It would run" in said
    assert "Run it? [y/N]" in said
    os.close(ours)
    os.close(theirs)


def test_a_bundle_cannot_claim_to_be_ones_own(project: Project, tmp_path: Path) -> None:
    project.run()
    folder = project.stored("exp_001")
    assert own(folder)
    project.manager.export("exp_001", tmp_path / "bundle.zip")
    shutil.rmtree(project.root)
    project.root.mkdir()
    ExperimentManager(project.root).import_bundle(tmp_path / "bundle.zip")
    assert not own(project.stored("exp_001"))


def test_a_copy_of_ones_own_is_ones_own_wherever_it_lies(project: Project, tmp_path: Path) -> None:
    project.run()
    shutil.copytree(project.root, tmp_path / "copied", ignore=shutil.ignore_patterns(".frameworm"))
    (copied,) = (tmp_path / "copied").glob("exp_001_*")
    assert own(copied)
    ExperimentManager(tmp_path / "copied").add_tags("exp_001", "mine")
    assert own(copied)


def changed_code(folder: Path) -> None:
    write(folder / "provenance" / "code" / "helper.py", "raise SystemExit(3)\n")


def changed_patch(folder: Path) -> None:
    patch = folder / "provenance" / "uncommitted.patch"
    write(patch, patch.read_text().replace("not committed", "evil"))


def changed_packages(folder: Path) -> None:
    write(folder / "provenance" / "requirements.txt", "evil==1.0\n")


def no_signature(folder: Path) -> None:
    (folder / "provenance" / SIGNATURE).unlink()


def anothers_signature(folder: Path) -> None:
    write(folder / "provenance" / SIGNATURE, "0" * 128)


def a_link_for_it(folder: Path) -> None:
    (folder / "provenance" / SIGNATURE).rename(folder / "provenance" / "kept")
    (folder / "provenance" / SIGNATURE).symlink_to("kept")


def write(file: Path, text: str) -> None:
    file.unlink()  # not into a file that others share
    file.write_text(text)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .conftest import make_project

    project = make_project(tmp_path_factory.mktemp("mine"), in_git=True)
    project.run()
    return project.stored("exp_001")


@pytest.mark.parametrize(
    "change", [changed_code, changed_patch, changed_packages, no_signature, anothers_signature, a_link_for_it]
)
def test_what_was_changed_since_is_a_strangers(mine: Path, tmp_path: Path, change: Any) -> None:
    copy = tmp_path / mine.name
    shutil.copytree(mine, copy)
    assert own(copy)
    change(copy)
    assert not own(copy)


def test_another_users_is_a_strangers(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert not own(mine)
    with Experiment("another", root_dir=tmp_path / "root", system_metrics_s=0) as exp:
        pass
    assert own(exp.exp_dir)
    key = tmp_path / "frameworm" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert not own(mine)


def test_without_a_home_that_can_be_written_nothing_is_signed_and_nothing_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with Experiment("unsigned", root_dir=tmp_path / "root", system_metrics_s=0) as exp:
        exp.log_metric("loss", 1.0)
    assert not own(exp.exp_dir)


HOSTILE = {
    **dict.fromkeys(
        "PATH LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES PYTHONPATH PYTHONSTARTUP PYTHONHOME "
        "PYTHONINSPECT PYTHONWARNINGS PYTHONBREAKPOINT BASH_ENV ENV GIT_SSH_COMMAND GIT_EXEC_PATH PERL5LIB "
        "CUDA_INJECTION64_PATH NODE_OPTIONS NCCL_NET_PLUGIN OMP_TOOL_LIBRARIES HSA_TOOLS_LIB TORCH_HOME "
        "TRITON_CACHE_DIR NUMBA_CACHE_DIR XLA_FLAGS MALLOC_CONF HF_HOME TORCHINDUCTOR_CACHE_DIR HOME IFS "
        "TORCH_EXTENSIONS_DIR".split(),
        "/tmp/evil.so",
    ),
    "OMP_NUM_THREADS": "$(touch evil)",
    "TZ": ":/etc/passwd",
    "LANG": "../../evil",
    "PYTHONHASHSEED": "0; evil",
    "OMP_PLACES": "a/b/../c",
    "LC_ALL": 7,
    "CUDA_VISIBLE_DEVICES": "0\n1",
}


def test_variables_are_set_by_an_allow_list(mine: Path) -> None:
    harmless = {
        "OMP_NUM_THREADS": "4",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "TZ": "Asia/Tokyo",
        "LC_ALL": "de_DE.UTF-8@euro",
        "PYTHONHASHSEED": "0",
    }
    assert allowed_variables(HOSTILE) == {}
    assert allowed_variables({**HOSTILE, **harmless}) == harmless
    environment = {"command": ["python", "x.py"], "variables": {**HOSTILE, "OMP_NUM_THREADS": "4"}}
    found = foreign(ExperimentInfo("exp_001", "0" * 32, "e", mine, environment=environment), mine, "exp_001")
    assert found is not None
    assert found.variables == {"OMP_NUM_THREADS": "4"}
    assert set(found.not_set) == HOSTILE.keys() - {"OMP_NUM_THREADS"}
    assert json.dumps(found.lines())
