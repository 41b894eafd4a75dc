"""The read side as a user sees it: every method, on folders made by real experiments and on damaged ones."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import (
    ExperimentNotFoundError,
    FramewormWarning,
    InputError,
    MetricNotFoundError,
    QueryError,
    StateError,
    StoreError,
    StoreNotFoundError,
)
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.schema import Entry

COLUMNS = [
    "experiment_id",
    "name",
    "project",
    "description",
    "status",
    "created_at",
    "updated_at",
    "duration_s",
    "tags",
    "git_hash",
    "git_dirty",
    "path",
    "damage",
]


def make(root: Path, name: str = "run", **arguments: Any) -> Experiment:
    return Experiment(name, root_dir=root, capture_console=False, system_metrics_s=0, **arguments)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five ended experiments; tests that change something copy the folder."""
    root = tmp_path_factory.mktemp("recorded") / "experiments"
    config = {"training": {"lr": 0.001, "epochs": 2}, "model": {"depth": 4, "act": "relu"}}
    with make(root, "baseline", config=config, tags=["vae", "mnist"], description="first") as exp:
        for step in range(4):
            exp.log_metric("loss", 1.0 - step / 4, step=step, epoch=step // 2)
            exp.log_metric("loss", 2.0 - step / 4, step=step, metric_type="val")
        exp.log_metric("val_loss", 0.5)
        exp.add_note("looks good")
        (root / "weights.bin").write_bytes(b"123")
        exp.log_artifact(root / "weights.bin", artifact_type="model")
        exp._recorder.log_metrics({"cpu": 3.0}, None, None, "system")
    config = {"training": {"lr": 0.01, "epochs": 2}, "model": {"depth": 4, "act": "gelu"}, "extra": [1, 2]}
    with make(root, "higher lr", config=config, tags=["vae"], project="digits") as exp:
        exp.log_metrics({"loss": math.nan, "val_loss": 0.7}, step=0)
        exp.log_metrics({"loss": math.inf, "val_loss": 0.75}, step=1)
    with pytest.raises(ZeroDivisionError), make(root, "broken", config={"training": {"lr": 1}}) as exp:
        exp.log_metric("loss", 9.0)
        raise ZeroDivisionError("by zero")
    make(root, "[red]no metrics[/red]", tags=["vae", "mnist", "x"]).start().end("killed", "SIGTERM")
    with make(root, "clash", config={"name": "a"}) as exp:
        exp.log_metrics({"name": 1.0, "status": 2.0, "loss.min": 3.0})
    (root / "weights.bin").unlink()
    return root


@pytest.fixture(scope="module")
def manager(recorded: Path) -> ExperimentManager:
    return ExperimentManager(recorded)


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the recorded experiments that a test may change."""
    return Path(shutil.copytree(recorded, tmp_path / "experiments"))


def ids(frame: pd.DataFrame) -> list[str]:
    return list(frame["experiment_id"])


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A root and the process that records an experiment in it, with one point logged."""
    code = """
        import sys
        from frameworm.experiment import Experiment
        exp = Experiment("live", root_dir=sys.argv[1], capture_console=False, system_metrics_s=0).start()
        exp.log_metric("loss", 1.0)
        print("ready", flush=True)
        for line in sys.stdin:
            exp.log_metric("loss", float(line))
            print("logged", flush=True)
        exp.end()
    """
    process = python(code, tmp_path / "live")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield tmp_path / "live", process
    process.kill()
    process.communicate()


# ------------------------------------------------------------------------------------------ list


class TestList:
    def test_columns_and_types_are_the_same_with_and_without_rows(self, manager: ExperimentManager) -> None:
        every, none = manager.list_experiments(), manager.list_experiments(limit=0)
        assert list(every.columns) == list(none.columns) == COLUMNS
        assert list(every.dtypes) == list(none.dtypes)
        assert len(none) == 0
        assert str(every["created_at"].dtype) == str(every["updated_at"].dtype) == "datetime64[ms, UTC]"
        assert every["duration_s"].dtype == np.float64
        assert str(every["git_dirty"].dtype) == "boolean"

    def test_rows_say_what_was_recorded(self, manager: ExperimentManager, recorded: Path) -> None:
        row = manager.list_experiments().iloc[-1]
        assert row["experiment_id"] == "exp_001"
        assert row["name"] == "baseline"
        assert row["project"] == "default"
        assert row["description"] == "first"
        assert row["status"] == "completed"
        assert row["tags"] == ["vae", "mnist"]
        assert row["path"] == str(recorded / "exp_001_baseline")
        assert abs(datetime.now(UTC) - row["created_at"].to_pydatetime()).total_seconds() < 600
        assert 0 < row["duration_s"] < 60

    def test_newest_first_and_limit(self, manager: ExperimentManager) -> None:
        assert ids(manager.list_experiments()) == ["exp_005", "exp_004", "exp_003", "exp_002", "exp_001"]
        assert ids(manager.list_experiments(limit=2)) == ["exp_005", "exp_004"]
        assert ids(manager.list_experiments(limit=np.int64(1))) == ["exp_005"]
        assert len(manager.list_experiments(limit=10**30)) == 5

    def test_filters(self, manager: ExperimentManager) -> None:
        assert ids(manager.list_experiments(status="failed")) == ["exp_003"]
        assert ids(manager.list_experiments(status="killed")) == ["exp_004"]
        assert ids(manager.list_experiments(tags=["vae", "mnist"])) == ["exp_004", "exp_001"]
        assert ids(manager.list_experiments(tags="vae")) == ["exp_004", "exp_002", "exp_001"]
        assert ids(manager.list_experiments(tags=("x", "vae"), status="killed")) == ["exp_004"]
        assert ids(manager.list_experiments(tags=[])) == ids(manager.list_experiments())
        assert ids(manager.list_experiments(project="digits")) == ["exp_002"]
        assert ids(manager.list_experiments(project="nothing")) == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"status": "done"}, "'done' is unknown; allowed are pending, running, completed, failed, killed, crashed"),
            ({"status": ["completed"]}, "is unknown; allowed are"),
            ({"tags": 3}, "tags is a list of text, not 3"),
            ({"tags": ["a", 3]}, "3 in it is not"),
            ({"project": 3}, "project is text, not 3"),
            ({"limit": -1}, "limit is a whole number from 0, or None for all, not -1"),
            ({"limit": 1.5}, "limit is a whole number"),
            ({"limit": True}, "limit is a whole number"),
            ({"limit": "1; DROP TABLE experiments"}, "limit is a whole number"),
        ],
    )
    def test_arguments_are_checked(self, manager: ExperimentManager, arguments: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            manager.list_experiments(**arguments)


# ------------------------------------------------------------------------------------------ search


class TestSearch:
    def test_the_specifications_calls(self, manager: ExperimentManager) -> None:
        assert ids(manager.search_experiments(config_filter={"training.lr": 0.001})) == ["exp_001"]
        assert ids(manager.search_experiments(metric_filter={"val_loss": ("<=", 0.5)})) == ["exp_001"]

    def test_every_way_to_ask(self, manager: ExperimentManager) -> None:
        config, metric = {"model.depth": 4}, {"val_loss.max": (">", 0.6)}
        assert ids(manager.search_experiments(config)) == ["exp_002", "exp_001"]
        assert ids(manager.search_experiments(config, metric)) == ["exp_002"]
        assert ids(manager.search_experiments(config_filter=config, metric_filter=metric)) == ["exp_002"]
        assert ids(manager.search_experiments("metrics.val_loss < 0.6", config_filter=config)) == ["exp_001"]
        assert ids(manager.search_experiments("'vae' in tags", tags="x", status="killed")) == ["exp_004"]
        assert ids(manager.search_experiments("'vae' in tags", project="default", limit=1)) == ["exp_004"]
        assert ids(manager.search_experiments()) == ids(manager.list_experiments())

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (
                "config.training.lr < 1e-2 and metrics.val_loss.min <= 0.5 and 'mnist' in tags "
                "and status == 'completed'",
                ["exp_001"],
            ),
            ("metrics.loss == inf", ["exp_002"]),
            ("metrics.loss.first == nan", ["exp_002"]),
            ("metrics['loss@val'] > 1", ["exp_001"]),
            ("metrics.loss.min > 2", ["exp_005"]),  # a metric of that very name
            ("metrics['loss'].min > 2", ["exp_003", "exp_002"]),
            ("2 in config.extra", ["exp_002"]),
            ("config.extra == [1, 2]", ["exp_002"]),
            ("'training' not in config", ["exp_005", "exp_004"]),
            ("'cpu' in metrics", ["exp_001"]),
            ("status in ['failed', 'killed'] and created_at > '1h ago'", ["exp_004", "exp_003"]),
            ("'good' in notes", ["exp_001"]),
        ],
    )
    def test_text(self, manager: ExperimentManager, query: str, expected: list[str]) -> None:
        found = manager.search_experiments(query)
        assert ids(found) == expected
        assert list(found.columns) == COLUMNS

    def test_errors(self, manager: ExperimentManager) -> None:
        with pytest.raises(QueryError, match=r"write == to compare\n  status = 'x'\n         \^"):
            manager.search_experiments("status = 'x'")
        with pytest.raises(QueryError, match="allowed are =="):
            manager.search_experiments(metric_filter={"loss": ("> 0 OR 1=1 OR 1 =", 0)})
        with pytest.raises(InputError, match="given twice"):
            manager.search_experiments({"a": 1}, config_filter={"a": 1})
        with pytest.raises(QueryError, match="a query is text"):
            manager.search_experiments(3)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------ compare


