"""What frameworm has set itself to reach, and whether it does."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.footprint import IMPORT, NUMPY
from benchmarks.harness import OURS
from benchmarks.results import Results

WRITE_US = 0.5
"""What an ``os.write`` of 24 bytes takes on the machine that the bounds are for."""


class Target(NamedTuple):
    """One figure to reach.

    Attributes:
        what: which figure.
        unit: of both numbers.
        bound: at most so much; at least, if ``at_least``.
        values: the figure of each round, empty if it was not measured.
        workload: where it is measured.
    """

    what: str
    unit: str
    bound: float
    values: Callable[[Results], list[float]]
    workload: str
    at_least: bool = False

    def met(self, results: Results) -> bool | None:
        """Return whether the median reaches the bound; None if it was not measured."""
        values = self.values(results)
        if not values:
            return None
        median = statistics.median(values)
        return median >= self.bound if self.at_least else median <= self.bound


def _target(
    what: str, unit: str, bound: float, workload: str, key: str, scale: float = 1.0, at_least: bool = False
) -> Target:
    def values(results: Results) -> list[float]:
        result = results.get(workload, OURS)
        return [value * scale for value in result.values(key)] if result else []

    return Target(what, unit, bound, values, workload, at_least)


def _import_ratio(results: Results) -> list[float]:
    ours, numpy = results.get(IMPORT, OURS), results.get(IMPORT, NUMPY)
    if ours is None or numpy is None:
        return []
    pairs = zip(ours.values("import_s"), numpy.values("import_s"), strict=False)
    return [a / b for a, b in pairs]


TARGETS = (
    _target("`log_metric`, p50", "µs", 1.1, "latency", "p50_us"),
    _target("`log_metric`, p99.9", "µs", 20, "latency", "p999_us"),
    _target("100,000 scalar calls until all is durable", "s", 0.2, "scalar", "durable_s"),
    _target("`log_metrics` of 20, a metric", "ns", 130, "rows-20", "metric_ns"),
    _target("`log_metrics` of 10,000, a metric", "ns", 45, "rows-10000", "metric_ns"),
    _target("100,000 names × 10 steps, until sealed", "s", 1, "rows-100000", "durable_s"),
    _target("the same, a sealed point", "bytes", 8, "rows-100000", "sealed_bytes"),
    _target("the same, memory over import", "MiB", 150, "rows-100000", "memory_mib"),
    _target("a sealed point: noisy float32 loss", "bytes", 3.1, "sealed", "loss_bytes"),
    _target("a sealed point: cosine schedule", "bytes", 1.0, "sealed", "cosine_bytes"),
    _target("a sealed point: rounded accuracy", "bytes", 1.6, "sealed", "accuracy_bytes"),
    _target("1,000,000 points to arrays", "ms", 25, "read-1m", "arrays_ms"),
    _target("1,000,000 points to a DataFrame", "ms", 40, "read-1m", "frame_ms"),
    _target("1,000,000 points to 1,000 that keep the extremes", "ms", 3, "read-1m", "chart_ms"),
    _target("100,000,000 points to 1,000 that keep the extremes", "ms", 50, "read-100m", "chart_ms"),
    _target("sealing few series, a core", "M points/s", 5, "sealed", "few_per_s", 1e-6, at_least=True),
    _target("sealing many series, a core", "M points/s", 3, "sealed", "many_per_s", 1e-6, at_least=True),
    _target("`log_metric` while its journals are sealed, p99.9", "µs", 20, "sealing", "p999_us"),
    _target("10,000 experiments: list", "ms", 60, "catalog-10000", "list_ms"),
    _target("10,000 experiments: search", "ms", 15, "catalog-10000", "search_ms"),
    _target("10,000 experiments: compare 10", "ms", 15, "catalog-10000", "compare_ms"),
    _target("100,000 experiments: list", "ms", 400, "catalog-100000", "list_ms"),
    _target("100,000 experiments: search", "ms", 50, "catalog-100000", "search_ms"),
    _target("100,000 experiments: compare 10", "ms", 20, "catalog-100000", "compare_ms"),
    _target("64 processes × 10,000 points: errors", "", 0, "processes-64", "errors"),
    _target("64 processes × 10,000 points, together", "points/s", 7e5, "processes-64", "logged_per_s", at_least=True),
    _target("a short experiment, start to end, of 1,000", "ms", 9, "short", "each_ms"),
    _target("`Experiment(...)` and `start()`, the first of a process", "ms", 25, "start", "start_ms"),
    Target("`import frameworm.experiment`", "× `import numpy`", 0.5, _import_ratio, IMPORT),
    _target("`log_metric`, p99, everything else busy", "µs", 50, "busy", "p99_us"),
)
