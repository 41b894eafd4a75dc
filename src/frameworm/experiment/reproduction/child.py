"""Programs that are waited for: they end, with all that they started, when the waiting ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

GRACE_S = 30.0
"""How long a program may tidy up, as seal millions of points on a busy machine; a second Ctrl-C kills it at once."""

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_WATCH = """\
read -r _
kill -s INT -- "$0"
left=$1
while [ "$left" -gt 0 ] && kill -s 0 -- "$0"; do sleep 1; left=$((left - 1)); done
kill -s KILL -- "-$0"
"""
"""Reads until nobody can write any more, which is when we are gone; then does what ``end`` does."""


def run(
    command: list[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end. A signal, or the time limit, ends it and its children.

    Args:
        command: and its arguments.
        cwd: where.
        env: its variables; None for ours.
        given: its standard input.
        timeout_s: how long it may take.

    Raises:
        OSError: it cannot be run.
        TimeoutExpired: it took longer.
    """
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that its children can be ended with it
    ) as process:
        try:
            out, err = process.communicate(given, timeout_s)
        except BaseException:
            end(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program that leads a session, as Ctrl-C would so that it can tidy up, and whatever it left behind."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def tied(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have a program that leads a session, and what it started, end also if we are ended by SIGKILL meanwhile.

    A shell waits for that at the end of a pipe, as there is no time left to do it ourselves; where there is no shell,
    nobody does.
    """
    command = ["/bin/sh", "-c", _WATCH, str(process.pid), str(round(GRACE_S))]
    quiet = subprocess.DEVNULL
    try:
        watch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
    except OSError:
        yield
        return
    with watch:
        try:
            yield
        finally:
            watch.kill()  # before its pipe is closed, which would have it begin


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end this as Ctrl-C does, so that no program and no folder is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {one: signal.signal(one, stop) for one in _ENDING if signal.getsignal(one) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
