"""The commands: each parses its arguments, asks the manager and prints.

rich, NumPy, pandas, SQLAlchemy and matplotlib are imported inside the commands that need them: ``--help`` and a
mistyped command answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from frameworm import __version__
from frameworm.experiment.cli.program import Program, complain, json_option, manager, root_dir_option
from frameworm.experiment.errors import StateError, StoreError
from frameworm.experiment.model import STATUSES

if TYPE_CHECKING:
    from frameworm.experiment.manager import ExperimentManager
    from frameworm.experiment.model import ExperimentInfo
    from frameworm.experiment.query.read import ExperimentReader


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="frameworm", message="%(prog)s %(version)s")
@root_dir_option(envvar="FRAMEWORM_ROOT_DIR")
def main() -> None:
    """List, compare, plot and search the experiments of a folder.

    An ID is an experiment's id, such as exp_001, or its uid.
    """


def _filter_options(command: Any) -> Any:
    """Add the options that choose experiments."""
    for option in (
        click.option("--limit", type=click.IntRange(min=0), help="At most so many, the newest."),
        click.option("--project", help="Only those of this project."),
        click.option("--tags", "tag_list", metavar="TAG,TAG", help="The same for several tags: all of them."),
        click.option("--tag", "tags", multiple=True, help="Only those with this tag; repeat for several."),
        click.option("--status", type=click.Choice(STATUSES), help="Only those in this status."),
    ):
        command = option(command)
    return command


def _tags(tags: Sequence[str], tag_list: str | None) -> list[str]:
    return [*tags, *filter(None, map(str.strip, (tag_list or "").split(",")))]


@main.command("list")
@_filter_options
@json_option
@root_dir_option()
def list_(
    status: str | None, tags: Sequence[str], tag_list: str | None, project: str | None, limit: int | None, as_json: bool
) -> None:
    """List experiments, newest first.

    Example: frameworm list --status completed --tag vae
    """
    store = manager()
    rows = store.list_rows(status=status, tags=_tags(tags, tag_list), project=project, limit=limit)
    _print_found(store, rows, as_json, nothing="no experiments")


def _print_found(store: ExperimentManager, rows: Sequence[dict[str, Any]], as_json: bool, nothing: str) -> None:
    if as_json:
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json(rows))
    elif rows:
        from frameworm.experiment.cli.tables import Screen
        from frameworm.experiment.cli.views import show_list

        show_list(Screen(), rows)
    else:
        click.echo(f"{nothing} in {store.root_dir}", err=True)


@main.command()
@click.argument("experiment_id", metavar="ID")
@click.option("--all", "everything", is_flag=True, help="Every metric, those of the system too.")
@json_option
@root_dir_option()
def show(experiment_id: str, everything: bool, as_json: bool) -> None:
    """Show one experiment: status, config, metrics, artifacts, notes.

    Example: frameworm show exp_001
    """
    store = manager()
    if as_json:
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json(store.get_experiment(experiment_id)))
        return
    from frameworm.experiment.cli.tables import Screen
    from frameworm.experiment.cli.views import show_experiment

    reader = store.reader(experiment_id)
    show_experiment(Screen(), reader, everything=everything)
    for damage in reader.damage:
        complain("warning", f"{damage}; the rest is shown")


@main.command()
@click.argument("experiment_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--metric", "-m", "metrics", multiple=True, help="Only this metric, such as loss or val_loss.min.")
@json_option
@root_dir_option()
def compare(experiment_ids: Sequence[str], metrics: Sequence[str], as_json: bool) -> None:
    """Compare experiments: the latest value of each metric, and the params that differ.

    Example: frameworm compare exp_001 exp_002 -m val_loss.min
    """
    from frameworm.experiment.cli.text import records, to_json

    store = manager()
    rows = records(store.compare_experiments(experiment_ids, metrics=metrics or None))
    names = list(rows[0])[4:]
    params = [name for name in names if name.startswith("config.")]
    values = {name: _metric_values(store, rows, name) for name in names if name not in params}
    if as_json:
        keys = ("experiment_id", "name", "status", "created_at")
        document = [
            {key: row[key] for key in keys}
            | {"metrics": {name: column[i] for name, column in values.items()}}
            | {"params": {name.removeprefix("config."): row[name] for name in params}}
            for i, row in enumerate(rows)
        ]
        click.echo(to_json(document))
        return
    from frameworm.experiment.cli.tables import Screen
    from frameworm.experiment.cli.views import quantities, show_comparison

    differing = {name.removeprefix("config."): [row[name] for row in rows] for name in params}
    show_comparison(Screen(), rows, quantities(values, differing))


def _metric_values(store: ExperimentManager, rows: Sequence[dict[str, Any]], column: str) -> list[float | None]:
    """Return a column's values; the NaN of an experiment that has no such metric becomes None."""
    from frameworm.experiment.query.metrics import resolve_metric

    values: list[float | None] = []
    for row in rows:
        value = row[column]
        if value != value:
            keys = store.reader(row["experiment_id"]).keys()
            names = {key.name for key in keys}
            metric = resolve_metric(column, names.__contains__)
            there = any(key.name == metric.name and metric.context in (None, key.context) for key in keys)
            value = value if there else None
        values.append(value)
    return values


