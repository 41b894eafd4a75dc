from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from frameworm.experiment.cli import text

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([0.43, 0.4512, 1.5], ["0.4300", "0.4512", "1.5000"]),
        ([0.5, 0.25], ["0.50", "0.25"]),
        ([1.0, 600.0, -3.0], ["1", "600", "-3"]),
        ([12345.0], ["12,345"]),
        ([1e-5, 0.5], ["1e-05", "0.5"]),
        ([1.5e12], ["1.5e+12"]),
        ([math.nan, 0.5, None, math.inf, -math.inf], ["nan", "0.5", "", "inf", "-inf"]),
        ([math.nan], ["nan"]),
        ([5e-324], ["4.941e-324"]),
        ([], []),
        ([0.0, -0.0], ["0", "-0"]),
    ],
)
def test_numbers_of_a_column_are_aligned(values: list[float | None], written: list[str]) -> None:
    assert text.numbers(values) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, ""),
        (math.nan, ""),
        (0.0444, "44 ms"),
        (0.9999, "1.0 s"),
        (9.96, "10 s"),
        (59.6, "1m 00s"),
        (200, "3m 20s"),
        (7500, "2h 05m"),
        (273600, "3d 04h"),
    ],
)
def test_durations(seconds: float | None, written: str) -> None:
    assert text.duration(seconds) == written


@pytest.mark.parametrize(
    ("before", "written"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=-3), "just now"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=29), "29 d ago"),
        (timedelta(days=300), "2026-01-27"),
        (timedelta(days=-300), "2027-09-19"),
    ],
)
def test_ages(before: timedelta, written: str) -> None:
    assert text.ago(NOW - before, NOW) == written


@pytest.mark.parametrize(
    ("n", "written"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (9_960_000, "10 MB")]
)
def test_sizes(n: int, written: str) -> None:
    assert text.size(n) == written


def test_what_moves_the_cursor_or_turns_the_line_is_spelled_out() -> None:
    assert text.inert("a\x1b[2J\r\x07\x9b\u202e\u2066\ud800z") == r"a\x1b[2J\r\x07\x9b\u202e\u2066\ud800z"
    assert text.inert("a\nb\tc") == r"a\nb\tc"
    assert text.inert("a\nb", lines=True) == "a\nb"
    assert text.inert("日本 🚀 [red]") == "日本 🚀 [red]"


def test_json_is_strict_and_ascii() -> None:
    written = text.to_json({"nan": math.nan, "all": [math.inf, -math.inf, -0.0, 1e-320], "at": NOW, "é": "\ud800"})
    assert written.isascii()
    assert json.loads(written, parse_constant=pytest.fail) == {
        "nan": "NaN",
        "all": ["Infinity", "-Infinity", -0.0, 1e-320],
        "at": "2026-11-23T12:00:00.000Z",
        "é": "\ud800",
    }
    with pytest.raises(TypeError, match="object has no JSON form"):
        text.to_json(object())


def test_config_values_tell_text_from_numbers() -> None:
    values = [None, True, 1e-3, "", " x ", "plain", {"a": [1]}, "\x1b"]
    assert [text.param(v) for v in values] == ["null", "true", "0.001", '""', '" x "', "plain", '{"a": [1]}', r"\x1b"]
