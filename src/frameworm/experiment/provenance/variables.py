"""Environment variables that the program looks at, by name, noted as it does.

``os.environ`` stays what it is: only the dict behind it, which the standard library keeps to itself, is replaced by
one that takes note. ``os.getenv``, ``in``, ``get`` and ``os.environb`` all end there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from frameworm.experiment.provenance.inputs import asker
from frameworm.experiment.provenance.program import installed_folders
from frameworm.experiment.secrets import mask_config

_MANY = 200
_LONGEST = 1_000
# Who and where one is, and how the terminal looks: it differs everywhere, and changes no result.
_IDLE = re.compile(
    r"PATH|HOME|USER|LOGNAME|USERNAME|SHELL|TERM(_\w+)?|COLORTERM|COLUMNS|LINES|PWD|OLDPWD|TMPDIR|TEMP|TMP|DISPLAY|EDITOR|VISUAL"
    r"|PAGER|HOSTNAME|NO_COLOR|FORCE_COLOR|CLICOLOR\w*|CI|_|XDG_\w+|SSH_\w+|PYTEST_\w+|FRAMEWORM_\w+|GIT_\w+|PYTHON\w+"
    r"|JPY_\w+|VSCODE_\w+"
)

_looked: dict[str, str | None] = {}


class _Watched(dict[Any, Any]):
    """The variables; what is asked for by name is noted, what is copied as a whole is not."""

    _walk: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        keys = list(dict.keys(self))
        self._walk = iter(keys)
        return iter(keys)

    def __getitem__(self, key: Any) -> Any:
        if self._walk is not None:
            if next(self._walk, None) == key:  # ``dict(os.environ)`` and ``items()`` ask for one after the other
                return _get(self, key)
            self._walk = None
        name = os.fsdecode(key) if isinstance(key, bytes) else str(key)
        if name not in _looked:
            self._note(name, self.get(key))
        return _get(self, key)

    def _note(self, name: str, value: Any) -> None:
        if len(_looked) >= _MANY or _IDLE.fullmatch(name) or not (file := asker()):
            return
        if value is not None or not file.startswith(installed_folders()):  # libraries ask for hundreds that nobody sets
            _looked[name] = None if value is None else os.fsdecode(value)


_get = dict.__getitem__


def watch() -> None:
    """Take note from here on, until the process ends; where ``os.environ`` is not Python's own, of nothing."""
    variables = getattr(os.environ, "_data", None)
    if type(os.environ) is os._Environ and type(variables) is dict:
        watched = _Watched(variables)
        for view in (os.environ, os.environb):
            vars(view)["_data"] = watched


def looked_at() -> tuple[dict[str, str], list[str]]:
    """Return the variables that were asked for by name with their values at that time, and those that were not set.

    The values of secrets are masked, and long ones cut. What Python and this package ask for is left out, and so is
    what only says who and where one is.
    """
    looked = dict(_looked)
    masked = mask_config({name: value for name, value in sorted(looked.items()) if value is not None})
    return {name: value[:_LONGEST] for name, value in masked.items()}, sorted({*looked} - {*masked})
