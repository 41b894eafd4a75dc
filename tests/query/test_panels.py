"""Lines of charts: in order along any x, true to every point, whatever the order they came in."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frameworm.experiment.errors import InputError
from frameworm.experiment.model import NO_EPOCH, SeriesKey
from frameworm.experiment.query.panels import Axis, Line, band_of, find_series, lines_of, read_series, whole_steps
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.storage.segment import write_segment
from tests.query.test_downsample import series

STEP, TIME, EPOCH = Axis("step"), Axis("time"), Axis("epoch")
LOSS, LR = SeriesKey("loss", "train"), SeriesKey("lr", "train")


def reader_of(folder: Path, **columns) -> ExperimentReader:
    """An experiment with one sealed series ``loss``, and ``lr`` at the same steps if it is given."""
    logs = folder / "exp_001_x" / "logs"
    logs.mkdir(parents=True)
    values = np.asarray(columns["values"], np.float64)
    n = len(values)
    points = series(values, columns.get("steps"))
    points = type(points)(
        points.steps,
        np.asarray(columns.get("epochs", np.full(n, NO_EPOCH)), np.int32),
        np.asarray(columns.get("times_ms", points.times_ms), np.int64),
        points.values,
    )
    keys, index = [LOSS], np.zeros(n, np.uint32)
    if "lr" in columns:
        other = series(columns["lr"], columns.get("lr_steps"))
        keys, index = [LOSS, LR], np.append(index, np.ones(len(other), np.uint32))
        points = type(points)(*(np.append(getattr(points, f), getattr(other, f)) for f in points.__slots__))
    about = '"experiment_id":"exp_001","uid":"0123","name":"x","project":"default","description":""'
    write_segment(
        logs / "metrics-host-1-1.seg",
        keys=keys,
        index=index,
        epochs=points.epochs,
        steps=points.steps,
        times_ms=points.times_ms,
        values=points.values,
        events=f'{{"t":1,"type":"create",{about}}}\n'.encode(),
        sources=["journal-host-1-1"],
    )
    return ExperimentReader(folder / "exp_001_x")


def read_line(reader: ExperimentReader, key: SeriesKey, axis: Axis, buckets: int, *bounds: tuple[float, float]) -> Line:
    return lines_of([read_series(reader, key, axis, buckets, *bounds)], axis, buckets)[0]


def check(line: Line, x: np.ndarray, values: np.ndarray) -> None:
    """Compare with points that are already in the order of x: every bucket is a run of them."""
    assert (np.diff(line.x) >= 0).all()
    assert line.count == len(x)
    if not len(x):
        assert not len(line.x)
        return
    assert line.x[-1] == x[-1]
    finite = values[~np.isnan(values)]
    assert np.fmin.reduce(line.low) == (finite.min() if len(finite) else math.nan) or not len(finite)
    assert np.fmax.reduce(line.high) == (finite.max() if len(finite) else math.nan) or not len(finite)
    if line.exact:
        np.testing.assert_array_equal(line.x, x)
        np.testing.assert_array_equal(line.last, values)


def test_an_axis_is_one_of_five():
    assert Axis.parse("step") == STEP
    assert Axis.parse("metric:a:b") == Axis("metric", "a:b")
    for text in ("", "metric", "metric:", "steps", "STEP"):
        with pytest.raises(InputError, match="allowed is step"):
            Axis.parse(text)


def test_steps_that_ascend_come_from_the_overview(tmp_path):
    values = np.random.default_rng(0).normal(size=100_000)
    reader = reader_of(tmp_path, values=values)
    line = read_line(reader, LOSS, STEP, 800)
    assert len(line.x) == 392 and not line.exact and not line.rounded
    assert (line.x[0], line.last[0]) == (0, values[0])
    check(line, np.arange(100_000), values)
    closer = read_line(reader, LOSS, STEP, 800, (40_000, 40_100))
    assert closer.exact
    check(closer, np.arange(40_000, 40_101), values[40_000:40_101])


@pytest.mark.parametrize("count", [9, 6_000])
def test_steps_out_of_order_are_put_in_order(tmp_path, count):
    rng = np.random.default_rng(count)
    steps, values = rng.permutation(count) // 2, rng.normal(size=count)
    line = read_line(reader_of(tmp_path, values=values, steps=steps), LOSS, STEP, 100)
    order = np.argsort(steps, kind="stable")
    check(line, steps[order], values[order])


def test_steps_past_2_to_the_53_are_rounded_and_found_exactly(tmp_path):
    first = 2**53
    reader = reader_of(tmp_path, values=[1.0, 2.0, 3.0, 4.0], steps=[first, first + 1, first + 2, first + 3])
    line = read_line(reader, LOSS, STEP, 10)
    assert line.rounded and line.x.tolist() == [first, first, first + 2, first + 4]
    assert read_line(reader, LOSS, STEP, 10, (first + 1, first + 1)).last.tolist() == [2.0]


def test_whole_steps_are_those_within_bounds():
    assert whole_steps((1.5, 3.5)) == (2, 3)
    assert whole_steps((-math.inf, math.inf)) == (-(2**63), 2**63 - 1)
    assert whole_steps((2**53 + 1, 1e300)) == (2**53 + 1, 2**63 - 1)
    assert whole_steps((-1e300, -1e299)) == (-(2**63), -(2**63))


@pytest.mark.parametrize("values", [[], [math.nan], [1.0], [math.nan] * 5_000, [math.inf, -math.inf, math.nan]])
@pytest.mark.parametrize("x", ["step", "time", "relative", "epoch", "metric:lr"])
def test_few_points_and_values_that_are_none(tmp_path, values, x):
    n = len(values)
    reader = reader_of(tmp_path, values=values, epochs=np.zeros(n), lr=[0.5])
    if not n:
        assert find_series(reader, "loss") in ([], [LOSS])
        return
    line = read_line(reader, LOSS, Axis.parse(x), 100)
    assert line.count == (1 if x == "metric:lr" else n)
    assert len(line.x) == len(line.low) == len(line.high) == len(line.last) == len(line.times_ms) > 0
    if all(math.isnan(value) for value in values):
        assert np.isnan(line.low).all() and np.isnan(line.high).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 20_000),
    shape=st.sampled_from(["ascending", "shuffled", "clock set back", "steps again"]),
    bounds=st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)),
)
def test_a_range_of_time_holds_all_that_lies_in_it(tmp_path_factory, seed, n, shape, bounds):
    rng = np.random.default_rng(seed)
    times = 1_000 + np.cumsum(rng.integers(0, 50, n))
    steps = np.arange(n)
    if shape == "shuffled":
        times = rng.permutation(times)
    elif shape == "clock set back":
        times[n // 2 :] -= 5_000
    elif shape == "steps again":
        steps = steps % (n // 2 + 1)
    values = rng.normal(size=n)
    reader = reader_of(tmp_path_factory.mktemp("x"), values=values, steps=steps, times_ms=times)
    span = times.max() - times.min()
    low, high = sorted(float(times.min() + span * one) for one in bounds)
    line = read_line(reader, LOSS, TIME, 60, (low, high))
    assert (np.diff(line.x) >= 0).all() and len(line.x) <= 60
    inside = (times >= low) & (times <= high)
    assert line.count >= inside.sum()
    if inside.any():
        assert line.low.min() <= values[inside].min() and line.high.max() >= values[inside].max()
    if line.exact:
        assert line.count == inside.sum()


def test_relative_time_is_seconds_since_the_start(tmp_path):
    reader = reader_of(tmp_path, values=[1.0, 2.0, 3.0], times_ms=[2_000, 4_500, 4_000])
    reader.info = replace(reader.info, started_ms=1_000)
    line = read_line(reader, LOSS, Axis("relative"), 10)
    assert line.x.tolist() == [1.0, 3.0, 3.5] and line.last.tolist() == [1.0, 3.0, 2.0]
    assert read_line(reader, LOSS, Axis("relative"), 10, (2.0, 3.2)).x.tolist() == [3.0]


def test_an_epoch_is_a_bucket(tmp_path):
    reader = reader_of(tmp_path, values=[5.0, 1.0, 3.0, 9.0, 7.0, 0.0], epochs=[0, 0, 1, 1, NO_EPOCH, 0])
    line = read_line(reader, LOSS, EPOCH, 10)
    assert line.x.tolist() == [0, 1] and line.last.tolist() == [0.0, 9.0]
    assert line.low.tolist() == [0.0, 3.0] and line.high.tolist() == [5.0, 9.0] and line.count == 5
    assert read_line(reader, LOSS, EPOCH, 10, (1, 5)).x.tolist() == [1]


def test_more_epochs_than_buckets_are_put_together(tmp_path):
    values = np.arange(1_000.0)
    line = read_line(reader_of(tmp_path, values=values, epochs=np.arange(1_000)), LOSS, EPOCH, 30)
    assert len(line.x) == 30 and line.count == 1_000
    assert line.x[-1] == 999 and line.high.max() == 999 and line.low.min() == 0


def test_another_metric_is_joined_by_step(tmp_path):
    reader = reader_of(
        tmp_path,
        values=[1.0, 2.0, 3.0, 4.0, 5.0],
        steps=[0, 1, 2, 3, 4],
        lr=[0.9, 0.1, math.nan, 0.5, 0.3],
        lr_steps=[0, 1, 2, 3, 3],
    )
    drawn = read_series(reader, LOSS, Axis("metric", "lr"), 10, paths=False)
    (line,) = lines_of([drawn], Axis("metric", "lr"), 10)
    assert line.x.tolist() == [0.1, 0.3, 0.9] and line.last.tolist() == [2.0, 4.0, 1.0] and not line.path
    assert read_line(reader, LOSS, Axis("metric", "lr"), 10, (0.2, 0.5)).x.tolist() == [0.3]
    assert read_line(reader, LOSS, Axis("metric", "no such"), 10).count == 0


def test_another_metric_that_goes_to_and_fro_is_a_path_in_the_order_of_steps(tmp_path):
    x, values = [0.0, 0.5, 1.0, 0.5, 0.0, 0.5], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    reader = reader_of(tmp_path / "few", values=values[::-1], steps=np.arange(6)[::-1], lr=x)
    line = read_line(reader, LOSS, Axis("metric", "lr"), 10)
    assert line.path and line.exact and line.x.tolist() == x and line.last.tolist() == values
    for shape in (x[:3], x[2:5], [0.5, 0.5, 0.5]):  # only rises, only falls, stands still
        reader = reader_of(tmp_path / str(shape), values=[1.0, 2.0, 3.0], lr=shape)
        line = read_line(reader, LOSS, Axis("metric", "lr"), 10)
        assert not line.path and line.x.tolist() == sorted(shape)


@pytest.mark.parametrize("most", [2, 5, 6, 100, 601])
def test_a_long_path_reaches_as_far_as_its_points_do(tmp_path, most):
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 20, 5_000)
    x, values = np.cos(turn) + rng.normal(0, 0.1, 5_000), np.sin(turn) + rng.normal(0, 0.1, 5_000)
    values[777], values[4_000] = 9.0, math.nan
    line = read_line(reader_of(tmp_path, values=values, lr=x), LOSS, Axis("metric", "lr"), most)
    assert line.path and not line.exact and line.count == 5_000 and len(line.x) <= most
    at = [int(np.flatnonzero((x == a) & ((values == b) | (np.isnan(values) & np.isnan(b))))[0])
          for a, b in zip(line.x, line.last, strict=True)]  # fmt: skip
    assert at == sorted(at) and at[-1] == 4_999  # points that were logged, in their order
    if most >= 6:
        assert (line.x.min(), line.x.max()) == (x.min(), x.max())
        assert (np.nanmin(line.last), np.nanmax(line.last)) == (np.nanmin(values), 9.0)
        assert np.isnan(line.last).sum() == 1


# ------------------------------------------------------------------------------------------ bands


def line_of(x, values) -> Line:
    x, values = np.asarray(x, np.float64), np.asarray(values, np.float64)
    return Line("train", x, values, values, values, x.astype(np.int64), len(x), True)


def test_a_band_is_the_mean_and_how_far_the_members_are_apart():
    lines = [line_of([0, 1, 2], [1.0, 2.0, math.nan]), line_of([0, 1, 2], [3.0, 2.0, 5.0])]
    std = band_of(lines, 100, "std")
    assert std.mean.tolist() == [2.0, 2.0, 5.0]
    np.testing.assert_allclose(std.high - std.mean, [math.sqrt(2), 0.0, math.nan])
    assert std.counts.tolist() == [2, 2, 1]
    sem = band_of(lines, 100, "sem")
    np.testing.assert_allclose(sem.high - sem.mean, [1.0, 0.0, math.nan])
    ci = band_of(lines, 100, "ci")
    np.testing.assert_allclose(ci.high - ci.mean, [12.7062, 0.0, math.nan], rtol=1e-5)
    np.testing.assert_allclose(ci.mean - ci.low, [12.7062, 0.0, math.nan], rtol=1e-5)


def test_members_with_other_x_are_met_halfway_and_never_continued():
    band = band_of([line_of([0, 2, 4], [0.0, 2.0, 4.0]), line_of([1, 3], [11.0, 13.0])], 100, "std")
    assert band.x.tolist() == [0, 1, 2, 3, 4]
    assert band.counts.tolist() == [1, 2, 2, 2, 1]
    assert band.mean.tolist() == [0.0, 6.0, 7.0, 8.0, 4.0]


def test_a_band_has_no_more_x_than_asked_for_and_may_be_empty():
    band = band_of([line_of(np.arange(1000), np.ones(1000))], 50, "sem")
    assert len(band.x) == 50 and (band.x[0], band.x[-1]) == (0, 999)
    nothing = band_of([line_of([], []), line_of([1], [math.inf])], 50, "ci")
    assert not len(nothing.x) and not len(nothing.mean)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_band_does_not_depend_on_the_order_of_its_members(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    lines = [line_of(np.sort(rng.integers(0, 30, 20)), rng.normal(size=20)) for _ in range(4)]
    a, b = band_of(lines, 25, "std"), band_of(lines[::-1], 25, "std")
    np.testing.assert_allclose(a, b)
