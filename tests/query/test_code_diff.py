"""The code of two experiments compared: real repositories, real patches."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.provenance.code import CodeRecord
from frameworm.experiment.provenance.git import GitCapture
from frameworm.experiment.query.code_diff import CodeDiff, compare_code

TRAIN = "import math\n\n\ndef loss(x):\n    return x**2\n\n\nprint(loss(3))\n"


class Repository:
    """A git repository, and what experiments record of it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.root = folder / "repo"
        self.root.mkdir(parents=True)
        self._folder = folder
        self._recorded = 0
        self.git("init", "--quiet", "--initial-branch=main", *options)
        self.write("train.py", TRAIN)
        self.write("data/big.bin", bytes(range(256)) * 8)

    def git(self, *words: str) -> str:
        settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *settings, *words], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout

    def write(self, name: str, content: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "a commit")

    def record(self, cwd: str = ".") -> ExperimentInfo:
        """Record the code as an experiment that starts now does."""
        self._recorded += 1
        exp_dir = self._folder / f"exp_{self._recorded:03d}"
        provenance = exp_dir / "provenance"
        provenance.mkdir(parents=True)
        capture = GitCapture.launch(self.root / cwd, provenance)
        git = capture.collect()
        blobs = self._folder / "store" / ".frameworm" / "blobs"
        code = CodeRecord(self.root / cwd).take(provenance, blobs, capture, in_git=True)
        code |= {"left_out": [], "left_out_count": 0}  # the script: it is pytest
        return ExperimentInfo(exp_dir.name, "0" * 32, "name", exp_dir, git=git, code=code)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path)
    repository.commit()
    return repository


def files(diff: CodeDiff) -> dict[str, tuple[Any, ...]]:
    return {file.path: (file.kind, file.added_lines, file.removed_lines) for file in diff.files}


# ---------------------------------------------------------------------------------------------- what is found


