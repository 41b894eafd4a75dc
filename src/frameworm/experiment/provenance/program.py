"""The program that runs: which file it is, and the source files of its own that are loaded."""

from __future__ import annotations

import functools
import os
import site
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType

_IMPORTED_NS = time.time_ns()
_LOADED = {name: getattr(module, "__spec__", None) for name, module in list(sys.modules.items())}
"""The main module, and all that is here, were read before this time."""


@dataclass(frozen=True, slots=True)
class Program:
    """The program that runs.

    Attributes:
        file: its real path: a script, the main module of a package, an archive; None if it is no file on the disk.
        folder: the one that it lies in; where its repository is looked for.
        lost: where it is no file on the disk, what to call it and why it cannot be kept. None for what
            ``python -c`` was given, which is part of the command line, and for notebooks.
    """

    file: Path | None
    folder: Path
    lost: tuple[str, str] | None = None


def find_program(cwd: Path) -> Program:
    """Return the program that runs, whatever started it and wherever the shell was. To be called by its own thread.

    Where the main module is installed (a console script, ``python -m pytest``), it is the first file on the stack
    that is not: what the installed one runs.

    Args:
        cwd: folder that the process runs in, which counts where there is no file.
    """
    name = _text(getattr(sys.modules.get("__main__"), "__file__", None))
    if name == "<stdin>":
        name = None
    if getattr(sys, "frozen", False):
        return Program(None, Path(sys.executable).parent, (sys.executable, "a frozen program: its code is inside it"))
    if name is not None and not _is_installed(os.path.abspath(name)) and not _is_installed(os.path.realpath(name)):
        real = os.path.realpath(name)
        place = _place(real)
        if os.path.isdir(place):
            return Program(None, Path(place), (real, "it is gone from the disk"))
        return Program(Path(place), Path(place).parent)
    below = _first_own_file(sys._getframe(1))
    if below is not None:
        return Program(Path(below), Path(below).parent)
    if name is None and sys.argv[:1] in ([""], ["-"]) and "IPython" not in sys.modules:
        return _program_of_standard_input(cwd)
    return Program(None, cwd)


def _program_of_standard_input(cwd: Path) -> Program:
    file = standard_input()
    if file is not None:
        return Program(Path(file), Path(file).parent)
    why = "typed at a prompt" if os.isatty(0) else "piped into the interpreter"
    return Program(None, cwd, ("<stdin>", f"{why}: its text is not on the disk"))


def standard_input() -> str | None:
    """Return the path of the file that standard input is read from, if it is one."""
    try:
        place = os.readlink("/proc/self/fd/0") if stat.S_ISREG(os.fstat(0).st_mode) else ""
    except OSError:
        return None
    return place if os.path.isfile(place) else None


def _first_own_file(frame: FrameType | None) -> str | None:
    found = None
    while frame is not None:
        found = own_file(frame.f_code.co_filename) or found
        frame = frame.f_back
    return found


def _place(path: str) -> str:
    """Return the file that a path leads to: itself, the archive that it is in, or the folder where it was."""
    while path != "/" and not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


_loaded: tuple[int, ModuleType | None, dict[str, ModuleType | None]] = (0, None, {})
"""How many modules there were when they were last looked through, which was the last one, and what was found."""


def loaded_files() -> dict[str, ModuleType | None]:
    """Return the real paths of the files that modules were loaded from and that are not installed, first come first.

    The dict is not to be changed. A thousand modules take 1 ms, so they are looked through only if one has come.
    """
    global _loaded
    modules = list(sys.modules.values())
    if len(modules) == _loaded[0] and modules[-1] is _loaded[1]:
        return _loaded[2]
    found: dict[str, ModuleType | None] = {}
    for module in modules:
        # not getattr: a lazy module would import what it stands for
        name = _text(vars(module).get("__file__")) if isinstance(module, ModuleType) else None
        if name is not None and (real := own_file(name)) is not None:
            found.setdefault(real, module)
    _loaded = len(modules), modules[-1], found
    return found


@functools.cache  # a thousand modules took 16 ms an experiment
def own_file(name: str) -> str | None:
    """Return the real path of a file of code, or of the archive that it is in; None if it is installed or no file."""
    if name.startswith("<") or "\0" in name or _is_installed(name):
        return None
    # torch.ops and torch.classes are modules of which __file__ is "_ops.py": files that never were.
    real = _place(os.path.realpath(name))
    return real if os.path.isfile(real) and not _is_installed(real) and not _is_target(real) else None


def _is_installed(path: str) -> bool:
    """Whether a path is Python's, or installed: also in another interpreter's folder that PYTHONPATH names."""
    return path.startswith(installed_folders()) or "/site-packages/" in path or "/dist-packages/" in path


def _is_target(real: str) -> bool:
    """Whether a file lies where ``pip install --target`` put it, which is recorded as a package."""
    folders = (os.path.realpath(folder or ".") for folder in sys.path)
    return any(real.startswith(os.path.join(folder, "")) and _has_distributions(folder) for folder in folders)


@functools.cache
def _has_distributions(folder: str) -> bool:
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))
    except OSError:
        return False


@functools.cache
def installed_folders() -> tuple[str, ...]:
    """Return the folders whose files are not the user's own code: Python's, what is installed, this package.

    Not all of ``sys.prefix``: a virtual environment may have been made in the folder of the project itself.
    """
    own = str(Path(__file__).parents[2])  # this package, however it is installed
    places = {*site.getsitepackages(), site.getusersitepackages(), own}
    if (library := getattr(os, "__file__", None)) is not None:
        places.add(os.path.dirname(library))
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix}:
        places |= {os.path.join(prefix, name) for name in ("bin", "lib", "lib64", "share", "include", "etc")}
    # as they are called and as they are: `lib64` of a virtual environment is a link
    both = {*places, *(os.path.realpath(place) for place in places)}
    return tuple(f"{place}/" for place in sorted(both))


def was_edited(path: str, module: ModuleType | None, look: os.stat_result) -> bool:
    """Whether a file was changed after a module was loaded from it, as far as that shows.

    A module that was loaded before this one was not loaded from what was written later. Of others Python writes the
    time and size of the source beside the compiled code, unless it was told to write none.
    """
    if look.st_mtime_ns <= _IMPORTED_NS or module is None:
        return False
    spec = vars(module).get("__spec__")
    if module.__name__ in ("__main__", "__mp_main__") or (spec is not None and _LOADED.get(module.__name__) is spec):
        return True
    cached = getattr(spec, "cached", None)
    try:
        with open(_text(cached) or "", "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    if len(head) < 16 or head[4:8] != bytes(4):  # those told by a checksum of the source do not have it
        return False
    words = (int(look.st_mtime) & 0xFFFFFFFF, look.st_size & 0xFFFFFFFF)
    return words != (int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little"))


def _text(name: object) -> str | None:
    return name if isinstance(name, str) else None
