"""Samples: experiments gathered into groups, and one value of a metric from each, as statistics need them.

    query or ids ─▶ chosen ─▶ grouped ─▶ groups ─┐
                      └─▶ measured ─▶ values ────┴─▶ sampled ─▶ samples

All is answered by the catalog; only a value at a step is read from the folders.
"""

from __future__ import annotations

import difflib
import math
import re
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from frameworm.experiment.config import dump_json
from frameworm.experiment.errors import FramewormWarning, InputError, MetricNotFoundError
from frameworm.experiment.model import SYSTEM_CONTEXT
from frameworm.experiment.query.conditions import FIELDS
from frameworm.experiment.query.filters import parse_query
from frameworm.experiment.query.listing import numbers_of
from frameworm.experiment.query.metrics import MetricRef, resolve_metric
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.storage.folder import experiment_folders, id_of, not_found
from frameworm.experiment.storage.schema import experiments, params, series, tags

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from frameworm.experiment.storage.catalog import Catalog

Key = tuple[Any, ...]
"""The values that a group's experiments have in common, one a column."""

BROKEN = ("failed", "crashed")
"""Statuses of experiments that did not come to their end: the last value or the lowest of all is none of theirs."""

_COLUMNS = {name: column for name, (column, kind) in FIELDS.items() if kind != "time"}
_COLUMNS |= {
    "git.commit": _COLUMNS["git_hash"],
    "git.branch": _COLUMNS["git_branch"],
    "git.dirty": _COLUMNS["git_dirty"],
}
_LOOKED_AT = 5
"""Experiments whose steps are read whole to name the nearest where none has the one asked for."""
_STEP = re.compile(r"step\s*=\s*([+-]?\d{1,19})\Z", re.ASCII)


class Measured(NamedTuple):
    """One value of a metric from each experiment.

    Attributes:
        label: what was measured, for people: ``loss@val, min``.
        values: by number of experiment; NaN as logged; an experiment that has none is not there.
        at_step: whether they are of one step, and so do not depend on how an experiment ended.
    """

    label: str
    values: Mapping[int, float]
    at_step: bool


class Sample(NamedTuple):
    """The values of one group.

    ``len(values) + not_finite + missing == len(ids)``.

    Attributes:
        key: what the members have in common.
        ids: every member, by number.
        values: float64 (n,), finite, ascending: results do not depend on the order of the experiments.
        not_finite: members whose value is NaN or infinite.
        missing: members without a value.
    """

    key: Key
    ids: list[str]
    values: NDArray[np.float64]
    not_finite: int
    missing: int


# ------------------------------------------------------------------------------------------ which experiments


