"""The cells that ran, in a notebook or at IPython's prompt: kept as a notebook to open and as a script to read.

The script is among the code's files, where two experiments are compared. The notebook is what is run again; it lies
beside them in ``provenance``, since each change would show twice.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frameworm.experiment.provenance.code import CODE, FILE_LIMIT_BYTES
from frameworm.experiment.recording.cells import Cell
from frameworm.experiment.secrets import mask_text

NOTEBOOK_NAME = "notebook.ipynb"
SCRIPT_NAME = "notebook-cells.py"
"""No module's name, so that nothing can import it instead of its own."""
_RUN = re.compile(r"run_line_magic\('run', ('(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")\)")


def store_cells(cells: Sequence[Cell], provenance_dir: Path, *, in_loop: bool) -> dict[str, Any]:
    """Write the cells, secrets masked, to ``notebook.ipynb`` and ``code/notebook-cells.py``.

    Args:
        cells: in the order they ran.
        provenance_dir: the experiment's.
        in_loop: whether a loop of asyncio ran around them.

    Returns:
        ``file``: the script, as one of the code's files; ``notebook``: ``path`` (relative to ``provenance_dir``),
        ``digest``, ``cells`` (how many), ``masked`` (numbers of those in which a secret was masked); ``left_out``:
        those past 5 MiB, as files that were not stored.
    """
    import json

    kept: list[Cell] = []
    masked: list[int] = []
    left_out: list[dict[str, Any]] = []
    total = 0
    for cell in cells:
        size = len(cell.source.encode("utf-8", "backslashreplace"))
        total += size
        if total > FILE_LIMIT_BYTES:
            why = f"{FILE_LIMIT_BYTES >> 20} MiB of cells were stored before it"
            left_out.append({"path": f"In [{cell.number}]", "size_bytes": size, "why": why})
            continue
        safe = _safe(cell)
        kept.append(safe)
        if safe.source != cell.source:
            masked.append(cell.number)
    script = _script(kept).encode("utf-8", "backslashreplace")
    page = json.dumps(_notebook(kept, in_loop), indent=1, ensure_ascii=False)
    notebook = f"{page}\n".encode("utf-8", "backslashreplace")
    (provenance_dir / CODE).mkdir(exist_ok=True)
    _write(provenance_dir / CODE / SCRIPT_NAME, script)
    _write(provenance_dir / NOTEBOOK_NAME, notebook)
    return {
        "file": {
            "path": SCRIPT_NAME,
            "digest": _digest(script),
            "size_bytes": len(script),
            "executable": False,
            "masked": bool(masked),
        },
        "notebook": {"path": NOTEBOOK_NAME, "digest": _digest(notebook), "cells": len(kept), "masked": masked},
        "left_out": left_out,
    }


def with_cells(code: Mapping[str, Any], stored: Mapping[str, Any], starting_dir: Path) -> dict[str, Any]:
    """Return a record of code with that of the cells in it.

    Args:
        code: as ``CodeRecord`` returned it.
        stored: as ``store_cells`` did.
        starting_dir: where the shell was started; that is the working folder, unless it is outside of the code.
    """
    root = Path(code["root"])
    cwd = str(starting_dir.relative_to(root)) if starting_dir.is_relative_to(root) else code["cwd"]
    return {
        **code,
        "cwd": cwd,
        "files": [*(file for file in code["files"] if file["path"] != SCRIPT_NAME), stored["file"]],
        "left_out": [*stored["left_out"], *code["left_out"]],
        "left_out_count": code["left_out_count"] + len(stored["left_out"]),
        "notebook": stored["notebook"],
    }


def run_files(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Return the files that cells ran with ``%run``, as far as they are there.

    Args:
        cells: in the order they ran.
        folder: where they ran.
    """
    found: dict[Path, None] = {}
    for cell in cells:
        for word in _RUN.findall(cell.program):
            names = _words(str(ast.literal_eval(word)))
            name = next((name for name in names if not name.startswith("-")), "")
            for place in (folder / name, folder / f"{name}.py"):
                if name and place.is_file():
                    found[Path(os.path.realpath(place))] = None
                    break
    return list(found)


def _words(line: str) -> list[str]:
    import shlex  # which IPython has imported

    try:
        return shlex.split(line)
    except ValueError:  # a quote is open
        return line.split()


@functools.lru_cache(maxsize=1_000)  # a cell stays what it is, and all are written again for each new one
def _safe(cell: Cell) -> Cell:
    """Return the cell as it may be kept: secrets masked, and as a comment what never ran as it is no Python."""
    program = mask_text(cell.program).rstrip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(program, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        program = "\n".join(f"# {line}".rstrip() for line in program.splitlines())
    return Cell(cell.number, mask_text(cell.source), program)


def _script(cells: Sequence[Cell]) -> str:
    parts = []
    if any("get_ipython()" in cell.program for cell in cells):
        parts.append("from IPython import get_ipython\n")
    parts += [f"# In [{cell.number}]\n{cell.program}\n" for cell in cells]
    return "\n\n".join(parts)


def _notebook(cells: Sequence[Cell], in_loop: bool) -> dict[str, Any]:
    version = sys.version_info
    return {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": cell.number,
                "id": f"cell-{position}",
                "metadata": {},
                "outputs": [],
                "source": cell.source.splitlines(keepends=True),
            }
            for position, cell in enumerate(cells, 1)
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "frameworm": {"in_loop": in_loop},
            "language_info": {"name": "python", "version": f"{version.major}.{version.minor}.{version.micro}"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _write(place: Path, content: bytes) -> None:
    """Write a file anew; who reads meanwhile has the one before, and a blob that is linked to it stays as it is."""
    temporary = place.with_name(f"{place.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, place)
