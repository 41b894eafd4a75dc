"""Chromium and servers, for measuring: times are taken by the page's own clock, at the frame that shows the result."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.environments import PROJECT

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZE = {"width": 1440, "height": 900}
LONGEST_MS = 120_000

_WATCH = """
// Resolves with the time at the second frame after `shown()` is true: it is on the screen by then.
window.__when = (shown) => new Promise((done, fail) => {
  const begin = performance.now();
  const look = () => {
    if (shown()) requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
    else if (performance.now() - begin > 60000) fail(new Error("it was not shown in a minute"));
    else requestAnimationFrame(look);
  };
  look();
});
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("Chromium is needed: install your system's package")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def fresh_page(browser: Browser, script: str = "", size: dict[str, int] | None = None) -> Iterator[Page]:
    """Open a page with an empty cache."""
    context = browser.new_context(viewport=size or SIZE)  # type: ignore[arg-type]
    context.add_init_script(_WATCH + script)
    page = context.new_page()
    page.set_default_timeout(LONGEST_MS)
    yield page
    context.close()


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """Run ``frameworm ui`` and give its address."""
    command = [sys.executable, "-m", "frameworm.experiment.cli", "ui", "--no-browser", "--no-token", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--root-dir", str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" is shown at ")[1].split()[0].rstrip("/")
    finally:
        process.terminate()
        process.communicate()


def opened(page: Page, address: str, shown: str) -> float:
    """Open an address; return the ms from the start of the navigation until ``shown``, a JavaScript expression."""
    page.add_init_script(f"window.__shown = window.__when(() => {shown});")
    page.goto(address, wait_until="commit")
    return float(page.evaluate("() => window.__shown"))


def acted(page: Page, act: str, shown: str) -> float:
    """Do something in the page; return the ms from then until ``shown``, a JavaScript expression, is true."""
    script = f"async () => {{ const begin = performance.now(); {act}; return (await __when(() => {shown})) - begin; }}"
    return float(page.evaluate(script))


def heap_mib(page: Page, session: Any) -> float:
    """Return the MiB that the page's scripts hold after the garbage is collected."""
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 2**20
