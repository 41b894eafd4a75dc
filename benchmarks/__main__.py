"""``python -m benchmarks``: measure, then write the report."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from benchmarks import footprint, report
from benchmarks.drivers import NAMES
from benchmarks.environments import PROJECT
from benchmarks.harness import Harness
from benchmarks.results import Results
from benchmarks.workloads import chosen

HERE = Path(__file__).parent


def _peers(context: click.Context, option: click.Parameter, value: str | None) -> list[str]:
    wanted = NAMES if value is None else value.split(",")
    found = [name for name in NAMES if name in wanted or name.split("-")[0] in wanted]
    unknown = [one for one in wanted if one not in NAMES and one not in {name.split("-")[0] for name in NAMES}]
    if unknown:
        raise click.BadParameter(f"no peer {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return found


@click.command()
@click.argument("what", nargs=-1)
@click.option("--peers", callback=_peers, help="Names joined by commas; all by default.")
@click.option("--rounds", default=3, show_default=True, help="How often each peer does each workload.")
@click.option("--quick", is_flag=True, help="Small sizes, into .bench/quick/: shows that all works, not how fast.")
@click.option("--here", is_flag=True, help="Run frameworm in this interpreter, not in an environment made for it.")
@click.option("--cache", type=click.Path(path_type=Path), default=PROJECT / ".bench", help="Default: .bench.")
@click.option("--into", type=click.Path(path_type=Path), help="Folder of RESULTS.md, results.svg, results.json.")
def main(
    what: tuple[str, ...], peers: list[str], rounds: int, quick: bool, here: bool, cache: Path, into: Path | None
) -> None:
    """Measure WHAT (workloads or groups of them, all by default) and write the report.

    `report` alone writes the report anew from what was measured before; `import` and `installed` are workloads too.
    """
    folder = into or (cache / "quick" if quick else HERE)
    results = Results(folder / "results.json")
    console = Console(stderr=True)
    harness = Harness(results, cache, rounds=rounds, quick=quick, here=here, console=console)
    others = {footprint.IMPORT, footprint.INSTALLED}
    try:
        workloads = [] if what and set(what) <= others | {"report"} else chosen(tuple(set(what) - others))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not what or footprint.IMPORT in what:
        footprint.measure_import(harness, peers, max(rounds, 1 if quick else 5))
    if not what or footprint.INSTALLED in what:
        footprint.note_sizes(harness, peers)
    harness.run(workloads, peers)
    for path in report.write(results, folder, quick=quick):
        console.print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
