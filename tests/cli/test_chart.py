from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from frameworm.experiment.cli.chart import draw, mark


def curve(y: list[float], x: list[float] | None = None) -> Any:
    return SimpleNamespace(x=np.array(range(len(y)) if x is None else x, float), y=np.array(y, float))


def drawn(*curves: Any, log: bool = False, colors: bool = False, width: int = 60, height: int = 13) -> list[str]:
    text = draw(curves, width=width, height=height, log=log, colors=colors)
    assert text is not None
    return re.sub(r"\x1b\[[0-9;]*m", "", text).split("\n")


def labels(lines: list[str]) -> list[str]:
    return [line.split("┤")[0].strip() for line in lines if "┤" in line]


def test_a_falling_line_falls_and_the_axes_are_round_numbers() -> None:
    lines = drawn(curve([2.0, 1.0, 0.0]))
    assert labels(lines) == ["2", "1", "0"]
    assert lines[-1].split() == ["0", "0.5", "1", "1.5", "2"]
    rows = [line.split("│")[1].find("+") for line in lines if line.count("│") == 2 and "+" in line]
    assert rows == sorted(rows)


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("colors", [True, False])
def test_every_line_fits(width: int, colors: bool) -> None:
    lines = drawn(curve([1e-5, 123456.789, 3.0]), curve([5.0, 6.0]), width=width, colors=colors)
    assert max(map(len, lines)) <= width
    assert len(lines) == 13


def test_curves_are_told_apart_with_and_without_colours() -> None:
    two = (curve([1.0, 1.0]), curve([2.0, 2.0]))
    assert {"+", "x"} <= set("".join(drawn(*two)))
    coloured = draw(two, width=60, height=10, log=False, colors=True)
    assert coloured is not None
    assert "\x1b[36m" in coloured and "\x1b[33m" in coloured
    assert mark(1, True) == ("━━", "yellow") and mark(1, False) == ("x", "")


def test_a_gap_stays_a_gap() -> None:
    lines = drawn(curve([1.0] * 10 + [np.nan] * 30 + [1.0] * 10))
    row = next(line for line in lines if "+" in line)
    assert re.search(r"\+ {10,}\+", row)


@pytest.mark.parametrize(
    ("y", "log", "ticks"),
    [
        ([5.0, 5.0], False, ["5.5", "5", "4.5"]),
        ([0.0], False, ["1", "0", "-1"]),
        ([0.4, 2.3], True, ["2", "1", "0.5"]),
        ([1e-6, 1e3], True, ["1,000", "1", "0.001", "1e-06"]),
        ([1e-300, 1e140], True, ["1e-06", "1e-153", "1e-300"]),
        ([1.0, 1.01], True, ["1.01", "1.005", "1"]),
        ([-1e149, 1e149], False, ["1e+149", "0", "-1e+149"]),
        ([1e-310, 2e-310], False, []),
    ],
)
def test_any_range_has_an_axis(y: list[float], log: bool, ticks: list[str]) -> None:
    found = labels(drawn(curve(y), log=log))
    assert found == ticks or not ticks


@pytest.mark.parametrize("y", [[], [np.nan, np.nan]])
def test_nothing_to_draw(y: list[float]) -> None:
    assert draw([curve(y)], width=60, height=10, log=False, colors=True) is None
    assert "+" not in "".join(drawn(curve(y), curve([1.0, 2.0])))
