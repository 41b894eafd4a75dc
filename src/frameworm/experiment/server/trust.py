"""What a folder's ``alerts.yaml`` may do on this machine: only what the user has allowed, asked once.

The user's word is kept in their own configuration, never beside the experiments. It holds for one folder and for just
what its file said then: whoever changes the command or the address later has it asked anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from frameworm.experiment.errors import StoreError
from frameworm.experiment.storage.folder import write_atomically

if TYPE_CHECKING:
    from frameworm.experiment.query.rules import Rules

__all__ = ["Word", "keep_word", "trust_file", "word_on"]


class Word(NamedTuple):
    """What the user said.

    Attributes:
        allowed: whether alerts are sent on as the file says.
        inside: whether the webhook may be at an address that is not of the open internet.
    """

    allowed: bool
    inside: bool


def trust_file() -> Path:
    """Return where the user's words are kept."""
    from platformdirs import user_config_path

    return user_config_path("frameworm") / "trusted.json"


def word_on(root: Path, rules: Rules) -> Word | None:
    """Return what the user said of sending alerts of a root as its rules say now; None if they were not asked."""
    told = _told().get(os.path.realpath(root))
    if not isinstance(told, dict) or told.get("send") != _digest(rules):
        return None
    return Word(told.get("allowed") is True, told.get("inside") is True)


def keep_word(root: Path, rules: Rules, word: Word) -> None:
    """Keep what the user said.

    Raises:
        StoreError: it cannot be written.
    """
    path = trust_file()
    told = {**_told(), os.path.realpath(root): {"send": _digest(rules), **word._asdict()}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, json.dumps(told, indent=2, ensure_ascii=True) + "\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be written, so what you allowed is not kept: {error}") from error


def _told() -> dict[str, Any]:
    try:
        told = json.loads(trust_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}  # no word that can be read is no word
    return told if isinstance(told, dict) else {}


def _digest(rules: Rules) -> str:
    return hashlib.sha256(json.dumps([rules.webhook, rules.command]).encode()).hexdigest()
