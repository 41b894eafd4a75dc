"""Looking through a catalog as a table does: pages of rows in any order, with any columns, and what has changed.

A column is named as in a query: a field of the experiment (``created_at``), ``tags``, ``config.<param>``, or a metric
as ``metrics.loss``, ``metrics.loss.min``, ``metrics.loss@val.min``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from frameworm.experiment.errors import InputError
from frameworm.experiment.model import NO_EPOCH, SYSTEM_CONTEXT
from frameworm.experiment.query.conditions import FIELDS, Condition, tag_condition
from frameworm.experiment.query.filters import parse_query
from frameworm.experiment.query.glance import ARCHIVED, ROW_FIELDS, file_version
from frameworm.experiment.query.metrics import MetricRef, resolve_metric
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.folder import id_of
from frameworm.experiment.storage.schema import experiments, params, series

MOST_SORTS = 8
MOST_COLUMNS = 200
"""Of one page, and of one sort: SQLite joins at most 64 tables."""

_LOOKED_AT = 200
"""Series of a running experiment that are asked how far it is: one that logs 100,000 is as far in each of them."""


class Column(NamedTuple):
    """What a column's name stands for: a field, ``tags``, a param's key, or one value of a metric."""

    kind: Literal["field", "tags", "config", "metrics"]
    name: str
    metric: MetricRef | None = None


def column_of(catalog: Catalog, name: str) -> Column:
    """Return what a column's name stands for; a param or metric that is nowhere is a column without values.

    Raises:
        InputError: it is no such name.
    """
    collection, _, rest = name.partition(".")
    if name == "tags":
        return Column("tags", name)
    if name in FIELDS:
        return Column("field", name)
    if collection == "config" and rest:
        return Column("config", rest)
    if collection == "metrics" and rest:
        metric = resolve_metric(rest, catalog.has_metric)
        return Column("metrics", metric.name, metric)
    raise InputError(
        f"{name!r:.80} is no column; there are {', '.join(FIELDS)}, tags, config.<param> and metrics.<name>"
    )


# ------------------------------------------------------------------------------------------ which, in which order


def conditions_of(
    catalog: Catalog, query: str = "", *, archived: bool = False, project: str | None = None
) -> list[Condition]:
    """Return what the experiments of a table meet.

    Args:
        catalog: up to date.
        query: as ``search_experiments`` takes; empty for all.
        archived: those with the tag ``archived`` as well.
        project: only those of this project.

    Raises:
        QueryError: the query is not understood; points at the character.
    """
    conditions = []
    if query.strip():
        conditions.append(parse_query(query, catalog.has_metric, time.time_ns() // 1_000_000))
    if not archived:
        conditions.append(sa.not_(tag_condition(ARCHIVED)))
    if project is not None:
        conditions.append(experiments.c.project == project)
    return conditions


def ordered(catalog: Catalog, conditions: Sequence[Condition], sort: Sequence[str] = ()) -> list[int]:
    """Return the numbers of the experiments that meet all conditions.

    Args:
        catalog: up to date.
        conditions: all must hold.
        sort: columns, each with ``-`` before it to descend. Numbers come before text, and what is not there comes
            last both ways. Equals are sorted by the newest.

    Raises:
        InputError: there is no such column.
    """
    return catalog.columns(_in_order(catalog, conditions, sort))[0]


def part_of(
    catalog: Catalog, conditions: Sequence[Condition], sort: Sequence[str], offset: int, limit: int
) -> tuple[list[int], int]:
    """Return ``limit`` of the numbers that ``ordered`` returns, from ``offset`` on, and how many there are in all.

    Half the time of sorting ten thousand is saved where the first hundred are wanted.

    Raises:
        InputError: there is no such column.
    """
    statement = _in_order(catalog, conditions, sort)
    total = catalog.rows(sa.select(sa.func.count()).select_from(experiments).where(sa.true(), *conditions))[0][0]
    if offset >= total or not limit:
        return [], total
    return catalog.columns(statement.limit(limit).offset(offset))[0], total


def _in_order(catalog: Catalog, conditions: Sequence[Condition], sort: Sequence[str]) -> sa.Select[Any]:
    if len(sort) > MOST_SORTS:
        raise InputError(f"sorted by {len(sort)} columns; at most {MOST_SORTS} are allowed")
    e = experiments.c
    source: sa.FromClause = experiments
    order: list[sa.ColumnElement[Any]] = []
    for name in sort:
        descending = name.startswith("-")
        keys, missing, source = _sort_keys(column_of(catalog, name.removeprefix("-")), source)
        if missing is not None:
            order.append(missing)
        for key in keys:
            order += [key.is_(None), key.desc() if descending else key.asc()]
    statement = sa.select(e.number).select_from(source).where(sa.true(), *conditions)
    return statement.order_by(*order, e.created_ms.desc(), e.number.desc())


def _sort_keys(
    column: Column, source: sa.FromClause
) -> tuple[list[sa.ColumnElement[Any]], sa.ColumnElement[Any] | None, sa.FromClause]:
    """Return what to sort by, one after the other, whether nothing is there, and the tables joined for it."""
    e = experiments.c
    if column.kind == "field":
        kept = FIELDS[column.name][0]
        # exp_1000 comes after exp_999, as their numbers do
        return ([e.number] if column.name == "experiment_id" else [kept]), None, source
    if column.kind == "tags":
        return [sa.func.nullif(e.tag_list, "[]")], None, source
    if column.metric is not None:
        s = series.alias()
        joined = source.outerjoin(s, sa.and_(s.c.experiment == e.number, _is_metric(s.c, column.metric)))
        return [s.c[column.metric.summary]], s.c.experiment.is_(None), joined
    p = params.alias()
    joined = source.outerjoin(p, sa.and_(p.c.experiment == e.number, p.c.key == column.name))
    return [p.c.number, p.c.text, p.c.value], sa.or_(p.c.value.is_(None), p.c.value == "null"), joined


def _is_metric(s: Any, metric: MetricRef) -> Condition:
    chosen = s.is_default == sa.true() if metric.context is None else s.context == metric.context
    return sa.and_(s.name == metric.name, chosen)


# ------------------------------------------------------------------------------------------ values


def rows_of(catalog: Catalog, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a page, in the order of ``numbers``; who is gone meanwhile is left out.

    Args:
        catalog: up to date.
        numbers: of a few hundred experiments.
        columns: names.

    Returns:
        dicts of experiment_id, uid, name, status, project, created_ms, updated_ms, duration_s, damage, tags, progress
        (step and epoch of one that runs) and ``values``, one a column; None for what is not there.

    Raises:
        InputError: there is no such column, or there are too many.
    """
    e = experiments.c
    statement = sa.select(e.number, *(e[name] for name in ROW_FIELDS), e.tag_list)
    found = {row.number: row for row in catalog.rows_for(statement, e.number, numbers)}
    values = values_of(catalog, list(found), columns)
    progress = _progress(catalog, [number for number, row in found.items() if row.status == "running"])
    return [
        {
            **{name: getattr(row, name) for name in ROW_FIELDS},
            "tags": catalog.tags(row.tag_list),
            "progress": progress.get(number),
            "values": [column.get(number) for column in values],
        }
        for number in numbers
        if (row := found.get(number)) is not None
    ]


