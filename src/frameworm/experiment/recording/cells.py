"""Cells: what IPython runs, in a kernel or at its own prompt, and what is shown of it.

IPython keeps every cell that it ran in its history, those before the first experiment too. From then on its events
tell which cell failed, and when the console has to look anew: IPython puts a ``write`` of its own in the place of the
streams' for each cell. In a kernel, results, figures and tracebacks pass no stream; they are taken as they are sent.

A process without IPython pays a look into ``sys.modules``: nothing here imports it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frameworm.experiment.recording import console
from frameworm.experiment.recording.ending import Ending, ending_of

_SHOWN = frozenset({"display_data", "execute_result", "error"})


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell that ran.

    Attributes:
        number: as in ``In [3]``; it may come twice, as ``%reset`` begins to count anew.
        source: as it was written.
        program: the same as plain Python, magics as calls of ``get_ipython()``.
    """

    number: int
    source: str
    program: str


class Cells:
    """The cells of this process. Any thread may ask; the events come on the thread that runs the cells.

    Attributes:
        starting_dir: where the shell was started; ``%cd`` may have gone elsewhere.
        in_loop: whether a loop of asyncio runs around the cells, as in a kernel, but at no prompt.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.starting_dir = Path(getattr(shell, "starting_dir", None) or os.getcwd())
        self.in_loop = getattr(shell, "kernel", None) is not None or getattr(shell, "in_loop", False)
        self._lock = threading.Lock()
        self._cells: list[Cell] = []
        self._seen = 1  # in IPython's lists, whose first entry is none
        self._resets = 0  # how often %reset emptied them
        self._mark = 0, 0  # how many cells and resets there were as the latest cell began
        self._running: list[Any] = []
        self._last_shown: object = getattr(sys, "last_value", None)
        self._failure: Ending | None = None
        shell.events.register("pre_run_cell", self._before)
        shell.events.register("post_run_cell", self._after)
        session = getattr(getattr(shell, "kernel", None), "session", None)
        if session is not None:
            session.send = _Showing(session.send)

    def so_far(self) -> tuple[Cell, ...]:
        """Return the cells that ran, in their order; the last one may still run."""
        history = self._shell.history_manager
        with self._lock:
            if history is None:  # IPython has taken leave; all is known by then
                return tuple(self._cells)
            if len(history.input_hist_raw) < self._seen:
                self._seen = 1
                self._resets += 1
            for number in range(self._seen, len(history.input_hist_raw)):
                source, program = history.input_hist_raw[number], history.input_hist_parsed[number]
                self._cells.append(Cell(number, source, program))
                self._seen = number + 1
            return tuple(self._cells)

    def ending(self) -> Ending | None:
        """Return how an experiment ends that is open as its kernel exits; None if no cell says so.

        The error of the latest cell stopped the notebook, as one does that is run as a program; one that was
        followed by another cell was outlived. At a prompt, who leaves has outlived them all.
        """
        kernel = getattr(self._shell, "kernel", None)
        if kernel is None or self._failure is not None:
            return None if kernel is None else self._failure
        message = getattr(kernel, "_shutdown_message", None)
        if isinstance(message, dict) and message.get("content", {}).get("restart"):
            return Ending("killed", "the kernel was restarted")
        return None

    def _before(self, info: Any = None) -> None:
        self._running.append(info)
        if len(self._running) == 1:  # %%capture runs its cell within one, whose streams are its own affair
            self._mark = len(self.so_far()), self._resets
            self._last_shown = getattr(sys, "last_value", None)
            console.follow()

    def _after(self, result: Any = None) -> None:
        info = getattr(result, "info", self._running[0] if self._running else None)
        if info in self._running:  # else it began before us, or is empty and was not run
            del self._running[self._running.index(info) :]
        if self._running or info is None or not info.raw_cell.strip():
            return
        if getattr(info, "store_history", False):  # else it is the front end's own
            known, resets = len(self.so_far()), self._resets
            if known == self._mark[0] and resets > self._mark[1]:  # %reset has made IPython forget the cell itself
                number = getattr(result, "execution_count", None) or 1
                with self._lock:
                    self._cells.append(Cell(number, info.raw_cell, self._shell.transform_cell(info.raw_cell)))
            error = self._error_of(result)
            self._failure = None if error is None else ending_of(error)  # not the error, whose frames hold tensors
        self._last_shown = None
        import asyncio  # which IPython has imported

        try:  # IPython takes its own ``write`` away after this: look again as soon as it has
            asyncio.get_running_loop().call_soon(console.follow)
        except RuntimeError:  # at the prompt of a terminal no loop runs now; the next cell looks
            pass

    def _error_of(self, result: Any) -> BaseException | None:
        """Return what a cell was left by, or showed, as ``%run`` does; None if it went well."""
        if result is None:  # a cell that awaited was cancelled
            return KeyboardInterrupt()
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        shown = getattr(sys, "last_value", None)
        return error if error is not None or shown is self._last_shown else shown


class _Showing:
    """Stands in for the ``send`` of a kernel's session, and gives the console the text of what is shown."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __call__(self, stream: Any, msg_or_type: Any, content: Any = None, *rest: Any, **options: Any) -> Any:
        try:
            return self._original(stream, msg_or_type, content, *rest, **options)
        finally:
            if console.is_active():
                self._show(msg_or_type, content)

    def _show(self, kind: object, content: object) -> None:
        if isinstance(kind, Mapping):
            content, kind = kind.get("content"), kind.get("header", {}).get("msg_type")
        if kind not in _SHOWN or not isinstance(content, Mapping):
            return
        data, trace = content.get("data"), content.get("traceback")
        text = data.get("text/plain") if isinstance(data, Mapping) else "\n".join(map(str, trace or ()))
        if isinstance(text, str) and text:
            console.show(1 if kind == "error" else 0, text if text.endswith("\n") else f"{text}\n")


_known: Cells | None = None


def _after_fork_in_child() -> None:
    if _known is not None:
        _known._lock = threading.Lock()
        _known._failure = None  # a cell that failed in the parent says nothing of the child


os.register_at_fork(after_in_child=_after_fork_in_child)


def failure_of_cells() -> Ending | None:
    """Return how an open experiment ends as the process exits, if a cell or the kernel says so."""
    return None if _known is None else _known.ending()


def current_cells() -> Cells | None:
    """Return the cells of this process; None where IPython runs none, or was embedded in a program to look around."""
    global _known
    interactive = getattr(sys.modules.get("IPython.core.interactiveshell"), "InteractiveShell", None)
    if interactive is None or not interactive.initialized():
        return None
    shell = interactive.instance()
    if getattr(shell, "embedded", False):
        return None
    if _known is None or _known._shell is not shell:
        _known = Cells(shell)
    return _known
