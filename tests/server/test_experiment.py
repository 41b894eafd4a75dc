"""One experiment over HTTP: all that is known, its metrics by name, how it was made, what it is related to."""

from __future__ import annotations

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.server.experiment import commit_link

QUIET = {"capture_console": False, "system_metrics_s": 0}
API = "/api/v1"


def get(client, path, **params):
    answer = client.get(API + path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_all_that_is_known_of_an_experiment(client):
    told = get(client, "/experiments/exp_002")
    assert told["experiment_id"] == "exp_002" and told["name"] == "vae two" and told["project"] == "digits"
    assert told["config"] == {"lr": 0.01, "model": "vae", "big": False, "odd": "ten"}
    assert told["status"] == "completed" and told["is_live"] is False
    assert told["forks"] == [] and told["damage"] == [] and told["missing"] is None
    assert told["environment"]["command"] and told["writers"]
    assert get(client, f"/experiments/{told['uid']}") == told


def test_who_is_not_there_is_told_with_the_nearest(client):
    answer = client.get(f"{API}/experiments/exp_006")
    assert answer.status_code == 404 and "did you mean" in answer.json()["error"]["message"]
    for path in ("metrics", "console", "artifacts", "provenance", "lineage"):
        assert client.get(f"{API}/experiments/exp_006/{path}").status_code == 404


def test_a_running_experiment_is_live_and_changes(tmp_path, serving):
    client = serving(tmp_path)
    with Experiment("live", root_dir=tmp_path, **QUIET) as exp:
        assert get(client, "/experiments/exp_001")["is_live"] is True
        exp.log_metric("loss", 1.0, step=7)
        assert get(client, "/experiments/exp_001/metrics")["metrics"][0]["last_step"] == 7
        assert get(client, "/experiments/exp_001")["progress"]["step"] == 7
        exp.log_metric("loss", 0.5, step=8)
        assert get(client, "/experiments/exp_001/metrics")["metrics"][0]["last"] == 0.5
    assert get(client, "/experiments/exp_001")["status"] == "completed"


def test_metrics_are_summed_up_and_found_by_name(client):
    told = get(client, "/experiments/exp_001/metrics")
    assert told["total"] == 3
    loss = told["metrics"][0]
    assert (loss["name"], loss["context"], loss["count"], loss["last"], loss["min"], loss["max"], loss["mean"]) == (
        ("loss", "train", 3, 2.0, 1.0, 3.0, 2.0)
    )
    assert loss["last_step"] == 2 and loss["last_epoch"] is None and loss["last_time_ms"] > 1e12
    odd = get(client, "/experiments/exp_001/metrics", search="ODD")
    assert odd["total"] == 1 and odd["metrics"][0]["name"] == "m/odd name"
    page = get(client, "/experiments/exp_001/metrics", offset=1, limit=1)
    assert page["total"] == 3 and [one["context"] for one in page["metrics"]] == ["val"]
    assert get(client, "/experiments/exp_001/metrics", context="val")["total"] == 1
    assert get(client, "/experiments/exp_002/metrics")["metrics"][0]["last"] == "NaN"
    assert get(client, "/experiments/exp_003/metrics")["metrics"][0]["max"] == "Infinity"


def test_summaries_one_by_one_are_those_of_all(tmp_path, serving):
    with Experiment("long", root_dir=tmp_path, **QUIET) as exp:
        for step in range(6_000):
            exp.log_metrics({"a": step / 3, "b": float("nan") if step % 7 else -step}, step=step)
        exp.log_metric("short", 1.0)
    with Experiment.fork("exp_001", tmp_path, step=5_000, **QUIET) as fork:
        fork.log_metric("a", -1.0, step=5_001)
    with Experiment.resume("exp_002", tmp_path, step=4_500, **QUIET) as fork:
        fork.log_metric("short", 2.0, step=9)
        for one in ("exp_001", "exp_002"):
            reader = ExperimentManager(tmp_path).reader(one)
            expected = {(s.name, s.context): repr(s) for s in reader.summaries()}
            assert expected
            assert {key: repr(reader.summary(*key)) for key in expected} == expected


def test_metrics_of_many_are_united(client):
    told = get(client, "/metrics", ids="exp_001,exp_004,exp_999")
    assert told["total"] == 2 and told["missing"] == ["exp_999"]
    loss, odd = told["metrics"]
    assert loss == {"name": "loss", "contexts": ["train", "val"], "experiments": 1, "section": ""}
    assert odd == {"name": "m/odd name", "contexts": ["train"], "experiments": 2, "section": "m"}
    assert get(client, "/metrics", ids="exp_001", search="Odd")["total"] == 1
    assert get(client, "/metrics", ids="exp_001", limit=1)["metrics"] == [loss]
    assert get(client, "/metrics", ids="exp_001", system=True)["total"] == 0
    assert get(client, "/metrics", ids="") == {"total": 0, "metrics": [], "missing": []}


def test_what_the_system_measured_is_listed_apart_and_one_unreadable_hides_no_other(tmp_path, serving):
    for name in ("one", "two"):
        with Experiment(name, root_dir=tmp_path, **QUIET) as exp:
            exp.log_metric("loss", 1.0)
            exp.log_metric("cpu", 0.5, metric_type="system")
            exp.log_metric("cpu", 0.5, metric_type="val")
    client = serving(tmp_path)
    assert [one["contexts"] for one in get(client, "/metrics", ids="exp_001")["metrics"]] == [["val"], ["train"]]
    for path in (tmp_path / "exp_002_two").rglob("*"):
        if path.is_file():
            path.unlink()
    told = get(client, "/metrics", ids="exp_001,exp_002", system=True)
    assert [(one["name"], one["contexts"]) for one in told["metrics"]] == [("cpu", ["system"])]
    assert told["missing"] == ["exp_002"]


def test_provenance_tells_how_it_was_made(own_root, serving):
    folder = own_root / "exp_001_vae" / "provenance"
    told = get(serving(own_root), "/experiments/exp_001/provenance")
    assert told["command"]["command"] and told["command"]["cwd"]
    assert "packages" not in told["environment"] and "command" not in told["environment"]
    assert all(set(one) == {"name", "version", "source"} for one in told["packages"])
    assert told["patch"] is None or "text" in told["patch"]
    (folder / "uncommitted.patch").unlink(missing_ok=True)
    (folder / "uncommitted.patch").symlink_to("/etc/hostname")
    assert get(serving(own_root), "/experiments/exp_001/provenance")["patch"] is None


@pytest.mark.filterwarnings("ignore::frameworm.experiment.errors.FramewormWarning")
def test_lineage_tells_parents_and_children(tmp_path, serving):
    with Experiment("base", root_dir=tmp_path, **QUIET) as base:
        base.log_metric("loss", 1.0, step=0)
        (tmp_path / "model.bin").write_bytes(b"weights")
        base.log_artifact(tmp_path / "model.bin")
    with Experiment.fork("exp_001", tmp_path, step=0, **QUIET):
        pass
    with Experiment("reader", root_dir=tmp_path, **QUIET) as other:
        other.use_artifact("exp_001", "model.bin")
    client = serving(tmp_path)
    told = get(client, "/experiments/exp_001/lineage")
    assert told["parents"] == []
    assert [(one["relation"], one["experiment_id"]) for one in told["children"]] == [
        ("fork", "exp_002"),
        ("artifact", "exp_003"),
    ]
    assert told["children"][0]["step"] == 0
    assert told["children"][1]["artifact"] == "model.bin" and told["children"][1]["name"] == "reader"
    (parent,) = get(client, "/experiments/exp_002/lineage")["parents"]
    assert parent["experiment_id"] == parent["then"] == "exp_001" and parent["status"] == "completed"
    assert get(client, "/experiments/exp_001")["forks"] == ["exp_002"]
    client.app.state.store.manager.delete_experiment("exp_001")
    (parent,) = get(client, "/experiments/exp_002/lineage")["parents"]
    assert parent["then"] == "exp_001" and parent["experiment_id"] is None


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("git@github.com:owner/repo.git", "https://github.com/owner/repo/commit/"),
        ("https://github.com/owner/repo", "https://github.com/owner/repo/commit/"),
        ("https://user:secret@github.com/owner/repo.git", "https://github.com/owner/repo/commit/"),
        ("ssh://git@gitlab.example.org:2222/group/sub/repo.git", "https://gitlab.example.org/group/sub/repo/-/commit/"),
        ("https://bitbucket.org/owner/repo.git", "https://bitbucket.org/owner/repo/commits/"),
        ("javascript:alert(1)//a.b/c", None),
        ("/home/me/repo", None),
        ("file:///home/me/repo.git", None),
        ("https://github.com/owner/../x", None),
        ('https://github.com/o/"><script>', None),
        ("https://[bad", None),
        (None, None),
    ],
)
def test_a_commit_has_a_page_where_its_remote_has(remote, page):
    commit = "0bd04673e001c344371d4909a1a2e3a277c7b950"
    assert commit_link(remote, commit) == (page and page + commit)
    assert commit_link("git@github.com:owner/repo.git", "main") is None
