"""Understanding a journal's bytes, record by record, whatever happened to them.

What is whole is taken in long runs, with NumPy. Where something is wrong, the bytes since the last checksum that fits
are gone through once more with care: bytes may have come in or gone, so that records begin anywhere, and what looks
like one may be pieces of two.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.errors import JournalDamageError
from frameworm.experiment.events import Check, Event, Series, Set, parse
from frameworm.experiment.model import SeriesKey
from frameworm.experiment.recording.journal import (
    EVENT_PREFIX,
    HEADER_SIZE,
    MAX_ID,
    POINT_SIZE,
    ROW_FLAG,
    ROW_PREFIX_SIZE,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOOKAHEAD = 32
_MANY_RECORDS = 65_536
_VAIN_BYTES = 64 << 20
"""So many bytes are checksummed in vain after damage, and as many as the file has: bounded whatever they are."""

_MOST_DAMAGE = 10_000
"""After so many damaged places the rest of a file is not read: it is no journal any more."""

_MOST_UNSEEN = 1 << 26
"""No event of which only the first bytes are there is taken to be longer than this."""

_APART_MS = 30 * 86_400_000
"""With care, the time of a record is at most so far from those of the events around it: one of 2³¹ times is."""

_TIME_AT = 16
_CONTROL = re.compile(rb"[\x00-\x1f]")
_NOT_ZERO = re.compile(rb"[^\0]")
_EVENT_TIME = re.compile(rb'\{"t":(\d{1,18})[,}]')
_ANY_TIME = (-(2**63), 2**63 - 1)
_BACK = -1


@dataclass(frozen=True, slots=True)
class Run:
    """``count`` repetitions, ``stride`` bytes apart, of the same sequence of records.

    ``parts`` gives each record of the sequence: its offset from the run's start, the ids of its series, or None for
    a point, whose id stands in its head, and the head of a row, or 0 for a point.

    Where several threads log as they come there are no repetitions: then ``starts`` gives the places of the records of
    one kind, int64 (count,), and ``stride`` is 0.
    """

    offset: int
    count: int
    stride: int
    parts: tuple[tuple[int, tuple[int, ...] | None, int], ...]
    starts: NDArray[np.int64] | None = None

    @property
    def end(self) -> int:
        """Where the last repetition ends."""
        return self.offset + self.count * self.stride


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two records, and what was understood up to there.

    Attributes:
        offset: the place.
        checked: up to where the last checksum reached, and where its event ended, as its writer counts the bytes.
        shift: so much further than its writer says lies what comes after bytes that came in, or went.
        guess: the same, as it would be by the last checksum that did not fit.
        keys, sets, events, runs: how many there were.
    """

    offset: int = 0
    checked: tuple[int, int] = (HEADER_SIZE, HEADER_SIZE)
    shift: int = 0
    guess: int = 0
    keys: int = 0
    sets: int = 0
    events: int = 0
    runs: int = 0


@dataclass(slots=True)
class Scanned:
    """What was understood of a journal.

    Attributes:
        keys: the series declared; series id i is ``keys[i - 1]``.
        events: every event, in order, as written.
        damage: what could not be read; all else is there.
        end: bytes understood; what follows is a torn tail.
    """

    path: Path
    keys: list[SeriesKey] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    damage: list[JournalDamageError] = field(default_factory=list)
    end: int = 0
    _sets: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _runs: list[Run] = field(default_factory=list)
    _proved: Mark = field(default_factory=Mark)  # what was read up to here stays as it is
    _latest: Mark = field(default_factory=Mark)  # the last checksum; records may lie between it and what it covers

    def _forget(self, offset: int = 0) -> None:
        """Forget everything; the first record is at ``offset``."""
        for items in (self.keys, self.events, self.damage, self._runs):
            items.clear()
        self._sets.clear()
        self.end = offset
        self._proved = self._latest = Mark(offset)


