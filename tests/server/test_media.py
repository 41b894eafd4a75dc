"""Media over HTTP: what was logged is told and sent, and nothing that would run."""

from __future__ import annotations

import numpy as np
import pytest
from starlette.testclient import TestClient

from frameworm.experiment import Experiment
from frameworm.experiment.server.app import create_app


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    with Experiment(name="m", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        for step in (0, 10, 20):
            exp.log_image("samples", np.full((4, 5), step, np.uint8), step=step, caption=f"at {step}")
        exp.log_image("samples", np.full((4, 5), 99, np.uint8), step=10)
        exp.log_text("story", "<script>alert(1)</script>", metric_type="val")
        exp.log_histogram("weights", [1.0, 2.0, float("nan")], bins=2)
        rows = [[2, "b", np.zeros((2, 2))], [10, "a", None], [None, "c", None], [float("nan"), "d", None]]
        exp.log_table("errors", rows, columns=["n", "s", "p"])
    with TestClient(create_app(root), base_url="http://127.0.0.1") as client:
        yield client


BASE = "/api/v1/experiments/exp_001/media"


def one(client, name, context="train"):
    return client.get(f"{BASE}/items", params={"name": name, "context": context}).json()["items"][0]


def test_the_keys_tell_what_there_is(client):
    keys = client.get(BASE).json()["keys"]
    assert [(key["name"], key["context"], key["kind"], key["count"]) for key in keys] == [
        ("samples", "train", "image", 4),
        ("story", "val", "text", 1),
        ("weights", "train", "histogram", 1),
        ("errors", "train", "table", 1),
    ]
    assert (keys[0]["first_step"], keys[0]["last_step"]) == (0, 20)


def test_items_come_by_step_the_latest_of_equal_ones(client):
    got = client.get(f"{BASE}/items", params={"name": "samples", "from": 5, "to": 20}).json()
    assert got["total"] == 2 and [item["step"] for item in got["items"]] == [10, 20]
    first, second = got["items"]
    assert "caption" not in first and second["caption"] == "at 20"
    assert (second["mime"], second["width"], second["height"]) == ("image/png", 5, 4)
    limited = client.get(f"{BASE}/items", params={"name": "samples", "limit": 1}).json()
    assert (limited["total"], len(limited["items"])) == (3, 1)


def test_a_picture_is_sent_to_be_shown_and_kept(client):
    answer = client.get(f"{BASE}/files/{one(client, 'samples')['digest']}")
    assert answer.content.startswith(b"\x89PNG") and answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_text_is_never_a_page(client):
    digest = one(client, "story", "val")["digest"]
    answer = client.get(f"{BASE}/files/{digest}")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"].startswith("attachment")
    got = client.get(f"{BASE}/text", params={"digest": digest, "limit": 8}).json()
    assert got == {"text": "<script>", "truncated": True}


def test_a_histogram_is_told_whole(client):
    item = one(client, "weights")
    assert (item["counts"], item["edges"], item["not_finite"]) == ([1, 1], [1.0, 1.5, 2.0], 1)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [2, 10, None, {"number": "nan"}]),
        ({"sort": 0}, [2, 10, None, {"number": "nan"}]),
        ({"sort": 0, "descending": True}, [10, 2, None, {"number": "nan"}]),
        ({"sort": 1}, [10, 2, None, {"number": "nan"}]),
        ({"sort": 1, "descending": True, "limit": 1}, [{"number": "nan"}]),
        ({"offset": 1, "limit": 2}, [10, None]),
    ],
)
def test_a_table_is_sorted_and_paged(client, params, expected):
    digest = one(client, "errors")["digest"]
    got = client.get(f"{BASE}/table", params={"digest": digest, **params}).json()
    assert [row[0] for row in got["rows"]] == expected
    assert (got["columns"], got["total"]) == (["n", "s", "p"], 4)


def test_a_picture_in_a_cell_is_sent(client):
    digest = one(client, "errors")["digest"]
    cell = client.get(f"{BASE}/table", params={"digest": digest}).json()["rows"][0][2]
    assert client.get(f"{BASE}/files/{cell['image']}").headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/v1/experiments/exp_009/media", 404, "exp_009"),
        (f"{BASE}/items?name=nothing", 404, "no media 'nothing'"),
        (f"{BASE}/files/sha256:{'0' * 64}", 404, "not there"),
        (f"{BASE}/files/sha256:..%2F..%2Fmetadata.json", 404, ""),
        (f"{BASE}/files/nonsense", 422, "expected sha256:"),
        (f"{BASE}/text?digest=../x", 422, "expected sha256:"),
        (f"{BASE}/table?digest=sha256:{'0' * 64}", 404, "no such content"),
    ],
)
def test_what_is_not_there_is_told(client, path, status, said):
    answer = client.get(path)
    assert answer.status_code == status and said in answer.text


@pytest.mark.parametrize(
    "content",
    [
        *("", "7", "{}", "[" * 100_000, '{"columns": 5, "rows": []}', '{"columns": ["a"], "rows": [[1], 5]}'),
        *('{"columns": ["a"], "rows": [[]]}', '{"columns": ["a"], "rows": null}', '{"columns": ["a"], "rows": "x"}'),
    ],
)
def test_a_table_whose_file_was_changed_is_told(tmp_path, content):
    with Experiment(name="m", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        exp.log_table("t", [[1]], columns=["a"])
    (path,) = exp.exp_dir.glob("media/*/*.json")
    path.chmod(0o644)
    path.write_text(content)
    client = TestClient(create_app(tmp_path), base_url="http://127.0.0.1")
    answer = client.get(f"{BASE}/table", params={"digest": f"sha256:{path.stem}", "sort": 0})
    assert answer.status_code == 422 and "is no table" in answer.text


def test_media_behind_links_are_not_sent(tmp_path):
    with Experiment(name="m", root_dir=tmp_path / "root", capture_console=False, system_metrics_s=0) as exp:
        exp.log_text("t", "mine")
    (path,) = exp.exp_dir.glob("media/*/*.txt")
    (tmp_path / "secret").write_text("secret")
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    client = TestClient(create_app(tmp_path / "root"), base_url="http://127.0.0.1")
    for asked in (f"files/sha256:{path.stem}", f"text?digest=sha256:{path.stem}"):
        answer = client.get(f"{BASE}/{asked}")
        assert answer.status_code == 422 and "is a link" in answer.text
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path)
    assert client.get(f"{BASE}/files/sha256:{path.stem}").status_code == 422
