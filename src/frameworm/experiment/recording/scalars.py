"""Which number a value stands for: a Python number, an array or tensor of one element, a scalar of some library.

What a value *is* decides, not what lies behind it: an element that a mask hides, a point in time, a text that reads
like a number are none, though their memory holds one. Values are other libraries' objects, whose own code may raise
anything.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from frameworm.experiment.foreign import describe

__all__ = ["NotANumberError", "number_of", "why_not"]

_MOST_KINDS = 1_000
_DEEPEST = 4
"""``item()`` of ``item()`` …: a lazy object answers every question with another one of its kind."""


class NotANumberError(TypeError):
    """The value is no number; the message says what it is instead."""


def number_of(value: Any) -> float:
    """Return the number that a value stands for.

    Raises:
        NotANumberError: it stands for none.
        Exception: whatever the value's own code raises.
    """
    kind = type(value)
    way = _WAYS.get(kind)
    if way is None:
        way = _way(kind)
        if len(_WAYS) < _MOST_KINDS:  # a program may make classes without end
            _WAYS[kind] = way
    return way(value)


def why_not(value: Any, error: Exception) -> str:
    """Return what a value is that ``number_of`` raised for, in a few words."""
    if isinstance(error, NotANumberError):
        return str(error)
    return f"{type(value).__name__} {describe(value)} ({describe(error)})"


_WAYS: dict[type, Callable[[Any], float]] = {float: float, int: float, bool: float}


def _way(kind: type) -> Callable[[Any], float]:
    """Return how values of a type are made floats."""
    if issubclass(kind, str | bytes | bytearray | memoryview):
        return _refuse_text
    if issubclass(kind, int | float):
        return float
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if issubclass(kind, numpy.generic):
            plain = issubclass(kind, numpy.floating | numpy.integer | numpy.bool_)
            return float if plain and not issubclass(kind, numpy.timedelta64) else _refuse_scalar
        if issubclass(kind, numpy.ma.MaskedArray):
            return _masked
    return _foreign


def _refuse_text(value: Any) -> float:
    text = value.tobytes() if isinstance(value, memoryview) else value
    raise NotANumberError(f"{type(value).__name__} {describe(text[:40])}")


def _refuse_scalar(value: Any) -> float:
    raise NotANumberError(f"{type(value).__name__} {describe(value)}, which is no number")


def _masked(value: Any) -> float:
    if value.size == 1 and value.mask.all():
        raise NotANumberError(f"{type(value).__name__} whose value is masked, hence missing")
    return _foreign(value)


def _foreign(value: Any, depth: int = 0) -> float:
    kind = type(value)
    if getattr(value, "ndim", 0) and math.prod(value.shape) != 1:
        raise NotANumberError(f"{kind.__name__} of shape {tuple(value.shape)}")
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
        raise NotANumberError(f"{kind.__name__} {describe(value)}, which is a time")
    # item() rather than float(): torch warns when the latter is asked of a tensor that requires grad.
    item = getattr(value, "item", None)
    if item is not None and depth < _DEEPEST:
        found = item()
        if found is None:
            raise NotANumberError(f"{kind.__name__} {describe(value)} whose value is missing")
        inner = type(found)
        if inner is not kind:
            return _foreign(found, depth + 1) if _way(inner) is _foreign else number_of(found)
    # float() itself would also read texts that lie in a buffer.
    if not (hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        raise NotANumberError(f"{kind.__name__} {describe(value)}")
    return float(value)
