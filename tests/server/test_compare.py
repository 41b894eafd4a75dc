"""Comparing over HTTP: side by side, two in depth, columns of values, and what they depend on."""

from __future__ import annotations

import pytest

from frameworm.experiment import Experiment

API = "/api/v1"
IDS = "exp_001,exp_002,exp_003"


def get(client, path, **params):
    answer = client.get(API + path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_experiments_stand_side_by_side_with_what_differs_first(client):
    told = get(client, "/compare", ids=f"{IDS},exp_999")
    assert [one["experiment_id"] for one in told["experiments"]] == ["exp_001", "exp_002", "exp_003"]
    assert told["missing"] == ["exp_999"] and told["more"] is False
    params = {row["key"]: row for row in told["params"]}
    assert params["lr"] == {"key": "lr", "values": [0.1, 0.01, 0.001], "differs": True}
    assert params["warm-up"]["values"] == [None, None, 3] and params["warm-up"]["differs"]
    metrics = {row["name"]: row for row in told["metrics"]}
    assert metrics["loss"]["values"] == [2.0, "NaN", "Infinity"] and metrics["loss"]["differs"]
    assert metrics["m/odd name"] == {"name": "m/odd name", "values": [1.0, 1.0, 1.0], "differs": False}
    differs = [row["differs"] for row in told["environment"]]
    assert differs == sorted(differs, reverse=True)
    assert any(row["key"].startswith("interpreter.") and not row["differs"] for row in told["environment"])


def test_who_is_compared_may_be_asked_alone(client):
    told = get(client, "/compare", ids=f"{IDS},exp_999")
    alone = get(client, "/compare", ids=f"{IDS},exp_999", only="experiments")
    assert alone == {key: told[key] for key in ("experiments", "missing")}


def test_the_same_in_all_does_not_differ(client):
    params = get(client, "/compare", ids="exp_001,exp_002")["params"]
    assert [row["key"] for row in params if not row["differs"]] == ["model"]
    assert [row["key"] for row in params] == ["big", "lr", "odd", "model"]
    assert not any(row["differs"] for row in get(client, "/compare", ids="exp_001")["params"])
    assert get(client, "/compare", ids="")["experiments"] == []


def test_too_many_cannot_be_set_side_by_side(client):
    ids = ",".join(f"exp_{n:03d}" for n in range(1, 300))
    answer = client.get(f"{API}/compare", params={"ids": ids})
    assert answer.status_code == 422 and "at most 200" in answer.json()["error"]["message"]


def test_two_in_depth(client):
    told = get(client, "/diff", a="exp_001", b="exp_002")
    assert told["verdict"] and {change["key"] for change in told["config"]} == {"lr", "big", "odd"}
    first = told["first"]
    assert first["name"] == "loss" and first["divergence"]["steps"] == [0, 0]
    assert [one["name"] for one in get(client, "/diff", a="exp_001", b="exp_002", metrics="loss@val")["series"]] == [
        "loss"
    ]
    assert client.get(f"{API}/diff", params={"a": "exp_001", "b": "exp_999"}).status_code == 404
    assert client.get(f"{API}/diff", params={"a": "exp_001", "b": "exp_002", "metrics": "x"}).status_code == 404


def test_quantities_are_columns(client):
    names = "config.lr,config.odd,config.big,metrics.loss.min,metrics.loss@val,created_at,tags,status,config.none"
    told = get(client, "/quantities", ids="exp_003,exp_001,exp_999,exp_003", columns=names)
    assert told["ids"] == ["exp_003", "exp_001"] and told["total"] == 2
    columns = {one["id"]: one for one in told["columns"]}
    assert columns["config.lr"] == {"id": "config.lr", "kind": "number", "values": [0.001, 0.1]}
    assert columns["config.odd"]["values"] == [None, 2] and columns["config.odd"]["kind"] == "number"
    assert columns["config.big"] == {"id": "config.big", "kind": "bool", "values": [None, True]}
    assert columns["metrics.loss.min"]["values"] == ["Infinity", 1.0]
    assert columns["metrics.loss@val"]["values"] == ["-Infinity", -2.0]
    assert columns["created_at"]["kind"] == "time" and columns["tags"]["kind"] == "tags"
    assert columns["status"] == {"id": "status", "kind": "text", "values": ["completed", "completed"]}
    assert columns["config.none"]["values"] == [None, None]


def test_quantities_of_a_query_are_newest_first_without_the_archived(client):
    told = get(client, "/quantities", columns="config.odd", q="metrics.loss > 0 or not (metrics.loss > 0)")
    assert told["ids"] == ["exp_005", "exp_003", "exp_002", "exp_001"]
    assert told["columns"][0]["kind"] == "mixed"
    assert get(client, "/quantities", columns="config.lr", limit=1)["total"] == 4
    wrong = client.get(f"{API}/quantities", params={"columns": "config.lr", "q": "config.lr <"})
    assert wrong.status_code == 400 and wrong.json()["error"]["position"] == 11
    assert client.get(f"{API}/quantities", params={"columns": "nothing"}).status_code == 422


def test_importance_says_what_it_needs(client):
    answer = client.get(f"{API}/importance", params={"metric": "loss"})
    assert answer.status_code == 422 and "at least 10 are needed" in answer.json()["error"]["message"]
    assert client.get(f"{API}/importance", params={"metric": "no such"}).status_code == 404
    assert client.get(f"{API}/importance", params={"metric": "loss", "at": "worst"}).status_code == 422


def test_importance_of_params(tmp_path, serving):
    pytest.importorskip("sklearn")
    for number in range(12):
        config = {"lr": number / 10, "noise": number * 7 % 5}
        with Experiment("x", config, root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
            exp.log_metric("loss", 2.0 * number)
    told = get(serving(tmp_path), "/importance", metric="loss")
    assert told["n"] == 12 and told["importances"][0]["param"] == "lr" and told["metric"] == "loss, last"
    assert set(told["importances"][0]) == {"param", "importance", "std", "correlation", "kind"}
    assert "12 experiments are few" in told["caveat"] and told["caveat"] == " ".join(told["caveats"])
