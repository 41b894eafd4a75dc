"""Configurations as plain data: whatever a user passes in, turned into values that JSON and YAML can hold.

Plain values are dicts with text keys, lists, str, int, float (NaN and infinities too), bool and None. Nothing
is ever pickled, and no library is imported to look into its objects. ``plaintext`` writes and reads the result.
"""

from __future__ import annotations

import copy
import datetime
import enum
import os
import sys
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

from frameworm.experiment.errors import ConfigError
from frameworm.experiment.foreign import (
    NOTHING,
    Unreadable,
    contents,
    describe,
    has_text_form,
    shorten,
    type_name,
)
from frameworm.experiment.plaintext import dump_json, dump_yaml, load_json, read_config_file

__all__ = ["ConfigRecord", "dump_json", "dump_yaml", "flatten", "load_json", "merge", "normalize_config"]

MAX_DEPTH = 128
"""Deepest nesting stored. The YAML writer spends three Python frames a level, of the 1,000 there are."""
MAX_VALUES = 1_000_000
"""Most values in one configuration; a few lines of YAML aliases can stand for billions."""
MAX_BYTES = 1_000
"""Longest bytes object kept whole."""
_ALLOWED = (
    "a dict or another mapping, a dataclass, pydantic or attrs instance, an OmegaConf DictConfig, an "
    "argparse.Namespace, an object with to_dict(), or the path of a .yaml, .yml, .json or .toml file"
)


class ConfigRecord(NamedTuple):
    """A configuration as it is stored.

    Attributes:
        config: nested dict of plain values.
        lossy: the params, named as by ``flatten``, of which only a description could be kept.
    """

    config: dict[str, Any]
    lossy: tuple[str, ...]


def normalize_config(source: object) -> ConfigRecord:
    """Turn a configuration, or the path of a file that holds one, into plain nested values.

    What has a plain form gets it: paths, UUIDs, dtypes, devices and complex numbers are text; datetimes ISO
    8601, a timedelta its seconds; an Enum its value if that is text or it is mixed with a number, else its name;
    sets sorted lists; Decimal a float if that is the same number, else text; functions and classes their
    qualified name; bytes their text or ``0x…``; arrays and tensors of up to 1,000 elements nested lists.

    Anything else is kept as a ``repr`` of at most 200 characters without memory addresses, and named in
    ``lossy``. So is text with lone surrogates, which UTF-8 cannot hold: they become backslash escapes.

    Args:
        source: None for an empty configuration; a str is a path, never YAML text.

    Raises:
        ConfigError: not a configuration; a cycle; keys that are the same once they are text or flattened;
            deeper than ``MAX_DEPTH``; more than ``MAX_VALUES`` values; a file that cannot be read. The
            message names the key or the file.
    """
    if source is None:
        return ConfigRecord({}, ())
    what = "config"
    if isinstance(source, str | os.PathLike):
        what = f"config file {os.fsdecode(source)!r}"
        source = read_config_file(os.fsdecode(source))
    walk = _Walk()
    try:
        config = walk.plain(source, "", None, 0)
        if not isinstance(config, dict):
            raise ConfigError(f"config is of type {type_name(source)}; allowed is {_ALLOWED}")
        flatten(config)
    except RecursionError:
        raise ConfigError(f"config is nested too deeply for Python's stack; flatten it to {MAX_DEPTH} levels") from None
    except ConfigError as error:
        if what == "config":
            raise
        raise ConfigError(f"{what}: {error}") from None
    return ConfigRecord(config, tuple(walk.lossy))


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a normalised configuration: ``{"training": {"lr": 1}}`` is ``{"training.lr": 1}``.

    Lists and empty dicts are leaves. Order is kept.

    Raises:
        ConfigError: two leaves get the same name, as in ``{"a.b": 1, "a": {"b": 2}}``.
    """
    params: dict[str, Any] = {}

    def add(section: Mapping[str, Any], prefix: str) -> None:
        for key, value in section.items():
            name = prefix + key
            if isinstance(value, Mapping) and value:
                add(value, name + ".")
            elif name in params:
                raise ConfigError(
                    f"config key {shorten(name)} comes twice, once with a dot in a key; rename one of the two"
                )
            else:
                params[name] = value

    add(config, "")
    return params


def merge(config: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config`` with ``update`` merged into it, section by section; neither is changed.

    A dotted key of ``update`` that is no literal key there means the nested one: ``{"training.lr": 0.1}``
    sets ``lr`` in section ``training``, and makes the section if there is none. Lists are replaced whole.

    Args:
        config: normalised.
        update: normalised.

    Raises:
        ConfigError: a dotted key leads through a value that is no section, or two leaves get the same name.
    """
    merged: dict[str, Any] = copy.deepcopy(dict(config))
    _merge_into(merged, copy.deepcopy(dict(update)))
    flatten(merged)
    return merged


