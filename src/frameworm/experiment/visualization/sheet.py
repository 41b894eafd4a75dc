"""The sheet: a figure with its title, its panels over one x axis, and the names of the lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text

from frameworm.experiment.visualization.output import DPI, no_glyph_warnings, save
from frameworm.experiment.visualization.panel import (
    can_label_ends,
    draw_panel,
    handle,
    label_ends,
    x_limits_of,
)
from frameworm.experiment.visualization.style import (
    SMALL_PT,
    TEXT_PT,
    TITLE_PT,
    Look,
    Theme,
    elide,
    font_families,
    number,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from frameworm.experiment.visualization.curves import Curve
    from frameworm.experiment.visualization.plan import Panel, View

MAX_LEGEND = 60
_BESIDE = 16
"""More names than this stand below the panel, not beside it."""
_IN_ROW = 10
"""As many names fit into the height of one row of panels."""
_MARGIN_X, _MARGIN_Y = 0.11, 0.08


class Sheet:
    """A figure in the making; ``axes`` are its panels, row by row."""

    def __init__(
        self, panels: Sequence[Panel], view: View, *, size: tuple[float, float], columns: int, x_label: str
    ) -> None:
        self.panels = panels
        self.view = view
        self.figure = Figure(figsize=size, dpi=DPI, facecolor=view.theme.background, layout="constrained")
        FigureCanvasAgg(self.figure)
        engine: Any = self.figure.get_layout_engine()
        engine.set(w_pad=_MARGIN_X, h_pad=_MARGIN_Y, wspace=0.02, hspace=0.02)
        rows = math.ceil(len(panels) / columns)
        self._rows, self._columns = rows, columns
        self.axes: list[Axes] = []
        limits = x_limits_of([curve for panel in panels for curve, _ in panel.curves])
        for i, panel in enumerate(panels):
            axes = self.figure.add_subplot(rows, columns, i + 1, sharex=self.axes[0] if self.axes else None)
            self.axes.append(axes)
            title = panel.name if len(panels) > 1 or columns > 1 else ""
            draw_panel(
                axes,
                panel.curves,
                view.theme,
                x_limits=limits,
                log=panel.log,
                whole_x=view.x != "time",
                title=title,
            )
            axes.tick_params(labelbottom=i + columns >= len(panels))
            if i // columns == rows - 1:
                axes.set_xlabel(x_label)

    def head(self, title: str, subtitle: str) -> None:
        """Write title and subtitle at the figure's left edge; an empty title leaves out both."""
        if not title:
            return
        theme, width = self.view.theme, float(self.figure.get_size_inches()[0])
        title = elide(title, round(width / text_width("0", TITLE_PT)))
        subtitle = elide(subtitle, round(width / text_width("0", TEXT_PT)))
        # The layout keeps room for the title only: an empty second line of it is the subtitle's.
        self.figure.suptitle(
            f"{title}\n ",
            x=_MARGIN_X / width,
            ha="left",
            va="top",
            fontsize=TITLE_PT,
            fontweight="bold",
            color=theme.text,
            linespacing=1.0,
        )
        self.figure.add_artist(
            Annotation(
                subtitle,
                (0, 1),
                xycoords="figure fraction",
                xytext=(_MARGIN_X * 72, -_MARGIN_Y * 72 - TITLE_PT * 1.5),
                textcoords="offset points",
                va="top",
                fontsize=TEXT_PT,
                color=theme.muted,
                annotation_clip=False,
            )
        )

    def name_lines(self, labels: Sequence[Sequence[str]]) -> None:
        """Name the lines of each panel, at their ends if they end together, else in a legend beside or below."""
        with no_glyph_warnings():
            self._take_names_as_they_are()  # also to measure them, a name such as "$m_{$" is no TeX
            self.figure.draw_without_rendering()
        for axes, panel, names in zip(self.axes, self.panels, labels, strict=True):
            chosen = [look for _, look in panel.curves]
            if not any(names):
                continue
            if can_label_ends([curve for curve, _ in panel.curves]):
                label_ends(axes, panel.curves, names)
            elif len(names) <= _BESIDE or len(self.panels) > 1:
                handles, shown = _capped(chosen, names, MAX_LEGEND)
                axes.legend(
                    handles, shown, loc="upper left", bbox_to_anchor=(1.01, 1), **_legend_style(self.view.theme)
                )
            else:
                self.legend_below(names, chosen)

    def legend_for_all(self, labels: Sequence[str], chosen: Sequence[Look]) -> None:
        """Write one legend for all panels: where the last row leaves room for it, else below."""
        free = -len(self.panels) % self._columns
        if not free or len(labels) > _IN_ROW:
            self.legend_below(labels, chosen)
            return
        axes = self.figure.add_subplot(self._rows, self._columns, self._rows * self._columns - free + 1)
        axes.set_axis_off()
        handles, shown = _capped(chosen, labels, MAX_LEGEND)
        axes.legend(handles, shown, loc="center left", **_legend_style(self.view.theme))

    def legend_below(self, labels: Sequence[str], chosen: Sequence[Look]) -> None:
        """Write one legend under the panels, in as many columns as there is room for; the figure grows by it."""
        size = SMALL_PT if len(labels) <= _BESIDE else SMALL_PT - 1
        handles, shown = _capped(chosen, labels, MAX_LEGEND)
        if len(labels) > _BESIDE:
            shown = [elide(label, 26) for label in shown]
        width, height = map(float, self.figure.get_size_inches())
        column = max(text_width(label, size) for label in shown) + size * 3.9 / 72
        columns = max(1, min(len(shown), int((width - 2 * _MARGIN_X) / column)))
        rows = math.ceil(len(shown) / columns)
        columns = math.ceil(len(shown) / rows)
        self.figure.set_size_inches(width, height + (rows * size * 1.36 + 6) / 72)
        style = _legend_style(self.view.theme) | {"fontsize": size, "borderaxespad": _MARGIN_X * 72 / size}
        self.figure.legend(handles, shown, loc="outside lower left", ncols=columns, **style)

    def finish(self, path: Path | None) -> Figure:
        """Take names as they are, in fonts that have their characters, and save."""
        self._take_names_as_they_are()
        if path is not None:
            save(self.figure, path)
        return self.figure

    def _take_names_as_they_are(self) -> None:
        """Look for no TeX in texts, and set them in fonts that have their characters."""
        for text in self.figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(False)
            text.set_usetex(False)
            text.set_fontfamily(font_families())


