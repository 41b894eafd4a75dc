"""Bands: a metric over steps as one line a group, with a band that says how far its experiments are apart."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from frameworm.experiment.errors import FramewormWarning, InputError
from frameworm.experiment.query.samples import BROKEN, Key, columns_of
from frameworm.experiment.query.statistics import bootstrap_interval, check_confidence, interquartile_mean, name_of
from frameworm.experiment.visualization.curves import COLUMNS, Bad, Curve, finite, on_log_axis, thin
from frameworm.experiment.visualization.output import check_path
from frameworm.experiment.visualization.plan import LABEL_LIMIT, Panel, View, check_metrics
from frameworm.experiment.visualization.series import Series, no_such_metric, read_series, some
from frameworm.experiment.visualization.sheet import Sheet
from frameworm.experiment.visualization.style import elide, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from frameworm.experiment.manager import ExperimentManager
    from frameworm.experiment.query.read import ExperimentReader

    Floats = NDArray[np.float64]

Spread = Literal["std", "sem", "ci", "iqr", "minmax"]
Center = Literal["mean", "iqm"]

RESAMPLES = 1_999
"""Bootstrap samples a step: another random seed moves the edge of a band by 2 % of its width, less than a pixel or
two, and a thousand steps of five experiments take 0.1 s instead of one."""


def plot_aggregate(
    manager: ExperimentManager,
    query_or_ids: str | Iterable[str] | None,
    metric: str,
    group_by: str | Iterable[str],
    save_path: str | os.PathLike[str] | None = None,
    *,
    band: Spread = "ci",
    center: Center = "mean",
    confidence: float = 0.95,
    interpolate: bool = False,
    log: bool = False,
    title: str | None = None,
    theme: Literal["light", "dark"] = "light",
) -> Figure:
    """Draw the mean of a metric over the experiments of each group, such as the seeds of each model, with a band.

    A group's line has a point only at steps where every one of its experiments has one (of several at a step, the
    last to arrive): a mean over those that happen to be there would jump whenever one ends. A ``FramewormWarning``
    says how many steps that leaves, should it not be all. A step at which a value is NaN or infinite is a gap in the
    line, and a mark at the edge. Experiments that failed or crashed are left out; a warning and the label
    (``n = 4 of 5``) say so.

        plot_aggregate(manager, "project == 'digits'", "val_loss", "config.model", "models.pdf")
        plot_aggregate(manager, None, "loss@val", ["config.model", "config.lr"], band="iqr", center="iqm")

    Args:
        manager: where the experiments are read from.
        query_or_ids: a query as ``search_experiments`` takes, ids or uids, or None for all.
        metric: ``loss`` in its default context, ``loss@val`` in that one.
        group_by: as for ``ExperimentManager.group_experiments``.
        save_path: file to write, of suffix .png, .svg or .pdf.
        band: ``ci``: the percentile bootstrap's interval of the line (too narrow below ten experiments, see
            ``query.statistics.bootstrap_interval``); ``std`` or ``sem``: standard deviation (n - 1) or error (std / √n)
            to both sides; ``iqr``: between the quartiles; ``minmax``: all.
        center: ``mean``, or ``iqm``, the interquartile mean, with a band that is not of the mean alone.
        confidence: of ``ci``, between 0 and 1.
        interpolate: draw all steps of the range that a group's experiments have in common (at 2,000 equal distances
            if they are more), values between two points taken from the straight line that joins them.
        log: logarithmic y axis; values ≤ 0 are left out, and counted in the figure.
        title: in place of the metric's name; an empty one leaves it out.
        theme: ``light`` or ``dark``.

    Returns:
        the figure; ``figure.axes[0]`` can be changed further.

    Raises:
        MetricNotFoundError: none of the experiments has the metric. Those that lack it while others have it are
            named in a ``FramewormWarning``.
        InputError: no experiment is meant, or an argument is not allowed; the message says what is.
        OSError: the file cannot be written.

    Source: the interquartile mean and bootstrap bands follow Agarwal et al., "Deep reinforcement learning at the
    edge of the statistical precipice", NeurIPS 2021.
    """
    how = _How.checked(band, center, confidence, interpolate, log)
    view = View.checked(x="step", smoothing=0.0, log=log, best=None, theme=theme)
    path = check_path(save_path)
    check_metrics([metric], "metric")
    columns = columns_of(group_by)
    groups = manager.group_experiments(query_or_ids, columns)
    if not groups:
        raise InputError(f"{query_or_ids!r:.80} means no experiment of {manager.root_dir}; there is nothing to draw")
    lines, complaints = _lines(manager, groups, columns, metric)
    curves = []
    for (label, members), look in zip(lines, looks(len(lines), view.theme), strict=True):
        curve, gaps = curve_of_seeds(label, members, how)
        complaints += gaps
        curves.append((curve, look))
    contexts = list(dict.fromkeys(series.context for _, members in lines for series in members))
    if len(contexts) > 1:
        complaints.append(
            f"{metric!r} is of context {' in some and '.join(contexts)} in other experiments; to compare one context, "
            f"name it: '{metric}@{contexts[0]}'"
        )
    for complaint in complaints:
        warnings.warn(complaint, FramewormWarning, stacklevel=2)
    panel = Panel(metric, curves, log, contexts)
    sheet = Sheet([panel], view, size=(7.2, 4.0), columns=1, x_label="step")
    n = sum(len(members) for _, members in lines)
    count = f"{n} experiment{'s' if n > 1 else ''} in {len(lines)} group{'s' if len(lines) > 1 else ''}"
    sheet.head(metric if title is None else title, " · ".join([*contexts, f"{how.words()} of {count}"]))
    sheet.axes[0].set_ylabel(elide(metric, 40) + (" (log scale)" if log else ""))
    sheet.name_lines([[curve.label for curve, _ in curves]])
    return sheet.finish(path)


@dataclass(frozen=True, slots=True)
class _How:
    """What is drawn of a group."""

    band: Spread
    center: Center
    confidence: float
    interpolate: bool
    log: bool

    @staticmethod
    def checked(band: Any, center: Any, confidence: Any, interpolate: Any, log: Any) -> _How:
        for name, value, allowed in (
            ("band", band, tuple(_WORDS)),
            ("center", center, ("mean", "iqm")),
            ("interpolate", interpolate, (False, True)),
            ("log", log, (False, True)),
        ):
            if value not in allowed:
                raise InputError(f"{name} is {value!r:.80}; allowed is {' or '.join(map(repr, allowed))}")
        if center == "iqm" and band in ("std", "sem"):
            raise InputError(f"band={band!r} is of the mean; with center='iqm', take 'ci', 'iqr' or 'minmax'")
        return _How(band, center, check_confidence(confidence), interpolate, log)

    def words(self) -> str:
        center = "mean" if self.center == "mean" else "interquartile mean"
        interpolated = ", interpolated," if self.interpolate else ""
        return f"{center} {_WORDS[self.band].format(percent=f'{100 * self.confidence:g}')}{interpolated}"

    def line_and_band(self, table: Floats) -> tuple[Floats, Floats, Floats]:
        """Return line, lower and upper edge over a table of finite values, float64 (members, n)."""
        statistic: Callable[..., Floats] = np.mean if self.center == "mean" else interquartile_mean
        line = np.asarray(statistic(table, axis=0), np.float64)
        if self.band == "minmax":
            return line, table.min(axis=0), table.max(axis=0)
        if self.band == "iqr":
            low, high = np.quantile(table, [0.25, 0.75], axis=0)
            return line, low, high
        if self.band == "ci":
            limits = bootstrap_interval(table, self.confidence, statistic=statistic, resamples=RESAMPLES)
            return line, *limits
        n = len(table)
        spread = table.std(axis=0, ddof=1) if n > 1 else np.full(table.shape[1], np.nan)
        spread = spread / math.sqrt(n) if self.band == "sem" else spread
        return line, line - spread, line + spread


_WORDS = {
    "ci": "and its {percent} % bootstrap interval",
    "std": "± standard deviation",
    "sem": "± standard error",
    "iqr": "and the middle half",
    "minmax": "and range",
}


def _lines(
    manager: ExperimentManager, groups: Sequence[tuple[Key, list[str]]], columns: Sequence[str], metric: str
) -> tuple[list[tuple[str, list[Series]]], list[str]]:
    """Read each group's series, and say which experiments are not among them.

    Raises:
        MetricNotFoundError: none of the experiments has the metric.
    """
    lines: list[tuple[str, list[Series]]] = []
    readers: list[ExperimentReader] = []
    lacking: list[str] = []
    broken: list[str] = []
    for key, ids in groups:
        members: list[Series] = []
        for one in ids:
            reader = manager.reader(one)
            readers.append(reader)
            series = read_series(reader, metric, "step")
            if series is None:
                lacking.append(one)
            elif reader.info.status in BROKEN:
                broken.append(one)
            else:
                members.append(series)
        if members:
            of = "" if len(members) == len(ids) else f" of {len(ids)}"
            lines.append((f"{elide(name_of(columns, key), LABEL_LIMIT)} (n = {len(members)}{of})", members))
    if len(lacking) == len(readers):
        raise no_such_metric(readers, [metric])
    if not lines:
        raise InputError(f"{some(broken)}: all experiments with {metric!r} failed or crashed; there is nothing to draw")
    complaints = []
    if lacking:
        complaints.append(f"{some(lacking)} {'has' if len(lacking) == 1 else 'have'} no metric {metric!r}: left out")
    if broken:
        complaints.append(f"{some(broken)} failed or crashed: left out")
    return lines, complaints


def curve_of_seeds(label: str, members: Sequence[Series], how: _How) -> tuple[Curve, list[str]]:
    """Make the curve of a group, and say what of it could not be drawn."""
    bad, logged = Bad.of(members), sum(series.logged for series in members)
    latest = [_latest(series.x, finite(series.y)) for series in members if len(series.x)]
    x, table, steps = on_common_steps(latest, how.interpolate)
    complaints = []
    if len(latest) < len(members):
        x, table = x[:0], table[:, :0]
    if len(x) < steps and not how.interpolate:
        complaints.append(
            f"{label}: {len(x):,} of {steps:,} steps have a point of each experiment and are drawn; interpolate=True "
            "draws those between, too"
        )
    if not len(x):
        return Curve(label, x, x, bad, logged=logged, unaligned=True), complaints
    there = np.logical_and.reduce(np.isfinite(table), axis=0)
    line = np.full(len(x), np.nan)
    line[there] = table[:, there].mean(axis=0)
    # All resamples of each of a million steps would take minutes: the interval is computed where the line is drawn.
    shapes = [line] if how.band == "ci" else [line, table.min(axis=0), table.max(axis=0)]
    keep = np.unique(np.concatenate([thin(x, shape) for shape in shapes]))
    x, table, there = x[keep], table[:, keep], there[keep]
    line, lower, upper = (np.full(len(x), np.nan) for _ in range(3))
    if there.any():
        line[there], lower[there], upper[there] = how.line_and_band(table[:, there])
    left_out = 0
    if how.log:
        line, lower, upper, left_out = on_log_axis(line, lower, upper)
    return Curve(label, x, line, bad, band=(lower, upper), left_out=left_out, logged=logged), complaints


def _latest(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return each x once, with the last of its values; x ascending."""
    last = np.append(x[1:] > x[:-1], True)
    return x[last], y[last]


