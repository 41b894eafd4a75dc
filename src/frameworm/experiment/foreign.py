"""What other libraries' objects hold, found without importing them: by attributes and ``sys.modules``."""

from __future__ import annotations

import dataclasses
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

__all__ = [
    "MAX_ARRAY",
    "MAX_REPR",
    "NOTHING",
    "Unreadable",
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


class Unreadable:
    """Stands for one entry that cannot be had: ``text`` is how it is written, or why."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


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

    An entry whose reading raises is ``Unreadable``, and costs the others nothing.

    Raises:
        Exception: whatever the object's own conversion raises, where that is of the whole.
    """
    kind = type(value)
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is not None and isinstance(value, omegaconf.DictConfig | omegaconf.ListConfig):
        return _resolved(value, omegaconf.OmegaConf)
    if isinstance(value, Mapping):
        return value if kind is dict else _each(list(value), value.__getitem__)
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
        try:
            return value.model_dump()
        except Exception:  # of a serializer or computed field, which are the user's; the fields are there
            return _each(kind.model_fields, lambda name: getattr(value, name, NOTHING))
    if dataclasses.is_dataclass(value):
        return _each([f.name for f in dataclasses.fields(value)], lambda name: getattr(value, name, NOTHING))
    if hasattr(kind, "__attrs_attrs__"):
        return _each([a.name for a in kind.__attrs_attrs__], lambda name: getattr(value, name, NOTHING))
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


def _each(keys: Iterable[Any], get: Callable[[Any], Any]) -> dict[Any, Any]:
    """Return the entries of an object by its own way of asking; what is ``NOTHING`` was never set."""
    found = {}
    for key in keys:
        try:
            entry = get(key)
        except Exception as error:  # whatever a property, a lazy entry or a store of another library raises
            entry = Unreadable(describe(error))
        if entry is not NOTHING:
            found[key] = entry
    return found


def _resolved(value: Any, library: Any) -> Any:
    """Return a config of OmegaConf; an interpolation without a target stays as it is written."""
    try:
        return library.to_container(value, resolve=True)
    except Exception:  # whatever a resolver raises, which may be the user's own
        written = library.to_container(value, resolve=False)

    def entry(key: Any) -> Any:
        if written[key] == "???":  # a value that is missing, and is to be told so
            return written[key]
        try:
            return value[key]
        except Exception:  # as above: of this entry
            return Unreadable(str(written[key]))

    if isinstance(written, list):
        return [entry(i) for i in range(len(written))]
    return {key: entry(key) for key in written}


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
