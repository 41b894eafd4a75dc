"""Texts that people give an experiment: what may be kept, and what is refused at the call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from frameworm.experiment.errors import InputError
from frameworm.experiment.secrets import mask_text


def checked_text(text: Any, what: str, *, lines: bool = False) -> str:
    """Return the text; one of several lines, into which people paste what programs print, without its secrets.

    Args:
        text: what came.
        what: what it is, for the error.
        lines: line ends are allowed.

    Raises:
        InputError: not a str, or with a character that cannot be kept.
    """
    if not isinstance(text, str):
        raise InputError(f"{what}: expected a str, got {type(text).__name__} {text!r:.80}")
    bad = next((c for c in text if c == "\0" or (c in "\r\n" and not lines) or "\ud800" <= c <= "\udfff"), None)
    if bad is not None:
        raise InputError(f"{what} {text!r:.80}: the character {bad!r} cannot be kept; remove it")
    return mask_text(text) if lines else text


def checked_tags(tags: Any) -> list[str]:
    """Return the tags without repetitions; one str is one tag.

    Raises:
        InputError: not strings, or one is empty.
    """
    if isinstance(tags, str):
        tags = [tags]
    if not isinstance(tags, Iterable):
        raise InputError(f"tags: expected strings, got {type(tags).__name__} {tags!r:.80}")
    checked = [checked_text(tag, "tag") for tag in tags]
    if "" in checked:
        raise InputError("tags: expected words, got an empty str; leave it out")
    return list(dict.fromkeys(checked))
