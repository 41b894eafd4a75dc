"""The files in ``logs/``: each writer's journal, or the segment it was sealed to, is one source.

Sources are taken in the order of their names' numbers. A merged segment holds several writers' records, and what it
was merged from is passed over should it still be there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frameworm.experiment.errors import DamageError, SegmentDamageError
from frameworm.experiment.events import Event, SourceEvent, Sums, parse
from frameworm.experiment.model import Points, SeriesKey, SeriesSummary
from frameworm.experiment.query.downsample import LongSeries, Windows
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.recording.journal_reader import read_journal
from frameworm.experiment.records import described
from frameworm.experiment.storage.segment import SegmentReader
from frameworm.experiment.storage.series import summarize, summary_of


@dataclass(frozen=True, slots=True)
class WriterPart:
    """What one writer told: the name of its journal, its events, when it was last known to live."""

    journal: str
    events: list[Event]
    sealed: bool
    heartbeat_ms: int


class JournalSource:
    """What one writer wrote so far."""

    sealed = False
    events_offset = 0

    def __init__(self, path: Path, name: WriterName) -> None:
        self.name = name
        self.path = path
        heartbeat_ms = _modified_ms(path)
        self._contents = read_journal(path)
        self.keys = self._contents.keys
        self.parts = [WriterPart(name.journal, self._contents.events, False, heartbeat_ms)]

    @property
    def damage(self) -> Sequence[DamageError]:
        """What could not be read."""
        return self._contents.damage

    def is_at(self, path: Path) -> bool:
        """Whether this file is still the one at ``path``: ``refresh`` sees to that."""
        return True

    def refresh(self) -> bool:
        """Take in what was appended; return whether there was anything.

        Raises:
            FileNotFoundError: it is gone.
        """
        self.parts = [replace(self.parts[0], heartbeat_ms=_modified_ms(self._contents.path))]
        return self._contents.refresh()

    def read(self, position: int) -> Points:
        """Return the points of ``keys[position]``."""
        return self._contents.read(position)

    @property
    def held(self) -> tuple[int, int]:
        """Files and bytes that are kept open and in memory, but for names."""
        return 0, self._contents.buffered_bytes

    def part(self, position: int) -> Points | LongSeries:
        """Return what ``downsample`` takes."""
        return self.read(position)

    def is_long(self, position: int) -> bool:
        """Whether the points of ``keys[position]`` are read alone, and not with all others: never."""
        return False

    def short(self) -> tuple[NDArray[Any], Points]:
        """Return all points, each series' in arrival order, and the position of each in ``keys``."""
        return self._contents.columns()

    def summaries(self) -> list[SeriesSummary]:
        """Return a summary of each series that has points."""
        index, points = self._contents.columns()
        return summarize(self.keys, index, points)

    def summary(self, position: int) -> SeriesSummary | None:
        """Return the summary of ``keys[position]``; None if it has no points."""
        return summary_of(self.keys[position], self.read(position))

    @property
    def mark(self) -> tuple[object, ...]:
        """What tells what was read of this file: which it is, and how far."""
        return (*self._contents.identity, self._contents.end)


