"""Listing and comparing: what the catalog answers, as columns and DataFrames."""

from __future__ import annotations

import difflib
import gc
import math
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from frameworm.experiment.errors import InputError, MetricNotFoundError
from frameworm.experiment.model import SYSTEM_CONTEXT
from frameworm.experiment.query.conditions import Condition, tag_condition
from frameworm.experiment.query.metrics import MetricRef, resolve_metric
from frameworm.experiment.storage.folder import id_of, number_of
from frameworm.experiment.storage.schema import experiments, params, series

if TYPE_CHECKING:
    import pandas as pd

    from frameworm.experiment.storage.catalog import Catalog

EXPERIMENT_COLUMNS = (
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
)

_BASE_COLUMNS = ("experiment_id", "name", "status", "created_at")


def list_columns(catalog: Catalog, conditions: Sequence[Condition], limit: int | None) -> dict[str, Sequence[Any]]:
    """Return the experiments that meet every condition, newest first: ``EXPERIMENT_COLUMNS``, times in Unix ms."""
    e = experiments.c
    about = (e.experiment_id, e.name, e.project, e.description, e.status, e.created_ms, e.updated_ms, e.duration_s)
    *columns, tag_lists, git_hashes, dirty, folders, damage = catalog.columns(
        sa.select(*about, e.tag_list, e.git_hash, e.git_dirty, e.folder, e.damage)
        .where(sa.true(), *conditions)
        .order_by(e.created_ms.desc(), e.number.desc())
        .limit(limit)
    )
    tags_of = {text: catalog.tags(text) for text in set(tag_lists)}
    root = f"{catalog.root}/"
    values = [
        *columns,
        _lists(tags_of, tag_lists),
        git_hashes,
        dirty,
        [root + folder for folder in folders],
        damage,
    ]
    return dict(zip(EXPERIMENT_COLUMNS, values, strict=True))


def _lists(lists: Mapping[str, list[str]], texts: Sequence[str]) -> list[list[str]]:
    """Return a list of its own for each text."""
    # Making 100,000 lists sets the garbage collector off again and again, 0.2 s in all; there is no garbage in them.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [lists[text].copy() for text in texts]
    finally:
        if collecting:
            gc.enable()


def tag_project_status(tag_names: Sequence[str], project: str | None, status: str | None) -> list[Condition]:
    """Return the conditions of ``list_experiments``' arguments."""
    conditions = [tag_condition(tag) for tag in tag_names]
    if project is not None:
        conditions.append(experiments.c.project == project)
    if status is not None:
        conditions.append(experiments.c.status == status)
    return conditions


def numbers_of(catalog: Catalog, ids: Sequence[str]) -> dict[str, int]:
    """Return the numbers of those ids and uids that there are."""
    e = experiments.c
    asked = {one: number for one in ids if (number := number_of(one)) is not None and id_of(number) == one}
    there = {row[0] for row in catalog.rows_for(sa.select(e.number), e.number, list(asked.values()))}
    known = {one: number for one, number in asked.items() if number in there}
    if len(asked) < len(set(ids)):
        uids = [one for one in ids if one not in asked]
        rows = catalog.rows_for(sa.select(e.uid, e.number).order_by(e.number.desc()), e.uid, uids)
        known |= {uid: number for uid, number in rows}
    return known


def folder_of_uid(catalog: Catalog, uid: str) -> str | None:
    """Return the folder of the experiment with this uid; of copies, the one with the lowest number."""
    e = experiments.c
    rows = catalog.rows(sa.select(e.folder).where(e.uid == uid).order_by(e.number).limit(1))
    return str(rows[0][0]) if rows else None


def heirs(catalog: Catalog, numbers: Sequence[int | None]) -> list[str]:
    """Return the ids of the other experiments that inherit points of these, by number."""
    e = experiments.c
    uids = [row[0] for row in catalog.rows_for(sa.select(e.uid), e.number, numbers)]
    known = set(uids)
    found: dict[int, str] = {}
    while uids:
        forks = [(id_, uid) for _, id_, uid in catalog.forks(uids) if uid not in known]
        uids = [uid for _, uid in forks]
        known.update(uids)
        found |= {number: id_ for id_, _ in forks if (number := number_of(id_)) is not None}
    return [found[number] for number in sorted(found)]


def compare_frame(catalog: Catalog, numbers: Sequence[int], metrics: Sequence[str] | None) -> pd.DataFrame:
    """Return the table of ``compare_experiments``.

    Raises:
        MetricNotFoundError: none of the experiments has one of the metrics.
    """
    from frameworm.experiment.query.tables import comparison_frame

    e, p = experiments.c, params.c
    distinct = list(dict.fromkeys(numbers))
    statement = sa.select(e.number, e.experiment_id, e.name, e.status, e.created_ms)
    about = {row[0]: tuple(row[1:]) for row in catalog.rows_for(statement, e.number, distinct)}
    columns = metric_columns(catalog, distinct, metrics)
    values: dict[str, dict[int, str]] = {}
    for key, number, value in catalog.rows_for(sa.select(p.key, p.experiment, p.value), p.experiment, distinct):
        values.setdefault(key, {})[number] = value
    differing = [
        key
        for key, by_number in sorted(values.items())
        if len(by_number) < len(distinct) or len(set(by_number.values())) > 1
    ]

    def value_of(key: str, number: int) -> Any:
        return catalog.json(values[key][number]) if number in values[key] else None

    return comparison_frame(
        [about[number] for number in numbers],
        {name: [column.get(number, math.nan) for number in numbers] for name, column in columns.items()},
        {f"config.{key}": [value_of(key, number) for number in numbers] for key in differing},
    )


def metric_columns(
    catalog: Catalog, numbers: Sequence[int], metrics: Sequence[str] | None
) -> dict[str, dict[int, float]]:
    """Return for each column of metrics the values by experiment."""
    s = series.c
    statement = sa.select(
        s.name, s.experiment, s.context, s.is_default, s.last, s.min, s.max, s.mean, s.first, s.count
    ).order_by(s.name)
    rows = catalog.rows_for(statement, s.experiment, numbers)
    if metrics is None:
        names = sorted({row.name for row in rows if row.is_default and row.context != SYSTEM_CONTEXT})
        wanted = {name: MetricRef(name, None, "last") for name in names}
    else:
        names = list(dict.fromkeys(row.name for row in rows))
        wanted = {text: resolve_metric(text, names.__contains__) for text in metrics}
    columns: dict[str, dict[int, float]] = {}
    by_name: dict[str, list[sa.Row[tuple[object, ...]]]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    for text, metric in wanted.items():
        found = {
            row.experiment: getattr(row, metric.summary)
            for row in by_name.get(metric.name, [])
            if (row.is_default if metric.context is None else row.context == metric.context)
        }
        if not found:
            near = difflib.get_close_matches(metric.name, names, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"they have {', '.join(names[:8])}"
            raise MetricNotFoundError(f"none of the experiments compared has a metric {text!r}; {hint}")
        columns[text if text not in _BASE_COLUMNS else f"metrics.{text}"] = found
    return columns


def checked_limit(limit: object) -> int:
    """Return how many rows are wanted at most.

    Raises:
        InputError: it is no whole number from 0.
    """
    try:
        most = operator.index(limit)  # type: ignore[arg-type]
    except TypeError:
        most = -1
    if most < 0 or isinstance(limit, bool):
        raise InputError(f"limit is a whole number from 0, or None for all, not {limit!r:.80}")
    return min(most, 2**62)