def values_of(catalog: Catalog, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[int, Any]]:
    """Return the values of each column by number of experiment; who has none is not there.

    Raises:
        InputError: there is no such column, or there are too many.
    """
    if len(columns) > MOST_COLUMNS:
        raise InputError(f"{len(columns)} columns; at most {MOST_COLUMNS} are allowed at once")
    meant = [column_of(catalog, name) for name in columns]
    fields = _fields(catalog, numbers, [column.name for column in meant if column.kind in ("field", "tags")])
    found_params = _params(catalog, numbers, {column.name for column in meant if column.kind == "config"})
    metrics = _metrics(catalog, numbers, [column.metric for column in meant if column.metric is not None])
    return [
        found_params.get(column.name, {})
        if column.kind == "config"
        else metrics[column.metric]
        if column.metric is not None
        else fields[column.name]
        for column in meant
    ]


def _fields(catalog: Catalog, numbers: Sequence[int], names: Sequence[str]) -> dict[str, dict[int, Any]]:
    if not names:
        return {}
    e = experiments.c
    chosen = {name: e.tag_list if name == "tags" else FIELDS[name][0] for name in names}
    rows = catalog.rows_for(sa.select(e.number, *chosen.values()), e.number, numbers)
    values: dict[str, dict[int, Any]] = {}
    for i, name in enumerate(chosen, start=1):
        values[name] = {row[0]: row[i] for row in rows if row[i] is not None}
    if "tags" in values:
        values["tags"] = {number: catalog.tags(text) for number, text in values["tags"].items()}
    return values


