"""Where git keeps what belongs to a working tree, and its head, read without git: where it is not there, or refuses."""

from __future__ import annotations

import re
from pathlib import Path

from frameworm.experiment.errors import UnsafePathError
from frameworm.experiment.paths import open_regular

_REFERENCE = re.compile(r"ref: (refs/(?:heads/)?((?!.*\.\.)[^\0]+))")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def is_repository(folder: Path) -> bool:
    """Whether a folder is the top of a working tree: git passes over a ``.git`` that has nothing in it."""
    place = folder / ".git"
    return place.is_file() or (place / "HEAD").is_symlink() or (place / "HEAD").exists()


def find_git_dir(root: Path) -> Path:
    """Return where git keeps what belongs to a working tree: elsewhere for a worktree or submodule."""
    place = root / ".git"
    if place.is_file():
        return root / _read_line(place).removeprefix("gitdir: ")
    return place


def read_head(root: Path) -> dict[str, str | None]:
    """Return ``commit`` and ``branch`` from git's own files, where git is not there or refuses.

    Returns:
        ``{}`` if they do not say.
    """
    try:
        git_dir = find_git_dir(root)
        head = _read_line(git_dir / "HEAD")
        reference = _REFERENCE.fullmatch(head)
        if reference is None:
            return {"commit": head, "branch": None} if _COMMIT.fullmatch(head) else {}
        common = git_dir
        if (git_dir / "commondir").exists():
            common = git_dir / _read_line(git_dir / "commondir")
        commit = _read_reference(common, reference[1])
    except (OSError, UnsafePathError, ValueError):
        return {}
    return {"commit": commit, "branch": reference[2]} if commit and _COMMIT.fullmatch(commit) else {}


def _read_reference(common: Path, reference: str) -> str | None:
    if (common / reference).is_file():
        return _read_line(common / reference)
    with open(open_regular(common / "packed-refs"), encoding="utf-8", errors="replace") as lines:
        return next((line[: -len(reference) - 2] for line in lines if line.endswith(f" {reference}\n")), None)


def _read_line(path: Path) -> str:
    with open(open_regular(path), encoding="utf-8", errors="surrogateescape") as file:
        return file.readline(4096).rstrip("\n")
