"""Edits over HTTP: what the page may change, and what it may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from frameworm.experiment import Experiment, ExperimentManager

EDIT, DELETE, RESTORE = (f"/api/v1/experiments/{what}" for what in ("edit", "delete", "restore"))
Serving = Callable[..., TestClient]


def test_everything_is_edited_at_once(serving: Serving, own_root: Path) -> None:
    client = serving(own_root)
    change = {"add_tags": ["seen"], "remove_tags": ["mnist"], "note": "a\nb", "name": "neu ü", "description": "what"}
    answer = client.post(EDIT, json={"ids": ["exp_001", "exp_002"], **change})
    assert answer.json() == {"edited": ["exp_001", "exp_002"]}
    info = ExperimentManager(own_root).reader("exp_002").info
    assert (info.tags, info.name, info.description) == (("good", "seen"), "neu ü", "what")
    assert [note.text for note in info.notes] == ["a\nb"]
    rows = client.get("/api/v1/experiments", params={"q": "'seen' in tags"}).json()["rows"]
    assert [row["name"] for row in rows] == ["neu ü", "neu ü"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ids": ["exp_001"]}, 422),
        ({"ids": []}, 422),
        ({"ids": ["exp_001"], "note": "x", "status": "completed"}, 422),
        ({"ids": ["exp_001"], "add_tags": [""]}, 422),
        ({"ids": ["exp_001"], "name": "two\nlines"}, 422),
        ({"ids": ["exp_001", "exp_099"], "note": "x"}, 404),
        ({"ids": ["../exp_001"], "note": "x"}, 404),
        ([], 422),
    ],
)
def test_what_is_wrong_changes_nothing(client: TestClient, root: Path, body: object, status: int) -> None:
    before = ExperimentManager(root).reader("exp_001").info
    assert client.post(EDIT, json=body).status_code == status
    assert ExperimentManager(root).reader("exp_001").info == before


def test_what_is_deleted_can_come_back(serving: Serving, own_root: Path) -> None:
    client = serving(own_root)
    with client.app.state.store.reading("exp_002") as reader:
        assert reader.info.name == "vae two"
    assert client.post(DELETE, json={"ids": ["exp_002", "exp_005"]}).json() == {"deleted": ["exp_002", "exp_005"]}
    assert client.get("/api/v1/store").json()["total"] == 3
    assert client.post(EDIT, json={"ids": ["exp_002"], "note": "x"}).status_code == 404
    assert client.post(RESTORE, json={"ids": ["exp_002", "exp_005"]}).json() == {"restored": ["exp_002", "exp_005"]}
    assert client.get("/api/v1/store").json()["total"] == 5
    assert client.post(RESTORE, json={"ids": ["exp_002"]}).status_code == 404


def test_one_that_runs_is_deleted_by_force_alone(serving: Serving, own_root: Path) -> None:
    client = serving(own_root)
    exp = Experiment(name="live", root_dir=own_root, capture_console=False, system_metrics_s=0)
    with exp:
        answer = client.post(DELETE, json={"ids": ["exp_001", exp.experiment_id]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert client.get("/api/v1/store").json()["total"] == 6
    assert client.post(DELETE, json={"ids": [exp.experiment_id], "force": True}).status_code == 200


def test_nothing_is_changed_where_nothing_may_be(serving: Serving, own_root: Path) -> None:
    client = serving(own_root, read_only=True)
    for path in (EDIT, DELETE, RESTORE):
        answer = client.post(path, json={"ids": ["exp_001"], **({"note": "x"} if path == EDIT else {})})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "read_only")
