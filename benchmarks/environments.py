"""A virtual environment for each peer, made when first asked for, and kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.drivers import Peer

PROJECT = Path(__file__).resolve().parents[1]
NOT_COUNTED = ("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack", "distutils-precedence")


INSTALLED = "installed.json"
"""In an environment: what was asked of pip, how many distributions that made, and their MiB."""


class InstallError(RuntimeError):
    """A peer cannot be installed; says why in a line."""


def interpreter(name: str, peer: type[Peer], cache: Path) -> Path:
    """Return the peer's interpreter, of an environment in ``cache``; what it needs is installed when this returns.

    Raises:
        InstallError: pip refused; the message is pip's last line.
    """
    if not peer.requirements:
        return Path(sys.executable)
    folder = environment_of(name, cache)
    stamp = folder / INSTALLED
    wanted = [requirement.format(project=PROJECT) for requirement in (*peer.requirements, *peer.extras)]
    python = folder / "bin" / "python"
    asked = wanted + ([_own_requirements()] if peer.module.startswith("frameworm") else [])
    if stamp.exists() and json.loads(stamp.read_text())["requirements"] == asked:
        return python
    stamp.unlink(missing_ok=True)
    venv.create(folder, with_pip=True, clear=True)
    _pip(python, wanted[: len(peer.requirements)])
    distributions, size_mib = installed(folder, peer)
    if peer.extras:
        _pip(python, wanted[len(peer.requirements) :])
    stamp.write_text(json.dumps({"requirements": asked, "distributions": distributions, "size_mib": size_mib}))
    return python


def _own_requirements() -> str:
    """Return what changes when the package measured here asks for others."""
    return hashlib.sha256((PROJECT / "pyproject.toml").read_bytes()).hexdigest()


def environment_of(name: str, cache: Path) -> Path:
    """Return the folder of a peer's environment."""
    return cache / "venvs" / name.split("-")[0]


def _pip(python: Path, requirements: list[str]) -> None:
    arguments: list[str] = []
    for requirement in requirements:
        arguments += requirement.split(" ") if requirement.startswith("-e ") else [requirement]
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise InstallError(lines[-1][:300])


def installed(folder: Path, peer: type[Peer]) -> tuple[int, float]:
    """Return how many distributions there are, and their MiB on the disk, pip's left out.

    The package measured here is installed by a link to its source, which is counted with the others.
    """
    packages = next((folder / "lib").glob("python3*/site-packages"))
    counted = [path for path in packages.iterdir() if not path.name.startswith(NOT_COUNTED)]
    if any(requirement.startswith("-e ") for requirement in peer.requirements):
        counted.append(PROJECT / "src")
    size = sum(_size(path) for path in counted)
    return sum(path.name.endswith(".dist-info") for path in counted), size / 2**20


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(path) for name in names)
