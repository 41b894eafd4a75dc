"""The table over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from frameworm.experiment import Experiment, ExperimentManager

Serving = Callable[..., TestClient]


def page(client: TestClient, **parameters: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/experiments", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(client: TestClient, **parameters: Any) -> list[int]:
    return [int(row["experiment_id"][4:]) for row in page(client, **parameters)["rows"]]


def test_the_store_is_counted(client: TestClient, root: Path) -> None:
    about = client.get("/api/v1/store").json()
    assert about["root"] == str(root) and about["version"] and not about["read_only"]
    assert (about["total"], about["by_status"]) == (5, {"completed": 5})
    assert about["projects"] == [{"name": "default", "count": 3}, {"name": "digits", "count": 2}]


def test_the_newest_come_first_and_archived_ones_only_if_asked(client: TestClient) -> None:
    found = page(client)
    assert (found["total"], [row["name"] for row in found["rows"]]) == (4, ["none", "gan", "vae two", "vae"])
    assert ids(client, archived=True) == [5, 4, 3, 2, 1]
    assert ids(client, project="digits") == [2, 1]
    assert set(found["rows"][0]) == {
        "experiment_id", "uid", "name", "status", "project", "created_ms", "updated_ms", "duration_s", "damage", "tags",
        "progress", "values",
    }  # fmt: skip
    assert found["rows"][2]["tags"] == ["mnist", "good"] and found["rows"][2]["progress"] is None


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("created_at", [1, 2, 3, 4, 5]),
        ("-created_at", [5, 4, 3, 2, 1]),
        ("experiment_id", [1, 2, 3, 4, 5]),
        ("config.lr", [3, 2, 1, 4, 5]),
        ("-config.lr", [4, 1, 2, 3, 5]),
        ("config.odd", [1, 4, 2, 3, 5]),  # numbers, text, None, and what is not there
        ("-config.odd", [4, 1, 2, 3, 5]),
        ("config.model,-config.lr", [4, 3, 1, 2, 5]),
        ("metrics.loss", [5, 1, 3, 2, 4]),  # NaN, then none at all
        ("-metrics.loss", [3, 1, 5, 2, 4]),
        ("metrics.loss.min", [5, 2, 1, 3, 4]),
        ("-metrics.loss@val.max", [5, 2, 1, 3, 4]),
        ("-metrics.loss.count", [1, 2, 5, 3, 4]),
        ("name", [3, 4, 5, 1, 2]),
        ("config.nowhere", [5, 4, 3, 2, 1]),
    ],
)
def test_rows_are_sorted_and_what_is_not_there_comes_last(client: TestClient, sort: str, order: list[int]) -> None:
    assert ids(client, sort=sort, archived=True) == order
    assert ids(client, sort=sort, archived=True, offset=1, limit=3) == order[1:4]


def test_values_stand_in_the_order_of_the_columns(client: TestClient) -> None:
    columns = ["metrics.loss", "config.lr", "metrics.loss@val.min", "tags", "metrics.loss.count", "config.odd"]
    found = page(client, columns=",".join([*columns, "git_dirty"]), archived=True, sort="created_at")
    values = [row["values"] for row in found["rows"]]
    assert [row[:6] for row in values] == [
        [2.0, 0.1, -3.0, ["mnist"], 3, 2],
        ["NaN", 0.01, -0.5, ["mnist", "good"], 2, "ten"],
        ["Infinity", 0.001, "-Infinity", [], 1, None],
        [None, 1, None, ["archived"], None, 10],
        [0.25, None, -0.25, ["mnist"], 1, None],
    ]
    named = page(client, columns='["metrics.m/odd name", "config.warm-up"]', sort="created_at")["rows"]
    assert [row["values"] for row in named][2] == [1.0, 3]


def test_what_no_column_is_called_is_refused(client: TestClient) -> None:
    for parameters in (
        {"columns": "lr"},
        {"sort": "-lr"},
        {"columns": "config."},
        {"columns": '["a", 1]'},
        {"columns": "["},
    ):
        answer = client.get("/api/v1/experiments", params=parameters)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input"), parameters
    for parameters in (
        {"limit": -1},
        {"limit": 10_000},
        {"offset": -1},
        {"cursor": "?"},
        {"sort": ",".join(["name"] * 9)},
    ):
        assert client.get("/api/v1/experiments", params=parameters).status_code == 422, parameters


def test_a_query_filters_and_an_error_names_its_character(client: TestClient) -> None:
    assert ids(client, q="config.lr <= 0.01 and metrics['loss@val'].min < 0") == [3, 2]
    assert ids(client, q="  ") == ids(client)
    answer = client.get("/api/v1/experiments", params={"q": "config.lr <= 0.01 and nope == 1"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["position"]) == (400, "bad_query", 22)
    assert "\n" not in error["message"]
    assert client.get("/api/v1/check", params={"q": "config.lr < 1"}).status_code == 204
    assert client.get("/api/v1/check", params={"q": "config.lr <"}).json()["error"]["position"] is not None


def test_pages_by_offset_and_by_cursor_hold_everything_once(serving: Serving, own_root: Path) -> None:
    client = serving(own_root)
    assert ids(client, offset=1, limit=2) == [3, 2]
    assert (page(client, offset=100)["rows"], page(client, offset=100)["next"]) == ([], None)
    assert page(client, offset=2**63 - 1)["rows"] == []
    assert client.get("/api/v1/experiments", params={"offset": 10**30}).status_code == 422
    assert (page(client, limit=0)["rows"], page(client, limit=0)["total"]) == ([], 4)
    seen, cursor = [], ""
    while cursor is not None:
        found = page(client, limit=2, cursor=cursor, sort="-created_at")
        seen += [row["experiment_id"] for row in found["rows"]]
        if not cursor:  # one that comes meanwhile moves the rows, not the cursor
            with Experiment(name="new", root_dir=own_root, capture_console=False, system_metrics_s=0):
                pass
        cursor = found["next"]
    assert seen == ["exp_005", "exp_003", "exp_002", "exp_001"]


def test_the_columns_that_there_are(client: TestClient) -> None:
    answer = client.get("/api/v1/columns").json()
    columns = {column["id"]: (column["kind"], column["group"], column["count"]) for column in answer["columns"]}
    assert not answer["truncated"]
    assert columns["created_at"] == ("time", "field", 5)
    assert columns["config.lr"] == ("number", "config", 4)
    assert columns["config.model"] == ("text", "config", 4)
    assert columns["config.big"] == ("bool", "config", 2)
    assert columns["config.odd"] == ("mixed", "config", 4)
    assert columns["metrics.loss"] == ("metrics", "metrics", 4)
    assert columns["metrics.loss@val"] == ("metrics", "metrics", 4)
    assert columns["metrics.m/odd name"] == ("metrics", "metrics", 5)
    found = client.get("/api/v1/columns", params={"search": "LOSS"}).json()["columns"]
    assert [column["id"] for column in found] == ["metrics.loss", "metrics.loss@val"]
    few = client.get("/api/v1/columns", params={"limit": 1}).json()
    assert few["truncated"] and "config.big" in {column["id"] for column in few["columns"]}
    for column in columns:  # each of them can be shown, and sorted by
        assert page(client, columns=f'["{column}"]', sort=f'["-{column}"]')["total"] == 4


def test_groups_have_means_of_what_is_finite(client: TestClient) -> None:
    parameters = {"by": "config.model", "columns": "metrics.loss,config.lr", "archived": True}
    groups = client.get("/api/v1/experiments/groups", params=parameters).json()["groups"]
    assert [(group["key"], group["count"], group["ids"]) for group in groups] == [
        (["gan"], 2, ["exp_004", "exp_003"]),
        (["vae"], 2, ["exp_002", "exp_001"]),
        ([None], 1, ["exp_005"]),
    ]
    assert groups[0]["statistics"][0] is None
    assert groups[1]["statistics"][0] == {"mean": 2.0, "std": None, "n": 1, "min": 2.0, "max": 2.0}
    rate = groups[1]["statistics"][1]
    assert (rate["n"], rate["min"], rate["max"]) == (2, 0.01, 0.1)
    assert rate["mean"] == pytest.approx(0.055) and rate["std"] == pytest.approx(0.0636396)
    assert client.get("/api/v1/experiments/groups", params={"by": "config.nope"}).status_code == 422


def test_an_experiment_that_failed_adds_no_metric_to_its_group(serving: Serving, own_root: Path) -> None:
    with pytest.raises(ValueError), Experiment(name="f", root_dir=own_root, config={"model": "vae"}) as exp:
        exp.log_metric("loss", 100.0)
        raise ValueError
    parameters = {"by": "config.model", "columns": "metrics.loss", "q": "config.model == 'vae'"}
    (group,) = serving(own_root).get("/api/v1/experiments/groups", params=parameters).json()["groups"]
    assert (group["count"], group["statistics"][0]["max"]) == (3, 2.0)


def test_sparklines_go_from_first_to_last(client: TestClient) -> None:
    parameters = {"metric": "loss", "ids": "exp_001,exp_003,exp_004,exp_099"}
    answer = client.get("/api/v1/sparklines", params=parameters).json()
    assert answer == {
        "metric": "loss",
        "lines": {"exp_001": [3.0, 1.0, 2.0], "exp_003": ["Infinity"]},
        "missing": ["exp_099"],
    }
    assert client.get("/api/v1/sparklines", params={**parameters, "context": "val"}).json()["lines"]["exp_001"] == [
        -3,
        -1,
        -2,
    ]
    assert (
        client.get("/api/v1/sparklines", params={**parameters, "ids": ",".join(map(str, range(1001)))}).status_code
        == 422
    )


def test_sparklines_of_others_come_though_one_cannot_be_read(serving: Serving, own_root: Path) -> None:
    client = serving(own_root)
    assert client.get("/api/v1/store").json()["total"] == 5
    folder = next(own_root.glob("exp_001*"))
    for path in [*folder.glob("logs/*"), folder / "metadata.json"]:
        path.unlink()
    answer = client.get("/api/v1/sparklines", params={"metric": "loss", "ids": "exp_001,exp_003"})
    assert (answer.status_code, answer.json()["lines"]) == (200, {"exp_003": ["Infinity"]})
    assert answer.json()["missing"] == ["exp_001"]


def test_how_far_one_is_that_runs(serving: Serving, tmp_path: Path) -> None:
    exp = Experiment(name="live", root_dir=tmp_path, capture_console=False, system_metrics_s=0)
    with exp:
        client = serving(tmp_path)
        assert page(client)["rows"][0]["progress"] is None
        exp.log_metric("loss", 1.0, step=41, epoch=3)
        (row,) = page(client, columns="metrics.loss")["rows"]
        assert (row["status"], row["progress"], row["values"]) == ("running", {"step": 41, "epoch": 3}, [1.0])


def test_completion_offers_what_is_there(client: TestClient) -> None:
    def texts(q: str, at: int | None = None) -> list[str]:
        parameters = {"q": q} if at is None else {"q": q, "at": at}
        return [option["text"] for option in client.get("/api/v1/complete", params=parameters).json()["options"]]

    assert texts("config.l") == ["config.lr", "config.model"]
    assert texts("status == ")[:2] == ["'pending'", "'running'"]
    answer = client.get("/api/v1/complete", params={"q": "config.xyz > 1", "at": 8}).json()
    assert (answer["from"], answer["to"]) == (0, 10)


def test_a_root_that_is_not_there_yet_is_empty_and_then_is_not(serving: Serving, tmp_path: Path) -> None:
    root = tmp_path / "later"
    client = serving(root)
    assert client.get("/api/v1/store").json()["total"] == 0
    assert page(client) == {"total": 0, "version": "", "rows": [], "next": None}
    assert client.get("/api/v1/columns").json() == {"columns": [], "truncated": False}
    assert client.get("/api/v1/complete").json() == {"from": 0, "to": 0, "options": []}
    assert client.get("/api/v1/experiments/groups", params={"by": "name"}).json() == {"version": "", "groups": []}
    assert client.get("/api/v1/check", params={"q": "x"}).status_code == 204
    assert not root.exists()
    with Experiment(name="first", root_dir=root, capture_console=False, system_metrics_s=0):
        assert page(client)["total"] == 1
    assert page(client)["rows"][0]["status"] == "completed"


def test_a_read_only_root_is_shown(serving: Serving, own_root: Path, read_only: Callable[[Path], Path]) -> None:
    client = serving(read_only(own_root))
    assert client.get("/api/v1/store").json()["read_only"]
    assert ids(client, sort="config.lr") == [3, 2, 1, 5]
    answer = client.post("/api/v1/experiments/edit", json={"ids": ["exp_001"], "note": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "read_only")


def test_an_edit_is_seen_where_nothing_can_be_written(
    serving: Serving, own_root: Path, read_only: Callable[[Path], Path]
) -> None:
    ExperimentManager(own_root).list_rows()
    client = serving(read_only(own_root))
    assert ids(client, q="'seen' in tags") == []
    version = client.get("/api/v1/store").json()["version"]
    client.app.state.store._copy_again = 0.0  # at once
    ExperimentManager(own_root).add_tags("exp_002", "seen")
    assert ids(client, q="'seen' in tags") == [2]
    assert client.get("/api/v1/store").json()["version"] != version


def test_the_page_and_the_manager_agree(client: TestClient, root: Path) -> None:
    query = "metrics.loss.min < 1 or 'good' in tags"
    frame = ExperimentManager(root).search_experiments(query)
    assert [f"exp_{number:03d}" for number in ids(client, q=query)] == frame["experiment_id"].tolist()


def test_the_first_rows_are_the_same_before_the_catalog_is_opened(serving: Serving, own_root: Path) -> None:
    ExperimentManager(own_root).list_rows()
    client = serving(own_root)
    store = client.app.state.store
    first = page(client, limit=3)
    assert store._manager is None and store.wanted.is_set()
    assert page(client, columns="name", limit=0)["total"] == 4
    assert store._manager is not None
    assert page(client, limit=3) == first
    assert first["next"] is not None
    assert page(client, limit=3, cursor=first["next"])["rows"][0]["experiment_id"] == "exp_001"
    for parameters in (
        {"offset": 1},
        {"archived": True},
        {"project": "digits"},
        {"sort": "name"},
        {"q": "config.lr < 1"},
    ):
        assert page(serving(own_root), **parameters) == page(client, **parameters)


def test_a_first_page_tells_what_was_recorded_since_the_catalog_was_written(serving: Serving, own_root: Path) -> None:
    ExperimentManager(own_root).list_rows()
    with Experiment(name="new", root_dir=own_root, capture_console=False, system_metrics_s=0):
        assert page(serving(own_root))["rows"][0]["status"] == "running"
    assert page(serving(own_root))["rows"][0]["status"] == "completed"
