"""What happens to the process as a whole: its exit, a deadly signal, a fork.

Experiments that are being recorded register here. Handlers of ours are only installed where nothing but the
default stood, and leave the exit code as it would have been without us.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from frameworm.experiment.recording.recorder import guard

_DEADLY = (signal.SIGTERM, signal.SIGHUP)


class Session(Protocol):
    """An experiment that this process records."""

    def on_exit(self, failure: BaseException | None) -> None:
        """End: the interpreter exits, after ``failure`` if it was not caught."""

    def on_signal(self, name: str) -> None:
        """End quickly: the process is about to be killed by this signal."""

    def on_fork(self) -> None:
        """Let go of everything shared: this is the child."""


_sessions: list[Session] = []
_installed: set[signal.Signals] = set()
_owner_pid = os.getpid()
_forking = threading.RLock()


def watch(session: Session) -> None:
    """Tell ``session`` of exit, signals and forks until ``unwatch``."""
    _sessions.append(session)
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _DEADLY:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _on_signal)
            _installed.add(number)


def unwatch(session: Session) -> None:
    """Tell ``session`` no more."""
    _sessions[:] = [other for other in _sessions if other is not session]
    if _sessions or threading.current_thread() is not threading.main_thread():
        return
    for number in tuple(_installed):
        _installed.discard(number)
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_DFL)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() == _owner_pid:
        name = signal.Signals(number).name
        for session in tuple(_sessions):
            guard(lambda session=session: session.on_signal(name), f"ending on {name}")  # type: ignore[misc]
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@atexit.register
def _on_exit() -> None:
    failure = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    for session in tuple(_sessions):
        guard(lambda session=session: session.on_exit(failure), "ending at exit")  # type: ignore[misc]


@contextmanager
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
    sessions = tuple(_sessions)
    _sessions.clear()
    for session in sessions:
        session.on_fork()


os.register_at_fork(
    before=lambda: _forking.acquire(), after_in_parent=lambda: _forking.release(), after_in_child=_on_fork
)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put SIGINT and SIGTERM off until the block has ended, so that an end is a whole one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    earlier: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if handler is not None and handler is not signal.SIG_IGN:
            earlier[number] = signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        for late in dict.fromkeys(came):
            os.kill(os.getpid(), late)
