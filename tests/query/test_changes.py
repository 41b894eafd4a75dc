"""Which recorded facts differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment.model import Artifact, ExperimentInfo
from frameworm.experiment.query.changes import PARTS, Change, changes, same


def info(number: int = 1, **fields: Any) -> ExperimentInfo:
    return ExperimentInfo(f"exp_{number:03d}", "0" * 32, "name", Path("/nowhere"), **fields)


def environment(**facts: Any) -> dict[str, Any]:
    return {"packages": {"numpy": "2.0"}, **facts}


def between(part: str, a: dict[str, Any], b: dict[str, Any]) -> tuple[Change, ...]:
    """Return the changes of one part, and see to it that no other part has any."""
    found = changes(info(1, **a), info(2, **b))
    assert set(found) == set(PARTS)
    assert not [name for name in PARTS if name != part and found[name]]
    return found[part]


def test_equal_experiments_have_no_changes() -> None:
    fields = {"config": {"a": {"b": math.nan}, "c": []}, "environment": environment(gpus=[{"name": "A100"}])}
    assert not any(changes(info(1, **fields), info(2, **fields)).values())


def test_params_are_added_removed_and_changed() -> None:
    found = between("config", {"config": {"t": {"lr": 0.1, "old": None}}}, {"config": {"t": {"lr": 0.2}, "new": [1]}})
    assert found == (
        Change("t.lr", "changed", 0.1, 0.2),
        Change("t.old", "removed", None, None),
        Change("new", "added", None, [1]),
    )


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1.0), (1, True), ("1", 1), (0.0, -0.0), ([1], [1.0]), (None, "null"), ({}, [])]
)
def test_values_of_different_types_are_not_the_same(a: Any, b: Any) -> None:
    assert not same(a, b)
    assert between("config", {"config": {"x": a}}, {"config": {"x": b}}) == (Change("x", "changed", a, b),)


@pytest.mark.parametrize(
    ("a", "b"), [(math.nan, math.nan), ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}]), (math.inf, math.inf)]
)
def test_values_that_are_the_same(a: Any, b: Any) -> None:
    assert same(a, b)


def test_packages_are_compared_by_their_normalized_names_and_sources() -> None:
    a = {
        "packages": {"Foo_Bar": "1", "torch": "2.4", "mine": "0.1"},
        "package_sources": {"mine": {"url": "file:///a", "editable": True}},
    }
    b = {
        "packages": {"foo-bar": "1", "torch": "2.5", "mine": "0.1"},
        "package_sources": {"mine": {"url": "git+x", "vcs": "git", "commit": "c"}},
    }
    found = between("packages", {"environment": a}, {"environment": b})
    assert [change.key for change in found] == ["torch", "mine"]
    assert found[1].b == {"version": "0.1", "url": "git+x", "vcs": "git", "commit": "c"}


@pytest.mark.parametrize(
    ("part", "key", "a", "b"),
    [
        ("interpreter", "python_version", "3.11.7", "3.12.1"),
        ("hardware", "cpu_model", "EPYC", "Xeon"),
        ("hardware", "gpus", [], [{"name": "A100"}]),
        ("platform", "libc", "glibc 2.36", "glibc 2.39"),
        ("platform", "something_new", 1, 2),
        ("platform", "blas.version", {"name": "mkl", "version": "1"}, {"name": "mkl", "version": "2"}),
        ("command", "cwd", "/a", "/b"),
    ],
)
def test_facts_of_the_environment_have_their_part(part: str, key: str, a: Any, b: Any) -> None:
    name = key.partition(".")[0]
    found = between(part, {"environment": environment(**{name: a})}, {"environment": environment(**{name: b})})
    assert [change.key for change in found] == [key]


def test_variables_are_compared_one_by_one() -> None:
    a, b = {"variables": {"OMP_NUM_THREADS": "1", "TZ": "UTC"}}, {"variables": {"TZ": "UTC", "PYTHONHASHSEED": "0"}}
    found = between("variables", {"environment": environment(**a)}, {"environment": environment(**b)})
    assert [(change.key, change.kind) for change in found] == [
        ("OMP_NUM_THREADS", "removed"),
        ("PYTHONHASHSEED", "added"),
    ]


def test_what_says_only_where_or_when_it_ran_is_no_fact() -> None:
    a, b = (
        {"pid": pid, "user": user, "utc_offset_s": pid, "gpus": [{"name": "A100", "uuid": user}]}
        for pid, user in ((1, "x"), (2, "y"))
    )
    assert not any(changes(info(1, environment=environment(**a)), info(2, environment=environment(**b))).values())
    assert not any(changes(info(1, started_ms=1, tags=("a",)), info(2, started_ms=2, description="b")).values())


def test_the_same_command_in_another_checkout_is_the_same_command() -> None:
    def ran(root: str, word: str = "7", executable: str = "/usr/bin/python") -> dict[str, Any]:
        command = [executable, f"{root}/train.py", "--seed", word]
        return {"code": {"root": root}, "environment": environment(command=command, executable=executable)}

    assert between("command", ran("/home/a"), ran("/tmp/worktree")) == ()
    (found,) = between("command", ran("/home/a"), ran("/tmp/worktree", "8"))
    assert (found.key, found.a, found.b) == ("command", ["./train.py", "--seed", "7"], ["./train.py", "--seed", "8"])
    (found,) = between("command", ran("/home/a"), ran("/home/a", executable="/venv/bin/python"))
    assert found.key == "executable"


def test_seeds_and_states_are_compared() -> None:
    a = {"seed": 1, "deterministic": True, "states": {"python": "sha256:a", "numpy": "sha256:b"}, "torch_threads": None}
    b = {"seed": 1, "deterministic": True, "states": {"python": "sha256:c", "numpy": "sha256:b"}, "torch_threads": None}
    found = between("randomness", {"randomness": a}, {"randomness": b})
    assert found == (Change("states.python", "changed", "sha256:a", "sha256:c"),)


def test_data_is_compared_by_content_wherever_it_lay() -> None:
    a = {"name": "train.csv", "kind": "file", "path": "/a/train.csv", "fingerprint": "blake3:1", "size_bytes": 10}
    moved, other = {**a, "path": "/b/train.csv"}, {**a, "fingerprint": "blake3:2"}
    assert between("data", {"datasets": (a,)}, {"datasets": (moved,)}) == ()
    (found,) = between("data", {"datasets": (a, a)}, {"datasets": (a, other)})
    assert (found.key, found.kind) == ("train.csv #2", "changed")
    used = {"experiment_id": "exp_000", "uid": "u", "artifact": "model.pt", "version": 1, "digest": "sha256:1"}
    (found,) = between("data", {"used": (used,)}, {"used": ({**used, "digest": "sha256:2", "version": 2},)})
    assert found.key == "artifact model.pt"


def test_the_latest_version_of_an_artifact_is_compared() -> None:
    def artifacts(*digests: str) -> dict[str, Any]:
        return {
            "artifacts": tuple(
                Artifact("m.pt", f"artifacts/{n}", "model", n, 5, one) for n, one in enumerate(digests, 1)
            )
        }

    assert between("artifacts", artifacts("sha256:1", "sha256:2"), artifacts("sha256:2")) == ()
    (found,) = between("artifacts", artifacts("sha256:1", "sha256:2"), artifacts("sha256:1"))
    assert (found.a["digest"], found.b["digest"]) == ("sha256:2", "sha256:1")


def test_how_they_went() -> None:
    owner = {"role": "owner"}
    a = {"status": "completed", "writers": (owner,)}
    b = {
        "status": "failed",
        "reason": "ValueError: boom",
        "writers": (owner, owner, {"role": "attached"}, {"role": "editor"}),
    }
    found = {change.key: change.b for change in between("course", a, b)}
    assert found == {"status": "failed", "reason": "ValueError: boom", "sessions": 2, "attached processes": 1}


def test_what_one_did_not_live_to_record_is_no_change() -> None:
    whole = {
        "environment": environment(cpu_model="EPYC", libc="glibc", python_version="3.11.7", machine="x86_64"),
        "randomness": {"seed": 1, "states": {"python": "sha256:a"}},
    }
    killed = {"environment": {"python_version": "3.11.7", "machine": "arm64"}}
    (found,) = between("hardware", whole, killed)
    assert found.key == "machine"


def test_what_shows_only_where_a_library_is_imported_is_no_change() -> None:
    a = {
        "environment": environment(blas={"name": "mkl"}, cuda=None),
        "randomness": {"states": {"python": "s", "numpy": "t"}},
    }
    b = {"environment": environment(blas=None, cuda={"version": "12"}), "randomness": {"states": {"python": "s"}}}
    assert between("platform", a, b) == ()
    a["randomness"]["seed"], b["randomness"]["seed"] = 1, None
    assert between("randomness", a, b) == (Change("seed", "removed", 1, None),)
