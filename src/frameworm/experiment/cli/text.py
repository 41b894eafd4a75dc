"""One value as text: short for people, exact for programs (JSON)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import PurePath
from typing import Any

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that would move the cursor, change colours or turn the line's direction: text is other people's."""


def inert(text: str, *, lines: bool = False) -> str:
    r"""Return a text with control and direction characters written as escapes, ``\x1b``.

    Args:
        text: any.
        lines: line ends stay.
    """

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        if lines and character == "\n":
            return character
        return character.encode("unicode_escape").decode("ascii")

    return _UNSAFE.sub(escape, text)


def numbers(values: Sequence[float | None]) -> list[str]:
    """Return numbers as they stand in one column: four significant digits of the smallest, decimals aligned.

    Whole numbers stay whole; where magnitudes differ too much to be aligned each is written by itself. None is
    an empty text.
    """
    finite = [abs(value) for value in values if value is not None and math.isfinite(value)]
    if all(value == int(value) and value < 1e9 for value in finite):
        return [_each(value, ",.0f") for value in values]
    smallest = min((value for value in finite if value), default=1.0)
    if smallest < 1e-4 or max(finite) >= 1e7 or max(finite) / smallest > 1e3:
        return [_each(value, ".4g") for value in values]
    decimals = max(0, 3 - math.floor(math.log10(smallest)))
    texts = [_each(value, f",.{decimals}f") for value in values]
    while decimals and all(text.endswith("0") for text in texts if "." in text):
        texts = [text[:-1].rstrip(".") if "." in text else text for text in texts]
        decimals -= 1
    return texts


def number(value: float) -> str:
    """Return one number with four significant digits."""
    return numbers([value])[0]


def _each(value: float | None, spec: str) -> str:
    if value is None:
        return ""
    return format(value, spec) if math.isfinite(value) else str(value)


def param(value: Any) -> str:
    """Return a config value on one line; numbers in full, text as it is."""
    if isinstance(value, str):
        return inert(value) if value.strip() == value != "" else json.dumps(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    return inert(json.dumps(plain(value), ensure_ascii=False))


def duration(seconds: float | None) -> str:
    """Return ``40 ms``, ``1.4 s``, ``12 s``, ``3m 20s``, ``2h 05m`` or ``3d 04h``; empty for None and NaN."""
    if seconds is None or math.isnan(seconds):
        return ""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def ago(time: datetime, now: datetime) -> str:
    """Return how long ago a time was, ``2 h ago``; after thirty days its date."""
    seconds = (now - time).total_seconds()
    if seconds < -60 or seconds >= 30 * 86400:
        return f"{time.astimezone():%Y-%m-%d}"
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h ago"
    return f"{seconds // 86400:.0f} d ago"


def local_time(time: datetime) -> str:
    """Return a time in the reader's time zone, to the second."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def size(size_bytes: int) -> str:
    """Return ``512 B``, ``1.2 kB``, ``34 MB``; powers of 1000."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 9.95 else f"{amount:.1f} {unit}"


def count(number: int, singular: str) -> str:
    """Return ``1 point`` or ``1,200 points``."""
    return f"{number:,} {singular}" + ("" if number == 1 else "s")


# ------------------------------------------------------------------------------------------ JSON


def records(frame: Any) -> list[dict[str, Any]]:
    """Return a DataFrame's rows as dicts of Python's own values, None for what is missing but not a float."""
    return [{key: _own(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _own(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.item() if hasattr(value, "item") and not isinstance(value, float) else value


def to_json(value: Any, *, compact: bool = False) -> str:
    """Return a value as strict JSON, ASCII only, so that no terminal, locale or parser trips over it.

    NaN and infinities are the strings "NaN", "Infinity" and "-Infinity"; times are ISO 8601 in UTC.
    """
    return json.dumps(plain(value), indent=None if compact else 2, allow_nan=False)


def plain(value: Any) -> Any:
    """Return a value made of dicts, lists, str, int, finite float, bool and None only.

    Raises:
        TypeError: a value of a kind that has no place in an answer.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date | PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def iso(time: datetime) -> str:
    """Return ``2026-11-23T09:50:07.123Z``."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