@main.command()
@click.argument("first", metavar="ID")
@click.argument("second", metavar="ID")
@click.option("--metric", "-m", "metrics", multiple=True, help="Only this metric, such as loss or loss@val.")
@click.option("--code/--no-code", default=True, help="With or without the lines of code.  [default: with]")
@click.option("--all", "everything", is_flag=True, help="Leave out nothing for being long.")
@json_option
@root_dir_option()
def diff(first: str, second: str, metrics: Sequence[str], code: bool, everything: bool, as_json: bool) -> None:
    """Tell what differs between two experiments, where their metrics part, and what probably made them.

    Metrics are compared bit for bit, code as it ran, uncommitted changes included.

    Example: frameworm diff exp_001 exp_002 --metric loss
    """
    found = manager().diff(first, second, metrics=metrics or None)
    if as_json:
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json(found.to_dict()))
        return
    from frameworm.experiment.cli.difference import show_difference
    from frameworm.experiment.cli.tables import Screen

    show_difference(Screen(), found, code=code, everything=everything)


@main.command()
@click.argument("arguments", metavar="ID... METRIC", nargs=-1, required=True)
@click.option("--metric", "-m", "metrics", multiple=True, help="A metric; then all arguments are ids.")
@click.option("--output", "-o", metavar="FILE", help="Write a figure: .png, .svg or .pdf.")
@click.option(
    "--x", type=click.Choice(["step", "epoch", "time"]), default="step", show_default=True, help="The x axis."
)
@click.option("--smoothing", metavar="S", type=float, default=0.0, help="Running mean, from 0 (none) to below 1.")
@click.option("--log", is_flag=True, help="Logarithmic y axis.")
@json_option
@root_dir_option()
def plot(
    arguments: Sequence[str],
    metrics: Sequence[str],
    output: str | None,
    x: Literal["step", "epoch", "time"],
    smoothing: float,
    log: bool,
    as_json: bool,
) -> None:
    """Plot a metric of experiments, in the terminal or into a file.

    A metric is a name such as loss, or name@context such as loss@val. --json prints the points as they were logged.

    Example: frameworm plot exp_001 exp_002 loss --output loss.png
    """
    ids = list(arguments)
    wanted = list(metrics) or [ids.pop()]
    if not ids:
        raise click.UsageError(f"Give an ID and a METRIC, as in: frameworm plot exp_001 loss; got only {wanted[0]!r}.")
    store = manager()
    if output is not None:
        _plot_to_file(store, ids, wanted, output, x=x, smoothing=smoothing, log=log)
    if as_json:
        from frameworm.experiment.cli.points import points_document
        from frameworm.experiment.cli.text import to_json

        click.echo(to_json(points_document([store.reader(one) for one in ids], wanted), compact=True))
    elif output is not None:
        click.echo(output)
    else:
        from frameworm.experiment.cli.points import plot_in_terminal

        plot_in_terminal([store.reader(one) for one in ids], wanted, x=x, smoothing=smoothing, log=log)


def _plot_to_file(store: ExperimentManager, ids: list[str], metrics: list[str], path: str, **how: Any) -> None:
    from frameworm.experiment import visualization

    if len(metrics) == 1:
        visualization.plot_metric_comparison(store, ids, metrics[0], path, **how)
    elif len(ids) == 1:
        visualization.plot_multiple_metrics(store, ids[0], metrics, path, **how)
    else:
        visualization.plot_experiment_comparison_grid(store, ids, path, metrics=metrics, **how)


