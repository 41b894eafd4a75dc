"""Texts that people give an experiment: what may be kept, and what is refused at the call."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from typing import Any

from frameworm.experiment.errors import InputError
from frameworm.experiment.foreign import describe
from frameworm.experiment.secrets import mask_text

MAX_LINE_BYTES = 1024
"""Of a name, a title, a caption: what stands on one line."""
MAX_TEXT_BYTES = 1 << 20
"""Of a note, a description: what has lines."""
MAX_TAGS = 1_000
MAX_TAG_CHARACTERS = 256


def checked_text(text: Any, what: str, *, lines: bool = False) -> str:
    """Return the text; one of several lines, into which people paste what programs print, without its secrets.

    Args:
        text: what came.
        what: what it is, for the error.
        lines: line ends are allowed.

    Raises:
        InputError: not a str, too long, or with a character that cannot be kept.
    """
    if not isinstance(text, str):
        raise InputError(f"{what}: expected a str, got {type(text).__name__} {describe(text)}")
    most = MAX_TEXT_BYTES if lines else MAX_LINE_BYTES
    if 4 * len(text) > most and (size := len(text.encode(errors="surrogatepass"))) > most:
        raise InputError(f"{what}: at most {most:,} bytes, got {size:,}; shorten it, or log it as an artifact")
    bad = next((c for c in text if c == "\0" or (c in "\r\n" and not lines) or "\ud800" <= c <= "\udfff"), None)
    if bad is not None:
        raise InputError(f"{what} {text!r:.80}: the character {bad!r} cannot be kept; remove it")
    return mask_text(text) if lines else text


def checked_tags(tags: Any) -> list[str]:
    """Return the tags without repetitions; one str is one tag.

    Raises:
        InputError: not strings, one is empty or too long, or there are too many.
    """
    if isinstance(tags, str):
        tags = [tags]
    if not isinstance(tags, Iterable):
        raise InputError(f"tags: expected strings, got {type(tags).__name__} {describe(tags)}")
    checked = [checked_text(tag, "tag") for tag in itertools.islice(tags, MAX_TAGS + 1)]
    check_number_of_tags(checked)
    if "" in checked:
        raise InputError("tags: expected words, got an empty str; leave it out")
    if long := next((tag for tag in checked if len(tag) > MAX_TAG_CHARACTERS), None):
        raise InputError(f"tag {long!r:.80}: at most {MAX_TAG_CHARACTERS} characters, got {len(long)}; use a note")
    return list(dict.fromkeys(checked))


def check_number_of_tags(tags: Collection[str]) -> None:
    """Refuse more tags than an experiment may have.

    Raises:
        InputError: there are too many.
    """
    if len(tags) > MAX_TAGS:
        raise InputError(
            f"tags: at most {MAX_TAGS:,} of an experiment, got more; what is its own belongs in its config"
        )
