"""Which files git's index holds, with which content, and which of them it was told not to look at."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from frameworm.experiment.paths import open_regular

LISTING = "ls-files --stage -v -z --full-name".split()
_ENTRY = re.compile(rb"([A-Za-z?]) (\d{6}) ([0-9a-f]+) \d\t([^\0]*)\0")
_LOADABLE = (b".py", b".so", b".pyd", b".pyw")
_NEW_CONTENT = re.compile(rb"^index [0-9a-f]+\.\.([0-9a-f]+)", re.MULTILINE)


class Tracked:
    """The index of a repository as ``git ls-files`` lists it.

    Attributes:
        overlooked: paths that git reports no change of, by ``--skip-worktree`` or ``--assume-unchanged``.
    """

    def __init__(self, listing: bytes, wanted: Collection[str]) -> None:
        """Take from a listing what may be asked for.

        Args:
            listing: what git prints.
            wanted: paths to know of, besides those that Python may load.
        """
        self.overlooked: list[str] = []
        self._ids: dict[str, str] = {}
        self._submodules: list[str] = []
        names = {name.encode("utf-8", "surrogateescape") for name in wanted}
        for tag, mode, identity, raw in _ENTRY.findall(listing):
            overlooked = tag in b"Ss" or tag.islower()
            if mode == b"160000":
                self._submodules.append(f"{_text(raw)}/")
            elif overlooked or raw in names or raw.endswith(_LOADABLE):
                self._ids[_text(raw)] = identity.decode()
                if overlooked:
                    self.overlooked.append(_text(raw))

    @property
    def has_submodules(self) -> bool:
        """Whether there are any."""
        return bool(self._submodules)

    def submodule_of(self, path: str) -> str | None:
        """Return the submodule that a path lies in, if it does."""
        return next((one.rstrip("/") for one in self._submodules if path.startswith(one)), None)

    def knows(self, path: str) -> bool:
        """Whether a file is tracked, by a submodule at least."""
        return path in self._ids or self.submodule_of(path) is not None

    def holds(self, path: str, content: bytes) -> bool:
        """Whether git holds a file with exactly this content."""
        identity = self._ids.get(path)
        return identity is not None and blob_id(content, len(identity)) == identity

    def holds_file(self, path: str, place: Path) -> bool:
        """Whether git holds a file as it lies here, or it does not lie here, as in a sparse checkout."""
        try:
            with open(open_regular(place), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                start = b"blob %d\0" % size
                digest = hashlib.file_digest(file, lambda: _method(len(self._ids[path]))(start))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return digest.hexdigest() == self._ids[path]


def blob_id(content: bytes, length: int) -> str:
    """Return what git calls a content, in a repository whose ids have so many digits."""
    identity: str = _method(length)(b"blob %d\0%b" % (len(content), content)).hexdigest()
    return identity


def _method(length: int) -> Any:
    return hashlib.sha256 if length == 64 else hashlib.sha1


def new_contents(patch: bytes) -> list[str]:
    """Return the beginnings of the ids of what a patch makes of files."""
    return [found.decode() for found in _NEW_CONTENT.findall(patch)]


def beside(listing: bytes, folder: str) -> bool:
    """Whether a file is tracked in a folder, relative to the root, or in one above it; in the root only beside it."""
    if folder in ("", "."):
        return re.search(rb"\t[^/\0]+\0", listing) is not None
    top = folder.partition("/")[0].encode("utf-8", "surrogateescape")
    return b"\t" + top + b"/" in listing


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
