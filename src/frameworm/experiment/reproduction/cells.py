"""Run the cells of a recorded notebook again, one after the other: ``python -m …reproduction.cells notebook.ipynb``.

They run in IPython, as they did. Where that is not installed, cells of plain Python do without it. As at a prompt, a
cell that fails does not keep the next one from running; the exit code is 1 if the last one failed.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> int:
    """Run the notebook that the command line names, and return the exit code."""
    notebook = json.loads(Path(sys.argv[1]).read_bytes())
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    in_loop = bool(notebook["metadata"].get("frameworm", {}).get("in_loop"))
    del sys.argv[1:]
    try:
        shell = _shell(in_loop)
    except ImportError:
        run = _in_plain_python()
        succeeded = [run(source) for source in sources]
    else:
        if in_loop:
            succeeded = asyncio.run(_run_in_loop(shell, sources))
        else:
            succeeded = [_run(shell, source) for source in sources]
    return 0 if all(succeeded[-1:]) else 1


def _shell(in_loop: bool) -> Any:
    interactive: Any = importlib.import_module("IPython.core.interactiveshell").InteractiveShell
    config: Any = importlib.import_module("traitlets.config").Config()
    config.HistoryManager.hist_file = ":memory:"  # nothing of it is for the user's own history
    # %matplotlib is let be, as nobody looks; a kernel, which sets a backend of its own, opens no windows either.
    quiet = type("Shell", (interactive,), {"enable_gui": lambda self, gui=None: None, "in_loop": in_loop})
    os.environ.setdefault("MPLBACKEND", "agg")
    return quiet.instance(config=config, colors="NoColor")  # type: ignore[attr-defined]


def _run(shell: Any, source: str) -> bool:
    shown = getattr(sys, "last_value", None)
    return _went_well(shell.run_cell(source, store_history=True), shown)


def _went_well(done: Any, shown_before: object) -> bool:
    """Tell whether a cell neither raised nor showed an error, as ``%run`` does."""
    return bool(done.success) and getattr(sys, "last_value", None) is shown_before


async def _run_in_loop(shell: Any, sources: list[str]) -> list[bool]:
    """Run cells as a kernel does: within a running loop, in which tasks go on between them."""
    succeeded = []
    for source in sources:
        try:
            program = shell.transform_cell(source)
            awaits = shell.should_run_async(source, transformed_cell=program)
        except SyntaxError:  # which running it shows
            awaits = False
        if awaits:
            shown = getattr(sys, "last_value", None)
            done = await shell.run_cell_async(source, store_history=True, transformed_cell=program)
            shell.events.trigger("post_execute")
            shell.events.trigger("post_run_cell", done)
            succeeded.append(_went_well(done, shown))
        else:
            succeeded.append(_run(shell, source))
        await asyncio.sleep(0)
    return succeeded


def _in_plain_python() -> Callable[[str], bool]:
    main = sys.modules["__main__"] = types.ModuleType("__main__")

    def run(source: str) -> bool:
        try:
            exec(compile(source, "<cell>", "exec"), main.__dict__)
        except SyntaxError:
            traceback.print_exc(limit=0)
            print("this cell is no plain Python: it needs IPython, which is not installed here", file=sys.stderr)
        except BaseException:  # of the user's own code: the next cell runs all the same, as it did
            traceback.print_exc()
        else:
            return True
        return False

    return run


if __name__ == "__main__":
    sys.exit(main())
