"""The code of two experiments as a unified diff: commits, uncommitted patches and stored files taken together.

The trees are made as objects of a temporary git repository that borrows the objects of the repositories the
experiments ran in. Nothing is checked out, and neither configuration, hooks nor filters of those repositories are
used: nothing of them is ever executed. Of 100,000 files only those that changed are read.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.paths import read_regular
from frameworm.experiment.provenance.code import CODE
from frameworm.experiment.provenance.patch import PATCH_NAME
from frameworm.experiment.storage.folder import PROVENANCE

_TIMEOUT_S = 120
_LARGEST_TEXT = "16m"
"""Of larger files is only said that they differ."""
_PARSED_BYTES = 1 << 20
_PARSED_FILES = 50
_SETTINGS = (
    "safe.directory=*",  # objects are only read, so their owner is no matter
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    f"core.bigFileThreshold={_LARGEST_TEXT}",
)

Basis = Literal["equal", "trees", "stored", "unknown"]


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One file that is not the same.

    Attributes:
        path: relative to the top of the code; in b, or in a where it was removed.
        kind: ``added``, ``removed``, ``changed`` or ``renamed``.
        old_path: of a renamed file, in a.
        added_lines: 0 for a binary file.
        removed_lines: likewise.
        hunks: places that changed, 0 for a binary file.
        only_layout: it is Python and differs in comments or layout alone, or JSON of another order or layout.
        patch: its part of the unified diff.
    """

    path: str
    kind: Literal["added", "removed", "changed", "renamed"]
    old_path: str | None
    added_lines: int
    removed_lines: int
    hunks: int
    only_layout: bool
    patch: str


