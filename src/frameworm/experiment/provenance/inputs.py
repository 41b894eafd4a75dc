"""Files that a process opens for reading, listed while somebody asks for it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from frameworm.experiment.provenance.program import installed_folders

_MANY = 1_000
_listening: list[InputList] = []
_hooked = False


class InputList:
    """The files that were opened for reading between ``start`` and ``stop``, by any thread.

    Code, what is installed, devices and everything below ``excluded`` are left out, and at most 1,000 are listed.
    Files that C code opens by itself are not seen. A hook of Python's audit events, once set, cannot be taken out
    again; it then costs an ``open`` less than a microsecond.
    """

    def __init__(self, excluded: Path) -> None:
        store = f"{os.path.realpath(excluded)}/"
        self._excluded: tuple[str, ...] = ("/dev/", "/proc/", "/sys/", store, *installed_folders())
        self._paths: dict[str, None] = {}

    def start(self) -> None:
        """Begin to list."""
        global _hooked
        if not _hooked:
            _hooked = True
            sys.addaudithook(_on_event)
        _listening.append(self)

    def stop(self) -> list[str]:
        """Stop, and return the absolute paths of the files that are still there, in the order they were opened."""
        if self in _listening:
            _listening.remove(self)
        found: dict[str, None] = {}
        for path in self._paths:
            real = os.path.realpath(path)
            if os.path.isfile(real) and not real.startswith(self._excluded) and not real.endswith((".py", ".pyc")):
                found[real] = None
        return list(found)

    def saw(self, path: str) -> None:
        """Take note of an opened file."""
        if len(self._paths) < _MANY:
            self._paths[os.path.abspath(path)] = None


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _listening or threading.current_thread().name.startswith("frameworm-"):
        return
    path, _, flags = arguments
    if isinstance(path, str | bytes) and isinstance(flags, int) and flags & os.O_ACCMODE == os.O_RDONLY:
        for listener in tuple(_listening):
            listener.saw(os.fsdecode(path))