def on_common_steps(members: Sequence[tuple[Floats, Floats]], interpolate: bool) -> tuple[Floats, Floats, int]:
    """Put the members of a group on the same steps.

    Args:
        members: steps ascending, each once, and values, NaN where not finite.
        interpolate: not only steps at which every member has a point, but all that lie in the range that they have
            in common; NaN is no point to interpolate from.

    Returns:
        steps float64 (n,), values float64 (members, n), and how many different steps there are in all.
    """
    if not members:
        return np.empty(0), np.empty((0, 0)), 0
    every, counts = np.unique(np.concatenate([x for x, _ in members]), return_counts=True)
    if not interpolate:
        x = every[counts == len(members)]
        return x, np.stack([values[np.isin(steps, x)] for steps, values in members]), len(every)
    known = [(steps[ok], values[ok]) for steps, values in members if (ok := np.isfinite(values)).any()]
    if len(known) < len(members):
        return np.empty(0), np.empty((len(members), 0)), len(every)
    first, last = max(steps[0] for steps, _ in known), min(steps[-1] for steps, _ in known)
    x = every[(every >= first) & (every <= last)]
    if len(x) > 2 * COLUMNS:
        x = np.linspace(first, last, 2 * COLUMNS)
    return x, np.stack([np.interp(x, steps, values) for steps, values in known]), len(every)
