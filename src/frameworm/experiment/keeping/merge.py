"""Merging: journals and segments of one experiment become one segment, and read exactly as before.

The merged segment is called ``metrics-+merged-0-<n>.seg``, with the ``n`` of the last file in it: files that come later
have a larger one, and nobody who seals a journal writes under that name. Its events stand writer by writer, each
preceded by an event ``source`` with the journal's name. Readers pass over files that were merged into another, so that
they may go one by one once it is there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from frameworm.experiment.config import dump_json
from frameworm.experiment.errors import StoreError
from frameworm.experiment.model import Points, SeriesKey, SeriesSummary
from frameworm.experiment.query.sources import JournalSource, SegmentSource, WriterPart
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.storage.segment import SegmentReader, write_segment
from frameworm.experiment.storage.series import summarize

MERGED_HOST = "+merged"
"""Stands where other files' names have the host's; no host's name holds a ``+`` there."""


class Source(Protocol):
    """The record of one writer, or of several that were merged."""

    parts: list[WriterPart]

    @property
    def keys(self) -> list[SeriesKey]:
        """The series."""

    def read(self, position: int) -> Points:
        """Return the points of ``keys[position]``, in arrival order."""

    def summaries(self) -> list[SeriesSummary]:
        """Return a summary of each series that has points."""


def open_source(path: Path) -> Source:
    """Open a journal or a segment.

    Raises:
        DamageError: it is not one.
        OSError: it cannot be read.
    """
    name = WriterName.parse(path.name)
    assert name is not None
    return SegmentSource(path, name) if path.name.endswith(".seg") else JournalSource(path, name)


def merge(logs_dir: Path, sources: Sequence[Source], *, note: str = "", path: Path | None = None) -> Path:
    """Write one segment that holds all of these sources, and reads as they did; they stay.

    Args:
        logs_dir: the experiment's ``logs`` folder.
        sources: follow each other in reading order, none of them written any more.
        note: added to the experiment's notes.
        path: the segment; None for the name that these sources give it.

    Returns:
        the segment, on the disk and read back.

    Raises:
        StoreError: what was read back is not what was written; nothing was changed.
        DamageError: a source is damaged.
        OSError: the disk refused; nothing was changed.
    """
    parts = [part for source in sources for part in source.parts]
    last = WriterName.parse(parts[-1].journal)
    assert last is not None
    path = path or logs_dir / (last if len(parts) == 1 else WriterName(last.n, MERGED_HOST, 0)).segment
    keys = list(dict.fromkeys(key for source in sources for key in source.keys))
    summaries = _summaries(sources)
    index, points = _gathered(sources, keys, {key: summary.count for key, summary in summaries.items()})
    events: list[dict[str, Any]] = []
    for part in parts:
        events.append({"t": 0, "type": "source", "journal": part.journal, "heartbeat_ms": part.heartbeat_ms})
        events += [event for event in part.events if event["type"] != "check"]
    if note:
        latest = max(max(event["t"], event.get("heartbeat_ms", 0)) for event in events)
        events.append({"t": latest, "type": "note", "text": note})
    sums = _sums(summaries, keys, summarize(keys, index, points))
    if sums:
        events.append({"t": 0, "type": "sums", "sums": sums})
    lines = b"".join(dump_json(event).encode() + b"\n" for event in events)
    write_segment(
        path,
        keys=keys,
        index=index,
        epochs=points.epochs,
        steps=points.steps,
        times_ms=points.times_ms,
        values=points.values,
        events=lines,
        sources=[part.journal for part in parts],
    )
    _read_back(path, keys, index, points, lines)
    return path


def remove_merged(logs_dir: Path, segment: Path, journals: Sequence[str]) -> None:
    """Remove the files of journals that were merged into ``segment``, which is on the disk."""
    for entry in sorted(os.listdir(logs_dir)):
        name = WriterName.parse(entry)
        if name is not None and entry != segment.name and (name.journal in journals or name.host == MERGED_HOST):
            if name.host == MERGED_HOST and not _is_part(logs_dir / entry, journals):
                continue
            (logs_dir / entry).unlink(missing_ok=True)
    sync_folder(logs_dir)


