"""What the name of a metric means. Without SQLAlchemy: charts of a server that has just started do not wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

SUMMARIES = ("last", "min", "max", "mean", "first", "count")
"""What can be asked of a metric; a bare name asks for the last value."""


class MetricRef(NamedTuple):
    """What the name of a metric in a filter means; ``context`` None stands for the default one."""

    name: str
    context: str | None
    summary: str


def resolve_metric(text: str, has_metric: Callable[[str], bool], summary: str | None = None) -> MetricRef:
    """Say what ``val_loss``, ``val_loss.min``, ``loss@val`` or ``loss@val.min`` means.

    Metric names may hold dots and ``@`` themselves: of the readings possible, the first whose name
    ``has_metric`` knows is taken, the whole text first.

    Args:
        text: as above.
        has_metric: whether there is a metric of exactly this name.
        summary: what is asked of the metric, where that is said outside ``text``.
    """
    readings = [(text, summary or "last")]
    base, _, suffix = text.rpartition(".")
    if summary is None and base and suffix in SUMMARIES:
        readings.append((base, suffix))
    refs = [MetricRef(name, None, asked) for name, asked in readings]
    for name, asked in reversed(readings):
        base, _, context = name.rpartition("@")
        if base and context:
            refs.append(MetricRef(base, context, asked))
    if len(refs) == 1:
        return refs[0]
    return next((ref for ref in refs if has_metric(ref.name)), min(refs, key=lambda ref: len(ref.name)))
