"""What requests bring: bounded, told by a code what is wrong, and good ids answered though others are bad."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from frameworm.experiment.errors import ExperimentNotFoundError, InputError
from frameworm.experiment.server.parameters import MOST_IDS, groups_in, ids_in, names_in
from frameworm.experiment.storage.folder import find_folder, not_found, number_of

API = "/api/v1"
LONG = "9" * 4400


@pytest.mark.parametrize(
    "text",
    ["[" * 3000, "[" * 100_000 + "]" * 100_000, '["\\ud800"]', '["a", "\\udfff"]', "[1]", "[null]", '["a"', "[[]]"],
)
def test_what_begins_like_a_list_and_is_none_is_told(text: str) -> None:
    with pytest.raises(InputError):
        names_in(text)
    with pytest.raises(InputError):
        groups_in(text if text != "[[]]" else "[[1]]")


def test_lists_are_taken_by_commas_and_as_json() -> None:
    assert names_in("a,b,,a") == names_in('["a","b","a"]') == ["a", "b", "a"]
    assert ids_in("a,b,,a") == ["a", "b"]
    assert groups_in('[["a","b"],[],["a"]]') == [["a", "b"], [], ["a"]]
    for text in ("{}", '"a"', "1", "null", "", "NaN"):
        with pytest.raises(InputError):
            groups_in(text)


def test_a_thousand_ids_are_taken_and_no_more() -> None:
    many = [f"exp_{number}" for number in range(MOST_IDS + 1)]
    assert ids_in(",".join(many[:-1])) == many[:-1] == ids_in(",".join([*many[:-1], many[0]]))
    for refused in (lambda: ids_in(",".join(many)), lambda: groups_in(json.dumps([many[:600], many[600:]]))):
        with pytest.raises(InputError, match="at most 1,000"):
            refused()


def test_every_whole_number_is_bounded_by_64_bits(client: TestClient) -> None:
    document = client.app.openapi()  # type: ignore[attr-defined]
    found = 0
    for path, methods in document["paths"].items():
        for parameter in (one for operation in methods.values() for one in operation.get("parameters", ())):
            schema = parameter["schema"]
            for kind in schema.get("anyOf", [schema]):
                if kind.get("type") == "integer":
                    found += 1
                    assert -(2**63) <= kind["minimum"] <= kind["maximum"] < 2**63, (path, parameter["name"])
    assert found > 15


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("alerts", {"since": 2**63}),
        ("alerts", {"since": LONG}),
        ("experiments", {"offset": 2**63}),
        ("experiments", {"columns": "[" * 3000}),
        ("experiments", {"columns": '["\\ud800"]'}),
        ("experiments", {"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjE"}),
        ("experiments", {"cursor": "4" * 4400}),
        ("experiments", {"q": "(" * 3000}),
        ("experiments", {"q": "config.lr == 0x" + "f" * 5000}),
        ("experiments", {"q": "config.lr in [1, -0b" + "1" * 9000 + "]"}),
        ("experiments", {"sort": "name," * 3000}),
        ("experiments", {"columns": ",".join(f"config.c{n}" for n in range(3000))}),
        ("experiments", {"q": "a" + ".b" * 3000 + " == 1"}),
        ("experiments/groups", {"by": "[" * 3000}),
        ("importance", {"metric": "loss", "at": f"step={LONG}"}),
        ("importance", {"metric": "loss", "at": f"step=-{LONG}"}),
        ("importance", {"metric": "loss", "at": f"step={2**63}"}),
        ("points", {"metric": "loss", "ids": "[" * 3000}),
        ("points", {"metric": "loss", "ids": "exp_001", "x": "metric:"}),
        ("points", {"metric": "loss", "ids": "exp_001", "from": "0x" + LONG}),
        ("bands", {"metric": "loss", "groups": "[" * 3000}),
        ("bands", {"metric": "loss", "groups": '[["\\ud800"]]'}),
        ("experiments/exp_001/console", {"from": 2**63}),
        ("experiments/exp_001/console", {"from": f"-{LONG}"}),
        ("experiments/exp_001/console/search", {"q": "a", "from": 2**64}),
        ("experiments/exp_001/media/items", {"name": "x", "from": LONG}),
        ("experiments/exp_001/artifacts/content", {"name": "x", "version": 2**63}),
        ("experiments/exp_" + "9" * 25, {}),
        ("experiments/exp_" + LONG, {}),
        ("experiments/exp_\u0660\u0660\u0661", {}),
        ("experiments/" + "a" * 300, {}),
        ("experiments/%00/metrics", {}),
        ("experiments/%ED%A0%80/lineage", {}),
        ("a" * 300, {}),
    ],
)
def test_no_input_is_a_fault_of_the_server(client: TestClient, path: str, params: dict[str, Any]) -> None:
    answer = client.get(f"{API}/{path}", params=params)
    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert answer.json()["error"]["code"] in ("bad_input", "bad_query", "not_found")
    assert len(answer.text) < 9_000


@pytest.mark.parametrize(
    "path", ["/" + "a" * 300, "/a/" + "b" * 5000, "/%00", "/%ED%A0%80", "/experiments/" + "a" * 300]
)
def test_no_address_of_a_page_is_one_either(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (200, 404)


BAD = ["exp_099", "exp_" + "9" * 25, "nobody", "0" * 32]


@pytest.mark.parametrize("bad", [*([one] for one in BAD), BAD])
def test_the_good_ids_are_answered_and_the_bad_ones_named(client: TestClient, bad: list[str]) -> None:
    ids = ",".join([bad[0], "exp_001", *bad[1:], "exp_002"])

    def ask(path: str, **params: str) -> dict[str, Any]:
        answer = client.get(f"{API}/{path}", params={"ids": ids, **params})
        assert answer.status_code == 200, answer.text
        if path == "points":
            length = int.from_bytes(answer.content[4:8], "little")
            return dict(json.loads(answer.content[8 : 8 + length]))
        return dict(answer.json())

    assert [one["experiment_id"] for one in ask("compare")["experiments"]] == ["exp_001", "exp_002"]
    assert list(ask("sparklines", metric="loss")["lines"]) == ["exp_001", "exp_002"]
    assert ask("metrics")["total"] == 2
    assert ask("quantities", columns="name")["ids"] == ["exp_001", "exp_002"]
    assert {one["id"] for one in ask("points", metric="loss")["series"]} == {"exp_001", "exp_002"}
    for path in ("compare", "sparklines", "metrics", "quantities", "points"):
        assert ask(path, metric="loss", columns="name")["missing"] == bad, path


def test_changes_are_made_to_all_or_none_and_the_bad_ids_named(client: TestClient) -> None:
    for path, more in (("edit", {"note": "n"}), ("delete", {}), ("restore", {})):
        answer = client.post(f"{API}/experiments/{path}", json={"ids": ["exp_001", *BAD], **more})
        assert answer.status_code == 404, answer.text
        assert all(f"{one:.80}" in answer.json()["error"]["message"] for one in BAD)
    assert client.get(f"{API}/experiments/exp_001").json()["notes"] == []
    for ids in (["\ud800"], [], [1], [f"exp_{n}" for n in range(1001)]):
        body = json.dumps({"ids": ids, "note": "n"})
        answer = client.post(f"{API}/experiments/edit", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, answer.text


def test_many_unknown_ids_are_told_of_together(client: TestClient) -> None:
    """Looking for the nearest of each among ten thousand takes minutes; the first few are enough."""
    known = [f"exp_{number:03d}" for number in range(10_000)]
    error = not_found(client.app.state.store.root, [f"ecp_{n}" for n in range(1000)] + ["x" * 5000], known)  # type: ignore[attr-defined]
    assert "and 901 others" in str(error) and "did you mean" in str(error) and len(str(error)) < 9_000
    with pytest.raises(ExperimentNotFoundError):
        find_folder(client.app.state.store.root, "exp_" + LONG)  # type: ignore[attr-defined]
    assert number_of("exp_" + "9" * 18) == 10**18 - 1 < 2**63
    assert number_of("exp_" + "9" * 19) is None and number_of("exp_\u0661\u0661\u0661") is None
