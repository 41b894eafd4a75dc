"""The command ``leaderboard``: experiments or groups from best to worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from frameworm.experiment.cli.program import json_option, manager, root_dir_option

if TYPE_CHECKING:
    import pandas as pd

    from frameworm.experiment.cli.tables import Column

_PARAMS_FROM = 5
"""Columns before the params in the table of experiments."""
_FEW = 10
"""Values below which the bootstrap's interval is too narrow to be shown without saying so."""


@click.command()
@click.argument("metric")
@click.option("--query", "-q", metavar="QUERY", help="Only experiments that meet it, as in search.")
@click.option(
    "--group-by",
    "-g",
    "columns",
    metavar="COLUMN",
    multiple=True,
    help="Rank groups, such as config.model; repeatable.",
)
@click.option("--at", default="last", show_default=True, metavar="AT", help="Of each: last, min, max or step=N.")
@click.option(
    "--mode", type=click.Choice(["min", "max"]), help="Which end leads.  [default: max for --at max, else min]"
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@json_option
@root_dir_option()
def leaderboard(
    metric: str,
    query: str | None,
    columns: Sequence[str],
    at: str,
    mode: Literal["min", "max"] | None,
    limit: int,
    as_json: bool,
) -> None:
    """Rank experiments by a metric, or groups by their mean over seeds.

    A metric is a name such as loss, or name@context such as loss@val. A group is shown with the mean of its n
    experiments and the 95 % bootstrap interval of that mean. Equal values share a rank.

    Example: frameworm leaderboard val_loss --at min --group-by config.model
    """
    store = manager()
    board = store.leaderboard(metric, query, group_by=columns or None, at=at, mode=mode, limit=limit)
    if as_json:
        from frameworm.experiment.cli.text import records, to_json

        click.echo(to_json([_document(row, columns) for row in records(board)]))
    elif not len(board) and not board.attrs["without"]:
        click.echo(f"no experiment {'meets the query' if query else 'is there'} in {store.root_dir}", err=True)
    else:
        _show(board, metric, columns, at, mode or ("max" if at == "max" else "min"))


def _document(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    if not columns:
        known = dict(list(row.items())[:_PARAMS_FROM])
        return known | {"params": {k.removeprefix("config."): row[k] for k in row if k not in known}}
    group = {column: row.pop(column) for column in dict.fromkeys(columns)}
    return {"rank": row.pop("rank"), "group": group} | row


def _show(board: pd.DataFrame, metric: str, columns: Sequence[str], at: str, mode: Literal["min", "max"]) -> None:
    from frameworm.experiment.cli.tables import Screen
    from frameworm.experiment.cli.text import count, inert

    screen = Screen()
    of_each = {"last": "last value", "min": "lowest value", "max": "highest value"}.get(at, f"value at {inert(at)}")
    order = "lowest first" if mode == "min" else "highest first"
    means = "mean of " if columns else ""
    screen.line((inert(metric), "bold"), (f"  {means}the {of_each} of each experiment, {order}", "dim"))
    screen.table(_group_columns(board, columns) if columns else _experiment_columns(board))
    total, without = board.attrs["total"], board.attrs["without"]
    if len(board) < total:
        what = "groups" if columns else "experiments"
        screen.line((f"the first {len(board)} of {total:,} {what}; --limit {total} shows all", "dim"))
    if without:
        why = "that failed, crashed or never logged it" if columns else "that never logged it"
        screen.line((f"without {count(without, 'experiment')} {why}", "dim"))
    if columns and any(1 < n < _FEW for n in board["n"]):
        screen.line((f"an interval of fewer than {_FEW} values is too narrow", "dim"))


def _ranks(board: pd.DataFrame) -> Column:
    from frameworm.experiment.cli.tables import Column

    ranks = ["" if rank != rank else str(rank) for rank in board["rank"].astype(object).fillna(math.nan)]
    return Column("rank", [(rank, "bold green" if rank == "1" else "") for rank in ranks], right=True)


def _experiment_columns(board: pd.DataFrame) -> list[Column]:
    from frameworm.experiment.cli.tables import Column, status_span
    from frameworm.experiment.cli.text import inert, numbers, param, records

    rows = records(board)
    values = [row["value"] for row in rows]
    texts = numbers(values)
    table = [
        _ranks(board),
        Column("id", [row["experiment_id"] for row in rows], style="bold"),
        Column("name", [inert(row["name"]) for row in rows], shrink=16),
        Column("value", texts, right=True, style="bold"),
        Column("behind", _behind(values, texts), right=True, drop=1, style="dim"),
        Column("status", [status_span(row["status"]) for row in rows], drop=2),
    ]
    for i, name in enumerate(list(board.columns)[_PARAMS_FROM:]):
        cells = ["" if row[name] is None else param(row[name]) for row in rows]
        table.append(
            Column(inert(name.removeprefix("config.")), cells, right=True, drop=3 + i, shrink=10, style="cyan")
        )
    return table


def _behind(values: Sequence[float], texts: Sequence[str]) -> list[str]:
    """Return how far each value is from the first, with the decimals of the values' texts where they show it."""
    gaps = [value - values[0] for value in values]
    decimals = max((len(text.partition(".")[2]) for text in texts if "e" not in text), default=0)
    shown = [f"{gap:+,.{decimals}f}" if math.isfinite(gap) and gap else "" for gap in gaps]
    return [f"{gap:+.1e}" if text and not text.strip("+-0.") else text for gap, text in zip(gaps, shown, strict=True)]


def _group_columns(board: pd.DataFrame, columns: Sequence[str]) -> list[Column]:
    from frameworm.experiment.cli.tables import Column
    from frameworm.experiment.cli.text import inert, numbers, param, records

    rows = records(board)
    names = ("mean", "ci_low", "ci_high", "std", "median", "iqm", "min", "max")
    # Of the same quantity: all with the same decimals. A NaN is a value that is not defined, and is left blank.
    every = numbers([None if row[name] != row[name] else row[name] for name in names for row in rows])
    cells = {name: every[i * len(rows) : (i + 1) * len(rows)] for i, name in enumerate(names)}
    intervals = [low and f"{low} … {high}" for low, high in zip(cells["ci_low"], cells["ci_high"], strict=True)]
    sizes = [str(row["n"]) if row["n"] == len(row["ids"]) else f"{row['n']} of {len(row['ids'])}" for row in rows]
    groups = [
        Column(
            inert(column.removeprefix("config.")),
            ["" if row[column] is None else param(row[column]) for row in rows],
            shrink=12,
            style="cyan",
        )
        for column in dict.fromkeys(columns)
    ]
    return [
        _ranks(board),
        *groups,
        Column("n", sizes, right=True),
        Column("mean", cells["mean"], right=True, style="bold"),
        Column("95 % interval", intervals, right=True),
        Column("std", cells["std"], right=True, drop=1),
        Column("median", cells["median"], right=True, drop=5, style="dim"),
        Column("iqm", cells["iqm"], right=True, drop=4, style="dim"),
        Column("min", cells["min"], right=True, drop=2, style="dim"),
        Column("max", cells["max"], right=True, drop=3, style="dim"),
    ]
