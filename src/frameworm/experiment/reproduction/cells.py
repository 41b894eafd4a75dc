"""Run the cells of a recorded notebook again, one after the other: ``python -m …reproduction.cells notebook.ipynb``.

They run in IPython, as they did. Where that is not installed, cells of plain Python do without it. As at a prompt, a
cell that fails does not keep the next one from running; the exit code is 1 if the last one failed.
"""

from __future__ import annotations

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
    del sys.argv[1:]
    try:
        run = _in_ipython()
    except ImportError:
        run = _in_plain_python()
    succeeded = True
    for source in sources:
        succeeded = run(source)
        sys.stdout.flush()
        sys.stderr.flush()
    return 0 if succeeded else 1


def _in_ipython() -> Callable[[str], bool]:
    interactive: Any = importlib.import_module("IPython.core.interactiveshell").InteractiveShell
    config: Any = importlib.import_module("traitlets.config").Config()
    config.HistoryManager.hist_file = ":memory:"  # nothing of it is for the user's own history
    # %matplotlib is let be, as nobody looks; a kernel, which sets a backend of its own, opens no windows either.
    quiet = type("Shell", (interactive,), {"enable_gui": lambda self, gui=None: None})
    os.environ.setdefault("MPLBACKEND", "agg")
    shell = quiet.instance(config=config, colors="NoColor")  # type: ignore[attr-defined]

    def run(source: str) -> bool:
        shown = getattr(sys, "last_value", None)
        done = shell.run_cell(source, store_history=True)
        return bool(done.success) and getattr(sys, "last_value", None) is shown

    return run


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
