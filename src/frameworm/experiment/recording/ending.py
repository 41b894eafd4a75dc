"""How a program ends: which error or exit belongs to an experiment, and what it says of it.

Who leaves a block is handed to it. For an experiment that is left open it is found out as the interpreter exits: its
own are what came up through the outermost frame of the main thread, the program itself, and what ended the thread that
it was started in. What somebody outlived is nobody's: an error at the prompt or in a cell, a ``SystemExit`` that was
caught.

Python tells nobody of the ``SystemExit`` that ends it. So ``sys.exit``, ``exit`` and ``quit`` note what they are called
with, from the import of this module on: ``sys.exit(main())`` takes the function before it calls ``main``. That another
one has passed is only seen from where the frame was left.
"""

from __future__ import annotations

import builtins
import functools
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NamedTuple

from frameworm.experiment.model import Status


class Ending(NamedTuple):
    """How an experiment ends: the status, why in a line, and the traceback of an error."""

    status: Status
    reason: str = ""
    traceback: str = ""


def ending_of(error: BaseException | None) -> Ending:
    """Return how an experiment ends whose block, thread or program was left by ``error``."""
    if error is None or isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and _is_success(error.code)):
        return Ending("completed")
    try:
        told = traceback.TracebackException(type(error), error, None)
        told.__notes__ = None  # they would come last, and be the reason
        reason = list(told.format_exception_only())[-1].strip()[:500]
        trace = "".join(traceback.format_exception(error))
    except Exception:  # what an error tells of itself is foreign code, and this may be the middle of the user's exit
        reason, trace = type(error).__name__, ""
    return Ending("killed", reason) if _is_interrupt(error) else Ending("failed", reason, trace)


def _is_success(code: object) -> bool:
    """Say whether the process exits with 0. It does not for "" and [], which are printed."""
    return code is None or (isinstance(code, int) and code == 0)


def _is_interrupt(error: BaseException) -> bool:
    """Say whether somebody stopped it: Ctrl-C, a loop's task cancelled for it, the exit that answers it."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_interrupt, error.exceptions))
    if isinstance(error, SystemExit):
        return error.__context__ is not None and _is_interrupt(error.__context__)
    cancelled = [("asyncio", "CancelledError"), ("trio", "Cancelled")]
    kinds = [getattr(sys.modules.get(loop), name, KeyboardInterrupt) for loop, name in cancelled]
    return isinstance(error, (KeyboardInterrupt, *kinds))


class Beginning:
    """Where an experiment was started: it tells which errors are its own."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self._program = outermost_frame()
        self._of_thread: Ending | None = None

    def thread_failed(self, error: BaseException) -> None:
        """Note what ended the thread."""
        self._of_thread = ending_of(error)

    def uncaught(self) -> BaseException | None:
        """Return the error that came up through the program, None if there was none."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        trace = error.__traceback__ if isinstance(error, BaseException) else None
        return error if trace is not None and trace.tb_frame is self._program else None

    def ending(self) -> Ending:
        """Return how the experiment ends that is still open as the interpreter exits."""
        if (error := sys.exc_info()[1]) is not None:  # multiprocessing ends its children in the middle of it
            return ending_of(error)
        if (error := self.uncaught()) is not None:
            return ending_of(error)
        if _exit is not None and _was_left_by_an_error(_exit.program):
            return _exit.ending
        if self._of_thread is not None:
            return self._of_thread
        if not hasattr(sys, "ps1") and _was_left_by_an_error(self._program):
            return _of_an_unseen_exit(self._program)
        return Ending("completed")


def outermost_frame() -> FrameType | None:
    """Return the frame of the main thread that all others were called from: the program's, at a prompt the line's."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _was_left_by_an_error(frame: FrameType | None) -> bool:
    """Say whether a frame has ended otherwise than by returning."""
    if frame is None or frame is outermost_frame():
        return False
    from dis import opname

    return not opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")


def _of_an_unseen_exit(program: FrameType | None) -> Ending:
    """Return how an experiment ends whose program was left by a ``SystemExit`` that nothing noted.

    Where the program's last line is the exit itself, as in ``raise SystemExit(main())``, what it was given counts if it
    can be seen; else the program went as it was meant to. One that was raised further down broke something off.
    """
    from dis import get_instructions

    assert program is not None
    done = [i for i in get_instructions(program.f_code) if i.offset <= program.f_lasti and i.opname != "PRECALL"]
    line = [i for i in done if i.positions and i.positions.lineno == program.f_lineno]
    called = [i.argval for i in line if i.positions and done[-1].positions and i.positions[2] == done[-1].positions[2]]
    if done[-1].opname != "RAISE_VARARGS" and not {"sys", "exit", "quit"}.intersection(called):
        return Ending("failed", "SystemExit")
    constant = next((i for i in line[-3:] if i.opname.startswith(("LOAD_CONST", "LOAD_SMALL_INT"))), None)
    return Ending("completed") if constant is None else ending_of(SystemExit(constant.argval))


# ---------------------------------------------------------------------------------------- what is noted on the way


class _Exit(NamedTuple):
    """The latest exit that was asked for in the main thread, and the outermost frame it has to leave."""

    ending: Ending
    program: FrameType | None


_exit: _Exit | None = None
_on_thread_error: Callable[[threading.Thread, BaseException], None] | None = None


def listen(on_thread_error: Callable[[threading.Thread, BaseException], None] | None) -> None:
    """Note exits from now on, and call ``on_thread_error`` with what ends a thread; None: forget, and note no more."""
    global _exit, _on_thread_error
    if on_thread_error is None:
        _exit = None
    _on_thread_error = on_thread_error


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def exit(*code: Any, **named: Any) -> None:
        try:
            original(*code, **named)
        except SystemExit as error:
            if _on_thread_error is not None and threading.current_thread() is threading.main_thread():
                _note(error, sys._getframe(1))
            raise

    return exit


def _note(error: SystemExit, caller: FrameType) -> None:
    global _exit
    seen = SystemExit(*error.args)
    seen.__context__ = error.__context__
    frame: FrameType | None = caller
    trace: TracebackType | None = None
    while frame is not None:  # what its traceback will be, when it has come up to the program
        trace = TracebackType(trace, frame, max(frame.f_lasti, 0), frame.f_lineno or 0)
        frame = frame.f_back
    _exit = _Exit(ending_of(seen.with_traceback(trace)), outermost_frame())


def _telling(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(original)
    def excepthook(args: Any, /) -> Any:
        if _on_thread_error is not None and args.thread is not None and args.exc_value is not None:
            _on_thread_error(args.thread, args.exc_value)
        return original(args)

    return excepthook


_plain_exit, sys.exit = sys.exit, _noting(sys.exit)
if getattr(sys.modules.get("__main__"), "exit", None) is _plain_exit:  # from sys import exit
    sys.modules["__main__"].exit = sys.exit  # type: ignore[attr-defined]
if type(getattr(builtins, "exit", None)).__module__ == "_sitebuiltins":  # there is none with python -S
    setattr(type(builtins.exit), "__call__", _noting(type(builtins.exit).__call__))  # noqa: B010  # mypy
threading.excepthook = _telling(threading.excepthook)
