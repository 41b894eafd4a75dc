"""The three figures: one metric of many experiments, many metrics of one, and the grid of both."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from frameworm.experiment.errors import FramewormWarning, InputError
from frameworm.experiment.visualization.curves import Band, Curve, curve_of, curve_of_group
from frameworm.experiment.visualization.output import DPI, check_path, no_glyph_warnings, save
from frameworm.experiment.visualization.panel import can_label_ends, draw_panel, handle, label_ends, with_best
from frameworm.experiment.visualization.series import (
    Series,
    X,
    check_ids,
    choose_groups,
    find_series,
    metrics_of,
    no_such_metric,
    read_series,
    some,
)
from frameworm.experiment.visualization.style import (
    PAD_INCHES,
    SMALL_PT,
    TEXT_PT,
    THEMES,
    TITLE_PT,
    Look,
    Theme,
    elide,
    font_families,
    looks,
    text_width,
    unit_of_time,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from frameworm.experiment.manager import ExperimentManager
    from frameworm.experiment.query.read import ExperimentReader

Best = Literal["min", "max"]
Groups = str | Mapping[str, Iterable[str]]

MAX_PANELS = 24
MAX_LEGEND = 60
_LEGEND_BESIDE = 16
_LABEL_LIMIT = 30
_SPREAD_WORDS = {"std": "± standard deviation", "se": "± standard error", "minmax": "from lowest to highest"}


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
        smoothing: 0 ≤ a < 1, the weight of the past in a debiased exponential moving average over points,
            m_t = a·m_{t-1} + (1-a)·y_t, shown as m_t / (1 - a^t); the values as logged stay faintly behind.
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
    view = _View.of(x=x, smoothing=smoothing, log=log, band=band, best=best, theme=theme)
    path = check_path(save_path)
    lines = _Lines(_open(manager, check_ids(experiment_ids)), groups, view)
    _check_metrics([metric], "metric")
    panel = lines.panel(metric)
    if panel is None:
        raise no_such_metric(list(lines.readers.values()), [metric])
    _warn(lines.complaints)
    curves, factor_label = _on_axis([panel], view)
    figure, axes_list = _figure(
        1, 1, (7.2, 4.1), lines.title(metric if title is None else title), lines.subtitle([panel]), view
    )
    axes = axes_list[0]
    axes.set_xlabel(factor_label)
    axes.set_ylabel(elide(metric, 48))
    draw_panel(axes, curves[0], view.theme, log=view.is_log(metric), whole_x=view.x != "time")
    labels = [with_best(curve.label, curve, view.best) for curve, _ in curves[0]]
    _name_lines(figure, [axes], [curves[0]], labels, [look for _, look in curves[0]], view.theme)
    return _finish(figure, path)


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
    view = _View.of(x=x, smoothing=smoothing, log=log, band="std", best=best, theme=theme)
    path = check_path(save_path)
    panels = _panels_of(metrics)
    wanted = [metric for panel in panels.values() for metric in panel]
    reader = _open(manager, check_ids([experiment_id], "experiment_id"))[experiment_id]
    found = {metric: find_series(reader, metric) for metric in wanted}
    if missing := [metric for metric, series in found.items() if series is None]:
        error = no_such_metric([reader], missing)
        if len(missing) == len(wanted):
            raise error
        _warn([f"{error}; it is left out"])
    drawn: list[_Panel] = []
    for name, members in panels.items():
        there = [metric for metric in members if found[metric]]
        if not there:
            continue
        panel = _Panel(name if len(there) > 1 else there[0])
        for metric, look in zip(there, looks(len(there), view.theme), strict=True):
            series = _read(reader, metric, view.x)
            panel.add(_curve(metric, series, view, panel.log(view, there)), look, series)
        drawn.append(panel)
    curves, x_label = _on_axis(drawn, view)
    rows, columns = _shape(len(drawn), narrow=3)
    size = (7.2, 1.0 + rows * (2.0 if rows > 1 else 3.0))
    name = reader.info.name if title is None else title
    subtitle = " · ".join([experiment_id, reader.info.status, *view.words(drawn)])
    figure, axes_list = _figure(rows, columns, size, name, subtitle, view, count=len(drawn))
    for axes, panel, group in zip(axes_list, drawn, curves, strict=True):
        draw_panel(axes, group, view.theme, log=panel.is_log, whole_x=view.x != "time", title=panel.name)
    _share_x(axes_list, columns, x_label)
    with no_glyph_warnings():
        figure.draw_without_rendering()
    for axes, group in zip(axes_list, curves, strict=True):
        labels = [with_best(curve.label if len(group) > 1 else "", curve, view.best).strip() for curve, _ in group]
        if not any(labels):
            continue
        if can_label_ends([curve for curve, _ in group]):
            label_ends(axes, group, labels)
        else:
            _legend_in(axes, [look for _, look in group], labels, view.theme)
    return _finish(figure, path)


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
        the figure; ``figure.axes`` are the panels in order.

    Raises:
        MetricNotFoundError: none of the experiments has any of the metrics, or any metric at all.
        ExperimentNotFoundError: there is no such experiment.
        InputError: an argument is not allowed; the message says what is.
        OSError: the file cannot be written.
    """
    view = _View.of(x=x, smoothing=smoothing, log=log, band=band, best=best, theme=theme)
    path = check_path(save_path)
    lines = _Lines(_open(manager, check_ids(experiment_ids)), groups, view)
    readers = list(lines.readers.values())
    wanted = metrics_of(readers) if metrics is None else _check_metrics(metrics, "metrics")
    if len(wanted) > MAX_PANELS:
        left = len(wanted) - MAX_PANELS
        lines.complaints.append(f"{left} of {len(wanted)} metrics are not drawn; choose up to {MAX_PANELS} by metrics=")
        wanted = wanted[:MAX_PANELS]
    panels = [panel for metric in wanted if (panel := lines.panel(metric)) is not None]
    if not panels:
        raise no_such_metric(readers, wanted or ["of any name"])
    if absent := [metric for metric in wanted if metric not in {panel.name for panel in panels}]:
        lines.complaints.insert(0, f"{no_such_metric(readers, absent)}; it is left out")
    _warn(lines.complaints if metrics is not None else [c for c in lines.complaints if "is left out" not in c])
    curves, x_label = _on_axis(panels, view)
    rows, columns = _shape(len(panels), narrow=1)
    default = "Comparison of experiments" if len(readers) > 1 else readers[0].info.name
    figure, axes_list = _figure(
        rows,
        columns,
        (7.2 if columns < 3 else 9.6, 1.0 + rows * (2.1 if rows > 1 else 2.6)),
        lines.title(default if title is None else title),
        lines.subtitle(panels),
        view,
        count=len(panels),
    )
    for axes, panel, group in zip(axes_list, panels, curves, strict=True):
        draw_panel(axes, group, view.theme, log=panel.is_log, whole_x=view.x != "time", title=panel.name)
    _share_x(axes_list, columns, x_label)
    _legend_below(figure, lines.looks, list(lines.groups), view.theme)
    return _finish(figure, path)


