r"""Copy what Python prints into ``logs/console.log`` while it goes on to the terminal unchanged.

The ``write`` of the very objects ``sys.stdout`` and ``sys.stderr`` is wrapped, no stand-in is put in their place:
``isatty``, ``fileno``, ``buffer`` and identity stay what they are, and logging handlers that were made before
the experiment are heard too. A stream that is put in their place later is heard if it leads to the same terminal, pipe
or file: from the next ``print`` on, which looks for it, else from the next second. What a program sends elsewhere
itself, bytes written to ``sys.stdout.buffer``, and what C code or another process prints are not seen.

The file holds lines as they would be left standing in a terminal, see ``terminal``; secrets are masked.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import os
import stat
import sys
import threading
import warnings
from collections import deque
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import FramewormWarning, tell
from frameworm.experiment.recording.terminal import Lines
from frameworm.experiment.secrets import mask_text

_MAX_PIECES = 100


class ConsoleCapture:
    """Copies the console of this process to one file, from ``start`` to ``stop``.

    Any thread may print, also inside a signal handler: no lock is ever waited for, since the text goes to a queue
    that whoever holds the lock empties. Each finished line is one ``os.write`` to a descriptor in append mode, so
    it survives SIGKILL, and lines of several processes (forked ones, other ranks) do not mix. Captures may nest:
    each gets a copy. A line costs 3 µs more than without, and its masking.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._taps: dict[int, _Tap] = {}  # the uppermost of each stream, by its id
        self._warned = False
        self._first: tuple[Any, ...] = ()  # the streams as they were at the start
        self._places: set[tuple[int, int]] = set()  # what they lead to
        self._elsewhere: object = None  # a stream that led to another file a second ago
        self._told_of_another_file = False
        self._reset()

    def _reset(self) -> None:
        """Forget what is under way; a forked child must not write again what its parent has begun."""
        self._lock = threading.Lock()
        self._queue: deque[tuple[int, str]] = deque()
        self._lines = (Lines(), Lines())
        self._unfinished: int | None = None  # whose unfinished line is the last in the file

    def start(self) -> None:
        """Begin to copy. Warns and does nothing if the file cannot be opened. Starting twice does nothing."""
        if self in _active:
            return
        try:
            flags = (
                os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
            )  # a FIFO waits
            self._fd = os.open(self._path, flags, 0o666)
        except OSError as error:
            return self._warn(error)
        self._reset()
        self._first = (sys.stdout, sys.stderr)
        self._places = {
            (found.st_dev, found.st_ino) for stream in self._first if (found := _file_of(stream)) is not None
        }
        _active.add(self)
        _watch_print()
        follow()

    def follow(self) -> None:
        """Tap new streams, and those where something has taken our place, as IPython does for each cell."""
        for index, stream in enumerate((sys.stdout, sys.stderr)):
            if stream is None or (index == 1 and stream is sys.stdout):
                continue
            if not any(stream is first for first in self._first) and not _is_of_a_kernel(stream):
                found = _file_of(stream)
                if found is None or (found.st_dev, found.st_ino) not in self._places:
                    continue
            try:
                write = stream.write
                while isinstance(write, _Tap) and write.capture is not self:
                    write = write.original
                if not isinstance(write, _Tap):
                    self._taps[id(stream)] = _Tap(self, index, stream)
            except (AttributeError, TypeError) as error:
                self._warn(error)

    def stop(self) -> None:
        """Write what is unfinished and let go of the streams. Stopping twice does nothing."""
        if self not in _active:
            return
        _active.discard(self)
        for tap in self._taps.values():
            tap.remove()
        self._taps.clear()
        # Waits for another thread's last line; in vain if a signal handler has interrupted that write itself.
        if not self._lock.acquire(timeout=0.5):
            return
        try:
            self._drain()
            for index, lines in enumerate(self._lines):
                rest = lines.finish()
                if rest or self._unfinished == index:
                    self._write(index, "\n".join(rest) + "\n")
        except Exception as error:  # whatever fails here, ending the experiment must not
            self._warn(error)
        finally:
            os.close(self._fd)
            self._fd = -1
            self._lock.release()

    def flush(self) -> None:
        """Write lines that have stayed unfinished since the last call; to be called every second or so."""
        if self in _active:
            self.follow()
            self._tell_of_another_file()
        if self not in _active or not self._lock.acquire(blocking=False):
            return
        try:
            self._drain()
            for index, lines in enumerate(self._lines):
                if text := lines.settle():
                    self._write(index, text)
                    self._unfinished = None if text.endswith("\n") else index
        except Exception as error:
            self._warn(error)
        finally:
            self._lock.release()
        self._drain_if_free()

    def _tell_of_another_file(self) -> None:
        """Say once that the program prints into a file of its own, unless that is over within a second or so."""
        stream = sys.stdout
        found = None if any(stream is first for first in self._first) else _file_of(stream)
        if found is None or not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) in self._places:
            self._elsewhere = None
        elif self._elsewhere is not stream:
            self._elsewhere = stream
        elif not self._told_of_another_file:
            self._told_of_another_file = True
            name = getattr(stream, "name", "another file")
            tell(f"sys.stdout leads to {name!r} now: what is printed there is not in {self._path}")

    def take(self, index: int, text: str) -> None:
        """Take a copy of what was written to stream ``index``; never raises."""
        if self in _active and isinstance(text, str):
            self._queue.append((index, text))
            # Pieces of a line wait for its end: print() writes each argument and separator by itself.
            if "\n" in text or len(self._queue) > _MAX_PIECES:
                self._drain_if_free()

    def _drain_if_free(self) -> None:
        # Who fails to get the lock has queued before, and who holds it looks at the queue again after release.
        while self._queue and self._lock.acquire(blocking=False):
            try:
                self._drain()
            except Exception as error:  # a bug of ours, or a full disk, is not to come out of the user's print
                self._warn(error)
            finally:
                self._lock.release()

    def _drain(self) -> None:
        while self._queue:
            index, text = self._queue.popleft()
            if lines := self._lines[index].feed(text):
                self._write(index, "\n".join(lines) + "\n")

    def _write(self, index: int, text: str) -> None:
        if self._unfinished not in (None, index):
            text = "\n" + text
        self._unfinished = None
        data = mask_text(text).encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._fd, data) :]

    def _warn(self, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        # Even where warnings are errors: this may be the middle of the user's print.
        with contextlib.suppress(FramewormWarning):
            message = f"{self._path}: console output is not recorded completely: {error!r}; training goes on"
            warnings.warn(message, FramewormWarning, stacklevel=4)


def _file_of(stream: Any) -> os.stat_result | None:
    """Return what file, terminal or pipe a stream leads to; None if it leads to none."""
    try:
        return os.fstat(stream.fileno())
    except Exception:  # no such method, none that works, closed: streams are anybody's
        return None


def _is_of_a_kernel(stream: Any) -> bool:
    """Say whether a stream is what a notebook shows, also to an experiment that was started within ``%%capture``."""
    return type(stream).__module__ == "ipykernel.iostream"


_active: set[ConsoleCapture] = set()
_passing = threading.local()
_looked_at: tuple[Any, Any] = (None, None)


@functools.cache
def _watch_print() -> None:
    """Have ``print`` look for a new ``sys.stdout``: nothing else tells that there is one.

    For good: ``torch.compile`` notes which functions are Python's own, and must not find another one later.
    """
    original = builtins.print

    @functools.wraps(original)
    def print(*values: Any, **options: Any) -> None:
        if _active and (sys.stdout is not _looked_at[0] or sys.stderr is not _looked_at[1]):
            follow()
        original(*values, **options)

    builtins.print = print


def is_active() -> bool:
    """Whether anything is copied now."""
    return bool(_active)


def show(index: int, text: str) -> None:
    """Copy what was shown to whoever looks, though it was written to neither stream."""
    for capture in tuple(_active):
        capture.take(index, text)


def follow() -> None:
    """Have every capture look which streams there are now, and take away what has outlived its own."""
    global _looked_at
    _looked_at = (sys.stdout, sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        tap = getattr(stream, "write", None)
        if isinstance(tap, _Tap) and tap.capture not in _active:
            tap.remove()
    for capture in tuple(_active):
        capture.follow()


def _after_fork_in_child() -> None:
    for capture in _active:
        capture._reset()


os.register_at_fork(after_in_child=_after_fork_in_child)


class _Tap:
    """Stands in for the ``write`` of one stream.

    There may be two of one capture, with somebody else's between them: what passes both is taken once.
    """

    __slots__ = ("capture", "index", "key", "original", "stream", "was_own")

    def __init__(self, capture: ConsoleCapture, index: int, stream: Any) -> None:
        self.capture = capture
        self.index = index
        self.stream = stream
        self.was_own = "write" in getattr(stream, "__dict__", {})
        self.key = f"{id(capture)} {index}"
        self.original = stream.write
        while isinstance(self.original, _Tap) and self.original.capture not in _active:
            self.was_own, self.original = self.original.was_own, self.original.original
        stream.write = self

    def __call__(self, text: str) -> Any:
        passing = _passing.__dict__
        is_first = passing.setdefault(self.key, self) is self
        try:
            return self.original(text)
        finally:
            if is_first:
                passing.pop(self.key, None)
                self.capture.take(self.index, text)

    def remove(self) -> None:
        """Put back what was there; if somebody has wrapped us meanwhile, stay and only pass on."""
        if self.stream.__dict__.get("write") is not self:
            return
        below = self
        while isinstance(below.original, _Tap) and below.original.capture not in _active:
            below = below.original
        if below.was_own:
            self.stream.write = below.original
        else:
            del self.stream.write
