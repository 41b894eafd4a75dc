"""Other libraries' arrays, tensors and numbers as NumPy's and Python's own, for media."""

from __future__ import annotations

import math
import operator
from typing import Any

from frameworm.experiment.errors import InputError
from frameworm.experiment.foreign import describe
from frameworm.experiment.recording.scalars import number_of, why_not

__all__ = ["array_of", "is_missing", "real", "whole"]

_MISSING = frozenset({"NAType", "NaTType", "MaskedConstant"})


def is_missing(value: Any) -> bool:
    """Return whether a value says that there is none: None, pandas' NA and NaT, what a mask hides."""
    return value is None or type(value).__name__ in _MISSING


def array_of(data: Any, what: str, *, counted: bool = False) -> Any:
    """Return numbers as a NumPy array of bool, whole numbers or floats.

    Args:
        data: an array or tensor, on whatever device, or nested sequences.
        what: what it is, for the error.
        counted: missing values become NaN, and the rest floats with them; else they become 0.

    Raises:
        InputError: it cannot be made one, or holds something else.
    """
    import numpy as np

    try:
        if hasattr(data, "detach"):  # a torch tensor
            data = data.detach().cpu()
            if getattr(data, "is_quantized", False):
                data = data.dequantize()
            if str(data.dtype).startswith(("torch.bfloat16", "torch.float8")):
                data = data.float()
        array = np.ma.asarray(data) if isinstance(data, np.ma.MaskedArray) else np.asarray(data)
    except Exception as error:  # whatever a library of arrays raises
        raise InputError(f"{what}: {type(data).__name__} cannot be made an array: {describe(error)}") from error
    if array.dtype.kind == "O":
        array = _numbers(array, what)
    elif array.dtype.kind == "V" and array.dtype.names is None and array.dtype.itemsize <= 2:
        array = array.astype(np.float32)  # bfloat16 and floats of 8 bits, as JAX has them
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what}: expected numbers, got {type(data).__name__} of {array.dtype}")
    if isinstance(array, np.ma.MaskedArray):
        floats = counted or array.dtype.kind == "f"
        array = np.ma.filled(array.astype(np.float64), math.nan) if floats else np.ma.filled(array, 0)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _numbers(array: Any, what: str) -> Any:
    """Return an array of objects as one of floats; NaN where one is missing."""
    import numpy as np

    numbers = []
    for value in array.ravel().tolist():
        try:
            numbers.append(math.nan if is_missing(value) else number_of(value))
        except Exception as error:  # whatever the value's own code raises
            raise InputError(f"{what}: expected numbers, got {why_not(value, error)}") from error
    return np.array(numbers, np.float64).reshape(array.shape)


def real(value: Any, what: str, expected: str, least: float, most: float) -> float:
    """Return a number above ``least``, up to ``most``.

    Raises:
        InputError: it is none, or not in that range.
    """
    try:
        number = number_of(value)
    except Exception:  # whatever the value's own code raises
        number = math.nan
    if not least < number <= most:
        raise InputError(f"{what}: expected {expected}, got {describe(value)}")
    return number


def whole(value: Any, what: str, expected: str, least: int, most: int) -> int:
    """Return a whole number from ``least`` to ``most``; 44100.0 is one.

    Raises:
        InputError: it is none, or not in that range.
    """
    try:
        number = operator.index(value)
    except Exception:  # whatever the value's own code raises
        number = least - 1
        if not isinstance(value, str | bytes):
            found = real(value, what, expected, least - 1, most)
            number = int(found) if found.is_integer() else number
    if isinstance(value, bool) or not least <= number <= most:
        raise InputError(f"{what}: expected {expected}, got {describe(value)}")
    return number
