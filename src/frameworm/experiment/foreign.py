"""What other libraries' objects hold, found without importing them: by attributes and ``sys.modules``."""

from __future__ import annotations

import dataclasses
import re
import sys
import types
from collections.abc import Mapping, Sequence, Set
from typing import Any

__all__ = [
    "MAX_ARRAY",
    "MAX_REPR",
    "NOTHING",
    "contents",
    "describe",
    "has_text_form",
    "shorten",
    "type_name",
]

MAX_ARRAY = 1_000
"""Most elements of an array or tensor kept as nested lists; of a larger one only type and shape are kept."""
MAX_REPR = 200
"""Longest description of an object that has no plain form, in characters."""

NOTHING = object()
"""What ``contents`` returns for an object that stands for no plain value."""

_TEXT_TYPES = {
    ("fractions", "Fraction"),
    ("pydantic.networks", None),
    ("pydantic_core._pydantic_core", "Url"),
    ("torch", "device"),
    ("torch", "dtype"),
    ("torch", "layout"),
    ("torch", "memory_format"),
    ("uuid", "UUID"),
    ("zoneinfo", "ZoneInfo"),
}
"""(module, type) of objects whose ``str`` says all there is to them; None stands for every type there."""


def has_text_form(value: Any) -> bool:
    """Tell whether ``str(value)`` says all there is to a value: a UUID, a torch device, a NumPy dtype."""
    module, name = type(value).__module__, type(value).__qualname__
    if (module, name) in _TEXT_TYPES or (module, None) in _TEXT_TYPES:
        return True
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.dtype)


def contents(value: Any) -> Any:
    """Return what an object stands for, one layer deep where its library allows, or ``NOTHING``.

    Raises:
        Exception: whatever the object's own conversion raises, such as an interpolation without a target.
    """
    kind = type(value)
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is not None and isinstance(value, omegaconf.DictConfig | omegaconf.ListConfig):
        return omegaconf.OmegaConf.to_container(value, resolve=True)
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return dict(zip(kind._fields, value, strict=True))
    if hasattr(kind, "__array__") or hasattr(kind, "__dlpack__"):  # tables too, whose to_dict() is all their data
        return _array_contents(value) if _is_array(value) else NOTHING
    if isinstance(value, Sequence):
        return list(value)
    if isinstance(value, Set):
        try:
            return sorted(value)
        except TypeError:
            return sorted(value, key=lambda item: (type(item).__name__, describe(item)))
    if hasattr(kind, "model_dump"):  # pydantic
        return value.model_dump()
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if hasattr(value, f.name)}
    if hasattr(kind, "__attrs_attrs__"):
        return {a.name: getattr(value, a.name) for a in kind.__attrs_attrs__ if hasattr(value, a.name)}
    argparse = sys.modules.get("argparse")
    if isinstance(value, types.SimpleNamespace) or (argparse and isinstance(value, argparse.Namespace)):
        return dict(vars(value))
    if hasattr(kind, "to_dict"):
        found = value.to_dict()
    elif hasattr(kind, "dict") and hasattr(kind, "__fields__"):  # pydantic 1
        found = value.dict()
    else:
        return NOTHING
    return found if isinstance(found, Mapping) else NOTHING


def _is_array(value: Any) -> bool:
    """Tell whether a value is a NumPy, torch or jax array, tensor or scalar, or a column of a table."""
    kind = type(value)
    return hasattr(kind, "tolist") and hasattr(kind, "dtype") and isinstance(value.shape, tuple)


def _array_contents(value: Any) -> Any:
    size = 1
    for length in value.shape:
        size *= int(length)
    kind, width = getattr(value.dtype, "kind", ""), getattr(value.dtype, "itemsize", 0)
    if size > MAX_ARRAY or kind == "V" or (kind == "f" and width > 8) or (kind == "c" and width > 16):
        return NOTHING  # too large, structured, or wider than a Python float
    if kind in ("m", "M"):  # their tolist() gives bare nanosecond counts
        return value.astype(str).tolist()
    return value.tolist()


def describe(value: Any) -> str:
    """Return one line of at most ``MAX_REPR`` characters about an object, without memory addresses."""
    try:
        if _is_array(value):
            return f"<{type_name(value)} of shape {tuple(value.shape)}, {value.dtype}>"
        text = repr(value)
    except Exception as error:  # whatever a foreign __repr__ raises
        text = f"<{type_name(value)}, whose repr raises {type(error).__name__}>"
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", text[: 20 * MAX_REPR])
    text = " ".join(text.split())
    return text if len(text) <= MAX_REPR else text[: MAX_REPR - 1] + "…"


def type_name(value: object) -> str:
    """Return the type of a value as written in source, its module before it unless built in."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def shorten(value: object) -> str:
    """Return ``repr(value)``, or an exception's message, cut in its middle to fit a message."""
    text = str(value) if isinstance(value, BaseException) else repr(value)
    return text if len(text) <= MAX_REPR else f"{text[:100]}…{text[-60:]}"
