"""Samples: which experiments are meant, which of them belong together, and what each is measured by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import FramewormWarning


def record(root: Path, config: dict[str, Any], *, context: str = "train", value: float = 1.0, **about: Any) -> str:
    with Experiment("x", config, root_dir=root, capture_console=False, system_metrics_s=0, **about) as exp:
        exp.log_metric("loss", value, step=0, metric_type=context)
    return exp.experiment_id


@pytest.fixture
def manager(tmp_path: Path) -> ExperimentManager:
    for config in (
        {"lr": 1, "flag": True, "model": {"kind": "vae", "depth": 2}},
        {"lr": 1.0, "flag": 1, "model": {"depth": 2, "kind": "vae"}},
        {"lr": 0.5, "flag": False, "model": {"kind": "gan", "depth": 2}},
        {"lr": float("nan"), "layers": [1, 2], "model": "none"},
        {"lr": "auto", "layers": [1, 2]},
        {"layers": [2, 1], "lr": None},
    ):
        record(tmp_path, config)
    return ExperimentManager(tmp_path)


def ids(*numbers: int) -> list[str]:
    return [f"exp_{number:03d}" for number in numbers]


def test_groups_ascend_numbers_then_text_then_none(manager: ExperimentManager) -> None:
    groups = manager.group_experiments(None, "config.lr")
    assert [members for _, members in groups] == [ids(3), ids(1, 2), ids(4), ids(5), ids(6)]
    assert repr([key for key, _ in groups]) == "[(0.5,), (1,), (nan,), ('auto',), (None,)]"


def test_a_bool_is_no_number(manager: ExperimentManager) -> None:
    groups = manager.group_experiments(None, "config.flag")
    assert [members for _, members in groups] == [ids(2), ids(3), ids(1), ids(4, 5, 6)]
    assert repr([key for key, _ in groups]) == "[(1,), (False,), (True,), (None,)]"


def test_sections_and_lists_are_text(manager: ExperimentManager) -> None:
    assert manager.group_experiments(None, "config.model") == [
        (("depth=2, kind=gan",), ids(3)),
        (("depth=2, kind=vae",), ids(1, 2)),
        (("none",), ids(4)),
        ((None,), ids(5, 6)),
    ]
    by_list = manager.group_experiments("'layers' in config", "config.layers")
    assert [members for _, members in by_list] == [ids(4, 5), ids(6)]


def test_several_columns_make_tuples_and_none_makes_one_group(manager: ExperimentManager) -> None:
    groups = manager.group_experiments(ids(1, 2, 3), ["config.model.kind", "config.lr", "config.lr"])
    assert groups == [(("gan", 0.5), ids(3)), (("vae", 1), ids(1, 2))]
    assert manager.group_experiments(ids(2, 1), []) == [((), ids(1, 2))]
    assert manager.group_experiments([], "config.nothing") == []


def test_fields_and_tags(tmp_path: Path) -> None:
    record(tmp_path, {}, tags=["b", "a"], project="one")
    record(tmp_path, {}, tags=["a", "b"], project="two")
    record(tmp_path, {}, project="two")
    manager = ExperimentManager(tmp_path)
    assert manager.group_experiments(None, "tags") == [(("a, b",), ids(1, 2)), ((None,), ids(3))]
    assert manager.group_experiments(None, "project") == [(("one",), ids(1)), (("two",), ids(2, 3))]
    assert manager.group_experiments(None, "status") == [(("completed",), ids(1, 2, 3))]
    by_commit = manager.group_experiments(None, "git.commit")
    assert by_commit == manager.group_experiments(None, "git_hash")
    assert sum(len(members) for _, members in by_commit) == 3


def test_different_default_contexts_are_told(tmp_path: Path) -> None:
    record(tmp_path, {}, context="train", value=1.0)
    record(tmp_path, {}, context="val", value=2.0)
    manager = ExperimentManager(tmp_path)
    with pytest.warns(FramewormWarning, match="context train in some and val in other experiments.*'loss@train'"):
        assert manager.aggregate(None, [], "loss")["mean"][0] == 1.5
    assert manager.aggregate(None, [], "loss@val")["missing"][0] == 1


def test_a_metric_may_have_an_at_sign_in_its_name(tmp_path: Path) -> None:
    with Experiment("x", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        exp.log_metric("recall@10", 0.25, step=3)
        exp.log_metric("recall", 0.75, step=3, metric_type="10")
    manager = ExperimentManager(tmp_path)
    for at in ("last", "step=3"):
        assert manager.aggregate(None, [], "recall@10", at)["mean"][0] == 0.25
        assert manager.aggregate(None, [], "recall", at)["mean"][0] == 0.75


def test_of_several_points_at_a_step_the_last_to_arrive_counts(tmp_path: Path) -> None:
    with Experiment("x", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        for step, value in ((-5, 1.0), (7, 2.0), (-5, 3.0), (6, 4.0)):
            exp.log_metric("loss", value, step=step)
    manager = ExperimentManager(tmp_path)
    assert manager.aggregate(None, [], "loss", "step=-5")["mean"][0] == 3.0
    assert manager.aggregate(None, [], "loss", "step=7")["mean"][0] == 2.0


def test_running_experiments_count_with_what_they_have(tmp_path: Path) -> None:
    exp = Experiment("x", {"model": "vae"}, root_dir=tmp_path, capture_console=False, system_metrics_s=0)
    exp.start()
    manager = ExperimentManager(tmp_path)
    exp.log_metric("loss", 2.0, step=0)
    assert manager.aggregate(None, "config.model", "loss")["mean"][0] == 2.0
    exp.log_metric("loss", 1.0, step=1)
    assert manager.aggregate(None, "config.model", "loss", "min")["mean"][0] == 1.0
    assert manager.aggregate(None, "config.model", "loss", "step=0")["mean"][0] == 2.0
    exp.end()
