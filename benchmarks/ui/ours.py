"""What is measured of the page of frameworm; each function gives the figures of one round."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks.ui.browser import acted, fresh_page, heap_mib, opened, serving

Figures = dict[str, float]

TYPE = """
const type = (field, text) => {
  field.focus();
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, text);
  field.dispatchEvent(new InputEvent("input", { bubbles: true }));
};
"""
SETTLED = "document.querySelector('[role=grid]')?.getAttribute('aria-busy') === 'false'"


def table(browser: Browser, root: Path) -> Figures:
    """First rows of a server that has just started, a sort, a filter; then first rows in another browser."""
    rows = "document.querySelector('#line-0 a.name')"
    with serving(root) as address:
        with fresh_page(browser) as page:
            figures = {"first rows, first time": opened(page, address + "/", rows), **acts(page)}
        with fresh_page(browser) as page:
            figures["first rows, again"] = opened(page, address + "/", rows)
        return figures


def acts(page: Page) -> Figures:
    """Sort and filter the table that is shown."""
    figures = {}
    page.get_by_title("metrics.val_loss").wait_for()
    page.wait_for_timeout(500)  # the rest of the first page's requests, which are not measured
    head = "document.querySelector(\"button[title='metrics.val_loss']\")"
    name = "document.querySelector('#line-0 a.name')?.textContent"
    figures["sort"] = acted(
        page,
        f"const was = {name}; {head}.click()",
        f"{SETTLED} && {name} && {name} !== was",
    )
    total = "document.querySelector('[aria-label=\"Selected experiments\"]').innerText"
    figures["filter"] = acted(
        page,
        TYPE + f"const was = {total}; const field = document.querySelector('[aria-label=Query]');"
        "type(field, 'config.training.lr < 0.1');"
        "field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }))",
        f"{total} !== was && {SETTLED}",
    )
    return figures


def scroll(browser: Browser, root: Path) -> Figures:
    """Frames while the table is scrolled by 240 pixels a frame, 300 frames."""
    with serving(root) as address, fresh_page(browser) as page:
        opened(page, address + "/", "document.querySelector('#line-0 a.name')")
        page.wait_for_timeout(500)
        frames = sorted(
            page.evaluate(
                """() => new Promise((done) => {
                  const table = document.querySelector("[role=grid]");
                  const frames = [];
                  let last = performance.now();
                  const step = (now) => {
                    frames.push(now - last);
                    last = now;
                    table.scrollTop += 240;
                    if (frames.length < 301) requestAnimationFrame(step);
                    else done(frames.slice(1));
                  };
                  requestAnimationFrame(step);
                })"""
            )
        )
        return {
            "longest frame": frames[-1],
            "99 % of frames": frames[int(len(frames) * 0.99)],
            "frames over 50 ms": float(sum(frame > 50 for frame in frames)),
        }


def charts(browser: Browser, root: Path, experiments: int, metrics: int) -> Figures:
    """All charts of all experiments on one screen; then a zoom into one, fetched finely."""
    ids = ",".join(f"exp_{number:03d}" for number in range(1, experiments + 1))
    path = f"/compare?ids={ids}&tab=charts&chart.size=small"
    drawn = f"document.querySelectorAll('article table tbody tr:first-child').length >= {metrics}"
    size = {"width": 1600, "height": 1200}
    with serving(root) as address:
        with fresh_page(browser, size=size) as page:
            figures = {"all on screen, first time": opened(page, address + path, drawn)}
        with fresh_page(browser, size=size) as page:
            figures["all on screen, again"] = opened(page, address + path, drawn)
            page.wait_for_timeout(500)
            figures["zoom refined"] = zoom(page)
        return figures


def zoom(page: Page) -> float:
    """Drag over a tenth of the first chart; return the ms from letting go until its finer points are drawn."""
    page.evaluate("() => addEventListener('pointerup', () => (window.__up = performance.now()), true)")
    page.evaluate("() => addEventListener('mouseup', () => (window.__up = performance.now()), true)")
    box = page.locator("article canvas").first.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.6, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, y, steps=3)
    page.mouse.up()
    fine = "performance.getEntriesByType('resource').some((one) => one.name.includes('from=') && one.responseEnd > 0)"
    return float(page.evaluate(f"async () => (await __when(() => {fine})) - window.__up"))


def names(browser: Browser, root: Path, n: int) -> Figures:
    """Search one of very many metric names and draw it."""
    with serving(root) as address, fresh_page(browser) as page:
        opened(page, address + "/experiments/exp_001/charts", "document.querySelector('article table tbody tr')")
        page.wait_for_timeout(500)
        wanted = f"layers.{n // 16}/norm_3"
        field = "document.querySelector('input[aria-label=\"Search metrics\"]')"
        shown = f"document.querySelector('article[aria-label=\"{wanted}\"] table tbody tr')"
        return {"search and draw": acted(page, TYPE + f"type({field}, '{wanted}')", shown)}


STEERED = """
import sys, time
from frameworm.experiment import Experiment
with Experiment("live", {}, root_dir=sys.argv[1], capture_console=False, system_metrics_s=0) as exp:
    print("ready", flush=True)
    step = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            exp.log_metric("loss", 1 / (step + 1), step=step)
            step += 1
        print(time.time() * 1000, flush=True)
