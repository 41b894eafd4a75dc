"""Who is answered, and with which headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from frameworm.experiment.server.app import create_app
from frameworm.experiment.server.security import HEADERS, POLICY, own_names

EDIT = "/api/v1/experiments/edit"
NOTHING = {"ids": ["exp_001"]}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:6780", "localhost:80", "LOCALHOST", "[::1]:6780", "localhost."]
)
def test_our_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/store", headers={"host": host}).status_code == 200


REBOUND = """
evil.example evil.example:6780 127.0.0.1.evil.example localhost.evil.example 127.0.0.2 0.0.0.0 2130706433 [::1 ::1
localhost@evil.example localhost:80@evil.example evil.example@localhost [::1]evil [::1]:80evil evil\\@localhost
localhost/evil localhost\\evil localhost?evil localhost#evil localhost.. 0x7f.1 127.1 127.0.0.1. [0:0:0:0:0:0:0:1]
[::ffff:127.0.0.1] [::1%25lo] %6cocalhost localhost: localhost:080 localhost:99999 localhost:-1 localhost:٨٠
http://localhost localhost,evil.example ｌocalhost
"""


@pytest.mark.parametrize("host", [*REBOUND.split(), "", "local\thost", "evil.example localhost", "\xa0localhost"])
def test_a_name_that_was_rebound_to_us_is_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/v1/store", "/api/v1/events", "/api/docs"):
        answer = client.get(path, headers={"host": host.encode()})
        assert answer.status_code == 403
        assert "--host" in answer.json()["error"]["message"]


def test_a_second_header_that_says_who_asks_is_refused(client: TestClient) -> None:
    own = [("host", "127.0.0.1"), ("origin", "http://127.0.0.1"), ("sec-fetch-site", "same-origin")]
    assert client.get("/api/v1/store", headers=own).status_code == 200
    for name, value in (
        ("host", "127.0.0.1"),
        ("host", "evil.example"),
        ("Origin", "http://127.0.0.1"),
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "same-origin"),
    ):
        for headers in ([*own, (name, value)], [(name, value), *own]):
            assert client.get("/api/v1/store", headers=headers).status_code == 400, headers


def test_other_pages_read_nothing(client: TestClient) -> None:
    for site in ("cross-site", "same-site", "", "same-origin, none", "unheard of"):
        for path in ("/", "/api/v1/store", "/api/v1/events", "/api/docs", "/api/openapi.json"):
            for mode in ("no-cors", "cors", "same-origin", "nested-navigate", "websocket"):
                headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": "empty"}
                assert client.get(path, headers=headers).status_code == 403, headers
    for origin in ("http://evil.example", "null", "", "http://127.0.0.1:81", "ftp://127.0.0.1", "http://127.0.0.1/x",
                   "http://evil\\@127.0.0.1", "http://127.0.0.1@evil.example", "//127.0.0.1"):  # fmt: skip
        assert client.get("/api/v1/store", headers={"origin": origin}).status_code == 403, origin


def test_other_pages_may_lead_to_our_pages_and_to_nothing_else(client: TestClient) -> None:
    led = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=led).status_code == 200
    assert client.get("/experiments/exp_001", headers=led).status_code == 200
    assert client.get("/api/v1/store", headers=led).status_code == 403
    assert client.get("/", headers={**led, "sec-fetch-dest": "iframe"}).status_code == 403
    assert client.post(EDIT, json=NOTHING, headers=led).status_code == 403


def test_a_proxy_that_encrypts_leaves_the_origin_ours(client: TestClient) -> None:
    for origin in ("https://127.0.0.1", "https://127.0.0.1:443", "http://127.0.0.1:80"):
        assert client.post(EDIT, json=NOTHING, headers={"origin": origin}).status_code == 422


def test_listening_on_every_address_answers_to_addresses_but_not_to_names(root: Path) -> None:
    app = create_app(root, names=own_names("0.0.0.0"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for host, status in {
            "192.0.2.7:6780": 200,
            "[2001:db8::1]": 200,
            "localhost": 200,
            "evil.example": 403,
        }.items():
            assert client.get("/api/v1/store", headers={"host": host}).status_code == status, host
    assert "box" in own_names("Box") and "*" not in own_names("Box")
    assert {"::2", "xn--bcher-kva.example"} <= own_names("0:0:0::2") | own_names("Bücher.example")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1"}, 422),  # taken, and found to change nothing
        ({"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}, 422),
        ({}, 422),  # a program
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:81"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": ""}, 415),
    ],
)
def test_changes_are_taken_from_our_own_page_and_from_programs(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    assert client.post(EDIT, json=NOTHING, headers=headers).status_code == status


def test_no_route_changes_anything_by_another_method_than_those_that_are_guarded(client: TestClient) -> None:
    methods = {method for route in client.app.routes for method in getattr(route, "methods", None) or ()}  # type: ignore[attr-defined]
    methods |= {one.upper() for path in client.app.openapi()["paths"].values() for one in path}  # type: ignore[attr-defined]
    assert methods <= {"GET", "HEAD", "POST"}
    for method in ("TRACE", "QUERY", "PROPFIND", "X"):
        assert client.request(method, "/api/v1/store").status_code == 405


def test_there_are_no_websockets(client: TestClient) -> None:
    for path in ("/", "/api/v1/events", "/api/health"):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
            pass


def test_every_answer_has_the_headers(client: TestClient, root: Path) -> None:
    app = create_app(root)

    @app.get("/api/v1/bug")
    def bug() -> None:
        raise RuntimeError("a bug")

    app.router.routes.insert(0, app.router.routes.pop())
    with TestClient(app, base_url="http://127.0.0.1") as broken:
        failed = broken.get("/api/v1/bug")
    assert failed.status_code == 500
    assert failed.json() == {"error": {"code": "internal", "message": "RuntimeError: a bug", "position": None}}
    known = client.get("/api/v1/store")
    answers = {
        200: known,
        204: client.get("/api/v1/check"),
        304: client.get("/api/v1/store", headers={"if-none-match": known.headers["etag"]}),
        400: client.get("/api/v1/experiments", params={"q": "nope =="}),
        403: client.get("/", headers={"host": "evil.example"}),
        404: client.get("/api/v1/nope"),
        405: client.put("/api/v1/store", json={}),
        415: client.post(EDIT),
        422: client.get("/api/v1/experiments", params={"limit": "x"}),
        500: failed,
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        if status >= 400:
            assert set(answer.json()["error"]) == {"code", "message", "position"}
    assert "unsafe" not in POLICY and "*" not in POLICY
    for page in ("/", "/api/docs", "/api/docs.css", "/api/openapi.json", "/experiments/exp_001"):
        assert client.get(page).headers["content-security-policy"] == POLICY


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/health", "/api/v1/alerts", "/api/v1/experiments/edit"])
def test_a_method_that_there_is_not_is_told_whatever_it_brings(client, method, path):
    for sent in ({}, {"json": {}}, {"content": b"x", "headers": {"content-type": "text/plain"}}):
        answer = client.request(method, path, **sent)
        assert answer.status_code == 405 and answer.headers["allow"] in ("GET", "POST")
