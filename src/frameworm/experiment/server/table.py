"""The table of experiments: which there are, their columns, their rows, groups of them, and help with the query."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from fastapi.responses import Response

from frameworm import __version__
from frameworm.experiment.errors import (
    DamageError,
    ExperimentNotFoundError,
    InputError,
    MetricNotFoundError,
    StoreError,
    StoreNotFoundError,
)
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.parameters import Natural, ids_in, names_in
from frameworm.experiment.server.store import Opened, Store

if TYPE_CHECKING:
    from frameworm.experiment.storage.catalog import Catalog

MOST_ROWS = 1000
_MEMBERS = 500
_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")

router = APIRouter(tags=["experiments"])
_T = TypeVar("_T")

Text = Annotated[str, Query(description="As `search_experiments` takes; empty for all.")]
Names = Annotated[str, Query(description="Comma-separated, or a JSON list.")]
Archived = Annotated[bool, Query(description="Those with the tag `archived` as well.")]
Project = Annotated[str | None, Query(description="Only those of this project.")]


def _asked(store: Store, question: Callable[[Catalog], _T], empty: _T) -> _T:
    """Ask the catalog; a root that is not there yet holds nothing."""
    try:
        return store.ask(question)
    except StoreNotFoundError:
        return empty


@router.get("/store")
def about_store(store: Opened) -> Json:
    """Return what is shown: `{root, version, read_only, total, by_status, projects: [{name, count}]}`.

    `version` changes whenever anything in the store does.
    """
    store.settle()
    from frameworm.experiment.query.browse import Overview, overview, version_of

    version, found = _asked(store, lambda catalog: (version_of(catalog), overview(catalog)), ("", Overview(0, {}, [])))
    return Json(
        {
            "root": str(store.root),
            "version": version,
            "read_only": store.read_only,
            "release": __version__,
            "total": found.total,
            "by_status": found.by_status,
            "projects": [{"name": name, "count": n} for name, n in found.projects],
        }
    )


@router.get("/columns")
def columns(
    store: Opened,
    search: Annotated[str, Query(description="Only those whose name holds this text, in any case.")] = "",
    limit: Annotated[int, Query(ge=1, le=2000, description="Of params, and of metrics.")] = 2000,
) -> Json:
    """Return the columns that a table may have: `{columns: [{id, kind, group, count}], truncated}`.

    `kind` is number, text, bool, mixed, time, tags or metrics; `count` says how many experiments have a value. A metric
    stands for its last value; `.min`, `.max`, `.mean`, `.first` and `.count` after its name stand for the others.
    """
    from frameworm.experiment.query.browse import Kind, kinds

    nothing: tuple[list[Kind], bool] = ([], False)
    found, more = _asked(store, lambda catalog: kinds(catalog, search, limit), nothing)
    return Json({"columns": [kind._asdict() for kind in found], "truncated": more})


@router.get("/experiments")
def experiments(
    store: Opened,
    q: Text = "",
    sort: Annotated[str, Query(description="Columns, comma-separated or a JSON list; `-` before one descends.")] = "",
    columns: Names = "",
    offset: Natural = 0,
    limit: Annotated[int, Query(ge=0, le=MOST_ROWS)] = 100,
    cursor: Annotated[str, Query(description="`next` of the page before, in place of an offset.")] = "",
    archived: Archived = False,
    project: Project = None,
) -> Json:
    """Return a page of experiments: `{total, version, rows, next}`.

    A row is `{experiment_id, uid, name, status, project, created_ms, updated_ms, duration_s, damage, tags, progress,
    values}`: `damage` says what of its record cannot be read, and is null if nothing; `progress` is `{step, epoch}` of
    one that runs, `values` are in the order of `columns`. The newest come first; what a row does not have is sorted
    last both ways. `next` is null on the last page.
    """
    names, order, after = names_in(columns), names_in(sort), _after(cursor)
    if not (q or order or names or offset or cursor or archived) and project is None:
        first = store.first_rows(limit)
        if first is not None:
            return Json(_page(first.version, first.total, 0, first.numbers, first.rows))

    def ask(catalog: Catalog) -> dict[str, Any]:
        from frameworm.experiment.query.browse import conditions_of, ordered, part_of, rows_of, version_of

        version = version_of(catalog)
        conditions = conditions_of(catalog, q, archived=archived, project=project)
        start = offset
        if after is not None:  # what was last is found again wherever it is now
            start, last = after
            numbers = ordered(catalog, conditions, order)
            start = numbers.index(last) + 1 if last in numbers else start
        page, total = part_of(catalog, conditions, order, start, limit)
        return _page(version, total, start, page, rows_of(catalog, page, names))

    return Json(_asked(store, ask, {"total": 0, "version": "", "rows": [], "next": None}))


def _page(version: str, total: int, start: int, numbers: list[int], rows: list[dict[str, Any]]) -> dict[str, Any]:
    end = start + len(numbers)
    following = _cursor(end, numbers[-1]) if numbers and end < total else None
    return {"total": total, "version": version, "rows": rows, "next": following}


def _cursor(offset: int, number: int) -> str:
    return base64.urlsafe_b64encode(f"{offset}.{number}".encode()).decode().rstrip("=")


def _after(cursor: str) -> tuple[int, int] | None:
    if not cursor:
        return None
    with contextlib.suppress(ValueError):
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        if (match := _CURSOR.fullmatch(text)) is not None:
            return int(match[1]), int(match[2])
    raise InputError(f"cursor={cursor!r:.80} is none: pass `next` of the page before, as it is")


@router.get("/experiments/groups")
def groups(
    store: Opened,
    by: Annotated[str, Query(description="Columns to group by, comma-separated or a JSON list; no times or metrics.")],
    columns: Names = "",
    q: Text = "",
    sort: Annotated[str, Query(description="Order of the members, as for `/experiments`.")] = "",
    archived: Archived = False,
    project: Project = None,
) -> Json:
    """Return groups of experiments with the same values: `{version, groups: [{key, count, ids, statistics}]}`.

    `ids` are the first 500. `statistics` has for each of `columns` `{mean, std, n, min, max}` of the finite numbers, or
    null. An experiment that failed or crashed adds no value of a metric.
    """
    from frameworm.experiment.query.browse import Group, conditions_of, groups_of, ordered, version_of
    from frameworm.experiment.storage.folder import id_of

    names, keys, order = names_in(columns), names_in(by), names_in(sort)

    def ask(catalog: Catalog) -> tuple[str, list[Group]]:
        version = version_of(catalog)
        numbers = ordered(catalog, conditions_of(catalog, q, archived=archived, project=project), order)
        return version, groups_of(catalog, numbers, keys, names)

    version, found = _asked(store, ask, ("", list[Group]()))
    return Json(
        {
            "version": version,
            "groups": [
                {
                    "key": list(group.key),
                    "count": len(group.numbers),
                    "ids": [id_of(number) for number in group.numbers[:_MEMBERS]],
                    "statistics": group.statistics,
                }
                for group in found
            ],
        }
    )


@router.get("/sparklines")
def sparklines(
    store: Opened,
    metric: str,
    ids: Annotated[str, Query(description="Ids of experiments, comma-separated.")],
    context: Annotated[str, Query(description="Empty for the default one.")] = "",
    n: Annotated[int, Query(ge=2, le=200, description="At most so many values each.")] = 32,
) -> Json:
    """Return a few values of a metric, first to last, of each that has it: `{metric, lines: {id: [...]}, missing}`.

    Experiments that are no more, or cannot be read, are `missing`.
    """
    wanted = ids_in(ids)
    lines, missing = {}, []
    located = store.locate(wanted)
    for one in wanted:
        try:
            with store.reading(one, located) as reader:
                lines[one] = reader.read_downsampled(metric, context or None, points=n).last.tolist()
        except MetricNotFoundError:
            continue
        except (ExperimentNotFoundError, StoreError, DamageError):  # it must not take the lines of all others with it
            missing.append(one)
    return Json({"metric": metric, "lines": lines, "missing": missing})


@router.get("/check", status_code=204)
def check(store: Opened, q: Text = "") -> Response:
    """Say whether a query is understood: nothing, or the error with the position of the character."""
    from frameworm.experiment.query.browse import conditions_of

    def ask(catalog: Catalog) -> None:
        conditions_of(catalog, q)

    _asked(store, ask, None)
    return Response(status_code=204)


@router.get("/complete")
def complete(
    store: Opened,
    q: Text = "",
    at: Annotated[Natural | None, Query(description="Where the cursor is; none for the end.")] = None,
) -> Json:
    """Return what may stand at the cursor of a query: `{from, to, options: [{text, detail}]}`.

    An option replaces the characters from `from` to `to`.
    """
    from frameworm.experiment.query.complete import Completion, completed

    at = len(q) if at is None else min(at, len(q))
    found = _asked(store, lambda catalog: completed(catalog, q, at), Completion(at, at, []))
    options = [{"text": text, "detail": detail} for text, detail in found.options]
    return Json({"from": found.start, "to": found.end, "options": options})