class SegmentSource:
    """The sealed record of one writer, or of several that were merged."""

    sealed = True

    def __init__(self, path: Path, name: WriterName) -> None:
        self.name = name
        self.path = path
        self._reader = SegmentReader(path)
        self.events_offset = self._reader.events_offset
        events, damage = segment_events(self._reader)
        self.damage: Sequence[DamageError] = damage
        self.parts = writer_parts(events, name)
        self._sums: dict[int, tuple[float, int]] = {}
        for event in events:
            if isinstance(event, Sums):
                self._sums = {position: (total, first_ms) for position, total, first_ms in event.sums}

    @property
    def mark(self) -> tuple[int, ...]:
        """What tells this file from others, and from what it was before it was written over."""
        return self._reader.mark

    def is_at(self, path: Path) -> bool:
        """Whether this file is still the one at ``path``: merging replaces one."""
        return self._reader.is_at(path)

    def refresh(self) -> bool:
        """Do nothing, as a segment never changes; return False."""
        return False

    @property
    def keys(self) -> list[SeriesKey]:
        """The series."""
        return self._reader.keys

    def read(self, position: int) -> Points:
        """Return the points of ``keys[position]``."""
        return self._reader.read(position)

    @property
    def held(self) -> tuple[int, int]:
        """Files and bytes that are kept open and in memory, but for names."""
        return 1, self._reader.cached_bytes

    def part(self, position: int) -> Points | LongSeries:
        """Return what ``downsample`` takes."""
        reader = self._reader
        if not reader.is_long(position):
            return reader.read(position)
        return LongSeries(
            lambda window: reader.overview(position, window),
            lambda start, stop: reader.read(position, start, stop),
            lambda: reader.first(position),
            int(reader.counts[position]),
        )

    def windows(self, positions: Sequence[int], window: int) -> Windows | None:
        """Return many long series in windows, at ascending positions in ``keys``; None if the file has none."""
        windows = self._reader.overviews(positions, window)
        if windows is None:
            return None
        sizes = [-(-self.size(position) // window) for position in positions]
        return Windows(windows, np.cumsum([0, *sizes]), *self._reader.long_firsts(positions))

    def size(self, position: int) -> int:
        """Return how many points ``keys[position]`` has."""
        return int(self._reader.counts[position])

    def is_long(self, position: int) -> bool:
        """Whether the points of ``keys[position]`` are read alone, and not with all others."""
        return self._reader.is_long(position)

    def short(self) -> tuple[NDArray[Any], Points]:
        """Return the points of all series but the long ones, each in arrival order, and their positions in ``keys``."""
        return self._reader.short()

    def summaries(self) -> list[SeriesSummary]:
        """Return a summary of each series that has points."""
        found = self._reader.summaries()
        if self._sums:  # of series merged from several sources: as their sources' were added up before
            told = {key: self._sums[position] for position, key in enumerate(self.keys) if position in self._sums}
            found = [_told(s, *told.get(SeriesKey(s.name, s.context), (s.sum, s.first_time_ms))) for s in found]
        return found

    def summary(self, position: int) -> SeriesSummary | None:
        """Return the summary of ``keys[position]``; None if it has no points."""
        found = self._reader.summary(position)
        if found is not None and position in self._sums:
            return _told(found, *self._sums[position])
        return found


def segment_events(reader: SegmentReader) -> tuple[list[Event], list[SegmentDamageError]]:
    """Return the events of a segment, and what is wrong with those that are left out.

    Raises:
        SegmentDamageError: none of them can be read.
    """
    events, damage = list[Event](), list[SegmentDamageError]()
    for number, line in enumerate(reader.events().splitlines(), 1):
        try:
            event = parse(line)
            if isinstance(event, SourceEvent) and WriterName.parse(event.journal) is None:
                raise ValueError(f"journal: expected the name of one, got {described(event.journal)}")
            events.append(event)
        except ValueError as error:
            what = f"events: line {number} is one that no release writes: {error}"
            damage.append(SegmentDamageError(reader.path, reader.events_offset, what))
    return events, damage


def writer_parts(events: Iterable[Event], name: WriterName) -> list[WriterPart]:
    """Return what each of a segment's writers told; ``name`` is that of the only one if they do not say."""
    parts: list[WriterPart] = []
    for event in events:
        if isinstance(event, SourceEvent):
            parts.append(WriterPart(event.journal, [], True, event.heartbeat_ms))
        elif not isinstance(event, Sums):
            if not parts:
                parts.append(WriterPart(name.journal, [], True, 0))
            parts[-1].events.append(event)
    return parts


def _told(s: SeriesSummary, total: float, first_ms: int) -> SeriesSummary:
    return SeriesSummary(
        s.name, s.context, s.count, s.nan_count, s.first, s.last, s.min, s.max, total,
        s.last_step, s.last_epoch, first_ms, s.last_time_ms,
    )  # fmt: skip


Source = JournalSource | SegmentSource


class Sources(NamedTuple):
    """What was found in ``logs/``.

    Attributes:
        all: in reading order.
        damage: what could not be read.
        changed: whether they say more than those known before.
    """

    all: list[Source]
    damage: list[DamageError]
    changed: bool


def open_sources(logs_dir: Path, known: Sequence[Source] = ()) -> Sources:
    """Open every source, or bring those known up to date; a journal sealed meanwhile is looked for again.

    Args:
        logs_dir: where they lie.
        known: opened before; what is still the same file is taken over, of a journal only what was appended is
            read.

    Raises:
        OSError: they cannot be read.
    """
    before = {source.name: source for source in known}
    for attempt in range(5):
        names: dict[WriterName, bool] = {}
        try:
            for file_name in os.listdir(logs_dir):
                name = WriterName.parse(file_name)
                if name is not None:
                    names[name] = names.get(name, False) or file_name.endswith(".seg")
        except (FileNotFoundError, NotADirectoryError):
            return Sources([], [], bool(known))
        found = Sources([], [], False)
        try:
            changed = [_take(found, logs_dir, name, names[name], before.get(name)) for name in sorted(names)]
        except FileNotFoundError:
            if attempt == 4:
                raise
            continue
        sources = _without_merged(found.all)
        return Sources(sources, found.damage, any(changed) or [s.name for s in sources] != [s.name for s in known])
    raise AssertionError("unreachable")


def _take(found: Sources, logs_dir: Path, name: WriterName, sealed: bool, known: Source | None) -> bool:
    """Add one source to those found; return whether it says more than before."""
    path = logs_dir / (name.segment if sealed else name.journal)
    changed = True
    try:
        try:
            if known is not None and known.sealed == sealed and known.is_at(path):
                source, changed = known, known.refresh()
            else:
                source = SegmentSource(path, name) if sealed else JournalSource(path, name)
        except FileNotFoundError:
            if sealed:
                raise
            # Sealed since the folder was listed. Where many processes end at once, there is always one.
            source = SegmentSource(logs_dir / name.segment, name)
    except DamageError as error:
        found.damage.append(error)
        journal = logs_dir / name.journal
        if not sealed or not journal.exists():
            return False
        source = JournalSource(journal, name)
    found.damage.extend(source.damage)
    found.all.append(source)
    return changed


def _without_merged(sources: list[Source]) -> list[Source]:
    """Leave out what was merged into another source: only its removal was still to come."""
    journals = [{part.journal for part in source.parts} for source in sources]
    merged = [some for some in journals if len(some) > 1]
    return [source for source, own in zip(sources, journals, strict=True) if not any(own < some for some in merged)]


def _modified_ms(path: Path) -> int:
    return path.lstat().st_mtime_ns // 1_000_000