@dataclass(frozen=True, slots=True)
class CodeDiff:
    """The code of two experiments.

    Attributes:
        basis: ``equal`` (same commit, patch and stored files), ``trees`` (whole trees were compared), ``stored``
            (only patches and stored files were, as the commits are not to be had), ``unknown`` (no code is recorded).
        commits: of a and b; None outside git.
        files: those that differ.
        notes: what was not recorded or could not be compared, a sentence each.
    """

    basis: Basis
    commits: tuple[str | None, str | None]
    files: tuple[FileDiff, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the code is known to differ."""
        return bool(self.files) or (self.basis == "stored" and self.commits[0] != self.commits[1])

    @property
    def patch(self) -> str:
        """The unified diff of all files."""
        return "".join(file.patch for file in self.files)


def compare_code(a: ExperimentInfo, b: ExperimentInfo) -> CodeDiff:
    """Compare the code of two experiments as it was when they started.

    The commits are looked for where the experiments ran, in a remote that is a folder, and in the repository around
    the working folder. Never waits for a network.
    """
    sides = _Side(a), _Side(b)
    commits = sides[0].commit, sides[1].commit
    notes = _lacking(sides)
    if not any(side.recorded for side in sides):
        return CodeDiff("unknown", commits, (), ("no code was recorded",))
    for side in sides:
        if not side.recorded:
            return CodeDiff("unknown", commits, (), (f"no code was recorded of {side.name}",))
    if sides[0].identity() == sides[1].identity():
        return CodeDiff("equal", commits, (), tuple(notes))
    try:
        with tempfile.TemporaryDirectory(prefix="frameworm-diff-") as folder:
            return _compare_trees(sides, Path(folder), notes)
    except _GitError as error:
        notes.append(f"the code was not compared line by line: {error}")
        return CodeDiff("stored", commits, _by_digest(*sides), tuple(notes))


def _lacking(sides: Iterable[_Side]) -> list[str]:
    """Return what the records lack, once where both lack the same."""
    who: dict[str, list[str]] = {}
    for side in sides:
        for note in side.notes():
            who.setdefault(note, []).append(side.name)
    return [note.replace("{who}", " and ".join(names)) for note, names in who.items()]


class _GitError(Exception):
    """Git is not there or failed."""


class _Side:
    """What one experiment recorded of its code."""

    def __init__(self, info: ExperimentInfo) -> None:
        self.name = info.experiment_id
        self.commit: str | None = info.git.get("commit")
        self.git = info.git
        self.code = info.code
        self.recorded = bool(self.commit or info.git.get("patch") or info.code.get("files"))
        self.is_snapshot = not info.git.get("root")
        self._provenance = info.path / PROVENANCE
        # Stored files are named relative to the root of the code, which may lie within the repository.
        inside = (
            os.path.relpath(self.code.get("root") or ".", self.git["root"])
            if self.code and self.git.get("root")
            else ""
        )
        self._prefix = "" if inside in ("", ".") or inside.startswith("..") else f"{inside}/"

    def patch(self) -> bytes:
        """Return the uncommitted changes."""
        try:
            return read_regular(self._provenance / PATCH_NAME) if self.git.get("patch") else b""
        except OSError:
            return b""

    def files(self) -> dict[str, dict[str, Any]]:
        """Return the stored files by their path in the tree."""
        return {self._prefix + file["path"]: file for file in self.code.get("files", ())}

    def places(self) -> dict[str, Path]:
        """Return where those are that lie in ``provenance/code``; links that lead out of it are not followed."""
        top = os.path.realpath(self._provenance / CODE)
        found = {}
        for path, file in self.files().items():
            place = os.path.realpath(os.path.join(top, file["path"]))
            if place.startswith(f"{top}/") and os.path.isfile(place) and "\n" not in place:
                found[path] = Path(place)
        return found

    def identity(self) -> tuple[Any, ...]:
        """Return what is equal only if the trees are."""
        digests = sorted(
            (path, file.get("digest"), bool(file.get("executable"))) for path, file in self.files().items()
        )
        return self.is_snapshot, self.commit, self.patch(), digests, self.git.get("submodules_dirty") or []

    def notes(self) -> list[str]:
        """Return what the record lacks; ``{who}`` stands for the experiment."""
        found = []
        if self.git.get("error"):
            found.append(f"git could not say all of {{who}}: {self.git['error']}")
        if self.git.get("patch") and not (self._provenance / PATCH_NAME).is_file():
            found.append(f"the uncommitted changes of {{who}} are gone: {PROVENANCE}/{PATCH_NAME} is missing")
        if self.git.get("patch_truncated"):
            found.append("the uncommitted changes of {who} were too large to be recorded whole")
        if self.git.get("submodules_dirty"):
            names = ", ".join(self.git["submodules_dirty"][:3])
            found.append(f"submodules of {{who}} had changes of their own, which are not recorded: {names}")
        left_out = self.code.get("left_out") or []
        if left_out:
            names = ", ".join(f"{one['path']} ({one['why']})" for one in left_out[:3])
            more = max(self.code.get("left_out_count", 0), len(left_out)) - 3
            found.append(f"not stored of {{who}}: {names}{f' and {more} more' if more > 0 else ''}")
        lost = len(self.files()) - len(self.places())
        if lost:
            found.append(f"{lost} stored code files of {{who}} are gone from {PROVENANCE}/{CODE}")
        if not self.code and self.git.get("untracked"):
            found.append("{who} had untracked files, whose content is not recorded")
        return found


def _by_digest(a: _Side, b: _Side) -> tuple[FileDiff, ...]:
    """Return the stored files that differ, without their lines."""
    ours, theirs = a.files(), b.files()
    found = []
    for path in sorted({*ours, *theirs}):
        left, right = ours.get(path), theirs.get(path)
        if left is None or right is None:
            found.append(FileDiff(path, "added" if left is None else "removed", None, 0, 0, 0, False, ""))
        elif left.get("digest") != right.get("digest"):
            found.append(FileDiff(path, "changed", None, 0, 0, 0, False, ""))
    if a.patch() != b.patch():
        found.append(FileDiff(PATCH_NAME, "changed", None, 0, 0, 0, False, ""))
    return tuple(found)


# ---------------------------------------------------------------------------------------------- git


def _compare_trees(sides: tuple[_Side, _Side], folder: Path, notes: list[str]) -> CodeDiff:
    repository = _Repository.make(folder, sides)
    commits = sides[0].commit, sides[1].commit
    absent = [side for side in sides if side.commit and not repository.has(side.commit)]
    for side in absent:
        notes.append(f"commit {str(side.commit)[:10]} of {side.name} is not in any repository found here")
    if absent and commits[0] != commits[1]:
        notes.append("only uncommitted changes and stored files were compared; give the repository to compare all")
    basis: Basis = "stored" if absent else "trees"
    trees = [repository.tree(side, notes, with_commit=not absent) for side in sides]
    # A snapshot holds what was imported only: that it lacks a file of the repository says nothing.
    kept = "" if sides[0].is_snapshot == sides[1].is_snapshot else "a" if sides[0].is_snapshot else "d"
    if kept:
        notes.append("one experiment ran outside git: compared are the files that both recorded")
    return CodeDiff(basis, commits, repository.diff(trees[0], trees[1], kept), tuple(notes))


class _Repository:
    """A bare repository that borrows objects and holds what is added for the comparison; gone when it is over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = str(folder / "own")  # objects that are made here
        self._indexes = 0
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    @classmethod
    def make(cls, folder: Path, sides: Sequence[_Side]) -> _Repository:
        """Make it beside the objects of every repository that may have the commits."""
        self = cls(folder)
        longest = max(len(side.commit or "") for side in sides)
        self.git(
            "init", "--bare", "--quiet", f"--object-format={'sha256' if longest == 64 else 'sha1'}", "--template=", "."
        )
        (folder / "objects" / "info").mkdir(exist_ok=True)
        os.mkdir(self._own)
        lines = "".join(f"{place}\n" for place in (self._own, *self._borrowed(sides)))
        (folder / "objects" / "info" / "alternates").write_bytes(os.fsencode(lines))
        self._environment["GIT_DIR"] = str(folder)
        return self

    def _borrowed(self, sides: Sequence[_Side]) -> Iterable[str]:
        found: dict[str, None] = {}
        remotes = (str(side.git.get("remote") or "").removeprefix("file://") for side in sides)
        for place in (*(str(side.git.get("root") or "") for side in sides), *remotes, os.getcwd()):
            if not os.path.isabs(place) or not os.path.isdir(place):
                continue
            with contextlib.suppress(_GitError):
                answer = self.git("-C", place, "rev-parse", "--path-format=absolute", "--git-common-dir")
                objects = os.path.join(os.fsdecode(answer).rstrip("\n"), "objects")
                if os.path.isdir(objects) and "\n" not in objects:
                    found[objects] = None
        return found

    def git(self, *words: str, given: bytes = b"", index: str = "", alone: bool = False) -> bytes:
        """Run git and return what it prints.

        Args:
            words: the command and its arguments.
            given: its standard input.
            index: its index file.
            alone: without the objects that are borrowed: git renews the time of one that it is to write.

        Raises:
            _GitError: it is not installed, failed or took too long.
        """
        import subprocess

        environment = {**self._environment, "GIT_INDEX_FILE": index} if index else self._environment
        if alone:
            environment = {**environment, "GIT_OBJECT_DIRECTORY": self._own}
        try:
            done = subprocess.run(
                ["git", *(word for setting in _SETTINGS for word in ("-c", setting)), *words],
                cwd=self._folder,
                env=environment,
                input=given,
                capture_output=True,
                timeout=_TIMEOUT_S,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise _GitError("git is not installed or not on PATH") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _GitError(f"git {words[0]}: {error}") from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
            raise _GitError(f"git {words[0]}: {said or f'exit code {done.returncode}'}")
        return done.stdout

    def has(self, commit: str) -> bool:
        """Whether the commit and its tree are among the objects."""
        try:
            self.git("cat-file", "-e", f"{commit}^{{tree}}")
            return True
        except _GitError:
            return False

    def tree(self, side: _Side, notes: list[str], *, with_commit: bool) -> str:
        """Make the tree of an experiment's code and return its object id.

        Args:
            side: the experiment.
            notes: what cannot be applied is said there.
            with_commit: the commit is to be had. If not, the tree holds the stored files and, file by file, the patch.
        """
        self._indexes += 1
        index = str(self._folder / f"index-{self._indexes}")
        parts = _parts(side.patch())
        if side.commit and with_commit:
            self.git("read-tree", side.commit, index=index)
        if side.commit is None or with_commit:
            parts = self._apply(parts, index)
            if parts:
                masked = ": secrets were masked in them" if side.git.get("patch_masked") else ""
                notes.append(
                    f"uncommitted changes of {side.name} do not apply to its commit{masked}; they are compared as "
                    f"patches: {', '.join(sorted(parts))}"
                )
        entries = [(f"{path}.patch", "100644", self._write(part)) for path, part in parts.items()]
        places = side.places()
        if places:
            listing = "".join(f"{place}\n" for place in places.values())
            words = ("hash-object", "-w", "--no-filters", "--stdin-paths")
            ids = self.git(*words, given=os.fsencode(listing), alone=True).split()
            files = side.files()
            for path, object_id in zip(places, ids, strict=True):
                mode = "100755" if files[path].get("executable") else "100644"
                entries.append((path, mode, object_id.decode()))
        if entries:
            lines = b"".join(
                f"{mode} {object_id}\t".encode() + os.fsencode(path) + b"\0" for path, mode, object_id in entries
            )
            self.git("update-index", "--replace", "-z", "--index-info", given=lines, index=index)
        return self.git("write-tree", "--missing-ok", index=index).decode().strip()

    def _apply(self, parts: dict[str, bytes], index: str) -> dict[str, bytes]:
        """Apply a patch to the index, whole or else file by file; return the parts that do not apply."""
        command = ("apply", "--cached", "--whitespace=nowarn", "-")
        if not parts:
            return {}
        try:
            self.git(*command, given=b"".join(parts.values()), index=index)
            return {}
        except _GitError:
            pass
        refused = {}
        for path, part in parts.items():
            try:
                self.git(*command, given=part, index=index)
            except _GitError:
                refused[path] = part
        return refused

    def _write(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--no-filters", "--stdin", given=content, alone=True).decode().strip()

    def diff(self, a: str, b: str, left_out: str) -> tuple[FileDiff, ...]:
        """Return the files in which two trees differ; ``left_out`` is ``a`` (added), ``d`` (removed) or nothing."""
        if a == b:
            return ()
        options = ["-r", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index"]
        options += [f"--diff-filter={left_out}", "--no-renames"] if left_out else ["-M"]
        fields = os.fsdecode(self.git("diff-tree", "--raw", "-z", *options, a, b)).split("\0")
        text = self.git("diff-tree", "-p", *options, a, b).decode("utf-8", "backslashreplace")
        patches: list[str] = []
        for patch in re.split(r"^(?=diff --git )", text, flags=re.MULTILINE)[1:]:
            if patches and patches[-1].partition("\n")[0] == patch.partition("\n")[0]:
                patches[-1] += patch  # a file that became a link takes two
            else:
                patches.append(patch)
        files: list[FileDiff] = []
        at = 0
        while at + 1 < len(fields):
            _, _, old_id, new_id, status = fields[at].split(" ")
            paths = fields[at + 1 : at + (3 if status[0] in "RC" else 2)]
            at += 1 + len(paths)
            only_layout = status == "M" and len(files) < _PARSED_FILES and self._same_program(paths[0], old_id, new_id)
            files.append(_file(status[0], paths, patches[len(files)], only_layout))
        return tuple(files)

    def _same_program(self, path: str, old_id: str, new_id: str) -> bool:
        """Whether two versions of a Python or JSON file say the same; they are parsed, never executed."""
        if not path.endswith((".py", ".json")):
            return False
        try:
            sources = [self.git("cat-file", "blob", one) for one in (old_id, new_id)]
            if max(map(len, sources)) > _PARSED_BYTES:
                return False
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parse = json.loads if path.endswith(".json") else lambda source: ast.dump(ast.parse(source))
                programs = [parse(source) for source in sources]
        except (_GitError, SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return programs[0] == programs[1]


def _parts(patch: bytes) -> dict[str, bytes]:
    """Cut a patch into the parts of its files, by path."""
    parts: dict[str, bytes] = {}
    for part in re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE)[1:]:
        line = part.partition(b"\n")[0].decode("utf-8", "surrogateescape")
        path = line.rpartition(" b/")[2].rstrip('"') or line
        parts[path if path not in parts else f"{path}-{len(parts)}"] = part
    return parts


_KINDS: dict[str, Literal["added", "removed", "renamed"]] = {"A": "added", "D": "removed", "R": "renamed"}


def _file(status: str, paths: Sequence[str], patch: str, only_layout: bool) -> FileDiff:
    _, separator, body = patch.partition("\n@@ ")
    lines = (separator + body).split("\n")
    shown = [path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for path in paths]
    return FileDiff(
        path=shown[-1],
        kind=_KINDS.get(status, "changed"),
        old_path=shown[0] if len(shown) > 1 else None,
        added_lines=sum(line.startswith("+") for line in lines),
        removed_lines=sum(line.startswith("-") for line in lines),
        hunks=sum(line.startswith("@@ ") for line in lines),
        only_layout=only_layout,
        patch=patch,
    )