def _params(catalog: Catalog, numbers: Sequence[int], keys: Collection[str]) -> dict[str, dict[int, Any]]:
    if not keys:
        return {}
    p = params.c
    values: dict[str, dict[int, Any]] = {}
    statement = sa.select(p.key, p.experiment, p.value).where(p.key.in_(keys))
    for key, number, text in catalog.rows_for(statement, p.experiment, numbers):
        values.setdefault(key, {})[number] = catalog.json(text)
    return values


def _metrics(
    catalog: Catalog, numbers: Sequence[int], metrics: Sequence[MetricRef]
) -> dict[MetricRef, dict[int, float]]:
    values: dict[MetricRef, dict[int, float]] = {metric: {} for metric in metrics}
    if not metrics:
        return values
    s = series.c
    summaries = sorted({metric.summary for metric in metrics})
    statement = sa.select(s.name, s.experiment, s.context, s.is_default, *(s[summary] for summary in summaries))
    wanted: dict[str, list[tuple[MetricRef, int]]] = {}
    for metric in values:
        wanted.setdefault(metric.name, []).append((metric, 4 + summaries.index(metric.summary)))
    for row in catalog.rows_for(statement.where(s.name.in_(wanted)), s.experiment, numbers):
        name, number, context, is_default = row[:4]
        for metric, at in wanted[name]:
            if is_default if metric.context is None else context == metric.context:
                values[metric][number] = math.nan if row[at] is None else row[at]
    return values


def _progress(catalog: Catalog, numbers: Sequence[int]) -> dict[int, dict[str, int | None]]:
    """Return how far experiments are that run."""
    s, e = series.c, experiments.c
    some = (
        sa.select(s.last_step, s.last_epoch)
        .where(s.experiment == e.number, s.context != SYSTEM_CONTEXT)
        .limit(_LOOKED_AT)
        .correlate(experiments)
    )
    step = sa.select(sa.func.max(some.subquery().c.last_step)).correlate(experiments).scalar_subquery()
    epoch = sa.select(sa.func.max(some.subquery().c.last_epoch)).correlate(experiments).scalar_subquery()
    return {
        number: {"step": last, "epoch": None if last_epoch == NO_EPOCH else last_epoch}
        for number, last, last_epoch in catalog.rows_for(sa.select(e.number, step, epoch), e.number, numbers)
        if last is not None
    }


# ------------------------------------------------------------------------------------------ groups


class Group(NamedTuple):
    """Experiments that have the same values in all columns grouped by.

    Attributes:
        key: those values; None for what is not there.
        numbers: the members, in the order of the table.
        statistics: for each column asked for mean, std (n - 1), n, min and max of the members' finite numbers, or
            None if they have none.
    """

    key: tuple[Any, ...]
    numbers: list[int]
    statistics: list[dict[str, float | int | None] | None]


