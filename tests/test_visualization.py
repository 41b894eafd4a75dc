"""Figures of real experiments, and the arithmetic under them."""

from __future__ import annotations

import math
import subprocess
import sys
import time
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import (
    ExperimentNotFoundError,
    FramewormWarning,
    InputError,
    MetricNotFoundError,
)
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.visualization import (
    plot_aggregate,
    plot_experiment_comparison_grid,
    plot_metric_comparison,
    plot_multiple_metrics,
)
from frameworm.experiment.visualization.curves import align, smooth, thin
from frameworm.experiment.visualization.panel import spread
from frameworm.experiment.visualization.style import THEMES, elide, looks, number, tick_labels


class Lab:
    """A root of real experiments, made by ``add``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ids: list[str] = []

    def add(self, name: str, series: dict[str, Sequence[float]], **keywords: Any) -> str:
        """Record an experiment; a metric of another context is written ``loss@val``."""
        epoch_every = keywords.pop("epoch_every", None)
        experiment = Experiment(name, root_dir=self.root, capture_console=False, system_metrics_s=0, **keywords)
        with experiment:
            for metric, values in series.items():
                bare, _, context = metric.partition("@")
                for step, value in enumerate(values):
                    epoch = None if epoch_every is None else step // epoch_every
                    experiment.log_metric(bare, value, step=step, epoch=epoch, metric_type=context or "train")
        self.ids.append(experiment.experiment_id)
        return experiment.experiment_id

    @property
    def manager(self) -> ExperimentManager:
        return ExperimentManager(self.root)


class Copies:
    """A manager to whom one real experiment is as many as there are names."""

    def __init__(self, lab: Lab, names: Sequence[str]) -> None:
        self._lab = lab
        self._names = {f"exp_{i:03d}": name for i, name in enumerate(names, start=1)}
        self.ids = list(self._names)

    def reader(self, experiment_id: str) -> ExperimentReader:
        reader = self._lab.manager.reader(self._lab.ids[0])
        reader.info = replace(reader.info, experiment_id=experiment_id, name=self._names[experiment_id])
        return reader


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "experiments")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("three") / "experiments")
    t = np.linspace(0, 1, 60)
    for i, name in enumerate(("baseline", "higher-lr", "beta-vae")):
        series = {
            "loss": (2 + i) * np.exp(-3 * t) + 0.1,
            "kl_div": 10 * t + i,
            "val_loss@val": (2 + i) * np.exp(-2 * t) + 0.2,
            "loss@val": (2 + i) * np.exp(-1 * t),
        }
        config = {"model": {"kind": "vae" if i < 2 else "beta"}, "lr": 10.0**-i}
        lab.add(name, series, config=config, tags=["digits"], epoch_every=10)
    return lab


@pytest.fixture(autouse=True)
def global_state_untouched() -> Iterator[None]:
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


def lines_of(axes: Axes) -> list[Any]:
    """The experiments' lines: not leaders, marks or faint lines behind."""
    return [line for line in axes.lines if line.get_linewidth() >= 0.8 and line.get_linestyle() != "None"]