def chosen(catalog: Catalog, query_or_ids: str | Iterable[str] | None) -> list[int]:
    """Return the numbers of the experiments meant, ascending, each once.

    Args:
        catalog: up to date.
        query_or_ids: text as ``search_experiments`` takes, ids or uids, or None for all.

    Raises:
        QueryError: the text is not understood; points at the character.
        ExperimentNotFoundError: names all unknown ids and suggests the nearest.
        InputError: it is none of these.
    """
    if query_or_ids is None or isinstance(query_or_ids, str):
        statement = sa.select(experiments.c.number).order_by(experiments.c.number)
        if query_or_ids is not None:
            statement = statement.where(parse_query(query_or_ids, catalog.has_metric, time.time_ns() // 1_000_000))
        return catalog.columns(statement)[0]
    ids = list(query_or_ids) if isinstance(query_or_ids, Iterable) else [query_or_ids]
    if not all(isinstance(one, str) for one in ids):
        raise InputError(
            f"{query_or_ids!r:.80} is neither a query such as \"'mnist' in tags\" nor a list of ids such as "
            "['exp_001', 'exp_002']"
        )
    numbers = numbers_of(catalog, ids)
    if unknown := [one for one in dict.fromkeys(ids) if one not in numbers]:
        known = sorted(set(experiment_folders(catalog.root).values()))
        raise not_found(catalog.root, unknown, [id_of(number) for number in known])
    return sorted(set(numbers.values()))


# ------------------------------------------------------------------------------------------ groups


def columns_of(group_by: str | Iterable[str]) -> list[str]:
    """Return the columns to group by, each once.

    Raises:
        InputError: not text or a collection of texts.
    """
    given = [group_by] if isinstance(group_by, str) else list(group_by) if isinstance(group_by, Iterable) else None
    if given is None or not all(isinstance(column, str) for column in given):
        raise InputError(f"group_by is {group_by!r:.80}; give a column such as 'config.model', or a list of them")
    return list(dict.fromkeys(given))


def grouped(catalog: Catalog, numbers: Sequence[int], group_by: str | Iterable[str]) -> list[tuple[Key, list[int]]]:
    """Gather experiments that have the same values in every column.

    Args:
        catalog: up to date.
        numbers: of the experiments.
        group_by: one column or several: a field of the query language (no time), ``tags`` (all of them together),
            ``config.<param>`` or ``config.<section>``. No column makes one group of all.

    Returns:
        the values and the members of each group, groups ascending by their values: numbers, bools, text, then those
        that have none (None). What is equal in a query is so here: 1 == 1.0 and a bool is no number.

    Raises:
        InputError: there is no such column; suggests the nearest.
    """
    found = [_column(catalog, numbers, column) for column in columns_of(group_by)]
    groups: dict[tuple[Any, ...], tuple[Key, list[int]]] = {}
    for number in numbers:
        key = tuple(values.get(number) for values in found)
        groups.setdefault(identity(key), (key, []))[1].append(number)
    return [group for _, group in sorted(groups.items(), key=lambda item: item[0])]


def identity(key: Key) -> tuple[Any, ...]:
    """Return what is equal and sorts for groups as their keys should: 1 == 1.0, True is not 1, NaN is NaN."""

    def one(value: Any) -> tuple[Any, ...]:
        if value is None:
            return (3,)
        if isinstance(value, bool):
            return (1, value)
        if isinstance(value, int | float):
            return (0, math.inf, 1) if value != value else (0, value, 0)
        return (2, str(value))

    return tuple(map(one, key))


def _column(catalog: Catalog, numbers: Sequence[int], column: str) -> dict[int, Any]:
    """Return the value of one column for each experiment that has one."""
    if column == "tags":
        labels: dict[int, list[str]] = {}
        for number, tag in catalog.rows_for(sa.select(tags.c.experiment, tags.c.tag), tags.c.experiment, numbers):
            labels.setdefault(number, []).append(tag)
        return {number: ", ".join(sorted(found)) for number, found in labels.items()}
    if column in _COLUMNS:
        e = experiments.c
        rows = catalog.rows_for(sa.select(e.number, _COLUMNS[column]), e.number, numbers)
        return {number: value for number, value in rows if value is not None}
    values = _params(catalog, numbers, column.removeprefix("config.")) if column.startswith("config.") else {}
    if not values and numbers:
        raise _no_such_column(catalog, numbers, column)
    return values


def _params(catalog: Catalog, numbers: Sequence[int], name: str) -> dict[int, Any]:
    """Return a param, or a section of the config written on one line, of each experiment that has it."""
    p = params.c
    # "/" is the character after ".": the range holds all that starts with "name." and can use the index.
    inside = sa.and_(p.key > f"{name}.", p.key < f"{name}/")
    statement = sa.select(p.experiment, p.key, p.value).where(sa.or_(p.key == name, inside)).order_by(p.key)
    values: dict[int, Any] = {}
    sections: dict[int, list[str]] = {}
    for number, key, text in catalog.rows_for(statement, p.experiment, numbers):
        value = catalog.json(text)
        plain = value if value is None or isinstance(value, bool | int | float | str) else dump_json(value)
        if key == name:
            values[number] = plain
        else:
            sections.setdefault(number, []).append(f"{key[len(name) + 1 :]}={plain}")
    return {number: ", ".join(parts) for number, parts in sections.items()} | values


def _no_such_column(catalog: Catalog, numbers: Sequence[int], column: str) -> InputError:
    p = params.c
    keys = {key for (key,) in catalog.rows_for(sa.select(p.key).distinct(), p.experiment, numbers)}
    own = sorted(f"config.{key}" for key in keys)
    near = difflib.get_close_matches(column, [*own, *_COLUMNS, "tags"], n=3)
    if f"config.{column}" in own:
        near = [f"config.{column}"]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"they have {some(own) or 'no params'}"
    return InputError(
        f"group_by={column!r}: none of the experiments has that; {hint} Allowed are config.<param>, tags and "
        f"{', '.join(name for name in _COLUMNS if '.' not in name)}"
    )


# ------------------------------------------------------------------------------------------ values


def measured(
    catalog: Catalog, numbers: Sequence[int], metric: str, at: str = "last", context: str | None = None
) -> Measured:
    """Return one value of a metric from each experiment that has it.

    Args:
        catalog: up to date.
        numbers: of the experiments.
        metric: ``loss`` in each experiment's default context, ``loss@val`` in that one.
        at: ``last`` to arrive, ``min`` or ``max`` of all (NaN left out); or ``step=500``, the last to arrive of the
            points at exactly that step.
        context: train, val, …; None means the one that ``metric`` names, or the default.

    Raises:
        MetricNotFoundError: none of the experiments has it, there, or at that step; suggests the nearest.
        InputError: ``at`` or ``metric`` is not as above.
    """
    step = _step(at)
    if not isinstance(metric, str) or not isinstance(context, str | None):
        raise InputError(f"metric and context are text, not {metric!r:.80} and {context!r:.80}")
    s = series.c
    statement = sa.select(s.name, s.experiment, s.context, s.is_default, s.last, s.min, s.max)
    named = statement.where(s.name.in_({metric, metric.rpartition("@")[0]}))
    rows = catalog.rows_for(named, s.experiment, numbers)
    names = {row.name for row in rows}
    wanted = resolve_metric(metric, names.__contains__, "last")
    if context is not None:
        wanted = MetricRef(metric, context, "last")
    rows = [row for row in rows if row.name == wanted.name and wanted.context in (None, row.context)]
    if wanted.context is None:
        rows = [row for row in rows if row.is_default]
    if not rows and numbers:
        raise _no_such_metric(catalog, numbers, metric, wanted)
    contexts = sorted({row.context for row in rows})
    if len(contexts) > 1:
        _warn(
            f"{metric!r} is of context {' in some and '.join(contexts)} in other experiments; to compare one context, "
            f"name it: '{wanted.name}@{contexts[0]}'"
        )
    label = f"{wanted.name}@{wanted.context}" if wanted.context else wanted.name
    if step is None:
        values = {row.experiment: math.nan if (v := getattr(row, at)) is None else float(v) for row in rows}
        return Measured(f"{label}, {at}", values, False)
    where = {row.experiment: row.context for row in rows}
    return Measured(f"{label} at step {step:,}", _at_step(catalog, wanted.name, where, step), True)


def _step(at: object) -> int | None:
    """Return the step that ``at`` names, or None for a summary."""
    if at in ("last", "min", "max"):
        return None
    match = _STEP.match(at) if isinstance(at, str) else None
    if match is None or not -(2**63) <= int(match[1]) < 2**63:
        raise InputError(f"at is {at!r:.80}; allowed is 'last', 'min', 'max' or a step such as 'step=500'")
    return int(match[1])


def _at_step(catalog: Catalog, name: str, contexts: Mapping[int, str], step: int) -> dict[int, float]:
    """Read the value at a step from the folders of the experiments, numbers mapped to contexts."""
    e = experiments.c
    values: dict[int, float] = {}
    nearest: list[int] = []
    for number, folder in catalog.rows_for(sa.select(e.number, e.folder), e.number, list(contexts)):
        reader = ExperimentReader(catalog.root / folder)
        buckets = reader.read_downsampled(name, contexts[number], points=2, steps=(step, step))
        if len(buckets.last):
            values[number] = float(buckets.last[-1])
        elif not values and len(nearest) < _LOOKED_AT:
            steps = reader.read(name, contexts[number]).steps.tolist()
            nearest += [min(steps, key=lambda other: (abs(other - step), other))] if steps else []
    if not values and contexts:
        near = min(nearest, key=lambda other: (abs(other - step), other), default=None)
        hint = "" if near is None else f"; the nearest step is {near}"
        raise MetricNotFoundError(f"none of the experiments has a point of {name!r} at step {step}{hint}")
    return values


def _no_such_metric(catalog: Catalog, numbers: Sequence[int], metric: str, wanted: MetricRef) -> MetricNotFoundError:
    s = series.c
    found = catalog.rows_for(sa.select(s.name, s.context).distinct(), s.experiment, numbers)
    contexts = sorted({context for name, context in found if name == wanted.name})
    if contexts:
        return MetricNotFoundError(
            f"none of the experiments has {wanted.name!r} in context {wanted.context!r}, but in {some(contexts)}"
        )
    names = sorted({name for name, context in found if context != SYSTEM_CONTEXT})
    near = difflib.get_close_matches(metric, names, n=3)
    base, _, suffix = metric.rpartition(".")
    if base in names and suffix in ("last", "min", "max"):
        hint = f"write {base!r} with at={suffix!r}"
    elif near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        hint = f"they have {some(names) or 'none at all'}"
    return MetricNotFoundError(f"none of the experiments has a metric {metric!r}; {hint}")


def sampled(catalog: Catalog, groups: Sequence[tuple[Key, Sequence[int]]], data: Measured) -> list[Sample]:
    """Put groups and values together; says of each group whose value is not among them.

    Experiments that failed or crashed have no last, lowest or highest value: theirs is of an unfinished training.
    """
    e = experiments.c
    every = [number for _, members in groups for number in members]
    rows = catalog.rows_for(sa.select(e.number, e.experiment_id, e.status), e.number, every)
    about = {number: (one, status) for number, one, status in rows}
    samples = []
    for key, members in groups:
        numbers = [number for number in sorted(members) if number in about]
        counted = [data.values[n] for n in numbers if n in data.values and (data.at_step or about[n][1] not in BROKEN)]
        values = np.sort(np.array([value for value in counted if math.isfinite(value)], np.float64))
        ids = [about[number][0] for number in numbers]
        samples.append(Sample(key, ids, values, len(counted) - len(values), len(ids) - len(counted)))
    return samples


def some(items: Sequence[str]) -> str:
    """Return a list for a message, at most eight of it."""
    more = f", … ({len(items)} in all)" if len(items) > 8 else ""
    return ", ".join(map(repr, items[:8])) + more


def _warn(message: str) -> None:
    warnings.warn(message, FramewormWarning, stacklevel=2)
