"""Faults in system calls, put there by strace: a process dies at its nth call, or the call fails."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from faults.child import PATIENCE_S
from faults.harness import LeftOut

CHANGING = (
    "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,openat,mkdir,mkdirat,ftruncate,"
    "link,linkat,close"
)
"""Calls that change what is on a disk, or come right after one that does."""


@cache
def needed() -> None:
    """See that strace is here and may trace.

    Raises:
        LeftOut: it is not, or may not.
    """
    if shutil.which("strace") is None:
        raise LeftOut("needs strace")
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if done.returncode:
        raise LeftOut(f"strace may not trace here: {done.stderr.strip()[:100]}")


@contextmanager
def attached(
    pid: int, log: Path, trace: str = CHANGING, *, inject: str = "", paths: Sequence[Path] = ()
) -> Iterator[None]:
    """Trace a running process, its threads and all it starts.

    Args:
        pid: of the process.
        log: file for the calls seen.
        trace: names of the calls.
        inject: fault, such as ``error=EIO:when=3``; in each thread its own calls are counted.
        paths: only calls on these files.
    """
    command = ["strace", "-f", "-y", "-p", str(pid), "-o", str(log), "-e", f"trace={trace}"]
    if inject:
        command += ["-e", f"inject={trace}:{inject}"]
    for path in paths:
        command += ["-P", str(path)]
    told = log.with_suffix(".strace")
    with open(told, "wb") as output:
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        end = time.monotonic() + PATIENCE_S
        while "attached" not in told.read_text():
            assert tracer.poll() is None and time.monotonic() < end, f"strace: {told.read_text()}"
            time.sleep(0.001)
        yield
    finally:
        tracer.terminate()  # it lets go of the process, should that still be there
        tracer.wait(PATIENCE_S)


def calls(log: Path, pid: int) -> Counter[str]:
    """Return how often one thread made each call."""
    return Counter(re.findall(rf"^{pid} +(\w+)\(", log.read_text(errors="replace"), re.M))


def injected(log: Path) -> int:
    """Return how many calls were made to fail."""
    return log.read_text(errors="replace").count("(INJECTED)")