"""


class Training:
    """A process that logs so many points when told to."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", STEERED, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def log(self, n: int) -> float:
        """Log points; return the Unix ms at which the last one was on record."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{n}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def end(self) -> None:
        """Let it end well."""
        self._process.communicate()


def live(browser: Browser, root: Path, points: int = 10) -> Figures:
    """Points logged by another process, each until the page has drawn it."""
    training = Training(root)
    times = []
    try:
        training.log(1)
        with serving(root) as address, fresh_page(browser) as page:
            step = "document.querySelector('article table tbody td')?.textContent"
            opened(page, address + "/experiments/exp_001/charts", step)
            for number in range(1, points + 1):
                page.wait_for_timeout(700 + 130 * number % 500)  # not in step with the server's looks
                page.evaluate(
                    f"() => {{ window.__drawn = __when(() => {step} === '{number}').then(() => Date.now()); }}"
                )
                logged = training.log(1)
                times.append(float(page.evaluate("() => window.__drawn")) - logged)
    finally:
        training.end()
    times.sort()
    return {"logged to drawn, median": times[len(times) // 2], "logged to drawn, longest": times[-1]}


FASTER = 30
_COMPRESSED = f"""
(() => {{
  const start = Date.now(), now = Date.now, timeout = setTimeout, interval = setInterval, Source = EventSource;
  Date.now = () => start + (now() - start) * {FASTER};
  window.setTimeout = (run, ms = 0, ...rest) => timeout(run, ms / {FASTER}, ...rest);
  window.setInterval = (run, ms = 0, ...rest) => interval(run, ms / {FASTER}, ...rest);
  window.EventSource = class extends Source {{
    constructor(...given) {{ super(...given); window.__events = this; }}
  }};
}})();
"""


def memory(browser: Browser, root: Path, minutes: float = 60) -> Figures:
    """What a page's scripts hold in an hour of points, with its clock run thirty times as fast.

    Each ten points are drawn before the next come, as they are in a real hour: Chromium keeps some of the requests that
    are called off while their answer arrives.
    """
    training = Training(root)
    held = []
    try:
        training.log(100)
        with serving(root) as address, fresh_page(browser, _COMPRESSED) as page:
            session = page.context.new_cdp_session(page)
            session.send("HeapProfiler.enable")
            step = "document.querySelector('article table tbody td')?.textContent"
            opened(page, address + "/?charts=1&selected=exp_001", step)
            begin, updates = time.monotonic(), 0
            marks = [share * minutes * 60 / FASTER for share in (0.1, 0.25, 0.5, 0.75, 1.0)]
            while marks:
                training.log(10)
                updates += 1
                # Not sent by the server in time: its clock is not faster.
                page.evaluate(
                    """(version) => {
                      const told = { version, ids: ["exp_001"], removed: [], more: false };
                      window.__events.dispatchEvent(new MessageEvent("changed", { data: JSON.stringify(told) }));
                    }""",
                    str(updates),
                )
                page.evaluate(f"() => window.__when(() => {step} === '{99 + 10 * updates}')")
                if time.monotonic() - begin > marks[0]:
                    marks.pop(0)
                    held.append(heap_mib(page, session))
    finally:
        training.end()
    return {
        "held after 6 minutes, MiB": held[0],
        "held after half an hour, MiB": held[2],
        "held after an hour, MiB": held[-1],
        "updates": float(updates),
    }
