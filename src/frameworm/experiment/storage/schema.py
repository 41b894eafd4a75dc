"""The catalog's tables, and the rows that one experiment fills in them.

One SQLAlchemy Core schema, meant to serve SQLite and PostgreSQL; ``docs/formats/catalog.md`` explains every
column. NaN is stored as NULL: a series' row that is there with a NULL ``last`` ended with NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import Any, NamedTuple

import sqlalchemy as sa

from frameworm.experiment.config import dump_json, flatten
from frameworm.experiment.errors import InputError
from frameworm.experiment.model import ENDED, ExperimentInfo, SeriesSummary, default_context
from frameworm.experiment.storage.folder import id_of, number_of

schema = sa.MetaData()
_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Flag = sa.Boolean(
    create_constraint=True
)  # else SQLite keeps a text there, which Python takes for true and SQL does not

meta = sa.Table(
    "meta",
    schema,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

experiments = sa.Table(
    "experiments",
    schema,
    sa.Column("number", _Number, primary_key=True, autoincrement=False),
    sa.Column("experiment_id", sa.Text, nullable=False),
    sa.Column("uid", sa.Text, nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("started_ms", sa.BigInteger),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("duration_s", sa.Double),
    sa.Column("git_hash", sa.Text),
    sa.Column("git_branch", sa.Text),
    sa.Column("git_dirty", _Flag),
    sa.Column("notes", sa.Text, nullable=False),
    # Once more what the table of tags says: 100,000 rows are listed 0.3 s sooner without putting it together.
    sa.Column("tag_list", sa.Text, nullable=False),
    sa.Column("damage", sa.Text),
    sa.Column("fork_of", sa.Text),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("stale", _Flag, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Index("experiments_newest", "created_ms", "number"),
    sa.Index("experiments_folder", "stale", "folder"),
    # Few are forks. The same condition for PostgreSQL, here, would import all that speaks to it.
    sa.Index("experiments_forks", "fork_of", sqlite_where=sa.text("fork_of IS NOT NULL")),
)

tags = sa.Table(
    "tags",
    schema,
    sa.Column("experiment", _Number, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("tag", sa.Text, nullable=False),
    sa.Index("tags_tag", "tag", "experiment"),
    sqlite_with_rowid=False,
)

# Clustered by key (and by series name), because a search reads one key of every experiment, and reading one
# experiment through the index beside touches tens of rows only.
params = sa.Table(
    "params",
    schema,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("experiment", _Number, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("number", sa.Double),
    sa.Column("text", sa.Text),
    sa.Index("params_experiment", "experiment"),
    sqlite_with_rowid=False,
)

series = sa.Table(
    "series",
    schema,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("experiment", _Number, primary_key=True),
    sa.Column("context", sa.Text, primary_key=True),
    sa.Column("is_default", _Flag, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("nan_count", sa.BigInteger, nullable=False),
    sa.Column("first", sa.Double),
    sa.Column("last", sa.Double),
    sa.Column("min", sa.Double),
    sa.Column("max", sa.Double),
    sa.Column("mean", sa.Double),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("last_epoch", sa.Integer, nullable=False),
    sa.Column("first_time_ms", sa.BigInteger, nullable=False),
    sa.Column("last_time_ms", sa.BigInteger, nullable=False),
    sa.Index("series_experiment", "experiment"),
    sqlite_with_rowid=False,
)

artifacts = sa.Table(
    "artifacts",
    schema,
    sa.Column("experiment", _Number, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("artifact_type", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("logged_ms", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

alerts = sa.Table(
    "alerts",
    schema,
    sa.Column("experiment", _Number, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Index("alerts_time", "time_ms"),
    sqlite_with_rowid=False,
)

DETAILS = (tags, params, series, artifacts, alerts)


class Entry(NamedTuple):
    """What the catalog is told of one experiment.

    ``stale`` says that the folder may know more by now; ``fingerprint`` is any text that changes with the
    folder's journals, so that a reader need not read a stale folder that has not changed. ``damage`` says what of it
    cannot be read; empty if nothing.
    """

    info: ExperimentInfo
    summaries: Sequence[SeriesSummary]
    stale: bool
    fingerprint: str = ""
    damage: str = ""


def is_stale(info: ExperimentInfo) -> bool:
    """Whether the folder may have more to tell: the experiment goes on, or another process still logs to it."""
    return info.status not in ENDED or any(not writer.get("closed", True) for writer in info.writers)


def experiment_number(experiment_id: str) -> int:
    """Return 7 for ``exp_007``: the key of the experiment's rows.

    Raises:
        InputError: it is not an id as this package writes them.
    """
    number = number_of(experiment_id)
    if number is None or id_of(number) != experiment_id:
        raise InputError(f"{experiment_id!r} is not an experiment id: ids look like exp_001")
    return number


def real_or_null(value: float) -> float | None:
    """NaN is stored as NULL, by us and not by the driver, so that every database does the same."""
    return None if math.isnan(value) else value


def param_number(value: object) -> float | None:
    """Return a param's value as the number it compares as; None for what is not a number (bool, NaN, text)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return real_or_null(float(value))
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def add_rows(rows: dict[sa.Table, list[dict[str, Any]]], entry: Entry) -> int:
    """Append one experiment's rows to those of each table but ``series`` and return its number."""
    info = entry.info
    number = experiment_number(info.experiment_id)
    rows[experiments].append(
        {
            "number": number,
            "experiment_id": info.experiment_id,
            "uid": info.uid,
            "name": info.name,
            "project": info.project,
            "description": info.description,
            "status": info.status,
            "created_ms": info.created_ms,
            "updated_ms": info.updated_ms,
            "started_ms": info.started_ms,
            "ended_ms": info.ended_ms,
            "duration_s": info.duration_s,
            "git_hash": info.git_hash,
            "git_branch": info.git.get("branch"),
            "git_dirty": info.git_dirty,
            "notes": "\n".join(note.text for note in info.notes),
            "tag_list": dump_json(list(info.tags)),
            "damage": entry.damage or None,
            "fork_of": info.forked_from.get("uid"),
            "folder": info.path.name,
            "stale": entry.stale,
            "fingerprint": entry.fingerprint,
        }
    )
    rows[tags] += [{"experiment": number, "position": position, "tag": tag} for position, tag in enumerate(info.tags)]
    rows[params] += [
        {
            "key": key,
            "experiment": number,
            "value": dump_json(value),
            "number": param_number(value),
            "text": value if isinstance(value, str) else None,
        }
        for key, value in flatten(info.config).items()
    ]
    rows[artifacts] += [
        dict(zip(_ARTIFACT_COLUMNS, astuple(artifact), strict=True), experiment=number) for artifact in info.artifacts
    ]
    rows[alerts] += [
        {"experiment": number, "position": position, **alert} for position, alert in enumerate(info.alerts)
    ]
    return number


def series_rows(number: int, summaries: Sequence[SeriesSummary]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of an experiment's series, values in the order of the table's columns.

    One by one, as there may be 100,000 of them: as dicts, all at once, they take 100 MB and a second.
    """
    contexts: dict[str, str | list[str]] = {}  # most names have one: no list is made for it
    for name, context, *_ in summaries:
        known = contexts.setdefault(name, context)
        if known != context:
            contexts[name] = [known, context] if isinstance(known, str) else [*known, context]
    default = {name: default_context([c] if isinstance(c, str) else c) for name, c in contexts.items()}
    for s in summaries:
        name, context, count, nan_count, first, last, low, high, _, step, epoch, first_ms, last_ms = s
        mean = s.mean
        yield (
            name, number, context, context == default[name], count, nan_count,
            # NaN is the number that differs from itself: as ``real_or_null`` has it, without 500,000 calls
            None if first != first else first,
            None if last != last else last,
            None if low != low else low,
            None if high != high else high,
            None if mean != mean else mean,
            step, epoch, first_ms, last_ms,
        )  # fmt: skip


_ARTIFACT_COLUMNS = ("name", "path", "artifact_type", "version", "size_bytes", "digest", "logged_ms")