def texts_of(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


# ------------------------------------------------------------------------------------------ comparison


def test_comparison_draws_the_points_as_logged(three: Lab) -> None:
    figure = plot_metric_comparison(three.manager, three.ids, "loss")
    (axes,) = figure.axes
    drawn = lines_of(axes)
    assert len(drawn) == 3
    for line, one in zip(drawn, three.ids, strict=True):
        points = three.manager.reader(one).read("loss")
        assert np.array_equal(line.get_xdata(), points.steps)
        assert np.array_equal(line.get_ydata(), points.values)
    assert axes.get_xlabel() == "step" and axes.get_ylabel() == "loss"
    assert {"baseline", "higher-lr", "beta-vae"} <= set(texts_of(figure).splitlines())


def test_no_display_and_no_pyplot() -> None:
    code = (
        "import sys; import frameworm.experiment.visualization; "
        "print([m for m in ('matplotlib.pyplot', 'pandas', 'tkinter') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_contexts_are_named_after_an_at_sign(three: Lab, lab: Lab) -> None:
    figure = plot_metric_comparison(three.manager, three.ids[:1], "loss@val")
    expected = three.manager.reader(three.ids[0]).read("loss", "val").values
    assert np.array_equal(lines_of(figure.axes[0])[0].get_ydata(), expected)
    one = Experiment("recall", root_dir=lab.root, capture_console=False, system_metrics_s=0)
    with one:
        one.log_metrics({"recall@10": 0.5}, step=0)
    figure = plot_metric_comparison(lab.manager, [one.experiment_id], "recall@10")
    assert figure.axes[0].get_ylabel() == "recall@10"


def test_epochs_are_averaged_and_said_to_be(three: Lab) -> None:
    figure = plot_metric_comparison(three.manager, three.ids, "loss", x="epoch")
    values = three.manager.reader(three.ids[0]).read("loss").values
    line = lines_of(figure.axes[0])[0]
    assert np.array_equal(line.get_xdata(), np.arange(6))
    assert np.allclose(line.get_ydata(), values.reshape(6, 10).mean(axis=1))
    assert "mean of each epoch" in texts_of(figure)


def test_time_is_relative_and_has_a_unit(three: Lab) -> None:
    figure = plot_metric_comparison(three.manager, three.ids, "loss", x="time")
    x = lines_of(figure.axes[0])[0].get_xdata()
    assert figure.axes[0].get_xlabel() == "time since start (s)"
    assert x[0] >= 0 and x[-1] < 60


def test_without_epochs_the_remedy_is_named(lab: Lab) -> None:
    lab.add("a", {"loss": [1.0, 2.0]})
    with pytest.raises(InputError, match="use x='step' or x='time'"):
        plot_metric_comparison(lab.manager, lab.ids, "loss", x="epoch")


def test_the_band_of_a_group_that_falls_below_zero_has_a_log_axis(lab: Lab) -> None:
    for offset in (0.0, 0.5):
        lab.add("falling", {"loss": [4.0 - 2 * step + offset for step in range(5)]})
    axes = plot_metric_comparison(lab.manager, lab.ids, "loss", groups="name", log=True).axes[0]
    assert axes.get_yscale() == "log"
    assert 0 < axes.get_ylim()[0] < 1 < axes.get_ylim()[1]


def test_log_axis_leaves_out_and_counts_what_it_cannot_show(lab: Lab) -> None:
    lab.add("a", {"loss": [-1.0, 0.0, 1.0, 10.0, 100.0]})
    figure = plot_metric_comparison(lab.manager, lab.ids, "loss", log=True)
    assert figure.axes[0].get_yscale() == "log"
    assert "2 values ≤ 0 not on a log axis" in texts_of(figure)
    lab.add("b", {"loss": [-1.0]})
    assert "no positive value" in texts_of(plot_metric_comparison(lab.manager, lab.ids[1:], "loss", log=True))


@pytest.mark.parametrize("decades", [0.01, 0.3, 0.6, 0.8, 1.2, 2, 3.5, 7, 40, 250])
def test_log_axes_have_enough_labels_and_not_too_many(lab: Lab, decades: float) -> None:
    lab.add("a", {"loss": [3.7 * 10 ** (-decades / 2), 3.7 * 10 ** (decades / 2)]})
    axes = plot_metric_comparison(lab.manager, lab.ids, "loss", log=True).axes[0]
    low, high = axes.get_ylim()
    labels = [
        label.get_text()
        for label, at in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
        if low <= at <= high
    ]
    assert 3 <= len(labels) <= 10
    assert len(set(labels)) == len(labels) and all(labels)


def test_smoothing_keeps_the_values_as_logged_behind(three: Lab) -> None:
    figure = plot_metric_comparison(three.manager, three.ids, "loss", smoothing=0.99)
    values = three.manager.reader(three.ids[0]).read("loss").values
    behind, smoothed = figure.axes[0].lines[:2]
    assert np.array_equal(behind.get_ydata(), values)
    assert behind.get_alpha() < 0.5
    assert smoothed.get_ydata()[0] == values[0]
    assert smoothed.get_ydata()[-1] > values[-1]
    assert "smoothed by 0.99" in texts_of(figure)


def test_best_is_the_best_as_logged(lab: Lab) -> None:
    lab.add("a", {"loss": [3.0, 0.125, 2.0, 1.0]})
    figure = plot_metric_comparison(lab.manager, lab.ids, "loss", best="min", smoothing=0.999)
    assert "a  min 0.125" in texts_of(figure)
    marks = [line for line in figure.axes[0].lines if line.get_markersize() == 5.5]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in marks] == [(1, 0.125)]


# ------------------------------------------------------------------------------------------ groups


def test_groups_by_param(three: Lab) -> None:
    figure = plot_metric_comparison(three.manager, three.ids, "loss", groups="config.model.kind")
    first, second = (three.manager.reader(one).read("loss").values for one in three.ids[:2])
    line = lines_of(figure.axes[0])[0]
    assert np.allclose(line.get_ydata(), (first + second) / 2)
    edge = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData)
    assert edge.y1 == pytest.approx(((first + second) / 2 + np.std([first, second], axis=0, ddof=1)).max())
    assert {"kind=vae (n = 2)", "kind=beta (n = 1)"} <= set(texts_of(figure).splitlines())


