"""What is deleted or pruned lies in the trash until it is emptied, and comes back as it was."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.cli import main
from frameworm.experiment.errors import (
    ExperimentNotFoundError,
    InputError,
    MetricNotFoundError,
    StateError,
    StoreError,
)
from frameworm.experiment.keeping import trash
from frameworm.experiment.keeping.prune import seconds
from frameworm.experiment.recording.journal import encode_event, header, now_ms
from frameworm.experiment.recording.liveness import identity
from tests.keeping.conftest import QUIET, contents, folder_of, tree


def ids(manager: ExperimentManager) -> list[str]:
    return sorted(row["experiment_id"] for row in manager.list_rows())


# ------------------------------------------------------------------------------------------ delete and restore


def test_deleted_and_restored_is_as_it_was(root: Path) -> None:
    manager = ExperimentManager(root)
    folder = folder_of(root, "exp_002")
    before = tree(folder), contents(folder)
    moved = manager.delete_experiment("exp_002")
    (entry,) = manager.trash()
    assert (entry.experiment_id, entry.name, entry.status, entry.whole) == ("exp_002", "run 1", "completed", True)
    assert entry.path == moved and entry.files == len(before[0])
    assert entry.size_bytes == sum(path.stat().st_size for path in moved.rglob("*") if path.is_file())
    assert manager.restore("exp_002") == [folder]
    assert (tree(folder), contents(folder)) == before
    assert ids(manager) == ["exp_001", "exp_002", "exp_003"] and manager.trash() == []
    assert manager.doctor().findings == []


def test_nothing_is_restored_over_something(root: Path) -> None:
    manager = ExperimentManager(root)
    manager.delete_experiment("exp_002")
    shutil.copytree(folder_of(root, "exp_003"), root / "exp_002_other")
    with pytest.raises(StateError, match="exp_002_other lies in the place of exp_002; nothing was restored"):
        manager.restore("exp_002")
    assert len(manager.trash()) == 1


def test_an_id_that_the_trash_does_not_hold(root: Path) -> None:
    manager = ExperimentManager(root)
    with pytest.raises(ExperimentNotFoundError, match="is empty"):
        manager.restore("exp_002")
    manager.delete_experiment("exp_002")
    with pytest.raises(ExperimentNotFoundError, match=r"exp_003 in .*trash; did you mean exp_002"):
        manager.restore("exp_003")


def test_of_two_deletions_the_later_comes_back(root: Path) -> None:
    manager = ExperimentManager(root)
    folder = folder_of(root, "exp_002")
    shutil.copytree(folder, root / "kept")
    manager.delete_experiment("exp_002")
    (root / "kept").rename(folder)
    manager.add_tags("exp_002", "second")
    manager.delete_experiment("exp_002")
    assert len(manager.trash()) == 2
    manager.restore("exp_002")
    assert manager.get_experiment("exp_002")["tags"] == ["vae", "second"]


def test_emptying_is_for_good_and_ids_are_not_given_again(root: Path) -> None:
    manager = ExperimentManager(root)
    manager.delete_experiment("exp_003")
    manager.delete_experiment("exp_002")
    assert manager.empty_trash(older_than="1h") == []
    old = manager.trash()[0].path
    os.rename(old, old.with_name("exp_002_run_1-1500000000000"))
    assert [entry.experiment_id for entry in manager.empty_trash(older_than="30d")] == ["exp_002"]
    assert [entry.experiment_id for entry in manager.empty_trash()] == ["exp_003"]
    assert list((root / ".frameworm" / "trash").iterdir()) == []
    with Experiment("next", root_dir=root, **QUIET) as exp:
        assert exp.experiment_id == "exp_004"


def test_emptying_frees_what_only_the_removed_ones_held(tmp_path: Path) -> None:
    (tmp_path / "own.bin").write_bytes(b"own" * 1000)
    (tmp_path / "shared.bin").write_bytes(b"shared" * 1000)
    for name in ("kept", "gone"):
        with Experiment(name, root_dir=tmp_path / "runs", **QUIET) as exp:
            exp.log_artifact(tmp_path / "shared.bin")
            if name == "gone":
                exp.log_artifact(tmp_path / "own.bin")
    manager = ExperimentManager(tmp_path / "runs")
    manager.delete_experiment("exp_002")
    blobs = tmp_path / "runs" / ".frameworm" / "blobs"
    sizes = sorted(path.stat().st_size for path in blobs.glob("*/*"))
    manager.empty_trash()
    assert 3000 in sizes
    assert 3000 not in [path.stat().st_size for path in blobs.glob("*/*")]
    assert folder_of(tmp_path / "runs", "exp_001").joinpath("artifacts/shared.bin").read_bytes() == b"shared" * 1000


def test_emptying_goes_on_where_a_crash_ended_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = ExperimentManager(root)
    manager.delete_experiment("exp_002")

    def dies(path: Path) -> None:
        next(path.rglob("*.seg")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trash, "_remove", dies)
        manager.empty_trash()
    assert manager.trash() == [], "half of an experiment is not offered"
    assert [finding.kind for finding in manager.doctor(repair=True).findings] == ["half-deleted"]
    assert manager.empty_trash() == []
    assert manager.doctor().healthy


# ------------------------------------------------------------------------------------------ prune


def test_conditions_choose_and_the_best_stay(root: Path) -> None:
    manager = ExperimentManager(root)
    plan = manager.prune(status="completed", keep_best=1, by="val_loss", dry_run=True)
    assert [one.experiment_id for one in plan] == ["exp_003", "exp_002"] and ids(manager)[0] == "exp_001"
    assert all(one.moved_to is None for one in plan)
    assert [one.experiment_id for one in manager.prune(keep_best=1, by="val_loss", mode="max", dry_run=True)] == [
        "exp_002",
        "exp_001",
    ]
    assert manager.prune(older_than="1h") == []
    done = manager.prune("metrics.val_loss > 0.25")
    assert [one.experiment_id for one in done] == ["exp_003"]
    assert done[0].moved_to is not None and done[0].size_bytes == manager.trash()[0].size_bytes
    assert ids(manager) == ["exp_001", "exp_002"]
    manager.restore("exp_003")
    assert ids(manager) == ["exp_001", "exp_002", "exp_003"]


def test_only_artifacts_go_and_come_back(root: Path) -> None:
    manager = ExperimentManager(root)
    for one in ("exp_001", "exp_002"):
        (folder_of(root, one) / "checkpoints" / "last.pt").write_bytes(b"weights")
    before = {one: contents(folder_of(root, one)) for one in ("exp_001", "exp_002")}
    files = {one: tree(folder_of(root, one) / "artifacts") for one in before}
    done = manager.prune(keep_best=1, by="val_loss", what="artifacts")
    assert [(one.experiment_id, one.files) for one in done] == [("exp_003", 1), ("exp_002", 2)]
    assert manager.get_experiment("exp_002")["artifacts"] == []
    assert contents(folder_of(root, "exp_002"))["points"] == before["exp_002"]["points"]
    assert contents(folder_of(root, "exp_001")) == before["exp_001"]
    assert manager.doctor().findings == [], "what was pruned is not missing"
    assert [entry.whole for entry in manager.trash()] == [False, False]
    back = manager.restore("exp_002")
    assert {path.name for path in back} == {"model.pt", "last.pt"}
    assert tree(folder_of(root, "exp_002") / "artifacts") == files["exp_002"]
    assert contents(folder_of(root, "exp_002"))["info"]["artifacts"] == before["exp_002"]["info"]["artifacts"]
    assert manager.prune(tags="vae", what="checkpoints")[-1].files == 1
    assert manager.doctor().findings == []


def test_files_are_not_restored_over_others(root: Path) -> None:
    manager = ExperimentManager(root)
    manager.prune(tags="vae", what="artifacts")
    (folder_of(root, "exp_002") / "artifacts" / "model.pt").write_bytes(b"new")
    with pytest.raises(StateError, match=r"artifacts/model.pt lies in the place"):
        manager.restore("exp_002")
    assert (folder_of(root, "exp_002") / "artifacts" / "model.pt").read_bytes() == b"new"
    assert len(manager.trash()) == 3


def test_one_without_the_metric_is_never_among_the_best(root: Path) -> None:
    with Experiment("none", root_dir=root, **QUIET):
        pass
    with Experiment("nan", root_dir=root, **QUIET) as exp:
        exp.log_metric("val_loss", math.nan, metric_type="val")
    manager = ExperimentManager(root)
    gone = manager.prune(keep_best=4, by="val_loss", dry_run=True)
    assert [one.experiment_id for one in gone] == ["exp_005", "exp_004"]
    with pytest.raises(MetricNotFoundError, match="val_los"):
        manager.prune(keep_best=1, by="val_los", dry_run=True)


def test_running_ones_are_never_pruned(root: Path, running: Callable[..., Any]) -> None:
    manager = ExperimentManager(root)
    with running(root):
        assert "exp_004" not in [one.experiment_id for one in manager.prune(older_than="0s", dry_run=True)]
        plan = manager.prune("name == 'run 0'", dry_run=True)
        again = Experiment.resume("exp_001", root, **QUIET)
        with pytest.raises(StateError, match="exp_001 has changed meanwhile"):
            manager.carry_out(plan, "experiments")
        again.end()


def test_what_is_not_understood_prunes_nothing(root: Path) -> None:
    manager = ExperimentManager(root)
    wrong: list[dict[str, Any]] = [
        {},
        {"keep_best": 3},
        {"by": "loss"},
        {"older_than": "30"},
        {"older_than": "1 month"},
        {"status": "gone"},
        {"tags": "vae", "what": "all"},
        {"tags": "vae", "mode": "best", "keep_best": 1, "by": "loss"},
    ]
    for arguments in wrong:
        with pytest.raises(InputError):
            manager.prune(**arguments)
    assert len(ids(manager)) == 3 and manager.trash() == []


@pytest.mark.parametrize(("age", "expected"), [("30d", 2_592_000), ("1.5 h", 5400), ("2w", 1_209_600), ("0s", 0)])
def test_ages(age: str, expected: float) -> None:
    assert seconds(age) == expected


def test_a_read_only_store_says_so(root: Path, read_only: Callable[[Path], Path]) -> None:
    ExperimentManager(root).delete_experiment("exp_003")
    manager = ExperimentManager(read_only(root))
    for call in (lambda: manager.prune(tags="vae"), lambda: manager.restore("exp_003"), manager.empty_trash):
        with pytest.raises(StoreError):
            call()
    assert len(manager.trash()) == 1


# ------------------------------------------------------------------------------------------ while somebody writes


STAYS = """
import os, sys
from frameworm.experiment import Experiment
kind, root = sys.argv[1:]
quiet = dict(root_dir=root, capture_console=False, system_metrics_s=0)
if kind == "attached":  # a rank that goes on when the others are done
    exp = Experiment("run", **quiet).start()
    rank = Experiment.attach(exp.experiment_id, root_dir=root)
    rank.log_metric("loss", 1.0)
    exp.end()
