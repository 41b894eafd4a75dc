"""Reproducing changes nothing that is not its own: names, bytes, modes and times of today's files stay as they are."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from frameworm.experiment.errors import ReproductionError
from frameworm.experiment.reproduction import lending

from .conftest import Project, make_project

PROGRAM = """\
import os, sys
from frameworm.experiment import Experiment

with Experiment("writes", root_dir=sys.argv[1], system_metrics_s=0) as exp:
    for path in sys.argv[2:]:
        if not os.environ.get("UNLOGGED"):
            exp.log_dataset(path)
        files = sorted(os.path.join(path, name) for name in os.listdir(path)) if os.path.isdir(path) else [path]
        for file in files:
            exp.log_metric("size", os.path.getsize(file))
            with open(file, "a") as out:
                out.write("appended")
            with open(file + ".new", "w") as out:
                out.write("made")
            os.utime(file, (1, 1))
            os.chmod(file, 0o600)
        regenerated = files[-1]
        os.remove(regenerated)
        with open(regenerated, "w") as out:
            out.write("regenerated")
"""


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return all that lies below a folder: kind and mode, time, bytes or what a link says."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            look = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(look.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(look.st_mode):
                content = Path(path).read_bytes()
            found[os.path.relpath(path, folder)] = (look.st_mode, look.st_mtime_ns, content)
    return found


def differing(before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]]) -> list[str]:
    """Return what is not as it was; new experiments, the index and what is hidden beside them are our own."""
    ours = ("experiments/exp_", "experiments/.frameworm", "experiments/experiments.db", "elsewhere/.frameworm")
    return sorted(
        path
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
        and not (path.startswith(ours) and path not in before)
        and path not in ("experiments", "elsewhere")
        and not path.startswith(("experiments/.frameworm", "experiments/experiments.db", "elsewhere/experiments.db"))
    )


def arrange(project: Project) -> list[str]:
    """Put a file of each kind into the project, the data outside of it, and return what the program is to read."""
    outside = project.folder.parent / "outside"
    outside.mkdir()
    for name in ("untracked", "tracked", "relative", "ignored", "beside"):
        (outside / name).mkdir()
        (outside / name / "points.txt").write_text(f"{name}\n")
    (outside / "single.txt").write_text("single\n")
    top = project.folder
    (top / "weights.bin").write_bytes(bytes(6 << 20))  # too large to be stored
    (top / "log.csv").write_text("a,b\n")
    (top / "kept.txt").write_text("1\n")
    (top / "notes.txt").write_text("not tracked\n")
    (top / "untracked").symlink_to(outside / "untracked")
    (top / "tracked").symlink_to(outside / "tracked")
    (top / "relative").symlink_to("../outside/relative")
    (top / "ignored").symlink_to(outside / "ignored")
    (top / "single.txt").symlink_to(outside / "single.txt")
    (top / "latest.txt").symlink_to(top / "kept.txt")
    (top / "twice.txt").symlink_to("tracked/points.txt")
    (top / "train.py").write_text(PROGRAM)
    if (top / ".git").exists():
        (top / ".gitignore").write_text("data\nignored\n__pycache__/\n*.new\n")
        project.git("add", "train.py", ".gitignore", "log.csv", "kept.txt")
        project.git("add", "tracked", "relative", "single.txt", "latest.txt", "twice.txt")
        project.git("commit", "-qm", "more")
    inner = ["data/points.txt", "weights.bin", "log.csv", "notes.txt", "untracked/points.txt"]
    return [*inner, "relative", "ignored", "single.txt", "latest.txt", "twice.txt", "../outside/beside/points.txt"]


def contents(project: Project, paths: list[str]) -> dict[Path, bytes]:
    places = [project.folder / path for path in paths]
    files = [file for place in places for file in (sorted(place.iterdir()) if place.is_dir() else [place])]
    return {file: file.read_bytes() for file in files}


def record(project: Project, paths: list[str]) -> None:
    """Run the program, and put today's files back to what they were before it wrote to them."""
    before = contents(project, paths)
    project.run("train.py", str(project.root), *paths)
    for path, content in before.items():
        path.write_bytes(content)
    for top in (project.folder, project.folder.parent / "outside"):
        for path in list(top.rglob("*.new")):
            path.unlink()


@pytest.mark.parametrize("in_git", [True, False], ids=["git", "no git"])
def test_todays_files_stay_as_they_are(tmp_path: Path, in_git: bool) -> None:
    project = make_project(tmp_path, in_git=in_git)
    paths = arrange(project)
    record(project, paths)
    before = tree(tmp_path)
    found = project.manager.reproduce("exp_001")
    assert found.outcome == "identical", found.verdict
    assert differing(before, tree(tmp_path)) == []
    for file in contents(project, paths):
        file.write_text("changed since\n")
    before = tree(tmp_path)
    found = project.manager.reproduce("exp_001")
    assert found.outcome == "differs"
    assert not found.diff.code.differs or not any(one.part == "code" for one in found.suspects)
    assert differing(before, tree(tmp_path)) == []


def test_what_is_lent_by_hand_is_a_copy_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLOGGED", "1")
    arrange(project)
    links = ["data", "ignored", "../outside/beside/points.txt"]
    record(project, ["data/points.txt", *links[1:]])
    before = tree(project.folder.parent)
    assert "--link data/points.txt lends it" in project.manager.reproduce("exp_001").hint
    found = project.manager.reproduce("exp_001", links=links)
    assert found.outcome == "identical", (found.verdict, found.tail)
    assert differing(before, tree(project.folder.parent)) == []


def test_what_is_too_large_to_be_copied_is_shared_only_on_request(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "LIMIT_BYTES", 1 << 20)
    monkeypatch.setattr(lending, "_clone", lambda read, write: False)
    script = PROGRAM.replace('open(file, "a")', "open(os.devnull, 'a')").replace("os.remove", "os.stat")
    (project.folder / "train.py").write_text(script.replace('open(regenerated, "w")', "open(os.devnull, 'w')"))
    (project.folder / "data" / "more.bin").write_bytes(bytes(2 << 20))
    project.run("train.py", str(project.root), "data/more.bin", "data/points.txt")
    with pytest.raises(ReproductionError, match=r"more.bin \(2,097,152 bytes\) .* --share-large lets the program"):
        project.manager.reproduce("exp_001")
    assert project.manager.reproduce("exp_001", share_large=True).outcome == "identical"


def test_a_moved_project_is_said_in_words_that_help(project: Project, tmp_path: Path) -> None:
    paths = arrange(project)
    record(project, paths)
    project.folder.rename(tmp_path / "moved")
    with pytest.raises(ReproductionError, match="--project says where the project lies today"):
        project.manager.reproduce("exp_001")
    with pytest.raises(ReproductionError, match="no such folder; name the one"):
        project.manager.reproduce("exp_001", project=tmp_path / "nowhere")
    before = tree(tmp_path)
    assert project.manager.reproduce("exp_001", project=tmp_path / "moved").outcome == "identical"
    assert differing(before, tree(tmp_path)) == []