def test_groups_are_in_the_order_of_their_numbers(three: Lab) -> None:
    figure = plot_metric_comparison(three.manager, three.ids, "loss", groups="config.lr", band="minmax")
    labels = [text for text in texts_of(figure).splitlines() if text.startswith("lr=")]
    assert labels == ["lr=0.01 (n = 1)", "lr=0.1 (n = 1)", "lr=1.0 (n = 1)"]


@pytest.mark.parametrize("key", ["tags", "status", "project", "name"])
def test_groups_by_what_every_experiment_has(three: Lab, key: str) -> None:
    figure = plot_metric_comparison(three.manager, three.ids, "loss", groups=key, band="se")
    assert len(lines_of(figure.axes[0])) == (3 if key == "name" else 1)


def test_groups_by_hand(three: Lab) -> None:
    a, b, c = three.ids
    plot_metric_comparison(three.manager, three.ids, "loss", groups={"x": [a, b], "y": [c]})
    with pytest.raises(InputError, match=f"{c} is in no group"):
        plot_metric_comparison(three.manager, three.ids, "loss", groups={"x": [a, b]})
    with pytest.raises(InputError, match=f"groups names {c}"):
        plot_metric_comparison(three.manager, [a, b], "loss", groups={"x": [a, b], "y": [c]})
    with pytest.raises(InputError, match=r"did you mean 'config\.model\.kind'"):
        plot_metric_comparison(three.manager, three.ids, "loss", groups="config.model.kin")


def test_equal_steps_are_averaged_as_they_are() -> None:
    x, table = aligned([([0, 1, 2], [1, 2, 3]), ([1, 2, 3], [20, 30, 40])])
    assert x.tolist() == [0, 1, 2, 3]
    assert np.array_equal(table, [[1, 2, 3, np.nan], [np.nan, 20, 30, 40]], equal_nan=True)


def test_unequal_steps_are_interpolated_over_what_all_have() -> None:
    x, table = aligned([([0, 2, 4], [0, 2, 4]), ([1, 3, 5], [10, 30, 50])])
    assert x.tolist() == [1, 2, 3, 4]
    assert table.tolist() == [[1, 2, 3, 4], [10, 20, 30, 40]]


