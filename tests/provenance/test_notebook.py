"""Notebooks in real kernels, and IPython's prompt: the cells that ran, what they showed, how it ended, once more."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
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
from frameworm.experiment.errors import ReproductionError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.provenance.notebook import run_files, store_cells
from frameworm.experiment.query.code_diff import compare_code
from frameworm.experiment.recording.cells import Cell

START = "from frameworm.experiment import Experiment\nexp = Experiment('cells', system_metrics_s=0).start()"


def environment() -> dict[str, str]:
    """Return a kernel's variables: it does not look at what C code prints while pytest runs it."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


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
        run_sync(self.client.km.restart_kernel)(env=environment())
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
        with notebook.client.setup_kernel(env=environment()):
            yield notebook


def manager(folder: Path) -> ExperimentManager:
    return ExperimentManager(folder / "experiments")


def info(folder: Path, experiment_id: str = "exp_001") -> ExperimentInfo:
    return manager(folder).reader(experiment_id).info


def text(one: ExperimentInfo, path: str) -> str:
    return (one.path / path).read_text()


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


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
    kernel.run("%%capture\nexp = Experiment('begun in silence', **given).start()")
    kernel.run("print('seen')", "%%capture\nexp.end()")
    kernel.run("exp = Experiment('left open', **given).start()")
    kernel.fail("1 / 0")
    kernel.run("'the last cell went well'")
    kernel.restart()

    assert endings(folder) == {
        "after an error": ("completed", ""),
        "left by an error": ("failed", "ValueError: of the block"),
        "outlives errors": ("completed", ""),
        "left by an interrupt": ("killed", "KeyboardInterrupt"),
        "begun in silence": ("completed", ""),
        "left open": ("killed", "the kernel was restarted"),
    }
    assert text(info(folder, "exp_005"), "logs/console.log") == "seen\n"
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


TRAIN = """
with Experiment(name, {{"lr": {lr}}}, system_metrics_s=0) as exp:
    for step in range(5):
        weight += exp.config["lr"] * random.random() * helper.double(1)
        exp.log_metric("weight", weight, step)
"""


def test_recorded_cells_are_compared_and_run_again(kernel: Notebook, folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "helper.py").write_text("def double(x):\n    return 2.5 * x\n")
    (folder / "sub").mkdir()
    (folder / "sub/prepare.py").write_text("name = 'by a file'\n")
    kernel.run(
        "%gui\nfrom frameworm.experiment import Experiment\nimport helper, random",
        "%cd -q sub\n%run prepare.py\n%cd -q ..",
        "random.seed(3)\nimport asyncio\ntask = asyncio.create_task(asyncio.sleep(0, 0.5))",
        "weight = await task",
        TRAIN.format(lr=0.1),
    )
    kernel.fail("weight = weight.typo")
    kernel.run(TRAIN.format(lr=0.2), "print('after it')")
    (folder / "helper.py").write_text("def double(x):\n    return 3 * x\n")

    one, two = info(folder, "exp_001"), info(folder, "exp_002")
    assert [len(one.code["files"]), one.code["notebook"]["cells"], two.code["notebook"]["cells"]] == [2, 5, 7]
    diff = compare_code(one, two)
    assert [file.path for file in diff.files] == ["notebook-cells.py"]
    added = [line for line in diff.patch.splitlines() if line.startswith("+")]
    assert any('"lr": 0.2' in line for line in added) and "+# In [7]" in added

    again = manager(folder).reproduce("exp_002")
    assert (again.outcome, again.exit_code) == ("identical", 0), again.tail
    assert not again.diff.code.differs and "command" not in [change.key for change in again.diff.command]
    assert sorted(path.name for path in (folder / "experiments").glob("exp_*"))[2:] == ["exp_003_by_a_file"]
    made = info(folder, again.reproduction_id)
    assert made.status == "completed" and made.code["notebook"]["cells"] == 7

    notebook = two.path / "provenance/notebook.ipynb"
    notebook.write_text(notebook.read_text().replace("0.2", "0.25"))
    with pytest.raises(ReproductionError, match="not recorded here by you") as refusal:
        manager(folder).reproduce("exp_002")
    assert "7 cells, from the record" in str(refusal.value)
    with pytest.raises(ReproductionError, match="the cells are not what was recorded"):
        manager(folder).reproduce("exp_002", strict=True, trust=True)


def test_a_cell_with_a_secret_and_ipython_at_a_prompt(folder: Path) -> None:
    """The prompt of a terminal: its cells are recorded, and what was typed before; an error there is outlived."""
    typed = [
        "api_key = 'sk-proj-abcdefghijklmnopqrstuvwx1234567890'",
        START,
        "exp.log_metric('x', 1)",
        "print('said')",
        "6 * 7",
        "1 / 0",
        "%time 1",
        "exit",
    ]
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    done = subprocess.run(command, input="\n".join(typed), text=True, cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    one = info(folder)
    assert (one.status, one.code["notebook"]["cells"], one.code["notebook"]["masked"]) == ("completed", 8, [1])
    console = text(one, "logs/console.log")
    assert [console.count(words) for words in ("said", "42", "ZeroDivisionError: ")] == [1, 1, 1]
    stored = [path.read_bytes() for path in one.path.rglob("*") if path.is_file()]
    assert not any(b"sk-proj-abcdefgh" in content for content in stored)
    with pytest.raises(ReproductionError, match=r"secrets were masked in In \[1\]"):
        manager(folder).reproduce("exp_001", strict=True)


def test_a_program_that_only_looks_around_in_ipython_is_itself_the_code(folder: Path) -> None:
    (folder / "train.py").write_text(f"import IPython\nIPython.embed(banner1='')\n{START}\nexp.end()\n")
    for command in ([sys.executable, "train.py"], [sys.executable, "-m", "IPython", "train.py"]):
        subprocess.run(
            command, input="1 + 1\nexit\n", text=True, cwd=folder, check=True, capture_output=True, timeout=60
        )
    for one in (info(folder, "exp_001"), info(folder, "exp_002")):
        assert [file["path"] for file in one.code["files"]] == ["train.py"]
        assert one.code["script"] == "train.py" and not one.code.get("notebook")


def test_five_mebibytes_of_cells_are_kept(tmp_path: Path) -> None:
    large = f"x = '{'a' * (3 << 20)}'"
    cells = [Cell(1, "y = 1", "y = 1"), Cell(2, large, large), Cell(3, large, large)]
    stored = store_cells(cells, tmp_path, in_loop=False)
    assert stored["notebook"]["cells"] == 2
    assert [(one["path"], one["why"]) for one in stored["left_out"]] == [
        ("In [3]", "5 MiB of cells were stored before it")
    ]
    kept = nbformat.read(tmp_path / "notebook.ipynb", as_version=4)
    nbformat.validate(kept)
    assert [cell.execution_count for cell in kept.cells] == [1, 2]


def test_files_that_cells_ran_are_found(tmp_path: Path) -> None:
    for name in ("a.py", "with space.py", "b.py"):
        (tmp_path / name).touch()
    programs = [
        "get_ipython().run_line_magic('run', 'a.py --lr 0.1')",
        "get_ipython().run_line_magic('run', '-i b')",
        "get_ipython().run_line_magic('run', 'missing.py')\nget_ipython().run_line_magic('run', '\"with space.py\" 3')",
    ]
    cells = [Cell(number, program, program) for number, program in enumerate(programs, 1)]
    assert [path.name for path in run_files(cells, tmp_path)] == ["a.py", "b.py", "with space.py"]
