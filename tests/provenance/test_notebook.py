"""Notebooks in real kernels, and IPython's prompt: the cells that ran, what they showed, how it ended, once more."""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from frameworm.experiment import ExperimentManager
from frameworm.experiment.model import ExperimentInfo

START = "from frameworm.experiment import Experiment\nexp = Experiment('cells', system_metrics_s=0).start()"

# Kernels do not look at what C code prints while pytest runs them.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


class Notebook:
    """A kernel in a folder, and the cells that it ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = nbformat.v4.new_notebook()
        self.client = NotebookClient(
            self.node, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )

    def run(self, *sources: str) -> list[Any]:
        """Run cells and return what the last one put out."""
        for source in sources:
            self.node.cells.append(nbformat.v4.new_code_cell(source))
            self.client.execute_cell(self.node.cells[-1], len(self.node.cells) - 1)
        return list(self.node.cells[-1].outputs)

    def fail(self, source: str, *, dies: bool = False) -> None:
        """Run a cell that fails, or of which the kernel dies."""
        with pytest.raises(DeadKernelError if dies else CellExecutionError):
            self.run(source)

    def restart(self) -> None:
        """Restart the kernel as the menu of a notebook does."""
        run_sync(self.client.km.restart_kernel)(env=ENVIRONMENT)
        run_sync(self.client.kc.wait_for_ready)(timeout=60)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project outside git, and nothing of the user's own."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    project = tmp_path / "project"
    project.mkdir()
    (project / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    return project


@pytest.fixture
def kernel(folder: Path) -> Iterator[Notebook]:
    notebook = Notebook(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the client's own, as it comes and goes
        with notebook.client.setup_kernel(env=ENVIRONMENT):
            yield notebook


def manager(folder: Path) -> ExperimentManager:
    return ExperimentManager(folder / "experiments")


def info(folder: Path, experiment_id: str = "exp_001") -> ExperimentInfo:
    return manager(folder).reader(experiment_id).info


def text(one: ExperimentInfo, path: str) -> str:
    return (one.path / path).read_text()


def endings(folder: Path) -> dict[str, tuple[str, str]]:
    names = sorted(path.name[:7] for path in (folder / "experiments").glob("exp_*"))
    return {one.name: (one.status, one.reason) for one in (info(folder, name) for name in names)}


def test_cells_output_and_modules_of_a_notebook(kernel: Notebook, folder: Path) -> None:
    (folder / "prepare.py").write_text("print('prepared')\nready = 1\n")
    kernel.run(
        "import sys, threading, time, subprocess\nimport helper\nTOKEN_OF_THE_DAY = 3\nprint('before')",
        f"{START}\nprint('in the first')",
        "exp.log_metric('loss', helper.double(1), 0)\nprint('in the second')\n40 + 2",
        "%run prepare.py\n!echo from a shell",
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint('a warning', file=sys.stderr)",
        "import asyncio\nawait asyncio.sleep(0.01)\nprint('awaited')\ndisplay({'a': 1})",
        "%%capture\nprint('kept from view')",
        "%%time\nthread = threading.Timer(0.2, print, ['late'])\nthread.start()",
        "thread.join()\nsubprocess.run(['echo', 'past Python'])\ntime.sleep(0.3)",
    )
    kernel.fail("print('so far')\n1 / 0")
    kernel.fail("this is no Python")
    kernel.run("exp.end()\nprint('in the last')", "print('after the end')")

    one = info(folder)
    assert one.status == "completed"
    console = text(one, "logs/console.log")
    wanted = ["in the first", "in the second", "42", "prepared", "from a shell", "a warning", "<Figure size", "awaited"]
    wanted += ["{'a': 1}", "Wall time", "late", "past Python", "so far", "ZeroDivisionError", "SyntaxError"]
    at = [console.find(words) for words in wanted]
    assert -1 not in at, (wanted[at.index(-1)], console)
    assert at == sorted(at)
    assert [console.count(words) for words in ("in the second", "awaited", "late", "prepared")] == [1] * 4
    assert not any(words in console for words in ("before", "kept from view", "after the end"))

    record = one.code["notebook"]
    kept = nbformat.read(one.path / "provenance" / record["path"], as_version=4)
    nbformat.validate(kept)
    assert [cell.execution_count for cell in kept.cells] == list(range(1, 13))
    ran = [cell.source for cell in kernel.node.cells]
    assert [cell.source for cell in kept.cells] == ran[:12]
    assert {file["path"] for file in one.code["files"]} == {"helper.py", "prepare.py", "notebook-cells.py"}
    script = text(one, "provenance/code/notebook-cells.py")
    compile(script.replace("await ", ""), "script", "exec")
    assert "# In [1]\nimport sys" in script and "run_line_magic('run', 'prepare.py')" in script
    assert "# this is no Python" in script


def test_an_error_belongs_to_the_experiment_whose_block_it_leaves(kernel: Notebook, folder: Path) -> None:
    kernel.run("from frameworm.experiment import Experiment\ngiven = dict(system_metrics_s=0)")
    kernel.fail("undefined_name")
    kernel.run("exp = Experiment('after an error', **given).start()\nexp.log_metric('x', 1)", "exp.end()")
    kernel.fail("with Experiment('left by an error', **given) as exp:\n    raise ValueError('of the block')")
    kernel.run("exp = Experiment('outlives errors', **given).start()")
    kernel.fail("1 / 0")
    kernel.fail("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nsum(range(10**9))")
    kernel.run("exp.log_metric('x', 1)", "exp.end()")
    kernel.fail("with Experiment('left by an interrupt', **given) as exp:\n    raise KeyboardInterrupt")
    kernel.run("exp = Experiment('left open', **given).start()")
    kernel.fail("1 / 0")
    kernel.run("'the last cell went well'")
    kernel.restart()

    assert endings(folder) == {
        "after an error": ("completed", ""),
        "left by an error": ("failed", "ValueError: of the block"),
        "outlives errors": ("completed", ""),
        "left by an interrupt": ("killed", "KeyboardInterrupt"),
        "left open": ("killed", "the kernel was restarted"),
    }
    assert "of the block" in text(info(folder, "exp_002"), "logs/traceback.txt")


def test_deaths_of_a_kernel(kernel: Notebook, folder: Path) -> None:
    kernel.run(START)
    kernel.fail("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", dies=True)
    kernel.restart()
    kernel.run(START.replace("cells", "lost"), "%reset -f", "print('said before')\nimport time\ntime.sleep(2.5)")
    kernel.fail("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", dies=True)

    found = endings(folder)
    assert found["cells"] == ("killed", "received SIGTERM")
    assert found["lost"][0] == "crashed"
    lost = info(folder, "exp_002")
    assert text(lost, "logs/console.log") == "said before\n"
    kept = nbformat.read(lost.path / "provenance/notebook.ipynb", as_version=4)
    assert [cell.source for cell in kept.cells][:3] == [cell.source for cell in kernel.node.cells][2:5]
    digest = hashlib.sha256((lost.path / "provenance/notebook.ipynb").read_bytes()).hexdigest()
    assert lost.code["notebook"]["digest"] == f"sha256:{digest}"


@pytest.mark.parametrize(
    ("last", "ending"),
    [
        ("exp.log_metric('x', 1)", ("completed", "")),
        ("1 / 0", ("failed", "ZeroDivisionError: division by zero")),
        ("%run fails.py", ("failed", "KeyError: 'of the file'")),
    ],
)
def test_a_notebook_that_is_run_as_a_program(folder: Path, last: str, ending: tuple[str, str]) -> None:
    """As papermill, nbclient and nbconvert do: they stop at the first error."""
    (folder / "fails.py").write_text("raise KeyError('of the file')\n")
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (START, last)])
    with warnings.catch_warnings(), contextlib.suppress(CellExecutionError):
        warnings.simplefilter("ignore")
        NotebookClient(node, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    assert endings(folder) == {"cells": ending}
