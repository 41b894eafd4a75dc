"""A browser, servers, and the folders they show. Each test gets a fresh context; what goes wrong in a page fails it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, expect, sync_playwright

from frameworm.experiment import Experiment
from frameworm.experiment.server.access import Access
from frameworm.experiment.storage.catalog import Catalog

PROJECT = Path(__file__).parents[2]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000
"""So long a state may take on a machine that is busy with other things; a quiet one needs a fraction."""

expect.set_options(timeout=PATIENCE_MS)

VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} refuses ${event.blockedURI || event.sourceFile}`));
"""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this folder."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed: .ci/run installs it")
        pytest.skip("chromium is not installed")
    if not (PROJECT / "web" / "dist" / "index.html").exists():
        pytest.fail("the page is not built: make web")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


class Server(NamedTuple):
    """``frameworm ui`` that runs, and the link that it printed."""

    process: subprocess.Popen[str]
    address: str
    root: Path
    link: str
    key_file: Path

    def cookie(self) -> dict[str, Any]:
        """Return the cookie of who was let in."""
        port = urlsplit(self.address).port or 80
        name, _, value = Access(self.key_file.read_bytes()).cookie(port).partition(";")[0].partition("=")
        about = {"domain": "127.0.0.1", "path": "/", "expires": -1, "secure": False}
        return {"name": name, "value": value, "httpOnly": True, "sameSite": "Strict", **about}

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def start(root: Path, *options: str) -> Server:
    """Start ``frameworm ui`` and return it as soon as it has told its address."""
    command = [sys.executable, "-m", "frameworm.experiment.cli", "ui", "--no-browser"]
    process = subprocess.Popen(
        [*command, *([] if "--port" in options else ["--port", "0"]), "--root-dir", str(root), *options],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " is shown at http://" in line, line
    link = line.split(" is shown at ")[1].split()[0]
    key_file = Path(process.stdout.readline().split(" token in ")[1].strip())
    return Server(process, f"http://{urlsplit(link).netloc}", root, link, key_file)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Show a folder of this test's own."""
    servers: list[Server] = []

    def started(root: Path, *options: str) -> Server:
        servers.append(start(root, *options))
        return servers[-1]

    yield started
    for server in servers:
        server.stop()


def _shown(root: Path) -> Iterator[Server]:
    server = start(root)
    yield server
    server.stop()


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Show what a real training in a git repository left; no test changes it."""
    folder = tmp_path_factory.mktemp("trained")
    repository = folder / "repository"
    repository.mkdir()
    shutil.copy(Path(__file__).with_name("training.py"), repository / "train.py")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Train on rings"]):
        names = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *names, *command], cwd=repository, check=True)
    with (repository / "train.py").open("a") as file:
        file.write("# a change that is not committed\n")
    (folder / "files").mkdir()
    command = [sys.executable, "train.py", "sweep", str(folder / "experiments"), str(folder / "files")]
    done = subprocess.run(command, cwd=repository, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    yield from _shown(folder / "experiments")


@pytest.fixture(scope="package")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Show 1,000 experiments of 50 params and 20 metrics, which are in the catalog only; no test changes them."""
    sys.path.insert(0, str(PROJECT / "benchmarks"))  # its modules import one another by their own names
    try:
        from engine.catalog import entries
    finally:
        sys.path.pop(0)
    root = tmp_path_factory.mktemp("many") / "experiments"
    root.mkdir()
    Catalog.open(root).upsert_many(list(entries(root, 1000)))
    yield from _shown(root)


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """Record six small experiments that a test may change."""
    for number in range(1, 7):
        config = {"lr": 10.0**-number, "model": "vae" if number % 2 else "gan"}
        with Experiment(
            name=f"own {number}", config=config, root_dir=tmp_path / "own", capture_console=False, system_metrics_s=0
        ) as exp:
            for step in range(5):
                exp.log_metric("loss", number / (step + 1), step=step)
    return tmp_path / "own"


class Visit:
    """One visitor: a browser context, and what went wrong in its pages."""

    def __init__(self, context: BrowserContext, server: Server) -> None:
        self.context, self.server = context, server
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.allowed: list[str] = []
        context.add_init_script(VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(f"error: {error.error}"))
        context.on("dialog", self._dialog)
        context.on("request", self._request)

    def open(self, path: str = "/") -> Page:
        """Open a page of the dashboard."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(self.server.address + path)
        return page

    def allow(self, pattern: str) -> None:
        """Expect a problem of this text, such as the refusal of a wrong query."""
        self.allowed.append(pattern)

    def check(self) -> None:
        """Fail if anything went wrong in any page."""
        assert [one for one in self.problems if not any(re.search(allowed, one) for allowed in self.allowed)] == []

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console: {message.text} {message.location.get('url', '')}")

    def _dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.server.address + "/", "blob:", "data:")):
            self.problems.append(f"asked another host: {request.url}")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Visit a server with a fresh context; all that went wrong fails the test at its end."""
    visits: list[Visit] = []

    def begin(server: Server, *, authenticated: bool = True, **options: Any) -> Visit:
        if authenticated:
            options["storage_state"] = {"cookies": [server.cookie()], "origins": []}
        settings = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce", **options}
        visits.append(Visit(browser.new_context(**settings), server))
        return visits[-1]

    yield begin
    for one in visits:
        one.context.close()
    for one in visits:
        one.check()
