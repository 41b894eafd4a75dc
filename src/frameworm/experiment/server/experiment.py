"""One experiment: what is known of it, its metrics, how it was made, and what it comes from and led to."""

from __future__ import annotations

import contextlib
import heapq
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query

from frameworm.experiment.errors import ExperimentNotFoundError, StoreError, UnsafePathError
from frameworm.experiment.model import NO_EPOCH, SYSTEM_CONTEXT, ExperimentInfo, SeriesSummary
from frameworm.experiment.provenance.patch import PATCH_NAME
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.opened import open_below
from frameworm.experiment.server.parameters import Natural, ids_in
from frameworm.experiment.server.store import Opened
from frameworm.experiment.storage.folder import PROVENANCE, number_of

if TYPE_CHECKING:
    from frameworm.experiment.storage.catalog import Catalog

router = APIRouter(tags=["one experiment"])

_PATCH = 2 << 20

Search = Annotated[str, Query(description="only names that hold this text, in any case")]


@router.get("/experiments/{id}")
def experiment(id: str, store: Opened) -> Json:
    """Return everything known of an experiment but its points, by id or uid.

    `config` and `environment` are nested as they were recorded; `git.link` is the commit's page, where the remote has
    one; `forks` are the ids of its forks; `progress` is `{step, epoch}`, the last of its series; `is_live` says that
    it is pending or running; `damage` are messages about what cannot be read; `missing` says what a fork lacks
    as its parent is gone.
    """
    with store.reading(id) as reader:
        info = reader.info
        told = {field.name: getattr(info, field.name) for field in fields(info)}
        told |= {"damage": [str(one) for one in reader.damage], "missing": reader.missing or None}
    told |= {
        "path": str(info.path),
        "artifacts": [asdict(one) for one in info.artifacts],
        "notes": [asdict(one) for one in info.notes],
        "git": {**info.git, "link": commit_link(info.git.get("remote"), info.git.get("commit"))},
        "is_live": info.status in ("pending", "running"),
    }

    def ask(catalog: Catalog) -> dict[str, Any]:
        from frameworm.experiment.query.browse import rows_of

        number = number_of(info.path.name)
        rows = rows_of(catalog, [] if number is None else [number], ())
        return {
            "forks": [one for _, one, _ in catalog.forks([info.uid])],
            "progress": rows[0]["progress"] if rows else None,
        }

    return Json(told | store.ask(ask))


def commit_link(remote: object, commit: object) -> str | None:
    """Return the page of a commit on the forge that a remote is on, or None where none is known to be.

    GitHub's, GitLab's, Gitea's and Bitbucket's addresses of repositories are alike; those of commits nearly.
    """
    if not isinstance(remote, str) or not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return None
    if (short := re.fullmatch(r"(?:[\w.-]+@)?([\w.-]+):(?!/)([\w./~-]+)", remote)) is not None:
        host, path = short[1], short[2]
    else:
        try:
            parts = urlsplit(remote)
            host, path, scheme = parts.hostname or "", parts.path.strip("/"), parts.scheme
        except ValueError:
            return None
        if scheme not in ("https", "http", "ssh", "git") or not re.fullmatch(r"[\w./~-]+", path):
            return None
    if "." not in host or "/" not in path or ".." in path:
        return None
    middle = "commits" if "bitbucket" in host else "-/commit" if "gitlab" in host else "commit"
    return f"https://{host}/{path.removesuffix('/').removesuffix('.git')}/{middle}/{commit}"


# ------------------------------------------------------------------------------------------ metrics


@router.get("/experiments/{id}/metrics")
def metrics(
    id: str,
    store: Opened,
    search: Search = "",
    offset: Natural = 0,
    limit: Annotated[int, Query(ge=1, le=2_000)] = 200,
    context: Annotated[str, Query(description="only this one; empty: all but the system's; `*`: all")] = "",
) -> Json:
    """Return the series of an experiment, in the order they were first logged: `{total, metrics: […]}`.

    Each is `{name, context, count, last, min, max, mean, last_step, last_epoch, last_time_ms}`; min, max and mean leave
    NaN out. `total` counts all that are meant.
    """
    needle = search.lower()
    with store.reading(id) as reader:
        meant = [key for key in reader.keys() if not needle or needle in key.name.lower()]
        if context != "*":
            meant = [key for key in meant if (key.context == context if context else key.context != SYSTEM_CONTEXT)]
        page = [reader.summary(*key) for key in meant[offset : offset + limit]]
    return Json({"total": len(meant), "metrics": [_told(one) for one in page if one is not None]})


def _told(s: SeriesSummary) -> dict[str, Any]:
    return {
        "name": s.name,
        "context": s.context,
        "count": s.count,
        "nan_count": s.nan_count,
        "last": s.last,
        "min": s.min,
        "max": s.max,
        "mean": s.mean,
        "last_step": s.last_step,
        "last_epoch": None if s.last_epoch == NO_EPOCH else s.last_epoch,
        "last_time_ms": s.last_time_ms,
    }


