"""The catalog follows its folders, though the root is not listed for every question."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import StoreNotFoundError
from frameworm.experiment.query.sync import Watch, sync
from frameworm.experiment.storage.catalog import Catalog

LONG_AGO = time.time() - 7200


def record(root: Path, name: str = "x") -> Experiment:
    with Experiment(name, root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        exp.log_metric("loss", 1.0)
    return exp


def age(root: Path) -> None:
    """Let the last change of the root be long ago, so that one listing is enough."""
    os.utime(root, (LONG_AGO, LONG_AGO))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    record(tmp_path, "first")
    return tmp_path


@pytest.fixture
def settled(root: Path) -> ExperimentManager:
    """A manager that has listed the root and has no reason to do it again."""
    manager = ExperimentManager(root)
    ids(manager)
    age(root)
    assert ids(manager) == ["exp_001"]
    return manager


def ids(manager: ExperimentManager) -> list[str]:
    return sorted(row["experiment_id"] for row in manager.list_rows())


def test_a_root_that_did_not_change_is_not_listed(settled: ExperimentManager) -> None:
    (settled.root_dir / "exp_002_made_unseen").mkdir()
    shutil.copytree(settled.root_dir / "exp_001_first", settled.root_dir / "exp_002_made_unseen", dirs_exist_ok=True)
    age(settled.root_dir)
    assert ids(settled) == ["exp_001"]
    os.utime(settled.root_dir)
    assert ids(settled) == ["exp_001", "exp_002"]


def test_what_comes_and_goes_is_noticed(settled: ExperimentManager) -> None:
    root = settled.root_dir
    record(root, "second")
    assert ids(settled) == ["exp_001", "exp_002"]
    for change, expected in [
        (lambda: shutil.rmtree(root / "exp_001_first"), ["exp_002"]),
        (lambda: (root / "exp_002_second").rename(root / "exp_007_renamed"), ["exp_007"]),
        (lambda: shutil.copytree(root / "exp_007_renamed", root / "exp_008_copied"), ["exp_007", "exp_008"]),
        (lambda: (root / "experiments.db").unlink(), ["exp_007", "exp_008"]),
        (lambda: (root / "exp_008_copied").rename(root.parent / "moved_away"), ["exp_007"]),
    ]:
        ids(settled)
        age(root)
        ids(settled)
        change()
        assert ids(settled) == expected


def test_what_another_process_enters_is_noticed(settled: ExperimentManager) -> None:
    script = """
        import sys
        from frameworm.experiment import Experiment
        with Experiment.resume("exp_001", sys.argv[1], capture_console=False, system_metrics_s=0) as exp:
            exp.set_tags(["resumed"])
            exp.log_metric("loss", 0.5)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(settled.root_dir)], check=True)
    (row,) = settled.list_rows()
    assert row["tags"] == ["resumed"]


def test_a_listing_counts_only_once_the_time_has_been_seen_for_a_while(root: Path) -> None:
    """A folder made in the very tick of the listing leaves the root's time as it is."""
    catalog, watch = Catalog.open(root), Watch()
    sync(catalog, watch)
    now = root.stat()
    shutil.copytree(root / "exp_001_first", root / "exp_002_same_tick")
    os.utime(root, ns=(now.st_atime_ns, now.st_mtime_ns))
    sync(catalog, watch)
    assert catalog.folders().fresh == {"exp_001_first", "exp_002_same_tick"}


@pytest.mark.parametrize(("part_ns", "tick_s"), [(0, 2.0), (500_000_000, 0.1)], ids=["whole seconds", "parts"])
def test_how_long_a_while_is_depends_on_what_the_file_system_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch, part_ns: int, tick_s: float
) -> None:
    catalog, watch = Catalog.open(root), Watch()
    mtime_ns = time.time_ns() // 1_000_000_000 * 1_000_000_000 - 1_000_000_000 + part_ns
    os.utime(root, ns=(mtime_ns, mtime_ns))
    clock = SimpleNamespace(monotonic=lambda: 1000.0, time=time.time)
    monkeypatch.setattr("frameworm.experiment.query.sync.time", clock)
    watch.keep(watch.listing(catalog))
    for ticks, settled in [(0.9, False), (1.1, True)]:
        clock.monotonic = lambda ticks=ticks: 1000.0 + ticks * tick_s
        watch.keep(watch.listing(catalog))
        assert (watch.stale(catalog) is not None) == settled


def test_a_running_experiment_is_read_again_once_it_writes(root: Path) -> None:
    with Experiment("live", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        manager = ExperimentManager(root)
        for step in range(3):
            exp.log_metric("loss", step / 2)
            frame = manager.compare_experiments(["exp_002"], ["loss"])
            assert frame["loss"].tolist() == [step / 2]
        assert manager.list_rows()[0]["status"] == "running"
    assert manager.list_rows()[0]["status"] == "completed"


def test_a_running_experiment_whose_writer_dies_is_found_without_a_byte_written(tmp_path: Path) -> None:
    script = """
        import sys
        from frameworm.experiment import Experiment
        exp = Experiment("dies", root_dir=sys.argv[1], capture_console=False, system_metrics_s=0).start()
        print("ready", flush=True)
        sys.stdin.read()
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdin=-1, stdout=-1)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        manager = ExperimentManager(tmp_path)
        for _ in range(3):
            assert manager.list_rows()[0]["status"] == "running"
    finally:
        child.kill()
        child.communicate()
    assert manager.list_rows()[0]["status"] == "crashed"


def test_a_root_that_is_gone_is_said_to_be(settled: ExperimentManager) -> None:
    settled.root_dir.rename(settled.root_dir.with_name("elsewhere"))
    with pytest.raises(StoreNotFoundError, match="no such folder"):
        settled.list_rows()
