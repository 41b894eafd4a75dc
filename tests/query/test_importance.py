"""The importance of params: what matters leads, what does not is near zero, what cannot be said is refused."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frameworm.experiment.errors import InputError, MetricNotFoundError
from frameworm.experiment.model import ExperimentInfo, SeriesSummary
from frameworm.experiment.query.importance import Importances, importances_of
from frameworm.experiment.query.samples import chosen
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.schema import Entry

pytest.importorskip("sklearn")


def catalog_of(root: Path, *found: tuple[dict[str, Any], float], status: Any = "completed") -> Catalog:
    """A catalog of experiments with these configs and losses; nothing is recorded, which would take seconds."""
    catalog = Catalog.in_memory(root)
    entries = []
    for number, (config, loss) in enumerate(found, 1):
        name = f"exp_{number:03d}"
        info = ExperimentInfo(name, f"{number:032x}", "x", root / f"{name}_x", config=config, status=status)
        nan = int(math.isnan(loss))
        series = SeriesSummary("loss", "train", 1, nan, loss, loss, loss, loss, loss, 0, 0, 0, 0)
        entries.append(Entry(info, [series], False))
    catalog.upsert_many(entries)
    return catalog


def asked(catalog: Catalog, metric: str = "loss", at: str = "last") -> Importances:
    return importances_of(catalog, chosen(catalog, None), metric, at)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """40 experiments whose loss is that of lr and of the optimizer, and of nothing else."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(40):
        config: dict[str, Any] = {"lr": float(rng.uniform()), "opt": ["adam", "sgd"][number % 2], "same": 1}
        config |= {"noise": int(rng.integers(100)), "flag": bool(rng.integers(2))}
        if number % 3:
            config["sometimes"] = [number % 3]
        found.append((config, 10 * config["lr"] + 3 * (config["opt"] == "sgd") + float(rng.normal(0, 0.1))))
    return catalog_of(tmp_path_factory.mktemp("importance"), *found)


def test_what_matters_leads(catalog: Catalog) -> None:
    found = asked(catalog)
    assert [one.param for one in found.params[:2]] == ["lr", "opt"]
    assert {one.param for one in found.params} == {"lr", "opt", "noise", "flag", "sometimes"}
    lr, opt = found.params[:2]
    assert lr.importance > 0.5 and lr.kind == "number" and lr.correlation is not None and lr.correlation > 0.7
    assert opt.kind == "category" and opt.correlation is None
    assert all(abs(one.importance) < 0.1 for one in found.params[2:])
    assert found.n == 40 and found.score > 0.7 and found.label == "loss, last"
    assert any("40 experiments are few" in one for one in found.caveats)


def test_the_same_experiments_give_the_same_answer(catalog: Catalog) -> None:
    assert asked(catalog) == asked(catalog)


def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    alike = catalog_of(tmp_path, *(({"lr": 1}, float(n)) for n in range(12)))
    with pytest.raises(InputError, match="no param differs among the 12"):
        asked(alike)
    with pytest.raises(MetricNotFoundError):
        asked(alike, "loss2")
    half = catalog_of(tmp_path, *(({"lr": n}, math.nan if n % 2 else 1.0) for n in range(18)))
    with pytest.raises(InputError, match="9 of 18 experiments have a finite value of loss, last"):
        asked(half)
    broken = catalog_of(tmp_path, *(({"lr": n}, 1.0) for n in range(12)), status="crashed")
    with pytest.raises(InputError, match="0 of 12 experiments"):
        asked(broken)
    equal = catalog_of(tmp_path, *(({"lr": n}, 2.0) for n in range(10)))
    with pytest.raises(InputError, match="the same value in all"):
        asked(equal)


def test_who_has_no_finite_value_is_left_out_and_counted(tmp_path: Path) -> None:
    found = asked(catalog_of(tmp_path, *(({"lr": n}, math.inf if n > 12 else float(n)) for n in range(15))))
    assert found.n == 13 and any("2 experiments failed, or have no finite value" in one for one in found.caveats)


def test_values_of_any_size_are_taken(tmp_path: Path) -> None:
    sizes = [(10.0**300, 10**400), (10.0**-300, -1)]
    values = (({"lr": sizes[n % 2][0], "n": sizes[n % 2][1]}, 1e308 * (n % 2) + 1e307 * n / 12) for n in range(12))
    assert math.isfinite(asked(catalog_of(tmp_path, *values)).score)


def test_without_the_library_it_says_how_to_get_it(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(InputError, match=r"pip install 'frameworm\[importance\]'"):
        asked(catalog)