# ------------------------------------------------------------------------------------------------ what to draw


@dataclass(frozen=True, slots=True)
class _View:
    """How the caller wants it drawn, checked."""

    x: X
    smoothing: float
    log: bool | frozenset[str]
    band: Band
    best: Best | None
    theme: Theme

    @staticmethod
    def of(*, x: Any, smoothing: Any, log: Any, band: Any, best: Any, theme: Any) -> _View:
        for name, value, allowed in (
            ("x", x, ("step", "epoch", "time")),
            ("band", band, ("std", "se", "minmax")),
            ("best", best, ("min", "max", None)),
            ("theme", theme, tuple(THEMES)),
        ):
            if value not in allowed:
                raise InputError(f"{name} is {value!r}; allowed is {' or '.join(map(repr, allowed))}")
        if isinstance(smoothing, bool) or not isinstance(smoothing, int | float) or not 0 <= smoothing < 1:
            raise InputError(f"smoothing is {smoothing!r}; allowed is a number from 0 (none) to below 1, such as 0.9")
        if not isinstance(log, bool):
            if isinstance(log, str) or not isinstance(log, Collection):
                raise InputError(f"log is {log!r}; allowed is True, False or a list of metric names")
            log = frozenset(log)
        return _View(x, float(smoothing), log, band, best, THEMES[theme])

    def is_log(self, *metrics: str) -> bool:
        return self.log if isinstance(self.log, bool) else not self.log.isdisjoint(metrics)

    def words(self, panels: Sequence[_Panel]) -> list[str]:
        """Return what the reader has to know of how the lines came to be."""
        words = ["mean of each epoch"] if any(panel.averaged for panel in panels) else []
        return [*words, f"smoothed by {self.smoothing:g}"] if self.smoothing else words


