"""Histograms of numbers however close together or far apart, and those that libraries have counted."""

from __future__ import annotations

import decimal
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.figure import Figure

from frameworm.experiment.errors import InputError
from frameworm.experiment.recording.histograms import encode_histogram


def check(about: dict, n: int) -> None:
    """Hold what every histogram does: all are counted once, between finite edges that do not fall."""
    counts, edges = np.array(about["counts"]), np.array(about["edges"])
    assert counts.sum() + about["not_finite"] == n
    if len(counts):
        assert len(edges) == len(counts) + 1 and np.isfinite(edges).all() and (edges[1:] >= edges[:-1]).all()


@pytest.mark.parametrize(
    "values",
    [
        *([1.0, np.nextafter(1.0, 2.0)], [1e300, np.nextafter(1e300, 2e300)], [-5e-324, 5e-324], [0.0, 5e-324]),
        *([-1e308, 1e308], [-1.7e308, 0.0, 1.7e308], [1e-310, 1e-300], [2.0**60, 2.0**60 + 256]),
        *([7.0] * 3, [0.0], [-0.0, 0.0], [math.nan], [math.inf, -math.inf, 1.0], []),
        *(np.arange(10) * 300 + 1_700_000_000_000_000_000, np.array([2**64 - 1, 0], np.uint64), [True, False]),
    ],
    ids=str,
)
def test_numbers_however_close_or_far(values):
    about = encode_histogram(values, 64).about
    check(about, len(values))
    finite = np.array(values, float)[np.isfinite(np.array(values, float))]
    if len(finite) and len(set(finite)) > 1:
        assert about["edges"][0] == finite.min() and about["edges"][-1] == finite.max()


@given(arrays(np.float64, st.integers(0, 30)), st.integers(1, 100))
def test_any_floats_are_counted(values, bins):
    check(encode_histogram(values, bins).about, values.size)


HIST = ([1.0, 2.0, 2.0, 3.0], 3)


def drawn() -> tuple:
    return Figure().add_subplot().hist(*HIST)


@pytest.mark.parametrize(
    "made",
    [
        *(np.histogram(*HIST), torch.histogram(torch.tensor(HIST[0]), 3), drawn(), ([1, 2, 1], [1, 1.5, 2.5, 3])),
        *((torch.tensor([1, 2, 1]), np.linspace(1, 3, 4)), (np.array([1, 2, 1], object), np.linspace(1, 3, 4))),
    ],
    ids=lambda made: type(made).__name__,
)
def test_what_a_library_counted_is_taken_as_it_is(made):
    about = encode_histogram(made, 64).about
    assert about["counts"] == [1, 2, 1] and about["edges"][0] == 1 and about["edges"][-1] == 3


def test_a_density_is_taken_as_it_is():
    counts, edges = np.histogram(*HIST, density=True)
    assert encode_histogram((counts, edges), 64).about["counts"] == counts.tolist()


@pytest.mark.parametrize(
    "made",
    [
        *(([1, -1], [0, 1, 2]), ([math.nan], [0, 1]), ([1], [1, 0]), ([1], [0, math.inf])),
        *(([1] * 2000, list(range(2001))), ([math.inf], [0, 1])),
    ],
    ids=lambda made: str(made)[:20],
)
def test_counts_that_are_none_are_refused(made):
    with pytest.raises(InputError, match="none negative, and finite ascending edges"):
        encode_histogram(made, 64)


def test_a_histogram_of_two_dimensions_is_refused():
    with pytest.raises(InputError):
        encode_histogram(np.histogram2d([1, 2], [1, 2]), 64)


@pytest.mark.parametrize(
    ("values", "counted", "missing"),
    [
        (np.ma.array([1.0, 50.0, 2.0], mask=[False, True, False]), 2, 1),
        (np.ma.array([1, 50, 2], mask=[False, True, False]), 2, 1),
        (pd.Series([1, None, 2], dtype="Int64"), 2, 1),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, math.nan]}), 3, 1),
        ([decimal.Decimal(1), None, 2], 2, 1),
        (torch.ones(4, dtype=torch.bfloat16, requires_grad=True), 4, 0),
        (torch.ones(2, 3, dtype=torch.float8_e4m3fn), 6, 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_missing_is_not_counted(values, counted, missing):
    about = encode_histogram(values, 8).about
    assert sum(about["counts"]) == counted and about["not_finite"] == missing
    assert not about["edges"] or max(about["edges"]) < 50


@pytest.mark.parametrize("bins", [8, 8.0, np.int64(8), np.float32(8), torch.tensor(8)])
def test_bins_are_any_whole_number(bins):
    assert len(encode_histogram(range(100), bins).about["counts"]) == 8


@pytest.mark.parametrize("bins", [0, 1025, 8.5, "8", None, True, math.nan, [8], np.array([8, 8])])
def test_other_bins_are_refused(bins):
    with pytest.raises(InputError, match="bins: expected 1 to 1024, got"):
        encode_histogram([1, 2], bins)


@pytest.mark.parametrize("values", [["a"], [[1], [2, 3]], np.datetime64("2026", "D"), 1j, object(), {"a": 1}, "abc"])
def test_what_is_no_numbers_is_refused(values):
    with pytest.raises(InputError, match="histogram: "):
        encode_histogram(values, 8)
