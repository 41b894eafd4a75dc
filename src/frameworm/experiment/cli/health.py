"""What the commands that keep a store healthy show."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from frameworm.experiment.cli.tables import Column, Line, Screen, Span, middle, status_span
from frameworm.experiment.cli.text import ago, count, inert, size
from frameworm.experiment.keeping.compact import Compaction
from frameworm.experiment.keeping.findings import SEVERITIES, Finding, Report
from frameworm.experiment.keeping.prune import Pruned
from frameworm.experiment.keeping.trash import TrashEntry

_SEVERITY_STYLES = {"damage": ("✗", "bold red"), "wrong": ("!", "yellow"), "leftover": ("·", "dim")}
_MEANING = {
    "damage": "bytes cannot be read",
    "wrong": "two things disagree, nothing is lost",
    "leftover": "harmless remains",
}
_SHOWN_OF_A_KIND = 10
_INDENT = 12
_WIDEST = 100
"""Texts are wrapped at this width on a wider screen."""


def report_document(report: Report) -> dict[str, Any]:
    """Return a report for programs."""
    names = ("experiment_id", "kind", "severity", "path", "offset", "what", "remedy", "mended")
    return {
        "root_dir": report.root_dir,
        "healthy": report.healthy,
        "experiments": report.experiments,
        "running": report.running,
        "size_bytes": report.size_bytes,
        "free_numbers": report.free_numbers,
        "findings": [
            {name: getattr(finding, name) for name in names} | {"mendable": finding.repair is not None}
            for finding in report.findings
        ],
    }


def show_report(screen: Screen, report: Report, *, repaired: bool) -> None:
    """Print what was found, the worst first, and what to do."""
    order = {severity: n for n, severity in enumerate(SEVERITIES)}
    findings = sorted(report.findings, key=lambda finding: (finding.mended, order[finding.severity]))
    if findings:
        screen.lines([line for finding in _few_of_each(findings) for line in _lines(finding, screen.width)])
        screen.line("")
    checked = f"{count(report.experiments, 'experiment')} in {inert(str(report.root_dir))}, {size(report.size_bytes)}"
    if not findings:
        screen.line(("✓ healthy", "bold green"), f": {checked}")
    else:
        screen.line((_counts(report), "bold"), f" in {checked}")
        kinds = [s for s in SEVERITIES if any(f.severity == s and not f.mended for f in findings)]
        for severity in kinds:
            symbol, style = _SEVERITY_STYLES[severity]
            screen.line((f"{symbol} {severity}", style), (f": {_MEANING[severity]}", "dim"))
    if report.running:
        shown = ", ".join(report.running[:8]) + (", …" if len(report.running) > 8 else "")
        _say(screen, f"still written, so looked at and not touched: {shown}", "dim")
    if report.free_numbers:
        ids = count(len(report.free_numbers), "id")
        _say(screen, f"{ids} without an experiment, as it should be: deleted, or never made", "dim")
    if not repaired and any(finding.repair for finding in findings):
        n = sum(finding.repair is not None for finding in findings)
        of = "all of these," if n == len(findings) else f"{n} of these"
        _say(screen, f"`frameworm doctor --repair` mends {of} and deletes nothing", "")


def _say(screen: Screen, text: str, style: str) -> None:
    for line in textwrap.wrap(text, min(screen.width, _WIDEST)):
        screen.line((line, style))


def _few_of_each(findings: list[Finding]) -> list[Finding]:
    """Leave out all but the first few of each kind, the last of which says how many more there are."""
    numbers: Counter[tuple[str, bool]] = Counter()
    shown = []
    every = Counter((finding.kind, finding.mended) for finding in findings)
    for finding in findings:
        kind = (finding.kind, finding.mended)
        numbers[kind] += 1
        if numbers[kind] == _SHOWN_OF_A_KIND and (more := every[kind] - _SHOWN_OF_A_KIND):
            finding = replace(finding, what=f"{finding.what}; and {more:,} more like this one, which --json lists")
        if numbers[kind] <= _SHOWN_OF_A_KIND:
            shown.append(finding)
    return shown


def _counts(report: Report) -> str:
    mended = sum(finding.mended for finding in report.findings)
    left = Counter(finding.severity for finding in report.findings if not finding.mended)
    parts = [f"{left[severity]} {severity}" for severity in SEVERITIES if left[severity]]
    found = f"found {', '.join(parts)}" if parts else "nothing is left"
    return f"{mended} mended, {found}" if mended else found


def _lines(finding: Finding, width: int) -> list[Line]:
    """Return the lines of one finding: how bad and where, then what, then the remedy."""
    symbol, style = ("✓", "green") if finding.mended else _SEVERITY_STYLES[finding.severity]
    word = "mended" if finding.mended else finding.severity
    where = finding.path if finding.offset is None else f"{finding.path} at byte {finding.offset:,}"
    head: list[Span] = [(f"{symbol} {word}".ljust(_INDENT), style), (middle(inert(where), width - _INDENT), "bold")]
    room = max(min(width, _WIDEST) - _INDENT, 20)
    what = textwrap.wrap(inert(finding.what), room, break_on_hyphens=False)
    remedy = textwrap.wrap(f"→ {inert(finding.remedy)}", room, subsequent_indent="  ", break_on_hyphens=False)
    pad = " " * _INDENT
    return [head, *([(pad + text, "")] for text in what), *([(pad + text, "cyan")] for text in remedy)]


# ------------------------------------------------------------------------------------------ compact


def show_compactions(screen: Screen, done: Sequence[Compaction]) -> None:
    """Print what was merged, what was skipped and why, and what it comes to."""
    merged = [one for one in done if one.files_before != one.files_after or one.bytes_before != one.bytes_after]
    skipped = [one for one in done if one.skipped]
    shown = [*merged, *skipped]
    if shown:
        screen.table(
            [
                Column("id", [one.experiment_id for one in shown], style="bold"),
                Column("files", [_change(one.files_before, one.files_after, "{:,}".format) for one in shown]),
                Column("size", [_change(one.bytes_before, one.bytes_after, size) for one in shown]),
                Column(
                    "",
                    [(inert(f"skipped, {one.skipped}") if one.skipped else "", "yellow") for one in shown],
                    shrink=20,
                ),
            ]
        )
        screen.line("")
    before, after = sum(one.bytes_before for one in merged), sum(one.bytes_after for one in merged)
    as_it_was = len(done) - len(merged) - len(skipped)
    parts = [f"compacted {count(len(merged), 'experiment')}: {_change(before, after, size)}"] if merged else []
    parts += [f"{as_it_was:,} had nothing to merge"] if as_it_was else []
    parts += [f"{len(skipped):,} skipped"] if skipped else []
    screen.line("; ".join(parts) or "no experiments")


def _change(before: int, after: int, text: Callable[[int], str]) -> str:
    return text(before) if before == after else f"{text(before)} → {text(after)}"


# ------------------------------------------------------------------------------------------ prune, trash


def pruned_document(plans: Sequence[Pruned], what: str, *, dry_run: bool) -> dict[str, Any]:
    """Return what went, or would go, for programs."""
    names = ("experiment_id", "name", "status", "files", "size_bytes", "moved_to")
    return {
        "what": what,
        "dry_run": dry_run,
        "experiments": [{name: getattr(plan, name) for name in names} for plan in plans],
        "files": sum(plan.files for plan in plans),
        "size_bytes": sum(plan.size_bytes for plan in plans),
    }


def show_pruned(screen: Screen, plans: Sequence[Pruned], what: str) -> None:
    """Print what would go, and what that would free."""
    if not plans:
        screen.line("nothing to prune")
        return
    screen.table(
        [
            Column("id", [plan.experiment_id for plan in plans], style="bold"),
            Column("name", [inert(plan.name) for plan in plans], shrink=16),
            Column("status", [status_span(plan.status) for plan in plans], drop=2),
            Column("files", [f"{plan.files:,}" for plan in plans], right=True, drop=1),
            Column("size", [size(plan.size_bytes) for plan in plans], right=True),
        ]
    )
    files = count(sum(plan.files for plan in plans), "file")
    freed = size(sum(plan.size_bytes for plan in plans))
    of = {"experiments": "", "artifacts": "artifacts and checkpoints of ", "checkpoints": "checkpoints of "}[what]
    screen.line("")
    screen.line((f"{of}{count(len(plans), 'experiment')}: {files}, {freed}", "bold"))


def trash_document(entries: Sequence[TrashEntry]) -> list[dict[str, Any]]:
    """Return what is in the trash, for programs."""
    return [
        {
            "experiment_id": entry.experiment_id,
            "name": entry.name,
            "status": entry.status,
            "deleted_at": datetime.fromtimestamp(entry.deleted_ms / 1000, UTC),
            "whole": entry.whole,
            "files": entry.files,
            "size_bytes": entry.size_bytes,
            "path": entry.path,
        }
        for entry in entries
    ]


def show_trash(screen: Screen, entries: Sequence[TrashEntry]) -> None:
    """Print what is in the trash, the newest first."""
    if not entries:
        screen.line("the trash is empty")
        return
    now = datetime.now(UTC)
    when = [ago(datetime.fromtimestamp(entry.deleted_ms / 1000, UTC), now) for entry in entries]
    what: list[Span] = [status_span(e.status) if e.status else ("some of its files", "dim") for e in entries]
    screen.table(
        [
            Column("id", [entry.experiment_id for entry in entries], style="bold"),
            Column("name", [inert(entry.name or entry.folder) for entry in entries], shrink=16),
            Column("what", what),
            Column("deleted", when),
            Column("files", [f"{entry.files:,}" for entry in entries], right=True, drop=1),
            Column("size", [size(entry.size_bytes) for entry in entries], right=True),
        ]
    )
    screen.line("")
    total = size(sum(entry.size_bytes for entry in entries))
    screen.line((f"{total} in all; `frameworm restore ID` brings one back", "dim"))
