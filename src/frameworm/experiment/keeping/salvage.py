"""What can still be read of a damaged journal or segment, block by block."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from frameworm.experiment.errors import SegmentDamageError, StoreError
from frameworm.experiment.events import Event, Series, Snapshot
from frameworm.experiment.model import Points, SeriesKey, SeriesSummary
from frameworm.experiment.query.sources import JournalSource, WriterPart, segment_events, writer_parts
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.storage.folder import read_metadata
from frameworm.experiment.storage.segment import SegmentReader
from frameworm.experiment.storage.segment_layout import BLOCK, LONG
from frameworm.experiment.storage.series import summarize


class Salvaged:
    """A source that reads what is left of a damaged file, and counts what is not.

    Attributes:
        parts: the events of its writers, as far as they can be read.
        keys: the series; those whose names are lost are called as readers call them.
        lost: points that cannot be read.
    """

    def __init__(self, path: Path, name: WriterName, *, sealed: bool, snapshot: Path | None = None) -> None:
        """Read what can be read.

        Args:
            path: the file.
            name: what its name says.
            sealed: whether it is a segment.
            snapshot: the experiment's folder, whose metadata.json stands in for events that are lost.

        Raises:
            DamageError: nothing can.
        """
        self.lost = 0
        self.parts: list[WriterPart] = []
        self.keys: list[SeriesKey] = []
        self._lost_events = self._snapshot = False
        self._bad_events = 0
        if sealed:
            self._from_segment(path, name)
            lacking = self._lost_events or self._bad_events > 0
            if lacking and snapshot is not None and (told := _events_of_snapshot(snapshot)):
                self.parts[-1].events.extend(told)
                self._lost_events, self._snapshot = False, True
        else:
            journal = JournalSource(path, name)
            self.parts, self.keys = journal.parts, journal.keys
            self._points = [journal.read(position) for position in range(len(self.keys))]

    def _from_segment(self, path: Path, name: WriterName) -> None:
        with SegmentReader(path) as segment:
            try:
                journals = segment.sources
            except SegmentDamageError:
                journals = [name.journal]
            try:
                events, damage = segment_events(segment)
                self._bad_events = len(damage)
            except SegmentDamageError:
                events, self._lost_events = [], True
            self.parts = writer_parts(events, name) or [WriterPart(journal, [], True, 0) for journal in journals]
            counts = segment.counts
            try:
                self.keys = list(segment.keys)
            except SegmentDamageError:
                self.keys = _declared(self.parts, len(counts), name)
            self._points = [self._read(segment, i, int(count)) for i, count in enumerate(counts.tolist())]

    def _read(self, segment: SegmentReader, i: int, count: int) -> Points:
        """Return the readable points of one series, of a long one block by block."""
        try:
            return segment.read(i)
        except SegmentDamageError:
            pieces = []
            for start in range(0, count, BLOCK) if count >= LONG else ():
                try:
                    pieces.append(segment.read(i, start, min(start + BLOCK, count)))
                except SegmentDamageError:
                    continue
        points = Points(
            np.concatenate([np.empty(0, np.int64), *(p.steps for p in pieces)]),
            np.concatenate([np.empty(0, np.int32), *(p.epochs for p in pieces)]),
            np.concatenate([np.empty(0, np.int64), *(p.times_ms for p in pieces)]),
            np.concatenate([np.empty(0), *(p.values for p in pieces)]),
        )
        self.lost += count - len(points)
        return points

    @property
    def holds_anything(self) -> bool:
        """Whether anything could be read."""
        return any(part.events for part in self.parts) or any(len(points) for points in self._points)

    @property
    def says(self) -> str:
        """What was lost, in a few words."""
        there = sum(map(len, self._points))
        events = "; its events are lost" if self._lost_events else ""
        if self._bad_events:
            events = f"; {self._bad_events} of its events left out"
        if self._snapshot:
            events = "; events as metadata.json has them"
        if self.lost:
            return f"{there:,} points read, {self.lost:,} lost{events}"
        return f"{there:,} points read{events}"

    def read(self, position: int, start: int = 0, stop: int | None = None) -> Points:
        """Return the points of ``keys[position]`` that could be read."""
        p, wanted = self._points[position], slice(start, stop)
        return Points(p.steps[wanted], p.epochs[wanted], p.times_ms[wanted], p.values[wanted])

    def summaries(self) -> list[SeriesSummary]:
        """Return a summary of each series that has points."""
        index = np.repeat(np.arange(len(self.keys)), [len(points) for points in self._points])
        if not len(index):
            return []
        every = Points(
            np.concatenate([p.steps for p in self._points]),
            np.concatenate([p.epochs for p in self._points]),
            np.concatenate([p.times_ms for p in self._points]),
            np.concatenate([p.values for p in self._points]),
        )
        return summarize(self.keys, index, every)


def _events_of_snapshot(folder: Path) -> list[Event]:
    """Return an event that says what ``metadata.json`` does; none if it cannot be read."""
    try:
        info = read_metadata(folder)
    except StoreError:
        return []
    told = {f.name: getattr(info, f.name) for f in fields(info) if f.name not in ("path", "writers")}
    told["notes"] = [asdict(note) for note in info.notes]
    told["artifacts"] = [asdict(artifact) for artifact in info.artifacts]
    return [Snapshot({"t": info.updated_ms, "type": "snapshot", "info": told})]


def _declared(parts: list[WriterPart], n: int, name: WriterName) -> list[SeriesKey]:
    """Return the series as the events declare them; where they do not, names that say so."""
    keys: dict[SeriesKey, None] = {}
    for part in parts:
        for event in part.events:
            if isinstance(event, Series):
                keys |= {SeriesKey(one, event.context): None for one in event.names}
    if len(keys) == n:
        return list(keys)
    return [SeriesKey(f"?/{name.journal}/{i + 1}", "lost") for i in range(n)]
