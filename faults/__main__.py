"""``make faults``: do the harm, print the table, write RESULTS.md. The exit code is 1 if anything was lost."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from faults.harness import Result, Row, run_row
from faults.rows import ROWS

RESULTS = Path(__file__).with_name("RESULTS.md")
COLUMNS = ("row", "fault", "injected", "survived", "acknowledged", "lost", "seconds", "")


def main() -> None:
    """Run the rows asked for."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("-k", metavar="TEXT", help="only rows with this number, or with this in their name")
    parser.add_argument("--scale", choices=("short", "full"), default="full")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--list", action="store_true", help="list the rows and run none")
    parser.add_argument("--dir", type=Path, help="where to work; by default a new temporary folder")
    given = parser.parse_args()
    chosen = [row for row in ROWS if chosen_by(given.k, row)]
    if given.list or not chosen:
        for row in ROWS:
            print(f"{row.number:>3}  {row.name}: {row.holds}")
        sys.exit(0 if given.list else f"no row has {given.k!r} in its name")
    warnings.simplefilter("error")  # a row that expects a warning catches it itself
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=given.dir))
    results: list[Result] = []
    progress = Console(stderr=True)
    with progress.status("") as status:
        for row in chosen:
            status.update(f"{row.number} {row.name}")
            shown = f"{row.number:>3}  {row.name}"
            result = run_row(
                row,
                folder,
                full=given.scale == "full",
                progress=lambda done, shown=shown: status.update(f"{shown}: {done}"),  # type: ignore[misc]
            )
            results.append(result)
            progress.print(f"{shown}: {verdict(result)}", highlight=False, markup=False, soft_wrap=True)
    lost = [result for result in results if not result.held]
    if given.json:
        print(json.dumps([as_dict(result) for result in results], indent=2))
    else:
        show(results)
    before = RESULTS.read_text(encoding="utf-8") if given.k is not None and RESULTS.exists() else ""
    if given.k is None or f"--scale {given.scale}`" in before:  # rows of one scale only stand together
        RESULTS.write_text(as_markdown(results, given.scale, before), encoding="utf-8")
    for result in lost:
        print(f"\n{result.row.number} {result.row.name}", *result.run.failures[:5], sep="\n", file=sys.stderr)
    if lost:
        print(f"what is left of the failed trials lies in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if lost else 0)


def chosen_by(text: str | None, row: Row) -> bool:
    """Whether ``-k TEXT`` means this row: a number is the row's own, anything else part of its name."""
    if text is None:
        return True
    return row.number == int(text) if text.isdecimal() else text in row.name


def verdict(result: Result) -> str:
    """Return what became of a row, in a few words."""
    if result.left_out:
        return f"left out: {result.left_out}"
    if result.held:
        return "held"
    return f"FAILED {len(result.run.failures)}: {result.run.failures[0].splitlines()[0]}"


def cells(result: Result) -> list[str]:
    """Return the row's cells of the table."""
    run, row = result.run, result.row
    if result.left_out:
        return [str(row.number), row.name, "", "", "", "", "", f"left out: {result.left_out}"]
    counts = [f"{n:,}" for n in (run.injected, run.survived, run.acknowledged, run.lost)]
    remark = "; ".join(run.remarks) if result.held else verdict(result)
    return [str(row.number), row.name, *counts, f"{run.seconds:.1f}", remark]


def as_dict(result: Result) -> dict[str, object]:
    """Return the row for ``--json``."""
    run = result.run
    return {
        "row": result.row.number,
        "fault": result.row.name,
        "holds": result.row.holds,
        "left_out": result.left_out or None,
        "injected": run.injected,
        "survived": run.survived,
        "points_acknowledged": run.acknowledged,
        "points_lost": run.lost,
        "seconds": round(run.seconds, 3),
        "failures": run.failures,
        "remarks": run.remarks,
    }


def show(results: list[Result]) -> None:
    """Print the table."""
    table = Table(*COLUMNS[:2], box=None, pad_edge=False)
    for name in COLUMNS[2:7]:
        table.add_column(name, justify="right")
    table.add_column(COLUMNS[7])
    for result in results:
        table.add_row(*map(str, cells(result)))
    Console(width=None if sys.stdout.isatty() else 200).print(table, markup=False, highlight=False)


def as_markdown(results: list[Result], scale: str, before: str = "") -> str:
    """Return RESULTS.md; rows that were not run are taken over from the one before."""
    rows = {_key(line): line for line in before.splitlines() if line[:3] in {f"| {digit}" for digit in "123456789"}}
    for result in results:
        line = "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells(result)) + " |"
        rows[_key(line)] = line
    lines = [
        "# Faults: results",
        "",
        f"Made by `python -m faults --scale {scale}`, each row when it was last run, the latest on "
        f"{datetime.now(UTC):%Y-%m-%d}: {platform.platform()}, Python {platform.python_version()}. What each row does "
        "is told in [docs/faults.md](../docs/faults.md).",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---:|---|---:|---:|---:|---:|---:|---|",
        *rows.values(),
    ]
    return "\n".join(lines) + "\n"


def _key(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split("|")[1:3])


if __name__ == "__main__":
    main()
