"""Checking the catalog: the file itself, and its rows against the folders."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from frameworm.experiment.errors import FramewormWarning, StoreError
from frameworm.experiment.keeping.findings import Finding, Severity
from frameworm.experiment.query.sync import sync
from frameworm.experiment.storage.catalog import Catalog, KnownFolders
from frameworm.experiment.storage.folder import CATALOG_NAME, SCHEMA_VERSION, catalog_uri, fingerprint
from frameworm.experiment.storage.schema import (
    DETAILS,
    Entry,
    add_rows,
    experiments,
    series,
    series_rows,
)

_REBUILT = "made anew from the folders, as `frameworm rebuild` does"
_CARELESS = ("stale", "fingerprint")
"""Columns that say what the catalog knows of itself."""


class Index:
    """The catalog of a root as it was found, to be compared with one experiment after the other.

    Attributes:
        findings: what is wrong, as far as it was looked into.
    """

    def __init__(self, root: Path) -> None:
        """Check the file itself."""
        self._root = root
        self._catalog: Catalog | None = None
        self._known = KnownFolders(set(), {})
        self._seen: set[str] = set()
        path = root / CATALOG_NAME
        self.findings = [trouble] if path.exists() and (trouble := _trouble(path)) is not None else []
        if not self.findings and path.exists():
            self._catalog = Catalog.in_memory(root)
            try:
                self._known = self._catalog.folders()
            except StoreError as error:
                self._catalog = None
                self.findings.append(_finding("catalog-damaged", "damage", None, str(error)))
        self._missing = not path.exists()

    def look_at(self, name: str, entry: Entry | None) -> None:
        """Compare the rows of one experiment with what its folder says.

        Args:
            name: of its folder.
            entry: what the catalog should know; None if it may change at any moment, or cannot be read.
        """
        self._seen.add(name)
        if entry is None:
            return
        one = entry.info.experiment_id
        if self._catalog is None:
            if self._missing:
                self._missing = False
                self.findings.append(
                    _finding("catalog-missing", "leftover", None, "missing; the next listing makes it")
                )
        elif name not in self._known.fresh and name not in self._known.stale:
            what = f"does not know {name} yet; the next listing enters it"
            self.findings.append(_finding("folder-without-row", "leftover", one, what))
        elif name in self._known.fresh or self._known.stale[name][1] == fingerprint(self._root / name):
            try:
                differing = _differing(self._catalog, entry)
            except StoreError as error:
                self.findings.append(_finding("catalog-damaged", "damage", one, str(error)))
                return
            if differing:
                what = f"differs from {name} in {', '.join(differing[:6])}"
                self.findings.append(_finding("row-differs", "wrong", one, what))

    def finish(self) -> None:
        """Look for rows whose folders are gone, once every experiment was looked at."""
        for name in sorted((self._known.fresh | self._known.stale.keys()) - self._seen):
            what = f"knows of {name}, which is not there; the next listing forgets it"
            self.findings.append(_finding("row-without-folder", "leftover", None, what))

    def mend(self) -> None:
        """Make the catalog anew, if anything was found; another program's, or a newer release's, is left alone."""
        if not any(finding.repair for finding in self.findings):
            return
        with suppress(StoreError), warnings.catch_warnings():
            warnings.simplefilter("ignore", FramewormWarning)  # of damage, which is reported already
            catalog = Catalog.open(self._root)
            catalog.clear()
            sync(catalog)
            self.findings = [replace(finding, mended=finding.repair is not None) for finding in self.findings]


def _finding(kind: str, severity: Severity, experiment_id: str | None, what: str) -> Finding:
    """Return a finding whose repair is that of the whole catalog: the doctor makes it anew once, at the end."""
    return Finding(experiment_id, kind, severity, CATALOG_NAME, None, what, _REBUILT, repair=lambda: None)


def _trouble(path: Path) -> Finding | None:
    """Return what is wrong with the file as a whole."""
    try:
        with contextlib.closing(sqlite3.connect(catalog_uri(path, "ro"), uri=True, timeout=5.0)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            about = dict(connection.execute("SELECT key, value FROM meta"))
    except (sqlite3.Error, OSError) as error:
        return _finding("catalog-damaged", "damage", None, f"cannot be read: {error}")
    if found != ["ok"]:
        return _finding("catalog-damaged", "damage", None, "; ".join(map(str, found)).replace("\n", " "))
    said = str(about.get("version", 0))
    if not re.fullmatch("[0-9]{1,9}", said):
        return _finding("catalog-damaged", "damage", None, f"is of version {said!r:.40}")
    version = int(said)
    if version > SCHEMA_VERSION:
        what = f"was written by a newer release (version {version}, this one knows {SCHEMA_VERSION})"
        remedy = "upgrade with `pip install --upgrade frameworm`"
        return Finding(None, "catalog-newer", "wrong", CATALOG_NAME, None, what, remedy)
    if version < SCHEMA_VERSION:
        what = f"is of version {version}, this release writes {SCHEMA_VERSION}; the next listing makes it anew"
        return _finding("catalog-older", "leftover", None, what)
    return None


def _differing(catalog: Catalog, entry: Entry) -> list[str]:
    """Return in which columns and tables the rows of an experiment are others than its folder asks for."""
    expected: dict[sa.Table, list[dict[str, Any]]] = {table: [] for table in (experiments, *DETAILS)}
    number = add_rows(expected, entry)
    names = series.columns.keys()
    expected[series] = [dict(zip(names, row, strict=True)) for row in series_rows(number, entry.summaries)]
    found = []
    for table, rows in expected.items():
        key = table.c.number if table is experiments else table.c.experiment
        there = [row._mapping for row in catalog.rows(sa.select(table).where(key == number))]
        if table is experiments:
            if len(there) != 1:
                return ["its row"]
            found += [c for c, v in rows[0].items() if c not in _CARELESS and not _same(there[0][c], v)]
        elif not _same_rows(there, rows):
            found.append(table.name)
    return found


def _same_rows(there: list[Any], expected: list[dict[str, Any]]) -> bool:
    columns = list(expected[0]) if expected else []
    as_text = sorted(repr([_plain(row[c]) for c in columns]) for row in expected)
    return as_text == sorted(repr([_plain(row[c]) for c in columns]) for row in there)


def _same(a: Any, b: Any) -> bool:
    return repr(_plain(a)) == repr(_plain(b))


def _plain(value: Any) -> Any:
    """As the catalog keeps it: a zero without its sign, half a surrogate pair escaped."""
    if isinstance(value, float):
        return value + 0.0
    return value.encode(errors="backslashreplace") if isinstance(value, str) else value