@router.get("/metrics")
def metrics_of_many(
    store: Opened,
    ids: Annotated[str, Query(description="ids or uids, separated by commas, or a JSON list")],
    search: Search = "",
    system: Annotated[bool, Query(description="what was measured of the machine, instead of what was logged")] = False,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> Json:
    """Return the metrics that any of these experiments has, by name: `{total, metrics: […], missing}`.

    Each is `{name, contexts, experiments, section}`: `experiments` is how many have it, `section` what stands before
    the last `/` of its name. Experiments that are no more, or cannot be read, are `missing`.
    """
    needle = search.lower()
    found: dict[str, list[Sequence[str]]] = {}
    missing = []
    wanted = ids_in(ids)
    located = store.locate(wanted)
    for one in wanted:
        try:
            with store.reading(one, located) as reader:
                for name, every in reader.metrics().items():
                    if needle and needle not in name.lower():
                        continue
                    contexts = [context for context in every if (context == SYSTEM_CONTEXT) == system]
                    if contexts:
                        found.setdefault(name, []).append(contexts)
        except (ExperimentNotFoundError, StoreError):
            missing.append(one)
    shown = [
        {
            "name": name,
            "contexts": list(dict.fromkeys(context for contexts in found[name] for context in contexts)),
            "experiments": len(found[name]),
            "section": name.rpartition("/")[0],
        }
        for name in heapq.nsmallest(limit, found)
    ]
    return Json({"total": len(found), "metrics": shown, "missing": missing})


# ------------------------------------------------------------------------------------------ how it was made


@router.get("/experiments/{id}/provenance")
def provenance(id: str, store: Opened) -> Json:
    """Return how an experiment was made: `{git, code, patch, command, environment, packages, variables, …}`.

    `patch` is `{text, truncated, size_bytes}`, the uncommitted changes as a unified diff of at most 2 MB, or null;
    `code` tells which files are kept beside it; `packages` are `[{name, version, source}]`; `randomness`, `datasets`,
    `used` (artifacts of other experiments that it read) and `writers` (its processes) are as recorded.
    """
    with store.reading(id) as reader:
        info = reader.info
    environment = dict(info.environment)
    packages, sources = environment.pop("packages", None) or {}, environment.pop("package_sources", None) or {}
    return Json(
        {
            "git": {**info.git, "link": commit_link(info.git.get("remote"), info.git.get("commit"))},
            "code": info.code,
            "patch": _patch(info),
            "command": {name: environment.pop(name, None) for name in ("command", "cwd", "executable", "stdin")},
            "variables": environment.pop("variables", None) or {},
            "packages": [
                {"name": name, "version": version, "source": sources.get(name)}
                for name, version in sorted(packages.items(), key=lambda item: str(item[0]).lower())
            ],
            "environment": environment,
            "randomness": info.randomness,
            "datasets": list(info.datasets),
            "used": list(info.used),
            "writers": list(info.writers),
        }
    )


def _patch(info: ExperimentInfo) -> dict[str, Any] | None:
    file = None
    with contextlib.suppress(UnsafePathError):  # `frameworm doctor` tells of it; the rest is shown
        file = open_below(info.path, f"{PROVENANCE}/{PATCH_NAME}") if info.git.get("patch") else None
    if file is None:
        return None
    with file:
        patch, size = file.read(_PATCH), os.fstat(file.fileno()).st_size
    return {"text": patch.decode(errors="replace"), "truncated": size > _PATCH, "size_bytes": size}


# ------------------------------------------------------------------------------------------ where it comes from


@router.get("/experiments/{id}/lineage")
def lineage(id: str, store: Opened) -> Json:
    """Return what an experiment comes from and what came of it: `{parents, children}`.

    Each is `{relation, experiment_id, uid, name, status, then, …}`, `relation` being `fork` (with `step`),
    `reproduction`, or `artifact` (with `artifact` and `version`: one read the other's). `then` is the id it had when
    that was recorded; `experiment_id`, `name` and `status` are those of today, null where it is no longer here. What a
    running experiment reads of another is told once it ends.
    """
    from frameworm.experiment.query.lineage import relatives

    with store.reading(id) as reader:
        info = reader.info
    parents, children = relatives(store.root, info)
    uids = {one["uid"] for one in (*parents, *children)}

    def ask(catalog: Catalog) -> dict[str, dict[str, Any]]:
        import sqlalchemy as sa

        from frameworm.experiment.storage.schema import experiments

        e = experiments.c
        rows = catalog.rows_for(
            sa.select(e.uid, e.experiment_id, e.name, e.status).order_by(e.number.desc()), e.uid, list(uids)
        )
        return {row[0]: {"experiment_id": row[1], "name": row[2], "status": row[3]} for row in rows}

    known = store.ask(ask)
    nobody = {"experiment_id": None, "name": None, "status": None}

    def told(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**one, "then": one["experiment_id"], **known.get(one["uid"], nobody)} for one in found]

    return Json({"parents": told(parents), "children": told(children)})
