"""The page: the files of the built front end, or a page that says how to build it."""

from __future__ import annotations

import importlib
import mimetypes
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.convertors import PathConvertor, register_url_convertor

from frameworm.experiment.server.delivery import error_answer
from frameworm.experiment.server.store import Opened, Store
from frameworm.experiment.storage.folder import number_of

_NOT_BUILT = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>frameworm: the page is not built</title>
<meta name="viewport" content="width=device-width"></head>
<body>
<h1>The page is not built</h1>
<p>This is a checkout of the source, in which the page has to be built once. With Node 20 or newer, run</p>
<pre>make web</pre>
<p>in the repository, and load this page again. The HTTP API works without it:
<a href="/api/docs">/api/docs</a>.</p>
</body>
</html>
"""

_CHARTED = ("compare", "experiments/")
"""How addresses begin of which the page asks for points."""

_VIEWS = {"compare": "ComparePage", "experiments/": "ExperimentPage", "alerts": "AlertsPage"}
"""The files that come with an address, by how it begins. The browser would hear of them once it runs the page."""
_CHARTS = "ChartsPanel"
_ALWAYS = ("index", "common")

_MOST = 500
"""Experiments drawn at once."""

_OPENED_S, _ASKED_S = 1.5, 1.0
"""How soon at most experiments are open, and then asked for their points."""

_READERS = "frameworm.experiment.query.panels"

router = APIRouter(include_in_schema=False)
missing = APIRouter(include_in_schema=False)
"""Answers for addresses of the API that there are not."""


class _OutsideApi(PathConvertor):
    regex = "(?!api(?:/|$)).*"


register_url_convertor("outside_api", _OutsideApi())


@router.get("/{path:outside_api}")
async def page(path: str, store: Opened, tab: str = "", ids: str = "") -> Response:
    """Return a file of the page; ``index.html`` for the addresses that the page itself tells apart.

    On the event loop: while the first look through the folders keeps Python busy, a thread for each of these small
    files would wait for its turn several times over.
    """
    folder = store.static
    if folder is None:
        return Response(_NOT_BUILT, media_type="text/html")
    file = _inside(folder, path)
    if file is not None:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        hashed = path.startswith("assets/")
        caching = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return Response(file.read_bytes(), media_type=kind, headers={"Cache-Control": caching})
    if path.startswith("assets/") or "\0" in path or ".." in path.split("/"):
        return error_answer(404, "not_found", f"there is no file /{path}")
    views = [view for begin, view in _VIEWS.items() if path.startswith(begin)]
    charts = bool(views) and (tab == "charts" or path.endswith("/charts"))
    if charts:
        views.append(_CHARTS)
    elif path:  # to begin with, the table asks for its first rows alone, and charts are drawn without the catalog
        store.wanted.set()
    if path.startswith(_CHARTED):
        drawn = ids.split(",")[:_MOST] if charts else []
        if any(number_of(one) is None for one in drawn):
            drawn = []  # known by the catalog alone
        if drawn or _READERS not in sys.modules:
            store.expect_charts(_OPENED_S)
            threading.Thread(target=_prepare, name="prepare", args=(store, drawn), daemon=True).start()
    headers = {"Link": ", ".join(_early(folder, views))} if views else {}
    return Response((folder / "index.html").read_bytes(), media_type="text/html", headers=headers)


@missing.get("/{path:path}")
async def missing_address(path: str) -> Response:
    """Say that the API has no such address."""
    return error_answer(404, "not_found", f"there is no /{path}; /api/docs lists what there is")


def _prepare(store: Store, ids: list[str]) -> None:
    """Get ready what points are read with, while the browser loads the page and does not yet ask for them.

    With NumPy 0.1 s, and 3 ms for each experiment.
    """
    ready = False
    try:
        importlib.import_module(_READERS)
        ready = bool(ids) and store.prepare(ids)
    finally:
        store.expect_charts(_ASKED_S if ready else 0)


def _early(folder: Path, views: Sequence[str]) -> Iterator[str]:
    """Yield links to the files of the page and of some of its views, in the order they are needed."""
    files = sorted((folder / "assets").glob("*-*.*"))
    for suffix, how in ((".js", "rel=modulepreload"), (".css", "rel=preload; as=style; crossorigin")):
        for part in (*_ALWAYS, *views):
            for file in files:
                if file.suffix == suffix and file.name.startswith(f"{part}-"):
                    yield f"</assets/{file.name}>; {how}"


def _inside(folder: Path, path: str) -> Path | None:
    """Return the file if it is one, and lies in the folder."""
    if not path or "\0" in path:
        return None
    try:
        file = (folder / path).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
    except (OSError, ValueError):  # no name that a file can have
        return None
