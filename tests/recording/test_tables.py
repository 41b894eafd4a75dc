"""Tables of every library: names and labels are kept, and an odd cell costs itself at most."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from frameworm.experiment.errors import InputError, StoreError
from frameworm.experiment.recording.media import Medium
from frameworm.experiment.recording.tables import encode_table

FRAME = pd.DataFrame({"A": [1, 2, 2], "B": [1.0, 2.0, 3.0]})


def told(data: Any, columns: Any = None) -> tuple[list[str], list[list[Any]]]:
    table = json.loads(encode_table(data, columns, lambda medium: "digest").content)
    return table["columns"], table["rows"]


def test_a_name_that_comes_twice():
    assert told(pd.DataFrame([[1, 2]], columns=["a", "a"])) == (["a", "a"], [[1, 2]])


@pytest.mark.parametrize(
    ("frame", "columns", "first"),
    [
        (FRAME, ["A", "B"], [1, 1.0]),
        (FRAME.describe(), ["index", "A", "B"], ["count", 3.0, 3.0]),
        (FRAME.groupby("A").mean(), ["A", "B"], [1, 1.0]),
        (FRAME.groupby("A").agg(["min", "max"]), ["A", "B/min", "B/max"], [1, 1.0, 1.0]),
        (FRAME.set_index(["A", "B"]).assign(c=5), ["A", "B", "c"], [1, 1.0, 5]),
        (FRAME.iloc[1:], ["index", "A", "B"], [1, 2, 2.0]),
        (FRAME["A"].value_counts(), ["A", "count"], [2, 2]),
        (FRAME.corr(), ["index", "A", "B"], ["A", 1.0, FRAME.corr()["B"]["A"]]),
        (pd.crosstab(FRAME["A"], FRAME["B"]), ["A", "1.0", "2.0", "3.0"], [1, 1, 0, 0]),
        (pd.DataFrame([[1, 1.0]], columns=pd.Index([7, None], dtype=object)), ["7", "None"], [1, 1.0]),
        (pd.DataFrame({"t": pd.to_datetime(["2026-01-02"]), "d": pd.to_timedelta([5])}), ["t", "d"], None),
        (pd.DataFrame({"n": pd.array([1, None], dtype="Int64")}), ["n"], [1]),
        (pd.DataFrame(), [], None),
    ],
)
def test_names_and_labels_of_frames(frame, columns, first):
    names, rows = told(frame)
    assert names == columns and len(rows) == len(frame)
    assert first is None or rows[0] == first


def test_columns_of_a_frame_or_of_dicts_can_be_chosen():
    assert told(FRAME, ["B"]) == (["B"], [[1.0], [2.0], [3.0]])
    assert told([{"a": 1, "b": 2}, {"b": 3}], ["b", "a"]) == (["b", "a"], [[2, 1], [3, None]])
    with pytest.raises(InputError, match="there is no 'C'; there are A, B"):
        told(FRAME, ["C"])


def test_rows_with_names_of_their_own():
    assert told(np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")])) == (["n", "x"], [[1, 2.5]])
    assert told(np.arange(4).reshape(2, 2), ["a", "b"]) == (["a", "b"], [[0, 1], [2, 3]])
    assert told(torch.arange(4).reshape(2, 2), ["a", "b"]) == (["a", "b"], [[0, 1], [2, 3]])


class Raises:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def item(self) -> float:
        raise KeyError("device lost")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        *((torch.tensor(0.5), 0.5), (torch.tensor([7]), 7), (np.float32(0.5), 0.5), (np.bool_(True), True)),
        *((pd.NA, None), (pd.NaT, None), (np.ma.masked, None), (None, None), (math.nan, {"number": "nan"})),
        *((np.float64("inf"), {"number": "inf"}), (2**60, str(2**60)), (np.int64(2**60), str(2**60))),
        *((np.datetime64("2026-01-02", "ns"), "2026-01-02T00:00:00.000000000"), (decimal.Decimal("0.1"), "0.1")),
        *((datetime.date(2026, 1, 2), "2026-01-02"), ([1, 2], "[1, 2]"), ({"a": 1}, "{'a': 1}"), (1j, "1j")),
        *((np.array([1, 2, 3]), "[1, 2, 3]"), (np.array([[500, 1], [2, 3]]), "[[500, 1], [2, 3]]")),
        *((np.array([[5, 1], [2, 3]]), "[[5, 1], [2, 3]]"), (torch.zeros(2, 2, dtype=torch.int64), "[[0, 0], [0, 0]]")),
        *((np.zeros((2, 2, 2, 2), int).tolist(), str(np.zeros((2, 2, 2, 2), int).tolist())),),
        *((np.zeros((0, 5)), "[]"), (np.ones((40, 40), int), "<numpy.ndarray of shape (40, 40), int64>")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_cell(value, cell):
    assert told([{"x": value, "y": 1}]) == (["x", "y"], [[cell, 1]])


def test_an_object_that_raises_costs_its_cell():
    ((first, second),) = told([{"x": Raises(), "y": 1}])[1]
    assert "Raises" in first and "device lost" in first and second == 1


@pytest.mark.parametrize(
    "picture", [np.zeros((2, 2), np.uint8), np.ones((2, 2, 3)), torch.ones(3, 2, 2), Image.new("CMYK", (2, 2))]
)
def test_a_picture_in_a_cell_is_kept_beside(picture):
    ((cell,),) = told([{"x": picture}])[1]
    assert cell == {"image": "digest", "suffix": "png", "width": 2, "height": 2}


def test_a_disk_that_refuses_is_no_matter_of_a_cell():
    def keep(medium: Medium) -> str:
        raise StoreError("disk full")

    with pytest.raises(StoreError):
        encode_table([{"x": np.zeros((2, 2), np.uint8)}], None, keep)


@pytest.mark.parametrize(
    ("data", "columns", "message"),
    [
        ([[1, 2]], None, "need columns="),
        ([[1, 2]], ["a"], "row 0 has 2 cells for 1 columns"),
        ([[1], "xy"], ["a"], "row 1: expected a list of cells, got str 'xy'"),
        ([[1], 5], ["a"], "row 1: expected a list of cells, got 5"),
        ([[1], {"a": 2}], ["a"], "row 1: expected a list of cells, got dict"),
        ({"a": [1]}, None, "expected a DataFrame, dicts or rows, got dict"),
        (5, None, "expected a DataFrame"),
        ([[1]] * 100_001, ["a"], "up to 100,000 rows, got 100,001"),
    ],
)
def test_what_is_no_table_is_refused(data, columns, message):
    with pytest.raises(InputError, match=message):
        told(data, columns)
