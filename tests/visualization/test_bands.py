"""Bands over seeds: lines only where every seed has a point, edges that are the statistics they are called."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import FramewormWarning, InputError, MetricNotFoundError
from frameworm.experiment.query.statistics import bootstrap_interval
from frameworm.experiment.visualization import plot_aggregate
from frameworm.experiment.visualization.bands import RESAMPLES, on_common_steps


def record(root: Path, model: str, points: Sequence[tuple[int, float]], metric: str = "loss") -> str:
    with Experiment(model, {"model": model}, root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        for step, value in points:
            exp.log_metric(metric, value, step=step)
    return exp.experiment_id


def curve(root: Path, model: str, seeds: int, steps: int = 40) -> NDArray[np.float64]:
    """Record seeds of a model; return their values, (seeds, steps)."""
    random = np.random.default_rng(len(model))
    values = 1 / (1 + np.arange(steps)) + 0.1 * random.normal(size=(seeds, steps))
    for row in values:
        record(root, model, list(enumerate(row.tolist())))
    return values


def lines_of(figure: Figure) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return x and y of the groups' lines, in their order."""
    drawn = [line for line in figure.axes[0].get_lines() if line.get_transform() == figure.axes[0].transData]
    return [(np.asarray(x.get_xdata()), np.asarray(x.get_ydata())) for x in drawn if x.get_linestyle() != "None"]


