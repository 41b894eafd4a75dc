"""The plan of a figure: what the caller wants, checked; which lines there are; which panel holds which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from frameworm.experiment.errors import InputError
from frameworm.experiment.visualization.curves import Band, Curve, Treatment, curve_of, curve_of_group
from frameworm.experiment.visualization.series import (
    Series,
    X,
    choose_groups,
    find_series,
    no_such_metric,
    read_series,
    some,
)
from frameworm.experiment.visualization.style import THEMES, Look, Theme, elide, looks, unit_of_time

if TYPE_CHECKING:
    from frameworm.experiment.query.read import ExperimentReader

Best = Literal["min", "max"]
Groups = str | Mapping[str, Iterable[str]]

LABEL_LIMIT = 30
_BAND_WORDS = {"std": "mean ± standard deviation", "se": "mean ± standard error", "minmax": "mean and range"}


@dataclass(frozen=True, slots=True)
class View:
    """How the caller wants it drawn."""

    x: X
    smoothing: float
    log: bool | frozenset[str]
    band: Band
    best: Best | None
    theme: Theme

    @staticmethod
    def checked(*, x: Any, smoothing: Any, log: Any, best: Any, theme: Any, band: Any = "std") -> View:
        """Return the view.

        Raises:
            InputError: an argument is not allowed.
        """
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
        return View(x, float(smoothing), log, band, best, THEMES[theme])

    def is_log(self, metrics: Sequence[str]) -> bool:
        """Return whether the panel of these metrics gets a logarithmic axis."""
        return self.log if isinstance(self.log, bool) else not self.log.isdisjoint(metrics)

    def words(self, panels: Sequence[Panel]) -> list[str]:
        """Return what the reader has to know of how the lines came to be."""
        words = ["mean of each epoch"] if any(panel.averaged for panel in panels) else []
        return [*words, f"smoothed by {self.smoothing:g}"] if self.smoothing else words


@dataclass(slots=True)
class Panel:
    """The curves of one panel, each with its look."""

    name: str
    curves: list[tuple[Curve, Look]]
    log: bool
    contexts: list[str] = field(default_factory=list)
    averaged: bool = False

    @staticmethod
    def of(
        name: str,
        metrics: Sequence[str],
        lines: Sequence[tuple[str, Look, list[Series]]],
        view: View,
        *,
        grouped: bool = False,
    ) -> Panel:
        """Make the curves of lines: label, look and the series of a line or of a group's members."""
        every = [series for _, _, members in lines for series in members]
        there = [series.x for series in every if len(series.x)]
        span = max(x[-1] for x in there) - min(x[0] for x in there) if there else 0.0
        how = Treatment(view.smoothing, float(span), view.is_log(metrics), view.best, view.band)
        curves = [
            (curve_of_group(label, members, how) if grouped else curve_of(label, members[0], how), look)
            for label, look, members in lines
        ]
        contexts = list(dict.fromkeys(series.context for series in every))
        return Panel(name, curves, how.log, contexts, any(series.averaged for series in every))


class Comparison:
    """The experiments or groups that are compared: a label and a look for each, the same in every panel.

    Attributes:
        lines: label → experiment ids.
        looks: of each line.
        complaints: what the caller should be warned of.
    """

    def __init__(self, readers: dict[str, ExperimentReader], groups: Groups | None, view: View) -> None:
        self.readers = readers
        self.view = view
        self.grouped = groups is not None
        self.lines = _labels(readers)
        if groups is not None:
            chosen = choose_groups(readers, groups)
            self.lines = {f"{elide(label, LABEL_LIMIT)} (n = {len(ids)})": ids for label, ids in chosen.items()}
        self.looks = looks(len(self.lines), view.theme)
        self.complaints: list[str] = []

    def panel(self, metric: str) -> Panel | None:
        """Return the panel of a metric, or None if no experiment has it."""
        lines: list[tuple[str, Look, list[Series]]] = []
        lacking: list[str] = []
        for (label, ids), look in zip(self.lines.items(), self.looks, strict=True):
            read = {one: read_series(self.readers[one], metric, self.view.x) for one in ids}
            lacking += [one for one, series in read.items() if series is None]
            if members := [series for series in read.values() if series is not None]:
                lines.append((label, look, members))
        if not lines:
            return None
        panel = Panel.of(metric, [metric], lines, self.view, grouped=self.grouped)
        if lacking:
            verb = "has" if len(lacking) == 1 else "have"
            self.complaints.append(f"{some(lacking)} {verb} no metric {metric!r} and cannot be drawn there")
        if len(panel.contexts) > 1:
            self.complaints.append(
                f"{metric!r} is of context {' in some and '.join(panel.contexts)} in other experiments; to compare "
                f"one context, name it: '{metric}@{panel.contexts[0]}'"
            )
        return panel

    def subtitle(self, panels: Sequence[Panel]) -> str:
        """Return what is drawn: contexts of a single panel, how many experiments, and what was done to them."""
        n = len(self.readers)
        what = f"{n} experiment{'s' if n > 1 else ''}"
        if self.grouped:
            what = f"{_BAND_WORDS[self.view.band]} of {what} in {len(self.lines)} groups"
        where = panels[0].contexts if len(panels) == 1 else []
        return " · ".join([*where, what, *self.view.words(panels)])