elif kind == "fork":
    exp = Experiment("run", **quiet).start()
    reading, writing = os.pipe()
    if os.fork():
        os.read(reading, 1)
        exp.end()
        os.waitpid(-1, 0)
        os._exit(0)
    exp.log_metric("loss", 1.0)
    os.write(writing, b".")
elif kind == "not started":
    exp = Experiment("run", **quiet)
else:
    exp = Experiment("run", **quiet).start()
print("writing", flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.fixture(params=["owner", "attached", "fork", "not started"])
def written_to(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A root whose one experiment a process still writes to."""
    root = tmp_path / "experiments"
    process = subprocess.Popen(
        [sys.executable, "-c", STAYS, request.param, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "writing\n"
    yield root
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


def test_nothing_deletes_what_a_process_still_writes_to(written_to: Path) -> None:
    manager = ExperimentManager(written_to)
    (folder,) = written_to.glob("exp_001*")
    told = r"exp_001 is still written to by process \d+ on "
    with pytest.raises(StateError, match=told):
        manager.delete_experiment("exp_001")
    answer = CliRunner().invoke(main, ["delete", "exp_001", "--yes", "--root-dir", str(written_to)])
    assert answer.exit_code != 0 and re.search(told, answer.output)
    assert manager.prune(older_than="0s") == []
    assert folder.exists()
    moved = manager.delete_experiment("exp_001", force=True)
    assert manager.empty_trash() == []  # its process would write into nothing
    assert moved.exists()


def test_a_writer_elsewhere_lives_while_its_heartbeat_is_fresh(root: Path) -> None:
    logs = root / "exp_002_run_1" / "logs"
    writer = {**identity(), "host": "elsewhere", "role": "attached"}
    journal = logs / "journal-elsewhere-1-7"
    journal.write_bytes(header() + encode_event({"t": now_ms(), "type": "open", **writer}))
    manager = ExperimentManager(root)
    with pytest.raises(StateError, match=r"process .* on elsewhere"):
        manager.delete_experiment("exp_002")
    os.utime(journal, (time.time() - 3600,) * 2)
    assert manager.delete_experiment("exp_002").exists()