def test_members_without_a_common_x_are_said_to_have_none(lab: Lab) -> None:
    for steps in ((0, 2), (1, 7), (10, 12)):
        with Experiment("a", root_dir=lab.root, capture_console=False, system_metrics_s=0) as experiment:
            for step in steps:
                experiment.log_metric("loss", 1.0, step=step)
        lab.ids.append(experiment.experiment_id)
    figure = plot_metric_comparison(lab.manager, lab.ids, "loss", groups={"all": lab.ids})
    assert "no x in common" in texts_of(figure)


def aligned(members: list[tuple[list[float], list[float]]]) -> tuple[Any, Any]:
    result = align([(np.array(x, float), np.array(y, float)) for x, y in members])
    assert result is not None
    return result


# ------------------------------------------------------------------------------------------ several metrics


def test_contexts_of_a_quantity_share_a_panel(three: Lab) -> None:
    metrics = ["loss", "val_loss", "kl_div", "loss@val"]
    figure = plot_multiple_metrics(three.manager, three.ids[0], metrics)
    assert [axes.get_title("left") for axes in figure.axes] == ["loss", "kl_div"]
    assert [len(lines_of(axes)) for axes in figure.axes] == [3, 1]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert "baseline\n" in texts_of(figure) and f"{three.ids[0]} · completed" in texts_of(figure)


def test_panels_by_hand_and_log_by_name(three: Lab) -> None:
    figure = plot_multiple_metrics(three.manager, three.ids[0], [["loss", "kl_div"], "val_loss"], log=["val_loss"])
    assert [axes.get_title("left") for axes in figure.axes] == ["loss, kl_div", "val_loss"]
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log"]


def test_a_missing_metric_is_named_and_the_others_drawn(three: Lab) -> None:
    with pytest.warns(FramewormWarning, match=r"no metric 'kl_dib'; did you mean 'kl_div'") as caught:
        figure = plot_multiple_metrics(three.manager, three.ids[0], ["loss", "kl_dib"])
    assert caught[0].filename == __file__
    assert len(figure.axes) == 1
    with pytest.raises(MetricNotFoundError, match="kl_dib"):
        plot_multiple_metrics(three.manager, three.ids[0], ["kl_dib"])


# ------------------------------------------------------------------------------------------ grid


def test_grid_has_a_panel_for_every_metric_and_context(three: Lab) -> None:
    figure = plot_experiment_comparison_grid(three.manager, three.ids)
    assert [axes.get_title("left") for axes in figure.axes] == ["loss", "kl_div", "val_loss", "loss@val"]
    colors = {tuple(line.get_color() for line in lines_of(axes)) for axes in figure.axes}
    assert len(colors) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["baseline", "higher-lr", "beta-vae"]


def test_the_legend_takes_the_free_place_of_the_last_row(three: Lab) -> None:
    figure = plot_experiment_comparison_grid(three.manager, three.ids, metrics=["loss", "kl_div", "val_loss"])
    assert not figure.legends
    assert len(figure.axes) == 4 and figure.axes[3].get_legend() is not None


def test_grid_tells_of_metrics_beyond_its_panels(lab: Lab) -> None:
    lab.add("many", {f"m{i}": [1.0] for i in range(30)})
    with pytest.warns(FramewormWarning, match="6 of 30 metrics are not drawn"):
        figure = plot_experiment_comparison_grid(lab.manager, lab.ids)
    assert len(figure.axes) == 24


def test_grid_of_experiments_without_metrics(lab: Lab) -> None:
    lab.add("nothing", {})
    with pytest.raises(MetricNotFoundError, match="no metric was logged"):
        plot_experiment_comparison_grid(lab.manager, lab.ids)


# ------------------------------------------------------------------------------------------ many, long, bad


def test_fifty_experiments(tmp_path: Path, three: Lab) -> None:
    many: Any = Copies(three, ["sweep" if i % 2 else f"sweep {i}" for i in range(50)])
    figure = plot_metric_comparison(many, many.ids, "loss", tmp_path / "fifty.png")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == len(set(labels)) == 50
    assert labels[1] == "sweep exp_002"
    drawn = lines_of(figure.axes[0])
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 50
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1 and legend.y0 >= 0
    assert legend.y1 < figure.axes[0].get_window_extent().y0


