"""The commands that keep a store healthy: doctor, compact, prune, the trash, edits after the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

import click

from frameworm.experiment.cli.program import json_option, manager, root_dir_option
from frameworm.experiment.errors import StateError
from frameworm.experiment.model import STATUSES
from frameworm.experiment.storage.folder import experiment_folders

if TYPE_CHECKING:
    from frameworm.experiment.keeping.prune import What


@contextmanager
def _progress(title: str, total: int, *, of_bytes: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal's stderr; it goes when the work is done."""
    if not sys.stderr.isatty():
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    amount = DownloadColumn() if of_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended without losing anything.")
@json_option
@root_dir_option()
def doctor(repair: bool, as_json: bool) -> None:
    """Check every file of the store: say what is wrong, where, and what mends it.

    --repair deletes nothing: damaged originals are kept in .frameworm/damaged, running experiments are not touched.
    Exits with 0 if all is well, with 1 if something was found, or is left after --repair.

    Example: frameworm doctor --repair
    """
    from frameworm.experiment.keeping.doctor import size_bytes

    store = manager()
    with _progress("Checking", 0 if as_json else size_bytes(store.root_dir)) as advance:
        report = store.doctor(repair=repair, advance=advance)
    if as_json:
        from frameworm.experiment.cli.health import report_document
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json(report_document(report)))
    else:
        from frameworm.experiment.cli.health import show_report
        from frameworm.experiment.cli.tables import Screen

        show_report(Screen(), report, repaired=repair)
    if not report.healthy:
        click.get_current_context().exit(1)


@click.command()
@click.argument("experiment_ids", metavar="[ID...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every experiment.")
@json_option
@root_dir_option()
def compact(experiment_ids: Sequence[str], everything: bool, as_json: bool) -> None:
    """Merge the files of ended experiments, so that each series lies together.

    Many processes, resumptions and edits leave many journals and segments. Merged, everything reads as before, bit
    for bit. Experiments that run or are damaged are skipped.

    Example: frameworm compact --all
    """
    if everything == bool(experiment_ids):
        raise click.UsageError("Give the IDs of experiments, or --all for every one.")
    store = manager()
    folders = None if everything else store.folders_of(experiment_ids)
    total = len(experiment_folders(store.root_dir)) if folders is None else len(folders)
    with _progress("Compacting", 0 if as_json else total, of_bytes=False) as advance:
        done = store.compact(None if everything else experiment_ids, advance=lambda: advance(1))
    if as_json:
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json([asdict(one) for one in done]))
    else:
        from frameworm.experiment.cli.health import show_compactions
        from frameworm.experiment.cli.tables import Screen

        show_compactions(Screen(), done)


