"""Ctrl-C between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class DeferredInterrupt:
    """While entered, holds the first Ctrl-C back until `raise_if_pending`; the second goes through at once.

    An interrupt raised inside an optimizer step would leave half of the weights updated, from which no resume
    can go on exactly. Does nothing outside the main thread or where SIGINT is ignored. The handler that was
    there before, such as an experiment's, is put back and called in the end.
    """

    def __init__(self) -> None:
        self.pending = False
        self._previous: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> DeferredInterrupt:
        """Take SIGINT over."""
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the earlier handler back; a Ctrl-C still held back is raised unless something else was."""
        self._restore()
        if exc is None:
            self.raise_if_pending()

    def raise_if_pending(self) -> None:
        """Let a Ctrl-C that was held back have its effect, normally a KeyboardInterrupt.

        Raises:
            KeyboardInterrupt: there was one.
        """
        if self.pending:
            self.pending = False
            self._interrupt()

    def _receive(self, number: int, frame: object) -> None:
        if self.pending:
            self._interrupt()
        self.pending = True

    def _interrupt(self) -> None:
        previous = self._previous
        self._restore()
        if previous is not None:
            previous(signal.SIGINT, sys._getframe())
        raise KeyboardInterrupt

    def _restore(self) -> None:
        if self._previous is not None and signal.getsignal(signal.SIGINT) == self._receive:
            signal.signal(signal.SIGINT, self._previous)
        self._previous = None
