"""The first rows without SQLAlchemy are those with it, or there are none."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.query.browse import conditions_of, part_of, rows_of, version_of
from frameworm.experiment.query.glance import Glance, glance
from frameworm.experiment.storage.catalog import Catalog


def record(root: Path, name: str, *tags: str) -> None:
    with Experiment(name, root_dir=root, tags=list(tags), capture_console=False, system_metrics_s=0) as exp:
        exp.log_metric("loss", 1.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "a root"
    for name, *tags in (("first", "ä", "b"), ("second",), ("gone", "archived"), ("Ω 'third'",)):
        record(root, name, *tags)
    ExperimentManager(root).list_rows()
    return root


def asked(root: Path, limit: int) -> Glance:
    """What the catalog says."""
    catalog = Catalog.open(root)
    numbers, total = part_of(catalog, conditions_of(catalog), [], 0, limit)
    return Glance(version_of(catalog), total, numbers, rows_of(catalog, numbers, []))


@pytest.mark.parametrize("limit", [0, 2, 100])
def test_it_is_what_the_catalog_says(root: Path, limit: int) -> None:
    found = glance(root, limit)
    assert found == asked(root, limit)
    assert (found.total, found.numbers) == (3, [4, 2, 1][:limit])


def test_sqlalchemy_is_not_imported(root: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from frameworm.experiment.query.glance import glance
assert glance(Path({str(root)!r}), 10).total == 3
assert not {{"sqlalchemy", "numpy"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_there_are_none_once_a_folder_has_come_or_gone(root: Path) -> None:
    folders = sorted(root.glob("exp_*"))
    shutil.copytree(folders[0], root / "exp_005_copied")
    assert glance(root, 10) is None
    assert len(ExperimentManager(root).list_rows()) == 5
    assert glance(root, 10) == asked(root, 10)
    shutil.rmtree(folders[1])
    assert glance(root, 10) is None


def test_there_are_none_while_an_experiment_runs(root: Path) -> None:
    with Experiment("running", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        ExperimentManager(root).list_rows()
        assert glance(root, 10) is None
        exp.log_metric("loss", 1.0)
    ExperimentManager(root).list_rows()
    assert glance(root, 10) == asked(root, 10)


def test_one_that_crashed_is_looked_into_for_what_is_new(root: Path) -> None:
    code = """
    import os, sys
    from frameworm.experiment import Experiment
    exp = Experiment("crashed", root_dir=sys.argv[1], capture_console=False, system_metrics_s=0)
    exp.__enter__()
    os._exit(1)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(root)], timeout=60)
    assert ExperimentManager(root).list_rows()[0]["status"] == "crashed"
    ExperimentManager(root).list_rows()
    found = glance(root, 10)
    assert found == asked(root, 10) and found.rows[0]["status"] == "crashed"
    (journal,) = root.glob("exp_005*/logs/journal-*")
    os.utime(journal)
    assert glance(root, 10) is None


def change(statement: str) -> Callable[[Path], object]:
    def act(path: Path) -> None:
        with sqlite3.connect(path) as file:
            file.execute(statement)
        file.close()

    return act


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database" * 1000),
        change("UPDATE meta SET value = '3' WHERE key = 'version'"),
        change("UPDATE meta SET value = 'another' WHERE key = 'format'"),
        change("DROP TABLE tags"),
        change("UPDATE experiments SET tag_list = '['"),
    ],
)
def test_there_are_none_of_a_catalog_that_is_not_as_it_should_be(root: Path, harm: Callable[[Path], object]) -> None:
    harm(root / "experiments.db")
    assert glance(root, 10) is None


def test_there_are_none_of_a_catalog_that_is_being_written(root: Path) -> None:
    writer = sqlite3.connect(root / "experiments.db", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    assert glance(root, 10) is None
    writer.close()


def test_there_are_none_where_nothing_can_be_written(root: Path, read_only: Callable[[Path], Path]) -> None:
    assert glance(read_only(root), 10) is None


def test_there_are_none_of_no_folder(tmp_path: Path) -> None:
    assert glance(tmp_path / "nowhere", 10) is None
