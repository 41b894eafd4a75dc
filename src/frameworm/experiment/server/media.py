"""Media over HTTP: what there is, item by item, and the contents, none of which a browser would run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from frameworm.experiment.errors import ArtifactNotFoundError, InputError
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.store import Opened, Store
from frameworm.experiment.storage.media import MIMES, media_path

router = APIRouter(tags=["media"])

_SANDBOX = "default-src 'none'; sandbox"
_MOST_ITEMS = 1_000
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
    from_: Annotated[int | None, Query(alias="from")] = None,
    to: int | None = None,
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
    path = media_path(store.folder_of(id), digest, suffix)
    if not path.is_file():
        raise ArtifactNotFoundError(
            f"{id}: the content {digest} is recorded and not there; frameworm doctor tells more"
        )
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "Content-Security-Policy": _SANDBOX}
    shown = MIMES[suffix].startswith(("image/", "audio/", "video/"))
    return FileResponse(
        path,
        media_type=MIMES[suffix],
        headers=headers,
        filename=f"{digest[7:19]}.{suffix}",
        content_disposition_type="inline" if shown else "attachment",
    )


@router.get("/experiments/{id}/media/text")
def text(id: str, digest: str, store: Opened, limit: Annotated[int, Query(ge=1, le=1 << 22)] = 1 << 18) -> Json:
    """Return a text that was logged: `{text, truncated}`, at most `limit` characters."""
    read = _read(store, id, digest, "txt").decode(errors="replace")
    return Json({"text": read[:limit], "truncated": len(read) > limit})


@router.get("/experiments/{id}/media/table")
def table(
    id: str,
    digest: str,
    store: Opened,
    sort: int | None = None,
    descending: bool = False,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: _Limit = 200,
) -> Json:
    """Return rows of a table that was logged, sorted by the column of number `sort`; what is empty comes last.

    `{columns, total, rows}`; a cell is a value, `{number: "nan"}`, or a picture: `{image: digest, width, height}`.
    """
    told = json.loads(_read(store, id, digest, "json"))
    if not isinstance(told, dict) or "columns" not in told:
        raise InputError(f"{digest} is no table; fetch it from …/media/files/{digest}")
    rows = told["rows"]
    if sort is not None:
        if not 0 <= sort < len(told["columns"]):
            raise InputError(f"sort: expected the number of a column, 0 to {len(told['columns']) - 1}, got {sort}")
        full = [row for row in rows if _order(row[sort]) is not None]
        full.sort(key=lambda row: _order(row[sort]) or (), reverse=descending)
        rows = full + [row for row in rows if _order(row[sort]) is None]
    return Json({"columns": told["columns"], "total": len(rows), "rows": rows[offset : offset + limit]})


def _order(cell: Any) -> tuple[int, Any] | None:
    """Return what a cell is sorted by: numbers before texts; None for what is empty or a picture."""
    if cell is None or isinstance(cell, dict):
        return None
    return (0, cell) if isinstance(cell, int | float) else (1, str(cell))


def _items(store: Store, experiment_id: str) -> list[dict[str, Any]]:
    with store.reading(experiment_id) as reader:
        return reader.media()


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "mime": MIMES[item["suffix"]]} if "suffix" in item else item


def _suffix(items: Iterable[dict[str, Any]], digest: str) -> str:
    """Return what kind of file a content is, as recorded: also that of a picture in a table's cell."""
    suffix = next((item["suffix"] for item in items if item.get("digest") == digest), None)
    return str(suffix) if suffix in MIMES else "png"  # pictures in cells are PNG


def _read(store: Store, experiment_id: str, digest: str, suffix: str) -> bytes:
    try:
        return media_path(store.folder_of(experiment_id), digest, suffix).read_bytes()
    except FileNotFoundError:
        raise ArtifactNotFoundError(f"{experiment_id} has no such content: {digest}") from None
