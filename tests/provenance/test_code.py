"""Code that git does not hold: untracked files, the imported files of a project outside git."""

import json
import subprocess
import sys
from pathlib import Path

from frameworm.experiment.provenance.code import CodeRecord
from frameworm.experiment.provenance.git import GitCapture
from frameworm.experiment.query.read import ExperimentReader

SCRIPT = """
import sys
from frameworm.experiment import Experiment
import helper
with Experiment("e", root_dir=sys.argv[1], system_metrics_s=0, capture_console=False) as exp:
    exp.log_metric("a", helper.VALUE)
    import late
"""


def train(project: Path, root: Path) -> ExperimentReader:
    (project / "pkg").mkdir(parents=True, exist_ok=True)
    (project / "train.py").write_text(SCRIPT)
    (project / "helper.py").write_text("from pkg import inner\nVALUE = inner.VALUE\n")
    (project / "late.py").write_text("LATE = True\n")
    (project / "pkg" / "__init__.py").write_text("")
    (project / "pkg" / "inner.py").write_text("VALUE = 7\n")
    (project / "never.py").write_text("NEVER = 1\n")
    before = set(root.glob("exp_*"))
    subprocess.run([sys.executable, "train.py", str(root)], cwd=project, check=True, timeout=120)
    (folder,) = set(root.glob("exp_*")) - before
    return ExperimentReader(folder)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_outside_git_the_imported_files_are_stored_also_those_imported_late(tmp_path):
    reader = train(tmp_path / "project", tmp_path / "runs")
    code = reader.info.code
    assert code["kind"] == "snapshot"
    assert code["root"] == str(tmp_path / "project")
    assert code["script"] == "train.py"
    assert [file["path"] for file in code["files"]] == [
        "helper.py",
        "late.py",
        "pkg/__init__.py",
        "pkg/inner.py",
        "train.py",
    ]
    stored = reader.exp_dir / "provenance" / "code"
    assert (stored / "train.py").read_text() == SCRIPT
    assert (stored / "pkg" / "inner.py").read_text() == "VALUE = 7\n"


def test_in_a_repository_untracked_files_are_stored_and_ignored_ones_are_not(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q")
    (project / ".gitignore").write_text("ignored.txt\n__pycache__\n")
    train(project, tmp_path / "first")
    git(project, "add", ".")
    git(project, "commit", "-qm", "all")
    (project / "ignored.txt").write_text("x")
    (project / "fresh.py").write_text('API_KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"\nx = 1\n')
    (project / "large.bin").write_bytes(b"\1" * (6 << 20))
    (project / "link").symlink_to("fresh.py")
    reader = train(project, project / "runs")
    again = train(project, project / "runs")  # the first experiment's files are not code
    for code in (reader.info.code, again.info.code):
        assert code["kind"] == "git"
        assert [(file["path"], file["masked"]) for file in code["files"]] == [("fresh.py", True)]
        assert [(left["path"], left["why"]) for left in code["left_out"]] == [
            ("large.bin", "larger than 5 MiB"),
            ("link", "a symlink"),
        ]
    for path in project.joinpath("runs").rglob("*"):
        if path.is_file():
            assert b"abcdefghijklmnopqrstuvwxyz0123456789" not in path.read_bytes(), path
    same = [run.exp_dir / "provenance" / "code" / "fresh.py" for run in (reader, again)]
    assert same[0].samefile(same[1])


def test_the_record_is_plain_json(tmp_path):
    reader = train(tmp_path / "project", tmp_path / "runs")
    metadata = json.loads((reader.exp_dir / "metadata.json").read_text())
    assert metadata["code"] == reader.info.code


def test_a_folder_that_was_moved_away_is_not_made_again(tmp_path):
    (tmp_path / "project" / "pkg").mkdir(parents=True)
    (tmp_path / "project" / "pkg" / "new.py").write_text("NEW = 1\n")
    git(tmp_path / "project", "init", "-q")
    gone = tmp_path / "runs" / "exp_001_moved" / "provenance"
    blobs = tmp_path / "runs" / ".frameworm" / "blobs"
    capture = GitCapture.launch(tmp_path / "project", gone)
    capture.collect()
    code = CodeRecord(tmp_path / "project").take(gone, blobs, capture, in_git=True)
    assert code["files"] == []
    assert {one["path"]: one["why"] for one in code["left_out"]}["pkg/new.py"] == "No such file or directory"
    assert not gone.parent.exists()


def test_modules_without_a_file_of_their_own_are_not_missed(tmp_path):
    """torch.ops is one: its ``__file__`` is a name that leads nowhere."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "odd.py").write_text(
        "import sys, types\nodd = types.ModuleType('odd.ops')\nodd.__file__ = '_ops.py'\nsys.modules['odd.ops'] = odd\n"
        f"sys.argv = ['', {str(tmp_path / 'runs')!r}]\n"
        + SCRIPT.replace("helper.VALUE", "1").replace("import helper", "").replace("import late", "pass")
    )
    subprocess.run([sys.executable, "odd.py"], cwd=project, check=True, timeout=120)
    (folder,) = (tmp_path / "runs").glob("exp_*")
    code = ExperimentReader(folder).info.code
    assert [file["path"] for file in code["files"]] == ["odd.py"]
    assert code["left_out"] == []