class TestCompare:
    def test_rows_in_the_order_asked_with_the_metrics_asked(self, manager: ExperimentManager) -> None:
        found = manager.compare_experiments(["exp_002", "exp_001", "exp_003"], metrics=["loss", "val_loss"])
        assert list(found["name"]) == ["higher lr", "baseline", "broken"]
        assert list(found["loss"]) == [math.inf, 0.25, 9.0]
        assert found["val_loss"].tolist()[:2] == [0.75, 0.5]
        assert math.isnan(found["val_loss"][2])
        assert list(found.columns) == [
            *("experiment_id", "name", "status", "created_at", "loss", "val_loss"),
            *("config.extra", "config.model.act", "config.model.depth", "config.training.epochs", "config.training.lr"),
        ]
        assert list(found["config.training.lr"]) == [0.01, 0.001, 1]
        assert found["config.training.lr"].dtype == np.float64
        assert list(found["config.extra"]) == [[1, 2], None, None]
        assert list(found["config.model.act"]) == ["gelu", "relu", None]
        assert str(found["created_at"].dtype) == "datetime64[ms, UTC]"

    def test_without_metrics_all_but_system_and_params_that_differ(self, manager: ExperimentManager) -> None:
        found = manager.compare_experiments(["exp_001", "exp_002"])
        assert list(found.columns[4:]) == [
            "loss",
            "val_loss",
            "config.extra",
            "config.model.act",
            "config.training.lr",
        ]
        assert list(manager.compare_experiments(["exp_001"]).columns[4:]) == ["loss", "val_loss"]

    def test_metric_names_as_in_a_filter(self, manager: ExperimentManager) -> None:
        found = manager.compare_experiments(["exp_001", "exp_002"], ["val_loss.max", "loss@val", "loss@val.count"])
        assert list(found["val_loss.max"]) == [0.5, 0.75]
        assert found["loss@val"][0] == 1.25
        assert found["loss@val.count"][0] == 4

    def test_a_metric_called_like_a_column(self, manager: ExperimentManager) -> None:
        found = manager.compare_experiments(["exp_005", "exp_001"])
        assert list(found.columns[4:9]) == ["loss", "loss.min", "metrics.name", "metrics.status", "val_loss"]
        assert list(found["name"]) == ["clash", "baseline"]
        assert found["metrics.name"][0] == 1.0
        assert list(found["config.name"]) == ["a", None]

    def test_one_id_as_text_an_id_twice_a_uid(self, manager: ExperimentManager) -> None:
        assert ids(manager.compare_experiments("exp_001")) == ["exp_001"]
        uid = manager.get_experiment("exp_002")["uid"]
        assert ids(manager.compare_experiments([uid, "exp_001", "exp_001"])) == ["exp_002", "exp_001", "exp_001"]
        assert list(manager.compare_experiments([]).columns) == ["experiment_id", "name", "status", "created_at"]

    def test_unknown_ids_are_all_named_and_near_ones_suggested(self, manager: ExperimentManager) -> None:
        with pytest.raises(ExperimentNotFoundError, match=r"exp_011, exp_0x2 .*did you mean exp_001") as caught:
            manager.compare_experiments(["exp_001", "exp_011", "exp_0x2"])
        assert "exp_001" in caught.value.suggestions

    @pytest.mark.parametrize("bad", ["../exp_001", "exp_001/../exp_002", "", "exp_001_baseline", "exp_1"])
    def test_ids_with_path_parts_are_unknown(self, manager: ExperimentManager, bad: str) -> None:
        with pytest.raises(ExperimentNotFoundError):
            manager.compare_experiments([bad])

    def test_a_metric_nobody_has(self, manager: ExperimentManager) -> None:
        with pytest.raises(MetricNotFoundError, match="'val_los'; did you mean 'val_loss'"):
            manager.compare_experiments(["exp_001", "exp_002"], ["loss", "val_los"])

    def test_arguments_are_checked(self, manager: ExperimentManager) -> None:
        with pytest.raises(InputError, match="experiment_ids is a list of text, not 3"):
            manager.compare_experiments(3)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="metrics is a list of text; 3 in it is not"):
            manager.compare_experiments(["exp_001"], [3])  # type: ignore[list-item]