def groups_of(catalog: Catalog, numbers: Sequence[int], by: Sequence[str], columns: Sequence[str]) -> list[Group]:
    """Gather experiments that have the same values, with statistics of each group.

    As in ``aggregate``, an experiment that failed or crashed adds no value of a metric: the last or the lowest of an
    unfinished training is none.

    Args:
        catalog: up to date.
        numbers: of the experiments, in the order of the table.
        by: columns, but no times and no metrics.
        columns: names of columns to give statistics of.

    Raises:
        InputError: there is no such column.
    """
    from frameworm.experiment.query.samples import BROKEN, grouped  # with NumPy, which pages of rows do without

    groups = grouped(catalog, numbers, by)
    e = experiments.c
    broken = set(catalog.columns(sa.select(e.number).where(e.status.in_(BROKEN)))[0])
    values = values_of(catalog, numbers, columns)
    counted = [
        {number: value for number, value in column.items() if number not in broken}
        if name.startswith("metrics.")
        else column
        for name, column in zip(columns, values, strict=True)
    ]
    return [Group(key, list(members), [_statistics(column, members) for column in counted]) for key, members in groups]


def _statistics(column: Mapping[int, Any], members: Iterable[int]) -> dict[str, float | int | None] | None:
    found = [
        float(value)
        for number in members
        if isinstance(value := column.get(number), int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    if not found:
        return None
    n = len(found)
    mean = math.fsum(found) / n
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in found) / (n - 1)) if n > 1 else None
    return {"mean": mean, "std": std, "n": n, "min": min(found), "max": max(found)}


# ------------------------------------------------------------------------------------------ what there is


class Overview(NamedTuple):
    """How many experiments a root holds."""

    total: int
    by_status: dict[str, int]
    projects: list[tuple[str, int]]


def overview(catalog: Catalog) -> Overview:
    """Count the experiments; projects with the most first."""
    e = experiments.c
    count = sa.func.count()
    by_status = {status: n for status, n in catalog.rows(sa.select(e.status, count).group_by(e.status))}
    projects = catalog.rows(sa.select(e.project, count).group_by(e.project).order_by(count.desc(), e.project))
    return Overview(sum(by_status.values()), by_status, [(name, n) for name, n in projects])


class Kind(NamedTuple):
    """One column that there is: its name, what its values are, and how many experiments have one."""

    id: str
    kind: str
    group: Literal["field", "config", "metrics"]
    count: int  # type: ignore[assignment]  # over the method of tuples, which nobody wants here


_SHOWN_FIELDS = {
    "experiment_id": "text",
    "name": "text",
    "project": "text",
    "status": "text",
    "created_at": "time",
    "updated_at": "time",
    "started_at": "time",
    "ended_at": "time",
    "duration_s": "number",
    "tags": "tags",
    "git_hash": "text",
    "git_branch": "text",
    "git_dirty": "bool",
    "notes": "text",
    "description": "text",
    "uid": "text",
}


def kinds(catalog: Catalog, search: str = "", limit: int = 2000) -> tuple[list[Kind], bool]:
    """Return the columns that there are, fields first, then params and metrics by name; system metrics are left out.

    Args:
        catalog: up to date.
        search: only those whose name holds this text, in any case.
        limit: at most so many params, and so many metrics.

    Returns:
        columns, and whether there are more.
    """
    needle = search.lower()
    total = catalog.rows(sa.select(sa.func.count()).select_from(experiments))[0][0]
    found = [Kind(name, kind, "field", total) for name, kind in _SHOWN_FIELDS.items() if needle in name]
    of_params, more_params = _param_kinds(catalog, needle, limit)
    of_metrics, more_metrics = _metric_kinds(catalog, needle, limit)
    return [*found, *of_params, *of_metrics], more_params or more_metrics


