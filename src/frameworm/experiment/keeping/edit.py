"""Edits of an experiment by others than the one who records it, also after its end.

An edit is a journal of its own beside the others, written with one ``write``: there whole, or not at all. Who
edits does not count as one who records: an edit makes no crashed experiment look alive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import StoreError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.provenance.plan import check_changeable
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.query.sync import read_entry
from frameworm.experiment.recording.journal import JournalWriter, encode_event, now_ms
from frameworm.experiment.recording.liveness import identity
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.folder import LOGS, id_of, number_of, write_metadata
from frameworm.experiment.texts import check_number_of_tags


def edit(folder: Path, *events: dict[str, Any]) -> ExperimentInfo:
    """Add events to an experiment's record, running or not, and bring the catalog up to date.

    Args:
        folder: the experiment's.
        events: with their ``type``, without a time: they come after everything that was recorded.

    Returns:
        what is known of the experiment now.

    Raises:
        InputError: it would have too many tags.
        StoreError: the folder cannot be read or written, or the catalog is locked for long; nothing was changed.
    """
    return edit_all([folder], *events)[0]


def edit_all(folders: Sequence[Path], *events: dict[str, Any]) -> list[ExperimentInfo]:
    """Add the same events to the records of some experiments of one root, with one change of the catalog for all.

    Args:
        folders: the experiments', one at least.
        events: as for ``edit``.

    Returns:
        what is known of each now.

    Raises:
        StoreError: as for ``edit``; those before the one that it names were changed.
    """
    check_changeable(*folders)
    ids = [id_of(number) for folder in folders if (number := number_of(folder.name)) is not None]
    assert len(ids) == len(folders) > 0
    catalog = Catalog.open(folders[0].parent)
    if catalog.persistent:
        catalog.mark_stale(*ids)  # first: should this process die, the next reader looks into the folders
    infos = [_edited(folder, events) for folder in folders]
    if catalog.persistent:
        catalog.upsert_many([entry for folder in folders if (entry := read_entry(folder)) is not None])
    return infos


def _edited(folder: Path, events: Sequence[dict[str, Any]]) -> ExperimentInfo:
    """Write the events into a journal of their own; return what is known then."""
    reader = ExperimentReader(folder)
    for event in events:
        if event["type"] == "tags_edit":
            check_number_of_tags({*reader.info.tags, *event["add"]} - {*event["remove"]})
    try:
        writer = {**identity(), "role": "editor"}
        # Clocks of machines differ: what is said now must win over what was said before.
        t = max(now_ms(), reader.info.updated_ms)
        everything = [{"type": "open", **writer}, *events, {"type": "close"}]
        frames = b"".join(encode_event({"t": t, **event}) for event in everything)
        host = re.sub(r"[^A-Za-z0-9._-]", "_", str(writer["host"]))[:64] or "host"
        journal = JournalWriter(folder / LOGS, host, lambda: frames)
        journal.sync()
        journal.close()
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{folder} cannot be written, so nothing was changed: {error}") from error
    reader = ExperimentReader(folder)
    if reader.info.status not in ("running", "pending"):
        write_metadata(folder, reader.info)
    return reader.info
