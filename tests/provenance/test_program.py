"""Whose code is recorded: that of the program that runs, whatever started it and wherever the shell was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

RECORD = """\
from frameworm.experiment import Experiment
def main():
    with Experiment("e", root_dir={root!r}, system_metrics_s=0, capture_console=False) as exp:
        exp.log_metric("a", 1)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repo(folder: Path, **files: str) -> str:
    """Make a repository of these files, by name without suffix, and return its commit."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", str(folder))
    return git(folder, "rev-parse", "HEAD")


def run(
    cwd: Path, root: Path, *words: str, program: str = sys.executable, **options: Any
) -> tuple[dict[str, Any], str]:
    """Run a program and return the metadata of the experiment it made, and what it printed to standard error."""
    before = set(root.glob("exp_*"))
    environment = {**os.environ, **options.pop("env", {})}
    done = subprocess.run(
        [program, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == 0, done.stderr
    (folder,) = set(root.glob("exp_*")) - before
    return json.loads((folder / "metadata.json").read_text()), done.stderr


def stored(found: dict[str, Any]) -> list[str]:
    return [file["path"] for file in found["code"]["files"]]


def left_out(found: dict[str, Any]) -> dict[str, str]:
    return {one["path"]: one["why"] for one in found["code"]["left_out"]}


def script(root: Path) -> str:
    return RECORD.format(root=str(root)) + 'if __name__ == "__main__":\n    main()\n'


def test_a_script_is_of_its_own_repository_wherever_the_shell_is(tmp_path: Path, root: Path) -> None:
    commit = make_repo(tmp_path / "project", train=script(root))
    make_repo(tmp_path / "other", x="")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "other" / "train.py").symlink_to(tmp_path / "project" / "train.py")
    for cwd, word in [
        (outside, str(tmp_path / "project" / "train.py")),
        (tmp_path / "other", str(tmp_path / "project" / "train.py")),
        (tmp_path / "other", "train.py"),
        (outside, "../project/train.py"),
    ]:
        found, _ = run(cwd, root, word)
        assert (found["git"]["commit"], found["code"]["script"], stored(found)) == (commit, "train.py", [])
        assert found["code"]["cwd"] == str(cwd)


def test_a_worktree_and_a_submodule_are_their_own(tmp_path: Path, root: Path) -> None:
    commit = make_repo(tmp_path / "inner", train=script(root))
    make_repo(tmp_path / "outer", use="import sys\nsys.path.insert(0, 'lib')\nimport train\ntrain.main()\n")
    git(tmp_path / "outer", "submodule", "--quiet", "add", str(tmp_path / "inner"), "lib")
    git(tmp_path / "outer", "commit", "-qm", "lib")
    outer = git(tmp_path / "outer", "rev-parse", "HEAD")
    found, _ = run(tmp_path / "outer", root, "lib/train.py")
    assert (found["git"]["commit"], found["git"]["root"]) == (commit, str(tmp_path / "outer" / "lib"))
    found, _ = run(tmp_path / "outer", root, "use.py")
    assert (found["git"]["commit"], stored(found)) == (outer, [])
    with open(tmp_path / "outer" / "lib" / "train.py", "a") as file:
        file.write("# changed\n")
    found, _ = run(tmp_path / "outer", root, "use.py")
    assert (found["git"]["submodules_dirty"], stored(found)) == (["lib"], ["lib/train.py"])
    git(tmp_path / "inner", "worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    found, _ = run(tmp_path, root, str(tmp_path / "tree" / "train.py"))
    assert (found["git"]["root"], found["git"]["branch"]) == (str(tmp_path / "tree"), "side")


@pytest.mark.parametrize("ignore", ["", "*\n"])
def test_a_repository_of_settings_around_it_is_not_its_own(tmp_path: Path, root: Path, ignore: str) -> None:
    home = tmp_path / "home"
    make_repo(home, settings="")
    (home / ".gitignore").write_text(ignore)
    (home / "private.yaml").write_text("a: 1\n")
    (home / "project").mkdir()
    (home / "project" / "train.py").write_text(script(root))
    found, said = run(home / "project", root, "train.py")
    assert "commit" not in found["git"]
    assert "tracks nothing of this program" in found["git"]["refused"]
    assert (found["code"]["kind"], stored(found), said) == ("snapshot", ["train.py"], "")
    git(home, "add", "-f", "project/train.py")
    git(home, "commit", "-qm", "project")
    found, _ = run(home / "project", root, "train.py")
    assert (found["git"]["commit"], found["code"]["script"]) == (git(home, "rev-parse", "HEAD"), "project/train.py")


def test_a_new_script_beside_tracked_code_is_of_the_repository(tmp_path: Path, root: Path) -> None:
    commit = make_repo(tmp_path / "project", helper="VALUE = 1\n")
    (tmp_path / "project" / "new").mkdir()
    (tmp_path / "project" / "new" / "train.py").write_text("import helper\n" + script(root))
    found, _ = run(tmp_path, root, "project/new/train.py", env={"PYTHONPATH": str(tmp_path / "project")})
    assert (found["git"]["commit"], stored(found)) == (commit, ["new/train.py"])
    assert found["git"]["untracked"] == ["new/train.py"]


@pytest.mark.parametrize("in_git", [True, False])
def test_what_an_installed_program_runs_is_the_program(tmp_path: Path, root: Path, in_git: bool) -> None:
    """A console script, ``python -m`` of a tool that runs a file, and pytest."""
    project = tmp_path / "project"
    package = project / "src" / "pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "cli.py").write_text(script(root))
    (project / "test_it.py").write_text("from pkg.cli import main\ndef test_it():\n    main()\n")
    commit = make_repo(project) if in_git else None
    tools = tmp_path / "venv" / "lib" / "python3" / "site-packages"
    tools.mkdir(parents=True)
    (tools / "console.py").write_text("from pkg.cli import main\nmain()\n")
    env = {"PYTHONPATH": f"{project / 'src'}:{tools}"}
    cases = [
        ([str(tools / "console.py")], "src/pkg/cli.py"),
        (["-m", "console"], "src/pkg/cli.py"),
        (["-m", "pytest", "-q", "-p", "no:cacheprovider", str(project / "test_it.py")], "test_it.py"),
        (["-m", "pkg.cli"], "src/pkg/cli.py"),
        (["-m", "cProfile", "-o", os.devnull, str(package / "cli.py")], "src/pkg/cli.py"),
    ]
    for words, name in cases:
        found, _ = run(tmp_path, root, *words, env=env)
        code = found["code"]
        assert found["git"].get("commit") == commit, words
        script_path = code["script"] if os.path.isabs(code["script"]) else f"{code['root']}/{code['script']}"
        assert script_path == str(project / name), words
        if in_git:
            assert stored(found) == [], words
        else:
            kept = {f"{code['root']}/{path}" for path in stored(found)} | set(left_out(found))
            assert {str(project / name), str(package / "cli.py")} <= kept, words


def test_a_command_of_python_is_of_the_folder_it_runs_in_or_of_what_it_calls(tmp_path: Path, root: Path) -> None:
    commit = make_repo(tmp_path / "project", pkg=RECORD.format(root=str(root)))
    found, said = run(tmp_path / "project", root, "-c", RECORD.format(root=str(root)) + "main()\n")
    assert (found["git"]["commit"], found["code"]["script"], left_out(found), said) == (commit, None, {}, "")
    env = {"PYTHONPATH": str(tmp_path / "project")}
    found, _ = run(tmp_path, root, "-c", "import pkg; pkg.main()", env=env)
    assert (found["git"]["commit"], found["code"]["script"]) == (commit, "pkg.py")


def test_a_program_that_is_no_file_is_said_and_what_it_imports_is_kept(tmp_path: Path, root: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    text = "import helper\n" + RECORD.format(root=str(root)) + "main()\n"
    found, _ = run(tmp_path, root, "-", input=text)
    assert (stored(found), list(left_out(found))) == (["helper.py"], ["<stdin>"])
    assert "piped" in left_out(found)["<stdin>"]
    (tmp_path / "train.py").write_text(text)
    with open(tmp_path / "train.py") as file:
        found, _ = run(tmp_path, root, stdin=file)
    assert (stored(found), found["code"]["script"]) == (["helper.py", "train.py"], "train.py")
    (tmp_path / "train.py").write_text("import os\nos.unlink(__file__)\n" + text)
    found, _ = run(tmp_path, root, "train.py")
    assert (stored(found), left_out(found)) == (
        ["helper.py"],
        {str(tmp_path / "train.py"): "it is gone from the disk"},
    )
    (tmp_path / "train.py").write_text(f"exec({text!r})\n")
    found, _ = run(tmp_path, root, "train.py")
    assert stored(found) == ["helper.py", "train.py"]
    frozen = "import sys\nsys.frozen = True\n" + text
    (tmp_path / "train.py").write_text(frozen)
    found, _ = run(tmp_path, root, "train.py")
    assert "frozen" in left_out(found)[sys.executable]


def test_an_archive_is_the_program(tmp_path: Path, root: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", "import inner\n" + script(root))
        archive.writestr("inner.py", "X = 1\n")
    found, _ = run(tmp_path, root, "app.pyz")
    assert (stored(found), found["code"]["script"]) == (["app.pyz"], "app.pyz")


def test_a_virtual_environment_in_the_project_s_folder_hides_nothing(tmp_path: Path, root: Path) -> None:
    project = tmp_path / "project"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(project)], check=True)
    (project / "train.py").write_text(script(root))
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    found, _ = run(project, root, "train.py", program=str(project / "bin" / "python"), env=env)
    assert stored(found) == ["train.py"]


def test_modules_from_elsewhere_are_named_with_their_digests_and_installed_ones_are_not(
    tmp_path: Path, root: Path
) -> None:
    for folder, name in (("lib", "mine"), ("target", "theirs")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text("X = 1\n")
    (tmp_path / "target" / "theirs-1.0.dist-info").mkdir()
    make_repo(tmp_path / "project", train="import mine, theirs\n" + script(root))
    env = {"PYTHONPATH": f"{tmp_path / 'lib'}:{tmp_path / 'target'}"}
    found, _ = run(tmp_path, root, "project/train.py", env=env)
    assert left_out(found) == {str(tmp_path / "lib" / "mine.py"): "outside the repository"}
    assert found["code"]["left_out"][0]["digest"].startswith("sha256:")


EDITING = """\
import sys, time
from pathlib import Path
from frameworm.experiment import Experiment
import early
exp = Experiment("e", root_dir=sys.argv[1], system_metrics_s=0, capture_console=False).start()
for name in ("train.py", "early.py"):
    Path(name).write_text("EDITED = 1\\n")
