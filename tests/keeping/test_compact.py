"""Many files become one that reads exactly as they did, whatever instant the process dies at."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import ExperimentNotFoundError
from frameworm.experiment.keeping import compact as compacting
from frameworm.experiment.keeping.compact import compact
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.storage.folder import read_metadata
from tests.keeping.conftest import QUIET, contents, flip, folder_of, tree

Crash = Callable[..., None]


def scatter(root: Path) -> Path:
    """Record an experiment in many files: ranks, resumptions, values of every kind."""
    exp = Experiment("scattered", {"a": 1}, tags=["x"], root_dir=root, **QUIET).start()
    for step in range(5000):
        exp.log_metric("loss", 0.1 * step)
    for rank in range(4):
        with Experiment.attach(exp.experiment_id, root) as part:
            for step in range(700):
                part.log_metric("loss", 1 / (step + 1 + rank))
            part.log_metrics({"gpu": rank * 0.1, f"own/{rank}": math.nan}, rank)
            part.log_metric("odd", [-0.0, math.inf, math.nan, 5e-324][rank], step=2**63 - 1 - rank, epoch=rank)
    exp.add_note("first")
    exp.end("failed", "boom")
    for n in range(2):
        again = Experiment.resume(exp.experiment_id, root, **QUIET)
        for step in range(300):
            again.log_metric("loss", math.pi * step)
        again.set_tags(["x", f"resumed {n}"])
        again.end()
    return exp.exp_dir


@pytest.fixture(scope="session")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment's folder with seven segments, in a root that no test changes."""
    return scatter(tmp_path_factory.mktemp("scattered") / "experiments")


@pytest.fixture
def folder(scattered: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    subprocess.run(["cp", "-a", str(scattered.parent), str(tmp_path / "experiments")], check=True)
    return tmp_path / "experiments" / scattered.name


def logs(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "logs").glob("[jm][oe]*-*"))


