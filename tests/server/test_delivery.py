"""How answers leave."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from frameworm.experiment import errors
from frameworm.experiment.server.delivery import Json, answer_for
from frameworm.experiment.server.store import ReadOnlyError

Serving = Callable[..., TestClient]


def test_what_json_has_no_numbers_for_is_text() -> None:
    data = {"a": [math.nan, math.inf, -math.inf, 1.5, None], "b": ({"c": math.nan},), "d": "é\ud800"}
    assert json.loads(Json(data).body) == {
        "a": ["NaN", "Infinity", "-Infinity", 1.5, None],
        "b": [{"c": "NaN"}],
        "d": "é\ud800",
    }


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.ExperimentNotFoundError("x"), 404, "not_found"),
        (errors.MetricNotFoundError("x"), 404, "not_found"),
        (errors.ArtifactNotFoundError("x"), 404, "not_found"),
        (errors.StoreNotFoundError("x"), 404, "not_found"),
        (ReadOnlyError("x"), 403, "read_only"),
        (errors.StateError("x"), 409, "conflict"),
        (errors.ConfigError("x"), 422, "bad_input"),
        (errors.StoreVersionError("x"), 503, "internal"),
        (errors.SegmentDamageError("p", 1, "x"), 409, "damaged"),
    ],
)
def test_each_of_our_errors_has_its_answer(error: errors.ExperimentError, status: int, code: str) -> None:
    answer = answer_for(error)
    assert answer.status_code == status
    assert json.loads(answer.body)["error"] == {"code": code, "message": str(error), "position": None}


def test_a_query_error_points_without_drawing() -> None:
    answer = answer_for(errors.QueryError("wrong", "a = 1", 2))
    assert answer.status_code == 400
    assert json.loads(answer.body)["error"] == {"code": "bad_query", "message": "wrong", "position": 2}


def test_what_has_not_changed_is_not_sent_again(serving: Serving, own_root: Path) -> None:
    client = serving(own_root)
    first = client.get("/api/v1/experiments")
    tag = {"if-none-match": first.headers["etag"]}
    assert first.headers["cache-control"] == "no-cache"
    unchanged = client.get("/api/v1/experiments", headers=tag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    client.post("/api/v1/experiments/edit", json={"ids": ["exp_001"], "add_tags": ["new"]})
    assert client.get("/api/v1/experiments", headers=tag).status_code == 200


def test_long_answers_are_compressed_if_asked(client: TestClient) -> None:
    plain = client.get("/api/v1/experiments", headers={"accept-encoding": "identity"})
    with client.stream("GET", "/api/v1/experiments", headers={"accept-encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip" and int(packed.headers["content-length"]) == len(raw)
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert packed.headers["etag"] == plain.headers["etag"]
    short = client.get("/api/v1/check", params={"q": "nope"}, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in short.headers