def band_of(figure: Figure, number: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return lower and upper edge of a band, which has no gaps."""
    outline = figure.axes[0].collections[number].get_paths()[0].vertices
    n = (len(outline) - 3) // 2
    return outline[1 : n + 1, 1], outline[n + 2 : -1, 1][::-1]


def texts_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentManager, NDArray[np.float64]]:
    """Five seeds of a vae and three of a gan; the manager, and the values of the vaes."""
    root = tmp_path_factory.mktemp("bands") / "experiments"
    values = curve(root, "vae", 5)
    curve(root, "gan", 3)
    return ExperimentManager(root), values


Seeds = tuple[ExperimentManager, NDArray[np.float64]]


@pytest.mark.parametrize(
    ("keywords", "line", "lower", "upper"),
    [
        ({"band": "std"}, np.mean, lambda v: v.mean(0) - v.std(0, ddof=1), lambda v: v.mean(0) + v.std(0, ddof=1)),
        (
            {"band": "sem"},
            np.mean,
            lambda v: v.mean(0) - v.std(0, ddof=1) / math.sqrt(5),
            lambda v: v.mean(0) + v.std(0, ddof=1) / math.sqrt(5),
        ),
        ({"band": "iqr"}, np.mean, lambda v: np.quantile(v, 0.25, axis=0), lambda v: np.quantile(v, 0.75, axis=0)),
        ({"band": "minmax"}, np.mean, lambda v: v.min(axis=0), lambda v: v.max(axis=0)),
        (
            {"band": "ci", "confidence": 0.8},
            np.mean,
            lambda v: bootstrap_interval(v, 0.8, resamples=RESAMPLES)[0],
            lambda v: bootstrap_interval(v, 0.8, resamples=RESAMPLES)[1],
        ),
        (
            {"band": "iqr", "center": "iqm"},
            lambda v, axis: np.sort(v, axis=0)[1:-1].mean(axis=0),
            lambda v: np.quantile(v, 0.25, axis=0),
            lambda v: np.quantile(v, 0.75, axis=0),
        ),
    ],
)
def test_line_and_band_are_what_they_are_called(
    seeds: Seeds, keywords: dict[str, Any], line: Any, lower: Any, upper: Any
) -> None:
    manager, values = seeds
    figure = plot_aggregate(manager, "config.model == 'vae'", "loss", "config.model", **keywords)
    ((x, y),) = lines_of(figure)[:1]
    assert np.array_equal(x, np.arange(40))
    assert y == pytest.approx(line(values, axis=0), rel=1e-12)
    low, high = band_of(figure)
    assert low == pytest.approx(lower(values), rel=1e-12)
    assert high == pytest.approx(upper(values), rel=1e-12)


def test_each_group_has_a_line_and_a_name_with_its_size(seeds: Seeds, tmp_path: Path) -> None:
    manager, _ = seeds
    path = tmp_path / "new" / "bands.png"
    figure = plot_aggregate(manager, None, "loss", ["project", "config.model"], path, theme="dark", title="Seeds")
    assert len(lines_of(figure)) == len(figure.axes[0].collections) == 2
    shown = texts_of(figure)
    assert "default, model=gan (n = 3)" in shown and "default, model=vae (n = 5)" in shown
    assert "train · mean and its 95 % bootstrap interval of 8 experiments in 2 groups" in shown
    assert "Seeds" in shown
    image = matplotlib.image.imread(path)
    assert image.shape[:2] == (800, 1440)
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50


def test_the_order_of_ids_changes_nothing(seeds: Seeds, tmp_path: Path) -> None:
    manager, _ = seeds
    ids = [f"exp_{i:03d}" for i in range(1, 9)]
    for name, some in (("a", ids), ("b", ids[::-1])):
        plot_aggregate(manager, some, "loss", "config.model", tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_step_counts_where_every_seed_has_it(tmp_path: Path) -> None:
    record(tmp_path, "vae", [(0, 1.0), (10, 2.0), (20, 3.0), (20, 5.0), (40, 7.0)])
    record(tmp_path, "vae", [(0, 3.0), (20, 1.0), (15, 9.0), (30, 2.0)])
    manager = ExperimentManager(tmp_path)
    with pytest.warns(FramewormWarning, match=r"model=vae \(n = 2\): 2 of 6 steps have a point of each"):
        figure = plot_aggregate(manager, None, "loss", "config.model", band="minmax")
    ((x, y),) = lines_of(figure)[:1]
    assert x.tolist() == [0, 20]
    assert y.tolist() == [2.0, 3.0]  # of the two points at step 20, the last to arrive
    figure = plot_aggregate(manager, None, "loss", "config.model", band="minmax", interpolate=True)
    ((x, y),) = lines_of(figure)[:1]
    assert x.tolist() == [0, 10, 15, 20, 30]
    assert y.tolist() == [2.0, (2 + 7) / 2, (3.5 + 9) / 2, 3.0, (6 + 2) / 2]
    assert "interpolated" in texts_of(figure)


def test_no_step_in_common_says_so(tmp_path: Path) -> None:
    record(tmp_path, "vae", [(0, 1.0), (2, 1.0)])
    record(tmp_path, "vae", [(1, 1.0), (3, 1.0)])
    with pytest.warns(FramewormWarning, match="0 of 4 steps"):
        figure = plot_aggregate(ExperimentManager(tmp_path), None, "loss", "config.model")
    assert "no x in common" in texts_of(figure)


def test_a_bad_value_is_a_gap_and_a_mark(tmp_path: Path) -> None:
    record(tmp_path, "vae", [(0, 1.0), (1, math.nan), (2, 1.0)])
    record(tmp_path, "vae", [(0, 2.0), (1, 2.0), (2, math.inf)])
    figure = plot_aggregate(ExperimentManager(tmp_path), None, "loss", "config.model", band="std")
    y = lines_of(figure)[0][1]
    assert y[0] == 1.5 and np.isnan(y[1:]).all()
    assert "× NaN" in texts_of(figure) and "▲ +∞" in texts_of(figure)


def test_who_is_left_out_is_told(tmp_path: Path) -> None:
    record(tmp_path, "vae", [(0, 1.0), (1, 0.5)])
    record(tmp_path, "vae", [(0, 1.0)], metric="other")
    with pytest.raises(ValueError, match="boom"):
        with Experiment("f", {"model": "vae"}, root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
            exp.log_metric("loss", 9.0, step=0)
            raise ValueError("boom")
    manager = ExperimentManager(tmp_path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure = plot_aggregate(manager, None, "loss", "config.model", band="std")
    assert [str(one.message) for one in told] == [
        "exp_002 has no metric 'loss': left out",
        "exp_003 failed or crashed: left out",
    ]
    assert all(one.filename == __file__ for one in told)
    assert "model=vae (n = 1 of 3)" in texts_of(figure)
    with pytest.raises(InputError, match="exp_003: all experiments with 'loss' failed"):
        plot_aggregate(manager, ["exp_003"], "loss", "config.model")


def test_a_logarithmic_axis_counts_what_it_cannot_show(tmp_path: Path) -> None:
    for offset in (0.0, 0.5):
        record(tmp_path, "vae", [(step, 10.0 - 2 * step + offset) for step in range(8)])
    figure = plot_aggregate(ExperimentManager(tmp_path), None, "loss", "config.model", band="std", log=True)
    assert figure.axes[0].get_yscale() == "log"
    assert "2 values ≤ 0 not on a log axis" in texts_of(figure)


def test_long_series_are_thinned_and_the_interval_is_of_what_is_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    values = random.normal(size=(3, 20_000))
    values[:, 12_345] = 40.0
    for row in values:
        record(tmp_path, "vae", list(enumerate(row.tolist())))
    figure = plot_aggregate(ExperimentManager(tmp_path), None, "loss", "config.model")
    x, y = lines_of(figure)[0]
    assert len(x) < 2_100
    assert y[x == 12_345].tolist() == [40.0]
    assert y == pytest.approx(values[:, x.astype(int)].mean(axis=0), rel=1e-12)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"band": "se"}, "band is 'se'; allowed is 'ci' or 'std' or 'sem' or 'iqr' or 'minmax'"),
        ({"center": "median"}, "allowed is 'mean' or 'iqm'"),
        ({"center": "iqm", "band": "std"}, "with center='iqm', take 'ci', 'iqr' or 'minmax'"),
        ({"confidence": 2}, "between 0 and 1"),
        ({"interpolate": "yes"}, "interpolate is 'yes'"),
        ({"save_path": "x.jpg"}, "suffixes .png, .svg and .pdf"),
        ({"group_by": "config.modle"}, "did you mean 'config.model'"),
        ({"query_or_ids": "name == 'nobody'"}, "means no experiment"),
    ],
)
def test_mistakes_are_told_with_what_is_allowed(seeds: Seeds, keywords: dict[str, Any], message: str) -> None:
    wanted = {"query_or_ids": None, "metric": "loss", "group_by": "config.model"} | keywords
    with pytest.raises(InputError) as raised:
        plot_aggregate(seeds[0], **wanted)
    assert message in str(raised.value)


def test_an_unknown_metric_suggests_the_nearest(seeds: Seeds) -> None:
    with pytest.raises(MetricNotFoundError, match="did you mean 'loss'"):
        plot_aggregate(seeds[0], None, "lsos", "config.model")


grids = st.lists(st.integers(0, 12), min_size=1, max_size=8, unique=True).map(sorted)


@given(st.lists(grids, min_size=1, max_size=4))
def test_common_steps_are_those_of_all(members: list[list[int]]) -> None:
    made = [(np.array(steps, float), np.array(steps, float) * (i + 1)) for i, steps in enumerate(members)]
    x, table, every = on_common_steps(made, interpolate=False)
    assert x.tolist() == sorted(set.intersection(*map(set, members)))
    assert every == len(set.union(*map(set, members)))
    assert np.array_equal(table, np.outer(np.arange(1, len(members) + 1), x))
    x, table, _ = on_common_steps(made, interpolate=True)
    assert all(steps[0] <= at <= steps[-1] for steps in members for at in x)
    assert table == pytest.approx(np.outer(np.arange(1, len(members) + 1), x))  # a straight line stays one
