"""Divergence: where the series of two experiments part, compared bit for bit.

Compared are steps, epochs and the bits of values, in arrival order. Times are not: they never repeat. System
metrics are left out for the same reason.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from frameworm.experiment.errors import DamageError, MetricNotFoundError
from frameworm.experiment.model import NO_EPOCH, SYSTEM_CONTEXT, Points, SeriesKey

if TYPE_CHECKING:
    from frameworm.experiment.query.read import ExperimentReader

FEW_ULPS = 64
"""No more than so many units in the last place are what another order of additions makes."""

State = Literal["identical", "parts", "shorter", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first point at which two series are not the same.

    Attributes:
        position: of the point in both series, in arrival order, from 0.
        columns: which of ``step``, ``epoch`` and ``value`` differ there.
        steps: of a and of b; so are the pairs that follow.
        epochs: None where none was given.
        values: bit for bit as logged.
        ulps: distance of the values in units in the last place, 0 for zeros of different sign; None if one is NaN.
        float32_ulps: the same in single precision, where both values are exact in it, as the losses of most
            frameworks are; else None.
        difference: value of b minus value of a.
        relative: its size, relative to the larger of the two; 0 where both are zero.
    """

    position: int
    columns: tuple[str, ...]
    steps: tuple[int, int]
    epochs: tuple[int | None, int | None]
    values: tuple[float, float]
    ulps: int | None
    float32_ulps: int | None
    difference: float
    relative: float

    @property
    def is_rounding(self) -> bool:
        """Whether the values are so close that rounding explains them."""
        ulps = self.ulps if self.float32_ulps is None else self.float32_ulps
        return self.columns == ("value",) and ulps is not None and ulps <= FEW_ULPS


@dataclass(frozen=True, slots=True)
class SeriesDiff:
    """One series of two experiments.

    Attributes:
        state: ``identical``; ``parts``; ``shorter`` (the same as far as the shorter one goes); ``missing`` (in one);
            ``damaged`` (its bytes cannot be read in one).
        points: how many a and b have, 0 where it is missing or damaged.
        same_points: how many from the first on are identical.
        divergence: for ``parts``.
        last_steps: step of the last point of a and of b, None where there is none.
        time_ms: when the experiment that began first logged the first point that is not the same, Unix ms; None
            where it logged none.
    """

    name: str
    context: str
    state: State
    points: tuple[int, int]
    same_points: int = 0
    divergence: Divergence | None = None
    last_steps: tuple[int | None, int | None] = (None, None)
    time_ms: int | None = None

    @property
    def label(self) -> str:
        """``loss@train``."""
        return f"{self.name}@{self.context}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; the bits of diverging values stand beside them, as NaN has many."""
        data = asdict(self)
        if self.divergence is not None:
            data["divergence"]["bits"] = [f"0x{_bits(value):016x}" for value in self.divergence.values]
            data["divergence"]["is_rounding"] = self.divergence.is_rounding
        return data


def compare_series(
    a: ExperimentReader, b: ExperimentReader, metrics: Sequence[str] | None = None
) -> tuple[SeriesDiff, ...]:
    """Compare every series of two experiments but those of the system, in order of first appearance.

    Args:
        a: one experiment.
        b: the other.
        metrics: only these: ``loss`` in all contexts, or ``loss@val``.

    Raises:
        MetricNotFoundError: none of the two has one of the metrics.
    """
    ours, theirs = set(a.keys()), set(b.keys())
    keys = [key for key in dict.fromkeys([*a.keys(), *b.keys()]) if key.context != SYSTEM_CONTEXT]
    if metrics is not None:
        keys = _chosen(keys, metrics, f"{a.info.experiment_id} or {b.info.experiment_id}")
    a_first = _began(a) <= _began(b)
    empty = Points(*_no_points())

    def compare(key: SeriesKey) -> SeriesDiff:
        try:
            left = a.read(key.name, key.context) if key in ours else empty
            right = b.read(key.name, key.context) if key in theirs else empty
        except DamageError:
            return SeriesDiff(key.name, key.context, "damaged", (0, 0))
        return _compare(key, left, right, left if a_first else right)

    return tuple(map(compare, keys))


def in_order(series: Iterable[SeriesDiff]) -> list[SeriesDiff]:
    """Return the series that are not identical, the one that parted first at the head.

    That is by the clock of the experiment that began first. Those that part come before those that are only shorter,
    and these before those that are missing in one.
    """
    ranks = {"parts": 0, "shorter": 1, "missing": 2, "damaged": 3}

    def order(one: SeriesDiff) -> tuple[int, float, int]:
        step = one.divergence.steps[0] if one.divergence else 0
        return ranks[one.state], math.inf if one.time_ms is None else one.time_ms, step

    return sorted((one for one in series if one.state in ranks), key=order)


