"""Chance: what lets a program differ from run to run, and what was not recorded and so cannot be compared."""

from __future__ import annotations

from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.query.changes import reads_of, unrecorded
from frameworm.experiment.query.code_diff import CodeDiff
from frameworm.experiment.secrets import MASK

_BESIDE = {
    "children": "What other processes read that it started is not recorded: name it by exp.log_dataset.",
    "network": "What it got over the network is not recorded: save it to a file, and name that by exp.log_dataset.",
    "stdin": "What came through the pipe of standard input is not recorded: give it as a file.",
    "more files": "It read more files than are noted: name their folder by exp.log_dataset.",
}


def signs_of_chance(infos: tuple[ExperimentInfo, ExperimentInfo], *, rounding: bool = True) -> list[str]:
    """Return what lets a program differ from run to run, a sentence each.

    Args:
        infos: the two.
        rounding: also what changes only the order of additions, and with it the last digits.
    """
    signs = []
    randomness = [info.randomness for info in infos]
    if any(one.get("seed") is None for one in randomness):
        signs.append("No seed was recorded (seed_everything).")
    if rounding and any(not one.get("deterministic") for one in randomness):
        signs.append("Deterministic algorithms were not asked for.")
    if rounding and any(info.environment.get("gpus") for info in infos):
        signs.append("There is a GPU, whose additions may come in any order.")
    variables = [info.environment.get("variables") or {} for info in infos]
    if rounding and not all(any(name.endswith("_NUM_THREADS") for name in one) for one in variables):
        signs.append("The number of threads was left to the machine (OMP_NUM_THREADS).")
    if not all(one.get("PYTHONHASHSEED", "random") != "random" for one in variables):
        signs.append(
            "Python's hashes of strings, and with them the order of sets, change from run to run (PYTHONHASHSEED)."
        )
    return signs


def blind_spots(a: ExperimentInfo, b: ExperimentInfo, code: CodeDiff) -> list[str]:
    """Return what may differ and was not recorded, and what to do next time, a sentence each.

    There is nothing to say where all that was read was noted, and is the same.
    """
    found = []
    reads = reads_of(a), reads_of(b)
    logged = bool(a.datasets and b.datasets)
    if not logged and not all(one.get("whole") for one in reads):
        silent = [info.experiment_id for info in (a, b) if not info.datasets]
        found.append(f"Data was not recorded by {' and '.join(silent)} (exp.log_dataset).")
    beside = sorted({name for one in reads for name in one.get("beside", ())})
    modules = [name for name in beside if name not in _BESIDE]
    if not logged:
        found += [_BESIDE[name] for name in beside if name in _BESIDE]
        if modules:
            names = ", ".join(modules[:3])
            found.append(
                f"What {names} read is not recorded, as they open files by themselves: exp.log_dataset names it."
            )
    elif "stdin" in beside:
        found.append(_BESIDE["stdin"])
    variables = [
        {**one.get("variables", {}), **(info.environment.get("variables") or {})}
        for one, info in zip(reads, (a, b), strict=True)
    ]
    masked = sorted(
        name for name in {**variables[0], **variables[1]} if any(MASK in one.get(name, "") for one in variables)
    )
    if masked:
        found.append(
            f"The values of {', '.join(masked[:3])} are not recorded, as they look secret: name them else if not."
        )
    if not all(one.get("whole") for one in reads):  # else the content of what was imported is known, stored or not
        found += _notes(code)
    vague = sorted({*a.lossy_params} | {*b.lossy_params})
    if vague:
        found.append(f"Of config {', '.join(vague[:3])} only a description is recorded.")
    return found


def gaps_of(a: ExperimentInfo, b: ExperimentInfo, code: CodeDiff) -> list[str]:
    """Return what was not recorded and so cannot be compared, a sentence each."""
    gaps = blind_spots(a, b, code)
    gaps += [note for note in _notes(code) if note not in gaps]
    for part, what in (("packages", "packages and machine"), ("randomness", "random generators")):
        lacking = [info.experiment_id for info in (a, b) if part in unrecorded(info)]
        if lacking:
            gaps.insert(0, f"Nothing of {what} was recorded by {' and '.join(lacking)}.")
    return gaps


def _notes(code: CodeDiff) -> list[str]:
    return [f"{note[0].upper()}{note[1:]}." for note in code.notes]
