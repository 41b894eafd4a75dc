"""The program that runs recorded cells again, where IPython is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_IPYTHON = """
import runpy, sys
sys.modules["IPython"] = None
runpy.run_module("frameworm.experiment.reproduction.cells", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("sources", "printed", "said", "exit_code"),
    [
        (["x = 1\n", "1 / 0", "print(x, __name__)"], "1 __main__\n", "ZeroDivisionError", 0),
        (["%time 1", "print('next')"], "next\n", "it needs IPython, which is not installed here", 0),
        (["print('first')", "raise SystemExit(3)"], "first\n", "SystemExit: 3", 1),
        ([], "", "", 0),
    ],
)
def test_cells_of_plain_python_need_no_ipython(
    tmp_path: Path, sources: list[str], printed: str, said: str, exit_code: int
) -> None:
    notebook = tmp_path / "notebook.ipynb"
    notebook.write_text(json.dumps({"cells": [{"source": [source]} for source in sources], "metadata": {}}))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_IPYTHON, str(notebook)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == (printed, exit_code), done.stderr
    assert said in done.stderr