# ------------------------------------------------------------------------------------------ one experiment


class TestOne:
    def test_get_experiment(self, manager: ExperimentManager, recorded: Path) -> None:
        found = manager.get_experiment("exp_001")
        assert found["config"]["training"] == {"lr": 0.001, "epochs": 2}
        assert found["status"] == "completed"
        assert found["tags"] == ["vae", "mnist"]
        assert [note["text"] for note in found["notes"]] == ["looks good"]
        assert found["created_at"].tzinfo is UTC
        assert found["created_at"] <= found["started_at"] <= found["ended_at"]
        assert found["path"] == str(recorded / "exp_001_baseline")
        assert found["damage"] == []
        [artifact] = found["artifacts"]
        assert (artifact["name"], artifact["artifact_type"], artifact["size_bytes"]) == ("weights.bin", "model", 3)
        summary = found["metrics_summary"]
        assert list(summary) == ["loss", "loss@val", "val_loss", "cpu@system"]
        assert summary["loss"] | {"last_at": None} == {
            "last": 0.25,
            "min": 0.25,
            "max": 1.0,
            "mean": 0.625,
            "first": 1.0,
            "count": 4,
            "nan_count": 0,
            "last_step": 3,
            "last_epoch": 1,
            "last_at": None,
        }
        assert summary["loss@val"]["last_epoch"] is None

    def test_get_experiment_that_failed(self, manager: ExperimentManager) -> None:
        found = manager.get_experiment("exp_003")
        assert found["status"] == "failed"
        assert "by zero" in found["reason"]

    def test_history(self, manager: ExperimentManager) -> None:
        found = manager.get_metric_history("exp_001", "loss")
        assert list(found.columns) == ["step", "epoch", "metric_value", "metric_type", "timestamp"]
        assert [str(dtype) for dtype in found.dtypes if dtype != found["metric_type"].dtype] == [
            "int64",
            "Int64",
            "float64",
            "datetime64[ms, UTC]",
        ]
        assert list(found["metric_type"]) == ["train"] * 4 + ["val"] * 4
        assert list(found["step"]) == [0, 1, 2, 3] * 2
        assert list(found["metric_value"]) == [1.0, 0.75, 0.5, 0.25, 2.0, 1.75, 1.5, 1.25]
        assert list(found["epoch"][:4]) == [0, 0, 1, 1]
        assert found["epoch"][4:].isna().all()

    def test_history_of_one_context(self, manager: ExperimentManager) -> None:
        one = manager.get_metric_history("exp_001", "loss", metric_type="val")
        assert list(one["metric_value"]) == [2.0, 1.75, 1.5, 1.25]
        pd.testing.assert_frame_equal(manager.get_metric_history("exp_001", "loss@val"), one)

    def test_history_keeps_nan_and_infinity(self, manager: ExperimentManager) -> None:
        values = list(manager.get_metric_history("exp_002", "loss")["metric_value"])
        assert math.isnan(values[0])
        assert values[1] == math.inf

    def test_unknown_metrics(self, manager: ExperimentManager) -> None:
        with pytest.raises(MetricNotFoundError, match="did you mean 'val_loss'"):
            manager.get_metric_history("exp_001", "val_los")
        with pytest.raises(MetricNotFoundError, match="not in 'test'"):
            manager.get_metric_history("exp_001", "loss", "test")
        with pytest.raises(MetricNotFoundError, match="loss@test"):
            manager.get_metric_history("exp_001", "loss@test")
        with pytest.raises(InputError, match="metric_name is text"):
            manager.get_metric_history("exp_001", None)  # type: ignore[arg-type]

    def test_the_uid_is_as_good_as_the_id(self, manager: ExperimentManager) -> None:
        uid = manager.get_experiment("exp_002")["uid"]
        assert manager.get_experiment(uid)["experiment_id"] == "exp_002"
        assert manager.reader(uid).info.name == "higher lr"
        with pytest.raises(ExperimentNotFoundError, match="f" * 32):
            manager.reader("f" * 32)

    @pytest.mark.parametrize("bad", ["../exp_001", "exp_001/..", "/etc", "exp_001\0", "", "exp_1", "exp_999"])
    def test_what_is_no_id_here_is_not_found(self, manager: ExperimentManager, bad: str) -> None:
        for method in (manager.reader, manager.get_experiment, manager.delete_experiment):
            with pytest.raises(ExperimentNotFoundError):
                method(bad)

    def test_an_id_is_text(self, manager: ExperimentManager) -> None:
        with pytest.raises(InputError, match="an experiment id is text such as 'exp_001', not 1"):
            manager.get_experiment(1)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------ delete


