"""What a reproduction found: remarks from before it ran, and the verdict on what it logged."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from frameworm.experiment.query.diff import ExperimentDiff
from frameworm.experiment.query.divergence import Divergence, SeriesDiff
from frameworm.experiment.query.wording import ulps_text

Part = Literal["code", "data", "environment", "randomness", "command"]
PARTS: tuple[Part, ...] = ("code", "data", "environment", "randomness", "command")
_ULPS_SHOWN = 1_000_000
"""A greater distance says nothing that the values do not."""
Outcome = Literal["identical", "differs", "nothing"]


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was found while an experiment was laid out.

    Attributes:
        part: what it is about.
        kind: ``same`` as recorded, known to ``differ``, or ``unknown``: it was not recorded, or cannot be checked.
        text: what was found, without a full stop.
        key: the file, dataset, package or variable it is about; "" for several.
    """

    part: Part
    kind: Literal["same", "differs", "unknown"]
    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Suspect:
    """What may have made the metrics part.

    Attributes:
        title: in a few words.
        evidence: what speaks for it, in sentences.
    """

    part: str
    key: str
    title: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """An experiment that is laid out and about to be run.

    Attributes:
        experiment_id: which.
        name: what people call it.
        remarks: what was found on the way.
        command: what will be run.
        cwd: where.
        folder: where everything lies.
        points: how many points the record has, those of the system left out.
    """

    experiment_id: str
    name: str
    remarks: tuple[Remark, ...]
    command: tuple[str, ...]
    cwd: Path
    folder: Path
    points: int


@dataclass(frozen=True, slots=True)
class Reproduction:
    """An experiment that was run again, and how it compares with the record.

    Attributes:
        experiment_id: the one that was reproduced.
        reproduction_id: the new one.
        diff: the two compared: a is the record, b the new one.
        remarks: what was found while it was laid out.
        settings: config values that were changed on request.
        exit_code: of the program; negative for a signal.
        folder: where the code was laid out, if it was kept.
        made: variables that were set, and links of the code in whose places copies were put, to lay it out elsewhere:
            no differences.
        tail: the last lines that the program printed.
        hint: what to do about a file that it missed; "" if it missed none.
    """

    experiment_id: str
    reproduction_id: str
    diff: ExperimentDiff
    remarks: tuple[Remark, ...]
    settings: dict[str, Any]
    exit_code: int
    folder: Path | None
    made: frozenset[str] = frozenset()
    tail: tuple[str, ...] = ()
    hint: str = ""

    @property
    def outcome(self) -> Outcome:
        """``identical`` if every recorded point was logged again bit for bit, ``nothing`` if there are none."""
        if not any(one.points[0] for one in self.diff.series):
            return "nothing" if not self.diff.series or self._cut_short else "differs"
        return "differs" if self.first is not None else "identical"

    @property
    def first(self) -> SeriesDiff | None:
        """The series that parted first; None if none did."""
        first = self.diff.first
        if first is None or not self._goes_on(first):
            return first
        return next((one for one in self.diff.series if one.state != "identical" and not self._goes_on(one)), None)

    def _goes_on(self, one: SeriesDiff) -> bool:
        """Whether the record ends before the series does, as that of a killed experiment may."""
        return self._cut_short and one.state in ("shorter", "missing") and one.points[0] < one.points[1]

    @property
    def _cut_short(self) -> bool:
        return self.diff.a.status in ("killed", "crashed")

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        recorded = [one for one in self.diff.series if one.points[0]]
        if self.outcome == "nothing":
            return f"{self.experiment_id} has no metrics that could be compared"
        first = self.first
        if first is None:
            points = sum(one.points[0] for one in recorded)
            more = sum(one.points[1] for one in self.diff.series) - points
            said = f"bit-identical over {_count(points, 'point')} of {_count(len(recorded), 'series', 'series')}"
            if more > 0:
                said += f"; {_count(more, 'more point')} where {self.experiment_id} was {self.diff.a.status}"
            return said
        same = sum(one.state == "identical" for one in recorded)
        parting = _parting(first, self.experiment_id, self.reproduction_id)
        of = f"{same:,} of {_count(len(recorded), 'series', 'series')} identical"
        return f"{self.reproduction_id} and {self.experiment_id} {parting}; {of}"

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """What differs and so may have made the metrics part, likeliest first; empty if they do not part."""
        if self.outcome != "differs":
            return ()
        causes = [cause for cause in self.diff.causes if not self._is_made(cause.part, cause.key)]
        evidence = {(cause.part, cause.key): cause.evidence for cause in causes}
        before = [
            Suspect(one.part, one.key, one.text, evidence.get((one.part, one.key), "Found before it was run."))
            for one in self.remarks
            if one.kind == "differs" and one.part in ("code", "data")
        ]
        told = {(one.part, one.key) for one in before}
        after = [
            Suspect(one.part, one.key, one.title, one.evidence) for one in causes if (one.part, one.key) not in told
        ]
        return (*before, *after)

    def _is_made(self, part: str, key: str) -> bool:
        """Whether a difference comes of laying the experiment out in another place."""
        return part == "command" or (part in ("variables", "code") and key in self.made)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "experiment_id": self.experiment_id,
            "reproduction_id": self.reproduction_id,
            "path": str(self.diff.b.path),
            "outcome": self.outcome,
            "verdict": self.verdict,
            "first": None if self.first is None else self.first.to_dict(),
            "suspects": [asdict(suspect) for suspect in self.suspects],
            "series": [one.to_dict() for one in self.diff.series],
            "remarks": [asdict(remark) for remark in self.remarks],
            "settings": self.settings,
            "status": self.diff.b.status,
            "reason": self.diff.b.reason,
            "exit_code": self.exit_code,
            "hint": self.hint,
            "folder": None if self.folder is None else str(self.folder),
        }


def _parting(first: SeriesDiff, original: str, again: str) -> str:
    """Return where a series parts, as the rest of a sentence."""
    divergence = first.divergence
    if divergence is not None:
        a, b = divergence.steps
        if "step" in divergence.columns:
            return f"part at point {divergence.position:,} of {first.label}: step {b:,} instead of {a:,}"
        if "value" not in divergence.columns:
            before, now = divergence.epochs
            return f"part at step {a:,} of {first.label}: epoch {now} instead of {before}"
        was, now_is = divergence.values
        ulps = ulps_text(divergence) if _ulps(divergence) <= _ULPS_SHOWN else ""
        return f"part at step {a:,} of {first.label}: {now_is!r} instead of {was!r}{f', {ulps} away' if ulps else ''}"
    if first.state == "missing":
        return f"part: only {original if first.points[0] else again} logged {first.label}"
    if first.state == "damaged":
        return f"cannot be compared in {first.label}, which is damaged"
    return f"part: {again} logged {first.points[1]:,} points of {first.label} instead of {first.points[0]:,}"


def _ulps(divergence: Divergence) -> int:
    """Return the distance in the precision that the values have."""
    return (divergence.ulps if divergence.float32_ulps is None else divergence.float32_ulps) or 0


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"
