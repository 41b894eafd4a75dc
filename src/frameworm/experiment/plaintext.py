"""Plain values as text: JSON for events and the catalog, YAML for people, and configuration files.

Plain values are dicts with text keys, lists, str, int, float (NaN and infinities too), bool and None.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from frameworm.experiment.errors import ConfigError
from frameworm.experiment.paths import open_regular

__all__ = ["dump_json", "dump_yaml", "load_json", "read_config_file"]

_FLOAT = "$float"
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def dump_json(value: Any) -> str:
    """Return plain values as strict, compact JSON on one line.

    What JSON has no word for is an object with one key: NaN is ``{"$float":"nan"}``, infinities are ``"inf"``
    and ``"-inf"``. A dict of the user's that looks so is written ``{"$float":[…]}``. Lone surrogates are
    written as JSON escapes, so that the text can always be encoded as UTF-8.

    Raises:
        TypeError: a value is not plain.
    """
    # Non-finite floats are rare: they are looked for only once the encoder refuses.
    try:
        text = _encode(value)
        if '"$float"' in text:
            text = _encode(_tag(value))
    except ValueError:
        text = _encode(_tag(value))
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = re.sub("[\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", text)
    return text


def _tag(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: "nan" if value != value else "inf" if value > 0 else "-inf"}
    if isinstance(value, dict):
        tagged = {key: _tag(item) for key, item in value.items()}
        return {_FLOAT: [tagged[_FLOAT]]} if tagged.keys() == {_FLOAT} else tagged
    if isinstance(value, list | tuple):
        return [_tag(item) for item in value]
    return value


def _untag(item: dict[str, Any]) -> Any:
    if len(item) == 1 and _FLOAT in item:
        tagged = item[_FLOAT]
        if isinstance(tagged, str) and tagged in _NON_FINITE:
            return _NON_FINITE[tagged]
        if isinstance(tagged, list) and len(tagged) == 1:
            return {_FLOAT: tagged[0]}
        raise ValueError(f'{{"$float": {tagged!r}}} is none of "nan", "inf", "-inf" or a list of one value')
    return item


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is not JSON; it is written {{"$float": "nan"}}, "inf" or "-inf"')


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_decode_tagged = json.JSONDecoder(parse_constant=_refuse_constant, object_hook=_untag).decode


def load_json(text: str | bytes) -> Any:
    """Return the value that ``dump_json`` wrote, equal to what it was given.

    Raises:
        ValueError: not strict JSON, or not UTF-8, or nested as deep as no stack allows.
    """
    if isinstance(text, bytes):
        text = text.decode()
    try:
        return _decode_tagged(text) if '"$float"' in text else _decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def dump_yaml(config: Mapping[str, Any]) -> str:
    """Return plain values as YAML for people: in blocks, keys in their order, lists of scalars on one line.

    ``yaml.safe_load`` gives back values equal to ``config``: floats read as floats under YAML 1.1 and 1.2
    alike (``1.0e-05``), and text that looks like one is quoted.
    """
    import yaml

    text: str = yaml.dump(
        dict(config),
        Dumper=_yaml_dumper(),
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
        width=110,
    )
    return text


# PyYAML follows YAML 1.1, to which 1e-3 is text: it wants a dot in a float and a sign in its exponent.
_FLOAT_1_2 = re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]{1,3}$")
_YAML_FLOAT = "tag:yaml.org,2002:float"


@functools.cache
def _yaml_dumper() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_list(dumper: Any, items: list[Any]) -> Any:
        node = dumper.represent_sequence("tag:yaml.org,2002:seq", items)
        node.flow_style = not any(isinstance(item, dict | list) for item in items)
        return node

    Dumper.add_representer(list, represent_list)
    Dumper.add_implicit_resolver(_YAML_FLOAT, _FLOAT_1_2, list("-+.0123456789"))
    return Dumper


@functools.cache
def _yaml_loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe: tags that would make objects are refused. Refuses a key that comes twice in one mapping."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if (key.tag, key.value) in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"key {key.value!r} comes twice; remove one", key.start_mark
                        )
                    seen.add((key.tag, key.value))
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver(_YAML_FLOAT, _FLOAT_1_2, list("-+.0123456789"))
    return Loader


def read_config_file(path: str) -> Any:
    """Return what a YAML, JSON or TOML file holds, as its suffix says; an empty YAML file is an empty dict.

    Raises:
        ConfigError: missing, not a regular file, of another suffix, or not well-formed; a key comes twice.
    """
    readers: dict[str, Callable[[str], Any]] = {
        ".yaml": _read_yaml,
        ".yml": _read_yaml,
        ".json": _read_json,
        ".toml": _read_toml,
    }
    read = readers.get(os.path.splitext(path)[1].lower())
    if read is None:
        raise ConfigError(f"config file {path!r} is none of {', '.join(readers)}; a str is taken as the path of a file")
    try:
        with open(open_regular(path, follow=True), encoding="utf-8-sig") as file:
            text = file.read()
    except FileNotFoundError:
        raise ConfigError(f"config file {path!r} does not exist (working folder {os.getcwd()!r})") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        raise _unreadable(path, error) from error
    try:
        return read(text)
    except RecursionError:
        raise ConfigError(f"config file {path!r} is nested too deeply to be read; flatten it") from None
    except ValueError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> ConfigError:
    return ConfigError(f"config file {path!r} cannot be read: {error}")


def _read_yaml(text: str) -> Any:
    import yaml

    try:
        found = yaml.load(text, Loader=_yaml_loader())  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return {} if found is None else found


def _read_toml(text: str) -> Any:
    import tomllib

    return tomllib.loads(text)


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique_keys)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} comes twice; remove one")
    return found
