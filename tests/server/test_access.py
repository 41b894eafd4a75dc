"""Who is let in: by a link once, then by a cookie; programs by the key of the root."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from frameworm.experiment.server.access import Access
from frameworm.experiment.server.app import ROUTERS, create_app

from .conftest import LOCAL

KEY = b"k" * 43
HTML = {"accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def access() -> Access:
    return Access(KEY)


@pytest.fixture
def guarded(root: Path, access: Access) -> TestClient:
    return TestClient(create_app(root, access=access), base_url=LOCAL, follow_redirects=False)


def opened(client: TestClient, access: Access, path: str = "/") -> None:
    """Open a link, as a browser would."""
    assert client.get(access.link(path)).status_code == 303


def test_nothing_but_the_health_check_is_answered_to_somebody_who_was_not_let_in(guarded: TestClient) -> None:
    assert guarded.get("/api/health").json() == {"status": "ok"}
    paths = [route.path for route in guarded.app.routes if hasattr(route, "path")]  # type: ignore[attr-defined]
    document = guarded.app.openapi()["paths"]  # type: ignore[attr-defined]
    assert len(document) > 30
    for path in {
        *paths,
        *document,
        "/",
        "/assets/x.js",
        "/experiments/exp_001",
        "/api",
        "/api/v1/nope",
        "/api/health/",
    }:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"):
            if path == "/api/health":
                continue
            answer = guarded.request(method, path, headers={"content-type": "application/json"})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["cache-control"] == "no-store"
            if method != "HEAD":
                assert "frameworm ui" in answer.json()["error"]["message"]
    assert ROUTERS


def test_a_link_lets_in_once_and_leaves_no_trace_of_itself(guarded: TestClient, access: Access) -> None:
    link = access.link("/") + "&q=a%3D%22%C3%BC%22&token=again"
    for method in ("HEAD", "OPTIONS", "POST"):  # who only looks at a link does not use it up
        assert guarded.request(method, link).status_code == 401
    answer = guarded.get(link, headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=a%3D%22%C3%BC%22")
    assert answer.headers["cache-control"] == "no-store" and answer.headers["referrer-policy"] == "no-referrer"
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert KEY.decode() not in cookie and parse_qsl(urlsplit(link).query)[0][1] not in cookie
    assert guarded.get("/").status_code == guarded.get("/api/v1/store").status_code == 200
    assert guarded.get(link).status_code == 303  # opened once more, where it was
    guarded.cookies.clear()
    assert guarded.get(link, headers=HTML).status_code == 401
    assert guarded.get(access.link("/")).status_code == 303


@pytest.mark.parametrize("token", ["", "x", "%00", "%FF", "k" * 43, "é", "token=", "k" * 10_000])
def test_no_other_token_lets_in(guarded: TestClient, access: Access, token: str) -> None:
    access.link("/")
    assert guarded.get(f"/?token={token}").status_code == 401
    assert guarded.get("/", headers={"authorization": f"Bearer {token or 'x'}".encode()}).status_code == (
        200 if token == KEY.decode() else 401
    )
    assert guarded.get("/", headers={"cookie": f"frameworm-80={token}".encode()}).status_code == 401


def test_a_link_of_the_api_is_none(guarded: TestClient, access: Access) -> None:
    assert guarded.get(access.link("/api/v1/store")).status_code == 401


@pytest.mark.parametrize("path", ["//evil.example", "///evil.example/a", "/\\evil.example", "/\\/evil.example"])
def test_a_link_never_leads_to_another_host(path: str, access: Access, root: Path) -> None:
    import asyncio

    link = access.link(path)
    sent: list[dict] = []

    async def ask() -> None:
        query = urlsplit("http://x/?" + link.partition("?")[2]).query.encode()
        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query,
                 "headers": [(b"host", b"127.0.0.1")], "root_path": ""}  # fmt: skip

        async def send(message: dict) -> None:
            sent.append(message)

        await create_app(root, access=access)(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())
    location = dict(sent[0]["headers"])[b"location"].decode()
    assert sent[0]["status"] == 303
    assert location.startswith("/") and not location.startswith(("//", "/\\")), location


def test_programs_send_the_key(guarded: TestClient) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert guarded.get("/api/v1/store", headers={"authorization": f"{scheme} {KEY.decode()}"}).status_code == 200
    for wrong in ("Bearer", "Bearer ", f"Basic {KEY.decode()}", KEY.decode(), f"Bearer {KEY.decode()}x", "Bearer é"):
        assert guarded.get("/api/v1/store", headers={"authorization": wrong.encode()}).status_code == 401
    assert guarded.get("/", headers={"authorization": "Bearer of a proxy"}).status_code == 401
    cookie = Access(KEY).cookie(80).partition(";")[0]
    assert guarded.get("/", headers={"authorization": "Bearer of a proxy", "cookie": cookie}).status_code == 200
    edit = {"ids": ["exp_001"]}
    headers = {"authorization": f"Bearer {KEY.decode()}"}
    assert guarded.post("/api/v1/experiments/edit", json=edit, headers=headers).status_code == 422
    foreign = {**headers, "origin": "http://evil.example"}
    assert guarded.post("/api/v1/experiments/edit", json=edit, headers=foreign).status_code == 403


def test_dashboards_on_two_ports_do_not_log_each_other_out(root: Path, own_root: Path) -> None:
    """A browser keeps cookies a host, whatever the port, and sends all of them to each."""
    here, there = Access(KEY), Access(b"t" * 43)
    first = TestClient(create_app(root, access=here), base_url="http://127.0.0.1:6780", follow_redirects=False)
    second = TestClient(create_app(own_root, access=there), base_url="http://127.0.0.1:6781", follow_redirects=False)
    opened(first, here)
    first.cookies.update({name: "stale" for name in ("frameworm-6781", "frameworm-80", "_xsrf")})
    second.cookies = first.cookies
    assert second.get("/api/v1/store").status_code == 401  # the other's cookie lets nobody in here
    opened(second, there)
    first.cookies = second.cookies
    for client in (first, second):
        assert client.get("/api/v1/store").status_code == 200


def test_a_page_tells_people_what_to_do_and_programs_get_json(guarded: TestClient) -> None:
    page = guarded.get("/compare?ids=exp_001", headers=HTML)
    assert page.status_code == 401 and page.headers["content-type"].startswith("text/html")
    assert "frameworm ui" in page.text and "refresh" not in page.headers
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy and "style-src 'sha256-" in policy and "frame-ancestors 'none'" in policy
    assert guarded.get("/api/v1/store", headers=HTML).json()["error"]["code"] == "not_let_in"
    led = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert guarded.get("/", headers={**HTML, **led}).headers["refresh"] == "0"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_key_stays_from_one_start_to_the_next(state: Path, tmp_path: Path) -> None:
    first, second, other = Access.to(tmp_path), Access.to(tmp_path / "x" / ".."), Access.to(tmp_path / "other")
    assert first.file is not None and first.file == second.file != other.file
    assert first.cookie(80) == second.cookie(80) != other.cookie(80) and first.cookie(80) != first.cookie(81)
    assert stat.S_IMODE(first.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.file.parent.stat().st_mode) == 0o700
    assert not any(second.use(link.partition("=")[2].encode()) for link in (first.link("/"), other.link("/")))
    assert sorted(state.rglob("*.*")) == []  # nothing else is left


def _readable(file: Path) -> None:
    file.chmod(0o640)


def _a_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _short(file: Path) -> None:
    file.write_bytes(b"short")


def _long(file: Path) -> None:
    file.write_bytes(b"k" * 5_000)


@pytest.mark.parametrize("spoil", [_readable, _a_link, _a_fifo, _empty, _short, _long, os.unlink])
def test_a_key_that_others_may_know_or_have_made_is_made_anew(
    state: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    before = Access.to(tmp_path)
    assert before.file is not None
    spoil(before.file)
    after = Access.to(tmp_path)
    assert after.file == before.file and after.cookie(80) != before.cookie(80)
    assert stat.S_ISREG(after.file.lstat().st_mode) and stat.S_IMODE(after.file.stat().st_mode) == 0o600
    assert Access.to(tmp_path).cookie(80) == after.cookie(80)


def test_without_a_place_for_the_key_links_still_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    access = Access.to(tmp_path)
    assert access.file is None
    assert access.use(access.link("/").partition("=")[2].encode())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (name,) = [Access.to(tmp_path).file]
    assert name is not None
    name.unlink()
    name.mkdir()
    assert Access.to(tmp_path).file is None
