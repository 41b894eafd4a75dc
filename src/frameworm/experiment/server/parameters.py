"""What requests bring: lists of names and of ids, and whole numbers, each within the bounds that all have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from frameworm.experiment.errors import InputError

MOST_IDS = 1_000
"""Ids a request may name."""

_LARGEST = 2**63 - 1

Integer = Annotated[int, Field(ge=-_LARGEST - 1, le=_LARGEST)]
"""A whole number as files and the catalog take it: 64 bits."""

Natural = Annotated[int, Field(ge=0, le=_LARGEST)]


def _text(text: str) -> str:
    text.encode()  # half a surrogate pair is no text, and can be neither looked for nor told
    return text


Ids = Annotated[
    list[Annotated[str, AfterValidator(_text)]], Field(min_length=1, max_length=MOST_IDS, description="Ids or uids.")
]
"""The ids in the body of a request."""


def names_in(text: str) -> list[str]:
    """Return the names that a parameter lists, separated by commas or as a JSON list.

    Raises:
        InputError: it begins like a JSON list, and is none of texts.
    """
    if not text.startswith("["):
        return [name for name in text.split(",") if name]
    names = _json(text)
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{text!r:.80} is no list of texts")
    return list(names)


def ids_in(text: str) -> list[str]:
    """Return the ids that a parameter lists, each once.

    Raises:
        InputError: as for ``names_in``, or there are too many.
    """
    return few(names_in(text))


def groups_in(text: str) -> list[list[str]]:
    """Return the groups of ids that a parameter lists: ``[["exp_001", "exp_002"], ["exp_003"]]``.

    Raises:
        InputError: it is no JSON list of lists of ids, or there are too many.
    """
    groups = _json(text)
    if not all(isinstance(group, list) and all(isinstance(one, str) for one in group) for group in groups):
        raise InputError(f'{text!r:.80}: give lists of ids in JSON, such as [["exp_001","exp_002"]]')
    few(one for group in groups for one in group)
    return groups


def few(ids: Iterable[str]) -> list[str]:
    """Return the ids, each once.

    Raises:
        InputError: there are too many.
    """
    found = list(dict.fromkeys(ids))
    if len(found) > MOST_IDS:
        raise InputError(f"{len(found):,} experiments are asked for at once; at most {MOST_IDS:,} are allowed")
    return found


def _json(text: str) -> list[Any]:
    r"""Return a list in JSON, whose texts can be told again: half a surrogate pair, ``"\ud800"``, is no text."""
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputError(f"{text!r:.80} is no JSON list: {error!s:.80}") from None
    if not isinstance(found, list):
        raise InputError(f"{text!r:.80} is no JSON list")
    return found