class _Panel:
    """The curves of one panel."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.curves: list[tuple[Curve, Look]] = []
        self.contexts: dict[str, None] = {}
        self.averaged = False
        self.is_log = False

    def log(self, view: _View, metrics: Sequence[str]) -> bool:
        self.is_log = view.is_log(*metrics)
        return self.is_log

    def add(self, curve: Curve, look: Look, *series: Series) -> None:
        self.curves.append((curve, look))
        self.contexts.update(dict.fromkeys(one.context for one in series))
        self.averaged = self.averaged or any(one.averaged for one in series)


class _Lines:
    """The experiments or groups of a comparison: a label and a look for each, the same in every panel."""

    def __init__(self, readers: dict[str, ExperimentReader], groups: Groups | None, view: _View) -> None:
        self.readers = readers
        self.grouped = groups is not None
        self.view = view
        self.complaints: list[str] = []
        self.groups = _labels(readers) if groups is None else choose_groups(readers, groups)
        if groups is not None:
            self.groups = {f"{elide(k, _LABEL_LIMIT)} (n = {len(v)})": v for k, v in self.groups.items()}
        self.looks = looks(len(self.groups), view.theme)

    def panel(self, metric: str) -> _Panel | None:
        """Return the panel of a metric, or None if no experiment has it; note which experiments lack it."""
        panel = _Panel(metric)
        log = panel.log(self.view, [metric])
        lacking: list[str] = []
        for (label, ids), look in zip(self.groups.items(), self.looks, strict=True):
            there = [one for one in ids if find_series(self.readers[one], metric)]
            lacking += [one for one in ids if one not in there]
            if not there:
                continue
            members = [_read(self.readers[one], metric, self.view.x) for one in there]
            if self.grouped:
                view = self.view
                curve = curve_of_group(
                    label, members, smoothing=view.smoothing, log=log, best=view.best, band=view.band
                )
            else:
                curve = _curve(label, members[0], self.view, log)
            panel.add(curve, look, *members)
        if not panel.curves:
            return None
        if lacking:
            verb = "has" if len(lacking) == 1 else "have"
            self.complaints.append(f"{some(lacking)} {verb} no metric {metric!r} and is left out of its panel")
        if len(panel.contexts) > 1:
            mixed = " and ".join(panel.contexts)
            self.complaints.append(f"metric {metric!r} is drawn in {mixed}; name one context: {metric + '@val'!r}")
        return panel

    def title(self, title: str) -> str:
        return title

    def subtitle(self, panels: Sequence[_Panel]) -> str:
        n = len(self.readers)
        experiments = f"{n} experiment{'s' if n > 1 else ''}"
        contexts = list(dict.fromkeys(context for panel in panels for context in panel.contexts))
        where = contexts if len(panels) == 1 else []
        if self.grouped:
            experiments = f"mean {_SPREAD_WORDS[self.view.band]} of {experiments} in {len(self.groups)} groups"
        return " · ".join([*where, experiments, *self.view.words(panels)])


def _open(manager: ExperimentManager, ids: Sequence[str]) -> dict[str, ExperimentReader]:
    return {one: manager.reader(one) for one in ids}


def _read(reader: ExperimentReader, metric: str, x: X) -> Series:
    series = read_series(reader, metric, x)
    assert series is not None
    return series


def _curve(label: str, series: Series, view: _View, log: bool) -> Curve:
    return curve_of(label, series, smoothing=view.smoothing, log=log, best=view.best)


def _labels(readers: Mapping[str, ExperimentReader]) -> dict[str, list[str]]:
    """Return a label for each experiment: its name, with the id where names look the same."""
    names = {one: elide(reader.info.name, _LABEL_LIMIT) for one, reader in readers.items()}
    often = Counter(names.values())
    labels = {}
    for one, name in names.items():
        if often[name] > 1:
            name = f"{elide(readers[one].info.name, _LABEL_LIMIT - len(one) - 1)} {one}"
        labels[name] = [one]
    return labels


_CONTEXT_PREFIX = re.compile(r"(?:train|training|val|valid|validation|test|eval)[_/.](?=.)")


def _panels_of(metrics: Iterable[str | Sequence[str]]) -> dict[str, list[str]]:
    """Return panel name → metrics: by hand where a list is given, otherwise by quantity."""
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise InputError(f"metrics is {metrics!r}; give a list of names such as ['loss', 'val_loss']")
    panels: dict[str, list[str]] = {}
    for item in metrics:
        together = item if isinstance(item, list | tuple) else [item]
        _check_metrics(together, "metrics")
        name = ", ".join(together)
        if together is not item:
            name = _CONTEXT_PREFIX.sub("", name.rpartition("@")[0] or name, count=1)
        members = panels.setdefault(name, [])
        members += [metric for metric in together if metric not in members]
    if not panels:
        raise InputError("metrics is empty; give a list of names such as ['loss', 'val_loss']")
    return panels


def _check_metrics(metrics: Any, what: str) -> list[str]:
    given = None if isinstance(metrics, str) or not isinstance(metrics, Iterable) else list(metrics)
    if not given or not all(isinstance(one, str) and one for one in given):
        raise InputError(f"{what} is {metrics!r}; give metric names such as 'loss' or 'loss@val'")
    return list(dict.fromkeys(given))


def _warn(complaints: Sequence[str]) -> None:
    for complaint in complaints:
        warnings.warn(complaint, FramewormWarning, stacklevel=3)


# ------------------------------------------------------------------------------------------------ the sheet


def _on_axis(panels: Sequence[_Panel], view: _View) -> tuple[list[list[tuple[Curve, Look]]], str]:
    """Return each panel's curves on the common x axis, and its label; time gets the unit that reads best.

    Raises:
        InputError: x is epoch and no point has one.
    """
    every = [curve for panel in panels for curve, _ in panel.curves]
    if view.x == "epoch" and any(c.logged for c in every) and not any(len(c.x) or len(c.nan_x) for c in every):
        raise InputError("x is 'epoch', but no point was logged with an epoch; use x='step' or x='time'")
    if view.x != "time":
        return [panel.curves for panel in panels], view.x
    longest = max((float(part[-1]) for c in every for part in (c.x, c.nan_x) if len(part)), default=0.0)
    factor, unit = unit_of_time(longest)
    stretched = [[(curve.stretched(factor), look) for curve, look in panel.curves] for panel in panels]
    return stretched, f"time since start ({unit})"


def _shape(n: int, *, narrow: int) -> tuple[int, int]:
    """Return rows and columns for n panels: one column up to ``narrow``, then two, three from seven on."""
    columns = 1 if n <= narrow else 2 if n <= 6 else 3
    return math.ceil(n / columns), columns


def _figure(
    rows: int,
    columns: int,
    size: tuple[float, float],
    title: str,
    subtitle: str,
    view: _View,
    *,
    count: int = 1,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with title and subtitle at its left edge, and its axes."""
    theme = view.theme
    figure = Figure(figsize=size, dpi=DPI, facecolor=theme.background, edgecolor="none", layout="constrained")
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    assert engine is not None
    pads = {"w_pad": PAD_INCHES, "h_pad": PAD_INCHES, "wspace": 0.02, "hspace": 0.02}
    engine.set(**pads)  # type: ignore[call-arg]
    axes_list: list[Axes] = []
    for i in range(count):
        axes_list.append(figure.add_subplot(rows, columns, i + 1, sharex=axes_list[0] if axes_list else None))
    width, height = size
    left, top = PAD_INCHES / width, 1 - PAD_INCHES / height
    if title:
        title = elide(title, round(width / text_width("0", TITLE_PT)))
        # The layout knows the title only: an empty second line keeps the room for the subtitle.
        figure.suptitle(
            f"{title}\n ", x=left, ha="left", va="top", fontsize=TITLE_PT, fontweight="bold", color=theme.text
        )
        figure.text(
            left, top - TITLE_PT * 1.55 / 72 / height, subtitle, va="top", fontsize=TEXT_PT, color=theme.muted
        )
    return figure, axes_list


