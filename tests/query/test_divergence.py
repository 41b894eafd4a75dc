"""Where series part, to the last bit."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import MetricNotFoundError
from frameworm.experiment.model import NO_EPOCH, Points
from frameworm.experiment.query.divergence import Divergence, SeriesDiff, compare_series, earliest, ulps_between
from frameworm.experiment.query.read import ExperimentReader

QUIET_NAN, OTHER_NAN = (
    struct.unpack(">d", bytes.fromhex(text))[0] for text in ("7ff8000000000000", "7ff8000000000001")
)


def points(values: list[float], steps: list[int] | None = None, epochs: list[int] | None = None) -> Points:
    n = len(values)
    return Points(
        np.array(range(n) if steps is None else steps, np.int64),
        np.array([NO_EPOCH] * n if epochs is None else epochs, np.int32),
        np.arange(n, dtype=np.int64) + 1_000,
        np.array(values, np.float64),
    )


class Record:
    """What ``compare_series`` asks of a reader."""

    def __init__(self, started_ms: int = 0, **series: Points) -> None:
        self._series = {tuple(name.split("__")): points for name, points in series.items()}
        self.info = type("Info", (), {"experiment_id": f"exp_{started_ms:03d}", "started_ms": started_ms})

    def keys(self) -> list[object]:
        from frameworm.experiment.model import SeriesKey

        return [SeriesKey(*key) for key in self._series]

    def read(self, name: str, context: str) -> Points:
        return self._series[name, context]


def compare(a: Points, b: Points) -> SeriesDiff:
    (found,) = compare_series(Record(1, loss__train=a), Record(2, loss__train=b))  # type: ignore[arg-type]
    return found


def divergence(a: Points, b: Points) -> Divergence:
    found = compare(a, b)
    assert found.state == "parts" and found.divergence is not None
    return found.divergence


# ---------------------------------------------------------------------------------------------- ulps

FLOATS = st.floats(allow_nan=False)


@given(FLOATS, FLOATS)
def test_ulps_are_a_distance(a: float, b: float) -> None:
    assert ulps_between(a, b) == ulps_between(b, a)
    assert (ulps_between(a, b) == 0) == (a == b)


@given(FLOATS, st.integers(1, 50))
def test_ulps_count_the_floats_from_one_to_the_other(a: float, n: int) -> None:
    b = a
    for _ in range(n):
        b = math.nextafter(b, math.inf)
    if not math.isinf(b):
        assert ulps_between(a, b) == n


@pytest.mark.parametrize(
    ("a", "b", "ulps"),
    [
        (1.0, 1.0 + 2**-52, 1),
        (1.0, 1.0 - 2**-53, 1),
        (0.0, -0.0, 0),
        (-5e-324, 5e-324, 2),
        (1.7976931348623157e308, math.inf, 1),
        (math.nan, 1.0, None),
        (math.nan, math.nan, None),
    ],
)
def test_ulps_at_the_edges(a: float, b: float, ulps: int | None) -> None:
    assert ulps_between(a, b) == ulps


def test_single_precision_is_counted_in_its_own_ulps() -> None:
    a = float(np.float32(0.1))
    b = float(np.nextafter(np.float32(0.1), np.float32(1)))
    found = divergence(points([a]), points([b]))
    assert (found.ulps, found.float32_ulps, found.is_rounding) == (2**29, 1, True)
    assert divergence(points([0.1]), points([0.2])).float32_ulps is None
    assert divergence(points([1e300]), points([2e300])).float32_ulps is None
    assert not divergence(points([0.5]), points([0.25])).is_rounding


# ---------------------------------------------------------------------------------------------- one series


def test_the_first_point_that_differs_is_told_in_full() -> None:
    a = points([0.5, 0.25, 0.1234, 9.0], steps=[0, 10, 20, 30], epochs=[0, 0, 1, 1])
    b = points([0.5, 0.25, 0.1235, 8.0], steps=[0, 10, 20, 30], epochs=[0, 0, 1, 1])
    found = compare(a, b)
    assert (found.state, found.points, found.same_points, found.last_steps) == ("parts", (4, 4), 2, (30, 30))
    first = found.divergence
    assert first is not None
    assert (first.position, first.columns) == (2, ("value",))
    assert (first.steps, first.epochs, first.values) == ((20, 20), (1, 1), (0.1234, 0.1235))
    assert first.difference == 0.1235 - 0.1234
    assert first.relative == abs(0.1235 - 0.1234) / 0.1235
    assert first.ulps == ulps_between(0.1234, 0.1235)


@pytest.mark.parametrize(
    ("a", "b", "columns"),
    [
        (points([1.0, 2.0]), points([1.0, 2.0], steps=[0, 2]), ("step",)),
        (points([1.0, 2.0]), points([1.0, 2.0], epochs=[NO_EPOCH, 0]), ("epoch",)),
        (points([1.0, 2.0], steps=[0, 1]), points([1.0, 3.0], steps=[0, 5]), ("step", "value")),
    ],
)
def test_steps_and_epochs_part_too(a: Points, b: Points, columns: tuple[str, ...]) -> None:
    found = divergence(a, b)
    assert (found.position, found.columns) == (1, columns)
    assert found.epochs == (None, 0 if "epoch" in columns else None)
    assert not found.is_rounding


def test_an_earlier_step_that_differs_wins_over_a_later_value() -> None:
    found = divergence(points([1.0, 2.0, 3.0], steps=[0, 7, 2]), points([1.0, 2.0, 4.0]))
    assert (found.position, found.columns, found.steps) == (1, ("step",), (7, 1))


def test_bits_count_not_equality() -> None:
    assert compare(points([math.nan, math.inf]), points([math.nan, math.inf])).state == "identical"
    zeros = divergence(points([0.0]), points([-0.0]))
    assert (zeros.ulps, zeros.difference, zeros.relative) == (0, 0.0, 0.0)
    found = compare(points([QUIET_NAN]), points([OTHER_NAN]))
    assert found.state == "parts"
    assert found.to_dict()["divergence"]["bits"] == ["0x7ff8000000000000", "0x7ff8000000000001"]
    assert found.divergence is not None and found.divergence.ulps is None


def test_times_are_not_compared() -> None:
    a = points([1.0, 2.0])
    later = Points(a.steps, a.epochs, a.times_ms + 50, a.values)
    assert compare(a, later).state == "identical"


def test_one_that_ends_earlier_is_shorter() -> None:
    found = compare(points([1.0, 2.0, 3.0]), points([1.0, 2.0]))
    assert (found.state, found.same_points, found.last_steps, found.divergence) == ("shorter", 2, (2, 1), None)
    assert compare(points([1.0, 2.0, 3.0]), points([1.0, 5.0])).state == "parts"


def test_the_last_of_a_million_points_is_found() -> None:
    values = np.linspace(0, 1, 1_000_000).tolist()
    a, b = points(values), points(values)
    b.values[-1] = math.nextafter(1.0, 2.0)
    found = divergence(a, b)
    assert (found.position, found.ulps) == (999_999, 1)
    b.values[500_000] = -1
    assert divergence(a, b).position == 500_000


# ---------------------------------------------------------------------------------------------- many series


def test_the_series_that_parted_first_is_found_by_the_clock_of_the_earlier_experiment() -> None:
    def shifted(points: Points, ms: int) -> Points:
        return Points(points.steps, points.epochs, points.times_ms + ms, points.values)

    one = {"acc__val": points([1.0, 2.0]), "loss__train": points([1.0, 2.0, 3.0]), "only__train": points([1.0])}
    other = {"acc__val": points([1.0, 5.0]), "loss__train": points([1.0, 2.0, 9.0])}
    earlier = Record(1, **{**one, "acc__val": shifted(one["acc__val"], 100)})
    later = Record(2, **{name: shifted(series, 10_000) for name, series in other.items()})
    for a, b in ((earlier, later), (later, earlier)):
        series = compare_series(a, b)  # type: ignore[arg-type]
        first = earliest(series)
        assert first is not None
        assert (first.label, first.time_ms) == ("loss@train", 1_002)
    states = {one.label: one.state for one in compare_series(earlier, later)}  # type: ignore[arg-type]
    assert states == {"acc@val": "parts", "loss@train": "parts", "only@train": "missing"}


def test_where_no_series_parts_the_shorter_one_is_first_and_then_the_missing() -> None:
    a = Record(1, loss__train=points([1.0, 2.0]), extra__train=points([1.0]))
    first = earliest(compare_series(a, Record(2, loss__train=points([1.0]))))  # type: ignore[arg-type]
    assert first is not None and (first.label, first.state) == ("loss@train", "shorter")
    first = earliest(compare_series(a, Record(2, loss__train=points([1.0, 2.0]))))  # type: ignore[arg-type]
    assert first is not None and (first.label, first.state, first.points) == ("extra@train", "missing", (1, 0))
    assert earliest(compare_series(a, a)) is None  # type: ignore[arg-type]


def record(root: Path, values: list[float]) -> ExperimentReader:
    with Experiment("e", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        for step, value in enumerate(values):
            exp.log_metric("loss", value, step=step)
            exp.log_metric("loss", value, step=step, metric_type="val")
            exp.log_metric("cpu", int(exp.experiment_id[4:]), metric_type="system")
    return ExperimentManager(root).reader(exp.experiment_id)


def test_recorded_experiments_are_compared_without_the_series_of_the_system(tmp_path: Path) -> None:
    a = record(tmp_path, [0.1, 0.2, 0.3])
    b = record(tmp_path, [0.1, 0.2, 0.30000000000000004])
    assert [(one.label, one.state) for one in compare_series(a, b)] == [("loss@train", "parts"), ("loss@val", "parts")]
    assert [one.label for one in compare_series(a, b, ["loss@val"])] == ["loss@val"]
    assert [one.label for one in compare_series(a, b, ["loss"])] == ["loss@train", "loss@val"]
    with pytest.raises(MetricNotFoundError, match=r"no metric 'los' in exp_001 or exp_002; they have 'loss'"):
        compare_series(a, b, ["los"])


def test_a_damaged_series_is_told_and_the_others_are_compared(tmp_path: Path) -> None:
    values = [math.sin(n) for n in range(5000)]
    a, b = record(tmp_path, values), record(tmp_path, values)
    (segment,) = (b.exp_dir / "logs").glob("*.seg")
    content = bytearray(segment.read_bytes())
    content[5000] ^= 1  # somewhere in the values
    segment.write_bytes(content)
    found = compare_series(a, ExperimentReader(b.exp_dir))
    assert sorted((one.state, one.points) for one in found) == [("damaged", (0, 0)), ("identical", (5000, 5000))]