exp.log_metric("a", 1)
import late
Path("late.py").write_text("EDITED = 1\\n")
Path("gone.py").unlink()
exp.end()
again = Experiment("e", root_dir=sys.argv[1], system_metrics_s=0, capture_console=False).start()
again.end()
"""


@pytest.mark.parametrize("in_git", [True, False])
def test_code_is_kept_as_it_was_loaded_whatever_becomes_of_its_file(tmp_path: Path, root: Path, in_git: bool) -> None:
    project = tmp_path / "project"
    project.mkdir()
    as_loaded = {f"{name}.py": f"NAME = {name!r}\n" for name in ("early", "gone", "late")}
    as_loaded["train.py"] = "import gone\n" + EDITING
    for name, text in as_loaded.items():
        (project / name).write_text(text)
    if in_git:
        make_repo(project)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, "train.py", str(root)], cwd=project, env=environment, check=True, timeout=120)
    for folder in sorted(root.glob("exp_*")):
        found = json.loads((folder / "metadata.json").read_text())
        texts = {name: (folder / "provenance" / "code" / name).read_text() for name in stored(found)}
        for name, text in texts.items():
            assert text == as_loaded[name], name
        if not in_git or folder.name.startswith("exp_002"):  # of the first, git may have seen all in time
            assert set(texts) == {"train.py", "early.py", "gone.py"}
            assert left_out(found) == {"late.py": "it was edited after it was loaded"}


def test_what_was_edited_between_its_import_and_the_start_is_said(tmp_path: Path, root: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    (tmp_path / "train.py").write_text(
        "import helper\nfrom pathlib import Path\nfrom frameworm.experiment import Experiment\n"
        "import frameworm.experiment.provenance.program\n"
        "Path('helper.py').write_text('VALUE = 1000\\n')\n" + script(root)
    )
    found, _ = run(tmp_path, root, "train.py")
    assert stored(found) == ["train.py"]
    assert left_out(found) == {"helper.py": "it was edited after it was loaded"}


def test_modules_are_recorded_soon_after_their_import(tmp_path: Path, root: Path) -> None:
    (tmp_path / "late.py").write_text("X = 1\n")
    (tmp_path / "train.py").write_text(
        "import sys, time\nfrom frameworm.experiment import Experiment\n"
        "exp = Experiment('e', root_dir=sys.argv[1], system_metrics_s=0, capture_console=False).start()\n"
        "time.sleep(0.5)\nimport late\ntime.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "train.py", str(root)], cwd=tmp_path)
    deadline = time.monotonic() + 50
    try:
        while not list(root.glob("exp_001*/provenance/code/late.py")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        child.kill()
        child.wait()


LEAVING = """\
import os
from pathlib import Path
from frameworm.experiment import Experiment
for name in ("log.txt", "out.csv", "weights.pt", "plot.png", "train.pid", "late.json"):
    if name != "late.json":
        Path(name).write_text("before")
