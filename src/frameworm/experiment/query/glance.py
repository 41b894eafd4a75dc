"""The first page of a table while nothing else was asked: read from the catalog's file without SQLAlchemy.

To import that takes longer than all else that stands between the start of a server and the first rows. So they are read
by plain SQL, if the catalog is known to tell of every folder as it is; else, or if anything is odd, they are not, and
whoever asks opens the catalog, which brings it up to date and finds what is wrong.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from frameworm.experiment.config import load_json
from frameworm.experiment.paths import open_regular
from frameworm.experiment.storage.folder import (
    CATALOG_FORMAT,
    CATALOG_NAME,
    SCHEMA_VERSION,
    catalog_uri,
    fingerprint,
    number_of,
)

ARCHIVED = "archived"
"""The tag of experiments that are left out unless asked for."""

ROW_FIELDS = (
    "experiment_id", "uid", "name", "status", "project", "created_ms", "updated_ms", "duration_s", "damage",
)  # fmt: skip
"""What every row tells, beside tags, progress and values."""

_TYPES: tuple[tuple[type, ...], ...] = (*[(str,)] * 5, (int,), (int,), (float, type(None)), (str, type(None)))

_PATIENCE_S = 0.05

_SHOWN = f"FROM experiments WHERE number NOT IN (SELECT experiment FROM tags WHERE tag = '{ARCHIVED}')"
_ROWS = f"SELECT number, tag_list, {', '.join(ROW_FIELDS)} {_SHOWN} ORDER BY created_ms DESC, number DESC LIMIT ?"


class Glance(NamedTuple):
    """A first page, newest first, without those that are archived.

    Attributes:
        version: of the catalog, as ``version_of`` has it.
        total: how many there are.
        numbers: of the experiments of the page.
        rows: as ``rows_of`` has them.
    """

    version: str
    total: int
    numbers: list[int]
    rows: list[dict[str, Any]]


def glance(root: Path, limit: int) -> Glance | None:
    """Return the first ``limit`` rows; None if the catalog is not there, not ours, or may not be up to date.

    That is so wherever an experiment runs, and where nothing can be written.
    """
    path = root / CATALOG_NAME
    if not (os.access(root, os.W_OK | os.X_OK) and os.access(path, os.W_OK)):
        return None
    try:
        version = file_version(path)
        with contextlib.closing(
            sqlite3.connect(catalog_uri(path, "ro"), uri=True, timeout=_PATIENCE_S, isolation_level=None)
        ) as file:
            file.execute("BEGIN")
            about = dict(file.execute("SELECT key, value FROM meta"))
            if (about.get("format"), about.get("version")) != (CATALOG_FORMAT, str(SCHEMA_VERSION)):
                return None
            if not _is_current(file, root):
                return None
            total = file.execute(f"SELECT count(*) {_SHOWN}").fetchone()[0]
            found = file.execute(_ROWS, (limit,)).fetchall()
        if not all(type(value) in kinds for row in found for kinds, value in zip(_TYPES, row[2:], strict=True)):
            return None
        rows = [
            {**dict(zip(ROW_FIELDS, fields, strict=True)), "tags": load_json(tags), "progress": None, "values": []}
            for _, tags, *fields in found
        ]
    except (OSError, sqlite3.Error, ValueError, TypeError):  # of the last two: a cell that is not as ours
        return None
    return Glance(version, total, [number for number, *_ in found], rows)


def _is_current(file: sqlite3.Connection, root: Path) -> bool:
    """Whether the catalog tells of every folder, and of no other, and nothing may have happened to one since."""
    names = set(os.listdir(root))
    joined = file.execute("SELECT group_concat(folder, '/') FROM experiments").fetchone()[0]
    known = set(joined.split("/")) if joined else set()
    if not known <= names or any(number_of(name) is not None for name in names - known):
        return False
    stale = file.execute("SELECT folder, status, fingerprint FROM experiments WHERE stale")
    return all(
        status not in ("pending", "running") and mark != "" and fingerprint(root / name) == mark
        for name, status, mark in stale
    )


def file_version(path: Path) -> str:
    """Return a text that changes whenever the file of a catalog does."""
    with open(open_regular(path, follow=True), "rb", buffering=0) as file:
        # SQLite counts in its header how often the file was changed; a file made anew has another inode.
        count = int.from_bytes(file.read(28)[24:28], "big")
        return f"{os.fstat(file.fileno()).st_ino:x}-{count:x}"
