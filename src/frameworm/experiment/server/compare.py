"""Several experiments side by side: what they were given, what came out, and what explains it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query

from frameworm.experiment.errors import ExperimentNotFoundError, InputError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.parameters import ids_in, names_in
from frameworm.experiment.server.store import Opened
from frameworm.experiment.storage.folder import number_of

if TYPE_CHECKING:
    from frameworm.experiment.storage.catalog import Catalog

router = APIRouter(tags=["comparing"])

_MOST = 200
_MOST_METRICS = 1_000
_TIMES = frozenset(("created_at", "updated_at", "started_at", "ended_at"))
_ENVIRONMENT = ("data", "randomness", "packages", "command", "variables", "interpreter", "hardware", "platform")

Ids = Annotated[str, Query(description="ids or uids, separated by commas, or a JSON list")]
Text = Annotated[str, Query(description="As `search_experiments` takes; empty for all but archived ones.")]


@router.get("/compare")
def compare(
    store: Opened,
    ids: Ids,
    only: Annotated[Literal["", "experiments"], Query(description="`experiments`: these and `missing` alone")] = "",
) -> Json:
    """Return experiments side by side: `{experiments, params, metrics, environment, missing}`.

    `params` and `environment` are `[{key, values, differs}]`, those that differ first; `values` are in the order of
    `experiments`, null where one has none. `key` in `environment` begins with the part: `packages.torch`. `metrics`
    are `[{name, values, differs}]`, the last values in the default context, of at most 1,000 metrics (`more` says that
    there are others); system metrics are left out. At most 200 experiments.
    """
    from frameworm.experiment.query.changes import facts

    wanted = ids_in(ids)
    if len(wanted) > _MOST:
        raise InputError(f"{len(wanted):,} experiments cannot be set side by side; at most {_MOST} can")
    infos: list[ExperimentInfo] = []
    missing = []
    located = store.locate(wanted)
    for one in wanted:
        try:
            with store.reading(one, located) as reader:
                infos.append(reader.info)
        except ExperimentNotFoundError:
            missing.append(one)
    told = {"experiments": [_about(info) for info in infos], "missing": missing}
    if only:
        return Json(told)
    known = [facts(info) for info in infos]
    environment = [
        {f"{part}.{key}": value for part in _ENVIRONMENT for key, value in one[part].items()} for one in known
    ]
    numbers = [number_of(info.path.name) or 0 for info in infos]

    def ask(catalog: Catalog) -> dict[str, dict[int, Any]]:
        from frameworm.experiment.query.listing import metric_columns

        return metric_columns(catalog, numbers, None)

    metrics = store.ask(ask) if infos else {}
    values = {name: [_value(by_number, number) for number in numbers] for name, by_number in metrics.items()}
    rows = [
        {"name": name, "values": found, "differs": len({repr(one) for one in found}) > 1}
        for name, found in list(values.items())[:_MOST_METRICS]
    ]
    return Json(
        {
            **told,
            "params": _side_by_side([one["config"] for one in known]),
            "metrics": rows,
            "more": len(values) > _MOST_METRICS,
            "environment": _side_by_side(environment),
        }
    )


def _value(by_number: Mapping[int, float | None], number: int) -> float | None:
    """Return a metric's value, None if the experiment has none; of NaN the catalog says that nothing is there."""
    return None if number not in by_number else math.nan if (value := by_number[number]) is None else value


def _about(info: ExperimentInfo) -> dict[str, Any]:
    names = "experiment_id uid name project status created_ms duration_s".split()
    git = {"commit": info.git.get("commit"), "branch": info.git.get("branch"), "dirty": info.git.get("dirty")}
    return {**{name: getattr(info, name) for name in names}, "tags": list(info.tags), "git": git}