class Scanner:
    """One pass over a journal's bytes from where ``contents`` ends; adds to it."""

    def __init__(self, contents: Scanned, buffer: bytearray, size: int) -> None:
        self.contents = contents
        self.buffer = buffer
        self.size = size
        # Records begin at a multiple of four bytes; behind bytes that came in, or went, anywhere.
        self.heads = [memoryview(buffer)[k : size - (size - k) % 4].cast("I") for k in range(4)]
        self.sets = contents._sets
        self.careful = False
        self.trouble = 0  # where care turned out to be needed, which lasts until a checksum past there
        self.limit = size  # no record goes past it: with care, the next whole event
        self.window = _ANY_TIME  # with care, between these times is that of every record
        self.vain = 0  # bytes looked through for an event in vain
        self.summed = 0  # bytes checksummed

    def scan(self) -> None:
        """Take in all that can be understood."""
        offset = self.contents.end
        bare = False  # whether a point or row lies just before: what has no checksum of its own
        while offset + 4 <= self.size:
            if self.careful and offset >= self.limit:
                self.limit, self.window = self.next_event(offset), self._times(offset)
            head = self._head(offset)
            step = self._event(offset, head) if head >> 30 == 2 else self._records(offset)
            if step > 0:
                offset, bare = offset + step, head >> 30 != 2
            elif step == 0 and self._is_torn(offset, head):
                break
            elif not self.careful:
                self.trouble = offset
                self.go_back()
                offset = self.limit = self.contents.end
                bare, self.careful = False, True
            else:
                offset, bare = self._pass_over(offset, bare), False
        self.contents.end = min(offset, self.size)

    def go_back(self) -> None:
        """Forget what no checksum has proved."""
        contents, mark = self.contents, self.contents._proved
        contents.end, contents._latest = mark.offset, mark
        del contents.keys[mark.keys :], contents.events[mark.events :], contents._runs[mark.runs :]
        for number in list(self.sets)[mark.sets :]:
            del self.sets[number]
        contents.damage[:] = [damage for damage in contents.damage if damage.offset < mark.offset]

    def next_event(self, offset: int) -> int:
        """Return where the next whole event starts from ``offset`` on; the file's size if there is none."""
        at = offset + 7
        while self.vain < _VAIN_BYTES + self.size and (at := self.buffer.find(EVENT_PREFIX, at + 1, self.size)) >= 0:
            start = at - 8
            head = self._head(start)
            if head >> 30 == 2:
                if self._payload(start, head) is not None:
                    return start
                self.vain += min(head & MAX_ID, self.size - start)
        return self.size

    def _head(self, offset: int) -> int:
        return self.heads[offset & 3][offset >> 2]

    def _damaged(self, offset: int, what: str) -> None:
        self.contents.damage.append(JournalDamageError(self.contents.path, offset, what))

    def _is_torn(self, offset: int, head: int) -> bool:
        """Whether what starts here can be a record that was cut by the end of the file."""
        left = self.size - offset
        if head == 0:
            return _NOT_ZERO.search(self.buffer, offset, self.size) is None
        if head >> 30 == 2:
            text = self.buffer[offset + 8 : min(offset + 8 + len(EVENT_PREFIX), self.size)]
            if left >= _frame_size(head & MAX_ID) or not EVENT_PREFIX.startswith(text):
                return False
            if len(text) < len(EVENT_PREFIX):
                return head & MAX_ID <= _MOST_UNSEEN
            # Text has no control characters, and hardly a point or row is without; zeros are what a power cut left.
            control = _CONTROL.search(self.buffer, offset + 8, self.size)
            return control is None or _NOT_ZERO.search(self.buffer, control.start(), self.size) is None
        return left < self._record_size(head) and (left < ROW_PREFIX_SIZE or self._is_near(offset, self._times(offset)))

    def _record_size(self, head: int) -> int:
        """Return the size of the point or row with this head; 0 if there is none such."""
        if 0 < head <= len(self.contents.keys):
            return POINT_SIZE
        ids = self.sets.get(head & MAX_ID) if head >> 30 == 1 else None
        return 0 if ids is None else ROW_PREFIX_SIZE + 8 * len(ids)

    # ------------------------------------------------------------------------------------- with care

    def _times(self, offset: int) -> tuple[int, int]:
        """Return between which times lie those of the records here, by the events before and after."""
        times = [event.t for event in self.contents.events[-1:]]
        if match := _EVENT_TIME.match(self.buffer, self.next_event(offset) + 8):
            times.append(int(match[1]))
        if not times:
            return _ANY_TIME
        return max(min(times) - _APART_MS, _ANY_TIME[0]), min(max(times) + _APART_MS, _ANY_TIME[1])

    def _is_near(self, offset: int, window: tuple[int, int]) -> bool:
        time_ms = int.from_bytes(self.buffer[offset + _TIME_AT : offset + ROW_PREFIX_SIZE], "little", signed=True)
        return window[0] <= time_ms <= window[1]

    def _pass_over(self, offset: int, bare: bool) -> int:
        """Tell of damage at ``offset`` and return where reading goes on, or the file's size."""
        found = self._next(offset)
        start = self._without_last(offset) if bare else offset
        what = f"{found - start} bytes are no records"
        if len(self.contents.damage) >= _MOST_DAMAGE:
            what, found = f"{self.size - start} bytes are not read: too much before them is damaged", self.size
        elif found < self.size:
            what += f"; reading goes on at {found}"
        elif start == offset:
            what = f"no record starts with {self._head(offset):#010x}"
        self._damaged(start, what)
        return found

    def _next(self, offset: int) -> int:
        """Return where the next whole event or record starts after damage at ``offset``; else the file's size.

        A record is looked for past the first 16 bytes: where some came in among those of a record, its rest may look
        like another, with the step for a head.
        """
        import numpy as np

        end = self.limit if self.limit > offset else self.next_event(offset + 1)
        low, high = self.window
        at, window = offset + _TIME_AT, 512
        while (n := min(window, end - ROW_PREFIX_SIZE - at + 1)) > 0:
            times = np.ndarray((n,), "<i8", self.buffer, at + _TIME_AT, (1,))
            for place in np.flatnonzero((times >= low) & (times <= high)).tolist():
                start: int = at + place
                if (size := self._record_size(self._head(start))) and start + size <= end:
                    return start
            at, window = at + n, min(window * 4, 1 << 20)
        return end

    def _without_last(self, offset: int) -> int:
        """Take away the point or row that ends at ``offset``, and return where it began.

        Nothing begins where it ends: bytes may have come in, or gone, inside it, and its value is not the one given.
        It is whole if an event with both its ends begins there, and damage is within that; and where zeros do, if it
        does not end with one: they are what a power cut leaves of whole blocks.
        """
        head = self._head(offset)
        text = self.buffer[offset + 8 : min(offset + 8 + (head & MAX_ID), self.size)]
        if head >> 30 == 2 and text.startswith(EVENT_PREFIX) and text.endswith(b"}"):
            return offset
        if head == 0 and self.buffer[offset - 1]:
            return offset
        runs = self.contents._runs
        run = runs.pop()
        if run.starts is None:
            begin = run.end - run.stride
            if run.count > 1:
                runs.append(replace(run, count=run.count - 1))
            if len(run.parts) > 1:
                runs.append(Run(begin, 1, run.parts[-1][0], run.parts[:-1]))
            return begin + run.parts[-1][0]
        mixed = [run]
        while runs and runs[-1].starts is not None:
            mixed.append(runs.pop())
        last = max(mixed, key=_last_start)
        for one in reversed(mixed):
            if one is not last:
                runs.append(one)
            elif one.count > 1:
                assert one.starts is not None
                runs.append(replace(one, count=one.count - 1, starts=one.starts[:-1]))
        return _last_start(last)

    # ------------------------------------------------------------------------------------- events

    def _payload(self, offset: int, head: int) -> bytes | None:
        length = head & MAX_ID
        payload = bytes(self.buffer[offset + 8 : min(offset + 8 + length, self.size)])
        if len(payload) < length or zlib.crc32(payload) != self._head(offset + 4):
            return None
        return payload

    def _event(self, offset: int, head: int) -> int:
        """Take in the event that starts here; return its size, 0 if none is whole, or that going back is needed."""
        payload = self._payload(offset, head)
        if payload is None or offset + _frame_size(len(payload)) > self.size:
            return 0
        try:
            if not self._take(offset, parse(payload)):
                return _BACK
        except ValueError as error:
            self._damaged(offset, f"an event that no release writes: {error}")
        return _frame_size(len(payload))

    def _take(self, offset: int, event: Event) -> bool:
        """Take in an event; return whether all is well, or as well as it can be.

        Raises:
            ValueError: it does not fit those before it.
        """
        if isinstance(event, Series):
            at, names, context = event.first - 1, event.names, event.context
            self._lose_names(offset, at)
            self.contents.keys[at : at + len(names)] = [SeriesKey(name, context) for name in names]
        elif isinstance(event, Set):
            ids = tuple(event.series)
            self._lose_names(offset, max(ids))
            self.sets[event.id] = ids
        else:
            self.contents.events.append(event)
            if isinstance(event, Check):
                return self._check(event, offset)
        return True

    def _check(self, event: Check, offset: int) -> bool:
        """Compare a checksum with the bytes it covers; return False where they are to be read anew, with care.

        Bytes that came in, or went, before those that it covers have moved them and the checksum as well. Each begins
        where the one before reached, or ended; else one of them is missing, or there twice, and what it covers.
        """
        contents, latest = self.contents, self.contents._latest
        start, end, size = event.start, event.end, _frame_size(self._head(offset) & MAX_ID)
        shifts = dict.fromkeys((latest.shift, latest.guess, offset - end))
        shift = next((one for one in shifts if self._crc(start + one, end + one, offset) == event.crc), None)
        wrong = ""
        if shift is None:
            wrong = f"bytes {start}-{end}: checksum expected {event.crc:08x}, got another"
        elif start not in latest.checked or shift not in (latest.shift, latest.guess):
            wrong = f"bytes {latest.checked[-1]}-{start + shift}: some came in or went before the checksum at {offset}"
        if wrong and not self.careful:
            return False
        if wrong:
            self._damaged(min(max(latest.checked[-1] + latest.shift, 0), offset), wrong)
        guess = offset - end if shift is None else shift
        mark = Mark(
            offset + size,
            (end, offset + size - guess),
            latest.shift if shift is None else shift,
            guess,
            len(contents.keys),
            len(self.sets),
            len(contents.events),
            len(contents._runs),
        )
        # Where records came between, the next checksum covers them, and this event.
        alone = shift is None or offset == end + shift
        contents._proved, contents._latest = mark if alone else latest, mark
        if offset >= self.trouble:
            self.careful, self.limit = False, self.size
        return True

    def _crc(self, start: int, end: int, offset: int) -> int | None:
        """Return the checksum of bytes before ``offset``; None if they are not, or too many were read already."""
        if not 0 <= start <= end <= offset or self.summed > 4 * self.size + _VAIN_BYTES:
            return None
        self.summed += end - start
        return zlib.crc32(memoryview(self.buffer)[start:end])

    def _lose_names(self, offset: int, count: int) -> None:
        """See that there are ``count`` keys: where declarations were damaged, ids keep their places."""
        keys = self.contents.keys
        if count - len(keys) > offset // 3:  # a name takes three bytes at least: so many, no damage has cost
            raise ValueError("more series than were declared")
        lost = range(len(keys) + 1, count + 1)
        keys.extend(SeriesKey(f"?/{self.contents.path.name}/{i}", "lost") for i in lost)

    # ------------------------------------------------------------------------------------- points and rows

    def _records(self, offset: int) -> int:
        """Take the points and rows from here as one run; return its size in bytes, 0 if none is whole."""
        runs = self.contents._runs
        if (
            runs and runs[-1].stride and (more := self._repetitions(runs[-1], offset))
        ):  # most often it goes on as before
            if runs[-1].end == offset:
                runs[-1] = replace(runs[-1], count=runs[-1].count + more)
            else:
                runs.append(replace(runs[-1], offset=offset, count=more))
            return more * runs[-1].stride
        shapes: list[tuple[int, ...] | None] = []
        classes: list[int] = []
        starts = [0]
        at = offset
        while len(classes) < _LOOKAHEAD and at + ROW_PREFIX_SIZE <= self.limit:
            head = self._head(at)
            size = self._record_size(head)
            if not size or at + size > self.limit or (self.careful and not self._is_near(at, self.window)):
                break
            at += size
            row = head >> 30
            shapes.append(self.sets[head & MAX_ID] if row else None)
            classes.append(head if row else 0)
            starts.append(at - offset)
        if not classes:
            return 0
        period = _period(classes)
        if period == _LOOKAHEAD:
            return self._scattered(offset)
        run = Run(
            offset, 1, starts[period], tuple(zip(starts[:period], shapes[:period], classes[:period], strict=True))
        )
        run = replace(run, count=1 + self._repetitions(run, run.end))
        runs.append(run)
        return run.count * run.stride

    def _scattered(self, offset: int) -> int:
        """Take many records that come in no order, as a run of each kind; return their size in bytes."""
        import numpy as np

        heads, declared = self.heads[offset & 3], len(self.contents.keys)
        sizes = {ROW_FLAG | number: ROW_PREFIX_SIZE + 8 * len(ids) for number, ids in self.sets.items()}
        places: dict[int, list[int]] = {head: [] for head in (0, *sizes)}
        at, last = offset, self.limit - POINT_SIZE
        for _ in range(_MANY_RECORDS):
            if at > last:
                break
            head = heads[at >> 2]
            if self.careful and not self._is_near(at, self.window):
                break
            if 0 < head <= declared:
                places[0].append(at)
                at += POINT_SIZE
                continue
            size = sizes.get(head, 0)
            if not size or at + size > self.limit:
                break
            places[head].append(at)
            at += size
        for head, found in places.items():
            if found:
                ids = self.sets[head & MAX_ID] if head else None
                run = Run(found[0], len(found), 0, ((0, ids, head),), np.array(found, np.int64))
                self.contents._runs.append(run)
        return at - offset

    def _repetitions(self, run: Run, offset: int) -> int:
        """Return how many more times the sequence of a run is there from ``offset`` on."""
        import numpy as np

        limit = (self.limit - offset) // run.stride
        declared = len(self.contents.keys)
        count, window = 0, 1024
        while count < limit:
            span = min(window, limit - count)
            good = span
            for start, _, head in run.parts:
                at = offset + count * run.stride + start
                heads: Any = np.ndarray((span,), "<u4", self.buffer, at, (run.stride,))
                wrong = heads != head if head else (heads - np.uint32(1)) >= np.uint32(declared)
                if self.careful:
                    times: Any = np.ndarray((span,), "<i8", self.buffer, at + _TIME_AT, (run.stride,))
                    wrong = wrong | (times < self.window[0]) | (times > self.window[1])
                first = int(wrong.argmax())
                if wrong[first]:
                    good = min(good, first)
            count += good
            if good < span:
                break
            window *= 4
        return count


def _last_start(run: Run) -> int:
    return -1 if run.starts is None else int(run.starts[-1])


def _frame_size(payload: int) -> int:
    """Return the size of an event whose payload has so many bytes."""
    return 8 + payload + -payload % 8


def _period(classes: list[int]) -> int:
    """Return the length of the shortest sequence that repeats in ``classes``, or the whole length."""
    n = len(classes)
    for period in range(1, n // 2 + 1):
        if classes[period:] == classes[:-period]:
            return period
    return n