def _labels(readers: Mapping[str, ExperimentReader]) -> dict[str, list[str]]:
    """Return a label for each experiment: its name, with the id where names look the same."""
    names = {one: elide(reader.info.name, LABEL_LIMIT) for one, reader in readers.items()}
    often = Counter(names.values())
    return {
        name if often[name] == 1 else f"{elide(name, LABEL_LIMIT - len(one) - 1)} {one}": [one]
        for one, name in names.items()
    }


_CONTEXT_PREFIX = re.compile(r"(?:train|training|val|valid|validation|test|eval)[_/.](?=.)")


def panels_of(metrics: Any) -> dict[str, list[str]]:
    """Return panel name → metrics: as listed where a list is given, otherwise by quantity.

    Raises:
        InputError: not a list of names or lists of names.
    """
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise InputError(f"metrics is {metrics!r}; give a list of names such as ['loss', 'val_loss']")
    panels: dict[str, list[str]] = {}
    for item in metrics:
        by_hand = isinstance(item, list | tuple)
        together = check_metrics(item if by_hand else [item])
        name = ", ".join(together)
        if not by_hand:
            name = _CONTEXT_PREFIX.sub("", name.rpartition("@")[0] or name, count=1)
        members = panels.setdefault(name, [])
        members += [metric for metric in together if metric not in members]
    if not panels:
        raise InputError("metrics is empty; give a list of names such as ['loss', 'val_loss']")
    return panels


def multiple(reader: ExperimentReader, metrics: Any, view: View) -> tuple[list[Panel], list[str]]:
    """Return the panels of one experiment's metrics, and complaints about those it lacks.

    Raises:
        MetricNotFoundError: it has none of them.
    """
    wanted = panels_of(metrics)
    missing = [one for members in wanted.values() for one in members if find_series(reader, one) is None]
    panels = []
    for name, members in wanted.items():
        there = [metric for metric in members if metric not in missing]
        lines = [
            (metric, look, [series])
            for metric, look in zip(there, looks(len(there), view.theme), strict=True)
            if (series := read_series(reader, metric, view.x)) is not None
        ]
        if lines:
            panels.append(Panel.of(name if len(lines) > 1 else there[0], there, lines, view))
    if not panels:
        raise no_such_metric([reader], missing)
    return panels, [f"{no_such_metric([reader], missing)}; it is not drawn"] if missing else []


def check_metrics(metrics: Any, what: str = "metrics") -> list[str]:
    """Return metric names as a list, each once.

    Raises:
        InputError: not a collection of names, or an empty one.
    """
    given = None if isinstance(metrics, str) or not isinstance(metrics, Iterable) else list(metrics)
    if not given or not all(isinstance(one, str) and one for one in given):
        raise InputError(f"{what} is {metrics!r}; give metric names such as 'loss' or 'loss@val'")
    return list(dict.fromkeys(given))


def on_axis(panels: Sequence[Panel], view: View) -> str:
    """Return the label of the x axis; times in seconds become the unit that reads best.

    Raises:
        InputError: x is epoch and no point has one.
    """
    every = [curve for panel in panels for curve, _ in panel.curves]
    if view.x == "epoch" and any(c.logged for c in every) and not any(len(c.x) for c in every):
        raise InputError("x is 'epoch', but no point was logged with an epoch; use x='step' or x='time'")
    if view.x != "time":
        return view.x
    factor, unit = unit_of_time(max((float(c.x[-1]) for c in every if len(c.x)), default=0.0))
    for panel in panels:
        panel.curves = [(curve.stretched(factor), look) for curve, look in panel.curves]
    return f"time since start ({unit})"
