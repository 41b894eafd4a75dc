"""Changes: which recorded facts of two experiments are not the same, part by part.

A fact is a key and a plain value: a param, a package's version, a variable, a file's digest. Facts that say only
where or when an experiment ran, such as its process id, are no facts here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from frameworm.experiment.config import flatten
from frameworm.experiment.model import ExperimentInfo

PARTS = (
    "config",
    "data",
    "files",
    "randomness",
    "packages",
    "command",
    "variables",
    "interpreter",
    "hardware",
    "platform",
    "course",
    "artifacts",
)
"""What is compared, as ``changes`` returns it."""

_INTERPRETER = ("python_version", "python_implementation")
_HARDWARE = tuple(
    "cpu_model cpu_flags cpu_count cpu_count_physical cpu_count_usable memory_bytes gpus machine host".split()
)
_COMMAND = ("command", "cwd", "executable", "stdin")
# Of no account, or told elsewhere: a process id never repeats, the offset follows from the time zone.
_NO_FACTS = frozenset(("pid", "user", "utc_offset_s", "ordinal", "packages", "package_sources", "variables", "reads"))
_UNKNOWN_IF_ABSENT = ("randomness", "interpreter", "hardware", "platform")
"""Parts whose facts are found out only where something is imported or installed; ``seed`` is none either way."""


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that is not the same in two experiments.

    Attributes:
        key: its name within its part, such as ``training.lr``.
        kind: ``added`` (only b has it), ``removed`` (only a has it) or ``changed``.
        a: the value in a; None where it is added.
        b: the value in b; None where it is removed.
    """

    key: str
    kind: Literal["added", "removed", "changed"]
    a: Any
    b: Any


def changes(a: ExperimentInfo, b: ExperimentInfo) -> dict[str, tuple[Change, ...]]:
    """Return what is not the same, for each of ``PARTS``; nothing where they are equal.

    Values are the same if they are of one type and equal, so 1, 1.0 and True are three; NaN is the same as NaN.
    What one of the two did not live to record is not compared: see ``unrecorded``.
    """
    of_a, of_b = facts(a), facts(b)
    found = {part: _between(of_a[part], of_b[part]) for part in PARTS}
    found["files"] = files_between(a, b)
    found["variables"] = tuple(change for change in found["variables"] if _is_known(change, (a, b)))
    for part in {*unrecorded(a), *unrecorded(b)}:
        found[part] = ()
    for part in _UNKNOWN_IF_ABSENT:
        found[part] = tuple(change for change in found[part] if change.kind == "changed" or change.key == "seed")
    return found


def unrecorded(info: ExperimentInfo) -> list[str]:
    """Return which of ``packages`` and ``randomness`` are not recorded.

    They, and with the packages most of the machine, are found out in the background within a second of the start;
    an experiment that was killed before has none.
    """
    recorded = {"packages": info.environment.get("packages"), "randomness": info.randomness}
    return [part for part, facts in recorded.items() if not facts]


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are of one type and equal; NaN equals NaN, the order of keys does not count."""
    if type(a) is str and type(b) is str:  # nearly all are: 100 experiments have 14,000
        return a == b
    return _canonical(a) == _canonical(b)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is_known(change: Change, infos: tuple[ExperimentInfo, ExperimentInfo]) -> bool:
    """Whether a variable differs for sure: one that only one of the two looked at may be the same for the other."""
    if change.kind == "changed":
        return True
    lacking = infos[change.kind == "removed"]
    return bool(reads_of(lacking)) or change.key in (infos[change.kind == "added"].environment.get("variables") or {})


def _between(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    found = []
    for key in dict.fromkeys([*a, *b]):
        if key not in b:
            found.append(Change(key, "removed", a[key], None))
        elif key not in a:
            found.append(Change(key, "added", None, b[key]))
        elif not same(a[key], b[key]):
            found.append(Change(key, "changed", a[key], b[key]))
    return tuple(found)


def facts(info: ExperimentInfo) -> dict[str, dict[str, Any]]:
    """Return what was recorded of one experiment, as plain values by key, in each of ``PARTS``."""
    environment = info.environment
    named = {*_INTERPRETER, *_HARDWARE, *_COMMAND, *_NO_FACTS}
    return {
        "config": flatten(info.config),
        "data": {**_datasets(info), **_used(info)},
        "files": {},  # told apart by what is known of both: see ``files_between``
        "randomness": {key: value for key, value in flatten(info.randomness).items() if value is not None},
        "packages": _packages(environment),
        "command": _command(info),
        "variables": {**reads_of(info).get("variables", {}), **(environment.get("variables") or {})},
        "interpreter": _some(environment, _INTERPRETER),
        "hardware": _some(environment, _HARDWARE),
        "platform": flatten(_some(environment, (key for key in environment if key not in named))),
        "course": _course(info),
        "artifacts": _artifacts(info),
    }


def _some(environment: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return those facts that are known, without what tells two of one kind of GPU or container apart."""
    found = {key: environment[key] for key in keys if environment.get(key) is not None}
    if isinstance(found.get("gpus"), list):
        found["gpus"] = [{key: value for key, value in gpu.items() if key != "uuid"} for gpu in found["gpus"]]
    if isinstance(found.get("container"), Mapping):
        found["container"] = {key: value for key, value in found["container"].items() if key != "id"}
    return found