def test_a_very_long_legend_is_capped(three: Lab) -> None:
    many: Any = Copies(three, [f"sweep {i}" for i in range(65)])
    for figure in (
        plot_metric_comparison(many, many.ids, "loss"),
        plot_experiment_comparison_grid(many, many.ids, metrics=["loss", "kl_div"]),
    ):
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(labels) == 60 and labels[-1] == "+ 6 more"


def test_labels_at_the_ends_do_not_overlap_and_stay_inside(three: Lab) -> None:
    many: Any = Copies(three, [f"experiment number {i}" for i in range(8)])
    figure = plot_metric_comparison(many, many.ids, "loss")
    figure.draw_without_rendering()
    boxes = sorted((t.get_window_extent() for t in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 8
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_million_points_are_drawn_in_a_second_with_every_spike(lab: Lab, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(1_000_000)
    values[123_456], values[777_777] = 50.0, -40.0
    with Experiment("long", root_dir=lab.root, capture_console=False, system_metrics_s=0) as experiment:
        for step, value in enumerate(values.tolist()):
            experiment.log_metric("loss", value, step)
    manager = lab.manager
    plot_metric_comparison(manager, [experiment.experiment_id], "loss", tmp_path / "warm.png")
    start = time.perf_counter()
    figure = plot_metric_comparison(manager, [experiment.experiment_id], "loss", tmp_path / "long.png")
    assert time.perf_counter() - start < 2  # 0.3 s on two quiet cores
    line = lines_of(figure.axes[0])[0]
    assert len(line.get_xdata()) <= 2_002
    assert {50.0, -40.0} <= set(line.get_ydata())


def test_nan_is_a_gap_and_infinities_stand_at_the_edge(lab: Lab) -> None:
    lab.add("a", {"loss": [1.0, 2.0, math.nan, 3.0, math.inf, 4.0, -math.inf, 5.0, 1.797e308]})
    figure = plot_metric_comparison(lab.manager, lab.ids, "loss")
    axes = figure.axes[0]
    marks = {line.get_marker(): line.get_xdata().tolist() for line in axes.lines if line.get_marker() in "x^v"}
    assert marks["x"] == [2] and marks["^"] == [4, 8] and marks["v"] == [6]
    assert np.flatnonzero(np.isnan(lines_of(axes)[0].get_ydata())).tolist() == [2, 4, 6, 8]
    assert axes.get_ylim()[1] < 6
    assert "× NaN · ▲ +∞ · ▼ −∞" in texts_of(figure)


@pytest.mark.parametrize(
    ("values", "note"),
    [([math.nan] * 3, "no finite value"), ([math.inf], "no finite value")],
)
def test_nothing_to_draw_is_said_in_the_axes(lab: Lab, tmp_path: Path, values: list[float], note: str) -> None:
    lab.add("a", {"loss": values})
    figure = plot_metric_comparison(lab.manager, lab.ids, "loss", tmp_path / "x.png", smoothing=0.5)
    assert note in [text.get_text() for text in figure.axes[0].texts]
    lab.add("b", {"loss": [1.0, 2.0]})
    figure = plot_metric_comparison(lab.manager, lab.ids, "loss")
    assert f"{note}: a" in figure.axes[0].get_title("right")


def test_a_single_point_is_a_dot(lab: Lab) -> None:
    lab.add("a", {"loss": [0.25]})
    axes = plot_metric_comparison(lab.manager, lab.ids, "loss").axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [line.get_xydata().tolist() for line in dots] == [[[0, 0.25]]]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [[5e-324, 1e-323], [1e149, -1e149], [1.797e308] * 2, [3.0] * 5, [1e6, 1e6 + 1e-6], [-0.0, 0.0]],
    ids=["denormal", "huge", "largest", "constant", "offset", "zero"],
)
def test_any_range_of_values_can_be_drawn(lab: Lab, tmp_path: Path, values: list[float], log: bool) -> None:
    lab.add("a", {"loss": values})
    plot_metric_comparison(lab.manager, lab.ids, "loss", tmp_path / "x.png", log=log, smoothing=0.5, best="max")
    assert (tmp_path / "x.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    "name",
    ["cost $m_{$", "profit in $ per $", "$\\alpha$", "\\frac{", "$", "a_{b}^c", "{0} %s %", "[bold]x[/]", "&amp;<b>"],
)
def test_a_metric_of_any_name_is_drawn_under_it(lab: Lab, tmp_path: Path, name: str) -> None:
    for _ in range(2):
        lab.add(name, {name: [2.0, 1.0], "other": [1.0, 2.0]})
    manager, ids = lab.manager, lab.ids
    for figure in (
        plot_metric_comparison(manager, ids, name, tmp_path / "a.png"),
        plot_multiple_metrics(manager, ids[0], [name, "other"], tmp_path / "b.svg"),
        plot_experiment_comparison_grid(manager, ids, tmp_path / "c.pdf", metrics=[name, "other"]),
        plot_aggregate(manager, None, name, "name", save_path=tmp_path / "d.png"),
    ):
        assert name in texts_of(figure)
        assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_names_are_taken_as_they_are(lab: Lab, tmp_path: Path) -> None:
    names = ["🚀 emoji", "$\\frac{1$", "实验", "عربي", "_hidden", "x" * 300]
    for name in names:
        lab.add(name, {"lo$s_🚀": [2.0, 1.0]})
    for suffix in ("png", "svg", "pdf"):
        figure = plot_metric_comparison(lab.manager, lab.ids, "lo$s_🚀", tmp_path / f"n.{suffix}", title="$x🚀")
    assert {"🚀 emoji", "$\\frac{1$", "实验", "عربي", "_hidden"} <= set(texts_of(figure).splitlines())
    assert f"{'x' * 17}…{'x' * 12}" in texts_of(figure)


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "PNG"])
def test_files_are_what_their_suffix_says_and_always_the_same(three: Lab, tmp_path: Path, suffix: str) -> None:
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix.lower()]
    contents = []
    for name in ("a", "b"):
        path = tmp_path / "new" / "folders" / f"{name}.{suffix}"
        plot_experiment_comparison_grid(three.manager, three.ids, path, smoothing=0.9)
        contents.append(path.read_bytes())
    assert contents[0].startswith(head)
    assert contents[0] == contents[1]
    assert sorted(p.name for p in path.parent.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]


