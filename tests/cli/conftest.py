"""A store of real experiments, and ways to run the program: in this process, as a process, in a terminal."""

from __future__ import annotations

import fcntl
import math
import os
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from frameworm.experiment import Experiment
from frameworm.experiment.cli import main

SOURCE = Path(__file__).parents[2] / "src"
EVIL = "[red]evil[/red] \x1b[31m\u202egnp"


def record(root: Path) -> None:
    """Record four experiments: a good one, one with NaN, one that fails, one whose name is out to do harm."""
    quiet = {"root_dir": root, "capture_console": False, "system_metrics_s": 0.0}
    for name, lr, tags in (("vae baseline", 1e-3, ["vae", "mnist"]), ("vae fast", 1e-2, ["vae"])):
        config = {"training": {"lr": lr, "epochs": 2}, "api_key": "sk-0123456789abcdefABCDEF0123456789", "seed": 1}
        with Experiment(name, config=config, tags=tags, description=f"about {name}", **quiet) as exp:
            for step in range(50):
                exp.log_metric("loss", 1 / (1 + step * lr * 100), step=step, epoch=step // 25)
            exp.log_metric("val_loss", 10 * lr, metric_type="val")
            if lr == 1e-2:
                exp.log_metric("odd", math.nan)
                exp.log_metric("big", -math.inf)
            exp.add_note("first line\nsecond line")
    with pytest.raises(ValueError, match="boom"), Experiment("fails", project="other", **quiet):
        raise ValueError("boom")
    with Experiment(EVIL, config={EVIL: EVIL}, description=EVIL, tags=[EVIL], **quiet) as exp:
        exp.log_metric("[bold]m[/bold]", 1.0)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that no test changes."""
    root = tmp_path_factory.mktemp("cli") / "experiments"
    record(root)
    return root


@pytest.fixture(scope="session")
def evil() -> str:
    """The name of ``exp_004``, and its config, description and tag."""
    return EVIL


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """A store of the test's own, to delete from."""
    record(tmp_path / "experiments")
    return tmp_path / "experiments"


@pytest.fixture
def run(root: Path) -> Callable[..., Result]:
    """Run a command in this process, on the shared store unless it names another."""

    def run_in_process(*arguments: str, root_dir: Path = root) -> Result:
        return CliRunner(env={"NO_COLOR": None, "FORCE_COLOR": None}).invoke(
            main, ["--root-dir", str(root_dir), *arguments]
        )

    return run_in_process


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment for a child, without what steers colours and widths."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    return {**kept, "PYTHONPATH": str(SOURCE), "TERM": "xterm-256color", **variables}


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a shell line in which ``frameworm`` is the program, without a terminal."""

    def run_process(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        script = f'frameworm() {{ "{sys.executable}" -m frameworm.experiment.cli "$@"; }}; set -o pipefail; {line}'
        return subprocess.run(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(**variables),
            timeout=60,
        )

    return run_process


@dataclass(frozen=True)
class Seen:
    """What a process in a terminal printed, and how it ended."""

    text: str
    returncode: int


@pytest.fixture
def terminal() -> Callable[..., Seen]:
    """Run the program in a terminal of some width and 24 lines; type into it when it asks."""

    def run_in_terminal(*arguments: str, columns: int, typed: str = "", **variables: str) -> Seen:
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        started = subprocess.Popen(
            [sys.executable, "-m", "frameworm.experiment.cli", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(**variables),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        seen = b""
        waited_s = 0
        while waited_s < 30:
            if not select.select([ours], [], [], 1)[0]:
                waited_s += 1
                if typed and b"[y/N]:" in seen:
                    # Once it has waited for a second it is reading: Python can lose a ^C that comes just before.
                    os.write(ours, typed.encode())
                    typed = ""
                continue
            try:
                part = os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
            if not part:
                break
            seen += part
        else:
            started.kill()
            started.wait()
            pytest.fail(f"still running after {seen!r}")
        os.close(ours)
        return Seen(seen.decode().replace("\r\n", "\n"), started.wait(timeout=30))

    return run_in_terminal
