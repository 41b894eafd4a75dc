"""Points over HTTP: the bytes decode to what was logged, an unchanged chart costs nothing, trouble is told."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from frameworm.experiment import Experiment
from frameworm.experiment.server.delivery import POINTS
from frameworm.experiment.server.store import Answers
from frameworm.experiment.storage.folder import CATALOG_NAME

QUIET = {"capture_console": False, "system_metrics_s": 0}


def decode(content: bytes, own: int) -> tuple[dict, list[np.ndarray]]:
    """Return header and arrays (1 + own, n), x first, as a client lays them on the bytes."""
    assert content[:4] == b"FWP2"
    size = int.from_bytes(content[4:8], "little")
    assert (8 + size) % 8 == 0
    header = json.loads(content[8 : 8 + size])
    arrays = []
    at = 0
    for one in header["series"]:
        n, x_offset = one["n"], one["x_offset"]
        if x_offset == at:
            at += 8 * n
        assert x_offset < at or n == 0
        assert one["offset"] == at
        x = np.frombuffer(content, "<f8", n, 8 + size + x_offset)
        rest = np.frombuffer(content, "<f8", own * n, 8 + size + at).reshape(own, n)
        arrays.append(np.vstack([x, rest]))
        at += rest.nbytes
    assert 8 + size + at == len(content)
    return header, arrays


def ask(client, path="points", **params):
    params = {key.rstrip("_"): value for key, value in params.items()}
    answer = client.get(f"/api/v1/{path}", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == POINTS
    return decode(answer.content, 4 if path == "bands" or params.get("times") else 3)


def test_points_of_several_experiments_come_in_one_answer(client):
    header, arrays = ask(client, metric="loss", ids="exp_001,exp_002,exp_004,exp_999,exp_003", times=True)
    assert [one["id"] for one in header["series"]] == ["exp_001", "exp_002", "exp_003"]
    assert header["missing"] == ["exp_004", "exp_999"] and header["x"] == "step" and "damaged" not in header
    x, low, high, last, time_ms = arrays[0]
    assert x.tolist() == [0, 1, 2] and low.tolist() == high.tolist() == last.tolist() == [3.0, 1.0, 2.0]
    assert (time_ms > 1e12).all()
    assert header["series"][0] | {"offset": 0} == {
        "id": "exp_001",
        "metric": "loss",
        "context": "train",
        "n": 3,
        "count": 3,
        "exact": True,
        "x_offset": 0,
        "offset": 0,
    }
    assert np.isnan(arrays[1][1:4, 1]).all()
    assert arrays[2][1:4, 0].tolist() == [math.inf] * 3


def test_lines_of_the_same_x_share_it(client, tmp_path):
    every = ["loss", "loss@val"]
    header, arrays = ask(client, metric=every, ids="exp_001")
    assert [one["x_offset"] for one in header["series"]] == [0, 0]
    for number, metric in enumerate(every):
        np.testing.assert_array_equal(arrays[number], ask(client, metric=metric, ids="exp_001")[1][0])
    of_other_x = ask(client, metric="loss", ids="exp_001,exp_002")[0]["series"]
    assert of_other_x[0]["x_offset"] != of_other_x[1]["x_offset"]


def test_contexts_are_chosen_by_name(client):
    header, arrays = ask(client, metric="loss", ids="exp_001", context="*")
    assert [one["context"] for one in header["series"]] == ["train", "val"]
    assert arrays[1][3].tolist() == [-3.0, -1.0, -2.0]
    assert ask(client, metric="loss", ids="exp_001", context="val")[1][0][3].tolist() == [-3.0, -1.0, -2.0]
    assert ask(client, metric="loss@val", ids="exp_001")[1][0][3].tolist() == [-3.0, -1.0, -2.0]
    assert ask(client, metric="loss", ids="exp_001", context="test")[0]["missing"] == ["exp_001"]
    assert ask(client, metric="m/odd name", ids='["exp_005"]')[1][0][3].tolist() == [1.0]


def test_several_metrics_come_in_one_answer(client):
    header, arrays = ask(client, metric=["loss", "loss@val", "m/odd name"], ids="exp_001,exp_005,exp_999")
    assert header["metrics"] == ["loss", "loss@val", "m/odd name"] and header["missing"] == ["exp_999"]
    found = [(one["id"], one["metric"]) for one in header["series"]]
    assert found[:2] == [("exp_001", "loss"), ("exp_001", "loss@val")] and ("exp_005", "m/odd name") in found
    for (one, metric), five in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(five, ask(client, metric=metric, ids=one)[1][0])


def test_x_may_be_bounded_and_of_another_kind(client):
    assert ask(client, metric="loss", ids="exp_001", from_="1", to="1.5")[1][0][0].tolist() == [1]
    assert ask(client, metric="loss", ids="exp_001", x="metric:loss@val")[1][0][0].tolist() == [-3.0, -1.0, -2.0]
    assert ask(client, metric="loss", ids="exp_001", x="metric:loss@val")[0]["series"][0]["path"] is True
    groups = json.dumps([["exp_001"]])
    assert ask(client, "bands", metric="loss", groups=groups, x="metric:loss@val")[1][0][0].tolist() == [-3, -2, -1]
    seconds = ask(client, metric="loss", ids="exp_001", x="relative")[1][0][0]
    assert (seconds >= 0).all() and (seconds < 60).all()
    assert ask(client, metric="loss", ids="exp_001", x="epoch")[0]["series"][0]["n"] == 0


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"x": "steps"}, "allowed is step, epoch"),
        ({"from": "abc"}, "it is a number"),
        ({"from": "nan"}, "it is a number"),
        ({"n": "1"}, "n:"),
        ({"n": "1000000"}, "n:"),
        ({"metric": ""}, "metric.0:"),
        ({"metric": [str(n) for n in range(21)]}, "at most 20"),
        ({"ids": ",".join(f"exp_{n}" for n in range(3000))}, "at most 1,000"),
        ({"ids": "[1]"}, "no list of texts"),
    ],
)
def test_what_is_not_allowed_is_told(client, params, says):
    answer = client.get("/api/v1/points", params={"metric": "loss", "ids": "exp_001"} | params)
    assert answer.status_code == 422 and says in answer.json()["error"]["message"]


def test_an_unchanged_chart_is_not_read_again(own_root, serving, monkeypatch):
    client = serving(own_root)
    params = {"metric": "loss", "ids": "exp_001,exp_002,exp_999"}
    first = client.get("/api/v1/points", params=params)
    assert first.content == client.get("/api/v1/points", params=params).content
    known = {"if-none-match": first.headers["etag"]}
    with monkeypatch.context() as patch:
        patch.setattr("frameworm.experiment.query.panels.read_series", None)  # whoever reads fails
        assert client.get("/api/v1/points", params=params, headers=known).status_code == 304
        other = client.get("/api/v1/points", params=params)  # one who has not asked before
        assert other.content == first.content and other.headers["etag"] == first.headers["etag"]
    assert client.get("/api/v1/points", params=params | {"n": 500}, headers=known).status_code == 200
    with Experiment.resume("exp_001", own_root, **QUIET) as exp:
        exp.log_metric("loss", 0.125, step=3)
    again = client.get("/api/v1/points", params=params, headers=known)
    assert again.status_code == 200
    assert client.get("/api/v1/points", params=params).content == again.content
    assert decode(again.content, 3)[1][0][3].tolist() == [3.0, 1.0, 2.0, 0.125]


def test_an_answer_tells_as_of_which_version_it_is(own_root, serving):
    (own_root / CATALOG_NAME).unlink(missing_ok=True)
    client, asked = serving(own_root), {"metric": "loss", "ids": "exp_001,exp_002"}
    assert client.get("/api/v1/points", params=asked).headers["frameworm-version"] == ""
    version = client.get("/api/v1/store").json()["version"]
    answers = [client.get("/api/v1/points", params=asked, headers=more) for more in ({}, {"if-none-match": "*"})]
    assert [one.headers["frameworm-version"] for one in answers] == [version] * 2
    Experiment("new", root_dir=own_root, **QUIET).start().end()
    assert client.get("/api/v1/store").json()["version"] != version
    again = client.get("/api/v1/points", params=asked, headers={"if-none-match": answers[0].headers["etag"]})
    assert again.status_code == 304
    assert again.headers["frameworm-version"] == client.get("/api/v1/store").json()["version"]


def test_answers_are_kept_up_to_so_many_bytes():
    answers = Answers(100)
    for question in "abc":
        answers.keep(question, f"tag of {question}", bytes(40))
    assert answers.get("a") is None and answers.get("c") == ("tag of c", bytes(40))
    assert answers.get("b") is not None  # asked for again
    answers.keep("c", "a newer tag", bytes(50))
    assert answers.get("c") == ("a newer tag", bytes(50)) and answers.get("b") is not None
    answers.keep("d", "tag of d", bytes(101))
    assert [answers.get(question) for question in "abcd"] == [None] * 4


def test_a_running_experiment_is_told_point_by_point(tmp_path, serving):
    client = serving(tmp_path)
    with Experiment("live", root_dir=tmp_path, **QUIET) as exp:
        for step in range(3):
            exp.log_metric("loss", step / 2, step=step)
            _, (arrays,) = ask(client, metric="loss", ids="exp_001")
            assert arrays[3].tolist() == [one / 2 for one in range(step + 1)]
    assert ask(client, metric="loss", ids="exp_001")[0]["series"][0]["count"] == 3


def test_forks_and_rewinds_show_the_whole_line(tmp_path, serving):
    with Experiment("base", root_dir=tmp_path, **QUIET) as base:
        for step in range(10):
            base.log_metric("loss", float(step), step=step)
    with Experiment.fork("exp_001", tmp_path, step=4, **QUIET) as fork:
        for step in range(5, 8):
            fork.log_metric("loss", 100.0 + step, step=step)
    with Experiment.resume("exp_001", tmp_path, step=1, **QUIET) as again:
        again.log_metric("loss", -2.0, step=2)
    client = serving(tmp_path)
    _, (rewound, forked) = ask(client, metric="loss", ids="exp_001,exp_002")
    assert rewound[3].tolist() == [0, 1, -2]
    assert forked[3].tolist() == [0, 1, 2, 3, 4, 105, 106, 107]
    _, (relative,) = ask(client, metric="loss", ids="exp_002", x="relative")
    assert (relative[0] >= 0).all()
    tag = client.get("/api/v1/points", params={"metric": "loss", "ids": "exp_002"}).headers["etag"]
    (tmp_path / "exp_001_base").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    after = client.get("/api/v1/points", params={"metric": "loss", "ids": "exp_002"}, headers={"if-none-match": tag})
    assert decode(after.content, 3)[1][0][3].tolist() == [105, 106, 107]


@pytest.mark.filterwarnings("ignore::frameworm.experiment.errors.FramewormWarning")
def test_what_is_damaged_is_told_and_the_others_are_shown(own_root, serving):
    (segment,) = (own_root / "exp_001_vae" / "logs").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[16:60] = bytes(44)  # of the first columns
    segment.write_bytes(data)
    header, _ = ask(serving(own_root), metric="loss", ids="exp_001,exp_005")
    assert list(header["damaged"]) == ["exp_001"] and "damaged at byte" in header["damaged"]["exp_001"]
    assert [one["id"] for one in header["series"]] == ["exp_005"]


def test_steps_past_2_to_the_53_are_marked(tmp_path, serving):
    with Experiment("far", root_dir=tmp_path, **QUIET) as exp:
        for step in (2**60, 2**60 + 1):
            exp.log_metric("loss", 1.0, step=step)
    client = serving(tmp_path)
    header, _ = ask(client, metric="loss", ids="exp_001")
    assert header["series"][0]["rounded"] is True
    assert ask(client, metric="loss", ids="exp_001", from_=str(2**60 + 1))[0]["series"][0]["n"] == 1


def test_bands_of_groups(client):
    groups = json.dumps([["exp_001", "exp_002"], ["exp_003"], ["exp_004", "exp_999"], ["exp_005", "exp_001"]])
    header, arrays = ask(client, "bands", metric="loss", groups=groups, error="std")
    assert [(one["group"], one["members"]) for one in header["series"]] == [(0, 2), (1, 1), (3, 2)]
    assert header["missing"] == ["exp_004", "exp_999"]
    x, low, high, mean, members = arrays[0]
    assert x.tolist() == [0, 1, 2] and mean.tolist() == [1.75, 1.0, 2.0] and members.tolist() == [2, 1, 1]
    np.testing.assert_allclose(high - low, [2 * np.std([3.0, 0.5], ddof=1), math.nan, math.nan])
    assert arrays[1].shape == (5, 0)
    for wrong in ("", "{}", "[1]", '[["a", 1]]', "[" * 100_000):
        answer = client.get("/api/v1/bands", params={"metric": "loss", "groups": wrong[:5000]})
        assert answer.status_code == 422


def test_what_a_killed_process_logged_is_shown(tmp_path, serving):
    program = (
        "import os, signal, sys\n"
        "from frameworm.experiment import Experiment\n"
        "exp = Experiment('k', root_dir=sys.argv[1], capture_console=False, system_metrics_s=0)\n"
        "exp.start()\n"
        "for step in range(5000):\n"
        "    exp.log_metric('loss', step * 0.5, step=step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60)
    header, (arrays,) = ask(serving(tmp_path), metric="loss", ids="exp_001", n=100)
    assert header["series"][0]["count"] == 5000 and len(arrays[0]) <= 100
    assert arrays[2].max() == 2499.5 and arrays[1].min() == 0.0


def test_charts_asked_for_again_and_again_open_no_more_files(client):
    ids = "exp_001,exp_002,exp_003,exp_005"
    ask(client, metric="loss", ids=ids)
    before = open_files()
    for n in (800, 700, 600):
        ask(client, metric="loss", ids=ids, n=n)
    assert open_files() <= before


@pytest.mark.parametrize(("limit", "most"), [("_FILES", 2), ("_BYTES", 0), ("_READERS", 1)])
def test_readers_are_let_go_where_they_hold_too_much(own_root, serving, monkeypatch, limit, most):
    monkeypatch.setattr(f"frameworm.experiment.server.store.{limit}", most)
    client = serving(own_root)
    ids = "exp_001,exp_002,exp_003,exp_005"
    for n in (800, 700):  # an answer that is kept would not be read again
        assert len(ask(client, metric="loss", ids=ids, n=n)[1]) == 4
    held = client.app.state.store._readers
    assert 1 <= len(held) <= max(1, most)
    client.app.state.store.manager.delete_experiment(next(iter(held)))
    assert len(ask(client, metric="loss", ids=ids)[1]) == 3


def test_a_chart_of_many_looks_up_their_folders_at_once(root, serving, monkeypatch):
    ids = "exp_001,exp_002,exp_003,exp_005"
    known = serving(root).get("/api/v1/compare", params={"ids": ids}).json()["experiments"]
    client = serving(root)
    store, questions = client.app.state.store, []
    monkeypatch.setattr(store, "ask", lambda question, ask=store.ask: questions.append(question) or ask(question))
    assert len(ask(client, metric="loss", ids=ids)[1]) == 4
    assert not questions  # the names of folders tell
    assert len(ask(client, metric="loss", ids=",".join(one["uid"] for one in known))[1]) == 4
    assert len(questions) == 1


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(os.listdir(folder)) if folder.exists() else 0