def test_png_has_200_dots_an_inch(three: Lab, tmp_path: Path) -> None:
    figure = plot_metric_comparison(three.manager, three.ids, "loss", tmp_path / "a.png")
    header = (tmp_path / "a.png").read_bytes()[16:24]
    size = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
    assert size == tuple(round(200 * inches) for inches in figure.get_size_inches())


def test_svg_references_resolve(three: Lab, tmp_path: Path) -> None:
    plot_metric_comparison(three.manager, three.ids, "loss", tmp_path / "a.svg", best="min")
    root = ET.parse(tmp_path / "a.svg").getroot()
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        for key, value in element.items():
            if key.endswith("href") and value.startswith("#"):
                assert value[1:] in ids
            if key == "clip-path":
                assert value.removeprefix("url(#").removesuffix(")") in ids


def test_a_failed_write_leaves_what_was_there(three: Lab, tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError, match=r"a\.png"):
        plot_metric_comparison(three.manager, three.ids, "loss", tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes(three: Lab, theme: Any) -> None:
    figure = plot_multiple_metrics(three.manager, three.ids[0], ["loss", "val_loss"], theme=theme)
    assert matplotlib.colors.to_hex(figure.get_facecolor()).upper() == THEMES[theme].background


# ------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"x": "steps"}, "x is 'steps'; allowed is 'step' or 'epoch' or 'time'"),
        ({"smoothing": 1}, "smoothing is 1; allowed is a number from 0"),
        ({"smoothing": math.nan}, "smoothing is nan"),
        ({"smoothing": True}, "smoothing is True"),
        ({"log": "loss"}, "log is 'loss'; allowed is True, False or a list"),
        ({"band": "sd"}, "band is 'sd'"),
        ({"best": "lowest"}, "best is 'lowest'"),
        ({"theme": "solarized"}, "theme is 'solarized'; allowed is 'light' or 'dark'"),
        ({"groups": "loss"}, "groups='loss': no experiment has that"),
        ({"groups": {}}, "groups is {}"),
        ({"save_path": "loss.jpg"}, "allowed are the suffixes .png, .svg and .pdf"),
        ({"save_path": "loss"}, "save_path is 'loss'"),
    ],
)
def test_arguments_that_are_not_allowed(three: Lab, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        plot_metric_comparison(three.manager, three.ids, "loss", **keywords)
    assert message in str(caught.value)


@pytest.mark.parametrize("ids", ["exp_001", [], [1], None])
def test_ids_that_are_no_list_of_ids(three: Lab, ids: Any) -> None:
    with pytest.raises(InputError, match="give a list of experiment ids"):
        plot_metric_comparison(three.manager, ids, "loss")


@pytest.mark.parametrize("metrics", ["loss", [], [1], [[]], None])
def test_metrics_that_are_no_list_of_names(three: Lab, metrics: Any) -> None:
    with pytest.raises(InputError, match="metrics is"):
        plot_multiple_metrics(three.manager, three.ids[0], metrics)


def test_unknown_ids_and_metrics(three: Lab) -> None:
    with pytest.raises(ExperimentNotFoundError, match="exp_099"):
        plot_metric_comparison(three.manager, [*three.ids, "exp_099"], "loss")
    with pytest.raises(MetricNotFoundError, match=r"exp_001, exp_002, exp_003: no metric 'los'; did you mean 'loss'"):
        plot_metric_comparison(three.manager, three.ids, "los")
    with pytest.raises(MetricNotFoundError, match="no metric 'loss@dev'"):
        plot_metric_comparison(three.manager, three.ids, "loss@dev")


def test_experiments_that_lack_the_metric_are_named(lab: Lab) -> None:
    lab.add("has", {"loss": [1.0, 2.0]})
    lab.add("has not", {"other": [1.0]})
    with pytest.warns(FramewormWarning, match="exp_002 has no metric 'loss'") as caught:
        figure = plot_metric_comparison(lab.manager, lab.ids, "loss")
    assert caught[0].filename == __file__
    assert len(lines_of(figure.axes[0])) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_experiment_comparison_grid(lab.manager, lab.ids)


def test_contexts_are_not_mixed_silently(lab: Lab) -> None:
    lab.add("a", {"loss": [1.0, 2.0]})
    lab.add("b", {"loss@val": [1.0, 2.0]})
    with pytest.warns(FramewormWarning, match="context train in some and val in other"):
        plot_metric_comparison(lab.manager, lab.ids, "loss")


# ------------------------------------------------------------------------------------------ arithmetic

floats = st.floats(allow_nan=True, allow_infinity=False, width=32)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, st.integers(0, 400), elements=floats), st.integers(1, 20))
def test_thinning_keeps_extremes_ends_and_order(y: Any, columns: int) -> None:
    x = np.cumsum(np.arange(len(y)) % 3).astype(float)
    kept = thin(x, y, columns)
    assert len(kept) <= 2 * columns + 2
    assert (np.diff(kept) > 0).all()
    if len(y):
        assert kept[0] == 0 and kept[-1] == len(y) - 1
    if not np.isnan(y).all():
        assert np.nanmin(y[kept]) == np.nanmin(y) and np.nanmax(y[kept]) == np.nanmax(y)


