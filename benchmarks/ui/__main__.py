"""``python -m benchmarks.ui``: measure the page, then write UI.md."""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import click
from playwright.sync_api import Browser

from benchmarks.environments import PROJECT, InstallError
from benchmarks.ui import ours, peers, roots
from benchmarks.ui.browser import chromium

REPORT = PROJECT / "benchmarks" / "UI.md"
EXPERIMENTS, CHARTED, METRICS, POINTS, NAMES = 10_000, 100, 20, 100_000, 100_000

TARGETS = {
    "table": {
        "first rows, first time": "600 ms",
        "first rows, again": "600 ms",
        "sort": "150 ms",
        "filter": "150 ms",
    },
    "scroll": {"longest frame": "50 ms", "99 % of frames": "", "frames over 50 ms": "0"},
    "charts": {"all on screen, first time": "1,500 ms", "all on screen, again": "1,500 ms", "zoom refined": "200 ms"},
    "names": {"search and draw": "500 ms"},
    "live": {"logged to drawn, median": "1,500 ms", "logged to drawn, longest": "1,500 ms"},
    "memory": {
        "held after 6 minutes, MiB": "",
        "held after half an hour, MiB": "",
        "held after an hour, MiB": "as before",
        "updates": "",
    },
}
TITLES = {
    "table": f"{EXPERIMENTS:,} experiments × 50 params × 20 metrics",
    "scroll": "Scrolling that table",
    "charts": f"{METRICS} charts × {CHARTED} experiments × {POINTS:,} points",
    "names": f"One experiment of {NAMES:,} metric names",
    "live": "A point logged by another process",
    "memory": "An hour of points, each drawn before the next comes, on a clock thirty times as fast",
}


@click.command()
@click.argument("what", nargs=-1, type=click.Choice([*TITLES, "peers", "report"]))
@click.option("--rounds", default=3, show_default=True, help="How often each is measured; medians are reported.")
@click.option("--cache", type=click.Path(path_type=Path), default=PROJECT / ".bench", help="Default: .bench.")
def main(what: tuple[str, ...], rounds: int, cache: Path) -> None:
    """Measure WHAT (all by default), write benchmarks/UI.md; `report` alone writes it of what was measured before."""
    kept = cache / "ui" / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    wanted = what or (*TITLES, "peers")
    with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
        for name, measure in _measures(cache / "ui", Path(scratch)).items():
            if name in wanted:
                found = [measure(browser) for _ in range(1 if name == "memory" else rounds)]
                results[name] = _medians(found)
                click.echo(f"{name}: {results[name]}")
        for name in peers.SHOWN if "peers" in wanted else ():
            try:
                results[f"peer {name}"] = _medians(peers.measure(name, browser, cache, rounds))
            except (InstallError, TimeoutError, OSError) as error:
                results[f"peer {name}"] = {"left out": str(error)}
            except Exception as error:  # whatever a peer's page does, the others are measured
                results[f"peer {name}"] = {"left out": str(error).splitlines()[0]}
            click.echo(f"{name}: {results[f'peer {name}']}")
    if wanted != ("report",):
        now = {"date": date.today().isoformat(), "cores": os.cpu_count(), "load": os.getloadavg()[1]}
        times = {"rounds of peers": rounds} if "peers" in wanted else {}
        results["about"] = {**results.get("about", {}), **now, **times}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(results, indent=2))
    REPORT.write_text(report(results))
    click.echo(f"wrote {REPORT}")


def _measures(cache: Path, scratch: Path) -> dict[str, Callable[[Browser], ours.Figures]]:
    def fresh() -> Path:
        return Path(tempfile.mkdtemp(dir=scratch)) / "experiments"

    return {
        "table": lambda browser: ours.table(browser, roots.table(cache, EXPERIMENTS)),
        "scroll": lambda browser: ours.scroll(browser, roots.table(cache, EXPERIMENTS)),
        "charts": lambda browser: ours.charts(browser, roots.charts(cache, CHARTED, METRICS, POINTS), CHARTED, METRICS),
        "names": lambda browser: ours.names(browser, roots.names(cache, NAMES), NAMES),
        "live": lambda browser: ours.live(browser, fresh()),
        "memory": lambda browser: ours.memory(browser, fresh()),
    }


def _medians(found: list[ours.Figures]) -> dict[str, float]:
    return {key: round(statistics.median(one[key] for one in found), 1) for key in found[0]}


def report(results: dict[str, dict[str, float | str]]) -> str:
    """Return the whole page."""
    about = results["about"]
    lines = [
        "# How fast the page is",
        "",
        "`make bench-ui` writes this. Chromium shows the pages, driven by Playwright; times are of the page's own "
        "clock, from the start of a navigation or an act until the frame that shows the result, in ms, medians. "
        f"Measured {about['date']} on {about['cores']} cores of {platform.machine()} without a graphics card, at a "
        f"load of {about['load']:.1f} (every core that others keep busy makes all of it slower).",
        "",
        "| | measured | at most |",
        "| --- | ---: | ---: |",
    ]
    for name, title in TITLES.items():
        if name in results:
            lines.append(f"| **{title}** | | |")
            for key, target in TARGETS[name].items():
                lines.append(f"| {key} | {float(results[name][key]):,.0f} | {target} |")
    lines += [
        "",
        "*First time* is on a server that was started for it, *again* on one that has answered before, both with an "
        "empty cache of the browser. The table's experiments stand in the catalog alone, so its small charts are "
        "empty. A filter is timed from the Enter key. A zoom is timed from letting go of the mouse.",
        "",
        "## Beside its peers' pages",
        "",
        f"{peers.RUNS} runs of 50 params and {peers.METRICS} metrics, {peers.LONG} of them with {peers.STEPS} steps, "
        "recorded and served by each in its own environment; a page opened with an empty cache, until it shows rows of "
        "runs or charts, the median of "
        f"{about.get('rounds of peers', 0)} rounds. What a page has no address for is left out.",
        "",
        "| | first rows | charts | what the charts are |",
        "| --- | ---: | ---: | --- |",
    ]
    for name, shown in peers.SHOWN.items():
        found = results.get(f"peer {name}")
        if found is None:
            continue
        if "left out" in found:
            lines.append(f"| {shown.title} | left out | left out | {found['left out']} |")
            continue
        cells = [f"{found[key]:,.0f}" if key in found else "–" for key in ("first rows", "charts")]
        lines.append(f"| {shown.title} | {cells[0]} | {cells[1]} | {shown.note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
