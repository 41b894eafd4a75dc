"""The three figures: one metric of many experiments, many metrics of one, and the grid of both."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from frameworm.experiment.errors import FramewormWarning
from frameworm.experiment.visualization.output import check_path
from frameworm.experiment.visualization.plan import (
    Best,
    Comparison,
    Groups,
    View,
    check_metrics,
    multiple,
    on_axis,
)
from frameworm.experiment.visualization.series import check_ids, metrics_of, no_such_metric
from frameworm.experiment.visualization.sheet import Sheet, labels_with_best
from frameworm.experiment.visualization.style import elide

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from frameworm.experiment.manager import ExperimentManager
    from frameworm.experiment.query.read import ExperimentReader
    from frameworm.experiment.visualization.curves import Band
    from frameworm.experiment.visualization.series import X

MAX_PANELS = 24


def plot_metric_comparison(
    manager: ExperimentManager,
    experiment_ids: Iterable[str],
    metric: str,
    save_path: str | os.PathLike[str] | None = None,
    *,
    x: X = "step",
    smoothing: float = 0.0,
    log: bool = False,
    groups: Groups | None = None,
    band: Band = "std",
    best: Best | None = None,
    title: str | None = None,
    theme: Literal["light", "dark"] = "light",
) -> Figure:
    """Draw one metric of several experiments.

    Up to eight lines that end together are labelled at their ends; otherwise there is a legend, of at most 60
    entries. Long series are thinned for drawing so that every minimum and maximum stays. NaN is a gap in the line
    and a × at the axis; infinities are triangles at the edge.

        plot_metric_comparison(manager, ["exp_001", "exp_002"], "loss", "loss.pdf")
        plot_metric_comparison(manager, ids, "loss@val", x="epoch", log=True, best="min")
        plot_metric_comparison(manager, ids, "loss", smoothing=0.9, groups="config.model.kind", band="se")

    Args:
        manager: where the experiments are read from.
        experiment_ids: whose lines are drawn, in this order.
        metric: ``loss`` in its default context (train, else val, test, the first other), ``loss@val`` in that one.
        save_path: file to write, of suffix .png (200 dots an inch), .svg or .pdf; its folders are made.
        x: ``step``; ``epoch`` (points of one epoch are averaged); ``time`` since the experiment's start.
        smoothing: 0 ≤ a < 1: draw the debiased exponential moving average in which a point's weight falls by the
            factor a on each thousandth of the x axis, the values as logged faint behind it (up to 24 lines):
            Σ a^(1000·(x_t - x_i) / span)·y_i / Σ a^(1000·(x_t - x_i) / span) over the points i ≤ t. For 1,000 even
            points that is m_t = a·m_{t-1} + (1-a)·y_t divided by 1 - a^t (Kingma and Ba, "Adam", 2015); for uneven
            x see Eckner, "Algorithms for unevenly spaced time series", 2014.
        log: logarithmic y axis; values ≤ 0 are left out, and counted in the figure.
        groups: draw means: a mapping of labels to ids, or what tells groups apart: ``name``, ``project``,
            ``status``, ``tags`` or ``config.<param>``. Members are smoothed one by one. Where they have the same x
            (some may end early) values are averaged as they are; otherwise they are interpolated linearly over
            the range all have in common.
        band: around a group's mean: ``std`` (sample standard deviation), ``se`` (std / √n) or ``minmax``.
        best: mark each line's ``min`` or ``max`` as logged, and write it beside the label.
        title: in place of the metric's name; an empty one leaves it out.
        theme: ``light`` or ``dark``.

    Returns:
        the figure; ``figure.axes[0]`` can be changed further.

    Raises:
        MetricNotFoundError: none of the experiments has the metric. Those that lack it while others have it are
            named in a ``FramewormWarning``.
        ExperimentNotFoundError: there is no such experiment.
        InputError: an argument is not allowed; the message says what is.
        OSError: the file cannot be written.
    """
    view = View.checked(x=x, smoothing=smoothing, log=log, band=band, best=best, theme=theme)
    path = check_path(save_path)
    check_metrics([metric], "metric")
    comparison = Comparison(_open(manager, check_ids(experiment_ids)), groups, view)
    panel = comparison.panel(metric)
    if panel is None:
        raise no_such_metric(list(comparison.readers.values()), [metric])
    _warn(comparison.complaints)
    sheet = Sheet([panel], view, size=(7.2, 4.0), columns=1, x_label=on_axis([panel], view))
    sheet.head(metric if title is None else title, comparison.subtitle([panel]))
    sheet.axes[0].set_ylabel(elide(metric, 40) + (" (log scale)" if panel.log else ""))
    sheet.name_lines([labels_with_best(panel, view)])
    return sheet.finish(path)


def plot_multiple_metrics(
    manager: ExperimentManager,
    experiment_id: str,
    metrics: Iterable[str | Sequence[str]],
    save_path: str | os.PathLike[str] | None = None,
    *,
    x: X = "step",
    smoothing: float = 0.0,
    log: bool | Collection[str] = False,
    best: Best | None = None,
    title: str | None = None,
    theme: Literal["light", "dark"] = "light",
) -> Figure:
    """Draw several metrics of one experiment, a panel for each quantity, all over the same x.

    The same quantity in several contexts shares a panel: ``loss`` with ``val_loss``, ``test_loss``, ``val/loss`` or
    ``loss@val``. Metrics of one scale can be put together by hand: ``[["precision", "recall"], "loss"]``.

        plot_multiple_metrics(manager, "exp_001", ["loss", "val_loss", "kl_div"], "metrics.png")

    Args:
        manager: where the experiment is read from.
        experiment_id: the experiment.
        metrics: names as for ``plot_metric_comparison``, or lists of names that share a panel.
        save_path: file to write, of suffix .png, .svg or .pdf.
        x: ``step``, ``epoch`` or ``time``.
        smoothing: as for ``plot_metric_comparison``.
        log: True for every panel, or the names of the metrics whose panels get a logarithmic axis.
        best: mark each line's ``min`` or ``max`` as logged.
        title: in place of the experiment's name.
        theme: ``light`` or ``dark``.

    Returns:
        the figure; ``figure.axes`` are the panels in order.

    Raises:
        MetricNotFoundError: the experiment has none of the metrics. Single ones it lacks are named in a
            ``FramewormWarning``.
        ExperimentNotFoundError: there is no such experiment.
        InputError: an argument is not allowed; the message says what is.
        OSError: the file cannot be written.
    """
    view = View.checked(x=x, smoothing=smoothing, log=log, best=best, theme=theme)
    path = check_path(save_path)
    reader = _open(manager, check_ids([experiment_id], "experiment_id"))[experiment_id]
    panels, complaints = multiple(reader, metrics, view)
    _warn(complaints)
    x_label = on_axis(panels, view)
    columns = 1 if len(panels) <= 3 else 2 if len(panels) <= 6 else 3
    sheet = Sheet(panels, view, size=_size(len(panels), columns), columns=columns, x_label=x_label)
    subtitle = " · ".join([experiment_id, reader.info.status, *view.words(panels)])
    sheet.head(reader.info.name if title is None else title, subtitle)
    sheet.name_lines([labels_with_best(panel, view, names=len(panel.curves) > 1) for panel in panels])
    return sheet.finish(path)


def plot_experiment_comparison_grid(
    manager: ExperimentManager,
    experiment_ids: Iterable[str],
    save_path: str | os.PathLike[str] | None = None,
    *,
    metrics: Iterable[str] | None = None,
    x: X = "step",
    smoothing: float = 0.0,
    log: bool | Collection[str] = False,
    groups: Groups | None = None,
    band: Band = "std",
    best: Best | None = None,
    title: str | None = None,
    theme: Literal["light", "dark"] = "light",
) -> Figure:
    """Draw several experiments, a panel for each metric, with one legend.

        plot_experiment_comparison_grid(manager, ["exp_001", "exp_002", "exp_003"], "grid.svg", log=["loss"])

    Args:
        manager: where the experiments are read from.
        experiment_ids: whose lines are drawn, in this order; the same colour in every panel.
        save_path: file to write, of suffix .png, .svg or .pdf.
        metrics: names as for ``plot_metric_comparison``. None: every metric in every context but ``system``, the
            first 24 (a ``FramewormWarning`` says if there are more).
        x: ``step``, ``epoch`` or ``time``.
        smoothing: as for ``plot_metric_comparison``.
        log: True for every panel, or the names of the metrics whose panels get a logarithmic axis.
        groups: as for ``plot_metric_comparison``.
        band: as for ``plot_metric_comparison``.
        best: mark each line's ``min`` or ``max`` as logged.
        title: above the grid.
        theme: ``light`` or ``dark``.

    Returns:
        the figure; ``figure.axes`` are the panels in order (and the legend's, if it has a place of its own).

    Raises:
        MetricNotFoundError: none of the experiments has any of the metrics, or any metric at all.
        ExperimentNotFoundError: there is no such experiment.
        InputError: an argument is not allowed; the message says what is.
        OSError: the file cannot be written.
    """
    view = View.checked(x=x, smoothing=smoothing, log=log, band=band, best=best, theme=theme)
    path = check_path(save_path)
    comparison = Comparison(_open(manager, check_ids(experiment_ids)), groups, view)
    readers = list(comparison.readers.values())
    wanted = metrics_of(readers) if metrics is None else check_metrics(metrics)
    panels = [panel for metric in wanted[:MAX_PANELS] if (panel := comparison.panel(metric)) is not None]
    if not panels:
        raise no_such_metric(readers, wanted)
    # Where every metric is drawn it is no news that some experiments have others.
    complaints = [] if metrics is None else comparison.complaints
    if absent := [metric for metric in wanted[:MAX_PANELS] if metric not in {panel.name for panel in panels}]:
        complaints.append(f"{no_such_metric(readers, absent)}; it is not drawn")
    if left := len(wanted) - MAX_PANELS if len(wanted) > MAX_PANELS else 0:
        complaints.append(f"{left} of {len(wanted)} metrics are not drawn; choose up to {MAX_PANELS} by metrics=")
    _warn(complaints)
    x_label = on_axis(panels, view)
    columns = 1 if len(panels) == 1 else 2 if len(panels) <= 6 else 3
    sheet = Sheet(panels, view, size=_size(len(panels), columns), columns=columns, x_label=x_label)
    name = "Comparison of experiments" if len(readers) > 1 else readers[0].info.name
    sheet.head(name if title is None else title, comparison.subtitle(panels))
    sheet.legend_for_all(list(comparison.lines), comparison.looks)
    return sheet.finish(path)


def _open(manager: ExperimentManager, ids: Sequence[str]) -> dict[str, ExperimentReader]:
    return {one: manager.reader(one) for one in ids}


def _size(panels: int, columns: int) -> tuple[float, float]:
    """Return width and height in inches; 7.2 is the width of a journal's page."""
    rows = -(-panels // columns)
    return 9.6 if columns == 3 else 7.2, 0.9 + (2.9 if rows == 1 else 1.9 * rows)


def _warn(complaints: Sequence[str]) -> None:
    for complaint in complaints:
        warnings.warn(complaint, FramewormWarning, stacklevel=3)