def test_thinning_keeps_gaps() -> None:
    y = np.ones(10_000)
    y[4_000:5_000] = np.nan
    kept = thin(np.arange(10_000.0), y, 100)
    gap = (kept >= 4_000) & (kept < 5_000)
    assert np.isnan(y[kept][gap]).all() and gap.any()
    assert not np.isnan(y[kept][~gap]).any()


def test_smoothing_of_a_thousand_even_points_is_the_debiased_average() -> None:
    y = np.random.default_rng(1).standard_normal(1_001)
    a, m, expected = 0.9, 0.0, []
    for t, value in enumerate(y, start=1):
        m = a * m + (1 - a) * value
        expected.append(m / (1 - a**t))
    assert np.allclose(smooth(np.arange(1_001.0), y, a, 1_000.0), expected, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.integers(2, 60), elements=floats), st.floats(0.01, 0.999))
def test_smoothing_is_its_formula_at_uneven_points_with_nan(y: Any, amount: float) -> None:
    x = np.cumsum(1.0 + np.arange(len(y)) % 5)
    span = float(x[-1] - x[0])
    result = smooth(x, y, amount, span)
    assert np.array_equal(np.isnan(result), np.isnan(y))
    for t in np.flatnonzero(~np.isnan(y)):
        known = np.flatnonzero(~np.isnan(y[: t + 1]))
        weights = amount ** ((x[t] - x[known]) * 1000 / span)
        expected = (weights * y[known]).sum() / weights.sum()
        assert result[t] == pytest.approx(expected, rel=1e-5, abs=1e-5 * np.abs(y[known]).max() + 1e-300)


