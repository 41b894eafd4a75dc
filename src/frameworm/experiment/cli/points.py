"""``plot`` without a file: curves in the terminal, or the points as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from frameworm.experiment.cli.chart import draw, mark
from frameworm.experiment.cli.program import complain
from frameworm.experiment.cli.tables import Screen
from frameworm.experiment.cli.text import inert
from frameworm.experiment.cli.views import show_legend
from frameworm.experiment.model import NO_EPOCH
from frameworm.experiment.visualization.plan import Comparison, View, on_axis
from frameworm.experiment.visualization.series import find_series, no_such_metric

if TYPE_CHECKING:
    from frameworm.experiment.query.read import ExperimentReader

_PIPE = (80, 24)


def points_document(readers: Sequence[ExperimentReader], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the points of metrics as they were logged, a dict of columns for each experiment that has one.

    Raises:
        MetricNotFoundError: no experiment has one of the metrics.
    """
    document = []
    for metric in metrics:
        found = [(reader, where) for reader in readers if (where := find_series(reader, metric)) is not None]
        if not found:
            raise no_such_metric(readers, [metric])
        for reader, (name, context) in found:
            points = reader.read(name, context)
            times = np.datetime_as_string(points.times_ms.astype("datetime64[ms]"), unit="ms")
            document.append(
                {
                    "metric": name,
                    "context": context,
                    "experiment_id": reader.info.experiment_id,
                    "name": reader.info.name,
                    "steps": points.steps.tolist(),
                    "epochs": [None if epoch == NO_EPOCH else epoch for epoch in points.epochs.tolist()],
                    "timestamps": [f"{time}Z" for time in times.tolist()],
                    "values": points.values.tolist(),
                }
            )
    return document


def plot_in_terminal(
    readers: Sequence[ExperimentReader],
    metrics: Sequence[str],
    *,
    x: Literal["step", "epoch", "time"],
    smoothing: float,
    log: bool,
) -> None:
    """Draw each metric in a chart of its own, as wide as the terminal; 80 by 24 in a pipe.

    Raises:
        MetricNotFoundError: no experiment has one of the metrics.
        InputError: smoothing is not allowed, or x is epoch and no point has one.
    """
    screen = Screen()
    width, height = (screen.width, screen.height) if screen.is_terminal else _PIPE
    view = View.checked(x=x, smoothing=smoothing, log=log, best=None, theme="light")
    comparison = Comparison({reader.info.experiment_id: reader for reader in readers}, None, view)
    for number, metric in enumerate(metrics):
        panel = comparison.panel(metric)
        if panel is None:
            raise no_such_metric(readers, [metric])
        x_label = on_axis([panel], view)
        if number:
            screen.line("")
        notes = [*view.words([panel]), *(["logarithmic"] if log else [])]
        screen.line((inert(metric), "bold"), (f" by {x_label}" + "".join(f", {note}" for note in notes), "dim"))
        _draw_panel(screen, panel, [r for r in readers if find_series(r, metric)], metric, log, width, height)
    for complaint in dict.fromkeys(comparison.complaints):
        complain("warning", complaint)


def _draw_panel(
    screen: Screen,
    panel: Any,
    readers: Sequence[ExperimentReader],
    metric: str,
    log: bool,
    width: int,
    height: int,
) -> None:
    curves = [curve for curve, _ in panel.curves]
    lines = max(8, min(24, height - len(curves) - 4))
    drawing = draw(curves, width=min(width, 160), height=lines, log=log, colors=screen.colors)
    if drawing is None:
        reason = "above zero, which a logarithmic axis needs" if log else "finite"
        screen.line((f"  nothing to draw: no value is {reason}", "yellow"))
    else:
        screen.finished(drawing)
    summaries = []
    for reader in readers:
        where = find_series(reader, metric)
        summaries += [s for s in reader.summaries() if (s.name, s.context) == where]
    marks = [mark(i, screen.colors) for i in range(len(curves))]
    show_legend(screen, marks, [reader.info for reader in readers], summaries)
    kinds = {
        "NaN": sum(s.nan_count for s in summaries),
        "infinite": sum(len(curve.bad.above) + len(curve.bad.below) for curve in curves),
        "not above zero": sum(curve.left_out for curve in curves),
    }
    if any(kinds.values()):
        kinds_there = " or ".join(kind for kind, n in kinds.items() if n)
        screen.line((f"values that are {kinds_there} are not drawn", "yellow"))
