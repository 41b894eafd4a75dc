"""Downsampled series: the buckets say of every point what is true."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frameworm.experiment.errors import InputError, MetricNotFoundError
from frameworm.experiment.model import NO_EPOCH, Buckets, Points, SeriesKey
from frameworm.experiment.query.downsample import LongSeries, coarsened, downsample
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.recording.recorder import Recorder
from frameworm.experiment.storage.segment import SegmentReader, write_segment
from frameworm.experiment.storage.series import bucketed, take

KEY = SeriesKey("loss", "train")


def series(values, steps=None) -> Points:
    values = np.asarray(values, np.float64)
    n = len(values)
    steps = np.arange(n) if steps is None else np.asarray(steps, np.int64)
    return Points(steps, np.full(n, NO_EPOCH, np.int32), 1_000 + 7 * np.arange(n), values)


def part_of(points: Points, sealed: bool) -> Points | LongSeries:
    """The points themselves, or the same with overviews, as a segment has them."""
    n = len(points)
    if not sealed or not n:
        return points
    return LongSeries(
        lambda window: bucketed(points, np.arange(0, n, window)),
        lambda start, stop: take(points, slice(start, stop)),
        lambda: (float(points.values[0]), int(points.times_ms[0])),
        n,
    )


def check(found: Buckets, points: Points, limit: int) -> None:
    """Compare every bucket with the points it stands for, one by one."""
    n = len(points)
    assert len({len(row) for row in found}) == 1
    assert len(found.counts) <= limit
    assert found.counts.sum() == n
    if n <= limit:
        assert found.counts.tolist() == [1] * n
    if n:
        assert found.counts.min() >= 1
        assert found.counts[0] == 1
        assert found.steps[-1] == points.steps[-1]
    stops = np.cumsum(found.counts)
    for i, (start, stop) in enumerate(zip(stops - found.counts, stops, strict=True)):
        values, steps = points.values[start:stop], points.steps[start:stop]
        known = values[~np.isnan(values)]
        assert found.nan_counts[i] == len(values) - len(known)
        expected = (known.min() + 0.0, known.max() + 0.0) if len(known) else (np.nan, np.nan)
        np.testing.assert_equal((found.min[i], found.max[i]), expected)
        assert found.last[i].tobytes() == values[-1].tobytes()
        assert (found.min_steps[i], found.max_steps[i]) == (steps.min(), steps.max())
        assert (found.steps[i], found.times_ms[i]) == (steps[-1], points.times_ms[stop - 1])


VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, -0.0, float("nan"), float("inf")])
)


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    sizes=st.lists(st.tuples(st.integers(0, 30_000), st.booleans()), min_size=1, max_size=3),
    limit=st.integers(2, 9),
    shape=st.sampled_from(["ascending", "repeated", "shuffled", "falling"]),
    zoom=st.booleans(),
)
def test_the_buckets_are_what_the_points_say(data, sizes, limit, shape, zoom):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n = sum(size for size, _ in sizes)
    steps = {
        "ascending": np.arange(n) * 3,
        "repeated": np.sort(rng.integers(0, max(1, n // 5) + 1, n)),
        "shuffled": rng.integers(-(2**62), 2**62, n) // max(1, 2**62 // (n + 1)),
        "falling": np.concatenate([np.arange(n - n // 3), np.arange(n // 3)]),  # resumed from an earlier step
    }[shape]
    values = rng.normal(size=n)
    for place in data.draw(st.lists(st.integers(0, n - 1), max_size=5)) if n else []:
        values[place : place + data.draw(st.integers(1, 600))] = data.draw(VALUES)
    points, parts, start = series(values, steps), [], 0
    for size, sealed in sizes:
        parts.append(part_of(take(points, slice(start, start + size)), sealed))
        start += size
    wanted = None
    touched = [points]
    if zoom and n:
        wanted = tuple(sorted(data.draw(st.lists(st.sampled_from(steps.tolist()), min_size=2, max_size=2))))
        whole, points = points, take(points, np.flatnonzero((steps >= wanted[0]) & (steps <= wanted[1])))
        touched = [points] + [take(whole, touched_windows(parts, wanted, window)) for window in (256, 4096)]
    check(downsample(parts, limit, wanted), points, limit)
    found = downsample(parts, limit, wanted, limit // 2)
    check_quick(found, next(some for some in touched if len(some) == found.counts.sum()), limit)


def touched_windows(parts, wanted, window) -> np.ndarray:
    """The positions of all points that lie in a window whose steps reach into those wanted."""
    found, start = [np.empty(0, np.intp)], 0
    for part in parts:
        sealed = isinstance(part, LongSeries)
        steps = part.read(0, part.size).steps if sealed else part.steps
        inside = (steps >= wanted[0]) & (steps <= wanted[1])
        if sealed:
            starts = np.arange(0, len(steps), window)
            low, high = np.minimum.reduceat(steps, starts), np.maximum.reduceat(steps, starts)
            inside = np.repeat((high >= wanted[0]) & (low <= wanted[1]), window)[: len(steps)]
        found.append(start + np.flatnonzero(inside))
        start += len(steps)
    return np.concatenate(found)


def test_the_ends_of_a_range_are_not_decoded_where_windows_are_enough():
    points = series(np.random.default_rng(0).normal(size=100_000))

    def never(start: int, stop: int) -> Points:
        raise AssertionError(f"points {start} to {stop} were decoded")

    part = part_of(points, True)._replace(read=never)
    found = downsample([part], 150, (53_174, 73_809), 50)
    assert (found.min_steps[0], found.max_steps[-1]) == (52_992, 73_983)  # whole windows
    with pytest.raises(AssertionError, match="were decoded"):  # what a rewind left out must not come back
        downsample([part.until(60_000)], 150, (0, 90_000), 50)


def test_many_series_are_joined_as_each_alone_would_be():
    rng = np.random.default_rng(0)
    every = [bucketed(series(rng.normal(size=n)), np.arange(0, n, 7)) for n in (3, 900, 901, 5_000, 900, 70)]
    for found, alone in zip(coarsened(every, 20), every, strict=True):
        np.testing.assert_equal(tuple(found), tuple(coarsened([alone], 20)[0]))
        assert found.counts.sum() == alone.counts.sum()
    assert coarsened([], 20) == []


def check_quick(found: Buckets, points: Points, limit: int) -> None:
    """What holds where windows are taken whole: fewer buckets, no point left out."""
    assert found.counts.sum() == len(points)
    assert len(found.counts) <= limit
    assert len(found.counts) >= min(limit // 2, len(points))
    stops = np.cumsum(found.counts)
    np.testing.assert_array_equal(found.last, points.values[stops - 1])
    np.testing.assert_array_equal(found.steps[1:], points.steps[stops[1:] - 1])
    for i, (start, stop) in enumerate(zip(stops - found.counts, stops, strict=True)):
        values = points.values[start:stop]
        known = values[~np.isnan(values)]
        if i == 1:  # the first point may count here, too
            known = np.append(known, found.last[0]) if found.min[1] < min(known, default=np.inf) else known
            known = np.append(known, found.last[0]) if found.max[1] > max(known, default=-np.inf) else known
        expected = (known.min() + 0.0, known.max() + 0.0) if len(known) else (np.nan, np.nan)
        if i != 1 or len(known):
            np.testing.assert_equal((found.min[i], found.max[i]), expected)


def test_buckets_of_a_long_series_are_of_nearly_the_same_size():
    points = series(np.random.default_rng(0).normal(size=600_000))
    found = downsample([part_of(points, True)], 1_000, None)
    assert len(found.counts) == 1_000
    assert set(found.counts[2:-1].tolist()) <= {512, 768}


def test_no_point_is_decoded_where_windows_are_enough():
    points = series(np.random.default_rng(0).normal(size=100_000))

    def never(start: int, stop: int) -> Points:
        raise AssertionError(f"points {start} to {stop} were decoded")

    part = part_of(points, True)._replace(read=never)
    found = downsample([part], 700, None, 350)
    assert len(found.counts) == 392
    assert (found.counts[0], found.steps[0], found.last[0]) == (1, 0, points.values[0])
    check_quick(found, points, 700)


@pytest.fixture
def folder(tmp_path):
    """An experiment in three sources: a segment with a long series, one with a short, a live journal."""
    logs = tmp_path / "exp_001_x" / "logs"
    logs.mkdir(parents=True)
    rng = np.random.default_rng(1)
    sealed = []
    for n, count in ((1, 9_000), (2, 300)):
        points = series(rng.normal(size=count), np.arange(count) + 100 * n)
        sealed.append(points)
        write_segment(
            logs / f"metrics-host-1-{n}.seg",
            keys=[KEY],
            index=np.zeros(count, np.uint32),
            epochs=points.epochs,
            steps=points.steps,
            times_ms=points.times_ms,
            values=points.values,
            events=b"",
            sources=[f"journal-host-1-{n}"],
        )
    writer = Recorder(logs, {"host": "host", "pid": os.getpid()})
    writer.event("create", experiment_id="exp_001", uid="0" * 32, name="x", project="default", description="")
    for step in range(50):
        writer.log_metric("loss", step / 7, 9_400 + step, None, "train")
    yield tmp_path / "exp_001_x"
    writer.close()


@pytest.mark.parametrize("steps", [None, (500, 700), (9_390, 9_420), (9_440, None), (None, 150), (10**6, None)])
@pytest.mark.parametrize("limit", [2, 9, 1_000])
def test_segments_and_a_live_journal_are_one_series(folder, steps, limit):
    reader = ExperimentReader(folder)
    points = reader.read("loss")
    assert len(points) == 9_350
    if steps is not None:
        low, high = steps
        inside = (points.steps >= (low or 0)) & (points.steps <= (2**40 if high is None else high))
        points = take(points, np.flatnonzero(inside))
    check(reader.read_downsampled("loss", points=limit, steps=steps), points, limit)


def test_a_spike_and_a_nan_between_a_million_points_are_seen(folder):
    count = 1_000_000
    values = np.sin(np.arange(count) / 1e5)
    values[[345_678, 600_000]] = 50.0, np.nan
    points = series(values)
    path = folder / "logs" / "metrics-host-1-1.seg"
    write_segment(
        path,
        keys=[KEY],
        index=np.zeros(count, np.uint32),
        epochs=points.epochs,
        steps=points.steps,
        times_ms=points.times_ms,
        values=points.values,
        events=b"",
        sources=["journal-host-1-1"],
    )
    found = ExperimentReader(folder).read_downsampled("loss", "train", points=1_000)
    assert found.max.max() == 50.0
    peak = int(found.max.argmax())
    assert found.min_steps[peak] <= 345_678 <= found.max_steps[peak]
    (where,) = np.flatnonzero(found.nan_counts)
    assert found.min_steps[where] <= 600_000 <= found.max_steps[where]
    with SegmentReader(path) as reader:
        decoded = reader.overview(0)
    assert decoded.max.max() == 50.0


def test_what_is_not_allowed_says_what_is(folder):
    reader = ExperimentReader(folder)
    with pytest.raises(InputError, match="points is a whole number from 2, not 1"):
        reader.read_downsampled("loss", points=1)
    with pytest.raises(InputError, match=r"points is a whole number from 2, not 1\.5"):
        reader.read_downsampled("loss", points=1.5)
    with pytest.raises(InputError, match="steps is a pair of whole numbers, smallest and largest, not 7"):
        reader.read_downsampled("loss", steps=7)
    with pytest.raises(InputError, match="steps is a pair"):
        reader.read_downsampled("loss", steps=(0, 1.5))
    with pytest.raises(MetricNotFoundError, match="did you mean 'loss'"):
        reader.read_downsampled("los")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(low=st.integers(-10, 9_500), width=st.integers(0, 3_000), limit=st.integers(2, 40))
def test_any_range_of_steps(folder, low, width, limit):
    reader = ExperimentReader(folder)
    points = reader.read("loss")
    inside = np.flatnonzero((points.steps >= low) & (points.steps <= low + width))
    check(reader.read_downsampled("loss", points=limit, steps=(low, low + width)), take(points, inside), limit)


def test_what_is_told_at_once_is_what_each_series_tells_alone(tmp_path):
    rng = np.random.default_rng(5)
    every = [series(rng.normal(size=count)) for count in (5_000, 100, 5_000, 40_000, 4_096, 9_999)]
    every[2].values[:300] = np.nan
    every[4].values[0] = -0.0
    every.append(series(rng.normal(size=6_000), rng.permutation(6_000)))
    keys = [SeriesKey(f"m{number}", "") for number in range(len(every))]
    logs = tmp_path / "exp_001_x" / "logs"
    logs.mkdir(parents=True)
    about = '"experiment_id":"exp_001","uid":"0123","name":"x","project":"default","description":""'
    write_segment(
        logs / "metrics-host-1-1.seg",
        keys=keys,
        index=np.repeat(np.arange(len(every)), [len(points) for points in every]),
        steps=np.concatenate([points.steps for points in every]),
        epochs=np.concatenate([points.epochs for points in every]),
        times_ms=np.concatenate([points.times_ms for points in every]),
        values=np.concatenate([points.values for points in every]),
        events=f'{{"t":1,"type":"create",{about}}}\n'.encode(),
        sources=["journal-host-1-1"],
    )
    reader = ExperimentReader(tmp_path / "exp_001_x")
    told = set()
    for limit in (2, 3, 5, 16, 40, 150, 500):
        for asked in (keys, keys[::-2], keys[3:4]):
            found = reader.read_thinned(asked, limit)
            told |= found.keys()
            for key, buckets in found.items():
                expected = coarsened([reader.read_entries(key, limit, None)], limit)[0]
                for row, other in zip(buckets, expected, strict=True):
                    assert row.dtype == other.dtype and row.tobytes() == other.tobytes()
    assert told == {keys[0], keys[2], keys[3], keys[4], keys[5]}  # the others are short, or out of order
