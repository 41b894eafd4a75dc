"""Which params a metric depends on, as far as the experiments there are can tell.

A random forest learns the metric from the params of four fifths of the experiments and predicts it for the last; then
one param is shuffled among those, and the prediction gets worse by as much as it was needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from frameworm.experiment.config import dump_json
from frameworm.experiment.errors import InputError
from frameworm.experiment.query.samples import BROKEN, measured
from frameworm.experiment.storage.schema import experiments, params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from frameworm.experiment.storage.catalog import Catalog

    Floats = NDArray[np.float64]

FEWEST = 10
"""Experiments: of fewer, a fold holds one."""
MOST = 1_000
"""Experiments: 50 params of so many take 5 s."""
MOST_PARAMS = 200

_FOLDS, _SHUFFLES, _TREES = 5, 5, 100


class ParamImportance(NamedTuple):
    """How much one param matters.

    Attributes:
        param: its key.
        importance: share of the metric's variance by which predictions of experiments that the forest did not learn
            from get worse when the param is shuffled; below 0 is chance.
        std: of that, over the shuffles (n - 1).
        correlation: Spearman's rank correlation with the metric; None unless the param is a number.
        kind: ``number`` or ``category``.
    """

    param: str
    importance: float
    std: float
    correlation: float | None
    kind: str


class Importances(NamedTuple):
    """What ``importances_of`` found.

    Attributes:
        params: most important first; those that are the same in all experiments are left out.
        label: what was measured.
        n: experiments it was learnt from.
        score: R² of predictions for experiments that the forest did not learn from: 1 is perfect, 0 no better than
            the mean.
        caveats: sentences on what not to conclude.
    """

    params: list[ParamImportance]
    label: str
    n: int
    score: float
    caveats: list[str]


def importances_of(catalog: Catalog, numbers: Sequence[int], metric: str, at: str = "last") -> Importances:
    """Return how much each param matters for a metric.

    The same experiments give the same numbers.

    Args:
        catalog: up to date.
        numbers: of the experiments.
        metric: ``loss`` or ``loss@val``.
        at: ``last``, ``min``, ``max`` or ``step=500``.

    Raises:
        MetricNotFoundError: none of the experiments has the metric.
        InputError: too few of them have a finite value, no param differs, or scikit-learn is not installed.

    Sources: Breiman, "Random forests", Machine Learning 45, 2001; Fisher, Rudin and Dominici, "All models are wrong,
    but many are useful", JMLR 20, 2019 (shuffling what was held out).
    """
    found = measured(catalog, numbers, metric, at)
    e = experiments.c
    broken = {row[0] for row in catalog.rows_for(sa.select(e.number).where(e.status.in_(BROKEN)), e.number, numbers)}
    if found.at_step:
        broken = set()
    usable = [n for n in numbers if n in found.values and n not in broken and math.isfinite(found.values[n])]
    chosen = sorted(usable, reverse=True)[:MOST]
    if len(chosen) < FEWEST:
        raise InputError(
            f"{len(chosen)} of {len(numbers)} experiments have a finite value of {found.label} and did not fail; at "
            f"least {FEWEST} are needed to say what it depends on"
        )
    y = np.array([found.values[number] for number in chosen])
    keys, columns, kinds = _encoded(catalog, chosen)
    if not keys:
        raise InputError(f"no param differs among the {len(chosen)} experiments that have {found.label}")
    drops, score = _shuffled(np.column_stack(columns), y)
    rows = [
        ParamImportance(
            key,
            float(drop.mean()),
            float(drop.std(ddof=1)),
            _correlation(column, y) if kind == "number" else None,
            kind,
        )
        for key, column, kind, drop in zip(keys, columns, kinds, drops.T, strict=True)
    ]
    rows.sort(key=lambda row: (-row.importance, row.param))
    return Importances(rows, found.label, len(y), score, _caveats(len(chosen), len(usable), len(numbers), score, rows))


def _encoded(catalog: Catalog, numbers: Sequence[int]) -> tuple[list[str], list[Floats], list[str]]:
    """Return the params that differ: keys, values as float64 (n,) each, and kinds.

    What is no number is numbered, in the order of its JSON; what an experiment does not have is NaN.
    """
    p = params.c
    values: dict[str, dict[int, Any]] = {}
    for key, number, text in catalog.rows_for(sa.select(p.key, p.experiment, p.value), p.experiment, numbers):
        values.setdefault(key, {})[number] = catalog.json(text)
    found: list[tuple[int, str, Floats, str]] = []
    for key, by_number in values.items():
        column, kind = _column(by_number, numbers)
        different = len(np.unique(column[~np.isnan(column)]))
        if different > 1 or (different == 1 and bool(np.isnan(column).any())):
            found.append((int(np.isnan(column).sum()), key, column, kind))
    found.sort(key=lambda one: one[:2])  # those that most experiments have come first
    found = sorted(found[:MOST_PARAMS], key=lambda one: one[1])
    return [one[1] for one in found], [one[2] for one in found], [one[3] for one in found]


def _column(by_number: Mapping[int, Any], numbers: Sequence[int]) -> tuple[Floats, str]:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in by_number.values()):
        largest = float(np.finfo(np.float32).max)  # the forest computes in float32
        clipped = {number: min(max(value, -largest), largest) for number, value in by_number.items()}
        return np.array([float(clipped.get(number, math.nan)) for number in numbers]), "number"
    texts = {number: dump_json(value) for number, value in by_number.items()}
    codes = {text: float(code) for code, text in enumerate(sorted(set(texts.values())))}
    return np.array([codes[texts[n]] if n in texts else math.nan for n in numbers]), "category"


def _shuffled(x: Floats, y: Floats) -> tuple[Floats, float]:
    """Return how much worse held-out predictions get, (shuffles, params) of the variance, and R² of them."""
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.model_selection import KFold
    except ImportError as error:
        raise InputError(
            f"the importance of params needs scikit-learn ({error}); `pip install 'frameworm[importance]'` brings it"
        ) from None
    rng = np.random.default_rng(0)
    count = x.shape[1]
    y = y / (float(np.abs(y).max()) or 1.0)  # squares of values near the largest float64 would be infinite
    y = y - y.mean()
    y = y / (float(np.abs(y).max()) or 1.0)
    errors, worse = 0.0, np.zeros((_SHUFFLES, count))
    for learnt, held in KFold(_FOLDS, shuffle=True, random_state=0).split(x):
        forest = RandomForestRegressor(
            _TREES, random_state=0, min_samples_leaf=2, max_features=max(1 / 3, min(1.0, 5 / count))
        )
        forest.fit(x[learnt], y[learnt])
        residual = float(((forest.predict(x[held]) - y[held]) ** 2).sum())
        errors += residual
        for shuffle in range(_SHUFFLES):
            trials = np.repeat(x[held][None], count, axis=0)
            for column in range(count):
                trials[column, :, column] = rng.permutation(trials[column, :, column])
            predicted = forest.predict(trials.reshape(-1, count)).reshape(count, len(held))
            worse[shuffle] += ((predicted - y[held]) ** 2).sum(axis=1) - residual
    total = float(((y - y.mean()) ** 2).sum())
    if not total:
        raise InputError("the metric has the same value in all experiments: it depends on nothing here")
    return worse / total, 1 - errors / total


def _correlation(x: Floats, y: Floats) -> float | None:
    from scipy import stats

    there = ~np.isnan(x)
    if there.sum() < 3 or len(np.unique(x[there])) < 2 or len(np.unique(y[there])) < 2:
        return None
    return float(stats.spearmanr(x[there], y[there]).statistic)


def _caveats(used: int, usable: int, asked: int, score: float, rows: Sequence[ParamImportance]) -> list[str]:
    said = []
    if score < 0.3:
        said.append(
            f"The params explain little of the metric (R² = {score:.2f} for experiments not learnt from): do not "
            "rely on the order."
        )
    if used < 50:
        said.append(f"{used} experiments are few; another ten may turn the order over.")
    if used < usable:
        said.append(f"Only the newest {used:,} of {usable:,} experiments were learnt from.")
    if usable < asked:
        said.append(f"{asked - usable:,} experiments failed, or have no finite value, and are left out.")
    if len(rows) == MOST_PARAMS:
        said.append(f"Only the {MOST_PARAMS} params that most experiments have are looked at.")
    said.append(
        "Params that were changed together share their importance or hide each other's. It holds within the range that "
        "was tried, and a search that went on where results were good has tried that range unevenly."
    )
    return said
