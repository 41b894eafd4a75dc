"""The difference between two experiments: what was put in, what came out, and which of the one explains the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.query.causes import POSSIBLE, Cause, rank_causes
from frameworm.experiment.query.chance import gaps_of
from frameworm.experiment.query.changes import PARTS, Change, changes
from frameworm.experiment.query.code_diff import CodeDiff, compare_code
from frameworm.experiment.query.divergence import SeriesDiff, compare_series, earliest
from frameworm.experiment.query.wording import told_apart, ulps_text

if TYPE_CHECKING:
    from frameworm.experiment.query.read import ExperimentReader


@dataclass(frozen=True)
class ExperimentDiff:
    """What is not the same in two experiments. Every part is empty where they are equal.

    Attributes:
        a: one experiment.
        b: the other.
        config: params.
        data: datasets, and artifacts of other experiments that were used, by name.
        files: that were opened or imported, as far as they are not the same, or may not be.
        randomness: seed, deterministic algorithms, digests of the generators' states at the start.
        packages: versions; with their source where they did not come from an index.
        command: command line, working folder, interpreter's path.
        variables: environment variables.
        interpreter: Python's version and implementation.
        hardware: CPU, memory, GPUs, host.
        platform: everything else recorded of the environment.
        course: how it went: status, sessions, processes.
        artifacts: latest version by name: digest and size.
        code: files, with a unified diff.
        series: every series of both but those of the system, the identical ones too.
        causes: what explains that the metrics part, likeliest first; empty where they do not.
        gaps: what was not recorded or could not be compared, a sentence each.
    """

    a: ExperimentInfo
    b: ExperimentInfo
    config: tuple[Change, ...]
    data: tuple[Change, ...]
    files: tuple[Change, ...]
    randomness: tuple[Change, ...]
    packages: tuple[Change, ...]
    command: tuple[Change, ...]
    variables: tuple[Change, ...]
    interpreter: tuple[Change, ...]
    hardware: tuple[Change, ...]
    platform: tuple[Change, ...]
    course: tuple[Change, ...]
    artifacts: tuple[Change, ...]
    code: CodeDiff
    series: tuple[SeriesDiff, ...]
    causes: tuple[Cause, ...]
    gaps: tuple[str, ...]

    @property
    def first(self) -> SeriesDiff | None:
        """The series that parted first; None if all are identical."""
        return earliest(self.series)

    @property
    def same_metrics(self) -> bool:
        """Whether there are metrics and all of them are identical bit for bit."""
        return bool(self.series) and self.first is None

    @property
    def verdict(self) -> str:
        """What differs, what does not, and where the metrics part, in a sentence."""
        return f"{_inputs(self)}; {_metrics(self)}."

    def part(self, name: str) -> tuple[Change, ...]:
        """Return one of ``changes.PARTS`` by name."""
        found: tuple[Change, ...] = getattr(self, name)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "a": _identity(self.a),
            "b": _identity(self.b),
            "verdict": self.verdict,
            "causes": [cause.to_dict() for cause in self.causes],
            "same_metrics": self.same_metrics,
            "first": None if self.first is None else self.first.to_dict(),
            "series": [one.to_dict() for one in self.series],
            **{name: [asdict(change) for change in self.part(name)] for name in PARTS},
            "code": {**asdict(self.code), "differs": self.code.differs},
            "gaps": list(self.gaps),
        }


def diff_experiments(a: ExperimentReader, b: ExperimentReader, metrics: Sequence[str] | None = None) -> ExperimentDiff:
    """Compare two experiments.

    Args:
        a: one of them.
        b: the other.
        metrics: only these series: ``loss`` in all contexts, or ``loss@val``; None means all.

    Raises:
        MetricNotFoundError: none of the two has one of the metrics.
    """
    series = compare_series(a, b, metrics)
    changed = changes(a.info, b.info)
    code = compare_code(a.info, b.info)
    first = earliest(series)
    explained = first is not None or (not series and changed["artifacts"])
    causes = rank_causes(a.info, b.info, changed, code, first) if explained else ()
    damage = [f"{damage}; the rest was compared." for reader in (a, b) for damage in reader.damage]
    gaps = (*damage, *gaps_of(a.info, b.info, code))
    return ExperimentDiff(a=a.info, b=b.info, **changed, code=code, series=series, causes=causes, gaps=gaps)


def _identity(info: ExperimentInfo) -> dict[str, Any]:
    names = ("experiment_id", "uid", "name", "status", "started_ms")
    return {**{name: getattr(info, name) for name in names}, "path": str(info.path), "parent": info.parent}


# ---------------------------------------------------------------------------------------------- the verdict


def _inputs(diff: ExperimentDiff) -> str:
    """Return what differs, weightiest first, then what does not."""
    weights: dict[str, int] = {}
    for cause in diff.causes:
        weights[cause.part] = max(weights.get(cause.part, 0), cause.weight)
    clauses = {name: clause for name in ("code", *PARTS) if (clause := _clause(diff, name))}
    if diff.causes:  # what does not matter is left to the sections
        clauses = {name: clause for name, clause in clauses.items() if weights.get(name, 0) >= POSSIBLE} or clauses
    ordered = sorted(clauses, key=lambda name: -weights.get(name, 0))
    said = [clauses[name] for name in ordered[:3]]
    if len(ordered) > 3:
        said.append(f"{len(ordered) - 3} more differences")
    equal = _equal(diff)
    if equal:
        said.append(f"same {_joined(equal)}")
    unknown = [
        what for what, known in (("data", _recorded_data(diff)), ("code", diff.code.basis != "unknown")) if not known
    ]
    if unknown:
        said.append(f"{' and '.join(unknown)} not recorded")
    text = ", ".join(said) or "nothing was recorded"
    return text[0].upper() + text[1:]


def _clause(diff: ExperimentDiff, name: str) -> str:
    if name == "code":
        if not diff.code.differs:
            return ""
        paths = [file.path for file in diff.code.files]
        return f"code differs in {_named(paths, 'file')}" if paths else "commits differ"
    keys = [change.key for change in diff.part(name)]
    if not keys or name in ("artifacts", "course"):
        return ""
    if name == "randomness":
        return (
            "seed differs"
            if "seed" in keys
            else "random generators began differently"
            if any(key.startswith("states.") for key in keys)
            else f"randomness differs in {_named(keys, 'setting')}"
        )
    if name == "packages":
        return f"packages differ in {_named(keys, 'package')}" if len(keys) > 1 else f"package {keys[0]} differs"
    noun = {"config": "param", "data": "dataset", "files": "file", "command": "word", "variables": "variable"}.get(
        name, "fact"
    )
    if name == "files":
        return f"what it read differs in {_named(keys, noun)}"
    label = {"variables": "environment", "command": "command"}.get(name, name)
    keys = [
        change.key.replace("_", " ") if name in ("hardware", "platform", "interpreter", "command") else change.key
        for change in diff.part(name)
    ]
    return f"{label} differs in {_named(keys, noun)}"


def _named(names: Sequence[str], noun: str) -> str:
    return " and ".join(names) if len(names) <= 2 else f"{len(names):,} {noun}s"


def _equal(diff: ExperimentDiff) -> list[str]:
    a, b = diff.a, diff.b
    checks = (
        ("config", not diff.config),
        ("code" if not diff.code.notes else "recorded code", _same_code(diff)),
        ("data", not diff.data and _recorded_data(diff)),
        ("packages", not diff.packages and bool(a.environment.get("packages") and b.environment.get("packages"))),
        ("seed", a.randomness.get("seed") is not None and a.randomness.get("seed") == b.randomness.get("seed")),
    )
    return [name for name, equal in checks if equal]


def _same_code(diff: ExperimentDiff) -> bool:
    return not diff.code.differs and diff.code.basis in ("equal", "trees")


def _recorded_data(diff: ExperimentDiff) -> bool:
    return bool(diff.a.datasets or diff.b.datasets or diff.a.used or diff.b.used)


def _joined(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _metrics(diff: ExperimentDiff) -> str:
    if not diff.series:
        return "neither logged metrics"
    total = len(diff.series)
    first = diff.first
    if first is None:
        points = sum(one.points[0] for one in diff.series)
        what = f"all {total:,} series are" if total > 1 else f"{diff.series[0].label} is"
        return f"{what} identical bit for bit, {points:,} points"
    counts = ("identical",) if first.state != "shorter" else ("identical", "shorter")
    others = total - sum(one.state in counts for one in diff.series) - (first.state != "shorter")
    more = f", and {others:,} more series differ{'s' if others == 1 else ''}" if others else ""
    return _first(diff, first) + more


def _first(diff: ExperimentDiff, first: SeriesDiff) -> str:
    ids = diff.a.experiment_id, diff.b.experiment_id
    divergence = first.divergence
    if divergence is not None:
        at = f"metrics part at step {divergence.steps[0]:,}: {first.label}"
        if "step" in divergence.columns:
            steps = " against ".join(f"step {step:,}" for step in divergence.steps)
            return f"metrics part at point {divergence.position:,} of {first.label}: {steps}"
        if divergence.columns == ("epoch",):
            return f"{at} in epoch {divergence.epochs[0]} against {divergence.epochs[1]}"
        ulps = f" ({ulps_text(divergence)})" if divergence.is_rounding else ""
        x, y = divergence.values
        return f"{at} {' against '.join(told_apart(x, y))}{ulps}"
    if first.state == "shorter":
        short = first.points.index(min(first.points))
        return f"metrics are identical until {ids[short]} ends ({first.label} after step {first.last_steps[short]:,})"
    if first.state == "missing":
        return f"{first.label} is only in {ids[first.points.index(max(first.points))]}"
    return f"{first.label} is damaged and was not compared"
