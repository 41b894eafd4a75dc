"""What this process reads, noted as it reads it: files that Python opens, and what goes past it.

A hook of Python's audit events, once set, cannot be taken out again. It tells a file that it knows from one that it
does not by one look into a set, and takes note of a bounded number.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import sysconfig
from pathlib import Path
from types import FrameType

from frameworm.experiment.provenance.program import installed_folders

MANY = 1_000
"""Of more files no note is taken."""
_CHILDREN = frozenset(("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"))
_NO_FILES = ("/dev/", "/proc/", "/sys/", "/etc/", "/usr/share/zoneinfo/")

_known: tuple[set[str], set[str]] = set(), set()  # paths as they were given: read, written
_read: dict[str, tuple[int, int]] = {}
_written: dict[str, bool] = {}
_beside: set[str] = set()
_listening: list[InputList] = []
_hooked = False


def watch() -> None:
    """Take note from here on, until the process ends; the second time nothing happens."""
    global _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_on_event)


def read_so_far() -> dict[str, tuple[int, int]]:
    """Return the files opened for reading: real path, and size and time of modification (ns) as it was first opened.

    Left out are code that is installed, devices, what this package opens itself, and what the process wrote before it
    read it.
    """
    return dict(_read)


def written_so_far() -> list[str]:
    """Return the real paths of files opened for writing, or that others were renamed to."""
    return list(_written)


def beside() -> list[str]:
    """Return how data came that no note can be taken of: ``children``, ``network``."""
    return sorted(_beside)


class InputList:
    """The files that were opened for reading between ``start`` and ``stop``, by any thread.

    Code, what is installed, devices, everything below ``excluded``, what this package itself opens and what the
    process wrote before are left out, and at most 1,000 are listed. Files that C code opens by itself are not seen.
    """

    def __init__(self, excluded: Path) -> None:
        self._store = f"{os.path.realpath(excluded)}/"
        self._paths: dict[str, None] = {}
        self._made: set[str] = set()

    def start(self) -> None:
        """Begin to list."""
        watch()
        for known in _known:  # else what is known already would not be told
            known.clear()
        _listening.append(self)

    def stop(self) -> list[str]:
        """Stop, and return the absolute paths of the files that are still there, in the order they were opened."""
        if self in _listening:
            _listening.remove(self)
        return [
            path
            for path in self._paths
            if not path.startswith(self._store) and not path.endswith(".py") and os.path.isfile(path)
        ]

    def saw(self, path: str) -> None:
        """Take note of an opened file."""
        if len(self._paths) < MANY and path not in self._made:
            self._paths[path] = None

    def wrote(self, path: str) -> None:
        """Take note of a file that is written: what is read of it from now on is no input."""
        if path not in self._paths:
            self._made.add(path)


def asker(depth: int = 3) -> str:
    """Return the file of the code that asks, past Python's own; "" if that is this package, or Python alone.

    Args:
        depth: how many frames above this function the question begins.
    """
    own, python, installed = _places()
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(own):
            return ""
        if not name.startswith("<frozen ") and (not name.startswith(python) or name.startswith(installed)):
            return name
        frame = frame.f_back
    return ""


@functools.cache
def _places() -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return where this package, Python's own modules and installed ones lie."""
    paths = sysconfig.get_paths()
    python, installed = (
        tuple(f"{place}/" for name in names for place in {paths[name], os.path.realpath(paths[name])})
        for names in (("stdlib", "platstdlib"), ("purelib", "platlib"))
    )
    return f"{Path(__file__).parents[1]}/", python, (*installed, *(f"{place}dist-packages/" for place in python))


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or path.__class__ not in (str, bytes):
            return  # a descriptor: it was opened before
        name = path if isinstance(path, str) else os.fsdecode(path)
        if name.endswith(".pyc"):
            return
        mode = flags & os.O_ACCMODE
        if (mode == os.O_RDONLY or not flags & (os.O_CREAT | os.O_TRUNC)) and name not in _known[0]:
            _note_read(name)
        if mode != os.O_RDONLY and name not in _known[1]:
            _note_written(name)
    elif event == "os.chdir":  # a relative path is another file now
        for known in _known:
            known.clear()
    elif event == "os.rename":
        _note_written(os.fsdecode(arguments[1]))  # type: ignore[arg-type]
    elif event == "sqlite3.connect":
        if isinstance(arguments[0], str) and arguments[0] not in _known[0]:
            _note_read(arguments[0])
    elif event in _CHILDREN:
        if "children" not in _beside and asker(2):
            _beside.add("children")
    elif event == "socket.connect" and "network" not in _beside and asker(2):
        _beside.add("network")


def _note_read(name: str) -> None:
    if len(_read) >= MANY and not _listening:
        return
    try:
        look = os.stat(name)
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(look.st_mode) or not asker():
        return
    _known[0].add(name)
    path = os.path.realpath(name)
    if path.startswith(_NO_FILES) or path.startswith(installed_folders()):
        return
    if len(_read) < MANY and path not in _written:
        _read.setdefault(path, (look.st_size, look.st_mtime_ns))
    for listener in tuple(_listening):
        listener.saw(path)


def _note_written(name: str) -> None:
    if (len(_written) < MANY or _listening) and not name.startswith(_NO_FILES) and asker():
        _known[1].add(name)
        path = os.path.realpath(name)
        _written[path] = True
        for listener in tuple(_listening):
            listener.wrote(path)
