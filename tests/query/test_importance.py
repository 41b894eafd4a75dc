"""The importance of params: what matters leads, what does not is near zero, what cannot be said is refused."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frameworm.experiment import ExperimentManager
from frameworm.experiment.errors import InputError, MetricNotFoundError
from frameworm.experiment.query.importance import Importances, importances_of
from frameworm.experiment.query.samples import chosen
from tests.query.test_samples import record

pytest.importorskip("sklearn")


def asked(root: Path, metric: str = "loss", at: str = "last") -> Importances:
    return ExperimentManager(root)._ask(lambda catalog: importances_of(catalog, chosen(catalog, None), metric, at))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 experiments whose loss is that of lr and of the optimizer, and of nothing else."""
    folder = tmp_path_factory.mktemp("importance")
    rng = np.random.default_rng(0)
    for number in range(40):
        config: dict[str, Any] = {"lr": float(rng.uniform()), "opt": ["adam", "sgd"][number % 2], "same": 1}
        config |= {"noise": int(rng.integers(100)), "flag": bool(rng.integers(2))}
        if number % 3:
            config["sometimes"] = [number % 3]
        record(folder, config, value=10 * config["lr"] + 3 * (config["opt"] == "sgd") + float(rng.normal(0, 0.1)))
    return folder


def test_what_matters_leads(root: Path) -> None:
    found = asked(root)
    assert [one.param for one in found.params[:2]] == ["lr", "opt"]
    assert {one.param for one in found.params} == {"lr", "opt", "noise", "flag", "sometimes"}
    lr, opt = found.params[:2]
    assert lr.importance > 0.5 and lr.kind == "number" and lr.correlation is not None and lr.correlation > 0.7
    assert opt.kind == "category" and opt.correlation is None
    assert all(abs(one.importance) < 0.1 for one in found.params[2:])
    assert found.n == 40 and found.score > 0.7 and found.label == "loss, last"
    assert any("40 experiments are few" in one for one in found.caveats)


def test_the_same_experiments_give_the_same_answer(root: Path) -> None:
    assert asked(root) == asked(root)


def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    for number in range(12):
        record(tmp_path, {"lr": 1}, value=number)
    with pytest.raises(InputError, match="no param differs among the 12"):
        asked(tmp_path)
    with pytest.raises(MetricNotFoundError):
        asked(tmp_path, "loss2")
    for number in range(12):
        record(tmp_path, {"lr": number}, value=math.nan if number % 2 else 1.0)
    assert asked(tmp_path).n == 18
    few = tmp_path / "few"
    for number in range(9):
        record(few, {"lr": number}, value=number)
    with pytest.raises(InputError, match="9 of 9 experiments have a finite value"):
        asked(few)


def test_equal_values_depend_on_nothing(tmp_path: Path) -> None:
    for number in range(10):
        record(tmp_path, {"lr": number}, value=2.0)
    with pytest.raises(InputError, match="the same value in all"):
        asked(tmp_path)


def test_values_of_any_size_are_taken(tmp_path: Path) -> None:
    for number in range(12):
        record(tmp_path, {"lr": 10.0 ** (300 if number % 2 else -300), "n": 10**400 if number % 2 else 1}, value=number)
    assert asked(tmp_path).n == 12


def test_without_the_library_it_says_how_to_get_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(InputError, match=r"pip install 'frameworm\[importance\]'"):
        asked(root)
