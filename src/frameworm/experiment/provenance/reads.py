"""What the process has read so far: its own code, files, variables; by name, size, time, and of small files content.

It is noted for every experiment, without being asked for, so that of two that part it can be said which of the things
that nobody recorded is not the same.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from frameworm.experiment.provenance import inputs, variables
from frameworm.experiment.provenance.environment import storable
from frameworm.experiment.provenance.inputs import MANY, beside, read_so_far, written_so_far
from frameworm.experiment.provenance.program import loaded_files
from frameworm.experiment.provenance.variables import looked_at

_HASHED_BYTES = 1 << 20
_HASHED_TOTAL_BYTES = 16 << 20
_WRITTEN = 200
_FOREIGN_READERS = """
    polars cv2 h5py netCDF4 tables pyarrow.parquet pyarrow.csv pyarrow.dataset pyarrow.feather duckdb tensorflow lmdb
    decord av soundfile SimpleITK rasterio xgboost lightgbm
""".split()
"""Modules that open files past Python, so that no note can be taken of them."""


def watch() -> None:
    """Take note from here on, until the process ends."""
    inputs.watch()
    variables.watch()


def capture_reads(store: Path, *, whole: bool) -> dict[str, Any]:
    """Return what was read; files in the store are left out.

    Args:
        store: folder of all experiments.
        whole: the experiment ends, so nothing will be added.

    Returns:
        ``files`` (each ``path``, ``size_bytes``, ``modified_ns`` as it was first opened, ``digest`` as ``sha256:…``
        where it is small and has not changed since, ``code``: it was imported, ``rewritten``: the process wrote it
        later), ``written`` (paths), ``variables`` (name to value, masked), ``unset`` (names), ``beside`` (by what data
        may have come that no note was taken of: ``children``, ``network``, ``stdin``, ``more files``, names of
        modules) and ``whole``.
    """
    own = f"{os.path.realpath(store)}/"
    opened, written = read_so_far(), written_so_far()
    unseen = [*beside(), *(name for name in _FOREIGN_READERS if name in sys.modules)]
    given = _standard_input()
    if given == "pipe":
        unseen.append("stdin")
    elif given:
        input_look = os.stat(given)
        opened.setdefault(given, (input_look.st_size, input_look.st_mtime_ns))
    if len(opened) >= MANY:
        unseen.append("more files")
    files: list[dict[str, Any]] = []
    left = _HASHED_TOTAL_BYTES
    imported = loaded_files()
    for path in dict.fromkeys([*imported, *opened]):
        if path.startswith(own) or len(files) >= 2 * MANY:
            continue
        look = _look(path)
        size, modified_ns = opened.get(path) or ((look.st_size, look.st_mtime_ns) if look else (0, 0))
        file: dict[str, Any] = {"path": storable(path), "size_bytes": size, "modified_ns": modified_ns}
        as_opened = look is not None and (look.st_size, look.st_mtime_ns) == (size, modified_ns)
        if as_opened and size <= min(_HASHED_BYTES, left):
            left -= size
            if (digest := _digest(path, size, modified_ns)) is not None:
                file["digest"] = digest
        if path in imported:
            file["code"] = True
        if path in written:
            file["rewritten"] = True
        files.append(file)
    given_variables, unset = looked_at()
    outputs = [storable(path) for path in written if path not in opened and not path.startswith(own)]
    return {
        "files": files,
        "written": outputs[:_WRITTEN],
        "variables": {storable(name): storable(value) for name, value in given_variables.items()},
        "unset": list(map(storable, unset)),
        "beside": unseen,
        "whole": whole,
    }


def _look(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:  # it is gone
        return None


@lru_cache(4096)
def _digest(path: str, size: int, modified_ns: int) -> str | None:
    """Return the digest of a file that looks like this; it is read once as long as it does."""
    try:
        with open(path, "rb") as file:
            content = file.read(size + 1)
    except OSError:
        return None
    return f"sha256:{hashlib.sha256(content).hexdigest()}" if len(content) == size else None


def _standard_input() -> str:
    """Return the file that standard input is, ``pipe``, or "" for anything else."""
    try:
        mode = os.fstat(0).st_mode
        if stat.S_ISREG(mode):
            return os.path.realpath("/proc/self/fd/0")
        return "pipe" if stat.S_ISFIFO(mode) else ""
    except OSError:
        return ""
