"""``frameworm leaderboard``: what it prints, in pipes, terminals of two widths and JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.cells import cell_len

from frameworm.experiment import Experiment
from frameworm.experiment.cli.leaderboard import _behind

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of two models each; the losses of the vaes tie twice, one gan diverged, one never got there."""
    root = tmp_path_factory.mktemp("seeds") / "experiments"
    for model, losses in (("vae", (0.5, 0.25, 0.5)), ("gan", (0.75, math.nan, None))):
        for seed, loss in enumerate(losses):
            config = {"model": {"kind": model}, "seed": seed}
            with Experiment(f"{model} {seed}", config, root_dir=root, capture_console=False, system_metrics_s=0) as exp:
                exp.log_metric("accuracy", 0.5, metric_type="val")
                if loss is not None:
                    exp.log_metric("loss", 0.125, step=0)
                    exp.log_metric("loss", loss, step=1)
    return root


def test_experiments_are_ranked_and_nobody_is_forgotten(run: Run, seeds: Path) -> None:
    lines = run("leaderboard", "loss", root_dir=seeds).output.splitlines()
    assert lines[0] == "loss  the last value of each experiment, lowest first"
    assert lines[1].split() == ["rank", "id", "name", "value", "behind", "status", "model.kind", "seed"]
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["1", "exp_002"], ["2", "exp_001"], ["2", "exp_003"], ["4", "exp_004"],
    ]  # fmt: skip
    assert lines[3].split()[4:6] == ["0.50", "+0.25"]
    assert lines[6].split()[:4] == ["exp_005", "gan", "1", "nan"]
    assert lines[7:] == ["without 1 experiment that never logged it"]


def test_groups_show_their_mean_and_how_sure_it_is(run: Run, seeds: Path) -> None:
    lines = run("leaderboard", "loss", "-g", "config.model.kind", root_dir=seeds).output.splitlines()
    assert lines[0] == "loss  mean of the last value of each experiment, lowest first"
    header = re.split(r"  +", lines[1].strip())
    assert header == ["rank", "model.kind", "n", "mean", "95 % interval", "std", "median", "iqm", "min", "max"]
    cells = re.split(r"  +", lines[2].strip())
    assert cells == ["1", "vae", "3", "0.4167", "0.2500 … 0.5000", "0.1443", "0.5000", "0.4167", "0.2500", "0.5000"]
    assert re.split(r"  +", lines[3].strip()) == ["2", "gan", "1 of 3", *["0.7500"] * 5]  # no interval, no std
    assert lines[4:] == [
        "without 1 experiment that failed, crashed or never logged it",
        "an interval of fewer than 10 values is too narrow",
    ]


def test_the_other_end_a_query_and_a_limit(run: Run, seeds: Path) -> None:
    lines = run("leaderboard", "loss", "--mode", "max", "--limit", "2", root_dir=seeds).output.splitlines()
    assert [line.split()[1] for line in lines[2:4]] == ["exp_004", "exp_001"]
    assert lines[3].split()[5] == "-0.25"
    assert lines[4] == "the first 2 of 5 experiments; --limit 5 shows all"
    lines = run("leaderboard", "loss", "-q", "config.seed == 0", "--at", "step=0", root_dir=seeds).output.splitlines()
    assert lines[0].endswith("the value at step=0 of each experiment, lowest first")
    assert [line.split()[:2] for line in lines[2:]] == [["1", "exp_001"], ["1", "exp_004"]]
    assert "highest first" in run("leaderboard", "loss", "--at", "max", root_dir=seeds).output


def test_json_is_exact(run: Run, seeds: Path) -> None:
    document = json.loads(run("leaderboard", "loss", "--json", root_dir=seeds).output)
    assert document[0] == {
        "rank": 1,
        "experiment_id": "exp_002",
        "name": "vae 1",
        "status": "completed",
        "value": 0.25,
        "params": {"model.kind": "vae", "seed": 1},
    }
    assert (document[-1]["rank"], document[-1]["value"]) == (None, "NaN")
    groups = json.loads(run("leaderboard", "loss", "-g", "config.model.kind", "--json", root_dir=seeds).output)
    assert groups[0]["group"] == {"config.model.kind": "vae"}
    assert (groups[0]["rank"], groups[0]["n"], groups[0]["ci_low"], groups[0]["ci_high"]) == (1, 3, 0.25, 0.5)
    assert groups[1]["ids"] == ["exp_004", "exp_005", "exp_006"]
    assert (groups[1]["missing"], groups[1]["not_finite"], groups[1]["std"]) == (1, 1, "NaN")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["los"], 1, "did you mean 'loss'"),
        (["loss", "-g", "config.modell.kind"], 1, "did you mean 'config.model.kind'"),
        (["loss", "--at", "best"], 1, "allowed is 'last', 'min', 'max'"),
        (["loss", "-q", "seed = 1"], 1, "write =="),
        (["loss", "--mode", "best"], 2, "is not one of 'min', 'max'"),
        (["loss", "-q", "name == 'nobody'"], 0, "no experiment meets the query"),
        (["accuracy@train"], 1, "but in 'val'"),
    ],
)
def test_mistakes(run: Run, seeds: Path, arguments: list[str], code: int, message: str) -> None:
    result = run("leaderboard", *arguments, root_dir=seeds)
    assert result.exit_code == code
    assert message in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("options", [[], ["-g", "config.model.kind", "-g", "config.seed"]])
def test_tables_fit_the_terminal(terminal: Any, seeds: Path, columns: int, options: list[str]) -> None:
    seen = terminal("--root-dir", str(seeds), "leaderboard", "loss", *options, columns=columns)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.text)
    assert seen.returncode == 0
    assert "\x1b[" in seen.text
    assert max(map(cell_len, plain.splitlines())) <= columns
    assert "value" in plain or "mean" in plain


def test_what_is_behind_by_little_does_not_look_equal() -> None:
    assert _behind([0.25621, 0.256214, 0.2571], ["0.2562", "0.2562", "0.2571"]) == ["", "+4.0e-06", "+0.0009"]
