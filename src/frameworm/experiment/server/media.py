"""Media over HTTP: what there is, item by item, and the contents, none of which a browser would run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from frameworm.experiment.errors import ArtifactNotFoundError, InputError
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.opened import OpenedResponse, open_below
from frameworm.experiment.server.parameters import Integer, Natural
from frameworm.experiment.server.store import Opened, Store
from frameworm.experiment.storage.media import MIMES, media_path

router = APIRouter(tags=["media"])

_SANDBOX = "default-src 'none'; sandbox"
_MOST_ITEMS = 1_000
_LARGEST_TABLE = 256 << 20
_Limit = Annotated[int, Query(ge=1, le=_MOST_ITEMS)]


@router.get("/experiments/{id}/media")
def keys(id: str, store: Opened) -> Json:
    """Return what was logged, by name and context, in order of first appearance.

    `{keys: [{name, context, kind, count, first_step, last_step}]}`
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for item in _items(store, id):
        name, context, step = item["name"], item["context"], item["step"]
        key = found.setdefault(
            (name, context),
            {"name": name, "context": context, "count": 0, "first_step": step, "last_step": step},
        )
        key["kind"] = item["kind"]
        key["count"] += 1
        key["first_step"], key["last_step"] = min(key["first_step"], step), max(key["last_step"], step)
    return Json({"keys": list(found.values())})


@router.get("/experiments/{id}/media/items")
def items(
    id: str,
    store: Opened,
    name: str,
    context: str = "train",
    from_: Annotated[Integer | None, Query(alias="from")] = None,
    to: Integer | None = None,
    limit: _Limit = 200,
) -> Json:
    """Return the items of a name and context at steps from `from` to `to`, by step: the first `limit` of them.

    `{total, items: [{kind, step, epoch, time_ms, digest, suffix, mime, size_bytes, caption, width, …}]}`; a histogram
    has `counts`, `edges` and `not_finite` in place of a content. Of equal steps the latest counts.
    """
    wanted = [item for item in _items(store, id) if item["name"] == name and item["context"] == context]
    if not wanted:
        raise ArtifactNotFoundError(f"{id} has no media {name!r} in context {context!r}")
    by_step = {
        item["step"]: item
        for item in wanted
        if (from_ is None or item["step"] >= from_) and (to is None or item["step"] <= to)
    }
    shown = [_shown(by_step[step]) for step in sorted(by_step)[:limit]]
    return Json({"total": len(by_step), "items": shown})


@router.get("/experiments/{id}/media/files/{digest}", response_class=FileResponse)
def content(id: str, digest: str, store: Opened) -> Response:
    """Return a content by its digest, `sha256:<64 hex>`; it never changes. JSON and texts come as downloads."""
    suffix = _suffix(_items(store, id), digest)
    file = _open(store, id, digest, suffix)
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "Content-Security-Policy": _SANDBOX}
    shown = MIMES[suffix].startswith(("image/", "audio/", "video/"))
    return OpenedResponse(
        file, media_type=MIMES[suffix], headers=headers, filename=f"{digest[7:19]}.{suffix}", inline=shown
    )


@router.get("/experiments/{id}/media/text")
def text(id: str, digest: str, store: Opened, limit: Annotated[int, Query(ge=1, le=1 << 22)] = 1 << 18) -> Json:
    """Return a text that was logged: `{text, truncated}`, at most `limit` characters."""
    with _open(store, id, digest, "txt") as file:
        read = os.pread(file.fileno(), 4 * limit + 4, 0).decode(errors="replace")
    return Json({"text": read[:limit], "truncated": len(read) > limit})


@router.get("/experiments/{id}/media/table")
def table(
    id: str,
    digest: str,
    store: Opened,
    sort: Integer | None = None,
    descending: bool = False,
    offset: Natural = 0,
    limit: _Limit = 200,
) -> Json:
    """Return rows of a table that was logged, sorted by the column of number `sort`; what is empty comes last.

    `{columns, total, rows}`; a cell is a value, `{number: "nan"}`, or a picture: `{image: digest, width, height}`.
    """
    columns, rows = _table(store, id, digest)
    if sort is not None:
        if not 0 <= sort < len(columns):
            raise InputError(f"sort: expected the number of a column, 0 to {len(columns) - 1}, got {sort}")
        full = [row for row in rows if _order(row[sort]) is not None]
        full.sort(key=lambda row: _order(row[sort]) or (), reverse=descending)
        rows = full + [row for row in rows if _order(row[sort]) is None]
    return Json({"columns": columns, "total": len(rows), "rows": rows[offset : offset + limit]})


def _order(cell: Any) -> tuple[int, Any] | None:
    """Return what a cell is sorted by: numbers before texts; None for what is empty or a picture."""
    if cell is None or isinstance(cell, dict):
        return None
    return (0, cell) if isinstance(cell, int | float) else (1, str(cell))


def _items(store: Store, experiment_id: str) -> list[dict[str, Any]]:
    with store.reading(experiment_id) as reader:
        return reader.media()


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "mime": MIMES.get(item["suffix"], "application/octet-stream")} if "suffix" in item else item


def _suffix(items: Iterable[dict[str, Any]], digest: str) -> str:
    """Return what kind of file a content is, as recorded: also that of a picture in a table's cell."""
    suffix = next((item["suffix"] for item in items if item.get("digest") == digest), None)
    return str(suffix) if suffix in MIMES else "png"  # pictures in cells are PNG


def _open(store: Store, experiment_id: str, digest: str, suffix: str) -> FileIO:
    file = open_below(store.folder_of(experiment_id), media_path(Path(), digest, suffix).as_posix())
    if file is None:
        raise ArtifactNotFoundError(
            f"{experiment_id} has no such content: {digest} is not there; frameworm doctor tells more"
        )
    return file


def _table(store: Store, experiment_id: str, digest: str) -> tuple[list[Any], list[list[Any]]]:
    """Return the columns and rows of a table that was logged; its file may hold anything by now."""
    with _open(store, experiment_id, digest, "json") as file:
        content = file.read(_LARGEST_TABLE + 1)
    try:
        told = json.loads(content) if len(content) <= _LARGEST_TABLE else None
        columns, rows = told["columns"], told["rows"]  # type: ignore[index]
        fits = isinstance(columns, list) and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    except (ValueError, TypeError, KeyError, RecursionError):
        fits = False
    if not fits:
        raise InputError(f"{digest} is no table, or one too large to be shown; fetch it from …/media/files/{digest}")
    return columns, rows
