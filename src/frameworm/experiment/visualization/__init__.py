"""Figures of experiments, fit to be printed.

    manager ─▶ series.py ─▶ curves.py ─▶ panel.py ─▶ figures.py ─▶ output.py ─▶ PNG, SVG, PDF
               points       smoothed,     one axes    the three      whole or
               on an axis   thinned                   functions      not at all

``bands.py`` goes the same way with groups of seeds: a line and a band each. ``style.py`` holds what things look like.
Nothing here uses pyplot, a display or matplotlib's global settings: a ``matplotlib.figure.Figure`` is made, filled and
returned.
"""

from frameworm.experiment.visualization.bands import plot_aggregate
from frameworm.experiment.visualization.figures import (
    plot_experiment_comparison_grid,
    plot_metric_comparison,
    plot_multiple_metrics,
)

__all__ = ["plot_aggregate", "plot_experiment_comparison_grid", "plot_metric_comparison", "plot_multiple_metrics"]