@click.command()
@click.argument("query", required=False)
@click.option("--status", type=click.Choice(STATUSES), help="Only those in this status.")
@click.option("--tag", "tags", multiple=True, help="Only those with this tag; repeat for several.")
@click.option("--project", help="Only those of this project.")
@click.option("--older-than", metavar="AGE", help="Only those unchanged for so long: 30d, 12h, 2w.")
@click.option("--keep-best", metavar="N", type=click.IntRange(min=1), help="Leave the best N of them as they are.")
@click.option("--by", metavar="METRIC", help="What says which are best: val_loss, acc.max.")
@click.option(
    "--mode", type=click.Choice(["min", "max"]), default="min", show_default=True, help="Less or more is better."
)
@click.option("--artifacts-only", is_flag=True, help="Only artifacts and checkpoints; all else stays.")
@click.option("--checkpoints-only", is_flag=True, help="Only checkpoints; all else stays.")
@click.option("--dry-run", is_flag=True, help="Show what would go, and change nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@root_dir_option()
def prune(
    query: str | None,
    status: str | None,
    tags: Sequence[str],
    project: str | None,
    older_than: str | None,
    keep_best: int | None,
    by: str | None,
    mode: Literal["min", "max"],
    artifacts_only: bool,
    checkpoints_only: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Move experiments that meet all conditions to the trash, after asking.

    QUERY is as in `frameworm search`. Running experiments are never touched. `frameworm restore` brings back what
    went; disk space is freed by `frameworm trash empty`.

    Example: frameworm prune --artifacts-only --keep-best 5 --by val_loss
    """
    if artifacts_only and checkpoints_only:
        raise click.UsageError("--artifacts-only takes checkpoints as well: give one of the two.")
    if (keep_best is None) != (by is None):
        raise click.UsageError("--keep-best and --by go together, as in: --keep-best 5 --by val_loss")
    if not any((query, status, tags, project, older_than, by)):
        raise click.UsageError("Say what to prune: a QUERY, --status, --tag, --project, --older-than or --keep-best.")
    from frameworm.experiment.cli.health import pruned_document, show_pruned
    from frameworm.experiment.cli.text import to_json

    what: What = "checkpoints" if checkpoints_only else "artifacts" if artifacts_only else "experiments"
    store = manager()
    plans = store.prune(
        query,
        status=status,
        tags=tags or None,
        project=project,
        older_than=older_than,
        keep_best=keep_best or 0,
        by=by,
        mode=mode,
        what=what,
        dry_run=True,
    )
    if not as_json:
        from frameworm.experiment.cli.tables import Screen

        show_pruned(Screen(), plans, what)
        if what == "experiments":
            from frameworm.experiment.cli.views import show_forks

            show_forks(Screen(), store.forks_of([plan.experiment_id for plan in plans]))
    if plans and not dry_run and not yes and not _confirmed("Move to the trash?", as_json):
        click.echo("nothing was moved", err=True)
        click.get_current_context().exit(1)
    done = plans if dry_run else store.carry_out(plans, what)
    if as_json:
        click.echo(to_json(pruned_document(done, what, dry_run=dry_run)))
    elif done and not dry_run:
        click.echo("in the trash now: `frameworm restore ID` brings one back, `frameworm trash empty` frees the space")


def _confirmed(question: str, as_json: bool) -> bool:
    if not sys.stdin.isatty():
        raise StateError("there is no terminal to ask in; give --yes to go on without being asked")
    return click.confirm(question, err=as_json)


@click.command()
@click.argument("action", type=click.Choice(["empty"]), required=False)
@click.option("--older-than", metavar="AGE", help="Empty: only what has been there for so long: 30d, 12h, 2w.")
@click.option("--yes", "-y", is_flag=True, help="Empty: do not ask.")
@json_option
@root_dir_option()
def trash(action: str | None, older_than: str | None, yes: bool, as_json: bool) -> None:
    """List what is in the trash, or empty it for good, after asking.

    Example: frameworm trash empty --older-than 30d
    """
    from frameworm.experiment.cli.health import show_trash, trash_document
    from frameworm.experiment.cli.tables import Screen
    from frameworm.experiment.cli.text import count, size, to_json

    store = manager()
    found = store.trash()
    if action is None:
        if older_than is not None or yes:
            raise click.UsageError("--older-than and --yes are for `frameworm trash empty`.")
        if as_json:
            click.echo(to_json(trash_document(found)))
        else:
            show_trash(Screen(), found)
        return
    if older_than is not None:
        from frameworm.experiment.keeping.prune import seconds

        before_ms = time.time() * 1000 - seconds(older_than) * 1000
        found = [entry for entry in found if entry.deleted_ms < before_ms]
    if found and not yes:
        if not as_json:
            show_trash(Screen(), found)
        if not _confirmed("Remove for good?", as_json):
            click.echo("nothing was removed", err=True)
            click.get_current_context().exit(1)
    removed = store.empty_trash(older_than)
    if as_json:
        click.echo(to_json(trash_document(removed)))
    else:
        freed = size(sum(entry.size_bytes for entry in removed))
        click.echo(f"removed {freed} for good, from {count(len({e.experiment_id for e in removed}), 'experiment')}")


@click.command()
@click.argument("experiment_ids", metavar="ID...", nargs=-1, required=True)
@json_option
@root_dir_option()
def restore(experiment_ids: Sequence[str], as_json: bool) -> None:
    """Bring experiments back from the trash, or files that were taken out of them.

    Refuses where something lies in the place.

    Example: frameworm restore exp_001
    """
    from frameworm.experiment.cli.text import to_json

    store = manager()
    done = []
    for one in dict.fromkeys(experiment_ids):
        back = store.restore(one)
        done.append({"experiment_id": one, "restored": back})
        if not as_json:
            click.echo(f"{one} is back: {back[0]}" if len(back) == 1 else f"{one}: {len(back):,} files are back")
    if as_json:
        click.echo(to_json(done))


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("changes", metavar="ID... +TAG... -TAG...", nargs=-1, required=True)
@json_option
@root_dir_option()
def tag(changes: Sequence[str], as_json: bool) -> None:
    """Add tags to experiments and take others away, running or ended.

    Example: frameworm tag exp_001 exp_002 +good -todo
    """
    from frameworm.experiment.cli.text import inert, to_json

    ids = [one for one in changes if not one.startswith(("+", "-"))]
    add = [one[1:] for one in changes if one.startswith("+")]
    remove = [one[1:] for one in changes if one.startswith("-")]
    if not ids or not (add or remove):
        raise click.UsageError("Give an ID and what to change, as in: frameworm tag exp_001 +good -todo")
    store = manager()
    store.folders_of(ids)  # nothing is changed if one of them is unknown
    done = [{"experiment_id": one, "tags": store.edit_tags(one, add=add, remove=remove)} for one in dict.fromkeys(ids)]
    if as_json:
        click.echo(to_json(done))
        return
    for one in done:
        click.echo(f"{one['experiment_id']}: {inert(', '.join(one['tags'])) or 'no tags'}")


@click.command()
@click.argument("experiment_id", metavar="ID")
@click.argument("text")
@json_option
@root_dir_option()
def note(experiment_id: str, text: str, as_json: bool) -> None:
    """Add a note to an experiment, running or ended.

    Example: frameworm note exp_001 "loss spikes where the data was shuffled twice"
    """
    store = manager()
    store.add_note(experiment_id, text)
    if as_json:
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json({"experiment_id": experiment_id, "notes": store.get_experiment(experiment_id)["notes"]}))


COMMANDS: list[click.Command] = [doctor, compact, prune, trash, restore, tag, note]