def _merge_into(section: dict[str, Any], update: Mapping[str, Any]) -> None:
    for key, value in update.items():
        target, last = _locate(section, key)
        there = target.get(last)
        if isinstance(value, dict) and isinstance(there, dict):
            _merge_into(there, value)
        elif isinstance(value, dict):
            target[last] = {}
            _merge_into(target[last], value)
        else:
            target[last] = value


def _locate(section: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the section and the key in it that a possibly dotted key means: one that is there, or a new one."""
    return _find(section, key) or _place(section, key, key)


def _splits(key: str) -> list[tuple[str, str]]:
    """Return the ways to read a key as a section and a key in it, the longest section first."""
    return [(key[:i], key[i + 1 :]) for i in range(len(key) - 1, -1, -1) if key[i] == "."]


def _find(section: dict[str, Any], key: str) -> tuple[dict[str, Any], str] | None:
    if key in section:
        return section, key
    for head, rest in _splits(key):
        inner = section.get(head)
        if isinstance(inner, dict) and (found := _find(inner, rest)):
            return found
    return None


def _place(section: dict[str, Any], key: str, whole: str) -> tuple[dict[str, Any], str]:
    for head, rest in _splits(key):
        inner = section.get(head)
        if isinstance(inner, dict):
            return _place(inner, rest, whole)
    parts = key.split(".")
    if len(parts) == 1 or "" in parts:
        return section, key
    if parts[0] in section:
        raise ConfigError(
            f"config key {shorten(whole)} cannot be set: {parts[0]!r} is {shorten(section[parts[0]])}, "
            f"not a section; set {parts[0]!r} to a dict first"
        )
    section[parts[0]] = {}
    return _place(section[parts[0]], key[len(parts[0]) + 1 :], whole)


class _Walk:
    """One pass over a configuration: makes the plain copy and notes what was lost on the way."""

    def __init__(self) -> None:
        self.lossy: dict[str, None] = {}
        self.count = 0
        self.open: dict[int, str] = {}  # id and path of the containers we are inside of

    def plain(self, value: Any, path: str, leaf: str | None, depth: int) -> Any:
        """Return the plain form of one value. It recurses alone, one Python frame a level.

        Args:
            value: anything.
            path: where it is, for messages: ``model.layers[2]``.
            leaf: the param it is a part of, when inside a list; None when it is a param or section itself.
            depth: containers around it.
        """
        self.count += 1
        if self.count > MAX_VALUES:
            raise ConfigError(f"config holds more than {MAX_VALUES:,} values; log large data as an artifact instead")
        kind = type(value)
        if kind is float or kind is bool or value is None:
            return value
        inner = value if kind is dict or kind is list else self._unwrap(value, path if leaf is None else leaf)
        if not isinstance(inner, Mapping | list):
            return inner
        if depth >= MAX_DEPTH:
            raise ConfigError(f"config key {shorten(path)} is nested deeper than {MAX_DEPTH} levels; flatten it")
        if id(value) in self.open:
            first = self.open[id(value)]
            raise ConfigError(
                f"config key {shorten(path)} contains itself: it is the same object as "
                f"{'key ' + shorten(first) if first else 'the whole configuration'}; remove the cycle"
            )
        self.open[id(value)] = path
        result: Any
        if isinstance(inner, list):
            inside = path if leaf is None else leaf
            result = [self.plain(item, f"{path}[{i}]", inside, depth + 1) for i, item in enumerate(inner)]
        else:
            result = {}
            for key, item in list(inner.items()):
                name = key if type(key) is str and key.isascii() else self._key(key, path)
                at = f"{path}.{name}" if path else name
                if name in result:
                    raise ConfigError(
                        f"config key {shorten(at)} comes twice: {key!r} reads like another key; rename one"
                    )
                result[name] = self.plain(item, at, leaf, depth + 1)
        del self.open[id(value)]
        return result

    def _key(self, key: Any, path: str) -> str:
        """Return the text of a key: itself, or as JSON writes it."""
        text = _Walk().plain(key, path, None, 0)
        if not isinstance(text, str):
            text = repr(text) if isinstance(text, float) else dump_json(text)
        if isinstance(key, str) and text != key:
            at = f"{path}.{text}" if path else text
            raise ConfigError(f"config key {shorten(at)} has lone surrogates, which UTF-8 cannot hold; rename it")
        return text

    def _unwrap(self, value: Any, leaf: str) -> Any:
        """Return the value one layer plainer: a scalar, or a list or mapping with items as they were."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            mixed = isinstance(value, str | int | float) or isinstance(value.value, str)
            value = value.value if mixed or not isinstance(value.name, str) else value.name
        if isinstance(value, str):
            return self._text(str.__str__(value), leaf)
        if isinstance(value, int):
            bits = value.bit_length()  # longer ones Python may refuse to read as decimal text
            return int(value) if bits < 2048 else self._lossy(f"<int of {bits} bits>", leaf)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, os.PathLike):
            return self._text(os.fsdecode(value), leaf)
        if isinstance(value, datetime.date | datetime.time):
            return value.isoformat()
        if isinstance(value, datetime.timedelta):
            return value.total_seconds()
        decimal = sys.modules.get("decimal")
        if decimal is not None and isinstance(value, decimal.Decimal):
            number = float("nan") if value.is_nan() else float(value)
            return number if value.is_nan() or decimal.Decimal(repr(number)) == value else str(value)
        if isinstance(value, complex | range | slice):
            return str(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(bytes(value), leaf)
        if isinstance(value, types.ModuleType):
            return value.__name__
        if callable(value) and isinstance(getattr(value, "__qualname__", None), str):
            return self._name(value, leaf)
        if isinstance(value, Unreadable):
            return self._lossy(value.text, leaf)
        if has_text_form(value):
            return self._text(str(value), leaf)
        return self._container(value, leaf)

    def _container(self, value: Any, leaf: str) -> Any:
        """Return the list or mapping that an object stands for, or its description if it stands for none."""
        try:
            found = contents(value)
        except Exception as error:  # whatever a foreign to_dict(), interpolation or property raises
            if not leaf:
                raise ConfigError(f"config of type {type_name(value)} cannot be read: {shorten(error)}") from error
            return self._lossy(describe(value), leaf)
        if found is NOTHING:
            return self._lossy(describe(value), leaf)
        return found if isinstance(found, Mapping | list) else self._unwrap(found, leaf)

    def _text(self, text: str, leaf: str) -> str:
        if text.isascii():
            return text
        try:
            text.encode()
        except UnicodeEncodeError:
            return self._lossy(text, leaf)
        return text

    def _bytes(self, raw: bytes, leaf: str) -> str:
        if len(raw) > MAX_BYTES:
            return self._lossy(f"<{len(raw)} bytes starting 0x{raw[:32].hex()}>", leaf)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return "0x" + raw.hex()
        return text if text.isprintable() else "0x" + raw.hex()

    def _name(self, value: Any, leaf: str) -> str:
        module = getattr(value, "__module__", None)
        name = f"{module}.{value.__qualname__}" if module else value.__qualname__
        if "<" in name or isinstance(value, types.GenericAlias):  # a lambda, inner function or list[int]: the
            return self._lossy(describe(value), leaf)  # name does not lead to it
        return self._text(name, leaf)

    def _lossy(self, text: str, leaf: str) -> str:
        self.lossy[leaf] = None
        return text.encode("utf-8", "backslashreplace").decode()