def test_the_same_tree_is_equal_without_asking_git(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.write("train.py", TRAIN + "# edited\n")
    repository.write("new.py", "x = 1\n")
    a, b = repository.record(), repository.record()
    shutil.rmtree(repository.root)
    monkeypatch.setenv("PATH", "/nowhere")
    diff = compare_code(a, b)
    assert (diff.basis, diff.files, diff.notes, diff.differs, diff.patch) == ("equal", (), (), False, "")


def test_two_commits(repository: Repository) -> None:
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    repository.git("rm", "--quiet", "data/big.bin")
    repository.write('ünï "quoted"\tname.py', "pass\n")
    repository.commit()
    diff = compare_code(a, repository.record())
    assert diff.basis == "trees" and diff.differs and not diff.notes
    assert files(diff) == {
        "data/big.bin": ("removed", 0, 0),
        "train.py": ("changed", 1, 1),
        'ünï "quoted"\tname.py': ("added", 1, 0),
    }
    assert "-    return x**2\n+    return x**3\n" in diff.patch
    assert diff.commits[0] != diff.commits[1]


def test_commits_of_one_tree_do_not_differ(repository: Repository) -> None:
    a = repository.record()
    repository.git("commit", "--quiet", "--allow-empty", "-m", "nothing")
    diff = compare_code(a, repository.record())
    assert (diff.basis, diff.files, diff.differs) == ("trees", (), False)


def test_an_uncommitted_change_that_is_then_committed_is_no_difference(repository: Repository) -> None:
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    repository.write("data/big.bin", bytes(range(255, -1, -1)) * 8)
    repository.write("new/module.py", "x = 1\n")
    a = repository.record()
    repository.commit()
    assert files(compare_code(a, repository.record())) == {}


def test_uncommitted_staged_and_untracked_changes(repository: Repository) -> None:
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    repository.write("staged.py", "y = 1\n")
    repository.git("add", "staged.py")
    repository.write("untracked/deep.py", "z = 1\n")
    repository.write("data/big.bin", bytes(2048))
    b = repository.record()
    diff = compare_code(a, b)
    assert files(diff) == {
        "data/big.bin": ("changed", 0, 0),
        "staged.py": ("added", 1, 0),
        "train.py": ("changed", 1, 1),
        "untracked/deep.py": ("added", 1, 0),
    }
    assert [file.hunks for file in diff.files] == [0, 1, 1, 1]
    assert files(compare_code(b, a))["staged.py"] == ("removed", 0, 1)


def test_renames_modes_and_links(repository: Repository) -> None:
    repository.write("run.sh", "echo\n")
    repository.write("link.py", "x = 1\n")
    repository.commit()
    a = repository.record()
    repository.git("mv", "train.py", "learn.py")
    (repository.root / "run.sh").chmod(0o755)
    (repository.root / "link.py").unlink()
    (repository.root / "link.py").symlink_to("learn.py")
    repository.commit()
    diff = compare_code(a, repository.record())
    by_path = {file.path: file for file in diff.files}
    assert by_path["learn.py"].kind == "renamed" and by_path["learn.py"].old_path == "train.py"
    assert "old mode 100644\nnew mode 100755" in by_path["run.sh"].patch
    assert "new file mode 120000" in by_path["link.py"].patch
    assert "deleted file mode 100644" in by_path["link.py"].patch


def test_comments_and_layout_are_told_from_code(repository: Repository) -> None:
    a = repository.record()
    repository.write("train.py", "# new\n" + TRAIN.replace("x**2", "x ** 2  # squared"))
    (only,) = compare_code(a, repository.record()).files
    assert only.only_layout and only.hunks
    repository.write("train.py", TRAIN.replace("x**2", "x**2.0"))
    (only,) = compare_code(a, repository.record()).files
    assert not only.only_layout
    repository.write("train.py", "def broken(:\n")
    (only,) = compare_code(a, repository.record()).files
    assert not only.only_layout


def test_before_the_first_commit(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.git("add", ".")
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    diff = compare_code(a, repository.record())
    assert (diff.basis, diff.commits) == ("trees", (None, None))
    assert files(diff) == {"train.py": ("changed", 1, 1)}
    repository.commit()
    assert files(compare_code(a, repository.record())) == {"train.py": ("changed", 1, 1)}


def test_a_repository_of_sha256(tmp_path: Path) -> None:
    repository = Repository(tmp_path, "--object-format=sha256")
    repository.commit()
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    assert files(compare_code(a, repository.record())) == {"train.py": ("changed", 1, 1)}


def test_a_worktree_and_a_shallow_clone(repository: Repository, tmp_path: Path) -> None:
    a = repository.record()
    repository.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    elsewhere = Repository(tmp_path / "other")
    shutil.rmtree(elsewhere.root)
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.root}", str(elsewhere.root))
    elsewhere.write("train.py", TRAIN.replace("x**2", "x**3"))
    assert files(compare_code(a, elsewhere.record())) == {"train.py": ("changed", 1, 1)}
    moved = replace(a, git={**a.git, "root": str(tmp_path / "tree"), "remote": None})
    assert files(compare_code(moved, elsewhere.record())) == {"train.py": ("changed", 1, 1)}


# ---------------------------------------------------------------------------------------------- what is gone


def test_the_remote_serves_where_the_clone_is_gone(repository: Repository, tmp_path: Path) -> None:
    clone = Repository(tmp_path / "other")
    shutil.rmtree(clone.root)
    repository.git("clone", "--quiet", str(repository.root), str(clone.root))
    a = clone.record()
    clone.write("train.py", TRAIN.replace("x**2", "x**3"))
    b = clone.record()
    shutil.rmtree(clone.root)
    assert a.git["remote"] == str(repository.root)
    diff = compare_code(a, b)
    assert (diff.basis, files(diff)) == ("trees", {"train.py": ("changed", 1, 1)})


def test_the_repository_around_the_working_folder_serves(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    b = repository.record()
    repository.root.rename(tmp_path / "moved")
    assert compare_code(a, b).basis == "stored"
    monkeypatch.chdir(tmp_path / "moved")
    assert (compare_code(a, b).basis, files(compare_code(a, b))) == ("trees", {"train.py": ("changed", 1, 1)})


def test_without_the_repository_patches_and_stored_files_are_compared(repository: Repository) -> None:
    repository.write("new.py", "x = 1\n")
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    repository.write("new.py", "x = 2\n")
    b = repository.record()
    shutil.rmtree(repository.root)
    diff = compare_code(a, b)
    assert diff.basis == "stored" and diff.differs
    assert files(diff) == {"new.py": ("changed", 1, 1), "train.py.patch": ("added", 13, 0)}
    assert "is not in any repository found here" in diff.notes[0]


def test_commits_that_are_gone_differ(repository: Repository) -> None:
    a = repository.record()
    repository.write("train.py", "")
    repository.commit()
    b = repository.record()
    shutil.rmtree(repository.root)
    diff = compare_code(a, b)
    assert (diff.basis, diff.files, diff.differs) == ("stored", (), True)
    assert any("give the repository" in note for note in diff.notes)


def test_without_git_the_digests_of_stored_files_are_compared(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("new.py", "x = 1\n")
    a = repository.record()
    repository.write("new.py", "x = 2\n")
    repository.write("train.py", "")
    b = repository.record()
    monkeypatch.setenv("PATH", "/nowhere")
    diff = compare_code(a, b)
    assert (diff.basis, diff.patch) == ("stored", "")
    assert set(files(diff)) == {"new.py", "uncommitted.patch"}
    assert diff.notes == ("the code was not compared line by line: git is not installed or not on PATH",)


def test_a_patch_that_does_not_apply_is_compared_as_a_patch(repository: Repository) -> None:
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    repository.write("other.py", "fine = 1\n")
    repository.git("add", "other.py")
    b = repository.record()
    patch = b.path / "provenance" / "uncommitted.patch"
    patch.write_text(patch.read_text().replace(" def loss(x):", " def ***(x):"))
    diff = compare_code(a, replace(b, git={**b.git, "patch_masked": True}))
    assert diff.basis == "trees"
    assert set(files(diff)) == {"other.py", "train.py.patch"}
    assert "secrets were masked in them; they are compared as patches: train.py" in diff.notes[0]


def test_what_was_not_recorded_is_said(repository: Repository) -> None:
    a = repository.record()
    assert compare_code(a, ExperimentInfo("exp_009", "1", "n", a.path)).notes == ("no code was recorded of exp_009",)
    assert compare_code(replace(a, git={}, code={}), replace(a, git={}, code={})).basis == "unknown"
    git = {**a.git, "patch_truncated": True, "submodules_dirty": ["sub"], "patch": "provenance/uncommitted.patch"}
    left_out = [{"path": "big.bin", "size_bytes": 9, "why": "larger than 5 MiB"}]
    notes = compare_code(a, replace(a, git=git, code={**a.code, "left_out": left_out})).notes
    for said in ("were too large", "submodules", "uncommitted.patch is missing", "big.bin (larger than 5 MiB)"):
        assert any(said in note for note in notes), said


# ---------------------------------------------------------------------------------------------- outside git


def snapshot(folder: Path, name: str, sources: dict[str, str]) -> ExperimentInfo:
    stored = folder / name / "provenance" / "code"
    listed = []
    for path, content in sources.items():
        (stored / path).parent.mkdir(parents=True, exist_ok=True)
        (stored / path).write_text(content)
        listed.append({"path": path, "digest": f"sha256:{hash(content)}", "size_bytes": len(content)})
    code = {"kind": "snapshot", "root": "/project", "cwd": ".", "files": listed, "left_out": []}
    return ExperimentInfo(name, "0" * 32, "name", folder / name, code=code)


def test_snapshots(tmp_path: Path) -> None:
    a = snapshot(tmp_path, "exp_001", {"train.py": TRAIN, "pkg/mod.py": "x = 1\n"})
    b = snapshot(tmp_path, "exp_002", {"train.py": TRAIN, "pkg/mod.py": "x = 2\n", "pkg/new.py": ""})
    diff = compare_code(a, b)
    assert (diff.basis, diff.notes, diff.commits) == ("trees", (), (None, None))
    assert files(diff) == {"pkg/mod.py": ("changed", 1, 1), "pkg/new.py": ("added", 0, 0)}
    assert compare_code(a, a).basis == "equal"


def test_a_snapshot_and_a_repository(repository: Repository, tmp_path: Path) -> None:
    inside = repository.record()
    outside = snapshot(tmp_path, "exp_009", {"train.py": TRAIN.replace("x**2", "x**3")})
    for diff in (compare_code(outside, inside), compare_code(inside, outside)):
        assert files(diff) == {"train.py": ("changed", 1, 1)}  # that the snapshot has no data/big.bin says nothing
        assert any("ran outside git" in note for note in diff.notes)


def test_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("password\n")
    a, b = (snapshot(tmp_path, name, {"train.py": TRAIN, "x.py": "1\n"}) for name in ("exp_001", "exp_002"))
    place = b.path / "provenance" / "code" / "x.py"
    place.unlink()
    place.symlink_to(tmp_path / "secret.py")
    b.code["files"][1]["digest"] = "sha256:other"
    diff = compare_code(a, b)
    assert "password" not in diff.patch
    assert any("1 stored code files of exp_002 are gone" in note for note in diff.notes)


# ---------------------------------------------------------------------------------------------- nothing is executed


def test_nothing_of_the_repository_is_executed_or_written(repository: Repository, tmp_path: Path) -> None:
    repository.write(".gitattributes", "*.py filter=evil diff=evil merge=evil\n")
    repository.commit()
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    repository.write("new.py", "x = 1\n")
    b = repository.record()
    touch = f"touch {tmp_path / 'executed'}; cat"
    for name in (
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "diff.evil.textconv",
        "diff.evil.command",
    ):
        repository.git("config", name, touch)
    repository.git("config", "filter.evil.required", "true")
    for name in ("core.fsmonitor", "core.pager", "diff.external", "core.editor"):
        repository.git("config", name, touch)
    hooks = repository.root / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        "post-checkout",
        "pre-commit",
        "post-index-change",
        "reference-transaction",
        "applypatch-msg",
        "pre-applypatch",
    ):
        (hooks / name).write_text(f"#!/bin/sh\n{touch}\n")
        (hooks / name).chmod(0o755)

    def listing() -> set[tuple[str, int]]:
        return {(str(path), path.stat().st_mtime_ns) for path in repository.root.rglob("*") if path.is_file()}

    before = listing()
    assert files(compare_code(a, b)) == {"new.py": ("added", 1, 0), "train.py": ("changed", 1, 1)}
    assert not (tmp_path / "executed").exists()
    assert listing() == before


def test_a_repository_of_somebody_else_is_read(repository: Repository) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to give files away")
    a = repository.record()
    repository.write("train.py", TRAIN.replace("x**2", "x**3"))
    b = repository.record()
    subprocess.run(["chown", "-R", "12345", str(repository.root)], check=True)
    assert compare_code(a, b).basis == "trees"