def _packages(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions, or a dict of version and source for what did not come from an index.

    Names are written as PEP 503 has it, so that ``Foo_Bar`` is ``foo-bar``.
    """
    sources = environment.get("package_sources") or {}
    packages = {}
    for name, version in (environment.get("packages") or {}).items():
        source = sources.get(name)
        packages[_project(name)] = {"version": version, **source} if source else version
    return packages


@lru_cache(10_000)  # a hundred experiments have the same hundred packages
def _project(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _command(info: ExperimentInfo) -> dict[str, Any]:
    """Return the command line and where it was run.

    The folder of the code is written as ``.``: the same program in another checkout has the same command line.
    The interpreter's path stands apart as ``executable``, and so does its first word.
    """
    facts = _some(info.environment, _COMMAND)
    if info.code.get("notebook"):  # a kernel is told the file of its connection: it is the cells that ran
        facts.pop("command", None)
    words = facts.get("command")
    root = code_root(info)
    if isinstance(facts.get("cwd"), str):
        facts["cwd"] = _under(facts["cwd"], root)
    if isinstance(words, list):
        shortened = [_under(word, root) for word in words]
        facts["command"] = shortened[1:] if len(shortened) > 1 else shortened
    return facts


def _under(word: str, root: str) -> str:
    return f".{word[len(root) :]}" if root and (word == root or word.startswith(f"{root}/")) else word


def _datasets(info: ExperimentInfo) -> dict[str, Any]:
    """Return what tells each dataset's content; where it lay is no matter."""
    found: dict[str, Any] = {}
    for dataset in info.datasets:
        facts = {
            key: value for key, value in dataset.items() if key not in ("name", "path", "kind") and value is not None
        }
        found[_free(str(dataset.get("name")), found)] = facts
    return found


def _used(info: ExperimentInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for use in info.used:
        found[_free(f"artifact {use.get('artifact')}", found)] = {
            key: use.get(key) for key in ("experiment_id", "version", "digest")
        }
    return found


def _artifacts(info: ExperimentInfo) -> dict[str, Any]:
    """Return the latest version of each artifact by name."""
    latest = {artifact.name: artifact for artifact in sorted(info.artifacts, key=lambda one: one.version)}
    return {
        name: {"digest": one.digest, "size_bytes": one.size_bytes, "type": one.artifact_type}
        for name, one in sorted(latest.items())
    }


def _course(info: ExperimentInfo) -> dict[str, Any]:
    """Return how it went: its status, how often it was started, by how many processes, and from what."""
    sessions = sum(writer.get("role") == "owner" for writer in info.writers)
    attached = sum(writer.get("role") == "attached" for writer in info.writers)
    facts: dict[str, Any] = {"status": info.status, "sessions": sessions or 1}
    facts["experiments before it in its process"] = info.environment.get("ordinal", 0)
    if info.reason:
        facts["reason"] = info.reason
    if attached:
        facts["attached processes"] = attached
    if fork := info.forked_from:
        facts["fork of"] = f"{fork.get('experiment_id')} at step {fork.get('step')}"
    return facts


def reads_of(info: ExperimentInfo) -> dict[str, Any]:
    """Return what was noted of what it read, as in ``provenance.reads``; empty in older records."""
    return info.environment.get("reads") or {}


def code_root(info: ExperimentInfo) -> str:
    """Return the folder that its code is in; "" if that is not known."""
    return str(info.git.get("root") or info.code.get("root") or "")


def files_between(a: ExperimentInfo, b: ExperimentInfo) -> tuple[Change, ...]:
    """Return the files, noted as they were opened or imported, that are not the same, or may not be.

    Digests tell, else size and time of modification. One file has two paths in two checkouts, or by a relative path in
    two working folders. Files whose fingerprints are recorded are told as data.
    """
    if not reads_of(a) or not reads_of(b):
        return ()
    ours, theirs = _files(a), _files(b)
    pairs = [(key, ours.pop(key), theirs.pop(key)) for key in [*ours] if key in theirs]
    for name in (_in_working_folder, _last_part):
        named = [_unique(side, info, name) for side, info in ((ours, a), (theirs, b))]
        pairs += [
            (named[1][one], ours.pop(named[0][one]), theirs.pop(named[1][one])) for one in named[0] if one in named[1]
        ]
    found = [Change(key, "changed", x, y) for key, x, y in pairs if not _same_file(x, y)]
    found += [Change(key, "removed", file, None) for key, file in ours.items()]
    found += [Change(key, "added", None, file) for key, file in theirs.items()]
    return tuple(found)


def _files(info: ExperimentInfo) -> dict[str, dict[str, Any]]:
    root, known = code_root(info), {dataset.get("path") for dataset in info.datasets}
    files = [file for file in reads_of(info).get("files", ()) if file["path"] not in known]
    return {_under(file["path"], root).removeprefix("./"): file for file in files}


def _unique(
    files: Mapping[str, dict[str, Any]], info: ExperimentInfo, name: Callable[[str, ExperimentInfo], str]
) -> dict[str, str]:
    """Return the keys of the files by another name, as far as it is that of one only."""
    found: dict[str, list[str]] = {}
    for key, file in files.items():
        found.setdefault(name(file["path"], info), []).append(key)
    return {one: keys[0] for one, keys in found.items() if one and len(keys) == 1}


def _in_working_folder(path: str, info: ExperimentInfo) -> str:
    folder = f"{info.environment.get('cwd')}/"
    return path.removeprefix(folder) if path.startswith(folder) else ""


def _last_part(path: str, info: ExperimentInfo) -> str:
    return path.rpartition("/")[2]


def _same_file(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if a.get("digest") and b.get("digest"):
        return bool(a["digest"] == b["digest"])
    return (a["size_bytes"], a["modified_ns"]) == (b["size_bytes"], b["modified_ns"])


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """Return the name, with a number behind it if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} #{number}"
    return free