def labels_with_best(panel: Panel, view: View, *, names: bool = True) -> list[str]:
    """Return the labels of a panel's lines, each with its best value if one was asked for."""

    def label(curve: Curve) -> str:
        best = f"{view.best} {number(curve.best[1])}" if curve.best else ""
        return f"{curve.label if names else ''}  {best}".strip()

    return [label(curve) for curve, _ in panel.curves]


def _capped(chosen: Sequence[Look], labels: Sequence[str], limit: int) -> tuple[list[Line2D], list[str]]:
    """Return samples and labels for a legend of at most ``limit`` entries, the last of which counts the rest."""
    handles, shown = [handle(look) for look in chosen], list(labels)
    if len(shown) > limit:
        rest = len(shown) - limit + 1
        handles = [*handles[: limit - 1], Line2D([], [], linestyle="none")]
        shown = [*shown[: limit - 1], f"+ {rest} more"]
    return handles, shown


def _legend_style(theme: Theme) -> dict[str, Any]:
    return {
        "frameon": False,
        "fontsize": SMALL_PT,
        "labelcolor": theme.text,
        "handlelength": 2.3,
        "handletextpad": 0.5,
        "labelspacing": 0.3,
        "columnspacing": 1.1,
        "borderpad": 0,
        "borderaxespad": 0,
    }
