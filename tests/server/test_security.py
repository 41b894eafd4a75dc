"""Who is answered, and with which headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from frameworm.experiment.server.app import create_app
from frameworm.experiment.server.security import HEADERS, POLICY, own_names

EDIT = "/api/v1/experiments/edit"
NOTHING = {"ids": ["exp_001"]}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:6780", "localhost:80", "LOCALHOST", "[::1]:6780", "localhost."]
)
def test_our_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/store", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:6780", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.2", "0.0.0.0",
     "2130706433", "[::1", "", "localhost@evil.example", "::1"],
)  # fmt: skip
def test_a_name_that_was_rebound_to_us_is_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/v1/store", "/api/v1/events", "/api/docs"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == 403
        assert "--host" in answer.json()["error"]["message"]


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
