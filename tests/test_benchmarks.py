"""The benchmarks run and report; how fast they are is not tested here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
WORKLOADS = ["scalar", "processes-8", "read-100k", "catalog-1000", "sealed", "import"]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a report of small workloads, by frameworm and the floor alone."""
    folder = tmp_path_factory.mktemp("benchmarks")
    options = ["--quick", "--here", "--peers", "frameworm,floor", "--rounds", "1"]
    done = benchmarks(*WORKLOADS, *options, "--cache", str(folder / "cache"), "--into", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_fails_and_nothing_is_lost(measured: Path) -> None:
    results = json.loads((measured / "results.json").read_text())["results"]
    assert [one for one in results if one["failure"]] == []
    ours = {one["workload"]: one["rounds"][0] for one in results if one["peer"] == "frameworm"}
    assert set(WORKLOADS) == set(ours)
    assert ours["processes-8"]["errors"] == 0
    assert ours["read-100k"]["arrays_count"] == ours["read-100k"]["frame_count"] == 2000
    assert ours["catalog-1000"]["list_count"] == 20


def test_the_report_has_every_figure(measured: Path) -> None:
    report = (measured / "RESULTS.md").read_text()
    for row in ("| **frameworm** |", "| *empty method call* |", "| *os.write* |", "| NumPy |", "| 1,000 experiments |"):
        assert row in report, row
    for target in ("100,000 scalar calls until all is durable", "a sealed point: cosine schedule"):
        assert re.search(rf"\| {target} \| ≤ [\d.]+ \w+ \| [\d.]+ \| (met|\*\*missed\*\*) \|", report), target
    assert "| 10,000 experiments: list | ≤ 60 ms | – | not measured |" in report
    assert "<svg" in (measured / "results.svg").read_text()


def test_the_report_is_made_again_from_what_was_measured(measured: Path) -> None:
    page = measured / "RESULTS.md"
    before = page.read_text()
    page.unlink()
    done = benchmarks("report", "--quick", "--into", str(measured))
    assert done.returncode == 0, done.stderr
    assert page.read_text() == before


@pytest.mark.parametrize("arguments", [["nothing"], ["scalar", "--peers", "nobody"]])
def test_what_there_is_not_is_refused_with_what_there_is(arguments: list[str]) -> None:
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert "there are" in done.stderr
