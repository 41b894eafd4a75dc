"""The leaderboard: from best to worst, ties in a fixed order, nobody forgotten."""

from __future__ import annotations

import itertools
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import InputError, MetricNotFoundError
from frameworm.experiment.query.leaderboard import ranked


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> ExperimentManager:
    """Seven experiments: two models, a tie, one NaN and one without the metric."""
    root = tmp_path_factory.mktemp("board") / "experiments"
    for model, loss in (("a", 0.4), ("b", 0.2), ("a", 0.3), ("b", 0.3), ("a", math.nan), ("b", None), ("b", 0.9)):
        with Experiment(model, {"model": model}, root_dir=root, capture_console=False, system_metrics_s=0) as exp:
            exp.log_metric("other", 1.0)
            if loss is not None:
                exp.log_metric("loss", 1.0 if math.isnan(loss) else loss + 0.1, step=0)
                exp.log_metric("loss", loss, step=1)
    return ExperimentManager(root)


def test_experiments_from_best_to_worst(manager: ExperimentManager) -> None:
    board = manager.leaderboard("loss")
    assert list(board.columns) == ["rank", "experiment_id", "name", "status", "value", "config.model"]
    assert list(board["experiment_id"]) == [f"exp_{i:03d}" for i in (2, 3, 4, 1, 7, 5)]
    assert board["rank"].tolist() == [1, 2, 2, 4, 5, pd.NA]
    assert board["value"].tolist()[:5] == [0.2, 0.3, 0.3, 0.4, 0.9]
    assert math.isnan(board["value"][5])
    assert board.attrs == {"total": 6, "without": 1}


def test_the_other_end_and_other_values(manager: ExperimentManager) -> None:
    assert list(manager.leaderboard("loss", mode="max", limit=2)["experiment_id"]) == ["exp_007", "exp_001"]
    assert list(manager.leaderboard("loss", at="max", limit=2)["value"]) == [1.0, 1.0]
    assert list(manager.leaderboard("loss", at="max", mode="min", limit=1)["experiment_id"]) == ["exp_002"]
    assert list(manager.leaderboard("loss", "config.model == 'a'", at="step=0", limit=1)["value"]) == [0.4]
    assert list(manager.leaderboard("loss", ["exp_007", "exp_001"])["rank"]) == [1, 2]


def test_groups_by_their_mean(manager: ExperimentManager) -> None:
    board = manager.leaderboard("loss", group_by="config.model")
    assert board["config.model"].tolist() == ["a", "b"]
    assert board["mean"].tolist() == pytest.approx([0.35, 1.4 / 3])
    assert list(board.columns[1:]) == list(manager.aggregate(None, "config.model", "loss").columns)
    assert board.attrs == {"total": 2, "without": 1}
    board = manager.leaderboard("loss", group_by="config.model", mode="max", limit=1)
    assert board["config.model"].tolist() == ["b"]
    assert board.attrs == {"total": 2, "without": 1}


def test_nobody_to_rank_is_an_empty_table(manager: ExperimentManager) -> None:
    board = manager.leaderboard("loss", "name == 'nobody'")
    assert len(board) == 0
    assert list(board.columns) == ["rank", "experiment_id", "name", "status", "value"]


def test_mistakes(manager: ExperimentManager) -> None:
    with pytest.raises(InputError, match="mode is 'best'; allowed is 'min' or 'max'"):
        manager.leaderboard("loss", mode="best")  # type: ignore[arg-type]
    with pytest.raises(MetricNotFoundError, match="did you mean 'loss'"):
        manager.leaderboard("los")
    with pytest.raises(InputError, match="limit is a whole number"):
        manager.leaderboard("loss", limit=-1)


@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, math.inf, -math.inf, math.nan]), max_size=12))
def test_ranks_follow_the_values_and_ties_keep_their_order(values: list[float]) -> None:
    for mode, sign in (("min", 1.0), ("max", -1.0)):
        order = ranked(values, mode)  # type: ignore[arg-type]
        assert sorted(i for i, _ in order) == list(range(len(values)))
        for i, rank in order:
            assert rank == (None if values[i] != values[i] else 1 + sum(sign * v < sign * values[i] for v in values))
        for (i, rank), (j, following) in itertools.pairwise(order):
            assert i < j if rank == following else rank is not None
