"""Experiments run again: bit-identical where nothing differs, and the cause named where something does."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from frameworm.experiment import ExperimentManager
from frameworm.experiment.cli.reproducing import _hanging
from frameworm.experiment.cli.tables import Screen
from frameworm.experiment.errors import FramewormWarning, ReproductionError, StateError
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.reproduction.report import Prepared
from frameworm.experiment.reproduction.run import Watcher

from .conftest import HELPER, TRAIN, Project, make_project

TORCH = """\
import sys
import torch
from frameworm.experiment import Experiment, seed_everything
import layers

seed_everything(int(sys.argv[1]))
torch.set_num_threads(1)
data = torch.randn(64, 3)
with Experiment("net", {"training": {"lr": 0.1}}, root_dir=sys.argv[2], system_metrics_s=0) as exp:
    net = layers.make()
    optimizer = torch.optim.SGD(net.parameters(), lr=exp.config["training"]["lr"])
    for step in range(25):
        batch = data[torch.randperm(64)[:16]]
        loss = ((net(batch[:, :2]) - batch[:, 2:]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        exp.log_metric("loss", loss, step)
"""
LAYERS = """\
from torch.nn import Linear, Sequential, Tanh
def make():
    return Sequential(Linear(2, 4), Tanh(), Linear(4, 1))
"""


@pytest.mark.parametrize("in_git", [True, False])
def test_a_torch_training_is_reproduced_from_elsewhere_after_its_files_were_edited(
    tmp_path: Path, in_git: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    project = make_project(tmp_path, in_git=in_git)
    (project.folder / "train.py").write_text(TORCH.replace("int(sys.argv[1])", "0"))
    if in_git:
        project.git("commit", "-qam", "torch")
    (project.folder / "train.py").write_text(TORCH)  # dirty: the seed comes from the command line now
    (project.folder / "layers.py").write_text(LAYERS)  # untracked
    original = project.run("train.py", "1234", str(project.root))
    (project.folder / "train.py").write_text("raise SystemExit('edited')\n")
    (project.folder / "layers.py").unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    found = project.manager.reproduce(original, strict=True)
    assert found.outcome == "identical"
    assert found.verdict == "bit-identical over 25 points of 1 series"
    assert found.diff.b.parent["relation"] == "reproduction"
    assert found.diff.b.parent["uid"] == found.diff.a.uid
    assert found.diff.b.git.get("commit") == found.diff.a.git.get("commit")
    assert not found.diff.code.differs
    assert list(elsewhere.iterdir()) == []
    assert list(scratch.iterdir()) == []


# ---------------------------------------------------------------------------------------------- one change in turn


@pytest.fixture(scope="module", params=[True, False], ids=["git", "no git"])
def recorded(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Project:
    project = make_project(tmp_path_factory.mktemp("recorded"), in_git=request.param)
    assert project.run() == "exp_001"
    (project.folder / "helper.py").write_text("raise SystemExit('edited')\n")
    return project


def test_nothing_changed_and_it_is_identical(recorded: Project) -> None:
    found = recorded.manager.reproduce("exp_001", strict=True)
    assert found.verdict == "bit-identical over 24 points of 2 series"
    assert found.suspects == ()
    assert {remark.kind for remark in found.remarks} == {"same"}
    parts = {remark.part: remark.text for remark in found.remarks}
    assert "packages and the machine are as they were" in parts["environment"]


def test_another_version_of_a_package(recorded: Project) -> None:
    recorded.install("2.0", 1.001)
    try:
        found = recorded.manager.reproduce("exp_001")
    finally:
        recorded.install("1.0", 1.0)
    assert found.outcome == "differs"
    assert found.suspects[0].title == "package calc: 1.0 → 2.0"
    assert [remark.text for remark in found.remarks if remark.kind == "differs"] == ["calc 1.0 → 2.0"]


def test_another_value_in_the_config(recorded: Project) -> None:
    found = recorded.manager.reproduce("exp_001", settings={"training.lr": 0.25})
    assert found.outcome == "differs"
    assert found.diff.b.config == {"training": {"lr": 0.25, "steps": 20}}
    assert found.suspects[0].title == "config training.lr: 0.5 → 0.25"
    assert "exp_001 part at step 0 of weight@train" in found.verdict
    assert found.verdict.endswith("0 of 2 series identical")


def test_another_line_of_code(recorded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", recorded.environment()["PYTHONPATH"])
    stored = recorded.stored("exp_001") / "provenance" / "code" / "helper.py"
    stored.unlink()
    stored.write_text(HELPER.replace("point - weight", "point - weight * 1.01"))
    try:
        with pytest.raises(ReproductionError, match="was not recorded here by you"):
            recorded.manager.reproduce("exp_001")
        found = recorded.manager.reproduce("exp_001", trust=True)
        with pytest.raises(ReproductionError, match=r"not proved to be what ran: helper\.py is not what was recorded"):
            recorded.manager.reproduce("exp_001", strict=True, trust=True)
    finally:
        stored.write_text(HELPER)
    assert found.outcome == "differs"
    assert found.suspects[0].part == "code"
    assert found.suspects[0].key == "helper.py"


def test_another_content_of_a_data_file(recorded: Project) -> None:
    data = recorded.folder / "data" / "points.txt"
    before = data.read_text()
    data.write_text(before + "0.5\n")
    try:
        found = recorded.manager.reproduce("exp_001", strict=True)
    finally:
        data.write_text(before)
    assert found.outcome == "differs"
    assert found.suspects[0].part == "data"
    assert found.suspects[0].title.startswith("points.txt has changed: blake3:")
    assert "40 → 41" in found.suspects[0].evidence or "size" in found.suspects[0].evidence


# ---------------------------------------------------------------------------------------------- what is given back


def test_variables_umask_time_zone_and_standard_input_are_set_again(project: Project) -> None:
    (project.folder / "train.py").write_text(
        "import os, sys, time\n"
        "from frameworm.experiment import Experiment\n"
        f"with Experiment('e', root_dir={str(project.root)!r}, system_metrics_s=0) as exp:\n"
        "    exp.log_metric('threads', float(os.environ['OMP_NUM_THREADS']))\n"
        "    mask = os.umask(0); os.umask(mask)\n"
        "    exp.log_metric('umask', mask)\n"
        "    exp.log_metric('zone', time.localtime(0).tm_hour)\n"
        "    exp.log_metric('hash', hash('frameworm') % 1000)\n"
        "    for line in sys.stdin:\n"
        "        exp.log_metric('read', float(line))\n"
    )
    (project.folder / "numbers.txt").write_text("1\n2.5\n")
    command = [sys.executable, "train.py"]
    environment = {**project.environment(), "OMP_NUM_THREADS": "1", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "77"}
    with open(project.folder / "numbers.txt") as stdin:
        subprocess.run(command, cwd=project.folder, env=environment, umask=0o027, stdin=stdin, check=True)
    found = project.manager.reproduce("exp_001", strict=True)
    assert found.verdict == "bit-identical over 6 points of 5 series"
    assert found.diff.b.environment["umask"] == "0027"
    (project.folder / "numbers.txt").unlink()
    found = project.manager.reproduce("exp_001", strict=True)  # git did not know it: it was recorded with the code
    assert found.outcome == "identical"


def test_a_random_hash_seed_is_said_to_be_unknown(project: Project) -> None:
    environment = {**project.environment(), "PYTHONHASHSEED": "random"}
    subprocess.run(
        [sys.executable, "train.py", "3", str(project.root)], cwd=project.folder, env=environment, check=True
    )
    found = project.manager.reproduce("exp_001")
    assert found.outcome == "identical"
    assert any("PYTHONHASHSEED was random" in one.text and one.kind == "unknown" for one in found.remarks)


def test_settings_on_the_command_line_are_replaced_there(project: Project) -> None:
    script = TRAIN.replace("sys.argv[2]", "sys.argv[4]").replace('{"lr": 0.5,', '{"lr": float(sys.argv[3]),')
    script = script.replace('exp.config["training"]["lr"]', "float(sys.argv[3])")
    (project.folder / "train.py").write_text(script)
    project.run("train.py", "3", "--training.lr", "0.5", str(project.root))
    seen: list[Prepared] = []

    class Look(Watcher):
        def prepared(self, prepared: Prepared) -> None:
            seen.append(prepared)

    found = project.manager.reproduce("exp_001", settings={"training.lr": 0.125}, watcher=Look())
    assert seen[0].command[1:] == ("train.py", "3", "--training.lr", "0.125", str(project.root))
    assert seen[0].points == 24
    assert found.suspects[0].title == "config training.lr: 0.5 → 0.125"


def test_started_from_another_folder_with_absolute_paths(project: Project, tmp_path: Path) -> None:
    script = project.folder / "train.py"
    script.write_text(script.read_text().replace('"data/points.txt"', "sys.argv[3]"))
    deeper = project.folder / "deeper"
    deeper.mkdir()
    data = project.folder / "data" / "points.txt"
    command = [sys.executable, "../train.py", "3", str(project.root), f"{data}"]
    subprocess.run(command, cwd=deeper, env=project.environment(), check=True)
    script.write_text("raise SystemExit('edited')\n")
    found = project.manager.reproduce("exp_001", strict=True, keep=True)
    try:
        assert found.outcome == "identical"
        assert found.folder is not None
        command = found.diff.b.environment["command"]
        assert command[1] == "../train.py"
        assert command[4].startswith(str(found.folder))
    finally:
        shutil.rmtree(found.folder or tmp_path / "none")


def test_an_editable_install_is_imported_as_it_was(project: Project) -> None:
    """A package of the project itself, installed as editable, must not be imported as it is today."""
    package = project.folder / "src" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("SCALE = 2.0\n")
    info = project.site / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: mine\nVersion: 1.0\n")
    url = {"url": project.folder.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(url))
    (project.site / "sitecustomize.py").write_text(f"import sys; sys.path.append({str(project.folder / 'src')!r})\n")
    script = project.folder / "train.py"
    script.write_text("import mine\n" + script.read_text().replace("calc.FACTOR", "mine.SCALE * 0.2"))
    project.run()
    (package / "__init__.py").write_text("SCALE = 3.0\n")
    assert project.manager.reproduce("exp_001", strict=True).outcome == "identical"


# ---------------------------------------------------------------------------------------------- code


def test_staged_files_binary_files_modes_links_and_submodules_come_back(project: Project, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "inner.py").write_text("VALUE = 11\n")
    outer, project.folder = project.folder, library
    project.git("init", "-q")
    project.git("add", ".")
    project.git("commit", "-qm", "library")
    project.folder = outer
    project.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "libs/library")
    (outer / "blob.bin").write_bytes(bytes(range(256)) * 4)
    (outer / "link.bin").symlink_to("blob.bin")
    project.git("add", ".")
    project.git("rm", "-q", "--cached", "helper.py")
    project.git("commit", "-qm", "second")
    (outer / "blob.bin").write_bytes(bytes(range(255, -1, -1)) * 4)
    (outer / "staged.txt").write_text("staged")
    project.git("add", "staged.txt")
    (outer / "tool.sh").write_text("#!/bin/sh\necho 42\n")
    (outer / "tool.sh").chmod(0o755)
    (outer / "train.py").write_text(
        "import subprocess, sys\n"
        "from frameworm.experiment import Experiment\n"
        "sys.path.insert(0, 'libs/library')\n"
        "import inner\n"
        "with Experiment('e', root_dir=sys.argv[2], system_metrics_s=0) as exp:\n"
        "    exp.log_metric('submodule', inner.VALUE)\n"
        "    exp.log_metric('binary', open('link.bin', 'rb').read()[0])\n"
        "    exp.log_metric('staged', len(open('staged.txt').read()))\n"
        "    exp.log_metric('tool', float(subprocess.check_output(['./tool.sh'])))\n"
    )
    project.run()
    project.git("reset", "-q", "--hard")
    (outer / "tool.sh").unlink()
    shutil.rmtree(library)
    found = project.manager.reproduce("exp_001", strict=True)
    assert found.verdict == "bit-identical over 4 points of 4 series"
    assert found.diff.b.git["dirty"] is True
    assert not found.diff.code.differs


def test_hooks_and_filters_of_the_repository_are_not_run(project: Project, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    hook = project.folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho hook >> {ran}\n")
    hook.chmod(0o755)
    (project.folder / ".gitattributes").write_text("*.txt filter=spy\n")
    (project.folder / "note.txt").write_text("x\n")
    project.git("add", ".gitattributes", "note.txt")
    project.git("commit", "-qm", "attributes")
    project.git("config", "filter.spy.smudge", f"sh -c 'echo filter >> {ran}; cat'")
    project.run()
    assert project.manager.reproduce("exp_001").outcome == "identical"
    assert not ran.exists()


def test_the_commit_is_fetched_from_the_remote_when_the_repository_is_gone(project: Project, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    project.git("remote", "add", "origin", str(remote))
    project.git("push", "-q", "origin", "HEAD:refs/heads/main")
    project.run()
    data = tmp_path / "kept"
    shutil.copytree(project.folder / "data", data / "data")
    shutil.rmtree(project.folder)
    found = project.manager.reproduce("exp_001", project=data)
    assert found.outcome == "identical"
    assert any(str(remote) in remark.text for remark in found.remarks)
    shutil.rmtree(remote)
    with pytest.raises(ReproductionError, match="was not found; looked in"):
        project.manager.reproduce("exp_001")


def test_a_masked_secret_is_taken_from_todays_file_if_that_is_the_same(project: Project) -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    with open(project.folder / "train.py", "a") as file:
        file.write(f'API_KEY = "{key}"\n')
    (project.folder / "helper.py").write_text(f'{HELPER}API_KEY = "{key}"\n')
    project.run()
    assert project.manager.reproduce("exp_001", strict=True).outcome == "identical"
    (project.folder / "helper.py").write_text("")
    found = project.manager.reproduce("exp_001")
    assert found.outcome == "identical"
    told = [remark.text for remark in found.remarks if remark.kind == "differs"]
    assert told == ["helper.py: secrets were masked in it; the code laid out has *** in their places"]
    with pytest.raises(ReproductionError, match=r"helper\.py: secrets were masked"):
        project.manager.reproduce("exp_001", strict=True)


def test_a_file_that_was_not_recorded_is_named_and_can_be_lent(make: Callable[[bool], Project]) -> None:
    project = make(False)
    (project.folder / "settings.txt").write_text("0.5")
    script = (project.folder / "train.py").read_text()
    (project.folder / "train.py").write_text(script.replace('"lr": 0.5', '"lr": float(open("settings.txt").read())'))
    project.run()
    with pytest.raises(ReproductionError) as caught:
        project.manager.reproduce("exp_001")
    assert "FileNotFoundError" in str(caught.value)
    assert "settings.txt is in" in str(caught.value)
    assert "--link settings.txt lends it" in str(caught.value)
    found = project.manager.reproduce("exp_001", links=["settings.txt"])
    assert found.outcome == "identical"


# ---------------------------------------------------------------------------------------------- how it goes


def test_only_the_experiment_itself_is_recorded_of_a_program_that_makes_several(project: Project) -> None:
    loop = "import runpy, sys\nfor seed in '123':\n    sys.argv[1] = seed\n    runpy.run_path('train.py')\n"
    (project.folder / "loop.py").write_text(loop)
    command = [sys.executable, "loop.py", "0", str(project.root)]
    subprocess.run(command, cwd=project.folder, env=project.environment(), check=True)
    found = project.manager.reproduce("exp_002", strict=True)
    assert (found.reproduction_id, found.outcome) == ("exp_004", "identical")
    assert sorted(path.name[:7] for path in project.root.glob("exp_*"))[-1] == "exp_004"


def test_a_killed_experiment_is_identical_as_far_as_it_goes(project: Project) -> None:
    script = (project.folder / "train.py").read_text()
    stop = (
        "        if step == 9 and not os.environ.get('ON'):\n"
        "            while not exp.info.environment.get('packages'): pass  # recorded in the background\n"
        "            os.kill(os.getpid(), 9)\n"
    )
    script = f"import os\n{script}"
    cut = script.replace("        if step % 5 == 4:\n", f"{stop}        if step % 5 == 4:\n")
    (project.folder / "train.py").write_text(cut)
    command = [sys.executable, "train.py", "3", str(project.root)]
    assert subprocess.run(command, cwd=project.folder, env=project.environment()).returncode == -9
    found = project.manager.reproduce("exp_001")  # dies at the same point
    assert found.verdict == "bit-identical over 11 points of 2 series"
    assert found.exit_code == -9
    os.environ["ON"] = "1"
    try:
        found = project.manager.reproduce("exp_001")
    finally:
        del os.environ["ON"]
    assert found.verdict == "bit-identical over 11 points of 2 series; 13 more points where exp_001 was crashed"


def test_a_running_experiment_is_refused(project: Project, tmp_path: Path) -> None:
    script = "import sys, time\nfrom frameworm.experiment import Experiment\n"
    script += "with Experiment('e', root_dir=sys.argv[1], system_metrics_s=0) as exp:\n"
    script += "    print('up', flush=True)\n    time.sleep(60)\n"
    command = [sys.executable, "-c", script, str(project.root)]
    process = subprocess.Popen(command, cwd=tmp_path, env=project.environment(), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        with pytest.raises(StateError, match="exp_001 is running"):
            project.manager.reproduce("exp_001")
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def slow(project: Project) -> Iterator[Project]:
    script = (project.folder / "train.py").read_text()
    wait = "        if __import__('os').environ.get('WAIT'): __import__('subprocess').run(['sleep', '60'])\n"
    cut = script.replace("        if step % 5 == 4:\n", f"{wait}        if step % 5 == 4:\n")
    (project.folder / "train.py").write_text(cut)
    project.run()
    yield project


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def begun(slow: Project, scratch: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Reproduce by the command, until the program waits for a program of its own; return both."""
    scratch.mkdir()
    environment = {**slow.environment(), "WAIT": "1", "TMPDIR": str(scratch)}
    command = [sys.executable, "-m", "frameworm.experiment.cli", "--root-dir", str(slow.root), "reproduce", "exp_001"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (made := list(slow.root.glob("exp_002_*/logs/journal-*"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert made
    program = int(made[0].name.split("-")[-2])
    # Not sooner: Python forgets a signal that comes as it lets go of the lock of an import.
    while not any(child.name() == "sleep" for child in psutil.Process(program).children()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ExperimentReader(slow.stored("exp_002")).keys()
    time.sleep(0.2)
    return process, program


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_program_too_and_leaves_nothing(slow: Project, tmp_path: Path, number: int) -> None:
    scratch = tmp_path / "scratch"
    process, program = begun(slow, scratch)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(program, 0)
    assert list(scratch.iterdir()) == []
    assert ExperimentReader(slow.stored("exp_002")).info.status == "killed"


def test_sigkill_ends_the_program_and_its_own_too(slow: Project, tmp_path: Path) -> None:
    process, program = begun(slow, tmp_path / "scratch")
    deadline = time.monotonic() + 60
    while len(members := group(program)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(members) == 2  # with the program that it waits for
    process.kill()
    process.communicate(timeout=60)
    while group(program) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group(program) == []
    assert ExperimentReader(slow.stored("exp_002")).info.status == "killed"  # it was told to end, as by Ctrl-C


def group(leader: int) -> list[int]:
    """Return the processes of a group that still run."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(one.pid) == leader and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one.pid)
    return found


def reproducing(project: Project, scratch: Path, *words: str, **variables: str) -> subprocess.Popen[bytes]:
    scratch.mkdir()
    command = [sys.executable, "-m", "frameworm.experiment.cli", "--root-dir", str(project.root)]
    environment = {**project.environment(), "TMPDIR": str(scratch), **variables}
    return subprocess.Popen([*command, "reproduce", "exp_001", *words], env=environment, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes], number: int) -> None:
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_code_is_laid_out_leaves_nothing(project: Project, tmp_path: Path, number: int) -> None:
    project.run()
    before = project.git("status", "--porcelain"), project.git("worktree", "list"), project.git("for-each-ref")
    slow, marker = tmp_path / "bin" / "git", tmp_path / "marker"
    slow.parent.mkdir()
    slow.write_text(
        f"#!/bin/sh\ncase \" $* \" in *' checkout '*) sleep 300 & echo $$ $! > {marker}.new; "
        f'mv {marker}.new {marker}; wait;; esac\nexec {shutil.which("git")} "$@"\n'
    )
    slow.chmod(0o755)
    scratch = tmp_path / "scratch"
    process = reproducing(project, scratch, PATH=f"{slow.parent}:{os.environ['PATH']}")
    wait_for(marker.exists)
    assert list(scratch.iterdir())
    ended(process, number)
    for gone in map(int, marker.read_text().split()):  # git, and what it started
        wait_for(lambda gone=gone: not alive(gone))
    assert list(scratch.iterdir()) == []
    assert before == (
        project.git("status", "--porcelain"),
        project.git("worktree", "list"),
        project.git("for-each-ref"),
    )
    assert len(list(project.root.glob("exp_*"))) == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_packages_are_installed_leaves_nothing(project: Project, tmp_path: Path, number: int) -> None:
    project.run()
    (project.stored("exp_001") / "provenance" / "requirements.txt").write_text("calc==1.0\n")
    scratch = tmp_path / "scratch"
    with socket.create_server(("127.0.0.1", 0)) as index:  # takes pip's question and never answers
        index.settimeout(60)
        process = reproducing(
            project,
            scratch,
            "--venv",
            "--trust",  # the list of packages is not as it was recorded
            XDG_CACHE_HOME=str(tmp_path / "cache"),
            PIP_INDEX_URL=f"http://127.0.0.1:{index.getsockname()[1]}/simple",
            PIP_CONFIG_FILE=os.devnull,
        )
        asked, _ = index.accept()
        with asked:
            process.send_signal(number)
            assert b"Installing 1 package into " in process.communicate(timeout=60)[1]
            assert process.returncode == 128 + number
            asked.settimeout(60)
            while asked.recv(65536):  # until pip is gone
                pass
    assert list(scratch.iterdir()) == []
    left = list((tmp_path / "cache" / "frameworm" / "venvs").iterdir())
    assert [path.suffix for path in left] == [".lock"]
    assert len(list(project.root.glob("exp_*"))) == 1


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_is_kept_is_named_when_it_ends_early(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", project.environment()["PYTHONPATH"])
    (project.folder / "train.py").write_text("import sys\n" + (project.folder / "train.py").read_text())
    project.run()
    stored = project.stored("exp_001") / "provenance" / "code" / "helper.py"
    stored.write_text("raise SystemExit(3)\n")
    with pytest.warns(FramewormWarning, match="kept: ") as caught:
        with pytest.raises(ReproductionError, match="exit code 3"):
            project.manager.reproduce("exp_001", keep=True, trust=True)
    kept = Path(str(caught[0].message).removeprefix("kept: "))
    assert (kept / "files" / project.folder.relative_to("/") / "helper.py").read_text() == "raise SystemExit(3)\n"
    shutil.rmtree(kept)


def test_what_cannot_be_run_again_is_said(project: Project, tmp_path: Path) -> None:
    script = "import sys\nfrom frameworm.experiment import Experiment\n"
    script += (
        "with Experiment('e', root_dir=sys.argv[1], system_metrics_s=0, capture_console=False) as exp:\n    pass\n"
    )
    token = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    folder = tmp_path / "empty"
    folder.mkdir()
    for words, variables, message in (
        (["-c", script, str(project.root), "--token", token], {}, r"word 6 of the command line held a secret"),
        (["-c", script, str(project.root)], {"WORLD_SIZE": "4", "RANK": "0"}, "one of 4 processes of a launcher"),
    ):
        environment = {**project.environment(), **variables}
        subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True)
        with pytest.raises(ReproductionError, match=message):
            project.manager.reproduce(sorted(project.root.glob("exp_*"))[-1].name[:7])
    process = subprocess.run(
        [sys.executable],
        input=script.replace("sys.argv[1]", repr(str(project.root))),
        text=True,
        cwd=folder,
        env=project.environment(),
    )
    assert process.returncode == 0
    with pytest.raises(ReproductionError, match="recorded at a prompt"):
        project.manager.reproduce("exp_003")


def test_an_experiment_that_logged_nothing_has_nothing_to_compare(project: Project) -> None:
    (project.folder / "train.py").write_text(
        "import sys\nfrom frameworm.experiment import Experiment\n"
        "with Experiment('e', root_dir=sys.argv[2], system_metrics_s=0) as exp:\n    pass\n"
    )
    project.run()
    assert project.manager.reproduce("exp_001").outcome == "nothing"


def test_used_artifacts_are_looked_for(project: Project) -> None:
    (project.folder / "first.py").write_text(
        "import sys\nfrom frameworm.experiment import Experiment\n"
        "open('/dev/null')\n"
        "with Experiment('first', root_dir=sys.argv[1], system_metrics_s=0) as exp:\n"
        "    (exp.exp_dir / 'w.txt').write_text('0.5')\n    exp.log_artifact(exp.exp_dir / 'w.txt')\n"
    )
    project.run("first.py", str(project.root))
    (project.folder / "second.py").write_text(
        "import sys\nfrom frameworm.experiment import Experiment\n"
        "with Experiment('second', root_dir=sys.argv[1], system_metrics_s=0) as exp:\n"
        "    exp.log_metric('w', float(exp.use_artifact('exp_001', 'w.txt').read_text()))\n"
    )
    project.run("second.py", str(project.root))
    found = project.manager.reproduce("exp_002", strict=True)
    assert found.outcome == "identical"
    assert any(one.text == "w.txt of exp_001: same digest" for one in found.remarks)
    stored = project.stored("exp_001") / "artifacts" / "w.txt"
    stored.unlink()
    stored.write_text("0.75")
    found = project.manager.reproduce("exp_002")
    assert found.outcome == "differs"
    assert found.suspects[0].title == "w.txt of exp_001: is gone or was changed"


# ---------------------------------------------------------------------------------------------- command line


def run_cli(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "frameworm.experiment.cli", "--root-dir", str(project.root), *words]
    return subprocess.run(command, env=project.environment(), cwd=project.root, capture_output=True, text=True)


def test_verify_is_an_exit_code_and_the_output_says_why(project: Project) -> None:
    project.run()
    same = run_cli(project, "reproduce", "exp_001", "--verify")
    assert same.returncode == 0, same.stderr
    assert "✓ exp_002 reproduces exp_001: bit-identical over 24 points of 2 series" in same.stdout
    differing = run_cli(project, "reproduce", "exp_001", "--verify", "--set", "training.lr=0.25")
    assert differing.returncode == 1
    assert "1. config training.lr: 0.5 → 0.25" in differing.stdout
    assert "frameworm diff exp_001 exp_003" in differing.stdout
    assert run_cli(project, "reproduce", "exp_001", "--set", "training.lr=0.25").returncode == 0
    (project.stored("exp_001") / "provenance" / "code" / "helper.py").unlink()
    refused = run_cli(project, "reproduce", "exp_001", "--verify")
    assert refused.returncode == 2
    assert "helper.py cannot be laid out" in refused.stderr
    assert run_cli(project, "reproduce", "exp_099", "--verify").returncode == 2
    assert run_cli(project, "reproduce", "exp_099").returncode == 1


def test_json_tells_the_same(project: Project) -> None:
    project.run()
    done = run_cli(project, "reproduce", "exp_001", "--json", "--set", "training.lr=0.25")
    found = json.loads(done.stdout)
    assert found["outcome"] == "differs"
    assert found["settings"] == {"training.lr": 0.25}
    assert found["first"]["divergence"]["steps"] == [0, 0]
    assert found["suspects"][0]["key"] == "training.lr"
    assert ExperimentManager(project.root).get_experiment(found["reproduction_id"])["status"] == "completed"


def test_long_remarks_hang_under_their_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.width = 40
    _hanging(screen, ["  command      ", ("?", "yellow"), " "], "what it inherits is not computed again")
    assert capsys.readouterr().out.splitlines() == [
        "  command      ? what it inherits is not",
        " " * 17 + "computed again",
    ]