def _param_kinds(catalog: Catalog, needle: str, limit: int) -> tuple[list[Kind], bool]:
    p = params.c
    statement = sa.select(p.key, sa.func.count(), sa.func.count(p.number), sa.func.count(p.text))
    named = statement.where(_holds(sa.literal("config.") + p.key, needle)).group_by(p.key).order_by(p.key)
    rows = catalog.rows(named.limit(limit + 1))
    # Neither numbers nor text, which few are: bools have to be told from lists.
    others = [key for key, n, numbers, texts in rows if not numbers and not texts]
    plain = sa.select(p.key).where(p.value.not_in(("true", "false"))).distinct()
    mixed = {key for (key,) in catalog.rows_for(plain, p.key, others)}
    found = []
    for key, n, numbers, texts in rows[:limit]:
        whole = {numbers: "number", texts: "text"}.get(n, "mixed")
        kind = "bool" if key in others and key not in mixed else whole
        found.append(Kind(f"config.{key}", kind, "config", n))
    return found, len(rows) > limit


def _metric_kinds(catalog: Catalog, needle: str, limit: int) -> tuple[list[Kind], bool]:
    s, count = series.c, sa.func.count()
    ours = s.context != SYSTEM_CONTEXT
    default = sa.func.count(sa.case((s.is_default, 1)))
    statement = sa.select(s.name, default, count).where(ours, _holds(sa.literal("metrics.") + s.name, needle))
    rows = catalog.rows(statement.group_by(s.name).order_by(s.name).limit(limit + 1))
    # Grouped by context as well takes three times as long; most metrics have one, or the same everywhere.
    several = [name for name, defaults, n in rows if n > defaults]
    beside = sa.select(s.name, s.context, count).where(ours, s.is_default == sa.false())
    contexts: dict[str, list[tuple[str, int]]] = {}
    for name, context, n in catalog.rows_for(beside.group_by(s.name, s.context), s.name, several):
        contexts.setdefault(name, []).append((context, n))
    found = []
    for name, defaults, _ in rows[:limit]:
        found.append(Kind(f"metrics.{name}", "metrics", "metrics", defaults))
        found += [Kind(f"metrics.{name}@{context}", "metrics", "metrics", n) for context, n in contexts.get(name, ())]
    return found, len(rows) > limit


def _holds(text: sa.ColumnElement[str], needle: str) -> Condition:
    found: Condition = sa.func.instr(sa.func.lower(text), needle) > 0
    return found if needle else sa.true()


# ------------------------------------------------------------------------------------------ what has changed


class States(NamedTuple):
    """Every experiment as it was at one moment, to find out later which have changed.

    Attributes:
        version: of the catalog; while it is the same, nothing has changed.
        marks: by number; what differs if anything has happened to the experiment.
    """

    version: str
    marks: dict[int, Any]

    def since(self, before: States) -> tuple[list[str], list[str]]:
        """Return the ids of those that have come or changed, newest first, and of those that are gone."""
        changed = [number for number, mark in self.marks.items() if before.marks.get(number) != mark]
        gone = before.marks.keys() - self.marks.keys()
        return [id_of(number) for number in sorted(changed, reverse=True)], [id_of(number) for number in sorted(gone)]


def states(catalog: Catalog, seen: States | None = None) -> States:
    """Return the states as of now; those of ``seen``, if nothing has changed since."""
    version = version_of(catalog)
    if seen is not None and seen.version == version:
        return seen
    e = experiments.c
    numbers, *marks = catalog.columns(
        sa.select(e.number, e.uid, e.status, e.updated_ms, e.fingerprint, e.name, e.tag_list)
    )
    return States(version, dict(zip(numbers, map(hash, zip(*marks, strict=True)), strict=True)))


def version_of(catalog: Catalog) -> str:
    """Return a text that changes whenever the catalog does."""
    if not catalog.persistent:
        changes = catalog.columns(sa.select(sa.func.total_changes()))[0][0]
        return f"memory-{id(catalog):x}-{changes:x}"
    return file_version(catalog.path)
