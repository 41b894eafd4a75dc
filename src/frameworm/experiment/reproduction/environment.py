"""The environment: recorded variables set again, and what of interpreter, packages and machine is not as it was."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from frameworm.experiment.errors import ReproductionError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.provenance.environment import is_recorded
from frameworm.experiment.query.changes import Change, changes
from frameworm.experiment.query.relevance import weigh_package
from frameworm.experiment.query.wording import arrow, short, version_text
from frameworm.experiment.reproduction.layout import Layout
from frameworm.experiment.reproduction.trust import allowed_variables, may_be_set
from frameworm.experiment.secrets import MASK

_KEPT = frozenset(("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"))
"""Recorded variables that say where packages are: those of today hold."""
_PROBE = """
import json, sys
from frameworm.experiment.provenance.environment import capture_quick, capture_slow
json.dump({**capture_quick(), **capture_slow(), "path": sys.path}, sys.stdout)
"""
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_PROBE_TIMEOUT_S = 120
_MANY = 8


@dataclass(slots=True)
class Surroundings:
    """What a program is run with.

    Attributes:
        python: the interpreter.
        variables: all environment variables.
        made: names of those that differ from the record because of where the code is laid out.
        umask: None for ours.
        stdin: file for standard input; None for nothing.
    """

    python: str
    variables: dict[str, str]
    made: set[str] = field(default_factory=set)
    umask: int | None = None
    stdin: Path | None = None


def surround(info: ExperimentInfo, layout: Layout, python: str = sys.executable, *, own: bool = True) -> Surroundings:
    """Set the variables as they were recorded, and say what is not as it was.

    Args:
        info: what is recorded.
        layout: where the code is; takes the remarks.
        python: the interpreter to run.
        own: whether this user recorded it; of a stranger's variables only some are set.

    Raises:
        ReproductionError: the interpreter cannot import this package, or the file that was read as standard input is
            gone.
    """
    recorded = info.environment
    here = Surroundings(python, _variables(recorded.get("variables") or {}, layout, own=own))
    here.umask = int(recorded["umask"], 8) if own and recorded.get("umask") else None
    # Our own folders that are imported from, and caches, must not come to hold what the program compiles.
    if here.variables.setdefault("PYTHONDONTWRITEBYTECODE", "1") == "1":
        here.made.add("PYTHONDONTWRITEBYTECODE")
    here.stdin = _stdin(info, layout)
    _set_time_zone(recorded, here)
    _leave_launcher(here)
    present = _probe(here, layout.folder)
    _find_laid_out_packages(recorded, present, here, layout)
    _set_threads(info, present, here, layout)
    _compare(info, present, here, layout)
    _say_randomness(info, layout)
    return here


def _variables(recorded: Mapping[str, str], layout: Layout, *, own: bool) -> dict[str, str]:
    """Return our variables, with those of the list replaced by the recorded ones."""
    taken = dict(recorded) if own else allowed_variables(recorded)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not (is_recorded(name) if own else may_be_set(name))
    }
    for name, value in taken.items():
        if MASK in value:
            layout.say("environment", "unknown", f"{name} held a secret, which was not recorded; it is not set", name)
        elif name not in _KEPT:
            kept[name] = layout.translate(value)
    if not_set := sorted(recorded.keys() - taken.keys() - _KEPT):
        layout.say("environment", "unknown", f"not set, as the record is not yours: {', '.join(not_set)}", "variables")
    return kept


def _stdin(info: ExperimentInfo, layout: Layout) -> Path | None:
    recorded = info.environment.get("stdin")
    if not recorded:
        return None
    path = Path(recorded)
    place = layout.place(path)
    found = next((one for one in (place, layout.today(path)) if one is not None and one.is_file()), None)
    if found is None:
        raise ReproductionError(f"the file that was read as standard input is gone: {recorded}")
    if found.stat().st_mtime_ns // 1_000_000 > (info.started_ms or 0) and found != place:
        layout.say("data", "unknown", f"standard input {recorded} was written to since", "stdin")
    return found


def _set_time_zone(recorded: Mapping[str, Any], here: Surroundings) -> None:
    zone = recorded.get("time_zone")
    if zone and _ZONE.fullmatch(zone) and "TZ" not in here.variables and Path("/usr/share/zoneinfo", zone).is_file():
        here.variables["TZ"] = zone
        here.made.add("TZ")


def _leave_launcher(here: Surroundings) -> None:
    """Have one process that torchrun started alone meet itself: it would wait for its launcher for ever."""
    launcher = [name for name in here.variables if name.startswith("TORCHELASTIC_")]
    for name in launcher:
        del here.variables[name]
    if launcher:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            here.variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        here.made |= {*launcher, "MASTER_ADDR", "MASTER_PORT"}


def _probe(here: Surroundings, folder: Path) -> dict[str, Any]:
    """Ask the interpreter for the environment that a program would record."""
    import subprocess

    own = str(Path(__file__).parents[3])
    said = ""
    for _ in range(2):
        done = subprocess.run(
            [here.python, "-c", _PROBE],
            cwd=folder,
            env=here.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
        )
        if not done.returncode:
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        if "No module named 'frameworm" not in said:
            break
        _add_path(here, [own], last=True)  # this package is not installed there, but on our own path
    raise ReproductionError(f"{here.python} cannot run this package: {said}")


def _add_path(here: Surroundings, folders: list[str], *, last: bool = False) -> None:
    """Put folders on PYTHONPATH."""
    present = [folder for folder in here.variables.get("PYTHONPATH", "").split(os.pathsep) if folder]
    new = [folder for folder in folders if folder not in present]
    if new:
        here.variables["PYTHONPATH"] = os.pathsep.join([*present, *new] if last else [*new, *present])
        here.made.add("PYTHONPATH")


def _find_laid_out_packages(
    recorded: Mapping[str, Any], present: Mapping[str, Any], here: Surroundings, layout: Layout
) -> None:
    """Have the program import packages from the laid-out code that are installed as editable from the recorded one.

    Otherwise it would import the files as they are today.
    """
    folders = [Path(os.path.normpath(entry)) for entry in present["path"] if entry]
    code = str((recorded.get("variables") or {}).get("PYTHONPATH", "")).split(os.pathsep)
    folders += [Path(os.path.normpath(entry)) for entry in code if os.path.isabs(entry)]
    for environment in (recorded, present):
        for source in (environment.get("package_sources") or {}).values():
            if source.get("editable"):
                folder = editable_folder(source["url"])
                folders += [folder / "src", folder]
    found = []
    for folder in folders:
        place = layout.place(folder)
        if place is None and folder.is_relative_to(layout.project):
            place = layout.tree / folder.relative_to(layout.project)
        if place is not None and place.is_dir():
            found.append(str(place))
    _add_path(here, list(dict.fromkeys(found)))


def editable_folder(url: str) -> Path:
    """Return the folder that a package was installed from as editable."""
    return Path(unquote(urlparse(url).path))


def _set_threads(info: ExperimentInfo, present: Mapping[str, Any], here: Surroundings, layout: Layout) -> None:
    """Give PyTorch as many threads as it had by itself, if the number of processors is another."""
    threads = info.randomness.get("torch_threads")
    usable = info.environment.get("cpu_count_usable")
    if threads and usable and usable != present.get("cpu_count_usable") and "OMP_NUM_THREADS" not in here.variables:
        here.variables["OMP_NUM_THREADS"] = str(threads)
        here.made.add("OMP_NUM_THREADS")
        layout.say("environment", "same", f"{threads} threads, as recorded, by OMP_NUM_THREADS", "OMP_NUM_THREADS")


def _compare(info: ExperimentInfo, present: dict[str, Any], here: Surroundings, layout: Layout) -> None:
    now = {key: value for key, value in present.items() if key != "path"}
    # These two are known of programs that have imported the libraries; what they record is compared afterwards.
    now |= {key: info.environment.get(key) for key in ("blas", "cuda", "ordinal", "umask", "time_zone", "locale")}
    found = changes(info, replace(info, environment=now))
    differing = 0
    for part in ("interpreter", "hardware", "platform"):
        for change in found[part]:
            differing += 1
            name = change.key.replace("_", " ")
            layout.say("environment", "differs", f"{name}: {_short(change)}", change.key)
    for change in found["variables"]:
        if change.key not in here.made and change.key not in _KEPT:
            differing += 1
            layout.say("environment", "differs", f"{change.key}: {_short(change)}", change.key)
    packages = sorted(found["packages"], key=lambda change: -_weight(change))
    for change in packages:
        layout.say("environment", "differs", f"{change.key} {_short(change, package=True)}", change.key)
    if not packages and not differing:
        count = len(info.environment.get("packages") or ())
        version = info.environment.get("python_version")
        layout.say("environment", "same", f"Python {version}, {count} packages and the machine are as they were")


def _weight(change: Change) -> int:
    return weigh_package(change.key, added=change.kind != "changed")[0]


def _short(change: Change, *, package: bool = False) -> str:
    if isinstance(change.a, list) and isinstance(change.b, list):
        gone = [f"−{item}" for item in change.a if item not in change.b]
        new = [f"+{item}" for item in change.b if item not in change.a]
        shown = [*gone[:_MANY], *new[:_MANY]]
        return " ".join(map(str, shown)) + (" …" if len(gone) + len(new) > len(shown) else "")
    shown_by = version_text if package else short
    return arrow(change, ("the record", "this environment"), shown_by)


def _say_randomness(info: ExperimentInfo, layout: Layout) -> None:
    variables = info.environment.get("variables") or {}
    states = sorted((info.randomness.get("states") or {}).keys())
    if states:
        layout.say("randomness", "same", f"generators begin as recorded: {', '.join(states)}")
    else:
        layout.say("randomness", "unknown", "states of the random generators were not recorded")
    seed = variables.get("PYTHONHASHSEED")
    if seed in (None, "", "random") and info.randomness.get("hash_randomization", True):
        text = "PYTHONHASHSEED was random and cannot be known: the order of sets of strings may be another"
        layout.say("randomness", "unknown", text, "PYTHONHASHSEED")
    elif seed not in (None, "", "random"):
        layout.say("randomness", "same", f"PYTHONHASHSEED={seed}", "PYTHONHASHSEED")
