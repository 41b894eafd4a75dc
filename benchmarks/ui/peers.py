"""The peers' own pages over runs of the same size, recorded and served in their own environments.

Each shows 100 runs of 50 params and 20 metrics, ten of them with 200 steps. Where a page has no table of runs or no
charts at an address, that figure is left out.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser

from benchmarks.drivers import peer_class
from benchmarks.environments import PROJECT, interpreter
from benchmarks.ui.browser import fresh_page, opened
from benchmarks.ui.ours import Figures

RUNS, LONG, METRICS, STEPS = 100, 10, 20, 200
IDS = ",".join(f"exp_{number:03d}" for number in range(1, LONG + 1))


class Shown(NamedTuple):
    """How a peer's page is served and looked at.

    Attributes:
        title: as it stands in the report.
        command: arguments after the interpreter; ``{bin}``, ``{folder}`` and ``{port}`` are filled in.
        runs: address of the table of runs, and what is true in the page once its rows are there.
        charts: the same for charts of metrics.
        environment: variables of the server.
        note: what the report says of it.
    """

    title: str
    command: tuple[str, ...]
    runs: tuple[str, str] | None
    charts: tuple[str, str] | None
    environment: dict[str, str] = {}  # noqa: RUF012
    note: str = ""


def _text(text: str) -> str:
    return f"document.body && document.body.innerText.includes('{text}')"


SHOWN = {
    "frameworm": Shown(
        "frameworm",
        (
            *("-m", "frameworm.experiment.cli", "ui", "--no-browser", "--no-token"),
            *("--port", "{port}", "--root-dir", "{folder}"),
        ),
        ("/", "document.querySelectorAll('[id^=line-] a.name').length > 10"),
        (
            f"/compare?ids={IDS}&tab=charts&chart.size=small",
            f"document.querySelectorAll('article table tbody tr:first-child').length >= {METRICS}",
        ),
        note=f"{METRICS} charts on one screen.",
    ),
    "trackio": Shown(
        "Trackio",
        ("-m", "trackio.cli", "show", "--project", "bench"),
        None,
        ("/?project=bench", "document.querySelectorAll('.vega-embed canvas, .vega-embed svg, canvas').length > 3"),
        {"HF_HUB_OFFLINE": "1", "TRACKIO_DIR": "{folder}", "GRADIO_SERVER_PORT": "{port}", "BROWSER": "true"},
        note="More than three charts.",
    ),
    "tensorboardx": Shown(
        "TensorBoard",
        ("{bin}/tensorboard", "--logdir", "{folder}", "--port", "{port}", "--host", "127.0.0.1"),
        None,
        ("/#timeseries", "document.querySelectorAll('line-chart').length >= 2"),
        note="Its first two charts; further ones come as they are scrolled to.",
    ),
    "mlflow-sqlite": Shown(
        "MLflow, SQLite",
        ("-m", "mlflow", "server", "--backend-store-uri", "sqlite:///{folder}/mlflow.db", "--port", "{port}"),
        ("/#/experiments/0/runs?compareRunsMode=TABLE", _text("run 99")),
        ("/#/experiments/0/runs?compareRunsMode=CHART", "document.querySelectorAll('.js-plotly-plot').length >= 3"),
        {"MLFLOW_DISABLE_TELEMETRY": "true"},
        note="Its first three charts; further ones come as they are scrolled to.",
    ),
    "aim": Shown(
        "Aim",
        ("{bin}/aim", "up", "--repo", "{folder}", "--port", "{port}", "--host", "127.0.0.1"),
        ("/runs", _text("Run: ")),
        None,
        {"AIM_UI_TELEMETRY_ENABLED": "0", "PATH": "{bin}:" + os.environ.get("PATH", "")},
        note="Its charts come after a choice of metrics, which is not driven here.",
    ),
}


def measure(name: str, browser: Browser, cache: Path, rounds: int) -> list[Figures]:
    """Record what the peer shows, once; then open its pages so many times.

    Raises:
        InstallError: it cannot be installed.
        TimeoutError: its server does not answer.
    """
    shown = SHOWN[name]
    python = interpreter(name, peer_class(name), cache) if name != "frameworm" else Path(os.sys.executable)  # type: ignore[attr-defined]
    folder = _recorded(name, python, cache)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"bin": str(python.parent), "folder": str(folder), "port": str(port)}
    first, *rest = (part.format(**values) for part in shown.command)
    command = [first, *rest] if "/" in first else [str(python), first, *rest]
    environment = {**os.environ, **{key: value.format(**values) for key, value in shown.environment.items()}}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _answers(address, process)
        found = []
        for _ in range(rounds):
            figures = {}
            for what, page in (("first rows", shown.runs), ("charts", shown.charts)):
                if page is not None:
                    with fresh_page(browser) as tab:
                        tab.set_default_timeout(60_000)
                        figures[what] = opened(tab, address + page[0], page[1])
            found.append(figures)
        return found
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)


def _recorded(name: str, python: Path, cache: Path) -> Path:
    folder = cache / "ui" / "peers" / name
    if not (folder / "recorded").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sizes = [str(one) for one in (RUNS, LONG, METRICS, STEPS)]
        script = str(PROJECT / "benchmarks" / "ui" / "record.py")
        environment = {**os.environ, **peer_class(name).environment}
        subprocess.run(
            [str(python), script, name, str(folder), *sizes],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        (folder / "recorded").touch()
    return folder


def _answers(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"its server does not answer at {address}")
