"""What happens to the process as a whole: its exit, a deadly signal, a fork.

Experiments that are being recorded register here. Handlers of ours are only installed where nothing but the
default stood, and leave the exit code as it would have been without us. Python lets only the main thread install
them: of a signal that ends a program whose experiments were all started in other threads nothing is told, and readers
find it crashed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol

from frameworm.experiment.recording import ending
from frameworm.experiment.recording.cells import failure_of_cells
from frameworm.experiment.recording.ending import Beginning, Ending
from frameworm.experiment.recording.recorder import guard

_DEADLY = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,  # where Python's own handler, which raises KeyboardInterrupt, was taken away
    signal.SIGQUIT,
    signal.SIGXCPU,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGPIPE,  # where a program undid that Python ignores it
)
"""Signals that end a process which can still run Python: none that tell of a fault, such as SIGSEGV and SIGABRT.

SIGUSR1 and SIGUSR2 are left to the program. Frameworks take them only where they are free, as Lightning does to have a
job queued again: it would end for good instead.
"""


class Session(Protocol):
    """An experiment that this process records."""

    def on_exit(self, ending: Ending) -> None:
        """End so: the interpreter exits."""

    def on_signal(self, name: str) -> None:
        """End quickly: the process is about to be killed by this signal."""

    def on_fork(self) -> None:
        """Let go of everything shared: this is the child."""


_sessions: list[tuple[Session, Beginning]] = []
_installed: set[signal.Signals] = set()
_owner_pid = os.getpid()
_finalizing_pid = 0
_forking = threading.RLock()


def watch(session: Session) -> None:
    """Tell ``session`` of exit, signals and forks until ``unwatch``."""
    _sessions.append((session, Beginning()))
    ending.listen(_on_thread_error)
    _finalize_with_multiprocessing()
    if threading.current_thread() is threading.main_thread():
        free = [number for number in _DEADLY if signal.getsignal(number) is signal.SIG_DFL]
        caught = _caught() if free else 0
        for number in free:
            if not caught >> (number - 1) & 1:
                signal.signal(number, _on_signal)
                _installed.add(number)


def watched() -> tuple[Session, ...]:
    """Return the sessions of this process."""
    return tuple(session for session, _ in _sessions)


def unwatch(session: Session) -> None:
    """Tell ``session`` no more."""
    _sessions[:] = [(other, beginning) for other, beginning in _sessions if other is not session]
    _let_go()


def _let_go() -> None:
    """Put back what was there before the first experiment, once there is none."""
    if _sessions:
        return
    ending.listen(None)
    if threading.current_thread() is threading.main_thread():
        for number in tuple(_installed):
            if signal.getsignal(number) is _on_signal:
                signal.signal(number, signal.SIG_DFL)
                _installed.discard(number)


def _caught() -> int:
    """Return the set of signals that have a handler, bit 0 for signal 1: those of C code Python does not know of."""
    try:
        with open("/proc/self/status", "rb") as file:
            return next((int(line.split()[1], 16) for line in file if line.startswith(b"SigCgt:")), 0)
    except OSError:
        return 0


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() == _owner_pid:
        name = signal.Signals(number).name
        for session in watched():
            guard(lambda session=session: session.on_signal(name), f"ending on {name}")  # type: ignore[misc]
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@atexit.register
def _on_exit() -> None:
    if os.getpid() != _owner_pid:
        return
    for session, beginning in tuple(_sessions):
        ends = failure_of_cells() or beginning.ending()
        guard(lambda session=session, ends=ends: session.on_exit(ends), "ending at exit")  # type: ignore[misc]
        if isinstance(beginning.uncaught(), KeyboardInterrupt):
            # A process that this ended kills itself with SIGINT in the end, unless text was run as code meanwhile, as
            # named tuples and data classes do: that makes Python forget it. This makes it remember.
            with contextlib.suppress(KeyboardInterrupt):
                exec("raise KeyboardInterrupt")


def _finalize_with_multiprocessing() -> None:
    """Have a child of multiprocessing end what it left open: it exits by ``os._exit``, after its own finalizers."""
    global _finalizing_pid
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() and _finalizing_pid != os.getpid():
        from multiprocessing.util import Finalize

        _finalizing_pid = os.getpid()
        Finalize(None, _on_exit, exitpriority=-100)  # after it has waited for children of its own


def _on_thread_error(thread: threading.Thread, error: BaseException) -> None:
    for _, beginning in tuple(_sessions):
        if beginning.thread is thread:
            beginning.thread_failed(error)


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """Let a fork by another thread wait until the block has ended.

    For imports on a thread of ours: the lock of a module that is being imported stays locked in the child, which then
    waits for ever when it imports the same.
    """
    with _forking:
        yield


def _on_fork() -> None:
    global _owner_pid, _forking
    _forking = threading.RLock()
    _owner_pid = os.getpid()
    sessions = watched()
    _sessions.clear()
    for session in sessions:
        session.on_fork()


os.register_at_fork(
    before=lambda: _forking.acquire(), after_in_parent=lambda: _forking.release(), after_in_child=_on_fork
)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put deadly signals off until the block has ended, so that an end is a whole one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    earlier: dict[signal.Signals, Any] = {}
    for number in _DEADLY:
        handler = signal.getsignal(number)
        if callable(handler):  # by default nothing but ours and Python's own: a handler of C code is not known here
            earlier[number] = signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        _let_go()
        for late in dict.fromkeys(came):
            os.kill(os.getpid(), late)
