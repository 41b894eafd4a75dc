"""The line of an experiment: what it inherits from the one it forks, then its own points, without what it rewound.

Nothing is copied and nothing is removed: points stay where they are, and are read up to a step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frameworm.experiment.errors import DamageError
from frameworm.experiment.events import RewindEvent
from frameworm.experiment.model import SYSTEM_CONTEXT, Points, SeriesKey, SeriesSummary
from frameworm.experiment.query.downsample import LongSeries, joined
from frameworm.experiment.query.sources import JournalSource, Source, WriterPart
from frameworm.experiment.storage.series import summarize, summary_of, take

_remembered: OrderedDict[tuple[object, ...], list[SeriesSummary]] = OrderedDict()
_MOST_REMEMBERED, _MOST_SERIES = 16, 10_000


class Cut:
    """The points of a line whose steps are not past a limit.

    A rewind leaves the system's series as they are: what the machine did is not undone. A fork inherits none.
    """

    def __init__(
        self, pieces: Sequence[Piece], step: int, *, inherited: bool, note: Callable[[DamageError, str], None]
    ) -> None:
        """Cut a line.

        Args:
            pieces: the line, in reading order.
            step: the last one that counts.
            inherited: whether it is another experiment's. Damage of it is told and passed over: it must not keep
                anybody from a fork's own points.
            note: told of damage, and of what is left out for it.
        """
        self._pieces = list(pieces)
        self._step = step
        self._inherited = inherited
        self._note = note

    @cached_property
    def _every(self) -> dict[SeriesKey, list[tuple[Piece, int]]]:
        """Where the points of each series lie, of whatever steps."""
        found = places(self._pieces, lambda error: self._note(error, ""))
        return {key: at for key, at in found.items() if not self._inherited or key.context != SYSTEM_CONTEXT}

    @cached_property
    def _alone(self) -> set[SeriesKey]:
        """The series that are read one by one: those that are long somewhere."""
        return {key for key, at in self._every.items() if any(piece.is_long(position) for piece, position in at)}

    @cached_property
    def _together(self) -> dict[SeriesKey, SeriesSummary]:
        """Summaries of the other series, which are read at once: for 100,000 that takes 0.5 s, one by one 10 s."""
        keys = list(self._every)
        try:
            index, points = self._short(keys)
        except DamageError:
            self._alone.update(keys)
            return {}
        return {SeriesKey(s.name, s.context): s for s in summarize(keys, index, points)}

    def _short(self, keys: Sequence[SeriesKey]) -> tuple[NDArray[np.int64], Points]:
        """Return points of the series that are not read alone, and the position of each in ``keys``."""
        numbers = {key: number for number, key in enumerate(keys) if key not in self._alone}
        indexes, every = [np.empty(0, np.int64)], []
        for piece in self._pieces:
            positions, points = piece.short()
            index = np.array([numbers.get(key, -1) for key in piece.keys], np.int64)[positions]
            lasting = np.array([key.context == SYSTEM_CONTEXT for key in piece.keys], bool)[positions]
            kept = np.flatnonzero((index >= 0) & ((points.steps <= self._step) | lasting))
            indexes.append(index[kept])
            every.append(take(points, kept))
        return np.concatenate(indexes), joined(every)

    @cached_property
    def keys(self) -> list[SeriesKey]:
        """The series that have points."""
        together = self._together
        return [
            key for key, at in self._every.items() if key in together or (key in self._alone and self._has(key, at))
        ]

    def _has(self, key: SeriesKey, where: Iterable[tuple[Piece, int]]) -> bool:
        try:
            for piece, position in where:
                for part in parts(piece, position):
                    steps = part.overview(4096).min_steps if isinstance(part, LongSeries) else part.steps
                    if len(steps) and (key.context == SYSTEM_CONTEXT or bool((steps <= self._step).any())):
                        return True
        except DamageError:
            return True  # so that whoever reads it is told
        return False

    def is_long(self, position: int) -> bool:
        """Whether the points of ``keys[position]`` are read alone, and not with all others."""
        return self.keys[position] in self._alone

    def short(self) -> tuple[NDArray[np.int64], Points]:
        """Return the points of all series but the long ones, each in arrival order, and their positions in ``keys``."""
        return self._short(self.keys)

    def read(self, position: int) -> Points:
        """Return the points of ``keys[position]``."""
        key = self.keys[position]
        try:
            points = joined([piece.read(at) for piece, at in self._every[key]])
        except DamageError as error:
            if not self._inherited:
                raise
            self._note(error, f"what is inherited of {key.name!r} ({key.context}) is left out")
            return joined([])
        return points if key.context == SYSTEM_CONTEXT else self._inside(points)

    def _inside(self, points: Points) -> Points:
        inside = points.steps <= self._step
        return points if bool(inside.all()) else take(points, np.flatnonzero(inside))

    def parts(self, position: int) -> list[Points | LongSeries]:
        """Return what ``downsample`` takes of ``keys[position]``."""
        key = self.keys[position]
        if key.context == SYSTEM_CONTEXT:
            return [part for piece, at in self._every[key] for part in parts(piece, at)]
        try:
            every = [part for piece, at in self._every[key] for part in parts(piece, at)]
        except DamageError:
            return [self.read(position)]
        return [part.until(self._step) if isinstance(part, LongSeries) else self._inside(part) for part in every]

    def summaries(self) -> list[SeriesSummary]:
        """Return a summary of each series that has points.

        It depends on the points alone, not on how they lie in files. All of them are read, 30 ns each; what was
        found in sealed files is remembered for those who list a root every second.
        """
        mark = self.mark
        if mark is not None and mark in _remembered:
            return _remembered[mark]
        found, whole = [], True
        for position in range(len(self.keys)):
            summary = self.summary(position)
            whole = whole and summary is not None
            if summary is not None:
                found.append(summary)
        if whole and mark is not None and len(found) <= _MOST_SERIES:
            _remembered[mark] = found
            while len(_remembered) > _MOST_REMEMBERED:
                _remembered.popitem(last=False)
        return found

    def summary(self, position: int) -> SeriesSummary | None:
        """Return the summary of ``keys[position]``; None if it has no points, or they are damaged."""
        return self._together.get(self.keys[position]) or self._summary(position)

    def _summary(self, position: int) -> SeriesSummary | None:
        key = self.keys[position]
        try:
            return summary_of(key, self.read(position))
        except DamageError as error:
            self._note(error, f"{key.name!r} ({key.context}) has no summary")
            return None

    @cached_property
    def mark(self) -> tuple[object, ...] | None:
        """What the points depend on; None while they may become more."""
        marks = [None if isinstance(piece, JournalSource) else piece.mark for piece in self._pieces]
        return None if None in marks else (self._step, self._inherited, *marks)


Piece = Source | Cut


def places(
    pieces: Iterable[Piece], damaged: Callable[[DamageError], object]
) -> dict[SeriesKey, list[tuple[Piece, int]]]:
    """Return for each series where its points lie, in reading order: the piece, and the position there.

    ``damaged`` is told of a piece of whose points nobody knows any more whose they are.
    """
    where: dict[SeriesKey, list[tuple[Piece, int]]] = {}
    for piece in pieces:
        try:
            keys = piece.keys
        except DamageError as error:
            damaged(error)
            continue
        for position, key in enumerate(keys):
            where.setdefault(key, []).append((piece, position))
    return where


def parts(piece: Piece, position: int) -> list[Points | LongSeries]:
    """Return what ``downsample`` takes of one series."""
    return piece.parts(position) if isinstance(piece, Cut) else [piece.part(position)]


def line(
    inherited: Sequence[Cut], sources: Iterable[Source], rewinds: int | None, note: Callable[[DamageError, str], None]
) -> list[Piece]:
    """Return what is shown of an experiment, in reading order.

    Args:
        inherited: what comes before its own points.
        sources: its own, in reading order.
        rewinds: how it was after so many of its rewinds, before the next; None for all.
        note: told of damage.
    """
    pieces: list[Piece] = list(inherited)
    for source in sources:
        for step in rewinds_of(source.parts):
            if rewinds is not None:
                if rewinds == 0:
                    return pieces
                rewinds -= 1
            pieces = [Cut(pieces, step, inherited=False, note=note)]
        pieces.append(source)
    return pieces


def rewinds_of(parts: Iterable[WriterPart]) -> list[int]:
    """Return the steps that a source's writers rewound to before they logged."""
    return [event.step for part in parts for event in part.events if isinstance(event, RewindEvent)]
