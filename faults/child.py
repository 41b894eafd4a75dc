"""A process to do harm to, and the memory it shares with us, which outlives it.

A child runs one function of this package, ``function(ledger, *arguments)``, as ``python -m faults.child``: a new
interpreter, as users have it. After each call that returned it counts in the ledger, a mapped file: a store to
mapped memory is there for others at once, whatever happens to the process next.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0
"""After so long without an answer a child counts as hung: generous, for busy machines."""


class Ledger:
    """Words of 64 bits in a mapped file, written by the child, read by us.

    Attributes:
        acknowledged: records whose call has returned.
        covered: records that a returned ``flush()`` or ``end()`` has covered.
        phase: where the child is; each function has its own meaning for the numbers.
        go: set by us to let the child go on.
        pid: of the Python process itself, which may be below strace or unshare.
        longest_ns: longest time one call took, where the child measures that.
    """

    _WORDS = ("acknowledged", "covered", "phase", "go", "pid", "longest_ns")
    acknowledged: int
    covered: int
    phase: int
    go: int
    pid: int
    longest_ns: int
    _words: memoryview

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 4096)
        object.__setattr__(self, "_words", memoryview(mmap.mmap(fd, 4096)).cast("Q"))
        os.close(fd)

    def __getattr__(self, name: str) -> int:
        return int(self._words[self._WORDS.index(name)])

    def __setattr__(self, name: str, value: int) -> None:
        self._words[self._WORDS.index(name)] = value

    def wait(self, name: str, least: int = 1, process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until a word is at least so large.

        Raises:
            AssertionError: it takes too long, or ``process`` has ended meanwhile.
        """
        end = time.monotonic() + PATIENCE_S
        pause = threading.Event()  # libfaketime breaks time.sleep()
        while getattr(self, name) < least:
            if process is not None and process.poll() is not None and getattr(self, name) < least:
                raise AssertionError(f"the child ended ({process.returncode}) before {name} was {least}")
            if time.monotonic() > end:
                raise AssertionError(f"{name} is {getattr(self, name)} and not {least} after {PATIENCE_S:g} s")
            pause.wait(0.0005)


class Child:
    """A running child. As a context manager it leaves nothing running."""

    def __init__(
        self,
        folder: Path,
        function: Callable[..., object],
        *arguments: Any,
        under: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            folder: where it works, and its ledger and output lie.
            function: of a module of this package; called with the ledger and the arguments.
            arguments: anything JSON knows, and paths.
            under: command line to run it under, such as ``unshare --uts``.
            environment: added to ours.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.output = folder / "output"
        self.ledger = Ledger(folder / "ledger")
        command = [
            *under,
            sys.executable,
            "-m",
            "faults.child",
            f"{function.__module__}:{function.__qualname__}",
            json.dumps(arguments, default=str),
        ]
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "TMPDIR": str(self.folder),  # where what a disk refuses is put
                    **(environment or {}),
                },
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *about: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id of the Python process, once it has begun."""
        self.wait_for("pid")
        return self.ledger.pid

    def wait_for(self, word: str, least: int = 1) -> None:
        """Wait until a word of its ledger is at least so large."""
        try:
            self.ledger.wait(word, least, self.process)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send the Python process a signal; it may have ended already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as SIGKILL does, with what it runs under and all it has started; returns when it is gone."""
        if self.process.poll() is None:
            if self.ledger.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.ledger.pid, signal.SIGKILL)
            else:
                self.process.kill()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        for pid in self.helpers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def helpers(self) -> list[int]:
        """Return the processes that it has started and that outlive it, such as one that seals."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(process / "cwd") == str(self.folder) and int(process.name) != self.ledger.pid:
                    found.append(int(process.name))
        return found

    def wait(self, expected: int | None = 0) -> int:
        """Wait for its end and return the exit code.

        Raises:
            AssertionError: it hangs, or ends otherwise than expected; the message holds what it printed.
        """
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            for pid in (self.ledger.pid, *self.helpers()):
                os.kill(pid, signal.SIGUSR1)  # have it print where its threads are
            time.sleep(1)
            self.kill()
            raise AssertionError(f"the child hung\n{self.told()}") from None
        if expected is not None and code != expected:
            raise AssertionError(f"the child ended with {code}, expected {expected}\n{self.told()}")
        return code

    def told(self) -> str:
        """Return the end of what it printed."""
        return self.output.read_text(errors="replace")[-3000:]

    def warnings(self, about: str = "") -> list[str]:
        """Return the warnings of ours that it printed, each once, as users see them."""
        lines = self.output.read_text(errors="replace").splitlines()
        return [line for line in lines if "FramewormWarning:" in line and about in line]


@contextlib.contextmanager
def children(*made: Child) -> Iterator[None]:
    """Leave none of several children running."""
    try:
        yield
    finally:
        for child in made:
            child.kill()


def main() -> None:
    """Run the function named on the command line."""
    faulthandler.register(signal.SIGUSR1)
    target, arguments = sys.argv[1:3]
    module, _, name = target.partition(":")
    ledger = Ledger(Path("ledger"))
    ledger.pid = os.getpid()
    getattr(import_module(module), name)(ledger, *json.loads(arguments))


if __name__ == "__main__":
    main()