def normal(what: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Leave out where the folder lies."""
    return {**what, "info": {**what["info"], "path": folder.name}}


def test_everything_reads_as_before(folder: Path) -> None:
    before = contents(folder)
    assert len(logs(folder)) == 7
    done = compact(folder)
    assert (done.files_before, done.files_after, done.skipped) == (7, 1, "")
    assert 0 < done.bytes_after < 2 * done.bytes_before
    assert contents(folder) == before
    assert len(before["writers"]) == 7 and len(before["points"]) == 7
    assert logs(folder) == ["metrics-+merged-0-7.seg"]
    once = tree(folder)
    assert compact(folder).bytes_after == done.bytes_after
    assert tree(folder) == once, "nothing is left to do"


def test_what_comes_after_is_merged_too(folder: Path) -> None:
    compact(folder)
    again = Experiment.resume("exp_001", folder.parent, **QUIET)
    again.log_metric("loss", 7.0)
    again.log_metric("new", 1.0)
    again.end()
    before = contents(folder)
    assert len(logs(folder)) == 2
    assert compact(folder).files_after == 1
    assert contents(folder) == before
    assert ExperimentManager(folder.parent).doctor().findings == []


def test_a_crashed_experiment_is_sealed_and_ends_when_it_did(root: Path, crash: Crash) -> None:
    crash(root, "e = Experiment('x', **quiet).start()\nfor i in range(999): e.log_metric('loss', i * 0.1)")
    folder = folder_of(root, "exp_004")
    before = contents(folder)
    assert before["info"]["status"] == "crashed"
    assert compact(folder).files_after == 1
    assert [name[:7] for name in logs(folder)] == ["metrics"]
    assert read_metadata(folder).ended_ms == before["info"]["ended_ms"]
    assert contents(folder) == before
    resumed = Experiment.resume("exp_004", root, **QUIET)
    resumed.log_metric("loss", -1.0)
    resumed.end()
    assert ExperimentReader(folder).read("loss").steps.tolist() == list(range(1000))


def test_the_points_merged_at_once_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)
    monkeypatch.setattr(compacting, "_most_points", lambda: 6500)
    assert compact(folder).files_after == 7 - 2
    assert contents(folder) == before
    monkeypatch.setattr(compacting, "_most_points", lambda: 8500)
    assert compact(folder).files_after == 1
    assert contents(folder) == before


def test_who_is_running_is_skipped(root: Path, running: Any) -> None:
    with running(root) as exp:
        done = compact(exp.exp_dir)
        assert "running" in done.skipped and logs(exp.exp_dir)[0].startswith("journal-")


def test_what_is_damaged_is_skipped(folder: Path) -> None:
    path = folder / "logs" / logs(folder)[2]
    flip(path, path.stat().st_size - 60)
    before = tree(folder)
    assert "damaged" in compact(folder).skipped
    assert tree(folder) == before


def test_a_sealer_that_comes_late_changes_nothing(folder: Path) -> None:
    before = contents(folder)
    late = folder / "logs" / logs(folder)[-1]
    data = late.read_bytes()
    compact(folder)
    late.write_bytes(data)
    assert contents(folder) == before
    found = ExperimentManager(folder.parent).doctor().findings
    assert [finding.kind for finding in found] == ["merged-already"]
    assert compact(folder).files_after == 1
    assert contents(folder) == before and not late.exists()


CALLS = ("open", "fsync", "replace", "rename", "unlink")


def _die_at(call: int, act: Callable[[], object]) -> int:
    """Run ``act`` in a forked process that kills itself at its n-th system call that changes the disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        left = call

        def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
            def count(*arguments: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)

            return count

        try:
            for name in CALLS:
                setattr(os, name, deadly(getattr(os, name)))
            act()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_a_death_at_any_call_leaves_what_reads_the_same(folder: Path, tmp_path: Path) -> None:
    before = normal(contents(folder), folder)
    statuses = []
    for call in range(1, 200):
        copy = tmp_path / f"{call}" / folder.name
        shutil.copytree(folder, copy)
        status = _die_at(call, lambda copy=copy: compact(copy))
        statuses.append(status)
        assert normal(contents(copy), copy) == before, call
        assert compact(copy).files_after == 1, call
        assert normal(contents(copy), copy) == before, call
        shutil.rmtree(tmp_path / f"{call}")
        if status == 0:
            break
    assert statuses[-1] == 0 and set(statuses[:-1]) == {signal.SIGKILL} and len(statuses) > 10


def test_the_manager_names_all_that_it_does_not_know(root: Path) -> None:
    manager = ExperimentManager(root)
    assert [one.experiment_id for one in manager.compact()] == ["exp_001", "exp_002", "exp_003"]
    assert manager.compact("exp_002")[0].files_after == 1
    with pytest.raises(ExperimentNotFoundError, match="exp_020, exp_030"):
        manager.compact(["exp_001", "exp_020", "exp_030"])


BESIDE = """
import sys, warnings
from frameworm.experiment import ExperimentManager
warnings.simplefilter("ignore")
what, root = sys.argv[1:]
manager = ExperimentManager(root)
print("ready", flush=True)
sys.stdin.readline()
if what == "compact":
    print([one.skipped for one in manager.compact() if one.skipped])
elif what == "rebuild":
    manager.rebuild()
else:
    findings = manager.doctor(repair=what == "repair").findings
    print([one.what for one in findings if "No such file" in one.what])
"""


def test_compact_doctor_and_rebuild_at_once_miss_no_file(tmp_path: Path) -> None:
    root = tmp_path / "experiments"
    for _ in range(5):
        with Experiment("run", root_dir=root, **QUIET) as exp:
            exp.log_metric("loss", 0.0)
        for i in range(1, 4):
            with Experiment.resume(exp.experiment_id, root, **QUIET) as exp:
                exp.log_metric("loss", float(i))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BESIDE, what, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for what in ("compact", "repair", "compact", "doctor", "rebuild")
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out.strip() in ("", "[]"), err) == (0, True, "")
    manager = ExperimentManager(root)
    assert manager.doctor().findings == []
    for number in range(1, 6):
        assert manager.reader(f"exp_{number:03d}").read("loss").values.tolist() == [0.0, 1.0, 2.0, 3.0]