class TestDelete:
    def test_the_folder_moves_to_the_trash_and_back(self, root: Path) -> None:
        manager = ExperimentManager(root)
        before = manager.list_experiments()
        trash = manager.delete_experiment("exp_002")
        assert trash.parent == root / ".frameworm" / "trash"
        assert (trash / "metadata.json").exists()
        assert not (root / "exp_002_higher_lr").exists()
        assert "exp_002" not in ids(manager.list_experiments())
        with pytest.raises(ExperimentNotFoundError):
            manager.get_experiment("exp_002")
        trash.rename(root / "exp_002_higher_lr")
        pd.testing.assert_frame_equal(manager.list_experiments(), before)

    def test_the_id_is_never_given_again(self, root: Path) -> None:
        ExperimentManager(root).delete_experiment("exp_005")
        assert make(root).experiment_id == "exp_006"

    def test_a_running_one_is_refused(self, running: tuple[Path, subprocess.Popen[str]]) -> None:
        root, _ = running
        manager = ExperimentManager(root)
        with pytest.raises(
            StateError,
            match=r"exp_001 is still written to by process .*: end it first, or .* force=True",
        ):
            manager.delete_experiment("exp_001")
        assert ids(manager.list_experiments()) == ["exp_001"]
        manager.delete_experiment("exp_001", force=True)
        assert ids(manager.list_experiments()) == []

    def test_one_that_cannot_be_read(self, root: Path) -> None:
        shutil.rmtree(root / "exp_003_broken")
        (root / "exp_003_broken").mkdir()
        assert ExperimentManager(root).delete_experiment("exp_003").exists()

    def test_a_link_moves_and_what_it_points_to_stays(self, root: Path, tmp_path: Path) -> None:
        (root / "exp_003_broken").rename(tmp_path / "elsewhere")
        (root / "exp_003_broken").symlink_to(tmp_path / "elsewhere")
        assert ExperimentManager(root).delete_experiment("exp_003").is_symlink()
        assert (tmp_path / "elsewhere" / "metadata.json").exists()

    def test_a_read_only_root(self, root: Path, read_only: Callable[[Path], Path]) -> None:
        with pytest.raises(StoreError, match="cannot be moved"):
            ExperimentManager(read_only(root)).delete_experiment("exp_001")


