"""Tables: query results as DataFrames whose columns and dtypes do not depend on the number of rows.

Text columns have dtype object, so that None stays None under every release of pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frameworm.experiment.model import NO_EPOCH, Points

HISTORY_COLUMNS = ("step", "epoch", "metric_value", "metric_type", "timestamp")


def experiments_frame(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return ``list_experiments``' table.

    Args:
        columns: as ``list_columns`` returns them, the times in Unix ms.
    """
    special: dict[str, Any] = {
        "created_at": _times,
        "updated_at": _times,
        "duration_s": _reals,
        "git_dirty": _bools,
    }
    # Not copied into one block: nobody else holds the columns, and 10,000 rows are there 2 ms sooner.
    return pd.DataFrame({name: special.get(name, _objects)(values) for name, values in columns.items()}, copy=False)


def comparison_frame(
    rows: Sequence[Sequence[Any]],
    metrics: Mapping[str, Sequence[float]],
    param_values: Mapping[str, Sequence[Any]],
) -> pd.DataFrame:
    """Return ``compare_experiments``' table.

    Args:
        rows: (experiment_id, name, status, created_ms) of each experiment.
        metrics: column name to one value an experiment, NaN where it has none.
        param_values: column name to one value an experiment, None where it has none.
    """
    ids, names, statuses, created = list(zip(*rows, strict=True)) or [()] * 4
    data: dict[str, Any] = {
        "experiment_id": _objects(ids),
        "name": _objects(names),
        "status": _objects(statuses),
        "created_at": _times(created),
    }
    data |= {name: _reals(values) for name, values in metrics.items()}
    data |= {name: plain_column(values) for name, values in param_values.items()}
    return pd.DataFrame(data)


def history_frame(points_by_context: Mapping[str, Points]) -> pd.DataFrame:
    """Return ``get_metric_history``' table: the contexts one after the other, each in arrival order."""
    parts = list(points_by_context.values())
    epochs = _joined([p.epochs for p in parts], np.int32).astype(np.int64)
    return pd.DataFrame(
        {
            "step": _joined([p.steps for p in parts], np.int64),
            "epoch": pd.arrays.IntegerArray(epochs, epochs == NO_EPOCH),
            "metric_value": _joined([p.values for p in parts], np.float64),
            "metric_type": _repeated(points_by_context, [len(p) for p in parts]),
            "timestamp": _utc(_joined([p.times_ms for p in parts], np.int64)),
        },
        copy=False,
    )


def _joined(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    if len(parts) == 1:
        return np.asarray(parts[0], dtype)
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)


def _repeated(texts: Iterable[str], counts: Sequence[int]) -> pd.Series[Any]:
    column = np.empty(sum(counts), object)
    start = 0
    for text, count in zip(texts, counts, strict=True):
        column[start : start + count] = text  # a third of the time that repeat takes
        start += count
    return pd.Series(column, dtype=object)


def _objects(values: Iterable[Any]) -> pd.Series[Any]:
    return pd.Series(list(values), dtype=object)


def plain_column(values: Sequence[Any]) -> Any:
    """Return a column of bools, int64 or float64 if each value fits exactly, else of the values themselves."""
    kinds = set(map(type, values))
    if kinds == {bool}:
        return np.array(values, np.bool_)
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return np.array(values, np.int64)
    if kinds == {float} or (kinds == {int, float} and all(abs(v) <= 2**53 for v in values if type(v) is int)):
        return np.array(values, np.float64)
    return _objects(values)


def _reals(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array(list(values), np.float64)  # None becomes NaN


def _bools(values: Iterable[bool | None]) -> Any:
    return pd.array(list(values), dtype="boolean")


def _times(values: Iterable[int]) -> Any:
    return _utc(np.array(list(values), np.int64))


def _utc(times_ms: NDArray[np.int64]) -> Any:
    return pd.DatetimeIndex(times_ms.view("datetime64[ms]")).tz_localize("UTC")
