"""Looking through a catalog as a table does: pages of rows, in any order, with any columns, and what has changed."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.folder import id_of
from frameworm.experiment.storage.schema import experiments


class States(NamedTuple):
    """Every experiment as it was at one moment, to find out later which have changed.

    Attributes:
        version: of the catalog; while it is the same, nothing has changed.
        marks: by number; what differs if anything has happened to the experiment.
    """

    version: str
    marks: dict[int, Any]

    def since(self, before: States) -> tuple[list[str], list[str]]:
        """Return the ids of those that have come or changed, and of those that are gone."""
        changed = [number for number, mark in self.marks.items() if before.marks.get(number) != mark]
        gone = before.marks.keys() - self.marks.keys()
        return [id_of(number) for number in sorted(changed, reverse=True)], [id_of(number) for number in sorted(gone)]


def states(catalog: Catalog, seen: States | None = None) -> States:
    """Return the states as of now; those of ``seen``, if nothing has changed since."""
    version = version_of(catalog)
    if seen is not None and seen.version == version:
        return seen
    e = experiments.c
    numbers, *marks = catalog.columns(sa.select(e.number, e.uid, e.status, e.updated_ms, e.fingerprint))
    return States(version, dict(zip(numbers, zip(*marks, strict=True), strict=True)))


def version_of(catalog: Catalog) -> str:
    """Return a text that changes whenever the catalog does."""
    if not catalog.persistent:
        return f"memory-{id(catalog):x}-{catalog.rows(sa.text('SELECT total_changes()'))[0][0]}"  # type: ignore[arg-type]
    with open(catalog.path, "rb", buffering=0) as file:
        header = file.read(28)
        # The counter that SQLite raises at every change of the file; with the inode, as the file may be made anew.
        return f"{_inode(file):x}-{int.from_bytes(header[24:28], 'big'):x}"


def _inode(file: Any) -> int:
    import os

    return os.fstat(file.fileno()).st_ino