# ------------------------------------------------------------------------------------------ the root


class TestRoot:
    def test_a_missing_root_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(StoreNotFoundError, match=r"nowhere: no such folder .*Experiment\(\.\.\.\)"):
            ExperimentManager(tmp_path / "nowhere")
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreNotFoundError, match="is a file"):
            ExperimentManager(tmp_path / "file")

    def test_a_root_that_goes_away(self, root: Path) -> None:
        manager = ExperimentManager(root)
        manager.list_experiments()
        shutil.rmtree(root)
        with pytest.raises(StoreNotFoundError):
            manager.list_experiments()

    def test_an_empty_root_says_so(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        manager = ExperimentManager(tmp_path)
        assert list(manager.list_experiments().columns) == COLUMNS
        assert list(manager.search_experiments("metrics.loss < 1").columns) == COLUMNS
        assert manager.rebuild() == 0
        manager.print_summary()
        assert "No experiments in" in capsys.readouterr().out
        with pytest.raises(ExperimentNotFoundError, match="holds no experiments"):
            manager.get_experiment("exp_001")

    @pytest.mark.parametrize("columns", ["60", "120"])
    def test_summary_fits_and_takes_names_as_text(
        self,
        manager: ExperimentManager,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        columns: str,
    ) -> None:
        monkeypatch.setenv("COLUMNS", columns)
        manager.print_summary()
        out = capsys.readouterr().out
        assert "5 experiments" in out
        assert "completed 3" in out
        assert "digits 1" in out
        assert "exp_001" in out
        if columns == "120":
            assert "[red]no metrics[/red]" in out
        assert max(len(line) for line in out.splitlines() if not line.startswith("5 experiments")) <= int(columns)

    def test_the_root_is_where_it_was_when_the_folder_changes(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(root.parent)
        manager = ExperimentManager("experiments")
        monkeypatch.chdir("/")
        assert manager.root_dir == root
        assert len(manager.list_experiments()) == 5


# ------------------------------------------------------------------------------------------ catalog and folders


def tables(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    connection = sqlite3.connect(root / "experiments.db")
    names = ("experiments", "tags", "params", "series", "artifacts")
    found = {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names}
    connection.close()
    return found


class TestSync:
    def test_rebuild_gives_what_the_writers_entered(self, root: Path) -> None:
        manager = ExperimentManager(root)
        listed, before = manager.list_experiments(), tables(root)  # what ended within a second is entered by who asks
        assert len(before["experiments"]) == 5
        assert manager.rebuild() == 5
        assert tables(root) == before
        pd.testing.assert_frame_equal(manager.list_experiments(), listed)

    @pytest.mark.parametrize("damage", ["removed", "garbage", "half", "truncated", "empty"])
    def test_a_lost_catalog_comes_back(self, root: Path, damage: str) -> None:
        manager = ExperimentManager(root)
        before, listed = tables(root), manager.list_experiments()
        path = root / "experiments.db"
        data = path.read_bytes()
        if damage == "removed":
            path.unlink()
        else:
            half = data[: len(data) // 2]
            path.write_bytes(
                {
                    "garbage": os.urandom(len(data)),
                    "half": half + os.urandom(len(data) - len(half)),
                    "truncated": data[: len(data) // 8192 * 4096],
                    "empty": b"",
                }[damage]
            )
        for one in (manager, ExperimentManager(root)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FramewormWarning)
                pd.testing.assert_frame_equal(one.list_experiments(), listed)
                assert ids(one.search_experiments("config.training.lr == 0.01 and 'vae' in tags")) == ["exp_002"]
        if damage != "half":  # damage in pages that no query touched shows when one does
            assert tables(root) == before

    def test_folders_that_come_go_and_are_renamed(self, root: Path, tmp_path: Path) -> None:
        manager = ExperimentManager(root)
        manager.list_experiments()
        (root / "exp_003_broken").rename(tmp_path / "away")
        (root / "exp_002_higher_lr").rename(root / "exp_012_renamed")
        shutil.copytree(root / "exp_001_baseline", root / "exp_020")
        found = manager.list_experiments()
        assert sorted(ids(found)) == ["exp_001", "exp_004", "exp_005", "exp_012", "exp_020"]
        assert dict(zip(found["experiment_id"], found["name"], strict=True))["exp_012"] == "higher lr"
        assert ids(manager.compare_experiments(["exp_020"])) == ["exp_020"]
        uid = manager.get_experiment("exp_001")["uid"]
        assert manager.reader(uid).exp_dir == root / "exp_001_baseline"

    def test_foreign_names_are_passed_over(self, root: Path) -> None:
        for name in ("exp_abc", "notes.txt", "exp_01_x", "exp_0007_x", "exp_" + "9" * 30, "exp_010_\udcff", "éxp_001"):
            (root / name).mkdir()
        (root / "exp_011").write_text("a file")
        assert len(ExperimentManager(root).list_experiments()) == 5

    def test_of_two_folders_with_one_id_the_first_is_shown(self, root: Path) -> None:
        shutil.copytree(root / "exp_001_baseline", root / "exp_001_copy")
        manager = ExperimentManager(root)
        with pytest.warns(FramewormWarning, match="exp_001_copy is left out: exp_001_baseline has the same id") as told:
            found = manager.list_experiments()
        assert len(told) == 1
        assert "mv exp_001_copy exp_006_copy" in str(told[0].message)
        assert found["path"].iloc[-1] == str(root / "exp_001_baseline")
        assert manager.reader("exp_001").exp_dir == root / "exp_001_baseline"

    def test_a_folder_that_cannot_be_read_is_listed_as_damaged_and_told_of_once(self, root: Path) -> None:
        (root / "exp_099_empty").mkdir()
        manager = ExperimentManager(root)
        with pytest.warns(FramewormWarning, match=r"exp_099_empty is damaged: not an experiment's folder") as told:
            rows = manager.list_rows()
        assert len(told) == 1
        assert len(rows) == 6
        assert {row["experiment_id"]: row["status"] for row in rows}["exp_099"] == "damaged"
        assert [row["experiment_id"] for row in rows if row["damage"]] == ["exp_099"]
        assert manager.list_rows(status="damaged")[0]["name"] == "exp_099_empty"
        shutil.copytree(root / "exp_003_broken", root / "exp_099_empty", dirs_exist_ok=True)
        assert {row["experiment_id"]: row["status"] for row in manager.list_rows()}["exp_099"] == "failed"

    @pytest.mark.parametrize(
        ("cell", "value"),
        [
            ("experiments.name", b"\xff"),
            ("experiments.created_ms", "text"),
            ("experiments.updated_ms", 2**62),
            ("experiments.duration_s", b"1"),
            ("experiments.tag_list", "[1]"),
            ("experiments.tag_list", "["),
            ("experiments.folder", "exp_001_/../../elsewhere"),
            ("params.value", "{"),
            ("series.last", "text"),
            ("tags.tag", b"\0"),
        ],
    )
    def test_a_cell_that_somebody_else_wrote_makes_the_catalog_anew(self, root: Path, cell: str, value: Any) -> None:
        def everything() -> list[Any]:
            manager = ExperimentManager(root)
            rows = manager.list_rows()
            compared = manager.compare_experiments([row["experiment_id"] for row in rows])
            return [rows, compared.to_csv(), manager.aggregate(None, "tags", "loss").to_csv()]

        before = everything()
        table, column = cell.split(".")
        with contextlib.closing(sqlite3.connect(root / "experiments.db")) as connection:
            connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
            connection.commit()
        assert everything() == before

    def test_what_cannot_be_read_can_be_deleted(self, root: Path) -> None:
        (root / "exp_099_empty").mkdir()
        manager = ExperimentManager(root)
        with pytest.warns(FramewormWarning, match="damaged"):
            assert len(manager.list_rows()) == 6
        manager.delete_experiment("exp_099")
        assert len(manager.list_rows()) == 5

    def test_a_metadata_file_with_values_of_another_type(self, root: Path) -> None:
        broken = root / "exp_003_broken"
        shutil.rmtree(broken / "logs")
        text = (broken / "metadata.json").read_text()
        (broken / "metadata.json").write_text(text.replace('"broken"', "null"))
        manager = ExperimentManager(root)
        with pytest.warns(
            FramewormWarning, match=r"exp_003_broken is damaged: .*\(name: expected a text, got null\)"
        ) as told:
            assert manager.rebuild() == 5
        assert len(told) == 1

    def test_a_running_one_shows_at_once_and_a_killed_one_as_crashed(
        self, running: tuple[Path, subprocess.Popen[str]]
    ) -> None:
        root, process = running
        manager = ExperimentManager(root)
        assert list(manager.list_experiments()["status"]) == ["running"]
        assert ids(manager.search_experiments("metrics.loss == 1")) == ["exp_001"]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("7.5\n")
        process.stdin.flush()
        process.stdout.readline()
        assert ids(manager.search_experiments("metrics.loss == 7.5")) == ["exp_001"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert list(manager.list_experiments()["status"]) == ["crashed"]
        assert ids(manager.search_experiments("status == 'crashed' and metrics.loss.count == 2")) == ["exp_001"]
        assert list(manager.get_metric_history("exp_001", "loss")["metric_value"]) == [1.0, 7.5]

    def test_a_crashed_one_is_looked_into_again_only_once_its_files_change(
        self, running: tuple[Path, subprocess.Popen[str]]
    ) -> None:
        root, process = running
        manager = ExperimentManager(root)
        process.send_signal(signal.SIGKILL)
        process.wait()
        manager.list_experiments()
        before = (root / "experiments.db").stat().st_mtime_ns
        manager.list_experiments()
        assert (root / "experiments.db").stat().st_mtime_ns == before
        resumed = Experiment.resume("exp_001", root, capture_console=False, system_metrics_s=0)
        assert list(manager.list_experiments()["status"]) == ["running"]
        resumed.end()
        assert list(manager.list_experiments()["status"]) == ["completed"]

    def test_a_row_marked_stale_is_read_again(self, root: Path) -> None:
        manager = ExperimentManager(root)
        catalog = Catalog.open(root)
        reader = manager.reader("exp_001")
        catalog.upsert_many([Entry(reader.info, [], stale=False)])
        assert ids(manager.search_experiments("'loss' in metrics")) == ["exp_003", "exp_002"]
        catalog.mark_stale("exp_001")
        assert ids(manager.search_experiments("'loss' in metrics")) == ["exp_003", "exp_002", "exp_001"]

    def test_a_read_only_root_is_listed_with_what_came_after_the_catalog(
        self, root: Path, read_only: Callable[[Path], Path]
    ) -> None:
        Catalog.open(root).remove(["exp_002"])
        before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
        manager = ExperimentManager(read_only(root))
        assert len(manager.list_experiments()) == 5
        assert ids(manager.search_experiments({"training.lr": 0.01})) == ["exp_002"]
        assert len(manager.compare_experiments(["exp_001", "exp_002"])) == 2
        assert manager.rebuild() == 5
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before

    def test_a_catalog_locked_up_by_another_process(self, root: Path) -> None:
        manager = ExperimentManager(root)
        manager.index.catalog = Catalog.open(root, timeout_s=0.05)
        holder = sqlite3.connect(root / "experiments.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            assert len(manager.list_experiments()) == 5  # reading needs no lock of a writer
            shutil.copytree(root / "exp_001_baseline", root / "exp_020_new")
            assert len(manager.list_experiments()) == 6
        finally:
            holder.close()
        assert len(ExperimentManager(root).list_experiments()) == 6

    def test_a_foreign_database_is_not_touched(self, root: Path) -> None:
        path = root / "experiments.db"
        path.unlink()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE mine (x)")
        connection.close()
        before = path.read_bytes()
        manager = ExperimentManager(root)
        for call in (manager.list_experiments, manager.rebuild):
            with pytest.raises(StoreError, match="another program"):
                call()
        assert path.read_bytes() == before
        assert manager.get_experiment("exp_001")["name"] == "baseline"

    def test_six_processes_list_a_root_without_a_catalog(self, root: Path) -> None:
        (root / "experiments.db").unlink()
        code = """
            import sys
            import pandas, sqlalchemy
            from frameworm.experiment import ExperimentManager
            manager = ExperimentManager(sys.argv[1])
            print("ready", flush=True)
            input()
            for _ in range(3):
                assert len(manager.list_experiments()) == 5
        """
        processes = [python(code, root) for _ in range(6)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.communicate()[1] for process in processes] == [""] * 6
        assert len(tables(root)["experiments"]) == 5


def test_the_manager_imports_no_heavy_library_before_it_is_asked(tmp_path: Path) -> None:
    code = """
        import sys
        from frameworm.experiment import ExperimentManager
        ExperimentManager(sys.argv[1])
        print(sorted({"pandas", "sqlalchemy", "matplotlib", "rich"} & set(sys.modules)))
    """
    assert python(code, tmp_path).communicate()[0] == "[]\n"


@pytest.mark.parametrize("how", ["noise", "gone", "text in a cell", "as it is"])
def test_threads_ask_one_manager_while_its_catalog_is_replaced(tmp_path, how):
    for i in range(3):
        with Experiment(f"e{i}", {"lr": i}, root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
            exp.log_metric("loss", i)
    catalog = tmp_path / "experiments.db"
    if how == "noise":
        catalog.write_bytes(b"noise" * 500)
    elif how == "gone":
        catalog.unlink()
    elif how == "text in a cell":
        data = catalog.read_bytes()
        assert b"completed" in data
        catalog.write_bytes(data.replace(b"completed", b"comple\xc7ed"))
    manager = ExperimentManager(tmp_path)
    errors = []

    def work(number):
        try:
            for i in range(3):
                assert len(manager.list_rows()) == 3
                assert len(manager.list_rows("config.lr > 0")) == 2
                manager.edit_tags("exp_001", add=[f"{number} {i}"])
        except BaseException as error:
            errors.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FramewormWarning)  # that the file was replaced
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert len(manager.get_experiment("exp_001")["tags"]) == 12
