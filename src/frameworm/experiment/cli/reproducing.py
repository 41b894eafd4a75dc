"""The commands that run experiments again and carry them elsewhere: reproduce, export, import."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frameworm.experiment.cli.program import complain, json_option, manager, root_dir_option, root_folder
from frameworm.experiment.cli.text import count, inert, size
from frameworm.experiment.errors import ExperimentError

if TYPE_CHECKING:
    from frameworm.experiment.cli.tables import Screen
    from frameworm.experiment.reproduction.report import Prepared, Reproduction
    from frameworm.experiment.reproduction.run import Watcher
    from frameworm.experiment.reproduction.trust import Foreign

_MARKS = {"same": ("✓", "green"), "differs": ("✗", "red"), "unknown": ("?", "yellow")}
_DIFFERENCES_SHOWN = 10
_SUSPECTS_SHOWN = 5
_TAIL_SHOWN = 5
_COULD_NOT = 2
"""Exit code of --verify when nothing was compared."""


@click.command()
@click.argument("experiment_id", metavar="ID")
@click.option("--verify", is_flag=True, help="Exit with 0 if bit-identical, 1 if not, 2 if it could not be run.")
@click.option("--venv/--here", help="In a virtual environment of its packages, or with this Python.  [default: here]")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a config value; repeat for several."
)
@click.option("--project", metavar="FOLDER", help="Where the code's folder lies today, if it was moved.")
@click.option(
    "--link", "links", metavar="PATH", multiple=True, help="Lend a file of the project that was not recorded."
)
@click.option(
    "--share-large", is_flag=True, help="Use what is too large to be copied (1 GiB) where it lies; it could be changed."
)
@click.option("--trust", is_flag=True, help="Run it though it was not recorded here by you, such as an import.")
@click.option("--keep", is_flag=True, help="Do not remove the laid-out folder.")
@click.option("--output", is_flag=True, help="Show what the program prints.")
@json_option
@root_dir_option()
def reproduce(
    experiment_id: str,
    verify: bool,
    venv: bool,
    settings: Sequence[str],
    project: str | None,
    links: Sequence[str],
    share_large: bool,
    trust: bool,
    keep: bool,
    output: bool,
    as_json: bool,
) -> None:
    """Run an experiment again and compare what it logs bit for bit.

    Its code, changes and untracked files are laid out in a temporary folder, data is compared by fingerprint,
    variables and random generators are set as recorded. Then the recorded command is executed as a new experiment.

    --verify also refuses to run if the code cannot be proved to be what ran.

    What was not recorded here by you, such as an import, is shown and asked about first; without a terminal it is
    refused unless --trust is given.

    Example: frameworm reproduce exp_001 --verify
    """
    from frameworm.experiment.reproduction.command import parse_settings

    with ExitStack() as stack:
        watcher: Watcher | None = None if as_json else _watcher(stack, output)
        try:
            found = manager().reproduce(
                experiment_id,
                settings=parse_settings(tuple(settings)),
                venv=venv,
                project=project,
                links=links,
                share_large=share_large,
                trust=trust,
                strict=verify,
                keep=keep,
                watcher=watcher,
            )
        except ExperimentError as error:
            if not verify:
                raise
            stack.close()
            complain("error", str(error))
            click.get_current_context().exit(_COULD_NOT)
    if as_json:
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json(found.to_dict()))
    else:
        from frameworm.experiment.cli.tables import Screen

        _show_verdict(Screen(), found)
    if verify:
        click.get_current_context().exit({"identical": 0, "differs": 1, "nothing": _COULD_NOT}[found.outcome])


def _watcher(stack: ExitStack, output: bool) -> Watcher:
    """Return who shows what is found before the program is run, and then its progress or what it prints."""
    from frameworm.experiment.cli.tables import Screen
    from frameworm.experiment.reproduction.run import Watcher

    class Shown(Watcher):
        def __init__(self) -> None:
            self._advance: Any = None

        def trusts(self, foreign: Foreign) -> bool:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                return False
            text = f"{foreign.experiment_id} {inert(foreign.name)} was not recorded here by you. It would run"
            click.echo(text, err=True)
            for label, shown in foreign.lines():
                click.echo(f"  {label:<10} {inert(shown)}", err=True)
            return click.confirm("Run it?", err=True)

        def installing(self, packages: int, folder: Path) -> None:
            click.echo(
                f"Installing {count(packages, 'package')} into {inert(str(folder))}; once, for the next time too",
                err=True,
            )

        def prepared(self, prepared: Prepared) -> None:
            _show_prepared(Screen(), prepared)
            sys.stdout.flush()
            if sys.stderr.isatty() and not output:
                self._advance = _bar(stack, prepared)

        def printed(self, text: str) -> None:
            if output:
                click.echo(inert(text, lines=True), nl=False, err=True)

        def progressed(self, points: int) -> None:
            if self._advance is not None:
                self._advance(points)

    return Shown()


def _bar(stack: ExitStack, prepared: Prepared) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    text = TextColumn("{task.completed:,.0f} of {task.total:,.0f} points")
    columns = (TextColumn("{task.description}"), BarColumn(), text, TimeElapsedColumn(), TimeRemainingColumn())
    bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
    task = bar.add_task("Running", total=max(prepared.points, 1))
    return lambda points: bar.update(task, completed=points)


def _show_prepared(screen: Screen, prepared: Prepared) -> None:
    from frameworm.experiment.reproduction.report import PARTS

    screen.line(("Reproducing ", ""), (prepared.experiment_id, "bold"), f" {inert(prepared.name)}")
    for part in PARTS:
        label, shown, hidden = part, 0, 0
        for remark in (one for one in prepared.remarks if one.part == part):
            shown += remark.kind == "differs"
            if remark.kind == "differs" and shown > _DIFFERENCES_SHOWN:
                hidden += 1
                continue
            _hanging(screen, [f"  {label:<12} ", _MARKS[remark.kind], " "], remark.text)
            label = ""  # type: ignore[assignment]
        if hidden:
            screen.line(f"  {'':<12} ", _MARKS["differs"], f" and {hidden} more differences; --json lists all")
    _hanging(screen, [f"  {'running':<12}   "], " ".join(prepared.command))


def _hanging(screen: Screen, head: list[str | tuple[str, str]], text: str, style: str = "") -> None:
    """Print a text behind a head; in a terminal its further lines begin where the first does."""
    room = sum(len(one if isinstance(one, str) else one[0]) for one in head)
    first, *rest = textwrap.wrap(inert(text), max(20, screen.width - room), break_on_hyphens=False) or [""]
    screen.line(*head, (first, style))
    for line in rest:
        screen.line(" " * room, (line, style))


def _show_verdict(screen: Screen, found: Reproduction) -> None:
    mark = {"identical": "same", "differs": "differs", "nothing": "unknown"}[found.outcome]
    verdict = inert(found.verdict)
    if found.outcome == "identical":
        verdict = f"{found.reproduction_id} reproduces {found.experiment_id}: {verdict}"
    _hanging(screen, [_MARKS[mark], " "], verdict, "bold")
    again = found.diff.b
    if found.exit_code or again.status != found.diff.a.status:
        reason = f": {again.reason}" if again.reason else ""
        text = f"  {found.reproduction_id} is {again.status}{reason}; {found.experiment_id} is {found.diff.a.status}"
        screen.line(f"{inert(text)}; the program's exit code was {found.exit_code}")
        for line in found.tail[-_TAIL_SHOWN:] if found.exit_code else ():
            screen.line((f"    {inert(line)}", "dim"))
    if found.hint:
        screen.line(f"  {inert(found.hint)}")
    suspects = found.suspects
    if suspects:
        screen.line("  What differs, likeliest cause first:")
    for number, suspect in enumerate(suspects[:_SUSPECTS_SHOWN], 1):
        screen.line(f"  {number}. ", (inert(suspect.title), "bold"))
        for line in textwrap.wrap(inert(suspect.evidence), screen.width - 5):
            screen.line((f"     {line}", "dim"))
    if suspects:
        screen.line(f"  frameworm diff {found.experiment_id} {found.reproduction_id} shows all of it")
    if found.folder is not None:
        screen.line(f"  kept: {found.folder}")


@click.command()
@click.argument("experiment_id", metavar="ID")
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--no-artifacts", is_flag=True, help="Without artifacts and checkpoints.")
@click.option("--data", is_flag=True, help="With the files of its datasets, where they are unchanged.")
@json_option
@root_dir_option()
def export(experiment_id: str, path: Path, no_artifacts: bool, data: bool, as_json: bool) -> None:
    """Write an experiment to one file, with the commit it ran on: for reading and reproducing it elsewhere.

    Example: frameworm export exp_001 bundle.zip
    """
    done = manager().export(experiment_id, path, artifacts=not no_artifacts, data=data)
    if as_json:
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json(asdict(done)))
        return
    from frameworm.experiment.cli.tables import Screen

    screen = Screen()
    commits = f", commit {done.commits[0][:10]}" if done.commits else ""
    screen.line(
        _MARKS["same"], f" {inert(str(done.path))}: {size(done.size_bytes)}, {count(done.entries, 'file')}{commits}"
    )
    if done.ancestors:
        screen.line("  ", _MARKS["same"], f" with {', '.join(done.ancestors)}, whose points it inherits")
    for one in done.left_out:
        screen.line("  ", _MARKS["unknown"], f" not in it: {inert(one)}")


@click.command("import")
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@json_option
@root_dir_option()
def import_(path: Path, as_json: bool) -> None:
    """Take in an experiment from a file that export wrote, under a new id.

    Every byte is compared with its digest; nothing of it is executed.

    Example: frameworm import bundle.zip
    """
    root_folder().mkdir(parents=True, exist_ok=True)
    done = manager().import_bundle(path)
    if as_json:
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json(asdict(done)))
        return
    from frameworm.experiment.cli.tables import Screen

    screen = Screen()
    was = "" if done.experiment_id == done.original_id else f", {done.original_id} where it was recorded"
    what = f"{count(done.entries, 'file')}, {size(done.size_bytes)}"
    screen.line(_MARKS["same"], f" {done.experiment_id}{inert(was)}: {what} in {inert(str(done.path))}")
    if done.ancestors:
        screen.line("  ", _MARKS["same"], f" with {', '.join(done.ancestors)}, whose points it inherits")
    for one in done.left_out:
        screen.line("  ", _MARKS["unknown"], f" not in it: {inert(one)}")


COMMANDS: list[click.Command] = [reproduce, export, import_]