def _share_x(axes_list: Sequence[Axes], columns: int, x_label: str) -> None:
    """Label the x axis under the lowest panel of each column only, over the range of all panels."""
    limits = [axes.dataLim.intervalx for axes in axes_list]
    for i, axes in enumerate(axes_list):
        lowest = i + columns >= len(axes_list)
        axes.tick_params(labelbottom=lowest)
        if lowest:
            axes.set_xlabel(x_label)
    del limits


def _name_lines(
    figure: Figure,
    axes_list: Sequence[Axes],
    groups: Sequence[Sequence[tuple[Curve, Look]]],
    labels: Sequence[str],
    chosen: Sequence[Look],
    theme: Theme,
) -> None:
    """Name each line of a single panel: at its end, beside the panel or below it, by their number."""
    curves = [curve for curve, _ in groups[0]]
    if can_label_ends(curves):
        with no_glyph_warnings():
            figure.draw_without_rendering()
        label_ends(axes_list[0], groups[0], labels)
    elif len(curves) <= _LEGEND_BESIDE:
        legend = axes_list[0].legend(
            [handle(look) for look in chosen],
            labels,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0,
            **_legend_style(theme),
        )
        legend.set_in_layout(True)
    else:
        _legend_below(figure, chosen, labels, theme)


def _legend_style(theme: Theme) -> dict[str, Any]:
    return {
        "frameon": False,
        "fontsize": SMALL_PT,
        "labelcolor": theme.text,
        "handlelength": 2.4,
        "handletextpad": 0.6,
        "labelspacing": 0.35,
        "columnspacing": 1.4,
        "borderpad": 0,
    }


