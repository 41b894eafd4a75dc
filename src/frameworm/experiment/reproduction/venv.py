"""A virtual environment made from an experiment's list of packages, kept for the next time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from frameworm.experiment.errors import ReproductionError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.paths import read_regular
from frameworm.experiment.provenance.environment import REQUIREMENTS_NAME
from frameworm.experiment.reproduction.child import run
from frameworm.experiment.reproduction.environment import editable_folder
from frameworm.experiment.reproduction.layout import Layout
from frameworm.experiment.storage.folder import PROVENANCE

_COMPLETE = "frameworm-complete"
_PATHS = "frameworm-reproduction.pth"
_OWN = Path(__file__).parents[2]
_LINES_SHOWN = 6


def make_venv(
    info: ExperimentInfo, exp_dir: Path, layout: Layout, installing: Callable[[int, Path], None] | None = None
) -> str:
    """Return the interpreter of a virtual environment with the recorded packages; made if it is not there already.

    Packages that were installed as editable cannot be installed again: they are imported from the laid-out code, or
    from their folder as it is today. This package is the one that runs now.

    Raises:
        ReproductionError: there is no such Python here, or pip cannot install a package; says which.
    """
    lock = exp_dir / PROVENANCE / REQUIREMENTS_NAME
    try:
        lines = read_regular(lock).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReproductionError(f"the list of packages of {info.experiment_id} cannot be read: {error}") from error
    wanted = [line for line in lines if line and not line.startswith("#") and not _is_own(line)]
    if options := [line for line in wanted if line.startswith("-")]:
        raise ReproductionError(f"the list of packages of {info.experiment_id} gives pip an option: {options[0]:.80}")
    python = _python(info)
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    paths = _editable_paths(info, layout)
    digest = hashlib.sha256("\n".join([version, *wanted, str(_OWN), *paths]).encode()).hexdigest()[:20]
    folder = cache_dir() / digest
    with _locked(folder):
        if not (folder / _COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            if installing is not None:
                installing(len(wanted), folder)
            try:
                _install(python, folder, wanted, info)
                _add_paths(folder, paths)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            (folder / _COMPLETE).write_text("\n".join([version, *wanted]) + "\n")
    recorded = info.environment.get("python_version")
    if version.removeprefix("Python ") != recorded:
        layout.say("environment", "differs", f"{version} instead of {recorded}", "python_version")
    layout.say("environment", "same", f"{len(wanted)} packages in {folder}")
    return str(folder / "bin" / "python")


def cache_dir() -> Path:
    """Return where the environments are kept; removing it does no harm."""
    from platformdirs import user_cache_path

    return user_cache_path("frameworm") / "venvs"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_own(line: str) -> bool:
    return re.match(r"frameworm\s*(==|@)", line) is not None


def _python(info: ExperimentInfo) -> str:
    """Return an interpreter of the recorded version, to the second number at least."""
    recorded = str(info.environment.get("python_version") or "")
    if info.environment.get("python_implementation", "cpython") != "cpython":
        raise ReproductionError(f"it ran on {info.environment['python_implementation']}; --venv makes CPython's only")
    minor = ".".join(recorded.split(".")[:2])
    if f"{sys.version_info.major}.{sys.version_info.minor}" == minor:
        return sys.executable
    found = shutil.which(f"python{minor}")
    if found is None:
        raise ReproductionError(f"it ran on Python {recorded}, and there is no python{minor} on PATH; install it")
    return found


def _install(python: str, folder: Path, wanted: list[str], info: ExperimentInfo) -> None:
    made = run([python, "-m", "venv", str(folder)])
    if made.returncode:
        lines = (made.stdout + made.stderr).decode("utf-8", "replace").strip().splitlines()
        raise ReproductionError(f"no virtual environment could be made in {folder}: {' '.join(lines[:3])}")
    requirements = folder / REQUIREMENTS_NAME
    requirements.write_text("\n".join(wanted) + "\n", encoding="utf-8")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-deps", "--no-input", "--quiet"]
    done = run(
        [*pip, "--disable-pip-version-check", "-r", str(requirements)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").splitlines()
        lines = [line for line in told if not line.startswith("ERROR: Ignored the following")]
        said = [line for line in lines if line.startswith(("ERROR", "error"))]
        shown = "\n".join(f"  {line}" for line in (said or lines)[-_LINES_SHOWN:])
        local = [
            line for line in wanted if "+" in line.partition("==")[2] and any(line.split("==")[0] in x for x in said)
        ]
        hint = (
            f"\n{local[0]} is a build of an index of its own; name that in PIP_EXTRA_INDEX_URL"
            if local
            else "\nwithout the network pip needs PIP_FIND_LINKS; --here takes the packages that are installed"
        )
        raise ReproductionError(f"the packages of {info.experiment_id} cannot be installed:\n{shown}{hint}")


def _editable_paths(info: ExperimentInfo, layout: Layout) -> list[str]:
    """Return where packages are imported from that were installed as editable, from outside of the code."""
    paths = []
    for name, source in (info.environment.get("package_sources") or {}).items():
        if not source.get("editable") or name == _OWN.name:
            continue
        place = editable_folder(source["url"])
        if layout.place(place) is not None:
            continue  # of the code itself: PYTHONPATH leads there
        if place.is_dir():
            paths.append(str(place / "src" if (place / "src").is_dir() else place))
            layout.say("environment", "unknown", f"{name} was editable; used is {place} as it is today", name)
        else:
            layout.say("environment", "differs", f"{name} was editable, from {place}, which is not here", name)
    return paths


def _add_paths(folder: Path, paths: list[str]) -> None:
    """Have the environment import this package, and those of ``paths``."""
    (site,) = folder.glob("lib/python*/site-packages")
    (site / _OWN.name).symlink_to(_OWN)
    (site / _PATHS).write_text("\n".join(paths) + "\n", encoding="utf-8")
