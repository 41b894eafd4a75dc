"""One process of git, which reads and runs nothing that a repository names."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Settings of the user's that would change what we parse or store, or start a daemon that holds our pipe open.
_SETTINGS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.relative=false",
    "diff.submodule=short",
)
# Set inside a hook, these name the repository of the hook, not that of the folder we ask about.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE")
# A partial clone lacks objects, which older releases would fetch by whatever program its settings name.
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
_QUIET |= {"LC_ALL": "C", "LANGUAGE": "C"}


class GitError(Exception):
    """Git failed; the message is its own first line, or the time-out."""


class ExitError(GitError):
    """Git ran and said no to a command."""

    def __init__(self, message: str, command: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.command = command


class Git:
    """One git process, whose output is read by ``output``, of this or of another one.

    ``os.posix_spawnp`` because importing ``subprocess`` costs 10 to 20 ms, ten times the start of a process.
    """

    def __init__(
        self,
        cwd: Path,
        args: Sequence[str],
        *,
        limit_bytes: int = 1 << 30,
        errors: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            cwd: a folder in the repository.
            args: the command and its arguments.
            limit_bytes: the output is cut there.
            errors: whether what it says to standard error is part of its output.
            settings: further ones, for this process alone.
        """
        environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        environment |= _QUIET | _as_variables(settings or {})
        command = ["git", "-C", str(cwd), *(word for setting in _SETTINGS for word in ("-c", setting)), *args]
        reading, writing = os.pipe()
        to_stderr: tuple[Any, ...] = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        if errors:
            to_stderr = (os.POSIX_SPAWN_DUP2, writing, 2)
        try:
            self._pid = os.posix_spawnp(
                "git",
                command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    to_stderr,
                ],
                setpgroup=0,  # Ctrl-C in the terminal is not for git, and its children can be killed with it
                setsigmask=[],
                setsigdef=[signal.SIGPIPE],  # Python ignores it, and ignored signals are inherited
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.cut = False
        self.pipe = reading
        """What it writes to; -1 when all is read."""
        self._args = args
        self._errors = errors
        self._limit_bytes = limit_bytes
        self._output = bytearray()
        self._exit_code: int | None = None

    def output(self, deadline: float, beside: Iterable[Git] = ()) -> bytes:
        """Wait until the process has ended or ``deadline`` (monotonic seconds) has come; return what it wrote.

        Args:
            deadline: then the process is killed.
            beside: processes that are read meanwhile, so that a full pipe holds none of them back.
        """
        name = f"git {self._args[0]}"
        while self.pipe >= 0 or not self._has_ended():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.kill()
                raise GitError(f"{name} was stopped: it took too long")
            if self.pipe < 0:
                time.sleep(0.0002)  # it has closed its output, so it is about to end
                continue
            poll = select.poll()
            open_ones = {process.pipe: process for process in (self, *beside) if process.pipe >= 0}
            for pipe in open_ones:
                poll.register(pipe, select.POLLIN)
            for pipe, _ in poll.poll(1000 * left_s):
                open_ones[pipe]._read()
        if self._exit_code != 0 and not self.cut:
            said = self._output.decode("utf-8", "replace").splitlines() if self._errors else []
            why = next((line for line in said if line.startswith(("fatal: ", "error: "))), "".join(said[:1]))
            raise ExitError(why or f"{name} failed with exit code {self._exit_code}", self._args)
        return bytes(self._output[: self._limit_bytes])

    def _read(self) -> None:
        chunk = os.read(self.pipe, 1 << 16)
        self._output += chunk
        self.cut = len(self._output) > self._limit_bytes
        if self.cut:
            self.kill()
        elif not chunk:
            self._close()

    def _close(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    def _has_ended(self) -> bool:
        if self._exit_code is None:
            try:
                ended, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # the program ignores SIGCHLD: nobody can know the exit code
                ended, status = self._pid, 0
            if ended:
                self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code is not None

    def kill(self) -> None:
        """Kill the process and its children, unless it has ended."""
        self._close()
        for _ in range(100):
            if self._has_ended():
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            time.sleep(0.001)


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings as git takes them from the environment, after those that are there.

    Not by ``-c``, to which a filter called ``a=b`` would be another setting.
    """
    count = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(count) if count.isdecimal() else 0
    found = {"GIT_CONFIG_COUNT": str(first + len(settings))} if settings else {}
    for number, (name, value) in enumerate(settings.items(), first):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return found