def _side_by_side(columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each key, those that differ first, else by key."""
    from frameworm.experiment.query.changes import same

    keys = sorted({key for column in columns for key in column})
    rows = []
    for key in keys:
        there = [column[key] for column in columns if key in column]
        differs = len(there) < len(columns) or not all(same(there[0], one) for one in there[1:])
        rows.append({"key": key, "values": [column.get(key) for column in columns], "differs": differs})
    return sorted(rows, key=lambda row: not row["differs"])


@router.get("/diff")
def diff(
    store: Opened,
    a: Annotated[str, Query(description="id or uid")],
    b: Annotated[str, Query(description="id or uid")],
    metrics: Annotated[str, Query(description="only these: `loss` or `loss@val`, separated by commas")] = "",
) -> Json:
    """Return what differs between two experiments, and what probably made their metrics part.

    `verdict` is a sentence, `causes` a ranking; `series` are all compared bit for bit, each with its `divergence`, the
    first point that is not the same, `first` the one that parted first; `config`, `data`, `randomness`, `packages`,
    `command`, `variables`, `interpreter`, `hardware`, `platform`, `course` and `artifacts` are changes
    `{key, kind, a, b}`; `code` has a unified diff a file; `gaps` are what was not recorded.
    """
    return Json(store.manager.diff(a, b, metrics=names_in(metrics) or None).to_dict())


@router.get("/quantities")
def quantities(
    store: Opened,
    columns: Annotated[str, Query(description="names as of `/columns`, separated by commas, or a JSON list")],
    ids: Annotated[str, Query(description="ids or uids; empty for those of `q`")] = "",
    q: Text = "",
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
) -> Json:
    """Return columns of values, as scatter plots, parallel coordinates and box plots need them.

    `{ids, columns: [{id, kind, values}], total, missing}`: `values` are in the order of `ids`, which is that of the
    request or, of a query, newest first; null where there is none. `kind` is `number`, `text`, `bool`, `time` (Unix
    ms), `tags`, or `mixed`. `total` counts all that are meant, should there be more than `limit`; `missing` are ids
    that are no experiments.
    """
    names = names_in(columns)

    def ask(catalog: Catalog) -> dict[str, Any]:
        from frameworm.experiment.query.browse import values_of
        from frameworm.experiment.storage.folder import id_of

        numbers, missing = _meant(catalog, ids_in(ids), q)
        shown = numbers[:limit]
        found = [
            {"id": name, "kind": _kind(name, by_number.values()), "values": [by_number.get(n) for n in shown]}
            for name, by_number in zip(names, values_of(catalog, shown, names), strict=True)
        ]
        return {"ids": [id_of(number) for number in shown], "columns": found, "total": len(numbers), "missing": missing}

    return Json(store.ask(ask))


def _meant(catalog: Catalog, ids: Sequence[str], query: str) -> tuple[list[int], list[str]]:
    """Return the numbers of the experiments meant, and the ids of those that are not there."""
    from frameworm.experiment.query.browse import conditions_of, ordered
    from frameworm.experiment.query.listing import numbers_of

    if not ids:
        return ordered(catalog, conditions_of(catalog, query)), []
    known = numbers_of(catalog, ids)
    return list(dict.fromkeys(known[one] for one in ids if one in known)), [one for one in ids if one not in known]


def _kind(name: str, values: Iterable[Any]) -> str:
    if name in _TIMES:
        return "time"
    kinds = {
        "bool" if isinstance(one, bool) else "number" if isinstance(one, int | float) else "text"
        for one in values
        if one is not None
    }
    return "tags" if name == "tags" else kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "text"


@router.get("/importance")
def importance(
    store: Opened,
    metric: Annotated[str, Query(min_length=1, description="`loss`, or `loss@val`")],
    q: Text = "",
    ids: Annotated[str, Query(description="ids or uids in place of a query")] = "",
    at: Annotated[str, Query(description="`last`, `min`, `max` or `step=500`")] = "last",
) -> Json:
    """Return how much each param matters for a metric: `{importances, metric, n, score, caveat, caveats, missing}`.

    A random forest learns the metric from the params of four fifths of the experiments, five times over; `importance`
    is how much worse it predicts the others once a param is shuffled among them, as a share of the metric's variance
    (below 0 is chance), `std` its deviation over five shuffles, `correlation` Spearman's, null unless the param is a
    number. `score` is R² of the predictions without shuffling: where it is low, nothing was learnt. Experiments that
    failed or crashed are left out unless `at` is a step, as are values that are not finite. The same experiments give
    the same answer. Needs scikit-learn: `pip install 'frameworm[importance]'`.
    """

    def ask(catalog: Catalog) -> dict[str, Any]:
        from frameworm.experiment.query.importance import importances_of

        numbers, missing = _meant(catalog, ids_in(ids), q)
        found = importances_of(catalog, numbers, metric, at)
        return {
            "importances": [one._asdict() for one in found.params],
            "metric": found.label,
            "n": found.n,
            "score": found.score,
            "caveat": " ".join(found.caveats),
            "caveats": found.caveats,
            "missing": missing,
        }

    return Json(store.ask(ask))