with Experiment("e", root_dir={root!r}, system_metrics_s=0, capture_console=False) as exp:
    Path("late.json").write_text("{{}}")
    exp.log_metric("a", 1)
"""


def test_what_runs_leave_behind_is_no_code(tmp_path: Path, root: Path) -> None:
    make_repo(tmp_path / "project", train=LEAVING.format(root=str(root)))
    (tmp_path / "project" / "conf.yaml").write_text("lr: 1\n")
    found, _ = run(tmp_path / "project", root, "train.py")
    assert stored(found) == ["conf.yaml"]
    assert set(left_out(found).values()) <= {"no code, and not loaded", "written after the start"}
    assert set(left_out(found)) >= {"log.txt", "out.csv", "plot.png", "train.pid", "weights.pt"}


def test_changes_that_git_does_not_see_are_kept(tmp_path: Path, root: Path) -> None:
    """Filters, line ends, ``$Id$``, ignored modules, a nested clone."""
    project = tmp_path / "project"
    names = ("filtered", "ends", "ident", "plain")
    imports = f"import {', '.join(names)}, ignored, inner.mod\n"
    make_repo(project, train=imports + script(root), **dict.fromkeys(names, "X = 1\n"))
    (project / ".gitattributes").write_text("filtered.py filter=f\nends.py text eol=lf\nident.py ident\n")
    (project / ".gitignore").write_text("ignored.py\n__pycache__/\n")
    git(project, "config", "filter.f.clean", "sed s/2/1/")
    make_repo(project / "inner", mod="X = 1\n")
    git(project, "add", ".gitattributes", ".gitignore")
    git(project, "commit", "-qm", "attributes")
    (project / "filtered.py").write_text("X = 2\n")
    (project / "ends.py").write_bytes(b"X = 1\r\n")
    (project / "ident.py").write_text("X = 1\n")
    (project / "ignored.py").write_text("X = 3\n")
    git(project, "add", "ends.py", "filtered.py")  # which then look the same as before
    found, _ = run(project, root, "train.py")
    assert stored(found) == ["ends.py", "filtered.py", "ignored.py", "inner/mod.py"]
    assert (found["git"]["dirty"], found["git"]["patch"]) == (False, None)
    assert left_out(found) == {"inner/": "a repository of its own"}


@pytest.mark.parametrize("what", ["no git", "broken index", "missing filter", "no head"])
def test_where_git_refuses_there_is_one_warning_and_the_files_are_kept(tmp_path: Path, root: Path, what: str) -> None:
    project = tmp_path / "project"
    commit: str | None = make_repo(project, train="import helper\n" + script(root), helper="X = 1\n")
    env = {}
    if what == "no git":
        env = {"PATH": str(tmp_path)}
    elif what == "broken index":
        (project / ".git" / "index").write_text("garbage")
    elif what == "missing filter":
        (project / ".gitattributes").write_text("*.bin filter=f\n")
        (project / "a.bin").write_text("1")
        git(project, "add", ".")
        git(project, "commit", "-qm", "filter")
        commit = git(project, "rev-parse", "HEAD")
        git(project, "config", "filter.f.clean", "no-such-program")
        git(project, "config", "filter.f.required", "true")
        (project / "a.bin").write_text("2")
    else:
        (project / ".git" / "HEAD").write_text("garbage")
        commit = None
    found, said = run(project, root, "train.py", env=env)
    assert said.count("FramewormWarning") == 1
    assert f"git refuses {project}" in said
    assert found["git"].get("commit") == commit
    assert stored(found) == ["helper.py", "train.py"]
    assert found["code"]["kind"] == ("git" if commit else "snapshot")
