"""Points on an axis: one metric of one experiment as x and y, and experiments gathered into groups."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from frameworm.experiment.config import flatten
from frameworm.experiment.errors import InputError, MetricNotFoundError
from frameworm.experiment.model import NO_EPOCH, SYSTEM_CONTEXT, Points, default_context

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from frameworm.experiment.model import ExperimentInfo
    from frameworm.experiment.query.read import ExperimentReader

    Floats = NDArray[np.float64]

X = Literal["step", "epoch", "time"]
GROUP_KEYS = ("name", "project", "status", "tags")


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the order of x: x float64 (n,), y float64 (n,) as logged.

    ``averaged``: points of one epoch were replaced by their mean. ``logged``: how many points there were before.
    """

    x: Floats
    y: Floats
    context: str
    averaged: bool = False
    logged: int = 0


def find_series(reader: ExperimentReader, metric: str) -> tuple[str, str] | None:
    """Return name and context of a metric as users write it, or None if the experiment has no such series.

    ``loss`` is the metric in its default context, ``loss@val`` in a named one. A metric may itself be called
    ``recall@10``: the whole text is tried as a name first.
    """
    keys = reader.keys()
    contexts = [key.context for key in keys if key.name == metric]
    if contexts:
        return metric, default_context(contexts)
    name, at, context = metric.rpartition("@")
    if at and any(key.name == name and key.context == context for key in keys):
        return name, context
    return None


def metrics_of(readers: Iterable[ExperimentReader]) -> list[str]:
    """Return every metric of every context but ``system``, by first appearance, as ``find_series`` takes them."""
    found: dict[str, None] = {}
    for reader in readers:
        keys = [key for key in reader.keys() if key.context != SYSTEM_CONTEXT]
        for key in keys:
            default = default_context([other.context for other in keys if other.name == key.name])
            found[key.name if key.context == default else f"{key.name}@{key.context}"] = None
    return list(found)


def no_such_metric(readers: Sequence[ExperimentReader], metrics: Sequence[str]) -> MetricNotFoundError:
    """Return the error for metrics that none of the experiments has, with the nearest names that are there."""
    known = metrics_of(readers)
    near = list(dict.fromkeys(n for one in metrics for n in difflib.get_close_matches(one, known, n=3)))
    if near:
        hint = f"did you mean {' or '.join(map(repr, near[:3]))}?"
    elif known:
        hint = f"there is {', '.join(map(repr, known[:8]))}" + (", …" if len(known) > 8 else "")
    else:
        hint = "no metric was logged there"
    wanted = " or ".join(map(repr, metrics))
    ids = some([reader.info.experiment_id for reader in readers])
    return MetricNotFoundError(f"{ids}: no metric {wanted}; {hint}")


def some(items: Sequence[str]) -> str:
    """Return a list for a message, at most eight of it."""
    more = f", … ({len(items)} in all)" if len(items) > 8 else ""
    return ", ".join(items[:8]) + more


def read_series(reader: ExperimentReader, metric: str, x: X) -> Series | None:
    """Read one series and put it on an axis.

    Steps are taken as logged. Time is seconds since the experiment's start (its first point, if that is earlier
    or no start is known). Points without an epoch have no place on an epoch axis and are left out there; several
    points of one epoch become their mean (NaN and ±inf left out of it).

    Returns:
        the points in the order of x, those of equal x in order of arrival; None if there is no such series.
    """
    found = find_series(reader, metric)
    if found is None:
        return None
    points = reader.read(*found)
    if x == "epoch":
        there = points.epochs != NO_EPOCH
        xs, ys = in_order(points.epochs[there].astype(np.float64), points.values[there])
        means = mean_by_x(xs, ys)
        return Series(*means, found[1], averaged=len(means[0]) < len(xs), logged=len(points))
    xs = points.steps.astype(np.float64) if x == "step" else _seconds(points, reader.info.started_ms)
    return Series(*in_order(xs, points.values), found[1], logged=len(points))


def _seconds(points: Points, started_ms: int | None) -> Floats:
    if not len(points):
        return np.empty(0)
    first = int(points.times_ms.min())
    start = first if started_ms is None else min(first, started_ms)
    return (points.times_ms - start) / 1000.0