@main.command()
@click.argument("query")
@_filter_options
@json_option
@root_dir_option()
def search(
    query: str,
    status: str | None,
    tags: Sequence[str],
    tag_list: str | None,
    project: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the experiments that meet a query.

    A query compares config.KEY, metrics.NAME (its last value; or NAME.min, .max, .mean, .first, .count), status,
    name, project, created_at and others with values, joined by and, or, not.

    Example: frameworm search "config.training.lr < 1e-3 and metrics.val_loss.min <= 0.5 and 'mnist' in tags"
    """
    store = manager()
    rows = store.list_rows(query, status=status, tags=_tags(tags, tag_list), project=project, limit=limit)
    _print_found(store, rows, as_json, nothing="no experiment meets the query")


@main.command()
@json_option
@root_dir_option()
def summary(as_json: bool) -> None:
    """Count experiments by status and project, and show the newest.

    Example: frameworm summary --root-dir runs/experiments
    """
    store = manager()
    rows = store.list_rows()
    if as_json:
        from collections import Counter

        from frameworm.experiment.cli.text import to_json

        document = {
            "root_dir": store.root_dir,
            "experiments": len(rows),
            "by_status": {status: n for status in STATUSES if (n := sum(row["status"] == status for row in rows))},
            "by_project": dict(Counter(row["project"] for row in rows).most_common()),
            "duration_s": sum(row["duration_s"] or 0.0 for row in rows),
            "newest": rows[:10],
        }
        click.echo(to_json(document))
    elif rows:
        from frameworm.experiment.cli.tables import Screen
        from frameworm.experiment.cli.views import show_summary

        show_summary(Screen(), store.root_dir, rows)
    else:
        click.echo(f"no experiments in {store.root_dir}", err=True)


@main.command()
@click.argument("experiment_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also experiments that are running.")
@json_option
@root_dir_option()
def delete(experiment_ids: Sequence[str], yes: bool, force: bool, as_json: bool) -> None:
    """Move experiments to the trash, after asking.

    The trash is .frameworm/trash in the folder of experiments; `frameworm restore` undoes the deletion.

    Example: frameworm delete exp_001 exp_002
    """
    from frameworm.experiment.cli.text import to_json
    from frameworm.experiment.keeping.trash import check_nobody_writes

    store = manager()
    folders = store.folders_of(experiment_ids)  # says of all that are unknown at once
    doomed = [_doomed(store, one) for one in dict.fromkeys(experiment_ids)]
    if not force:
        check_nobody_writes(folders)
    if not yes:
        if not sys.stdin.isatty():
            raise StateError("there is no terminal to ask in; give --yes to delete without being asked")
        from frameworm.experiment.cli.tables import Screen
        from frameworm.experiment.cli.views import show_doomed, show_forks

        show_doomed(Screen(), doomed)
        show_forks(Screen(), store.forks_of([one for one, *_ in doomed]))
        if not click.confirm("Move to the trash?", err=as_json):
            click.echo("nothing was deleted", err=True)
            click.get_current_context().exit(1)
    deleted = []
    # Forks first: nobody need be told that they will miss what goes as well.
    for one, *_ in sorted(doomed, key=lambda item: -item[1].created_ms if item[1] and item[1].forked_from else 0):
        path = store.delete_experiment(one, force=force)
        deleted.append({"experiment_id": one, "moved_to": path})
        if not as_json:
            click.echo(f"{one} is now {path}")
    if as_json:
        click.echo(to_json(deleted))


def _doomed(store: ExperimentManager, experiment_id: str) -> tuple[str, ExperimentInfo | None, int, int]:
    """Return id, what is known, points and bytes; what is damaged can be deleted too."""
    from frameworm.experiment.storage.folder import find_folder

    try:
        reader: ExperimentReader = store.reader(experiment_id)
    except StoreError:
        folder = find_folder(store.root_dir, experiment_id)
        return experiment_id, None, 0, _size_bytes(folder)
    points = sum(summary.count for summary in reader.summaries())
    return reader.info.experiment_id, reader.info, points, _size_bytes(reader.exp_dir)


def _size_bytes(folder: Path) -> int:
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)


@main.command()
@json_option
@root_dir_option()
def rebuild(as_json: bool) -> None:
    """Make experiments.db anew from the folders.

    It is only an index: nothing is lost with it, and it is kept up to date by itself. This is for a copy that
    another program has changed.

    Example: frameworm rebuild
    """
    from frameworm.experiment.cli.text import count, to_json

    store = manager()
    n = store.rebuild()
    if as_json:
        click.echo(to_json({"root_dir": store.root_dir, "experiments": n}))
    else:
        click.echo(f"{count(n, 'experiment')} in {store.root_dir / 'experiments.db'}")
