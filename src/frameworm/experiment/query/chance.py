"""Chance: what lets a program differ from run to run, and what was not recorded and so cannot be compared."""

from __future__ import annotations

from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.query.changes import unrecorded
from frameworm.experiment.query.code_diff import CodeDiff


def signs_of_chance(infos: tuple[ExperimentInfo, ExperimentInfo]) -> list[str]:
    """Return what lets a program differ from run to run, a sentence each."""
    signs = []
    randomness = [info.randomness for info in infos]
    if any(one.get("seed") is None for one in randomness):
        signs.append("No seed was recorded (seed_everything).")
    if any(not one.get("deterministic") for one in randomness):
        signs.append("Deterministic algorithms were not asked for.")
    if any(info.environment.get("gpus") for info in infos):
        signs.append("There is a GPU, whose additions may come in any order.")
    variables = [info.environment.get("variables") or {} for info in infos]
    if not all(any(name.endswith("_NUM_THREADS") for name in one) for one in variables):
        signs.append("The number of threads was left to the machine (OMP_NUM_THREADS).")
    if not all(one.get("PYTHONHASHSEED", "random") != "random" for one in variables):
        signs.append(
            "Python's hashes of strings, and with them the order of sets, change from run to run (PYTHONHASHSEED)."
        )
    return signs


def gaps_of(a: ExperimentInfo, b: ExperimentInfo, code: CodeDiff) -> list[str]:
    """Return what was not recorded and so cannot be compared, a sentence each."""
    gaps = []
    silent = [info.experiment_id for info in (a, b) if not info.datasets]
    if silent:
        gaps.append(f"Data was not recorded by {' and '.join(silent)} (exp.log_dataset).")
    for part, what in (("packages", "packages and machine"), ("randomness", "random generators")):
        lacking = [info.experiment_id for info in (a, b) if part in unrecorded(info)]
        if lacking:
            gaps.append(f"Nothing of {what} was recorded by {' and '.join(lacking)}.")
    gaps += [f"{note[0].upper()}{note[1:]}." for note in code.notes]
    vague = sorted({*a.lossy_params} | {*b.lossy_params})
    if vague:
        gaps.append(f"Of config {', '.join(vague[:3])} only a description is recorded.")
    return gaps