@given(hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1)))
def test_labels_are_spread_in_order_and_inside(at: Any) -> None:
    placed = spread(at, 0.05)
    order = np.argsort(at, kind="stable")
    assert (np.diff(placed[order]) >= 0.05 - 1e-9).all()
    assert placed.min() >= -1e-9 and placed.max() <= 1 + 1e-9


@pytest.mark.parametrize(
    ("values", "suffixes", "expected"),
    [
        ([0, 0.25, 0.5], False, ["0", "0.25", "0.50"]),
        ([-1, 0, 1], False, ["−1", "0", "1"]),
        ([0, 500, 1000], True, ["0", "500", "1000"]),
        ([0, 5_000, 10_000], True, ["0", "5k", "10k"]),
        ([0, 500_000, 1_000_000], True, ["0", "0.5M", "1.0M"]),
        ([0, 2.5e-5, 5e-5], False, ["0", "2.5×10⁻⁵", "5.0×10⁻⁵"]),
        ([1e6, 1e6 + 0.01], False, ["1000000.00", "1000000.01"]),
        ([], True, []),
    ],
)
def test_tick_labels(values: list[float], suffixes: bool, expected: list[str]) -> None:
    assert tick_labels(values, suffixes=suffixes) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (0.00061237, "0.0006124"),
        (-1234.5678, "−1235"),
        (99999.6, "100000"),
        (1e7, "10⁷"),
        (2.5e-9, "2.5×10⁻⁹"),
        (5e-324, "4.941×10⁻³²⁴"),
        (math.inf, "∞"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_for_people(value: float, expected: str) -> None:
    assert number(value) == expected


def test_looks_are_all_different() -> None:
    for theme in THEMES.values():
        for n in (1, 2, 8, 9, 50, 200):
            assert len({(look.color, look.dashes) for look in looks(n, theme)}) == n


def test_eliding_keeps_both_ends() -> None:
    assert elide("short", 30) == "short"
    assert elide("a\nb\x07c", 30) == "a b c"
    assert elide("learning-rate-0.001-seed-7", 16) == "learning-…seed-7"
    assert len(elide("x" * 100, 30)) == 30
