"""What each command shows: values of an experiment laid out as tables and lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.cli.tables import Column, Line, Screen, Span, middle, status_span, tree
from frameworm.experiment.cli.text import ago, count, duration, inert, local_time, numbers, param, size
from frameworm.experiment.model import SYSTEM_CONTEXT, ExperimentInfo, SeriesSummary

if TYPE_CHECKING:
    from frameworm.experiment.query.read import ExperimentReader

_METRICS_SHOWN = 40
_NEWEST_SHOWN = 10
_LEAST_COLUMN = 11
"""Cells of the longest status with its symbol."""

Row = dict[str, Any]


# ------------------------------------------------------------------------------------------ list, search, summary


def show_list(screen: Screen, rows: Sequence[Row]) -> None:
    """Print a table of experiments, rows as ``ExperimentManager.list_rows`` returns them."""
    now = datetime.now(UTC)
    columns = [
        Column("id", [row["experiment_id"] for row in rows], style="bold"),
        Column("name", [inert(row["name"]) for row in rows], shrink=22),
        Column("status", [status_span(row["status"]) for row in rows]),
        Column("created", [ago(row["created_at"], now) for row in rows], drop=1),
        Column("duration", [duration(row["duration_s"]) for row in rows], right=True, drop=2),
        Column("tags", [inert(", ".join(row["tags"])) for row in rows], drop=3, shrink=12, style="cyan"),
        Column("project", [inert(row["project"]) for row in rows], drop=4, shrink=10),
        Column("git", [_commit(row["git_hash"], row["git_dirty"]) for row in rows], drop=5, style="dim"),
        Column("description", [inert(row["description"]) for row in rows], drop=6, shrink=30, style="dim"),
        Column("damage", [inert(row["damage"] or "") for row in rows], shrink=7, style="red"),
    ]
    if len({row["project"] for row in rows}) < 2:
        columns = [column for column in columns if column.title != "project"]
    screen.table([column for column in columns if any(str(cell) for cell in column.cells)])


def show_summary(screen: Screen, root_dir: Path, rows: Sequence[Row]) -> None:
    """Print how many experiments there are, by status and project, and the newest."""
    spent = sum(row["duration_s"] or 0.0 for row in rows)
    screen.line((count(len(rows), "experiment"), "bold"), f" in {inert(str(root_dir))}, {duration(spent)} of run time")
    statuses = Counter(row["status"] for row in rows)
    parts: list[str | Span] = []
    for status, n in statuses.most_common():
        parts += ["   " if parts else "", status_span(status), f" {n:,}"]
    screen.line(*parts)
    projects = Counter(row["project"] for row in rows)
    if len(projects) > 1:
        screen.line("")
        names = [name for name, _ in projects.most_common()]
        latest = {row["project"]: row["created_at"] for row in reversed(rows)}
        now = datetime.now(UTC)
        screen.table(
            [
                Column("project", [inert(name) for name in names], shrink=10),
                Column("experiments", [f"{projects[name]:,}" for name in names], right=True),
                Column("latest", [ago(latest[name], now) for name in names]),
            ]
        )
    screen.line("")
    show_list(screen, rows[:_NEWEST_SHOWN])
    if len(rows) > _NEWEST_SHOWN:
        screen.line((f"the newest {_NEWEST_SHOWN} of {len(rows):,}; frameworm list shows all", "dim"))


def _commit(git_hash: str | None, dirty: bool | None) -> str:
    return "" if not git_hash else f"{inert(git_hash[:7])}{'*' if dirty else ''}"


# ------------------------------------------------------------------------------------------ show


def show_experiment(screen: Screen, reader: ExperimentReader, *, everything: bool) -> None:
    """Print one experiment: what it is, its config, metrics, artifacts and notes."""
    info = reader.info
    name = middle(inert(info.name), max(20, screen.width - len(info.experiment_id) - 15))
    screen.line((f"{info.experiment_id}  {name}", "bold"), "  ", status_span(info.status))
    screen.lines(_facts(screen, info))
    if info.config:
        _heading(screen, "Config")
        screen.lines(tree(info.config, screen.width, 2, param))
    _show_metrics(screen, reader.summaries(), everything)
    if info.artifacts:
        _heading(screen, "Artifacts")
        screen.table(
            [
                Column("name", [inert(a.name) for a in info.artifacts], shrink=16),
                Column("type", [inert(a.artifact_type) for a in info.artifacts], drop=2, shrink=8),
                Column("version", [str(a.version) for a in info.artifacts], right=True, drop=3),
                Column("size", [size(a.size_bytes) for a in info.artifacts], right=True),
                Column("path", [inert(a.path) for a in info.artifacts], drop=1, shrink=20, style="dim"),
            ],
            indent=2,
        )
    if info.notes:
        _heading(screen, "Notes")
        for note in info.notes:
            first, *rest = inert(note.text, lines=True).split("\n")
            screen.line("  ", (local_time(_time(note.time_ms)), "dim"), f"  {first}")
            for line in rest:
                screen.line(f"{'':23}{line}")


def _facts(screen: Screen, info: ExperimentInfo) -> list[Line]:
    """Return label and value of what is known of an experiment, a line each."""
    now = datetime.now(UTC)
    environment = info.environment
    facts: list[tuple[str, str, str]] = [("", inert(info.description), "")]
    if info.reason:
        facts.append(("reason", inert(info.reason), "red" if info.status == "failed" else ""))
    facts.append(("project", inert(info.project), ""))
    facts.append(("fork", _fork(info), ""))
    facts.append(("rewound", " and ".join(f"to step {one['step']:,}" for one in info.rewinds), ""))
    facts.append(("tags", inert(", ".join(info.tags)), "cyan"))
    for label, time_ms in (("started", info.started_ms), ("ended", info.ended_ms)):
        if time_ms is not None:
            time = _time(time_ms)
            past = ago(time, now)
            facts.append((label, local_time(time) + ("" if past[0].isdigit() and "-" in past else f", {past}"), ""))
    facts.append(("duration", duration(info.duration_s), ""))
    facts.append(("git", _git(info.git), ""))
    command = environment.get("command", "")
    facts.append(("command", inert(command if isinstance(command, str) else " ".join(map(str, command))), ""))
    facts.append(("read", _reads(environment.get("reads") or {}), ""))
    machine = [f"Python {environment['python_version']}" if "python_version" in environment else ""]
    machine += [str(environment.get(key) or "") for key in ("platform", "host")]
    facts.append(("machine", inert(", ".join(filter(None, machine))), ""))
    facts.append(("path", inert(str(info.path)), ""))
    return [
        [("  ", ""), (f"{label:<10}" if label else "", "dim"), (middle(value, screen.width - 12), style)]
        for label, value, style in facts
        if value
    ]


def _reads(reads: dict[str, Any]) -> str:
    """Return how many files a program opened, and which variables it looked at that were set."""
    opened = sum(not file.get("code") for file in reads.get("files", ()))
    variables = sorted(reads.get("variables", ()))
    told = [f"{opened:,} file{'' if opened == 1 else 's'}"] if opened else []
    if variables:
        told.append(f"variable{'' if len(variables) == 1 else 's'} {', '.join(variables)}")
    return inert(", ".join(told))


def _fork(info: ExperimentInfo) -> str:
    origin = info.forked_from
    return f"of {inert(str(origin['experiment_id']))} at step {origin['step']:,}" if origin else ""


def show_forks(screen: Screen, forks: Sequence[str]) -> None:
    """Print which experiments will lack points that they inherit from what goes."""
    if forks:
        ids = ", ".join(forks[:12]) + (f", … ({len(forks):,} in all)" if len(forks) > 12 else "")
        screen.line((f"forks that lose the points they inherit, until it is restored: {ids}", "yellow"))


def _git(git: dict[str, Any]) -> str:
    if not git.get("commit"):
        return ""
    where = f" on {inert(git['branch'])}" if git.get("branch") else ""
    return f"{inert(git['commit'][:10])}{where}{', with uncommitted changes' if git.get('dirty') else ''}"


def _show_metrics(screen: Screen, summaries: Sequence[SeriesSummary], everything: bool) -> None:
    shown = [s for s in summaries if everything or s.context != SYSTEM_CONTEXT]
    system = len(summaries) - len(shown)
    if not everything:
        shown = shown[:_METRICS_SHOWN]
    more = len(summaries) - system - len(shown)
    if summaries:
        _heading(screen, "Metrics")
    if shown:
        cells = [numbers([s.last, s.min, s.max, s.mean]) for s in shown]
        last, lowest, highest, mean = ([row[i] for row in cells] for i in range(4))
        columns = [
            Column("metric", [inert(s.name) for s in shown], shrink=16),
            Column("context", [inert(s.context) for s in shown], shrink=8, style="dim"),
            Column("last", last, right=True, style="bold"),
            Column("min", lowest, right=True, drop=1),
            Column("max", highest, right=True, drop=2),
            Column("mean", mean, right=True, drop=4),
            Column("points", [f"{s.count:,}" for s in shown], right=True, drop=3),
            Column("last step", [f"{s.last_step:,}" for s in shown], right=True, drop=5),
        ]
        if any(s.nan_count for s in shown):
            nans = [f"{s.nan_count:,}" if s.nan_count else "" for s in shown]
            columns.append(Column("NaN", nans, right=True, drop=6, style="yellow"))
        screen.table(columns, indent=2)
    left = [f"{more:,} more" if more else "", f"{system} of the system" if system else ""]
    if any(left):
        screen.line("  ", (f"and {' and '.join(filter(None, left))}; --all shows them", "dim"))


# ------------------------------------------------------------------------------------------ compare


@dataclass(frozen=True, slots=True)
class Quantity:
    """One metric or param of all experiments compared: its name and a text for each."""

    name: str
    cells: list[str]
    is_metric: bool


def quantities(metrics: dict[str, list[float | None]], params: dict[str, list[Any]]) -> list[Quantity]:
    """Return metrics and params as texts; the lowest value of a metric is marked with ↓, the highest with ↑.

    Args:
        metrics: name to one value an experiment, None where it has none.
        params: key to one value an experiment, None where it has none.
    """
    found = [Quantity(inert(name), _marked(values), True) for name, values in metrics.items()]
    for key, values in params.items():
        found.append(Quantity(inert(key), ["" if value is None else param(value) for value in values], False))
    return found


def _marked(values: list[float | None]) -> list[str]:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(set(finite)) < 2:
        return numbers(values)
    marks = {min(finite): "↓", max(finite): "↑"}
    return [
        f"{'' if value is None else marks.get(value, '')}{text}"
        for text, value in zip(numbers(values), values, strict=True)
    ]


def show_comparison(screen: Screen, rows: Sequence[Row], compared: Sequence[Quantity]) -> None:
    """Print experiments as rows where that fits; otherwise as columns, in blocks that fit."""
    columns = [
        Column("id", [row["experiment_id"] for row in rows], style="bold"),
        Column("name", [inert(row["name"]) for row in rows], shrink=12),
        Column("status", [status_span(row["status"]) for row in rows]),
        *(
            Column(q.name, q.cells, right=True, shrink=None if q.is_metric else 12, style="" if q.is_metric else "cyan")
            for q in compared
        ),
    ]
    gaps = 2 * (len(columns) - 1)
    if sum(column.least for column in columns) + gaps <= screen.width:
        screen.table(columns)
    else:
        _show_transposed(screen, rows, compared)
    if any(cell.startswith(("↓", "↑")) for q in compared for cell in q.cells):
        screen.line(("↓ lowest  ↑ highest", "dim"))


def _show_transposed(screen: Screen, rows: Sequence[Row], compared: Sequence[Quantity]) -> None:
    labels: list[str | Span] = ["name", "status", *((q.name, "" if q.is_metric else "cyan") for q in compared)]
    first = Column("", labels, shrink=24)
    columns = []
    for i, row in enumerate(rows):
        cells: list[str | Span] = [inert(row["name"]), status_span(row["status"]), *(q.cells[i] for q in compared)]
        widest = max((len(q.cells[i]) for q in compared if q.is_metric), default=0)
        columns.append(Column(row["experiment_id"], cells, right=True, shrink=max(_LEAST_COLUMN, widest)))
    most = max(1, (screen.width - first.least) // (max(column.least for column in columns) + 2))
    blocks = -(-len(columns) // most)
    size = -(-len(columns) // blocks)
    for start in range(0, len(columns), size):
        if start:
            screen.line("")
        screen.table([first, *columns[start : start + size]])


# ------------------------------------------------------------------------------------------ delete, plot


def show_doomed(screen: Screen, doomed: Sequence[tuple[str, ExperimentInfo | None, int, int]]) -> None:
    """Print what is about to be deleted: id, what is known of it, points and bytes."""
    screen.table(
        [
            Column("id", [one for one, *_ in doomed], style="bold"),
            Column("name", [inert(info.name) if info else "(cannot be read)" for _, info, *_ in doomed], shrink=16),
            Column("status", [status_span(info.status) if info else "" for _, info, *_ in doomed]),
            Column("points", [f"{points:,}" for *_, points, _ in doomed], right=True),
            Column("size", [size(size_bytes) for *_, size_bytes in doomed], right=True),
        ]
    )


def show_legend(
    screen: Screen, marks: Sequence[tuple[str, str]], infos: Sequence[ExperimentInfo], drawn: Sequence[SeriesSummary]
) -> None:
    """Print which mark stands for which experiment, and the values of its series."""
    columns = [
        Column("", marks),
        Column("id", [info.experiment_id for info in infos], style="bold"),
        Column("name", [inert(info.name) for info in infos], shrink=16),
        Column("context", [inert(s.context) for s in drawn], drop=3, shrink=8, style="dim"),
        Column("last", numbers([s.last for s in drawn]), right=True),
        Column("min", numbers([s.min for s in drawn]), right=True, drop=1),
        Column("max", numbers([s.max for s in drawn]), right=True, drop=2),
        Column("points", [f"{s.count:,}" for s in drawn], right=True, drop=4),
    ]
    screen.table(columns)


def _heading(screen: Screen, title: str) -> None:
    screen.line("")
    screen.line((title, "bold"))


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