def in_order(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the points sorted by x, stable."""
    if len(x) > 1 and bool((x[1:] < x[:-1]).any()):
        order = np.argsort(x, kind="stable")
        return x[order], y[order]
    return x, y


def mean_by_x(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return each x once, with the mean of its finite values; NaN (or the infinity) where none is finite."""
    if len(x) < 2 or bool((x[1:] > x[:-1]).all()):
        return x, y
    starts = np.flatnonzero(np.concatenate(([True], x[1:] > x[:-1])))
    finite = np.isfinite(y)
    counts = np.add.reduceat(finite.astype(np.int64), starts)
    sums = np.add.reduceat(np.where(finite, y, 0.0), starts)
    return x[starts], np.where(counts > 0, sums / np.maximum(counts, 1), y[starts])


def choose_groups(
    readers: Mapping[str, ExperimentReader], groups: str | Mapping[str, Iterable[str]]
) -> dict[str, list[str]]:
    """Return label → experiment ids, for a mapping or for a key all experiments are told apart by.

    Raises:
        InputError: an unknown key, an id that is not among those to be drawn, or one that is in no group.
    """
    if isinstance(groups, str):
        return _groups_by_key(readers, groups)
    if not isinstance(groups, Mapping) or not groups:
        raise InputError(
            f"groups is {groups!r}; allowed is a mapping of labels to experiment ids, or {_allowed_keys()}"
        )
    chosen = {str(label): check_ids(ids, f"groups[{label!r}]") for label, ids in groups.items()}
    members = {one for ids in chosen.values() for one in ids}
    if strangers := [one for one in members if one not in readers]:
        raise InputError(f"groups names {some(sorted(strangers))}, which experiment_ids does not; add them there")
    if left := [one for one in readers if one not in members]:
        raise InputError(f"{some(left)} is in no group; put it in one or leave it out of experiment_ids")
    return chosen


def _groups_by_key(readers: Mapping[str, ExperimentReader], key: str) -> dict[str, list[str]]:
    values: dict[Any, list[str]] = {}
    for one, reader in readers.items():
        values.setdefault(_value_of(reader.info, key), []).append(one)
    if list(values) == [None]:
        params = list(dict.fromkeys(f"config.{p}" for r in readers.values() for p in flatten(r.info.config)))
        near = difflib.get_close_matches(key, [*params, *GROUP_KEYS], n=3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise InputError(f"groups={key!r}: no experiment has that; allowed is {_allowed_keys()}{hint}")
    present = [value for value in values if value is not None]
    if all(isinstance(v, int | float) and not isinstance(v, bool) and not math.isnan(v) for v in present):
        present.sort()
    stem = f"{key.rpartition('.')[2]}=" if key.startswith("config.") else ""
    chosen = {f"{stem}{value}": values[value] for value in present}
    if None in values:
        chosen[f"no {key.removeprefix('config.')}"] = values[None]
    return chosen


def _value_of(info: ExperimentInfo, key: str) -> Any:
    """Return a hashable value that tells experiments apart, or None where the experiment has no such thing."""
    if key.startswith("config."):
        value = flatten(info.config).get(key.removeprefix("config."))
        return value if isinstance(value, int | float | str) or value is None else str(value)
    if key == "tags":
        return ", ".join(sorted(info.tags)) or None
    return getattr(info, key) if key in GROUP_KEYS else None


def _allowed_keys() -> str:
    return f"{', '.join(map(repr, GROUP_KEYS))} or 'config.<param>'"


def check_ids(ids: Any, what: str = "experiment_ids") -> list[str]:
    """Return experiment ids as a list, each once, in the order given.

    Raises:
        InputError: not a collection of ids, or an empty one.
    """
    given = None if isinstance(ids, str | bytes) or not isinstance(ids, Iterable) else list(ids)
    if not given or not all(isinstance(one, str) for one in given):
        raise InputError(f"{what} is {ids!r}; give a list of experiment ids such as ['exp_001', 'exp_002']")
    return list(dict.fromkeys(given))
