"""Reading one experiment's folder: its events folded into an ``ExperimentInfo``, its points as arrays.

Live, crashed and ended experiments are read alike. Whoever watches a live one keeps its reader and refreshes it.
"""

from __future__ import annotations

import difflib
import functools
import heapq
import operator
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import (
    ConfigError,
    DamageError,
    InputError,
    MetricNotFoundError,
    StoreError,
    UnreadableError,
    tell,
)
from frameworm.experiment.events import Event, MediaEvent, Open
from frameworm.experiment.model import (
    ENDED,
    SYSTEM_CONTEXT,
    Buckets,
    ExperimentInfo,
    Points,
    SeriesKey,
    SeriesSummary,
    default_context,
)
from frameworm.experiment.query.downsample import coarsened, entries_of, joined, thinned, window_of
from frameworm.experiment.query.line import Cut, Piece, line, parts, places
from frameworm.experiment.query.lineage import missing, parent_folder
from frameworm.experiment.query.sources import SegmentSource, Source, WriterPart, open_sources
from frameworm.experiment.recording.fold import Fold
from frameworm.experiment.recording.liveness import file_clock_ms, is_alive
from frameworm.experiment.storage.folder import HIDDEN, LOGS, read_metadata


class ExperimentReader:
    """Everything recorded in one experiment's folder, as of the moment of opening or of the last ``refresh``.

    Of a fork it is the whole line: what it inherits, read from its parent's folder, and then its own points. What an
    experiment rewound is left out.

    Any thread may read, but not while another refreshes. Nothing is written, no lock is taken.

    Attributes:
        info: all but the points.
        damage: what could not be read; the rest is there. What is found in points, or in a parent, is added as it
            is read.
    """

    def __init__(self, exp_dir: Path, *, own: bool = False, _rewinds: int | None = None, _heirs: int = 0) -> None:
        """Open the folder.

        Args:
            exp_dir: the experiment's folder.
            own: all points that lie in this folder, and no others: those that were rewound, nothing inherited.

        Raises:
            UnreadableError: it is not an experiment's folder, or nothing tells of its beginning.
        """
        self.exp_dir = exp_dir
        self._own, self._rewinds, self._heirs = own, _rewinds, _heirs
        self._logs = os.path.join(exp_dir, LOGS)
        self._listed = _listing(self._logs)
        self._sources, self.damage, _ = open_sources(exp_dir / LOGS)
        self._folded = self.fold()
        self.damage += self._misfits
        self._where: dict[SeriesKey, list[tuple[Piece, int]]] | None = None
        self._contexts: dict[str, list[str]] | None = None
        self._nameless: list[DamageError] = []
        self._line: list[Piece] | None = None
        self._inherited: list[Cut] | None = None
        self._parent: ExperimentReader | None = None
        self._missing = ""
        self.info = self._info()

    def __reduce__(self) -> tuple[Any, ...]:
        """Have pickle, and copies, open the folder again: files are open here, which only one may close."""
        anew = functools.partial(type(self), own=self._own, _rewinds=self._rewinds, _heirs=self._heirs)
        return anew, (self.exp_dir,)

    @property
    def damage_told(self) -> str:
        """What is damaged, in a line: files by their path in the folder, offsets and why; empty if nothing is."""
        every = "; ".join(str(damage).removeprefix(f"{self.exp_dir}/") for damage in self.damage[:_MOST_DAMAGE])
        more = len(self.damage) - _MOST_DAMAGE
        return f"{every}; and {more} more" if more > 0 else every

    def refresh(self) -> bool:
        """Take in what was recorded since; of a journal only what was appended is read.

        Looking in vain takes 0.05 ms, and a tenth of that once all is sealed. Not while another thread reads.

        Returns:
            whether there is anything new: points, events, or a writer found dead.

        Raises:
            StoreError: the folder is an experiment's no longer.
        """
        status = self.info.status
        listed = _listing(self._logs)
        if listed is not None and listed == self._listed and self._is_sealed():
            return False
        self._listed = listed
        told = {part.journal: len(part.events) for part in self._parts()}
        self._sources, self.damage, changed = open_sources(self.exp_dir / LOGS, self._sources)
        if self._inherited is not None:
            if self._refresh_parent():
                changed, self._inherited = True, None
            elif self._parent is not None:
                self.damage += self._parent.damage
        if changed:
            self._where = self._line = None
            if told.keys() != {part.journal for part in self._parts()} or any(
                event["type"] not in ("check", "heartbeat")
                for part in self._parts()
                for event in part.events[told[part.journal] :]
            ):
                self._folded = self.fold()
        self.damage += self._misfits
        if changed or status not in ENDED:  # who lives, or writes on, may have changed without a byte
            self.info = self._info()
        return changed or self.info.status != status

    def _is_sealed(self) -> bool:
        """Whether nothing can be new unless a file comes to the folder, or goes."""
        return (
            self.info.status in ENDED
            and self._parent is None
            and not self._missing
            and not self.damage
            and all(source.sealed for source in self._sources)
        )

    def _parts(self) -> Iterator[WriterPart]:
        return (part for source in self._sources for part in source.parts)

    # ------------------------------------------------------------------------------------------ the line

    @property
    def missing(self) -> str:
        """What a fork should inherit and cannot, because its parent is gone or unreadable; empty if nothing."""
        self._pieces()
        return self._missing or (self._parent.missing if self._parent is not None else "")

    def chain(self) -> list[Path]:
        """Return the folders whose points are shown: the first ancestor's, down to this one's."""
        self._pieces()
        return [*(self._parent.chain() if self._parent is not None else ()), self.exp_dir]

    @property
    def mark(self) -> tuple[object, ...]:
        """What tells all that was read, of the line, from what there was at another time."""
        self._pieces()
        inherited = () if self._parent is None else (self.info.forked_from.get("step"), self._parent.mark)
        return (*(source.mark for source in self._sources), *inherited)

    @property
    def held(self) -> tuple[int, int]:
        """Files that are kept open, and about how many bytes are kept in memory, the parents' included."""
        each = [source.held for source in self._sources]
        if self._parent is not None:
            each.append(self._parent.held)
        names = 0 if self._where is None else _NAME_BYTES * len(self._where)
        return sum(files for files, _ in each), names + sum(size for _, size in each)

    @property
    def began_ms(self) -> int:
        """When the line began, Unix ms: the start of the first ancestor."""
        self._pieces()
        return self._parent.began_ms if self._parent is not None else self.info.started_ms or self.info.created_ms

    def until(self, step: int, *, inherited: bool = True) -> Cut:
        """Return what a fork at this step inherits; or, not ``inherited``, what is left once it is rewound."""
        return Cut(self._pieces(), step, inherited=inherited, note=self._note)

    def _pieces(self) -> list[Piece]:
        """Return what is read, in reading order."""
        if self._line is None:
            if self._own:
                self._line = list(self._sources)
            else:
                if self._inherited is None:
                    self._inherited = self._inherit()
                rewound = bool(self.info.rewinds)
                self._line = (
                    line(self._inherited, self._sources, self._rewinds, self._note)
                    if rewound
                    else [*self._inherited, *self._sources]
                )
        return self._line

    def _inherit(self) -> list[Cut]:
        """Open what this experiment forks."""
        origin = self.info.forked_from
        if not origin:
            return []
        root, parent, lacking = self.exp_dir.parent, None, ""
        folder = parent_folder(root, origin)
        if folder is None or self._heirs >= _MOST_HEIRS:
            lacking = missing(root, origin)
        else:
            try:
                parent = ExperimentReader(folder, _rewinds=origin.get("rewinds"), _heirs=self._heirs + 1)
            except (StoreError, OSError) as error:
                lacking = f"{missing(root, origin, there=True)}: {error}"
        self._parent, self._missing = parent, lacking
        if parent is None:
            return []
        for damage in parent.damage:
            self._note(damage, "")
        return [Cut(parent._pieces(), origin["step"], inherited=True, note=self._note)]

    def _refresh_parent(self) -> bool:
        """Return whether what is inherited may be more, or less, than it was."""
        if self._parent is None:
            return bool(self._missing)
        try:
            return self._parent.refresh()
        except (StoreError, OSError):
            return True

    def _note(self, damage: DamageError, consequence: str) -> None:
        """Keep what is damaged; what is left out for it is told once."""
        if all(str(damage) != str(known) for known in self.damage):
            self.damage.append(damage)
            if consequence:
                tell(f"{damage}; {consequence}")

    # ------------------------------------------------------------------------------------------ points

    def _places(self) -> dict[SeriesKey, list[tuple[Piece, int]]]:
        """Return for each series where its points lie: the piece of the line, and the position there."""
        if self._where is None:
            self._nameless.clear()
            self._contexts = None
            self._where = places(self._pieces(), self._nameless.append)
            for damage in self._nameless:
                self._note(damage, "")
        return self._where

    def keys(self) -> list[SeriesKey]:
        """Return every series, in the order of first appearance, all contexts."""
        return list(self._places())

    def contexts(self, name: str) -> list[str]:
        """Return the contexts in which a metric was logged.

        Raises:
            MetricNotFoundError: it was not logged; the message suggests the nearest names.
            DamageError: it is not found, and a file is damaged so that the names in it are lost.
        """
        contexts = list(self.contexts_of(name))
        if not contexts:
            if self._nameless:  # it may be in there
                raise self._nameless[0]
            names = list(dict.fromkeys(key.name for key in self._places() if key.context != SYSTEM_CONTEXT))
            near = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {_some(names)}"
            raise MetricNotFoundError(f"{self.info.experiment_id} has no metric {name!r}; {hint}")
        return contexts

    def contexts_of(self, name: str) -> Sequence[str]:
        """Return the contexts in which a metric was logged: none if it was not."""
        return self.metrics().get(name, ())

    def metrics(self) -> Mapping[str, Sequence[str]]:
        """Return the contexts of every metric, both in the order of first appearance."""
        places = self._places()
        if self._contexts is None:
            contexts: dict[str, list[str]] = {}
            for key in places:
                contexts.setdefault(key.name, []).append(key.context)
            self._contexts = contexts
        return self._contexts

    def read(self, name: str, context: str | None = None) -> Points:
        """Return the points of one series, in arrival order.

        Args:
            name: the metric.
            context: train, val, …; None means the one of ``default_context``.

        Raises:
            MetricNotFoundError: there is no such series.
            DamageError: its bytes are damaged.
        """
        return joined([piece.read(position) for piece, position in self._found(name, context)])

    def read_downsampled(
        self,
        name: str,
        context: str | None = None,
        *,
        points: int = 1000,
        steps: tuple[int | None, int | None] | None = None,
    ) -> Buckets:
        """Return one series in a few buckets, as a chart needs it: 1 ms for a million points, 20 for a hundred.

        A bucket stands for a run of points that arrived one after the other. The buckets cover every point
        exactly once, so that no smallest or largest value is lost; the first is the first point alone, and the
        last ends with the last point. Where there are no more than ``points`` points, each has a bucket of its
        own. The same folder gives the same buckets.

        Steps are not taken to ascend: with ``steps``, every point in the range is found wherever it lies, and the
        order stays that of arrival.

        Args:
            name: the metric.
            context: train, val, …; None means the one of ``default_context``.
            points: at most so many buckets, 2 or more.
            steps: smallest and largest step wanted, both included; None for no bound.

        Raises:
            InputError: ``points`` or ``steps`` is not as above.
            MetricNotFoundError: there is no such series.
            DamageError: its bytes are damaged.

        Source: M4 aggregation (Jugel et al., PVLDB 7(10), 2014); see ``query.downsample``.
        """
        limit, wanted = _limits(points, steps)
        return coarsened([self._entries(self._found(name, context), limit, wanted, None)], limit)[0]

    def read_entries(self, key: SeriesKey, points: int, steps: tuple[int, int] | None) -> Buckets:
        """Return one series as ``read_downsampled`` does, with less to do for it: 0.03 ms where overviews are enough.

        There may be more buckets than ``points``, of which ``coarsened`` makes so many, those of many series at once;
        and as few as a third. Those at the ends of ``steps`` may reach past them, and the first point may also count
        in ``min`` and ``max`` of the second bucket.
        """
        return self._entries(self._found(*key), points, steps, points // 3)

    def read_thinned(self, keys: Sequence[SeriesKey], points: int) -> dict[SeriesKey, Buckets]:
        """Return those series that can be told all at once, of overviews alone, in at most so many buckets each.

        These are long, lie in one segment each, and their steps ascend. The buckets are those that ``coarsened`` makes
        of ``read_entries``, at a fifth of the time.
        """
        places = self._places()
        together: dict[tuple[SegmentSource, int], dict[int, SeriesKey]] = {}
        for key in keys:
            (piece, position), *others = places[key]
            if not others and isinstance(piece, SegmentSource) and piece.is_long(position):
                window = window_of(piece.size(position), points)
                if window is not None:
                    together.setdefault((piece, window), {})[position] = key
        found: dict[SeriesKey, Buckets] = {}
        for (piece, window), mine in together.items():
            positions = sorted(mine)
            windows = piece.windows(positions, window)
            if windows is not None:
                every = zip(positions, thinned(windows, points), strict=True)
                found.update((mine[position], buckets) for position, buckets in every if buckets is not None)
        return found

    def _entries(
        self, found: Sequence[tuple[Piece, int]], limit: int, steps: tuple[int, int] | None, fewest: int | None
    ) -> Buckets:
        try:
            return entries_of([part for piece, at in found for part in parts(piece, at)], limit, steps, fewest)
        except DamageError:
            if not self._inherited:
                raise
            return entries_of([piece.read(position) for piece, position in found], limit, steps)

    def _found(self, name: str, context: str | None) -> list[tuple[Piece, int]]:
        """Return where the points of a series lie."""
        if context is not None and (known := self._places().get(SeriesKey(name, context))) is not None:
            return known  # without looking through all names: reading 10,000 series one by one takes 1 s, not 11
        contexts = self.contexts(name)
        chosen = default_context(contexts) if context is None else context
        if chosen not in contexts:
            raise MetricNotFoundError(
                f"{self.info.experiment_id} has metric {name!r} in {_some(contexts)}, not in {chosen!r}"
            )
        return self._places()[SeriesKey(name, chosen)]

    def read_all(self, name: str) -> dict[str, Points]:
        """Return the points of a metric in each of its contexts."""
        return {context: self.read(name, context) for context in self.contexts(name)}

    def summaries(self) -> list[SeriesSummary]:
        """Return a summary of every series that has points, in the order of ``keys``."""
        merged: dict[SeriesKey, SeriesSummary] = {}
        for piece in self._pieces():
            try:
                found = piece.summaries()
            except DamageError as error:
                self._note(error, "")
                continue
            for summary in found:
                key = SeriesKey(summary.name, summary.context)
                merged[key] = merged[key].then(summary) if key in merged else summary
        return [merged[key] for key in self._places() if key in merged]

    def summary(self, name: str, context: str | None = None) -> SeriesSummary | None:
        """Return the summary of one series, None if it has no points: 0.1 ms, where all of 100,000 take a second.

        Raises:
            MetricNotFoundError: there is no such series.
        """
        merged: SeriesSummary | None = None
        for piece, position in self._found(name, context):
            try:
                found = piece.summary(position)
            except DamageError as error:
                self._note(error, "")
                continue
            if found is not None:
                merged = found if merged is None else merged.then(found)
        return merged

    # ------------------------------------------------------------------------------------------ events

    def media(self) -> list[dict[str, Any]]:
        """Return what was logged here by ``log_image`` and the like, in the order of its time.

        Returns:
            dicts: kind, name, context, step, epoch (None where none was given), time_ms, and what the kind has:
            digest and suffix of the file, size_bytes, caption, width, height, counts, edges, …
        """
        return [
            {
                **event.about,
                "kind": event.media,
                "name": event.name,
                "context": event.context,
                "step": event.step,
                "epoch": event.epoch,
                "time_ms": event.t,
            }
            for _, event in _in_order(self._sources)
            if isinstance(event, MediaEvent)
        ]

    def fold(self) -> Fold:
        """Return the fold of all events, to which more can be applied; what does not fit those before it is damage."""
        fold = Fold()
        self._misfits: list[DamageError] = []
        for source, event in _in_order(self._sources):
            try:
                fold.apply(event)
            except ConfigError as error:
                what = f"a {event.type} event that does not fit those before it: {error}"
                self._misfits.append(DamageError(source.path, source.events_offset, what))
        return fold

    def _info(self) -> ExperimentInfo:
        fold = self._folded
        if not fold.begun:
            try:
                return read_metadata(self.exp_dir)
            except UnreadableError as error:
                raise UnreadableError(f"{error}; {self.damage_told}" if self.damage else str(error)) from error
        writers = tuple(map(_writer, self._parts()))
        info = fold.info(self.exp_dir, writers)
        if info.status != "running":
            return info
        recording = [w for w in writers if w.get("role") != "editor"]
        now = _now_ms(recording, self.exp_dir.parent)
        alive = bool(living(recording, self.exp_dir.parent))
        latest = max((w["heartbeat_ms"] for w in recording), default=info.updated_ms)
        end = now if alive else latest
        return replace(
            info,
            status="running" if alive else "crashed",
            updated_ms=max(info.updated_ms, latest),
            ended_ms=None if alive else latest,
            duration_s=fold.active_s + max(0, end - fold.session_ms) / 1000,
            reason="" if alive else "the process that recorded it is gone",
        )


_SETTLED_NS = 60_000_000_000
"""Of two changes that a file system's clock does not tell apart the later one could be missed; nor need that clock be
ours. A folder that has not changed for so long tells of the next change."""


def _listing(folder: str) -> tuple[int, ...] | None:
    """Return what tells a folder's list of files from any earlier or later one; None if nothing does."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _SETTLED_NS:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


_MOST_DAMAGE = 3
"""Damages of one experiment that are told one by one where there is a line for it."""

_NAME_BYTES = 700
"""That a series' name takes once it is known where its points lie; measured with 100,000 of them."""

_MOST_HEIRS = 100
"""Forks of forks that are followed; only forged records, which name each other, have more."""


def _limits(points: object, steps: object) -> tuple[int, tuple[int, int] | None]:
    """Return ``read_downsampled``'s arguments, checked.

    Raises:
        InputError: they are not allowed.
    """
    try:
        limit = operator.index(points)  # type: ignore[arg-type]
    except TypeError:
        limit = 0
    if limit < 2:
        raise InputError(f"points is a whole number from 2, not {points!r:.80}")
    if steps is None:
        return limit, None
    try:
        low, high = (None if one is None else operator.index(one) for one in steps)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise InputError(f"steps is a pair of whole numbers, smallest and largest, not {steps!r:.80}") from None
    return limit, (-(2**63) if low is None else low, 2**63 - 1 if high is None else high)


def _in_order(sources: list[Source]) -> Iterator[tuple[Source, Event]]:
    """Merge the events of all writers by time; within one writer's their order is kept whatever its clock did."""

    def monotonic(number: int, source: Source, part: WriterPart) -> Iterator[tuple[int, int, int, Source, Event]]:
        latest = 0
        for i, event in enumerate(part.events):
            latest = max(latest, event["t"])
            yield latest, number, i, source, event

    parts = ((source, part) for source in sources for part in source.parts)
    streams = [monotonic(number, source, part) for number, (source, part) in enumerate(parts)]
    return ((source, event) for _, _, _, source, event in heapq.merge(*streams, key=lambda item: item[:3]))


def writers_at_work(exp_dir: Path) -> list[Mapping[str, Any]]:
    """Return who writes to an experiment: any process that has not closed its journal and lives, whatever the status.

    On another machine a process lives while its heartbeat is fresh.
    """
    return living(
        [_writer(part) for source in open_sources(exp_dir / LOGS)[0] for part in source.parts], exp_dir.parent
    )


def living(writers: Iterable[Mapping[str, Any]], root: Path, silent_s: float = 60.0) -> list[Mapping[str, Any]]:
    """Return those of the writers of an experiment in a root that have not closed their journal, and live.

    Args:
        writers: as in ``ExperimentInfo.writers``.
        root: whose clock tells the age of a heartbeat from elsewhere.
        silent_s: how long a writer elsewhere may be silent.
    """
    open_ones = [writer for writer in writers if not writer["closed"]]
    now = _now_ms(open_ones, root)
    return [writer for writer in open_ones if is_alive(writer, (now - writer["heartbeat_ms"]) / 1000, silent_s)]


def _now_ms(writers: Iterable[Mapping[str, Any]], root: Path) -> int:
    """Return the time by the clock that stamps the files of writers elsewhere, if there are any."""
    now = time.time_ns() // 1_000_000
    if any(not writer["closed"] and writer.get("host") != os.uname().nodename for writer in writers):
        return file_clock_ms(root / HIDDEN) or now
    return now


def _writer(part: WriterPart) -> dict[str, Any]:
    """Return who wrote a journal, and whether it was closed."""
    opened: dict[str, Any] = next((event for event in part.events if isinstance(event, Open)), {})
    writer = {key: value for key, value in opened.items() if key not in ("t", "type")}
    closed = part.sealed or any(e["type"] == "close" for e in part.events[-8:])
    return {**writer, "journal": part.journal, "closed": closed, "heartbeat_ms": part.heartbeat_ms}


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"{shown}, … ({len(names)} in all)" if len(names) > 8 else shown or "none"
