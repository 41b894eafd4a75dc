"""``frameworm diff``: what a person reads, and what a program does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.cells import cell_len

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.cli.difference import show_difference
from frameworm.experiment.cli.tables import Screen
from frameworm.experiment.query.code_diff import CodeDiff, FileDiff

Run = Callable[..., Result]
EVIL = "[red]evil[/red] \x1b[31m\u202egnp"


def record(
    root: Path, name: str, config: dict[str, Any], loss: Callable[[int], float], n: int = 60, **more: float
) -> None:
    with Experiment(name, config, root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        for step in range(n):
            exp.log_metric("loss", loss(step), step=step)
            exp.log_metric("constant", 1.0, step=step)
        exp.log_metrics(more)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """exp_001 and exp_002 differ in lr, exp_003 in everything, exp_004 is exp_001 once more."""
    root = tmp_path_factory.mktemp("diff") / "experiments"
    record(
        root,
        "baseline with a name that is far longer than any terminal would like it to be",
        {"training": {"lr": 0.1}},
        lambda step: 1 / (1 + step),
    )
    record(root, "lower lr", {"training": {"lr": 0.01}}, lambda step: 1 / (1 + step) if step < 37 else math.nan)
    many = {f"param_{i}": "x" * 300 for i in range(50)} | {EVIL: EVIL}
    record(root, EVIL, many, lambda step: -1e-300, 20, **{f"m{i}": 1.0 for i in range(40)})
    record(root, "again", {"training": {"lr": 0.1}}, lambda step: 1 / (1 + step))
    return root


@pytest.fixture
def diff(run: Run, pairs: Path) -> Callable[..., str]:
    def show(*arguments: str) -> str:
        result = run("diff", *arguments, root_dir=pairs)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return show


def test_the_verdict_comes_first_then_causes_then_parts(diff: Callable[..., str]) -> None:
    text = diff("exp_001", "exp_002")
    assert text.startswith("Config differs in training.lr, same ")
    assert "metrics part at step 37: loss@train 0.02631578947368421 against nan." in text.splitlines()[0]
    headings = re.findall(r"^[A-Z][\w ]+$", text, re.M)
    assert headings[:3] == ["Probable causes", "Metrics", "Config"]
    assert "   1. likely    config training.lr: 0.1 → 0.01\n" in text
    assert re.search(r"^  ▸  loss@train  step 37   0.02631578947368421      nan  +60$", text, re.M)
    assert "  1 series identical bit for bit, 60 points\n" in text
    assert re.search(r"^  training.lr  0.1      0.01$", text, re.M)
    assert "\x1b" not in text


def test_two_of_the_same_say_so(diff: Callable[..., str]) -> None:
    text = diff("exp_001", "exp_004")
    assert "all 2 series are identical bit for bit, 120 points." in text.splitlines()[0]
    assert "Probable causes" not in text and "Metrics" not in text


def test_one_metric_only(diff: Callable[..., str], run: Run, pairs: Path) -> None:
    assert "constant@train is identical bit for bit, 60 points." in diff(
        "exp_001", "exp_002", "--metric", "constant@train"
    )
    result = run("diff", "exp_001", "exp_002", "-m", "los", root_dir=pairs)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: no metric 'los' in exp_001 or exp_002; they have 'loss', 'constant'" in result.stderr


def test_unknown_experiments_are_no_traceback(run: Run, pairs: Path) -> None:
    result = run("diff", "exp_001", "exp_009", root_dir=pairs)
    assert result.exit_code == 1 and "no experiment exp_009" in result.stderr
    assert run("diff", "exp_001", root_dir=pairs).exit_code == 2


def test_what_is_long_is_cut_and_said_so(diff: Callable[..., str]) -> None:
    text = diff("exp_001", "exp_003")
    assert len(re.findall(r"^ +\d+\. ", text, re.M)) == 6
    assert "more; --all shows them" in text
    assert "param_49" not in text
    everything = diff("exp_001", "exp_003", "--all")
    assert "--all" not in everything and "param_49" in everything and "m39@train" in everything


def test_names_do_no_harm(diff: Callable[..., str]) -> None:
    text = diff("exp_001", "exp_003", "--all")
    assert "\x1b" not in text and "\u202e" not in text
    assert r"[red]evil[/red] \x1b[31m\u202egnp" in text


def test_json_is_whole(run: Run, pairs: Path) -> None:
    result = run("diff", "exp_001", "exp_003", "--json", root_dir=pairs)
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert len(found["config"]) == 52
    assert [found[side]["experiment_id"] for side in "ab"] == ["exp_001", "exp_003"]
    assert {one["state"] for one in found["series"]} == {"parts", "shorter", "missing"}
    assert found["first"]["divergence"]["values"] == [1.0, -1e-300]
    assert found["first"]["divergence"]["bits"] == ["0x3ff0000000000000", "0x81a56e1fc2f8f359"]
    assert found["causes"][0]["part"] == "config"
    assert {"files", "basis", "commits", "notes", "differs"} == set(found["code"])
    nan = json.loads(run("diff", "exp_001", "exp_002", "--json", root_dir=pairs).stdout)
    assert nan["first"]["divergence"]["values"][1] == "NaN"


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_a_terminal(terminal: Callable[..., Any], pairs: Path, columns: int) -> None:
    for other in ("exp_002", "exp_003"):
        seen = terminal("--root-dir", str(pairs), "diff", "exp_001", other, columns=columns)
        assert seen.returncode == 0
        assert "\x1b[" in seen.text
        lines = re.sub(r"\x1b\[[\d;]*m", "", seen.text).splitlines()
        assert [line for line in lines if cell_len(line) > columns] == []
        assert any(line.lstrip().startswith("1. likely") for line in lines)


def test_code_is_shown_line_by_line(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = "diff --git a/train.py b/train.py\nindex 1..2 100644\n--- a/train.py\n+++ b/train.py\n"
    changed = f"{head}@@ -1 +1 @@\n-x = 1\n+x = 2\t# \x1b[31mred\n"
    new = (
        "diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,100 @@\n"
        + "+y = 1\n" * 100
    )
    files = (
        FileDiff("new.py", "added", None, 100, 0, 1, False, new),
        FileDiff("train.py", "changed", None, 1, 1, 1, False, changed),
        FileDiff("to.bin", "renamed", "from.bin", 0, 0, 0, False, ""),
    )
    found = replace(ExperimentManager(pairs).diff("exp_001", "exp_004"), code=CodeDiff("trees", ("c", "d"), files))

    def show(**how: bool) -> str:
        show_difference(Screen(), found, **{"code": True, "everything": False, **how})
        return capsys.readouterr().out

    text = show()
    assert text.startswith("Code differs in 3 files, same config")
    assert re.search(r"^  ~  train.py +\+1 −1\n  →  from.bin → to.bin\n  \+  new.py +\+100 −0\n", text, re.M)
    assert "\n-x = 1\n+x = 2   # \\x1b[31mred\n" in text and "index 1..2" not in text
    assert "\n… 93 more lines\n\n  --all shows every line\n" in text
    assert text.index("a/train.py") < text.index("a/new.py")
    assert "diff --git" not in show(code=False)
    assert show(everything=True).count("\n+y = 1") == 100
