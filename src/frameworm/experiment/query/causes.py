"""Causes: which of the differences between two experiments explain that their metrics part, likeliest first.

Only what differs can be a cause. Each difference has a weight by its kind, a matter of experience and not a
probability; how the metrics part then speaks for some kinds and against others:

============================================================  ======  =========
difference                                                    weight  group
============================================================  ======  =========
fingerprint of data, or of an artifact that was used              90  inputs
content of a file that was read                                   88  inputs
variable that the program looked at                            62–75  inputs
file that was read: touched since, its size the same              39  inputs
file that a run reads, and itself or an earlier one wrote         34  inputs
param of the config                                               85  inputs
seed                                                              85  start
code that is run                                                  80  inputs
files beside it that Python neither imported nor opened       45 or 8  inputs
binary files beside it that only one of the two has               30  inputs
command line or config file, where the config differs too         20  inputs
package that computes (numpy, torch, …)                           70  numerics
command line                                                      65  inputs
one was resumed, the other not                                    55
interpreter, GPU                                                  50  numerics
other packages                                                    45  numerics
threads, BLAS, flags of CUDA and the like                         45  numerics
generators not seeded                                             40  start
CPU                                                               40  numerics
paths of libraries and modules                                    30
operating system, C library                                    10–25  numerics
names, notes, output folders; tests, docs; tools; host         at most 10
============================================================  ======  =========

Where nothing weighs 40, what was not recorded is named (37, if there is something that may differ), and chance (35).

=================================  ========  ========  =====
how the metrics part               numerics  inputs    start
=================================  ========  ========  =====
by no more than rounding                +30       −20    −40
at the first point                                        +5
later                                                    −20
one ended earlier, else identical       −40              −40
a series is missing in one              −40              −40
=================================  ========  ========  =====
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from frameworm.experiment.config import flatten
from frameworm.experiment.model import ENDED, ExperimentInfo
from frameworm.experiment.query.chance import blind_spots, gaps_of, signs_of_chance
from frameworm.experiment.query.changes import Change, code_root, reads_of
from frameworm.experiment.query.code_diff import CodeDiff
from frameworm.experiment.query.divergence import Divergence, SeriesDiff
from frameworm.experiment.query.relevance import (
    IDLE,
    Group,
    is_idle_file,
    weigh_fact,
    weigh_package,
    weigh_param,
    weigh_variable,
)
from frameworm.experiment.query.wording import (
    arrow,
    counted,
    cut,
    files_title,
    files_told,
    plain,
    short,
    ulps_text,
    version_text,
    versions_apart,
)

LIKELY, POSSIBLE = 60, 25
"""Weights from which a cause is called so."""
_NOTEWORTHY = 40
"""Where nothing weighs as much, chance is a cause too."""
_ECHO = 20
"""Weight of a command line or config file where the config, which it says, differs too."""
_TOUCHED, _BLIND, _LAYOUT, _CHANCE, _REWRITTEN, _UNKNOWN = 39, 37, 36, 35, 34, 30
_LARGE = 1e-3
"""A relative difference of a first point that no order of additions makes."""
_CODE_FILE = re.compile(r"\.(pyi?|ipynb|sh|c|cc|cpp|cu|h|rs|js|ts)$")
_CONFIG_FILE = re.compile(r"\.(json|ya?ml|toml|ini|cfg)$")

_SHIFTS: dict[str, dict[Group, int]] = {
    "rounding": {"numerics": 30, "inputs": -20, "start": -40},
    "at once": {"start": 5},
    "later": {"start": -20},
    "ended": {"numerics": -40, "start": -40},
    "missing": {"numerics": -40, "start": -40},
}


@dataclass(frozen=True, slots=True)
class Cause:
    """A difference that may explain why the metrics part.

    Attributes:
        part: where it lies: ``config``, ``code``, ``data``, …, or ``chance`` for what no record shows.
        key: what differs there, such as ``training.lr`` or ``train.py``; "" for several.
        title: in a few words.
        evidence: what differs, in sentences.
        remark: what the way in which the metrics part says for or against it; "" for nothing.
        weight: 1 to 130; only to put causes in order.
    """

    part: str
    key: str
    title: str
    evidence: str
    remark: str
    weight: int

    @property
    def strength(self) -> Literal["likely", "possible", "unlikely"]:
        """The weight in a word."""
        return "likely" if self.weight >= LIKELY else "possible" if self.weight >= POSSIBLE else "unlikely"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "strength": self.strength}


def rank_causes(
    a: ExperimentInfo,
    b: ExperimentInfo,
    changed: Mapping[str, Sequence[Change]],
    code: CodeDiff,
    first: SeriesDiff | None,
) -> tuple[Cause, ...]:
    """Return the probable causes, likeliest first.

    Args:
        a: one experiment.
        b: the other.
        changed: what differs, as ``changes.changes`` returns it.
        code: what differs in the code.
        first: the series that parted first; None if there is none to judge by.
    """
    way = _Way(a, b, first)
    read = _Read(a, b)
    config_differs = bool(changed["config"])
    found = [
        *_data(way, changed["data"], changed["artifacts"]),
        *_config(way, changed["config"]),
        *_order(way),
        *_code(way, code, read, config_differs=config_differs),
        *_files(way, changed, code, read, config_differs=config_differs),
        *_randomness(way, changed["randomness"], changed["config"]),
        *_packages(way, changed["packages"]),
        *_surroundings(way, changed, read),
        *_course(way, changed["course"]),
    ]
    if first is not None and way.shape in ("rounding", "at once", "later"):
        if max((cause.weight for cause in found), default=0) < _NOTEWORTHY:
            found += _chance(way, code)
    return tuple(sorted(found, key=lambda cause: -cause.weight))


class _Read:
    """What is known of the files that the two read and wrote; paths are relative to the code, or absolute."""

    def __init__(self, a: ExperimentInfo, b: ExperimentInfo) -> None:
        reads = reads_of(a), reads_of(b)
        roots = [f"{code_root(info)}/" for info in (a, b)]
        self.whole = all(one.get("whole") for one in reads)
        """Whether all was noted that Python itself opened, to the end."""
        self.alone = self.whole and not any("children" in one.get("beside", ()) for one in reads)
        self.files: set[str] = set()
        digests = [
            {file["path"].removeprefix(root): file.get("digest") for file in one.get("files", ())}
            for one, root in zip(reads, roots, strict=True)
        ]
        self.same = {path for path, digest in digests[0].items() if digest and digest == digests[1].get(path)}
        """What both read and was the same."""
        self.written: set[str] = set()
        """What came out of one of the two: written, and read by neither."""
        self.rewritten: set[str] = set()
        """What one of the two read, and itself or the other wrote."""
        self.data: set[str] = set()
        """What is recorded as data."""
        for info, one, root in zip((a, b), reads, roots, strict=True):
            files = one.get("files", ())
            self.files |= {file["path"].removeprefix(root) for file in files}
            self.rewritten |= {file["path"].removeprefix(root) for file in files if file.get("rewritten")}
            self.written |= {path.removeprefix(root) for path in one.get("written", ())}
            paths = [str(dataset.get("path")) for dataset in info.datasets if dataset.get("kind") == "file"]
            self.data |= {path.removeprefix(root) for path in paths}
        self.rewritten |= self.written & self.files
        self.written -= self.files
        self.variables = {*reads[0].get("variables", {}), *reads[1].get("variables", {})}
        self.variables |= {*reads[0].get("unset", ()), *reads[1].get("unset", ())}

    def is_idle(self, path: str) -> bool:
        """Whether a run does not read this file of the code."""
        if path in self.files:
            return False
        return path in self.written or is_idle_file(path) or (self.alone and _CODE_FILE.search(path) is not None)


class _Way:
    """How the metrics part, and what that says for and against a kind of difference."""

    def __init__(self, a: ExperimentInfo, b: ExperimentInfo, first: SeriesDiff | None) -> None:
        self.a, self.b, self.first = a, b, first
        self.ids = a.experiment_id, b.experiment_id
        divergence = None if first is None else first.divergence
        self.divergence: Divergence | None = divergence
        if divergence is not None:
            self.shape = "rounding" if divergence.is_rounding else "later" if divergence.position else "at once"
        else:
            self.shape = {"shorter": "ended", "missing": "missing"}.get(first.state, "") if first else ""

    def cause(self, part: str, key: str, title: str, evidence: str, weight: int, group: Group = "") -> Cause:
        """Return a cause, its weight and evidence adjusted to how the metrics part."""
        shift = _SHIFTS.get(self.shape, {}).get(group, 0)
        if weight <= IDLE:
            return Cause(part, key, title, evidence, "", weight)
        return Cause(part, key, title, evidence, self._said(group), max(1, weight + shift))

    def _said(self, group: Group) -> str:
        ulps = ulps_text(self.divergence)
        same = self.first.same_points if self.first else 0
        return {
            ("rounding", "numerics"): f"The first difference is as small as rounding ({ulps}), which fits.",
            (
                "rounding",
                "inputs",
            ): f"But the first difference is as small as rounding ({ulps}), which is rare for such a change.",
            ("rounding", "start"): f"But the first difference is as small as rounding ({ulps}).",
            ("at once", "start"): "The very first point differs, which fits.",
            ("later", "start"): f"But the first {counted(same, 'point')} of {self._label()} are identical.",
            ("ended", "numerics"): "But every point that both have is identical.",
            ("ended", "start"): "But every point that both have is identical.",
        }.get((self.shape, group), "")

    def _label(self) -> str:
        return self.first.label if self.first else ""

    def arrow(self, change: Change, show: Callable[[Any], str] | None = None) -> str:
        """Return a change in a few words."""
        return arrow(change, self.ids, show)

    def changed(self, what: str, change: Change, show: Callable[[Any], str] | None = None) -> str:
        """Return a sentence such as ``training.lr is 0.001 in exp_001 and 0.01 in exp_002.``."""
        a, b = map(show or short, (change.a, change.b))
        if change.kind == "added":
            return f"{what} is {b} in {self.ids[1]}; {self.ids[0]} has none."
        if change.kind == "removed":
            return f"{what} is {a} in {self.ids[0]}; {self.ids[1]} has none."
        return f"{what} is {a} in {self.ids[0]} and {b} in {self.ids[1]}."


# ---------------------------------------------------------------------------------------------- what was put in


def _data(way: _Way, data: Sequence[Change], artifacts: Sequence[Change]) -> Iterator[Cause]:
    for change in data:
        a, b = (value if isinstance(value, Mapping) else {} for value in (change.a, change.b))
        mark = "digest" if "digest" in {**a, **b} else "fingerprint"
        if change.kind != "changed":
            where = way.ids[0 if change.kind == "removed" else 1]
            title = f"data {change.key}: only in {where}"
            yield way.cause("data", change.key, title, f"{change.key} was recorded by {where} only.", 60, "inputs")
        elif a.get(mark) != b.get(mark):
            x, y = (_digest(side.get(mark)) for side in (a, b))
            told = f"The {mark} of {change.key} is {x} in {way.ids[0]} and {y} in {way.ids[1]}"
            sizes = [(name, a.get(key), b.get(key)) for name, key in (("size", "size_bytes"), ("rows", "rows"))]
            told += "".join(
                f"; {name} {x:,} → {y:,}" for name, x, y in sizes if x is not None and y is not None and x != y
            )
            yield way.cause("data", change.key, f"data {change.key}: another content", f"{told}.", 90, "inputs")
    for change in artifacts:
        one = change.b or change.a
        if change.kind == "changed" and re.match(r"data", str(one.get("type")), re.IGNORECASE):
            told = f"The artifact {change.key} of type {one['type']} has another digest."
            yield way.cause("artifacts", change.key, f"data {change.key}: another content", told, 60, "inputs")


def _digest(digest: Any) -> str:
    algorithm, _, hexadecimal = str(digest).rpartition(":")
    return f"{algorithm}:{hexadecimal[:8]}…" if algorithm else str(digest)[:16]


def _config(way: _Way, config: Sequence[Change]) -> Iterator[Cause]:
    for change in config:
        title, told = f"config {change.key}: {way.arrow(change)}", way.changed(change.key, change)
        weight, group = _weigh_param(way, change)
        if weight <= IDLE:
            told += " By its name it does not change results."
        elif _is_number(change.a) and _is_number(change.b) and change.a == change.b:
            weight, told = _ECHO, f"{told} Only the type differs."
        yield way.cause("config", change.key, title, told, weight, group)


def _weigh_param(way: _Way, change: Change) -> tuple[int, Group]:
    sides = {"added": [(way.b, change.b)], "removed": [(way.a, change.a)]}
    given = sides.get(change.kind) or [(way.a, change.a), (way.b, change.b)]
    values, times_ms = [value for _, value in given], [info.created_ms for info, _ in given]
    return weigh_param(change.key, added=change.kind != "changed", values=values, times_ms=times_ms)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(way: _Way) -> Iterator[Cause]:
    """Tell that the params are the same but come in another order, which a loop over them sees."""
    if flatten(way.a.config) == flatten(way.b.config) and json.dumps(way.a.config) != json.dumps(way.b.config):
        told = "The params are the same, but come in another order, which a loop over them would see."
        yield way.cause("config", "", "config: another order of params", told, _LAYOUT, "inputs")


def _code(way: _Way, code: CodeDiff, read: _Read, *, config_differs: bool) -> Iterator[Cause]:
    told_elsewhere = read.data | read.rewritten | read.same
    files = [file for file in code.files if file.path not in told_elsewhere]
    files.sort(key=lambda file: file.kind in ("added", "removed"))  # a changed file tells more than a new one
    order = [file for file in files if file.only_layout and not file.path.endswith(".py")]
    run = [file for file in files if not file.only_layout and not read.is_idle(file.path)]
    idle = [file for file in files if file not in run and file not in order]
    unread = [file for file in run if file.path not in read.files] if read.whole and read.files else []
    run = [file for file in run if file not in unread]
    for found in (run, unread):
        if found:
            known = "" if code.basis == "trees" else " The commits could not be compared line by line."
            key = found[0].path if len(found) == 1 else ""
            weight, told = 80, f"{files_told(found)}{known}"
            if found is unread:
                weight, told = (
                    45,
                    f"{told} Python itself did not open {'it' if key else 'them'}; something else may have.",
                )
            if config_differs and all(_CONFIG_FILE.search(file.path) for file in found):
                weight, told = _ECHO, f"{told} What it says of the config is told there."
            elif all(file.kind in ("added", "removed") and not file.hunks for file in found):
                weight = 30  # no text, and in one of them alone: rather what a run wrote than what it read
            yield way.cause("code", key, f"code {files_title(found)}", told, weight, "inputs")
    if not run and code.basis == "stored" and code.commits[0] != code.commits[1]:
        told = "The commits are not the same, and could not be compared line by line."
        title = f"code: commit {' → '.join(str(commit)[:10] for commit in code.commits)}"
        yield way.cause("code", "", title, told, 60, "inputs")
    if order:
        key = order[0].path if len(order) == 1 else ""
        why = "It says the same in another order or layout, which a loop over it would see."
        yield way.cause("code", key, f"code {files_title(order)}", why, _LAYOUT, "inputs")
    if idle:
        key = idle[0].path if len(idle) == 1 else ""
        why = "Only comments and layout differ, or files that a run does not read, or that an earlier one wrote."
        yield way.cause("code", key, f"code {files_title(idle)}", why, 8)


def _files(
    way: _Way, changed: Mapping[str, Sequence[Change]], code: CodeDiff, read: _Read, *, config_differs: bool
) -> Iterator[Cause]:
    """Tell what was opened or imported and is not the same, as far as code and data do not tell it."""
    told_as_code = {file.path for file in code.files} - read.rewritten
    packages = {change.key for change in changed["packages"]}
    for change in changed["files"]:
        a, b = change.a or {}, change.b or {}
        is_code = bool({**a, **b}.get("code")) or change.key.endswith(".py")
        if change.key in told_as_code:
            continue
        what = f"{'code' if is_code else 'file'} {change.key}"
        if change.kind != "changed":
            where = way.ids[0 if change.kind == "removed" else 1]
            weight = _UNKNOWN if is_code else _REWRITTEN  # a program may write it as its last line, for the next run
            told = f"{change.key} was {'imported' if is_code else 'opened'} by {where} only."
            yield way.cause("files", change.key, f"{what}: read by {where} only", told, weight, "inputs")
            continue
        sizes = a["size_bytes"], b["size_bytes"]
        sizes_told = f"{sizes[0]:,} → {sizes[1]:,} bytes" if sizes[0] != sizes[1] else f"{sizes[0]:,} bytes in both"
        weight, title = (80 if is_code else 88), f"{what}: another content"
        told = f"Neither git nor the record holds it, but its content was not the same when it was read: {sizes_told}."
        next_time = "" if is_code else f" exp.log_dataset({change.key!r}) records its fingerprint."
        if sizes[0] == sizes[1] and not (a.get("digest") and b.get("digest")):
            weight, title = _TOUCHED, f"{what}: written in between"
            told = (
                f"It was written between the two, its size is the same ({sizes_told}), and its content is not recorded."
            )
        if change.key in read.rewritten:
            weight = min(weight, _REWRITTEN)
            told, next_time = f"{told} A run reads it and writes it anew.", ""
        elif is_code and packages.intersection(_words(change.key)):
            weight, told, next_time = _ECHO, f"{told} It is of a package, and told there.", ""
        elif config_differs and _CONFIG_FILE.search(change.key):
            weight, told, next_time = _ECHO, f"{told} What it says of the config is told there.", ""
        if a["path"] != b["path"]:
            told += f" It is {a['path']} in {way.ids[0]} and {b['path']} in {way.ids[1]}."
        yield way.cause("files", change.key, title, f"{told}{next_time}", weight, "inputs")


def _words(path: str) -> set[str]:
    """Return the folders of a path and its name, as packages are called."""
    return {word.removesuffix(".py").replace("_", "-").lower() for word in path.split("/")}


# ---------------------------------------------------------------------------------------------- where it began


def _randomness(way: _Way, randomness: Sequence[Change], config: Sequence[Change]) -> Iterator[Cause]:
    by_key = {change.key: change for change in randomness}
    seed = by_key.get("seed")
    states = [
        key.removeprefix("states.")
        for key, one in by_key.items()
        if key.startswith("states.") and one.kind == "changed"
    ]
    if seed is not None:
        params = [one for one in config if weigh_param(one.key, added=False)[1] == "start"]
        if not any((one.a, one.b) == (seed.a, seed.b) for one in params):  # else it is told as the param that it is
            told = way.changed("The seed", seed)
            yield way.cause("randomness", "seed", f"seed: {way.arrow(seed)}", told, 85, "start")
    elif states:
        told = f"The generators of {', '.join(states)} began in different states"
        if way.a.randomness.get("seed") is None:
            title, weight = "random generators: not seeded", 40
            told += ", and no seed was recorded: seed_everything(…) makes them begin alike."
        else:
            title, weight = "random generators: other states", 50
            told += " though the seed is the same: something drew from them before the start, more often in one."
        yield way.cause("randomness", "states", title, told, weight, "start")
    for key, weight, group in (
        ("deterministic", 40, "numerics"),
        ("torch_threads", 45, "numerics"),
        ("hash_randomization", 25, "start"),
    ):
        if key in by_key:
            name = key.replace("_", " ")
            told = way.changed(name[0].upper() + name[1:], by_key[key])
            yield way.cause("randomness", key, f"{name}: {way.arrow(by_key[key])}", told, weight, group)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- what was around


def _packages(way: _Way, packages: Sequence[Change]) -> Iterator[Cause]:
    for change in packages:
        weight, group = weigh_package(change.key, added=change.kind != "changed")
        title = f"package {change.key}: {versions_apart(change, way.ids)}"
        told = way.changed(change.key, change, version_text)
        if weight <= IDLE:
            told += " It is a tool, which does not compute."
        yield way.cause("packages", change.key, title, told, weight, group)


def _surroundings(way: _Way, changed: Mapping[str, Sequence[Change]], read: _Read) -> Iterator[Cause]:
    moved = [
        one
        for one in changed["files"]
        if (one.a["path"] != one.b["path"] if one.kind == "changed" else not (one.a or one.b).get("code"))
    ]
    for change in changed["command"]:
        weight = weigh_fact("command", change.key)
        if change.key == "cwd" and moved:
            weight = 92  # a relative path leads to another file
        if change.key == "command":
            title, told = _command_line(way, change)
            if changed["config"]:
                weight, told = _ECHO, f"{told} What it says of the config is told there."
            yield way.cause("command", change.key, title, told, weight, "inputs")
        else:
            name = {"cwd": "working folder", "executable": "interpreter's path", "stdin": "standard input"}.get(
                change.key, change.key
            )
            yield way.cause(
                "command",
                change.key,
                f"{name}: {way.arrow(change, plain)}",
                way.changed(f"The {name}", change, plain),
                weight,
            )
    for change in changed["variables"]:
        weight, group = weigh_variable(
            change.key, looked_at=change.key in read.variables, added=change.kind != "changed"
        )
        yield way.cause(
            "variables",
            change.key,
            f"{change.key}: {way.arrow(change, plain)}",
            way.changed(change.key, change, plain),
            weight,
            group,
        )
    for part in ("interpreter", "hardware", "platform"):
        for change in changed[part]:
            name = change.key.replace("_", " ").replace(".", " ")
            weight = weigh_fact(part, change.key)
            told = way.changed(f"{name[0].upper()}{name[1:]}", change, plain)
            yield way.cause(part, change.key, f"{name}: {_apart(way, change)}", told, weight, "numerics")


def _apart(way: _Way, change: Change) -> str:
    """Return a change; of two lists only what is in one of them."""
    if isinstance(change.a, list) and isinstance(change.b, list):
        gone = [plain(item) for item in change.a if item not in change.b]
        new = [plain(item) for item in change.b if item not in change.a]
        return ", ".join([*(f"−{item}" for item in gone[:4]), *(f"+{item}" for item in new[:4])])
    return way.arrow(change, plain)


def _command_line(way: _Way, change: Change) -> tuple[str, str]:
    words = [value if isinstance(value, list) else [str(value)] for value in (change.a, change.b)]
    gone = " ".join(word for word in words[0] if word not in words[1])
    new = " ".join(word for word in words[1] if word not in words[0])
    title = (
        f"command line: {cut(gone) or 'nothing'} → {cut(new) or 'nothing'}"
        if gone or new
        else "command line: another order"
    )
    return title, f"{way.ids[0]} ran `{cut(' '.join(words[0]))}`, {way.ids[1]} `{cut(' '.join(words[1]))}`."


# ---------------------------------------------------------------------------------------------- how it went


def _course(way: _Way, course: Sequence[Change]) -> Iterator[Cause]:
    by_key = {change.key: change for change in course}
    sessions, status, fork = (by_key.get(key) for key in ("sessions", "status", "fork of"))
    if sessions is not None:
        more = 0 if sessions.a > sessions.b else 1
        times = max(sessions.a, sessions.b) - 1
        told = (
            f"{way.ids[more]} was resumed {'once' if times == 1 else f'{times} times'} more than {way.ids[1 - more]}."
        )
        if way.divergence is not None and "step" in way.divergence.columns:
            yield way.cause(
                "course", "sessions", f"{way.ids[more]} was resumed", f"{told} Steps were logged again.", 95
            )
        else:
            yield way.cause("course", "sessions", f"{way.ids[more]} was resumed", told, 55)
    if fork is not None:
        which = 0 if fork.kind == "removed" else 1
        told = f"{way.ids[which]} goes on from points that it did not compute itself."
        title = f"{way.ids[which]} is a fork of {(fork.a, fork.b)[which]}"
        yield way.cause("course", "fork of", title, told, 50)
    if way.shape == "ended" and way.first is not None:
        shorter = way.first.points.index(min(way.first.points))
        info = (way.a, way.b)[shorter]
        running = info.status not in (*ENDED, "crashed")
        told = (
            f"{info.experiment_id} has no points of {way.first.label} after step {way.first.last_steps[shorter]}; it "
        )
        told += "is still running." if running else f"is {info.status}{f' ({info.reason})' if info.reason else ''}."
        title = (
            f"{info.experiment_id} is still running"
            if running
            else f"{info.experiment_id} ended earlier: {info.status}"
        )
        yield way.cause("course", "status", title, told, 100 if info.status != "completed" else 35)
    elif status is not None:
        yield way.cause("course", "status", f"status: {status.a} → {status.b}", way.changed("Status", status), 6)
    before = by_key.get("experiments before it in its process")
    if before is not None:
        told = f"{before.a} experiments ran before {way.ids[0]} in its process, {before.b} before {way.ids[1]}: "
        told += "what they drew from random generators or left in memory carries over."
        yield way.cause("course", before.key, f"{before.key}: {way.arrow(before)}", told, 40, "start")
    attached = by_key.get("attached processes")
    if attached is not None:
        yield way.cause(
            "course",
            attached.key,
            f"{attached.key}: {way.arrow(attached)}",
            way.changed("The number of them", attached),
            35,
        )


# ---------------------------------------------------------------------------------------------- what no record shows


def _chance(way: _Way, code: CodeDiff) -> Iterator[Cause]:
    spots = blind_spots(way.a, way.b, code)
    divergence = way.divergence
    large = way.shape == "at once" and divergence is not None and not divergence.relative < _LARGE
    signs = signs_of_chance((way.a, way.b), rounding=not large)
    told = f"Nothing that weighs differs. {' '.join(signs)}" if signs else "Nothing that was recorded differs."
    if large:
        told += " The very first point differs by more than the order of additions makes: look for what no seed governs"
        told += ", such as a generator of its own, the time, or the order of files in a folder."
    yield way.cause("chance", "nondeterminism", "nondeterminism", told, _CHANCE)
    gaps = gaps_of(way.a, way.b, code)
    if gaps:
        seeded = all(info.randomness.get("seed") is not None for info in (way.a, way.b))
        weight = _BLIND if spots and seeded and way.shape != "rounding" else _UNKNOWN
        yield way.cause("chance", "unrecorded", "something that was not recorded", " ".join(gaps), weight)
