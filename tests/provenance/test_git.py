from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from frameworm.experiment.provenance.git import UNTRACKED_LIMIT, GitCapture
from frameworm.experiment.provenance.head import read_head
from frameworm.experiment.provenance.patch import PATCH_LIMIT_BYTES

TOKEN = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
IDENTITY = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
IDENTITY += ["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"]


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *IDENTITY, *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_repo(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "train.py").write_text("lr = 0.1\n")
    (folder / "data.bin").write_bytes(b"\0one\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "a repo with spaces")


@pytest.fixture
def provenance(tmp_path: Path) -> Path:
    folder = tmp_path / "exp_001_x" / "provenance"
    folder.parent.mkdir()
    return folder


def capture(cwd: Path, provenance: Path, timeout_s: float = 20.0) -> dict[str, Any]:
    return GitCapture.launch(cwd, provenance).collect(timeout_s)


def test_a_clean_repository(repo: Path, provenance: Path) -> None:
    git(repo, "remote", "add", "origin", "https://example.org/a.git")
    assert capture(repo, provenance) == {
        "commit": git(repo, "rev-parse", "HEAD"),
        "branch": "main",
        "remote": "https://example.org/a.git",
        "root": str(repo),
        "dirty": False,
        "untracked": [],
        "untracked_count": 0,
        "submodules_dirty": [],
        "patch": None,
        "patch_bytes": 0,
        "patch_truncated": False,
        "patch_masked": False,
    }
    assert not provenance.exists()


def test_the_patch_brings_back_staged_unstaged_and_binary_changes(repo: Path, provenance: Path) -> None:
    (repo / "train.py").write_bytes(b"lr = 0.2\r\n# caf\xe9\n")
    (repo / "data.bin").write_bytes(b"\0two\n")
    (repo / "staged é.py").write_text("new = True")
    git(repo, "add", "staged é.py")
    (repo / "left out.py").write_text("")
    found = capture(repo, provenance)
    assert found["dirty"] is True
    assert found["untracked"] == ["left out.py"]
    assert found["patch"] == "provenance/uncommitted.patch"
    patch = provenance.parent / found["patch"]
    assert patch.stat().st_size == found["patch_bytes"] > 0
    assert found["patch_masked"] is False
    assert [path.name for path in provenance.iterdir()] == ["uncommitted.patch"]

    clone = repo.parent / "clone"
    git(repo.parent, "clone", "-q", str(repo), str(clone))
    git(clone, "apply", "--binary", str(patch))
    for name in ("train.py", "data.bin", "staged é.py"):
        assert (clone / name).read_bytes() == (repo / name).read_bytes()


def test_edits_after_launch_do_not_leak_in(repo: Path, provenance: Path) -> None:
    (repo / "train.py").write_text("lr = 0.2\n")
    launched = GitCapture.launch(repo, provenance)
    time.sleep(0.5)  # git reads within milliseconds, whether or not anybody collects
    (repo / "train.py").write_text("lr = 0.3\n")
    found = launched.collect(20)
    text = (provenance.parent / found["patch"]).read_text()
    assert "+lr = 0.2" in text
    assert "0.3" not in text


def test_a_diff_larger_than_a_pipe_is_read_while_the_status_is_awaited(repo: Path, provenance: Path) -> None:
    for i in range(100):
        (repo / f"module_{i:03}.py").write_text("".join(f"x{j} = {j}\n" for j in range(1000)))
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "modules")
    for i in range(100):
        (repo / f"module_{i:03}.py").write_text("".join(f"y{j} = {j}\n" for j in range(1000)))
    launched = GitCapture.launch(repo, provenance)
    with ThreadPoolExecutor() as pool:
        collecting = pool.submit(launched.collect, 20)
        time.sleep(1.5)
        for i in range(100):
            (repo / f"module_{i:03}.py").write_text("leaked\n")
        found = collecting.result()
    patch = (provenance.parent / found["patch"]).read_text()
    assert len(patch) > 1_000_000
    assert "leaked" not in patch


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What git is asked from here on."""
    commands: list[str] = []
    spawn = os.posix_spawnp

    def noting(program: str, words: list[str], *args: Any, **options: Any) -> int:
        commands.append(next(word for word in words[3:] if word in ("status", "diff", "ls-files", "config")))
        return spawn(program, words, *args, **options)

    monkeypatch.setattr(os, "posix_spawnp", noting)
    return commands


def make_old(*files: Path) -> None:
    """What was changed this moment may change again without a sign of it; so that nothing waits, it is made older."""
    for file in files:
        os.utime(file, (1, 1))


def test_the_next_experiment_in_a_clean_repository_asks_git_once(
    repo: Path, provenance: Path, asked: list[str]
) -> None:
    git(repo, "remote", "add", "origin", "https://example.org/a.git")
    make_old(repo / ".git" / "config")
    first = capture(repo, provenance)
    assert sorted(asked) == ["config", "diff", "ls-files", "status"]
    asked.clear()
    assert capture(repo, provenance) == first
    assert asked == ["status"]


def test_the_next_experiment_sees_what_has_changed_since_the_last(repo: Path, provenance: Path) -> None:
    git(repo, "remote", "add", "origin", "https://example.org/a.git")
    capture(repo, provenance)
    (repo / "train.py").write_text("lr = 0.2\n")
    (repo / "new").mkdir()
    (repo / "new" / "a.py").write_text("")
    found = capture(repo, provenance)
    assert (found["dirty"], found["untracked"]) == (True, ["new/a.py"])
    assert "+lr = 0.2" in (provenance.parent / found["patch"]).read_text()
    (repo / "train.py").write_text("lr = 0.3\n")
    (repo / "new" / "b.py").write_text("")
    found = capture(repo, provenance)
    assert (found["dirty"], found["untracked"]) == (True, ["new/a.py", "new/b.py"])
    assert "+lr = 0.3" in (provenance.parent / found["patch"]).read_text()
    git(repo, "checkout", "-qb", "side")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "second")
    found = capture(repo, provenance)
    assert (found["dirty"], found["untracked"], found["patch"]) == (False, [], None)
    assert (found["branch"], found["commit"]) == ("side", git(repo, "rev-parse", "HEAD"))


def test_settings_that_changed_since_the_last_experiment_are_read_anew(
    repo: Path, provenance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    included = tmp_path / "included"
    included.write_text('[remote "origin"]\n\turl = https://example.org/0.git\n')
    git(repo, "config", "include.path", str(included))
    make_old(repo / ".git" / "config", included)
    (repo / "pkg").mkdir()
    assert capture(repo / "pkg", provenance)["remote"] == "https://example.org/0.git"
    included.write_text('[remote "origin"]\n\turl = https://example.org/1.git\n')
    make_old(included)
    os.utime(included, (2, 2))
    assert capture(repo / "pkg", provenance)["remote"] == "https://example.org/1.git"
    git(repo, "config", "--unset", "include.path")
    assert capture(repo / "pkg", provenance)["remote"] is None
    make_old(repo / ".git" / "config")
    assert capture(repo / "pkg", provenance)["remote"] is None
    (tmp_path / ".gitconfig").write_text('[remote "zoo"]\n\turl = https://example.org/zoo.git\n')
    assert capture(repo / "pkg", provenance)["remote"] == "https://example.org/zoo.git"
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "remote.origin.url")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://example.org/given.git")
    assert capture(repo / "pkg", provenance)["remote"] == "https://example.org/given.git"


def test_the_files_of_experiments_are_not_listed(repo: Path, provenance: Path, asked: list[str]) -> None:
    store = repo / "experiments"
    (store / "exp_001_x").mkdir(parents=True)
    (store / "exp_001_x" / "metadata.json").write_text("")
    (repo / "new.py").write_text("")
    for _ in range(2):
        found = GitCapture.launch(repo, provenance, store).collect()
        assert found["untracked"] == ["new.py"]
    assert asked.count("ls-files") == 1  # the tracked ones
    (repo / "out").mkdir()
    (repo / "out" / "a.py").write_text("")
    assert GitCapture.launch(repo, provenance, store).collect()["untracked"] == ["new.py", "out/a.py"]
    (store / "run.py").write_text("")
    git(repo, "add", "experiments/run.py")
    found = GitCapture.launch(repo, provenance, store).collect()
    assert found["untracked"] == ["new.py", "out/a.py"]
    assert "run.py" in (provenance.parent / found["patch"]).read_text()


def test_nothing_is_left_behind_when_nobody_collects(repo: Path, provenance: Path) -> None:
    before = psutil.Process().children(), psutil.Process().num_fds()
    GitCapture.launch(repo, provenance).close()
    assert (psutil.Process().children(), psutil.Process().num_fds()) == before


def test_outside_git(tmp_path: Path, provenance: Path) -> None:
    assert capture(tmp_path, provenance) == {}
    assert not provenance.exists()


def test_a_subfolder_tells_of_the_whole_repository(repo: Path, provenance: Path) -> None:
    (repo / "train.py").write_text("lr = 0.2\n")
    (repo / "pkg").mkdir()
    (repo / "new.py").write_text("")
    found = capture(repo / "pkg", provenance)
    assert found["root"] == str(repo)
    assert found["untracked"] == ["new.py"]
    assert "train.py" in (provenance / "uncommitted.patch").read_text()


def test_before_the_first_commit(tmp_path: Path, provenance: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text("lr = 0.1\n")
    git(tmp_path, "add", ".")
    (tmp_path / "train.py").write_text("lr = 0.2\n")
    found = capture(tmp_path, provenance)
    assert (found["commit"], found["branch"], found["dirty"]) == (None, "main", True)
    assert "+lr = 0.2" in (provenance / "uncommitted.patch").read_text()
    assert "error" not in found


def test_a_repository_without_anything(tmp_path: Path, provenance: Path) -> None:
    git(tmp_path, "init", "-q")
    found = capture(tmp_path, provenance)
    assert (found["commit"], found["dirty"], found["patch"]) == (None, False, None)
    assert "error" not in found


def test_a_detached_head_has_no_branch(repo: Path, provenance: Path) -> None:
    git(repo, "checkout", "-q", "--detach")
    found = capture(repo, provenance)
    assert found["branch"] is None
    assert found["commit"] == git(repo, "rev-parse", "HEAD")


def test_a_worktree_is_its_own_root(repo: Path, provenance: Path) -> None:
    tree = repo.parent / "tree"
    git(repo, "worktree", "add", "-q", "-b", "side", str(tree))
    (tree / "train.py").write_text("lr = 0.5\n")
    found = capture(tree, provenance)
    assert (found["root"], found["branch"], found["dirty"]) == (str(tree), "side", True)
    assert capture(repo, provenance)["dirty"] is False


def test_a_bare_repository_holds_no_code(tmp_path: Path, provenance: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    assert capture(tmp_path / "bare.git", provenance) == {}


def test_submodules(repo: Path, provenance: Path) -> None:
    inner = make_repo(repo.parent / "inner")
    git(repo, "submodule", "--quiet", "add", str(inner), "lib")
    git(repo, "commit", "-qm", "lib")
    (repo / "lib" / "notes.txt").write_text("untracked in the submodule")
    assert capture(repo, provenance)["dirty"] is False
    (repo / "lib" / "train.py").write_text("lr = 9\n")
    found = capture(repo, provenance)
    assert found["dirty"] is True
    assert found["submodules_dirty"] == ["lib"]
    assert capture(repo / "lib", provenance)["root"] == str(repo / "lib")


def test_a_merge_conflict_is_dirty(repo: Path, provenance: Path) -> None:
    git(repo, "checkout", "-qb", "side")
    (repo / "train.py").write_text("lr = 1\n")
    git(repo, "commit", "-qam", "side")
    git(repo, "checkout", "-q", "main")
    (repo / "train.py").write_text("lr = 2\n")
    git(repo, "commit", "-qam", "main")
    subprocess.run(["git", *IDENTITY, "merge", "side"], cwd=repo, capture_output=True)
    found = capture(repo, provenance)
    assert found["dirty"] is True
    assert "error" not in found


def test_untracked_files_are_counted_all_and_listed_to_a_limit(repo: Path, provenance: Path) -> None:
    for i in range(UNTRACKED_LIMIT + 5):
        (repo / f"u{i}").write_text("")
    (repo / ".gitignore").write_text("u0\n")
    found = capture(repo, provenance)
    assert found["untracked_count"] == UNTRACKED_LIMIT + 5  # one more, one ignored
    assert len(found["untracked"]) == UNTRACKED_LIMIT
    assert found["dirty"] is False


def test_credentials_are_stripped_from_the_remote(repo: Path, provenance: Path) -> None:
    git(repo, "remote", "add", "origin", f"https://me:{TOKEN}@example.org/a.git")
    remote = capture(repo, provenance)["remote"]
    assert TOKEN not in remote
    assert "example.org/a.git" in remote


def test_the_remote_is_that_of_the_branch(repo: Path, provenance: Path) -> None:
    git(repo, "remote", "add", "zoo", "git@example.org:zoo.git")
    assert capture(repo, provenance)["remote"] == "git@example.org:zoo.git"
    git(repo, "remote", "add", "origin", "git@example.org:origin.git")
    assert capture(repo, provenance)["remote"] == "git@example.org:origin.git"
    git(repo, "config", "branch.main.remote", "zoo")
    assert capture(repo, provenance)["remote"] == "git@example.org:zoo.git"


def test_secrets_in_the_diff_are_masked_in_text_but_binary_files_left_whole(repo: Path, provenance: Path) -> None:
    (repo / "train.py").write_text(f'lr = 0.1\ntoken = "{TOKEN}"\n')
    (repo / "data.bin").write_bytes(b"\0" + os.urandom(5000))
    found = capture(repo, provenance)
    patch = provenance.parent / found["patch"]
    assert TOKEN.encode() not in patch.read_bytes()
    assert found["patch_masked"] is True
    clone = repo.parent / "clone"
    git(repo.parent, "clone", "-q", str(repo), str(clone))
    git(clone, "apply", "--binary", str(patch))
    assert (clone / "data.bin").read_bytes() == (repo / "data.bin").read_bytes()
    assert (clone / "train.py").read_text().startswith("lr = 0.1\ntoken = ")


def test_a_private_key_is_masked_line_by_line_so_that_the_patch_still_applies(repo: Path, provenance: Path) -> None:
    body = "\n".join("MIIEpAIBAAKCAQEA" + f"{i:048}" for i in range(20))
    begin, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
    (repo / "train.py").write_text(f'lr = 0.1\nkey = """{begin}\n{body}\n{end}"""\nafter = 1\n{begin}\n{body}')
    (repo / "zzz.py").write_text("last = 1\n")
    git(repo, "add", "zzz.py")
    found = capture(repo, provenance)
    patch = provenance.parent / found["patch"]
    assert "MIIE" not in patch.read_text()
    git(repo, "reset", "-q", "--hard")
    git(repo, "apply", str(patch))
    lines = (repo / "train.py").read_text().splitlines()
    assert lines[0] == "lr = 0.1"
    assert lines[23] == "after = 1"
    assert len(lines) == 45
    assert (repo / "zzz.py").read_text() == "last = 1\n"


def test_code_that_speaks_of_private_keys_keeps_its_other_lines(repo: Path, provenance: Path) -> None:
    code = ['if text.startswith("-----BEGIN PRIVATE KEY-----"):', "    raise ValueError(text)", "lr = 0.5"]
    (repo / "train.py").write_text("\n".join(code) + "\n")
    patch = provenance.parent / capture(repo, provenance)["patch"]
    added = [line[1:] for line in patch.read_text().splitlines() if line.startswith("+") and line[:3] != "+++"]
    assert added[1:] == code[1:]


def test_a_huge_diff_is_cut_after_a_whole_file(repo: Path, provenance: Path) -> None:
    (repo / "zzz.txt").write_text("")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "z")
    (repo / "train.py").write_text("lr = 0.2\n")
    (repo / "zzz.txt").write_text("0123456789abcde\n" * (PATCH_LIMIT_BYTES // 16 + 1000))
    found = capture(repo, provenance)
    assert found["patch_truncated"] is True
    patch = provenance.parent / found["patch"]
    assert "zzz" not in patch.read_text()
    git(repo, "checkout", "-q", ".")
    git(repo, "apply", str(patch))
    assert (repo / "train.py").read_text() == "lr = 0.2\n"


def test_settings_of_the_user_do_not_change_the_patch(repo: Path, provenance: Path) -> None:
    for name, value in {
        "diff.noprefix": "true",
        "diff.mnemonicPrefix": "true",
        "diff.external": "/bin/false",
        "color.ui": "always",
        "diff.context": "0",
        "diff.relative": "true",
        "status.showUntrackedFiles": "no",
        "core.fsmonitor": "/bin/false",
    }.items():
        git(repo, "config", name, value)
    (repo / "train.py").write_text("lr = 0.2\n")
    (repo / "new").write_text("")
    (repo / "pkg").mkdir()
    found = capture(repo / "pkg", provenance)
    assert found["untracked"] == ["new"]
    text = (provenance.parent / found["patch"]).read_text()
    assert text.startswith("diff --git a/train.py b/train.py\n")
    assert "\x1b" not in text


SCRIPT = """
import json, sys
from pathlib import Path
from frameworm.experiment.provenance.git import GitCapture
print(json.dumps(GitCapture.launch(Path(sys.argv[1]), Path(sys.argv[2])).collect(float(sys.argv[3]))))
"""


def capture_with(repo: Path, provenance: Path, timeout_s: float = 20.0, **env: str) -> dict[str, Any]:
    """Capture in a process of its own with another environment."""
    import json

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(repo), str(provenance), str(timeout_s)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_git_on_the_path(repo: Path, provenance: Path, tmp_path: Path) -> None:
    found = capture_with(repo, provenance, PATH=str(tmp_path))
    assert found == {
        "error": "git is not installed or not on PATH",
        "root": str(repo),
        "commit": git(repo, "rev-parse", "HEAD"),
        "branch": "main",
    }


def test_inside_a_hook_of_another_repository(repo: Path, provenance: Path) -> None:
    other = make_repo(repo.parent / "other")
    found = capture_with(repo, provenance, GIT_DIR=str(other / ".git"), GIT_INDEX_FILE=str(other / "x"))
    assert found["root"] == str(repo)
    assert found["dirty"] is False


def test_a_repository_of_another_owner_is_read_whole_and_the_refusal_named(repo: Path, provenance: Path) -> None:
    (repo / "train.py").write_text("lr = 0.2\n")
    found = capture_with(repo, provenance, GIT_TEST_ASSUME_DIFFERENT_OWNER="1", HOME=str(repo.parent))
    assert "dubious ownership" in found["refused"]
    assert "error" not in found
    assert (found["commit"], found["dirty"]) == (git(repo, "rev-parse", "HEAD"), True)
    assert "+lr = 0.2" in (provenance / "uncommitted.patch").read_text()


def test_nothing_that_the_settings_of_another_owner_name_is_run(repo: Path, provenance: Path) -> None:
    ran = repo.parent / "ran"
    program = repo.parent / "program"
    program.write_text(f"#!/bin/sh\necho $0 $* >> {ran}\ncat\n")
    program.chmod(0o755)
    (repo / ".gitattributes").write_text("*.bin filter=a diff=a\n*.py filter=b=c.d diff=a\n*.txt filter=lfs\n")
    (repo / "note.txt").write_text("one")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "attributes")
    for number, kind in enumerate(("clean", "smudge", "process")):
        for name in ("a", "b=c.d", "lfs"):
            git(repo, "config", f"filter.{name}.{kind}", f"{program} {number}")
            git(repo, "config", f"filter.{name}.required", "true")
    for name in (
        "core.fsmonitor",
        "diff.external",
        "diff.a.command",
        "diff.a.textconv",
        "core.sshCommand",
        "core.pager",
    ):
        git(repo, "config", name, str(program))
    hook = repo / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho hook >> {ran}\n")
    hook.chmod(0o755)
    ran.unlink(missing_ok=True)
    for name in ("train.py", "data.bin", "note.txt"):
        (repo / name).write_text("another\n")
    found = capture_with(repo, provenance, GIT_TEST_ASSUME_DIFFERENT_OWNER="1", HOME=str(repo.parent))
    assert not ran.exists()
    assert (found["dirty"], "error" in found) == (True, False)
    assert "+another" in (provenance / "uncommitted.patch").read_text()


@pytest.mark.parametrize("required", ["true", "false"])
def test_a_filter_that_is_not_installed_costs_nothing(repo: Path, provenance: Path, required: str) -> None:
    (repo / ".gitattributes").write_text("*.bin filter=lfs\n")
    git(repo, "config", "filter.lfs.process", "no-such-program")
    git(repo, "config", "filter.lfs.required", required)
    (repo / "data.bin").write_bytes(b"\0two\n")
    found = capture(repo, provenance)
    assert (found["commit"], found["dirty"]) == (git(repo, "rev-parse", "HEAD"), True)
    assert "error" not in found
    assert ("refused" in found) == (required == "true")
    clone = repo.parent / "clone"
    git(repo.parent, "clone", "-q", str(repo), str(clone))
    git(clone, "apply", "--binary", str(provenance / "uncommitted.patch"))
    assert (clone / "data.bin").read_bytes() == b"\0two\n"


def test_a_broken_index_leaves_commit_and_branch(repo: Path, provenance: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD")
    for content in (b"garbage", (repo / ".git" / "index").read_bytes()[:10]):
        (repo / ".git" / "index").write_bytes(content)
        found = capture(repo, provenance)
        assert "index" in found["error"]
        assert (found["commit"], found["branch"], found["root"]) == (commit, "main", str(repo))


def test_the_head_is_found_without_git_wherever_it_is_kept(repo: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD")
    assert read_head(repo) == {"commit": commit, "branch": "main"}
    git(repo, "checkout", "-qb", "a/b")
    git(repo, "pack-refs", "--all")
    assert read_head(repo) == {"commit": commit, "branch": "a/b"}
    tree = repo.parent / "tree"
    git(repo, "worktree", "add", "-q", "-b", "side", str(tree))
    assert read_head(tree) == {"commit": commit, "branch": "side"}
    git(repo, "checkout", "-q", "--detach")
    assert read_head(repo) == {"commit": commit, "branch": None}


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none\n", "ref: ../../secret\n", "ref: /etc/passwd\n", "zzz"])
def test_a_broken_head_is_an_error(repo: Path, provenance: Path, head: str) -> None:
    (repo / "x").write_text("0" * 40)
    (repo / ".git" / "HEAD").write_text(head)
    found = capture(repo, provenance)
    if head.startswith("ref: refs/heads/none"):
        assert found["commit"] is None
    else:
        assert list(found) == ["error"]


def test_no_reference_leads_out_of_git_s_folder(repo: Path) -> None:
    (repo / "x").write_text("0" * 40)
    for reference in ("refs/heads/../../../x", "../x", str(repo / "x"), "refs/heads/none"):
        (repo / ".git" / "HEAD").write_text(f"ref: {reference}\n")
        assert read_head(repo) == {}


def test_a_fifo_for_git_s_own_files_is_not_waited_for(repo: Path) -> None:
    (repo / ".git" / "HEAD").unlink()
    os.mkfifo(repo / ".git" / "HEAD")
    assert read_head(repo) == {}


def test_a_git_folder_that_leads_nowhere_is_an_error_and_an_empty_one_is_none(tmp_path: Path, provenance: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    assert "not a git repository: /nowhere" in capture(tmp_path, provenance)["error"]
    (tmp_path / ".git").write_text("nonsense")
    assert "error" in capture(tmp_path, provenance)
    (tmp_path / ".git").unlink()
    (tmp_path / ".git").mkdir()
    assert capture(tmp_path, provenance) == {}


def test_a_lock_that_was_left_and_a_shallow_clone_cost_nothing(repo: Path, provenance: Path) -> None:
    (repo / "train.py").write_text("lr = 0.2\n")
    git(repo, "commit", "-qam", "second")
    clone = repo.parent / "clone"
    git(repo.parent, "clone", "-q", "--depth=1", f"file://{repo}", str(clone))
    (clone / ".git" / "index.lock").write_text("")
    (clone / "train.py").write_text("lr = 0.3\n")
    found = capture(clone, provenance)
    assert (found["commit"], found["dirty"], "error" in found) == (git(repo, "rev-parse", "HEAD"), True, False)


def test_a_partial_clone_fetches_nothing(repo: Path, provenance: Path) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    clone = repo.parent / "clone"
    git(repo.parent, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{repo}", str(clone))
    ran = repo.parent / "ran"
    git(clone, "config", "remote.origin.uploadpack", f"touch {ran}; git-upload-pack")
    git(clone, "read-tree", "HEAD")
    (clone / "train.py").write_text("lr = 0.3\n")
    found = capture(clone, provenance)
    assert not ran.exists()
    assert found["commit"] == git(repo, "rev-parse", "HEAD")
    assert "error" in found


@pytest.mark.parametrize("flag", ["--skip-worktree", "--assume-unchanged"])
def test_changes_that_git_was_told_not_to_look_at_are_named(repo: Path, provenance: Path, flag: str) -> None:
    git(repo, "update-index", flag, "train.py", "data.bin")
    assert "hidden" not in capture(repo, provenance)
    (repo / "train.py").write_text("lr = 0.9\n")
    found = capture(repo, provenance)
    assert (found["hidden"], found["dirty"]) == (["train.py"], True)


def test_a_sparse_checkout_hides_nothing(repo: Path, provenance: Path) -> None:
    (repo / "far").mkdir()
    (repo / "far" / "a.py").write_text("A = 1\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "far")
    git(repo, "sparse-checkout", "set", "near")
    assert not (repo / "far").exists()
    found = capture(repo, provenance)
    assert (found["dirty"], "hidden" in found) == (False, False)
    (repo / "far").mkdir()
    (repo / "far" / "a.py").write_text("A = 2\n")
    found = capture(repo, provenance)
    assert (found["dirty"], found.get("hidden", ["far/a.py"])) == (True, ["far/a.py"])


def test_a_git_that_hangs_is_killed_with_its_children(repo: Path, provenance: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text(f"#!/bin/sh\nsleep 300 &\necho $! >> {tools}/pids\nwait\n")
    (tools / "git").chmod(0o755)
    start = time.monotonic()
    found = capture_with(repo, provenance, timeout_s=1.0, PATH=f"{tools}:{os.environ['PATH']}")
    assert time.monotonic() - start < 10
    assert "took too long" in found["error"]
    for pid in (tools / "pids").read_text().split():
        deadline = time.monotonic() + 5
        while is_running(int(pid)):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_is_known_survives_a_diff_that_hangs(repo: Path, provenance: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    script = f'#!/bin/sh\ncase "$*" in *" diff "*) sleep 300;; *) exec {real} "$@";; esac\n'
    (tools / "git").write_text(script)
    (tools / "git").chmod(0o755)
    (repo / "train.py").write_text("lr = 0.2\n")
    found = capture_with(repo, provenance, timeout_s=1.5, PATH=f"{tools}:{os.environ['PATH']}")
    assert found["commit"] == git(repo, "rev-parse", "HEAD")
    assert found["dirty"] is True
    assert "git diff" in found["error"]


def test_an_unwritable_folder_is_an_error_in_the_result(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (repo / "train.py").write_text("lr = 0.2\n")
    found = capture(repo, tmp_path / "file" / "provenance")
    assert found["dirty"] is True
    assert "error" in found


def test_a_program_that_ignores_the_end_of_children(repo: Path, provenance: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        found = capture(repo, provenance)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert found["branch"] == "main"
    assert "error" not in found


def test_launch_takes_a_few_milliseconds(repo: Path, provenance: Path) -> None:
    costs = []
    for _ in range(5):
        start = time.perf_counter()
        launched = GitCapture.launch(repo, provenance)
        costs.append(time.perf_counter() - start)
        launched.collect(20)
    assert min(costs) < 0.02
