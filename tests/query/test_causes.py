"""Which difference is held to be the cause, in made-up experiments."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment.model import Artifact, ExperimentInfo
from frameworm.experiment.query.causes import Cause, rank_causes
from frameworm.experiment.query.changes import changes
from frameworm.experiment.query.code_diff import CodeDiff, FileDiff
from frameworm.experiment.query.divergence import Divergence, SeriesDiff, ulps_between
from frameworm.experiment.query.wording import told_apart

SAME_CODE = CodeDiff("equal", ("c", "c"))
SEEDED = {"seed": 1, "deterministic": True, "states": {"python": "sha256:a"}}


def info(number: int, **fields: Any) -> ExperimentInfo:
    environment = {"packages": {"numpy": "2.0", "pytest": "8.0"}, **fields.pop("environment", {})}
    given = {"randomness": SEEDED, "status": "completed", "environment": environment, **fields}
    return ExperimentInfo(f"exp_{number:03d}", "0" * 32, "name", Path("/nowhere"), **given)


def parts(position: int, a: float = 0.5, b: float = 0.25, steps: tuple[int, int] | None = None) -> SeriesDiff:
    columns = ("value",) if steps is None else ("step",)
    at = Divergence(
        position, columns, steps or (position, position), (None, None), (a, b), ulps_between(a, b), None, b - a, 0.5
    )
    return SeriesDiff("loss", "train", "parts", (100, 100), position, at, (99, 99), 1)


AT_ONCE, LATER = parts(0), parts(50)
ROUNDING = parts(50, 0.1, math.nextafter(0.1, 1))
SHORTER = SeriesDiff("loss", "train", "shorter", (100, 40), 40, None, (99, 39), 1)


def rank(
    a: dict[str, Any], b: dict[str, Any], first: SeriesDiff | None = AT_ONCE, code: CodeDiff = SAME_CODE
) -> list[Cause]:
    one, other = info(1, **a), info(2, **b)
    causes = rank_causes(one, other, changes(one, other), code, first)
    assert [cause.weight for cause in causes] == sorted((cause.weight for cause in causes), reverse=True)
    assert all(cause.evidence and cause.title and cause.strength for cause in causes)
    return list(causes)


def keys(causes: list[Cause]) -> list[tuple[str, str]]:
    return [(cause.part, cause.key) for cause in causes]


def changed_file(path: str, patch: str = "", kind: str = "changed", *, only_layout: bool = False) -> FileDiff:
    return FileDiff(path, kind, None, 1, 1, 1 if patch else 0, only_layout, patch)  # type: ignore[arg-type]


def code(*files: FileDiff) -> CodeDiff:
    return CodeDiff("trees", ("c", "d"), files)


def dataset(fingerprint: str, path: str = "/p/train.csv") -> dict[str, Any]:
    return {"name": "train.csv", "kind": "file", "path": path, "fingerprint": fingerprint, "size_bytes": 10}


# ---------------------------------------------------------------------------------------------- one against another


def test_a_config_param_outranks_the_environment() -> None:
    a = {"config": {"lr": 0.1}, "environment": {"cpu_model": "EPYC", "variables": {"OMP_NUM_THREADS": "1"}}}
    b = {"config": {"lr": 0.2}, "environment": {"cpu_model": "Xeon", "variables": {"OMP_NUM_THREADS": "2"}}}
    causes = rank(a, b)
    assert keys(causes) == [("config", "lr"), ("variables", "OMP_NUM_THREADS"), ("hardware", "cpu_model")]
    assert causes[0].title == "config lr: 0.1 → 0.2"
    assert causes[0].evidence == "lr is 0.1 in exp_001 and 0.2 in exp_002."
    assert [cause.strength for cause in causes] == ["likely", "possible", "possible"]


def test_a_package_that_computes_outranks_one_that_does_not() -> None:
    a = {"environment": {"packages": {"pytest": "8.0", "numpy": "1.26.4", "tinylib": "1", "torch": "2.4.0"}}}
    b = {"environment": {"packages": {"pytest": "9.0", "numpy": "2.0.0", "tinylib": "2", "torch": "2.4.0"}}}
    causes = rank(a, b)
    assert keys(causes) == [("packages", "numpy"), ("packages", "tinylib"), ("packages", "pytest")]
    assert causes[0].title == "package numpy: 1.26.4 → 2.0.0"
    assert causes[2].strength == "unlikely"


def test_names_and_output_folders_come_last() -> None:
    config = {
        "name": "a",
        "output_dir": "/a",
        "lr": 1,
        "data_dir": "/a",
        "log_dir": "x",
        "model_name": "vit",
        "run_name": "r",
        "model.name": "vit",
        "optimizer.id": "adam",
        "experiment.name": "e",
        "wandb.id": "w",
    }
    causes = rank({"config": config}, {"config": {key: f"{value}2" for key, value in config.items()}})
    telling = {"lr", "data_dir", "model_name", "model.name", "optimizer.id"}
    assert {cause.key for cause in causes if cause.weight > 10} == telling


def test_the_data_outranks_the_code_that_is_the_data() -> None:
    same = {"git": {"root": "/p"}}
    a, b = {**same, "datasets": (dataset("blake3:1111"),)}, {**same, "datasets": (dataset("blake3:2222"),)}
    causes = rank(a, b, code=code(changed_file("train.csv"), changed_file("README.md")))
    assert keys(causes) == [("data", "train.csv"), ("code", "README.md")]
    assert "blake3:1111…" in causes[0].evidence


def test_one_line_of_code_is_quoted() -> None:
    patch = "diff --git a/m.py b/m.py\n--- a/m.py\n+++ b/m.py\n@@ -10,3 +10,3 @@ def f():\n x = 1\n-y = 2\n+y = 3\n z\n"
    (cause,) = rank({}, {}, code=code(changed_file("m.py", patch)))
    assert (cause.title, cause.evidence) == ("code m.py, line 11", "In m.py `y = 2` became `y = 3`.")


@pytest.mark.parametrize(
    "path", ["README.md", "tests/test_a.py", "docs/x.py", "requirements.txt", ".gitignore", "pyproject.toml"]
)
def test_files_that_a_run_does_not_read_come_last(path: str) -> None:
    causes = rank({"environment": {"libc": "1"}}, {"environment": {"libc": "2"}}, code=code(changed_file(path)))
    assert keys(causes)[-1] == ("code", path) and causes[-1].strength == "unlikely"


def test_a_binary_file_that_only_one_has_is_no_likely_cause() -> None:
    lost = FileDiff("model.bin", "added", None, 0, 0, 0, False, "Binary files /dev/null and b/model.bin differ")
    cause = next(cause for cause in rank({}, {}, code=code(lost)) if cause.part == "code")
    assert (cause.key, cause.strength) == ("model.bin", "possible")


def test_comments_come_last() -> None:
    causes = rank({}, {}, code=code(changed_file("a.py", only_layout=True), changed_file("b.py")))
    assert keys(causes)[0] == ("code", "b.py")
    assert [cause.key for cause in causes if cause.weight > 10] == ["b.py"]


def test_a_command_line_or_config_file_echoes_the_config() -> None:
    a = {"config": {"lr": 1}, "environment": {"command": ["python", "train.py", "--lr", "1"]}}
    b = {"config": {"lr": 2}, "environment": {"command": ["python", "train.py", "--lr", "2"]}}
    causes = rank(a, b, code=code(changed_file("conf/a.yaml")))
    assert keys(causes)[0] == ("config", "lr")
    assert {cause.strength for cause in causes[1:]} == {"unlikely"}
    causes = rank({**a, "config": {}}, {**b, "config": {}})
    assert (keys(causes)[0], causes[0].title) == (("command", "command"), "command line: 1 → 2")


def test_an_input_artifact_counts_and_one_that_came_out_does_not() -> None:
    def artifact(kind: str, digest: str) -> tuple[Artifact, ...]:
        return (Artifact("x", "artifacts/x", kind, 1, 1, digest),)

    assert keys(rank({"artifacts": artifact("dataset", "sha256:1")}, {"artifacts": artifact("dataset", "sha256:2")}))[
        0
    ] == ("artifacts", "x")
    assert ("artifacts", "x") not in keys(
        rank({"artifacts": artifact("model", "sha256:1")}, {"artifacts": artifact("model", "sha256:2")})
    )


# ---------------------------------------------------------------------------------------------- how they part


def test_rounding_points_to_what_computes() -> None:
    a = {"config": {"note2": 1}, "environment": {"packages": {"torch": "2.4"}, "variables": {"OMP_NUM_THREADS": "1"}}}
    b = {"config": {"note2": 2}, "environment": {"packages": {"torch": "2.5"}, "variables": {"OMP_NUM_THREADS": "2"}}}
    causes = rank(a, b, ROUNDING)
    assert keys(causes) == [("packages", "torch"), ("variables", "OMP_NUM_THREADS"), ("config", "note2")]
    assert "The first difference is as small as rounding (1 ulp), which fits." in causes[0].remark
    assert "which is rare" in causes[2].remark
    assert keys(rank(a, b, AT_ONCE))[0] == ("config", "note2")


def test_the_start_is_likelier_where_the_first_point_differs() -> None:
    a, b = ({"randomness": {**SEEDED, "seed": seed}, "config": {"lr": lr}} for seed, lr in ((1, 1), (2, 2)))
    at_once, later = rank(a, b, AT_ONCE), rank(a, b, LATER)
    assert keys(at_once) == [("randomness", "seed"), ("config", "lr")]
    assert keys(later) == [("config", "lr"), ("randomness", "seed")]
    assert "The very first point differs, which fits." in at_once[0].remark
    assert "But the first 50 points of loss@train are identical." in later[1].remark


def test_a_seed_that_is_a_param_too_is_told_once() -> None:
    a, b = ({"randomness": {**SEEDED, "seed": seed}, "config": {"data_seed": 7, "seed": seed}} for seed in (1, 2))
    (cause,) = rank(a, b)
    assert (cause.title, cause.part) == ("config seed: 1 → 2", "config")
    other = {**b, "config": {"data_seed": 7, "seed": 3}}
    assert keys(rank(a, other)) == [("config", "seed"), ("randomness", "seed")]


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [
        (1.1915483474731445, 0.9600974321365356, ("1.1915", "0.9601")),
        (1.1915483474731445, 1.192211389541626, ("1.19155", "1.19221")),
        (0.1, math.nextafter(0.1, 1), ("0.1", "0.10000000000000002")),
        (0.0, -0.0, ("0.0", "-0.0")),
        (1.0, math.nan, ("1.0", "nan")),
        (1.0, math.inf, ("1.0", "inf")),
    ],
)
def test_numbers_have_as_many_digits_as_tell_them_apart(a: float, b: float, shown: tuple[str, str]) -> None:
    assert told_apart(a, b) == shown


def test_states_are_told_only_where_the_seed_is_the_same() -> None:
    other = {"python": "sha256:b"}
    assert keys(rank({}, {"randomness": {"seed": 2, "deterministic": True, "states": other}})) == [
        ("randomness", "seed")
    ]
    (cause,) = rank({}, {"randomness": {**SEEDED, "states": other}})
    assert cause.title == "random generators: other states" and "something drew from them" in cause.evidence
    unseeded = {"deterministic": None, "seed": None, "states": {"python": "sha256:c"}}
    (cause,) = rank({"randomness": {**unseeded, "states": other}}, {"randomness": unseeded})
    assert cause.title == "random generators: not seeded"


def test_one_that_was_killed_explains_why_it_is_shorter() -> None:
    a, b = {"environment": {"packages": {"numpy": "1"}}}, {"status": "killed", "reason": "received SIGTERM"}
    causes = rank(a, b, SHORTER)
    assert keys(causes)[0] == ("course", "status")
    assert causes[0].title == "exp_002 ended earlier: killed"
    assert "no points of loss@train after step 39; it is killed (received SIGTERM)." in causes[0].evidence
    assert keys(rank({"config": {"epochs": 9}}, {"config": {"epochs": 5}}, SHORTER))[0] == ("config", "epochs")


def test_a_resumed_one_logs_steps_again() -> None:
    owner = {"role": "owner"}
    a, b = {"writers": (owner,), "config": {"lr": 1}}, {"writers": (owner, owner), "config": {"lr": 1}}
    causes = rank(a, b, parts(50, steps=(50, 40)))
    assert (keys(causes)[0], causes[0].title) == (("course", "sessions"), "exp_002 was resumed")
    assert keys(rank(a, {**b, "config": {"lr": 2}}, LATER))[0] == ("config", "lr")


# ---------------------------------------------------------------------------------------------- chance


def test_nothing_differs_so_it_is_chance_and_says_on_what_evidence() -> None:
    unseeded = {
        "randomness": {"seed": None, "deterministic": False, "states": {}},
        "environment": {"gpus": [{"name": "A100"}]},
    }
    causes = rank(unseeded, unseeded, LATER)
    assert keys(causes) == [("chance", "nondeterminism"), ("chance", "unrecorded")]
    for sign in ("No seed was recorded", "Deterministic algorithms", "GPU", "OMP_NUM_THREADS", "PYTHONHASHSEED"):
        assert sign in causes[0].evidence, sign
    assert "Data was not recorded by exp_001 and exp_002" in causes[1].evidence
    sure = {
        "environment": {"variables": {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}},
        "datasets": (dataset("blake3:1"),),
    }
    (only,) = rank(sure, sure, LATER)
    assert only.evidence == "Nothing that was recorded differs."


def test_chance_outranks_what_does_not_matter_and_is_not_named_beside_what_does() -> None:
    a, b = (
        {"environment": {"host": "a", "packages": {"pytest": "8"}}},
        {"environment": {"host": "b", "packages": {"pytest": "9"}}},
    )
    assert keys(rank(a, b, ROUNDING))[0] == ("chance", "nondeterminism")
    assert all(cause.part != "chance" for cause in rank({"config": {"lr": 1}}, {"config": {"lr": 2}}, ROUNDING))


def test_commits_that_cannot_be_compared_are_a_cause() -> None:
    (cause,) = rank({}, {}, code=CodeDiff("stored", ("a" * 40, "b" * 40)))
    assert cause.title == f"code: commit {'a' * 10} → {'b' * 10}"


def test_a_number_of_another_type_weighs_little() -> None:
    causes = rank({"config": {"epochs": 10, "lr": 1}}, {"config": {"epochs": 10.0, "lr": 2}})
    assert keys(causes) == [("config", "lr"), ("config", "epochs")]
    assert causes[1].strength == "unlikely" and "Only the type differs." in causes[1].evidence


def test_experiments_before_it_in_the_process_leave_something_behind() -> None:
    (cause,) = rank({"environment": {"ordinal": 0}}, {"environment": {"ordinal": 3}})
    assert (cause.part, cause.strength) == ("course", "possible")
    assert "0 experiments ran before exp_001 in its process, 3 before exp_002" in cause.evidence


def test_a_fork_is_said_to_be_one() -> None:
    parent = {"relation": "fork", "experiment_id": "exp_001", "uid": "u", "step": 50}
    (cause,) = rank({}, {"parent": parent}, LATER)
    assert (cause.title, cause.strength) == ("exp_002 is a fork of exp_001 at step 50", "possible")
    assert rank({"parent": parent}, {}, LATER)[0].title == "exp_001 is a fork of exp_001 at step 50"


# ---------------------------------------------------------------------------------------------- what was read


def reading(*files: dict[str, Any], **more: Any) -> dict[str, Any]:
    reads = {"files": list(files), "written": [], "variables": {}, "unset": [], "beside": [], "whole": True, **more}
    return {"environment": {"reads": reads, "cwd": "/p"}, "git": {"root": "/p"}}


def read_file(path: str, digest: str = "", size: int = 5, modified_ns: int = 1, **more: Any) -> dict[str, Any]:
    found = {"path": f"/p/{path}", "size_bytes": size, "modified_ns": modified_ns, **more}
    return {**found, "digest": digest} if digest else found


@pytest.mark.parametrize("path", ["tests/test_time_aug.py", "data/test/labels.csv", "prompts/a.md", "docs/style.txt"])
def test_a_file_that_was_read_is_not_idle_by_its_name(path: str) -> None:
    a, b = reading(read_file(path, "x")), reading(read_file(path, "y"))
    assert rank(a, b, code=code(changed_file(path)))[0].strength == "likely"
    assert rank(a, b, code=code(changed_file("README.md"), changed_file("other.py")))[0].key == path  # seen by no git
    (cause,) = rank(a, a, code=code(changed_file(path)))[:1]
    assert cause.part == "chance"  # its content was the same when it was read


def test_code_that_was_not_imported_is_idle_unless_another_process_may_have_run_it() -> None:
    read = reading(read_file("train.py", "x", code=True))
    assert rank(read, read, code=code(changed_file("evaluate.py")))[0].part == "chance"
    children = reading(read_file("train.py", "x", code=True), beside=["children"])
    assert keys(rank(children, children, code=code(changed_file("evaluate.py"))))[0] == ("code", "evaluate.py")


def test_a_touched_file_of_unknown_content_is_suspected_behind_what_is_known() -> None:
    a, b = reading(read_file("big.bin", modified_ns=1)), reading(read_file("big.bin", modified_ns=2))
    assert keys(rank(a, b))[0] == ("files", "big.bin")
    assert keys(rank({**a, "config": {"lr": 1}}, {**b, "config": {"lr": 2}}))[0] == ("config", "lr")
    assert (
        keys(rank(reading(read_file("big.bin", "x", modified_ns=1)), reading(read_file("big.bin", "x"))))[0][0]
        == "chance"
    )


def test_what_an_earlier_run_wrote_is_no_cause_by_itself() -> None:
    a = reading(written=["/p/results.csv", "/p/last.json"])
    b = reading(read_file("last.json", "x", rewritten=True))
    causes = rank(a, b, code=code(changed_file("results.csv", "x"), changed_file("last.json", "x", "added")))
    assert causes[0].part == "chance"
    assert {cause.key for cause in causes if cause.part == "code"} == {"results.csv"}


def test_a_variable_that_the_program_looked_at_is_a_cause() -> None:
    a, b = reading(variables={"LR": "1", "JOB_ID": "1"}), reading(variables={"LR": "2", "JOB_ID": "2"})
    causes = rank(a, b)
    assert (causes[0].title, causes[0].strength) == ("LR: 1 → 2", "likely")
    assert causes[-1].key == "JOB_ID" and causes[-1].strength == "unlikely"
    assert rank(reading(unset=["LR"]), b)[0].title == "LR: 2, only in exp_002"
    assert ("variables", "LR") not in keys(rank({}, b))  # an older record, which notes none


@pytest.mark.parametrize("beside", ["children", "network", "stdin", "polars", "more files"])
def test_what_may_differ_unseen_comes_before_chance_and_says_what_to_do(beside: str) -> None:
    read = reading(beside=[beside])
    first, second = rank(read, read)
    assert (first.key, second.key) == ("unrecorded", "nondeterminism")
    assert "log_dataset" in first.evidence or "as a file" in first.evidence
    assert rank(read, read, ROUNDING)[0].key == "nondeterminism"


def test_a_masked_variable_may_differ_unseen() -> None:
    read = reading(variables={"API_KEY": "***"})
    assert "API_KEY" in rank(read, read)[0].evidence and rank(read, read)[0].key == "unrecorded"


def test_threads_do_not_explain_a_threefold_difference_of_the_first_point() -> None:
    read = reading()
    (large,) = rank(read, read, AT_ONCE)
    assert "threads" not in large.evidence and "The very first point" in large.evidence
    assert "threads" in rank(read, read, ROUNDING)[0].evidence


@pytest.mark.parametrize(
    ("key", "values", "telling"),
    [
        ("log", (False, True), True),
        ("log", ("a.txt", "b.txt"), False),
        ("data.date", ("2020-01-01", "2021-01-01"), True),
        ("date", ("1970-01-01", "1970-01-01 10:00"), False),
        ("timestamp", (0.5, 9.5), False),
        ("output", (3, 4), True),
        ("debug", (False, True), True),
        ("work_dir", ("/a", "/b"), False),
    ],
)
def test_a_param_is_idle_by_name_and_value(key: str, values: tuple[Any, Any], telling: bool) -> None:
    nested = [{"data": {"date": value}} if key == "data.date" else {key: value} for value in values]
    (cause,) = [one for one in rank({"config": nested[0]}, {"config": nested[1]}) if one.part == "config"]
    assert (cause.strength == "likely") == telling


def test_titles_show_what_differs_and_nothing_twice() -> None:
    where = "https://example.org/a/very/long/way/to/tinylib.git"

    def packages(version: str, **source: Any) -> dict[str, Any]:
        about = {"tinylib": {"url": where, **source}}
        return {"environment": {"packages": {"tinylib": version}, "package_sources": about}}

    title = rank(packages("1.0", vcs="git", commit="a" * 40), packages("1.0", vcs="git", commit="b" * 40))[0].title
    assert title == "package tinylib: 1.0, commit aaaaaaaaaa → bbbbbbbbbb"
    assert rank(packages("1.0"), packages("1.1"))[0].title == "package tinylib: 1.0 → 1.1"
    assert rank(packages("1.0"), packages("1.0", url="/x/fork"))[0].title.endswith("from tinylib.git → fork")
    long = [f"{'a' * 80}{word}{'z' * 80}" for word in ("this", "that")]
    title = rank({"config": {"prompt": long[0]}}, {"config": {"prompt": long[1]}})[0].title
    assert "this" in title and "that" in title and len(title) < 160


def test_another_order_of_params_comes_before_chance() -> None:
    a, b = {**reading(), "config": {"x": {"a": 1, "b": 2}}}, {**reading(), "config": {"x": {"b": 2, "a": 1}}}
    assert rank(a, b)[0].title == "config: another order of params"