def earliest(series: Iterable[SeriesDiff]) -> SeriesDiff | None:
    """Return the series that parted first; None if all are identical."""
    return next(iter(in_order(series)), None)


def ulps_between(a: float, b: float) -> int | None:
    """Return how many floats lie from ``a`` to ``b``, one end counted; None if one is NaN.

    Source: Bruce Dawson, "Comparing Floating Point Numbers, 2012 Edition": floats of one sign are ordered as
    their bits are, so the distance is that of the bits taken as integers, negative ones mirrored.
    """
    if math.isnan(a) or math.isnan(b):
        return None
    return abs(_ordered(_bits(a), 1 << 63) - _ordered(_bits(b), 1 << 63))


def _ordered(bits: int, sign: int) -> int:
    """Return an integer that grows as the float grows; both zeros are 0."""
    return bits if bits < sign else sign - bits


def _bits(value: float) -> int:
    return int.from_bytes(struct.pack(">d", value), "big")


def _float32_ulps(a: float, b: float) -> int | None:
    bits = []
    for value in (a, b):
        try:
            packed = struct.pack(">f", value)
        except OverflowError:
            return None
        if struct.unpack(">f", packed)[0] != value:  # NaN too
            return None
        bits.append(_ordered(int.from_bytes(packed, "big"), 1 << 31))
    return abs(bits[0] - bits[1])


def _began(reader: ExperimentReader) -> int:
    info = reader.info
    return info.created_ms if info.started_ms is None else info.started_ms


def _chosen(keys: list[SeriesKey], metrics: Sequence[str], where: str) -> list[SeriesKey]:
    chosen: dict[SeriesKey, None] = {}
    for wanted in metrics:
        found = [key for key in keys if wanted in (key.name, f"{key.name}@{key.context}")]
        if not found:
            names = ", ".join(dict.fromkeys(repr(key.name) for key in keys)) or "none"
            raise MetricNotFoundError(f"no metric {wanted!r} in {where}; they have {names[:300]}")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _no_points() -> Any:
    import numpy as np

    return (np.empty(0, dtype) for dtype in (np.int64, np.int32, np.int64, np.float64))


def _compare(key: SeriesKey, a: Points, b: Points, earlier: Points) -> SeriesDiff:
    """Compare one series; ``earlier`` is the one of the two whose clock counts."""
    points = len(a), len(b)
    same = _same_points(a, b)
    last_steps = _last_step(a), _last_step(b)
    if same == max(points):
        return SeriesDiff(key.name, key.context, "identical", points, same, last_steps=last_steps)
    time_ms = int(earlier.times_ms[min(same, len(earlier) - 1)]) if len(earlier) else None
    if same < min(points):
        return SeriesDiff(key.name, key.context, "parts", points, same, _divergence(a, b, same), last_steps, time_ms)
    state: State = "shorter" if min(points) else "missing"
    return SeriesDiff(key.name, key.context, state, points, same, None, last_steps, time_ms)


def _same_points(a: Points, b: Points) -> int:
    """Return how many points from the first on are identical; 1 ms for a million."""
    import numpy as np

    same = min(len(a), len(b))
    columns = (a.steps, b.steps), (a.epochs, b.epochs), (a.values.view(np.int64), b.values.view(np.int64))
    for left, right in columns:
        unequal = left[:same] != right[:same]
        if unequal.any():
            same = int(unequal.argmax())
    return same


def _last_step(points: Points) -> int | None:
    return int(points.steps[-1]) if len(points) else None


def _divergence(a: Points, b: Points, at: int) -> Divergence:
    steps = int(a.steps[at]), int(b.steps[at])
    epochs = _epoch(a, at), _epoch(b, at)
    x, y = values = float(a.values[at]), float(b.values[at])
    pairs = {"step": steps, "epoch": epochs, "value": (_bits(x), _bits(y))}
    largest = max(abs(x), abs(y))
    return Divergence(
        position=at,
        columns=tuple(name for name, (left, right) in pairs.items() if left != right),
        steps=steps,
        epochs=epochs,
        values=values,
        ulps=ulps_between(x, y),
        float32_ulps=_float32_ulps(x, y),
        difference=y - x,
        relative=abs(y - x) / largest if largest else 0.0,
    )


def _epoch(points: Points, at: int) -> int | None:
    epoch = int(points.epochs[at])
    return None if epoch == NO_EPOCH else epoch