def holds(whole: Source, part: Source) -> bool:
    """Whether every event and every point of ``part`` is in ``whole``, in its order, bit for bit."""
    events = {one.journal: [event for event in one.events if event["type"] != "check"] for one in whole.parts}
    for one in part.parts:
        if events.get(one.journal) != [event for event in one.events if event["type"] != "check"]:
            return False
    positions = {key: position for position, key in enumerate(whole.keys)}
    for position, key in enumerate(part.keys):
        points = part.read(position)
        if len(points) and (key not in positions or not _contains(whole.read(positions[key]), points)):
            return False
    return True


def _contains(whole: Points, part: Points) -> bool:
    """Whether ``part`` is a run of ``whole``."""

    def equal(start: int, stop: int) -> bool:
        return all(
            np.array_equal(a[start:stop].view(np.uint8), b[: stop - start].view(np.uint8))
            for a, b in zip(_columns(whole), _columns(part), strict=True)
        )

    starts = np.flatnonzero((whole.times_ms == part.times_ms[0]) & (whole.steps == part.steps[0])).tolist()
    return any(start + len(part) <= len(whole) and equal(start, start + len(part)) for start in starts)


def _columns(points: Points) -> tuple[NDArray[Any], ...]:
    return points.steps, points.epochs, points.times_ms, points.values


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_part(path: Path, journals: Sequence[str]) -> bool:
    with SegmentReader(path) as segment:
        return set(segment.sources) <= set(journals)


def _gathered(
    sources: Sequence[Source], keys: Sequence[SeriesKey], counts: Mapping[SeriesKey, int]
) -> tuple[NDArray[np.uint32], Points]:
    """Return all points, series by series, each in reading order: 32 bytes a point, held once."""
    index = np.repeat(np.arange(len(keys), dtype=np.uint32), [counts.get(key, 0) for key in keys])
    n = len(index)
    points = Points(np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n))
    where: dict[SeriesKey, list[tuple[Source, int]]] = {key: [] for key in keys}
    for source in sources:
        for position, key in enumerate(source.keys):
            where[key].append((source, position))
    start = 0
    for key in keys:
        for source, position in where[key]:
            piece = source.read(position)
            here = slice(start, start + len(piece))
            points.steps[here], points.epochs[here] = piece.steps, piece.epochs
            points.times_ms[here], points.values[here] = piece.times_ms, piece.values
            start += len(piece)
    return index, points


def _summaries(sources: Sequence[Source]) -> dict[SeriesKey, SeriesSummary]:
    """Return a summary of each series over all sources, as a reader of them makes it."""
    merged: dict[SeriesKey, SeriesSummary] = {}
    for source in sources:
        for summary in source.summaries():
            key = SeriesKey(summary.name, summary.context)
            merged[key] = merged[key].then(summary) if key in merged else summary
    return merged


def _sums(
    before: Mapping[SeriesKey, SeriesSummary], keys: Sequence[SeriesKey], after: Sequence[SeriesSummary]
) -> list[tuple[int, float, int]]:
    """Return what was said of series whose sum over all points is rounded differently: position, sum, first time.

    A mean that has been shown must not change its last digit because files were merged.
    """
    positions = {key: position for position, key in enumerate(keys)}
    told = []
    for now in after:
        key = SeriesKey(now.name, now.context)
        then = before[key]
        same = then.sum == now.sum or (math.isnan(then.sum) and math.isnan(now.sum))
        if not same or then.first_time_ms != now.first_time_ms:
            told.append((positions[key], then.sum, then.first_time_ms))
    return told


def _read_back(path: Path, keys: Sequence[SeriesKey], index: NDArray[Any], points: Points, events: bytes) -> None:
    """Compare what lies on the disk with what was to be written, before anything is removed for it."""
    with SegmentReader(path) as segment:
        same = segment.keys == list(keys) and segment.events() == events
        stops = np.searchsorted(index, np.arange(len(keys)), "right").tolist()
        start = 0
        for i, stop in enumerate(stops):
            there = segment.read(i)
            same = same and all(
                np.array_equal(a.view(np.uint8), b[start:stop].view(np.uint8))
                for a, b in zip(_columns(there), _columns(points), strict=True)
            )
            start = stop
    if not same:
        path.rename(path.with_name(f"{path.name}.0.tmp"))
        raise StoreError(f"{path}: what was read back differs from what was written; memory or disk is failing")
