"""Wording: values, changes and distances as a few words for people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from frameworm.experiment.query.changes import Change
from frameworm.experiment.query.code_diff import FileDiff
from frameworm.experiment.query.divergence import Divergence

_WORD = re.compile(r"(?!(true|false|null|nan)\Z)[a-z_/.][\w/.:+-]*", re.IGNORECASE)
"""A text that is taken for nothing else without quotes."""


def arrow(change: Change, ids: tuple[str, str], show: Callable[[Any], str] | None = None) -> str:
    """Return a change in a few words: ``0.001 → 0.01``, ``3, only in exp_002``."""
    if change.kind == "changed":
        show = show or _whole
        return " → ".join(apart(show(change.a), show(change.b)))
    a, b = map(show or short, (change.a, change.b))
    return f"{b}, only in {ids[1]}" if change.kind == "added" else f"{a}, only in {ids[0]}"


def ulps_text(divergence: Divergence | None) -> str:
    """Return ``3 ulps``, ``1 ulp of float32``, ``the sign of zero``; empty where a value is NaN."""
    if divergence is None or divergence.ulps is None:
        return ""
    if divergence.ulps == 0:
        return "the sign of zero"
    if divergence.float32_ulps is not None:
        return f"{counted(divergence.float32_ulps, 'ulp')} of float32"
    return counted(divergence.ulps, "ulp")


def told_apart(a: float, b: float) -> tuple[str, str]:
    """Return two numbers with as many digits as tell one from the other, five at least."""
    for digits in range(5, 17):
        x, y = f"{a:.{digits}g}", f"{b:.{digits}g}"
        if x != y and abs(a - b) * 10 ** (digits - 2) > max(abs(a), abs(b)):
            return x, y
    return repr(a), repr(b)


def versions_apart(change: Change, ids: tuple[str, str]) -> str:
    """Return how a package changed, no more than tells the two apart: ``1.0 → 1.1``, ``1.0 from another folder``."""
    a, b = ({"version": one} if isinstance(one, str) else dict(one or {}) for one in (change.a, change.b))
    if change.kind != "changed" or a.get("version") != b.get("version"):
        return arrow(change, ids, lambda value: str(value["version"] if isinstance(value, Mapping) else value))
    if a.get("commit") != b.get("commit"):
        return f"{a['version']}, commit {' → '.join(str(one.get('commit') or 'none')[:10] for one in (a, b))}"
    places = [str(one.get("url") or "the index").rstrip("/") for one in (a, b)]
    if places[0] == places[1]:
        return f"{a['version']}, {' → '.join('editable' if one.get('editable') else 'installed' for one in (a, b))}"
    names = [place.rpartition("/")[2] for place in places]
    return (
        f"{a['version']}, from {' → '.join(names)}" if names[0] != names[1] else f"{a['version']}, from another place"
    )


def short(value: Any, most: int = 60) -> str:
    """Return a value as JSON on one line, its middle left out where it is long; a text of one word as it is."""
    text = value if isinstance(value, str) and _WORD.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 20]}…{text[-19:]}"


def _whole(value: Any) -> str:
    return short(value, most=100_000)


def apart(a: str, b: str, most: int = 60) -> tuple[str, str]:
    """Return two texts, long ones cut to where they begin to differ: cut in the middle both may look the same."""
    if max(len(a), len(b)) <= most:
        return a, b
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    begin = max(0, same - 20)
    shown = [f"{'…' if begin else ''}{text[begin:]}" for text in (a, b)]
    return tuple(text if len(text) <= most else f"{text[: most - 1]}…" for text in shown)  # type: ignore[return-value]


def plain(value: Any) -> str:
    """Return a value for which nobody takes a text that looks like a number; a list as its words."""
    words = value if isinstance(value, list) else [value]
    return " ".join(word if isinstance(word, str) else short(word) for word in words)


def version_text(value: Any) -> str:
    """Return a package's version, and where it came from if not from an index."""
    if not isinstance(value, Mapping):
        return str(value)
    commit = f"@{str(value['commit'])[:10]}" if value.get("commit") else ""
    return f"{value['version']} ({'editable, ' if value.get('editable') else ''}{value.get('url', '')}{commit})"


def counted(number: int, singular: str) -> str:
    """Return ``1 point``, ``1,200 points``."""
    return f"{number:,} {singular}{'' if number == 1 else 's'}"


def cut(text: str) -> str:
    """Return a text of 60 characters at most."""
    return text if len(text) <= 60 else f"{text[:59]}…"


def files_title(files: Sequence[FileDiff]) -> str:
    """Return which files differ, and of one alone the line."""
    if len(files) > 1:
        return f"in {len(files):,} files: {', '.join(file.path for file in files[:3])}{', …' if len(files) > 3 else ''}"
    line = _first_line(files[0])
    return files[0].path + (f", line {line}" if line else "")


def _first_line(file: FileDiff) -> int | None:
    """Return the line of b, or of a where it was removed, at which the first change lies; None for binary files."""
    match = re.search(r"^@@ -(\d+)(?:,\d+)? \+(\d+)", file.patch, re.MULTILINE)
    if match is None or file.kind in ("added", "removed"):
        return None
    line = int(match[2])
    for text in file.patch[match.end() :].split("\n")[1:]:
        if text[:1] != " ":
            break
        line += 1
    return line


def files_told(files: Sequence[FileDiff]) -> str:
    """Return a sentence on the first few files."""
    sentences = []
    for file in files[:3]:
        lines = file.patch.partition("\n@@ ")[2].split("\n")[1:]
        removed, added = ([line[1:].strip() for line in lines if line[:1] == sign] for sign in "-+")
        if file.kind in ("added", "removed"):
            size = f" ({counted(len(added or removed), 'line')})" if file.hunks else ""
            sentences.append(f"{file.path} is {'new' if file.kind == 'added' else 'gone'}{size}.")
        elif file.hunks == 1 and len(removed) == len(added) == 1:
            sentences.append(f"In {file.path} `{cut(removed[0])}` became `{cut(added[0])}`.")
        elif file.hunks:
            size = f"{counted(file.hunks, 'place')}, +{file.added_lines} −{file.removed_lines} lines"
            sentences.append(f"{file.path} was {file.kind} ({size}).")
        else:
            sentences.append(f"{file.path} was {file.kind}.")
    return " ".join(sentences)
