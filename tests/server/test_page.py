"""The files of the page, and its description of the API."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Match
from starlette.testclient import TestClient

from frameworm.experiment.server.app import ROUTERS, create_app

_FIRST_PAGES = """
import sys, threading
from pathlib import Path
from starlette.testclient import TestClient
from frameworm.experiment.server.app import create_app
root, static = map(Path, sys.argv[1:])
client = TestClient(create_app(root, static=static), base_url="http://127.0.0.1")
for address in ("/", "/compare?ids=exp_001"):
    client.get(address)
    for thread in threading.enumerate():
        if thread.daemon:
            thread.join(60)
    print("frameworm.experiment.query.panels" in sys.modules)
"""

Serving = Callable[..., TestClient]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A built page, with a secret beside it."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<p>the page")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "assets" / "index-abc.js").write_text("1")
    (tmp_path / "secret.txt").write_text("hidden")
    (folder / "out").symlink_to(tmp_path / "secret.txt")
    return folder


def test_files_are_sent_and_every_address_of_the_page_is_the_page(serving: Serving, root: Path, built: Path) -> None:
    client = serving(root, static=built)
    for address in ("/", "/experiments/exp_001/charts", "/compare?ids=exp_001", "/alerts"):
        answer = client.get(address)
        assert (answer.text, answer.headers["cache-control"]) == ("<p>the page", "no-cache")
        assert answer.headers["content-type"].startswith("text/html")
        again = client.get(address, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    script = client.get("/assets/index-abc.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in script.headers["cache-control"]
    assert client.get("/icon.svg").headers["content-type"] == "image/svg+xml"
    assert client.get("/assets/gone.js").status_code == 404
    assert client.get("/api/gone").json()["error"]["code"] == "not_found"


def test_the_browser_hears_early_of_the_files_that_an_address_needs(serving: Serving, root: Path, built: Path) -> None:
    for name in ("ComparePage-d.js", "ComparePage-e.css", "ChartsPanel-f.js", "AlertsPage-g.js"):
        (built / "assets" / name).write_text("1")
    client = serving(root, static=built)
    scripts = ["index-abc.js", "ComparePage-d.js", "ChartsPanel-f.js"]
    links = [f"</assets/{name}>; rel=modulepreload" for name in scripts]
    style = "</assets/ComparePage-e.css>; rel=preload; as=style; crossorigin"
    assert "link" not in client.get("/").headers
    assert client.get("/compare?ids=exp_001").headers["link"] == ", ".join([*links[:2], style])
    assert client.get("/compare?ids=exp_001&tab=charts").headers["link"] == ", ".join([*links, style])
    assert "ChartsPanel" in client.get("/experiments/exp_001/charts").headers["link"]


def test_experiments_are_opened_while_the_browser_loads_their_charts(serving: Serving, root: Path, built: Path) -> None:
    client = serving(root, static=built)
    app: Any = client.app
    assert _prepared(client, "exp_001,[,../x") is False
    assert set(app.state.store._readers) == set()
    assert _prepared(client, "exp_001,exp_002,exp_999") is False  # the catalog may know of it
    assert set(app.state.store._readers) == {"exp_001", "exp_002"}


def test_the_catalog_waits_for_charts(
    serving: Serving, root: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frameworm.experiment.server.page._ASKED_S", 60.0)  # however slow the machine is
    monkeypatch.setattr("frameworm.experiment.server.store._SETTLED_S", 60.0)
    monkeypatch.setattr("frameworm.experiment.server.store._NEXT_S", 3.0)
    client = serving(root, static=built)
    app: Any = client.app
    assert _prepared(client, "exp_001,exp_002") is True
    asked = threading.Thread(target=client.get, args=("/api/v1/store",))
    asked.start()
    points = {"metric": "loss", "ids": "exp_001,exp_002"}
    assert client.get("/api/v1/points", params=points).status_code == 200
    assert app.state.store._manager is None
    asked.join(60)
    assert app.state.store._manager is not None


def _prepared(client: TestClient, ids: str) -> bool:
    """Visit charts; return whether they are expected once all is ready for them."""
    app: Any = client.app
    assert client.get(f"/compare?ids={ids}&tab=charts").status_code == 200
    for thread in threading.enumerate():
        if thread.name == "prepare":
            thread.join(60)
    return bool(time.monotonic() < app.state.store.charts_until)


def test_points_are_read_without_sqlalchemy() -> None:
    check = "import sys, frameworm.experiment.query.panels, frameworm.experiment.query.read; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in loaded and "sqlalchemy" not in loaded


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/%2e%2e%2f%2e%2e/secret.txt",
        "/out",
        "/%2fetc%2fpasswd",
        "//etc/passwd",
        "/..%5csecret.txt",
        "/%00",
    ],
)
def test_nothing_outside_of_the_folder_is_sent(serving: Serving, root: Path, built: Path, path: str) -> None:
    answer = serving(root, static=built).get(f"http://127.0.0.1{path}")
    assert "hidden" not in answer.text and "root:" not in answer.text
    assert answer.status_code == 404 or answer.text == "<p>the page"


def test_the_page_is_looked_for_before_the_api(root: Path) -> None:
    """A route of the API costs a millisecond and more when it is first looked at."""
    app = create_app(root)
    scope = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []}
    fits = [route.matches(scope)[0] is Match.FULL for route in app.routes]
    assert fits.index(True) < len(fits) - len(ROUTERS)


def test_a_page_that_is_not_built_says_how_to_build_it(serving: Serving, root: Path, tmp_path: Path) -> None:
    client = serving(root, static=tmp_path / "dist")
    assert "make web" in client.get("/").text
    assert client.get("/api/v1/store").json()["total"] == 5
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("built meanwhile")
    assert client.get("/").text == "built meanwhile"


def test_the_api_is_described_without_scripts(client: TestClient) -> None:
    page = client.get("/api/docs").text
    assert "<script" not in page and "style=" not in page and "http://" not in page and "https://" not in page
    paths = client.get("/api/openapi.json").json()["paths"]
    assert "/api/v1/experiments" in paths
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in page
            assert operation["description"].strip(), path
    assert client.get("/api/docs.css").headers["content-type"].startswith("text/css")
    assert re.search(r'href="/api/docs\.css"', page)


def test_what_reads_points_is_loaded_while_a_page_of_charts_is(root: Path, built: Path) -> None:
    command = [sys.executable, "-c", _FIRST_PAGES, str(root), str(built)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"], done.stderr
