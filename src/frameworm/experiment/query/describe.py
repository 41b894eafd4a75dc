"""Describing: one experiment as a dict, a whole root in a few printed lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.model import NO_EPOCH, SYSTEM_CONTEXT, SeriesSummary, default_context

if TYPE_CHECKING:
    import pandas as pd

    from frameworm.experiment.query.read import ExperimentReader

_SUMMARY_ROWS = 10


def describe(reader: ExperimentReader) -> dict[str, Any]:
    """Return everything known of an experiment but its points, as ``get_experiment`` documents it."""
    info = reader.info
    return {
        "experiment_id": info.experiment_id,
        "uid": info.uid,
        "name": info.name,
        "project": info.project,
        "description": info.description,
        "status": info.status,
        "reason": info.reason,
        "tags": list(info.tags),
        "notes": [{"text": note.text, "time": utc_time(note.time_ms)} for note in info.notes],
        "config": info.config,
        "lossy_params": list(info.lossy_params),
        "created_at": utc_time(info.created_ms),
        "updated_at": utc_time(info.updated_ms),
        "started_at": utc_time(info.started_ms),
        "ended_at": utc_time(info.ended_ms),
        "duration_s": info.duration_s,
        "metrics_summary": _metrics_summary(reader.summaries()),
        "artifacts": [asdict(artifact) for artifact in info.artifacts],
        "git": info.git,
        "git_hash": info.git_hash,
        "git_dirty": info.git_dirty,
        "environment": info.environment,
        "parent": info.parent,
        "rewinds": [{"step": one["step"], "time": utc_time(one["time_ms"])} for one in info.rewinds],
        "writers": list(info.writers),
        "damage": [str(damage) for damage in reader.damage],
        "missing": reader.missing,
        "path": str(reader.exp_dir),
    }


def print_summary(root: Path, found: pd.DataFrame) -> None:
    """Print how many experiments there are, by status and project, and the newest of them.

    Args:
        root: where they are.
        found: as ``list_experiments`` returns them.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if found.empty:
        console.print(
            f"No experiments in {root} yet. Experiment(name, root_dir=…) records one there.",
            markup=False,
            highlight=False,
        )
        return
    console.print(Text(f"{len(found):,} experiments in {root}", "bold"))
    for title, column in (("status", "status"), ("project", "project")):
        counts = Counter(found[column]).most_common(8)
        console.print(Text(f"by {title}: " + ", ".join(f"{name} {count:,}" for name, count in counts)))
    table = Table(title=None if len(found) <= _SUMMARY_ROWS else f"the newest {_SUMMARY_ROWS}")
    # Ids are what one goes on with: in a narrow terminal the other columns give way, the last ones first.
    narrow = console.width < 80
    headings = ["id", "name", "status", "created (UTC)", "duration", "tags"][: 3 if narrow else 6]
    for heading in headings:
        table.add_column(heading, overflow="ellipsis", no_wrap=heading in ("id", "status", "created (UTC)", "duration"))
    for row in found.head(_SUMMARY_ROWS).to_dict("records"):
        cells = (
            row["experiment_id"],
            row["name"],
            row["status"],
            f"{row['created_at']:%Y-%m-%d %H:%M}",
            _duration(row["duration_s"]),
            ", ".join(row["tags"]),
        )
        table.add_row(*(Text(cell) for cell in cells[: len(headings)]))  # Text: a name is not markup
    console.print(table)


def utc_time(time_ms: int | None) -> datetime | None:
    """Return Unix milliseconds as an aware datetime."""
    return None if time_ms is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)


def _duration(seconds: float) -> str:
    if seconds != seconds:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _metrics_summary(summaries: Sequence[SeriesSummary]) -> dict[str, dict[str, Any]]:
    contexts: dict[str, list[str]] = {}
    for summary in summaries:
        contexts.setdefault(summary.name, []).append(summary.context)
    described = {}
    for s in summaries:
        bare = s.context != SYSTEM_CONTEXT and s.context == default_context(contexts[s.name])
        described[s.name if bare else f"{s.name}@{s.context}"] = {
            "last": s.last,
            "min": s.min,
            "max": s.max,
            "mean": s.mean,
            "first": s.first,
            "count": s.count,
            "nan_count": s.nan_count,
            "last_step": s.last_step,
            "last_epoch": None if s.last_epoch == NO_EPOCH else s.last_epoch,
            "last_at": utc_time(s.last_time_ms),
        }
    return described
