"""What ``frameworm diff`` shows: the verdict, the probable causes, then what differs, part by part."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from frameworm.experiment.cli.tables import Column, Line, Screen, Span, middle, status_span
from frameworm.experiment.cli.text import count, inert, size
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.query.changes import Change
from frameworm.experiment.query.code_diff import CodeDiff, FileDiff
from frameworm.experiment.query.diff import ExperimentDiff
from frameworm.experiment.query.divergence import SeriesDiff, in_order
from frameworm.experiment.query.wording import plain, short, ulps_text, version_text

_CAUSES_SHOWN = 6
_ROWS_SHOWN = 20
_LINES_SHOWN = 40
"""Of the patch of a file that changed; of one that is new or gone fewer say enough."""
_NEW_LINES_SHOWN = 12
_LONGEST_CODE_LINE = 400
_WIDEST_TEXT = 110

_TITLES = {
    "config": "Config",
    "data": "Data",
    "files": "Files read",
    "randomness": "Randomness",
    "packages": "Packages",
    "command": "Command",
    "variables": "Environment variables",
    "interpreter": "Interpreter",
    "hardware": "Hardware",
    "platform": "Platform",
    "course": "How they went",
    "artifacts": "Artifacts",
}
_STRENGTHS = {"likely": "bold yellow", "possible": "yellow", "unlikely": "dim"}
_FILE_SIGNS = {"added": ("+", "green"), "removed": ("−", "red"), "changed": ("~", "yellow"), "renamed": ("→", "cyan")}


def show_difference(screen: Screen, diff: ExperimentDiff, *, code: bool, everything: bool) -> None:
    """Print the difference between two experiments.

    Args:
        screen: where to.
        diff: as ``ExperimentManager.diff`` returns it.
        code: also the lines of code.
        everything: nothing is left out for being long.
    """
    _Page(screen, diff, everything).show(code)


class _Page:
    def __init__(self, screen: Screen, diff: ExperimentDiff, everything: bool) -> None:
        self._screen = screen
        self._diff = diff
        self._everything = everything
        self._ids = diff.a.experiment_id, diff.b.experiment_id

    def show(self, code: bool) -> None:
        """Print all sections, those of the code last: they are the longest."""
        self._text(self._diff.verdict, "bold")
        first, second = (_who(info, max(8, self._screen.width // 2 - 28)) for info in (self._diff.a, self._diff.b))
        line = [*first, ("  against  ", "dim"), *second]
        if sum(cell_len(text) for text, _ in line) <= self._screen.width:
            self._screen.line(*line)
        else:
            self._screen.line(*first, ("  against", "dim"))
            self._screen.line(*second)
        self._causes()
        self._series()
        for name, title in _TITLES.items():
            self._changes(title, self._told(name), _values_of(name))
        if self._diff.code.files:
            self._code(self._diff.code, code)
        if self._diff.gaps:
            self._heading("Not compared")
            for gap in self._diff.gaps:
                self._text(gap, indent="  ")

    def _told(self, name: str) -> tuple[Change, ...]:
        """Return what differs in a part, but for the states of generators where the seed says it."""
        found = self._diff.part(name)
        if self._everything or name != "randomness" or not any(one.key == "seed" for one in found):
            return found
        return tuple(one for one in found if not one.key.startswith("states."))

    # ------------------------------------------------------------------------------------------ sections

    def _causes(self) -> None:
        causes = self._diff.causes
        if not causes:
            return
        self._heading("Probable causes")
        shown = causes if self._everything else causes[:_CAUSES_SHOWN]
        remarked = set()
        for i, cause in enumerate(shown, start=1):
            title = middle(inert(cause.title), self._screen.width - 18)
            style = "dim" if cause.strength == "unlikely" else "bold"
            self._screen.line(f"  {i:>2}. ", (f"{cause.strength:<8}", _STRENGTHS[cause.strength]), "  ", (title, style))
            if cause.strength != "unlikely" or self._everything:
                remark = "" if cause.remark in remarked else cause.remark  # said once
                remarked.add(cause.remark)
                self._text(f"{cause.evidence} {remark}".strip(), indent=" " * 16)
        self._left_out(len(causes) - len(shown), "more")

    def _series(self) -> None:
        series = self._diff.series
        differing = in_order(series)
        if not differing and not self._everything:
            return  # the verdict says so
        self._heading("Metrics")
        first = self._diff.first
        rows: Sequence[SeriesDiff] = series if self._everything else differing[:_ROWS_SHOWN]
        if rows:
            cells = [_series_cells(one, self._ids) for one in rows]
            marked = [("▸" if one is first else "", "bold yellow") for one in rows]
            columns = [
                Column("", marked),
                Column("metric", [inert(one.label) for one in rows], shrink=16),
                Column("parts at", [cell[0] for cell in cells]),
                Column(self._ids[0], [cell[1] for cell in cells], right=True),
                Column(self._ids[1], [cell[2] for cell in cells], right=True),
                Column("distance", [cell[3] for cell in cells], right=True, drop=1),
                Column("points", [_points(one) for one in rows], right=True, drop=2),
            ]
            self._screen.table([column for column in columns if any(map(_shown, column.cells))], indent=2)
        same = len(series) - len(differing)
        if same and not self._everything:
            points = sum(one.points[0] for one in series if one.state == "identical")
            self._screen.line("  ", (f"{same:,} series identical bit for bit, {count(points, 'point')}", "green"))
        self._left_out(len(differing) - len(rows), "more")

    def _changes(self, title: str, changes: Sequence[Change], text: Callable[[Any], str]) -> None:
        if not changes:
            return
        self._heading(title)
        rows = changes if self._everything else changes[:_ROWS_SHOWN]
        self._screen.table(
            [
                Column("", [inert(change.key) for change in rows], shrink=12, style="cyan"),
                Column(
                    self._ids[0], ["" if c.kind == "added" else inert(text(c.a)) for c in rows], shrink=16, style="red"
                ),
                Column(
                    self._ids[1],
                    ["" if c.kind == "removed" else inert(text(c.b)) for c in rows],
                    shrink=16,
                    style="green",
                ),
            ],
            indent=2,
        )
        self._left_out(len(changes) - len(rows), "more")

    def _code(self, code: CodeDiff, with_lines: bool) -> None:
        self._heading("Code")
        files = sorted(code.files, key=lambda file: file.kind in ("added", "removed"))  # as the causes name them
        rows = files if self._everything else files[:_ROWS_SHOWN]
        self._screen.table(
            [
                Column("", [_FILE_SIGNS[file.kind] for file in rows]),
                Column("file", [inert(_path(file)) for file in rows], shrink=20),
                Column("lines", [_lines(file) for file in rows], right=True),
                Column("", ["comments or layout" if file.only_layout else "" for file in rows], style="dim", drop=1),
            ],
            indent=2,
        )
        self._left_out(len(files) - len(rows), "more")
        if not with_lines:
            return
        left_out = 0
        for file in rows:
            lines = _code_lines(file)
            most = (
                len(lines)
                if self._everything
                else _NEW_LINES_SHOWN
                if file.kind in ("added", "removed")
                else _LINES_SHOWN
            )
            if lines:
                self._screen.line("")
                self._screen.lines([[_code_span(line)] for line in lines[:most]])
            if lines[most:]:
                self._screen.line((f"… {count(len(lines) - most, 'more line')}", "dim"))
                left_out += len(lines) - most
        if left_out or len(files) > len(rows):
            self._screen.line("")
            self._screen.line("  ", ("--all shows every line", "dim"))

    # ------------------------------------------------------------------------------------------ lines

    def _heading(self, title: str) -> None:
        self._screen.line("")
        self._screen.line((title, "bold"))

    def _left_out(self, number: int, what: str) -> None:
        if number > 0:
            self._screen.line("  ", (f"and {number:,} {what}; --all shows them", "dim"))

    def _text(self, text: str, style: str = "", indent: str = "") -> None:
        """Print a text, broken into lines in a terminal; in a pipe it is one line."""
        if not self._screen.is_terminal:
            self._screen.line(indent, (inert(text), style))
            return
        width = min(self._screen.width, len(indent) + _WIDEST_TEXT)
        for line in textwrap.wrap(
            inert(text), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        ):
            self._screen.line((line, style))


def _who(info: ExperimentInfo, room: int) -> Line:
    return [(info.experiment_id, "bold"), (f" {middle(inert(info.name), room)} ", ""), status_span(info.status)]


def _shown(cell: str | Span) -> bool:
    return bool(cell if isinstance(cell, str) else cell[0])


def _points(one: SeriesDiff) -> str:
    a, b = one.points
    return f"{a:,}" if a == b else f"{a:,} / {b:,}"


def _series_cells(one: SeriesDiff, ids: tuple[str, str]) -> tuple[str | Span, str, str, str]:
    """Return what became of a series, the values of both where it parts, and how far they are apart."""
    divergence = one.divergence
    if divergence is not None:
        at = f"step {divergence.steps[0]:,}"
        if "step" in divergence.columns:
            return f"point {divergence.position:,}", *(f"step {step:,}" for step in divergence.steps), ""  # type: ignore[return-value]
        if divergence.columns == ("epoch",):
            return at, *(f"epoch {epoch}" for epoch in divergence.epochs), ""  # type: ignore[return-value]
        far = ulps_text(divergence) if divergence.is_rounding else _percent(divergence.relative)
        return at, repr(divergence.values[0]), repr(divergence.values[1]), far
    if one.state == "shorter":
        last = [f"ends at step {step:,}" for step in one.last_steps if step is not None]
        return "shorter", last[0], last[1], ""
    if one.state == "missing":
        return ("missing", "yellow"), *("logged" if n else "—" for n in one.points), ""  # type: ignore[return-value]
    return ("identical", "green") if one.state == "identical" else ("damaged", "red"), "", "", ""


def _percent(relative: float) -> str:
    if relative != relative:
        return ""
    return f"{relative:.1%}" if relative >= 1e-3 else f"{relative:.1e}"


def _values_of(part: str) -> Callable[[Any], str]:
    """Return what writes the values of a part."""
    if part == "packages":
        return version_text
    if part in ("data", "files", "artifacts"):
        return _content
    return _param if part == "config" else _plain


def _param(value: Any) -> str:
    return short(value, most=_LONGEST_CODE_LINE)


def _plain(value: Any) -> str:
    text = plain(value)
    return _digest(text) if text.startswith("sha256:") else text


def _content(value: Any) -> str:
    """Return a file's or dataset's digest and size."""
    if not isinstance(value, Mapping):
        return _plain(value)
    parts = [_digest(str(value.get("digest") or value.get("fingerprint") or ""))]
    if value.get("experiment_id"):
        parts.insert(0, f"{value['experiment_id']} v{value.get('version')}")
    if value.get("rows") is not None:
        parts.append(count(value["rows"], "row"))
    if value.get("size_bytes") is not None:
        parts.append(size(value["size_bytes"]))
    return ", ".join(filter(None, parts))


def _digest(digest: str) -> str:
    return digest.rpartition(":")[2][:12]


# ---------------------------------------------------------------------------------------------- code


def _path(file: FileDiff) -> str:
    return file.path if file.old_path is None else f"{file.old_path} → {file.path}"


def _lines(file: FileDiff) -> str:
    return f"+{file.added_lines:,} −{file.removed_lines:,}" if file.hunks else ""


def _code_lines(file: FileDiff) -> list[str]:
    """Return the lines of a file's patch, without the object ids, which mean nothing here."""
    lines = file.patch.rstrip("\n").split("\n") if file.patch else []
    shown = [inert(line[:1] + line[1:].expandtabs(4)) for line in lines if not line.startswith("index ")]
    return [line if len(line) <= _LONGEST_CODE_LINE else f"{line[:_LONGEST_CODE_LINE]}…" for line in shown]


def _code_span(line: str) -> Span:
    styles = {"diff": "bold", "+++ ": "bold", "--- ": "bold", "@@ -": "cyan"}
    return line, styles.get(line[:4], {"+": "green", "-": "red"}.get(line[:1], ""))