def _legend_in(axes: Axes, chosen: Sequence[Look], labels: Sequence[str], theme: Theme) -> None:
    axes.legend(
        [handle(look) for look in chosen],
        labels,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0,
        **_legend_style(theme),
    )


def _legend_below(figure: Figure, chosen: Sequence[Look], labels: Sequence[str], theme: Theme) -> None:
    """Write the legend under the panels, in as many columns as there is room for; the figure grows by it."""
    handles = [handle(look) for look in chosen]
    shown = list(labels)
    if len(shown) > MAX_LEGEND:
        handles = [*handles[: MAX_LEGEND - 1], Line2D([], [], linestyle="none")]
        shown = [*shown[: MAX_LEGEND - 1], f"+ {len(labels) - MAX_LEGEND + 1} more"]
    width, height = figure.get_size_inches()
    column = max(text_width(label) for label in shown) + 0.55
    columns = max(1, min(len(shown), int((width - 2 * PAD_INCHES) / column)))
    rows = math.ceil(len(shown) / columns)
    figure.set_size_inches(width, height + rows * SMALL_PT * 1.35 / 72)
    figure.legend(handles, shown, loc="outside lower left", ncols=columns, borderaxespad=0, **_legend_style(theme))


def _finish(figure: Figure, path: Any) -> Figure:
    """Take names as they are (no TeX in them), in fonts that have their characters, and save."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_fontfamily(font_families())
    if path is not None:
        save(figure, path)
    return figure
