"""Experiments that end one after the other are entered together, and none is missed."""

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.query.enter import _Waiting


def rows(root: Path) -> list[int]:
    with closing(sqlite3.connect(root / "experiments.db")) as database:
        return [number for (number,) in database.execute("SELECT number FROM experiments ORDER BY number")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three ended experiments that no catalog knows."""
    for name in "abc":
        with Experiment(name, root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
            exp.log_metric("loss", 1.0)
    (tmp_path / "experiments.db").unlink(missing_ok=True)
    return tmp_path


def test_the_first_is_entered_at_once_and_the_next_together(root: Path) -> None:
    waiting = _Waiting()
    waiting.add(root / "exp_001_a")
    assert rows(root) == [1]
    waiting.add(root / "exp_002_b")
    waiting.add(root / "exp_003_c")
    assert rows(root) == [1]
    waiting.finish()
    assert rows(root) == [1, 2, 3]


def test_whoever_lists_before_finds_all(root: Path) -> None:
    waiting = _Waiting()
    for name in ("exp_001_a", "exp_002_b", "exp_003_c"):
        waiting.add(root / name)
    assert rows(root) == [1]
    assert len(ExperimentManager(root).list_rows()) == 3


def test_what_changed_while_it_waited_is_entered_as_it_is_then(root: Path) -> None:
    waiting = _Waiting()
    waiting.add(root / "exp_001_a")
    waiting.add(root / "exp_002_b")
    waiting.add(root / "exp_003_c")
    with Experiment.resume("exp_002", root, capture_console=False, system_metrics_s=0) as exp:
        exp.set_tags(["later"])
    shutil.rmtree(root / "exp_003_c")
    waiting.finish()
    by_id = {row["experiment_id"]: row for row in ExperimentManager(root).list_rows()}
    assert by_id.keys() == {"exp_001", "exp_002"}
    assert by_id["exp_002"]["tags"] == ["later"]


def test_a_root_that_is_gone_is_passed_over(root: Path) -> None:
    waiting = _Waiting()
    waiting.add(root / "exp_001_a")
    waiting.add(root / "exp_002_b")
    shutil.rmtree(root)
    waiting.finish()
    assert not root.exists()


def test_all_are_entered_when_the_process_exits_and_no_child_does_it_for_it(root: Path) -> None:
    script = """
        import os, sys
        from pathlib import Path
        from frameworm.experiment.query.enter import enter
        root = Path(sys.argv[1])
        enter(root / "exp_001_a")
        enter(root / "exp_002_b")
        child = os.fork()
        if not child:
            raise SystemExit(0)
        os.waitpid(child, 0)
        import sqlite3
        print(sqlite3.connect(root / "experiments.db").execute("SELECT count(*) FROM experiments").fetchone()[0])
        enter(root / "exp_003_c")
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(root)]
    ran = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "error"}
    )
    assert ran.stdout.split() == ["1"]
    assert ran.stderr == ""
    assert rows(root) == [1, 2, 3]


def test_one_of_very_many_series_is_left_to_whoever_lists_next(tmp_path: Path) -> None:
    for n, entered in ((10_000, True), (10_001, False)):
        root = tmp_path / str(n)
        with Experiment("wide", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
            exp.log_metrics({f"m{i}": float(i) for i in range(n)})
        assert (root / "experiments.db").exists() == entered
        assert [row["name"] for row in ExperimentManager(root).list_rows()] == ["wide"]
        assert rows(root) == [1]
