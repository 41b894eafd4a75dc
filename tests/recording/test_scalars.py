"""Which number a value of another library stands for, and which stand for none."""

from __future__ import annotations

import decimal
import enum
import fractions
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from frameworm.experiment import Experiment
from frameworm.experiment.errors import FramewormWarning, MetricError
from frameworm.experiment.recording.scalars import NotANumberError, number_of, why_not


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((1, 1.0), (True, 1.0), (Level.HIGH, 3.0), (2**53, 2.0**53)),
        *((np.float16(0.5), 0.5), (np.int64(-7), -7.0), (np.bool_(True), 1.0), (np.uint64(2**63), 2.0**63)),
        *((np.array(2.5), 2.5), (np.array([[2.5]]), 2.5), (np.array([7], dtype=object), 7.0)),
        *((np.ma.array(2.5, mask=False), 2.5), (np.ma.array([2.5]), 2.5)),
        *((torch.tensor(2.5), 2.5), (torch.tensor([True]), 1.0), (torch.tensor(2.5, dtype=torch.bfloat16), 2.5)),
        *((torch.nn.Parameter(torch.tensor(2.5)), 2.5), (pd.Series([2.5]), 2.5), (pd.Series([7], dtype="Int64"), 7.0)),
        *((decimal.Decimal("0.25"), 0.25), (fractions.Fraction(1, 4), 0.25), (decimal.Decimal("Infinity"), math.inf)),
    ],
)
def test_numbers_of_any_kind_are_numbers(value, number):
    assert number_of(value) == number and type(number_of(value)) is float


class Lazy:
    """Answers every question with another one of its kind."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Lazy()

    def __call__(self, *arguments: Any) -> Lazy:
        return Lazy()


class Raises:
    """Whatever is asked of it raises something that no library should."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def item(self) -> float:
        raise self._error

    def __repr__(self) -> str:
        raise self._error


class Hidden(float):
    def __new__(cls) -> Hidden:
        return super().__new__(cls, 4.0)

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


NO_NUMBERS = [
    *("5", b"5", bytearray(b"5"), memoryview(b"5"), np.str_("5"), np.bytes_(b"5"), np.array("5"), np.array(b"5")),
    *(np.array(["5"], dtype=object), pd.Series(["5"]), pd.Categorical(["5"]), np.void(b"5")),
    *(np.ma.masked, np.ma.array(1.5, mask=True), np.ma.array([1.5], mask=[True]), np.ma.array(1, mask=True)),
    *(None, pd.NA, pd.NaT, pd.Series([pd.NA], dtype="Int64"), np.array(None)),
    *(np.datetime64("2026-01-01", "ns"), np.timedelta64(5, "ns"), np.array(5, "m8[ns]"), np.datetime64("NaT")),
    *(pd.Timestamp("2026-01-01"), pd.Timedelta("1s"), pd.Series(pd.to_timedelta([5])), pd.Period("2026")),
    *(1j, np.complex64(1), torch.tensor(1j), torch.tensor(1.0, device="meta"), torch.ones(2), np.ones((1, 2))),
    *(Lazy(), Raises(KeyError("lost")), Raises(RecursionError()), Raises(SyntaxError()), {}, [1.0], (1.0,), object()),
    *(decimal.Decimal("sNaN"), 10**400, type, len),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: f"{type(value).__module__}.{type(value).__name__}")
def test_what_is_no_number_is_told_and_its_siblings_are_kept(tmp_path, value):
    with pytest.raises(Exception) as raised:  # its own code may raise anything
        number_of(value)
    assert len(why_not(value, raised.value)) < 600
    with Experiment("e", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        exp.log_metrics({"a": 1.0, "b": 2.0, "c": 3.0}, step=0)  # from now on the row has its quick way
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            exp.log_metrics({"a": 1.0, "b": value, "c": 3} if not isinstance(value, Mapping) else {"c": 3.0}, step=1)
            exp.log_metric("a", 1.0, step=2)
            exp.log_metric("a", value, step=3)
        assert [warning.category for warning in told] == [FramewormWarning] * len(told) and len(told) in (1, 2)
        found = {(row["metric_name"], row["step"]): row["metric_value"] for row in exp.get_metrics()}
    assert found.get(("c", 1)) == 3.0 and ("b", 1) not in found and ("a", 3) not in found and found["a", 2] == 1.0


def test_a_row_of_numbers_of_other_kinds_is_recorded_as_one_of_floats(tmp_path):
    values = {"a": np.float32(0.5), "b": torch.tensor(1.5, requires_grad=True), "c": 7, "d": True, "e": Hidden()}
    with Experiment("e", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        for step in range(3):
            exp.log_metrics(values, step=step)
        got = [(row["metric_name"], row["metric_value"]) for row in exp.get_metrics()]
    assert sorted(got) == sorted([("a", 0.5), ("b", 1.5), ("c", 7.0), ("d", 1.0), ("e", 4.0)] * 3)


def test_a_row_whose_value_is_refused_leaves_no_gap_in_the_steps(tmp_path):
    with Experiment("e", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        exp.log_metrics({"a": 1.0, "b": 1.0})
        with pytest.warns(FramewormWarning, match="masked"):
            exp.log_metrics({"a": 2.0, "b": np.ma.masked})
        exp.log_metrics({"a": 3.0, "b": 3.0})
        found = [(row["metric_name"], row["step"]) for row in exp.get_metrics()]
    assert sorted(found) == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]


class Odd(Mapping[str, float]):
    """A mapping of another library, which cannot be read just now."""

    def __getitem__(self, key: str) -> float:
        raise ConnectionError("the store is gone")

    def __iter__(self) -> Any:
        yield "a"

    def __len__(self) -> int:
        return 1


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"v": 1.0}
    for _ in range(depth):
        found = {"k": found}
    return found


def test_dicts_that_cannot_be_read_are_refused_at_the_call(tmp_path):
    circle: dict[str, Any] = {"ok": 1.0}
    circle["self"] = {"inner": circle}
    with Experiment("e", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        for metrics in (circle, nested(2_000), nested(65), Odd(), {"inner": Odd()}, {Raises(KeyError()): 1.0}, 5):
            with pytest.raises(MetricError, match=r"holds itself|cannot be read|expected a"):
                exp.log_metrics(metrics)  # type: ignore[arg-type]
        exp.log_metrics(nested(60))
        assert len(exp.get_metrics()) == 1


@pytest.mark.parametrize("given", [1.5, 3.0, math.nan, math.inf, "5", None, np.float32(2), Raises(KeyError()), 10**30])
def test_what_an_error_of_step_or_epoch_advises_is_taken(tmp_path, given):
    with Experiment("e", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        for what in ("step", "epoch"):
            try:
                exp.log_metric("loss", 1.0, **{what: given})
            except MetricError as error:
                if f"int({what})" in str(error):
                    exp.log_metric("loss", 1.0, **{what: int(given)})
                assert "epoch=" not in str(error)


def test_a_number_too_large_for_a_float_is_told():
    with pytest.raises(OverflowError):
        number_of(10**400)
    with pytest.raises(NotANumberError, match="masked"):
        number_of(np.ma.masked)
