"""The state of the git repository an experiment starts in: commit, branch, remote and the uncommitted diff.

``GitCapture.launch`` only starts processes, ``collect`` (on a background thread) reads what they say, so that an
experiment starts at once and yet records the files as they were when it started.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frameworm.experiment.provenance.git_process import ExitError, Git, GitError
from frameworm.experiment.provenance.head import find_git_dir, is_repository, read_head
from frameworm.experiment.provenance.patch import DIFF, PATCH_LIMIT_BYTES, PATCH_NAME, mask_patch
from frameworm.experiment.provenance.tracked import LISTING, Tracked, beside, blob_id, new_contents
from frameworm.experiment.secrets import mask_url

UNTRACKED_LIMIT = 200
"""At most so many untracked paths are listed; all are counted."""

STATUS = "status --porcelain=v2 --branch -z --untracked-files=normal --no-renames --no-ahead-behind".split()
STATUS.append("--ignore-submodules=untracked")
_OTHERS = "ls-files -z --others --exclude-standard --full-name".split()
_LIST = "config -z --list --show-origin".split()
_REMOTES = re.compile(r"remote\..*\.url|branch\..*\.remote", re.DOTALL)
_FILTERS = re.compile(r"filter\..*\.(clean|smudge|process|required)", re.DOTALL)
_CLOCK_TICK_NS = 20_000_000  # of file systems: two changes within one leave the same time of modification


class _Repository:
    """What this process remembers of a repository, so that the next experiment starts no more of git than it needs.

    Attributes:
        changed: whether files differed from the commit; then the diff is started at once.
        folders: whether there were untracked folders; then their files are listed at once.
        remotes: the settings that name remotes.
        origins: the files that settings came from.
        looks: how these files looked then; None if the settings have to be read anew.
        index: how git's index looked when ``tracked`` was read from it.
        tracked: what it holds, and whether a file is tracked beside the program's.
    """

    def __init__(self) -> None:
        self.changed = True
        self.folders = False
        self.remotes: dict[str, str] = {}
        self.origins: list[str] = []
        self.looks: object = None
        self.index: object = None
        self.tracked: tuple[Tracked, bool] | None = None


_repositories: dict[Path, _Repository] = {}


class _NotOursError(Exception):
    """The program is no part of the repository around it, such as one of settings in the home folder."""


class GitCapture:
    """What git says of a folder at one moment. One thread launches, one (any) thread collects, once."""

    def __init__(self, folder: Path, provenance_dir: Path) -> None:
        self._folder = folder
        self._program: Path | None = None
        self.provenance_dir = provenance_dir
        """The experiment's; may be set anew before ``collect`` when the folder was moved."""
        self.untracked: list[str] = []
        """Every file that git neither tracks nor ignores, relative to the root; once collected."""
        self.hidden: list[str] = []
        """Tracked files that git was told not to look at and that have changed; once collected."""
        self.root: Path | None = None
        """Top of the repository around the folder, also where git refuses to read it."""
        self._store = ""  # relative to the root
        self._memory = _Repository()
        self._status: Git | None = None
        self._others: Git | None = None
        self._diff: Git | None = None
        self._started: list[Git] = []
        self._error = ""
        self._settings: dict[str, str] = {}
        self._deadline = 0.0
        self._listing: Git | None = None
        self._tracked: Tracked | None = None
        self._changed: set[str] = set()
        self._submodules: dict[str, Tracked | None] = {}
        self._patched: list[str] = []  # what the patch makes of files: the beginnings of their ids
        self._digits = 40

    @classmethod
    def launch(
        cls, folder: Path, provenance_dir: Path, store: Path | None = None, program: Path | None = None
    ) -> GitCapture:
        """Start the git processes that read the working tree, without waiting for any.

        Costs 0.5 ms a process inside a repository and 30 µs outside one, however large the program is. Never raises.
        One process tells commit, branch, and which files changed or are new; what they hold is asked at once by a
        second one, unless there were no changes when this process last looked: then it is asked when there are.

        Args:
            folder: the program's; what matters is the repository around it, if there is one.
            provenance_dir: where ``collect`` writes the diff; made when needed.
            store: root of all experiments, whose files are not code: should it lie in the repository and not be
                ignored there, thousands of files need not be looked at.
            program: its file.
        """
        self = cls(folder, provenance_dir)
        self._program = program
        self.root = next((top for top in (folder, *folder.parents) if is_repository(top)), None)
        if self.root is None:
            return self
        if store and store != self.root and store.is_relative_to(self.root):
            self._store = f"{store.relative_to(self.root)}/"
        self._memory = _repositories.setdefault(self.root, self._memory)
        try:
            if self._memory.changed:
                self._diff = self._start_diff("HEAD")
            self._status = self._start(STATUS)
            if self._memory.folders:
                self._others = self._start_others()
        except FileNotFoundError:
            self._error = "git is not installed or not on PATH"
        except OSError as error:
            self._error = f"git could not be started: {error}"
        return self

    def collect(self, timeout_s: float = 30.0, loaded: Iterable[str] = ()) -> dict[str, Any]:
        """Wait for git and return what it said; write the uncommitted diff, masked, to ``uncommitted.patch``.

        To be called soon after ``launch``: git waits when it has said more than a pipe holds.

        Args:
            timeout_s: after that many seconds git is killed and what is known by then is returned.
            loaded: real paths of the files of the program that are loaded.

        Returns:
            ``{}`` outside a repository. Else ``commit`` (None before the first), ``branch`` (None when
            detached), ``remote`` (URL without credentials, or None), ``root``, ``dirty`` (tracked files
            differ from the commit, staged or not), ``untracked`` (paths, at most 200), ``untracked_count``,
            ``hidden`` (paths that git was told not to look at and that have changed; left out if there are none),
            ``submodules_dirty`` (paths of submodules with changes of their own, which the patch lacks),
            ``patch`` (path of the diff relative to the experiment's folder, or None), ``patch_bytes``,
            ``patch_truncated``, ``patch_masked`` (secrets were masked: it may not apply as it is).
            ``refused`` says why git would not read the repository, whose filters were passed over then;
            ``error`` says what is missing and why. Without a commit there is nothing besides.
        """
        found: dict[str, Any] = {}
        if self.root is None:
            return found
        self._deadline = time.monotonic() + timeout_s
        try:
            if self._error:
                raise GitError(self._error)
            try:
                self._read(found, loaded)
            except ExitError as refusal:
                reason = self._reason(refusal)
                self._read_as_stranger(found, loaded, reason)
        except _NotOursError as error:
            self.root = None
            return {"refused": str(error)}
        except (OSError, GitError) as error:
            found["error"] = found.pop("refused", None) or str(error)
        finally:
            self.close()
        if "error" in found or "refused" in found:
            self._tracked = None  # who knows what git would have said of each file
        if "error" in found and "commit" not in found:
            found |= read_head(self.root)
        return {"root": str(self.root), **found} if found.get("commit") or "error" not in found else found

    def _read(self, found: dict[str, Any], loaded: Iterable[str]) -> None:
        index = self._start_listing()
        assert self._status is not None
        state, names = _parse_status(_text(self._output(self._status)))
        self._changed = state.pop("changed")
        self._digits = len(state["commit"] or "") or 40
        found |= state
        self._read_listing(index, loaded, state)
        names = self._not_stored(names)
        self._start_missing(state, names)
        found["remote"] = self._remote(state["branch"])
        if self._memory.folders and self._others is not None:
            names = [name for name in _text(self._output(self._others)).split("\0") if name]
        self.untracked = names
        found |= {"untracked": names[:UNTRACKED_LIMIT], "untracked_count": len(names)}
        diff: Git | None = None
        if state["dirty"]:
            diff = self._diff if state["commit"] else self._diff_of_unborn()
        if self.hidden:
            found |= {"hidden": self.hidden, "dirty": True}
        found |= self._save_patch(diff)

    def _reason(self, refusal: ExitError) -> str:
        try:
            self._ask(refusal.command)
        except ExitError as error:
            return str(error)
        return str(refusal)

    def _read_as_stranger(self, found: dict[str, Any], loaded: Iterable[str], reason: str) -> None:
        """Read a repository that git refuses: though another owns it, and without filters, which may not be there.

        Whatever its settings name as programs is overruled; submodules are not entered, as they have settings of
        their own.
        """
        found["refused"] = reason
        self.close()
        self._started.clear()
        self._settings = {"safe.directory": "*"}
        settings = _text(self._output(self._start(_LIST))).split("\0")[1::2]
        for name in (setting.partition("\n")[0] for setting in settings):
            if _FILTERS.fullmatch(name):
                self._settings[name] = "false" if name.endswith(".required") else ""
        self._memory = _Repository()
        self._status = self._start([*STATUS, "--ignore-submodules=dirty"])
        self._diff = self._others = None
        self._read(found, loaded)
        if self._tracked is not None and self._tracked.has_submodules:
            found["error"] = f"{reason}; changes within submodules were not looked for"

    def _start_listing(self) -> object:
        """Have git list its index, unless that is as it was; return what tells."""
        assert self.root is not None
        look = _look(f"{find_git_dir(self.root)}/index"), self._folder, self._program
        if self._memory.tracked is None or self._memory.index != look:
            self._listing = self._start(LISTING)
        return look

    def _read_listing(self, look: object, loaded: Iterable[str], state: Mapping[str, Any]) -> None:
        """Find the files that git was told not to look at, and whether the program is of this repository at all."""
        assert self.root is not None
        memory, names = self._memory, self._inside(loaded)
        if self._listing is not None:
            listing = self._output(self._listing)
            program = [] if self._program is None else self._inside([str(self._program)])
            memory.index = look
            memory.tracked = Tracked(listing, program), beside(listing, os.path.relpath(self._folder, self.root))
        assert memory.tracked is not None
        self._tracked, is_beside = memory.tracked
        tracks = is_beside or any(self._tracked.knows(name) for name in names)
        if state["commit"] and self._program is not None and not tracks:
            raise _NotOursError(f"the repository around it, {self.root}, tracks nothing of this program")
        for name in self._tracked.overlooked:
            if not self._tracked.holds_file(name, self.root / name):
                self.hidden.append(name)

    def _inside(self, paths: Iterable[str]) -> list[str]:
        above = f"{self.root}/"
        return [path.removeprefix(above) for path in paths if path.startswith(above)]

    def holds(self, name: str, content: bytes) -> bool:
        """Whether commit and patch bring a file back with exactly this content; once collected.

        Not so are untracked and ignored files, changes that git was told not to look at, and those that a filter
        hides from it.
        """
        if self._tracked is None:
            return False
        submodule = self._tracked.submodule_of(name)
        if submodule is not None:
            return submodule not in self._changed and self._submodule_holds(submodule, name, content)
        if name in self._changed:
            identity = blob_id(content, self._digits)
            return any(identity.startswith(one) for one in self._patched)
        return self._tracked.holds(name, content)

    def _submodule_holds(self, submodule: str, name: str, content: bytes) -> bool:
        assert self.root is not None
        if submodule not in self._submodules:
            try:
                process = Git(self.root / submodule, LISTING)
                self._submodules[submodule] = Tracked(process.output(time.monotonic() + 10), ())
            except (OSError, GitError):
                self._submodules[submodule] = None
        tracked = self._submodules[submodule]
        return tracked is not None and tracked.holds(name.removeprefix(f"{submodule}/"), content)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            process.kill()

    def _start(self, args: Sequence[str], *, limit_bytes: int = 1 << 30, errors: bool = False) -> Git:
        process = Git(self.root or self._folder, args, limit_bytes=limit_bytes, errors=errors, settings=self._settings)
        self._started.append(process)
        return process

    def _start_diff(self, commit: str) -> Git:
        return self._start([*DIFF, commit], limit_bytes=PATCH_LIMIT_BYTES)

    def _start_others(self) -> Git:
        left_out = [f"--exclude=/{self._store}"] if self._store else []
        return self._start([*_OTHERS, *left_out, ":/"])

    def _ask(self, args: Sequence[str]) -> str:
        return _text(self._output(self._start(args, errors=True)))

    def _output(self, wanted: Git) -> bytes:
        return wanted.output(self._deadline, beside=self._started)

    def _start_missing(self, state: dict[str, Any], untracked: list[str]) -> None:
        """Start what the status shows to be needed besides, and is not there yet."""
        self._memory.changed = state["dirty"]
        self._memory.folders = any(name.endswith("/") for name in untracked)
        if state["dirty"] and self._diff is None:
            self._diff = self._start_diff("HEAD")
        if self._memory.folders and self._others is None:
            self._others = self._start_others()

    def _not_stored(self, names: Iterable[str]) -> list[str]:
        """Return those paths that are not in the folder of all experiments."""
        return [name for name in names if not (self._store and name.startswith(self._store))]

    def _remote(self, branch: str | None) -> str | None:
        """Return the URL of the branch's remote, else of ``origin``, else of the first one."""
        try:
            settings = self._remote_settings(branch)
        except ExitError:
            return None
        wanted = settings.get(f"branch.{branch}.remote", "origin")
        urls = [value for name, value in settings.items() if name.startswith("remote.")]
        url = settings.get(f"remote.{wanted}.url") or settings.get("remote.origin.url") or next(iter(urls), None)
        return mask_url(url) if url else None

    def _remote_settings(self, branch: str | None) -> dict[str, str]:
        """Return the settings that name remotes: as they were if no file of settings has changed, else from git."""
        memory = self._memory
        if memory.looks is None or memory.looks != self._looks(branch):
            memory.looks = None
            began_ns = time.time_ns()
            words = _text(self._output(self._start(_LIST))).split("\0")
            memory.remotes, origins = {}, set()
            for origin, setting in zip(words[::2], words[1::2], strict=False):
                name, _, value = setting.partition("\n")
                if _REMOTES.fullmatch(name):
                    memory.remotes.setdefault(name, value)
                if origin.startswith("file:"):
                    origins.add(os.path.join(str(self.root), origin.removeprefix("file:")))
            memory.origins = sorted(origins)
            newest_ns = max((_look(place)[0] for place in memory.origins), default=began_ns)
            if newest_ns < began_ns - _CLOCK_TICK_NS:  # else one may have changed as it was read
                memory.looks = self._looks(branch)
        return memory.remotes

    def _looks(self, branch: str | None) -> object:
        """Return what git's settings depend on: files, also those that may yet appear, and the environment."""
        home = os.path.expanduser("~")
        shared = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
        files = [*self._memory.origins, f"{home}/.gitconfig", f"{shared}/git/config", "/etc/gitconfig"]
        given = {name: value for name, value in os.environ.items() if name.startswith("GIT_CONFIG")}
        return branch, given, [(file, _look(file)) for file in files]

    def _diff_of_unborn(self) -> Git:
        """Start the diff against nothing at all: there is no HEAD before the first commit."""
        return self._start_diff(self._ask(["hash-object", "-t", "tree", "--stdin"]).strip())

    def _save_patch(self, diff: Git | None) -> dict[str, Any]:
        raw = self._output(diff) if diff else b""
        cut = diff is not None and diff.cut
        if cut:
            raw = raw[: raw.rfind(b"\ndiff --git ") + 1]
        self._patched = new_contents(raw)
        patch = mask_patch(raw)
        if patch:
            self.provenance_dir.mkdir(exist_ok=True)
            path = self.provenance_dir / PATCH_NAME
            temporary = path.with_name(f"{PATCH_NAME}.tmp")
            with open(temporary, "wb") as file:
                file.write(patch)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        return {
            "patch": f"{self.provenance_dir.name}/{PATCH_NAME}" if patch else None,
            "patch_bytes": len(patch),
            "patch_truncated": cut,
            "patch_masked": patch != raw,
        }


def _text(raw: bytes) -> str:
    """Decode git's output; paths are bytes, and what is no UTF-8 is escaped so that it can be stored as text."""
    return raw.decode("utf-8", "backslashreplace")


def _look(file: str) -> tuple[int, int, int]:
    """Return what changes when a file does; zeros if there is none."""
    try:
        look = os.stat(file)
    except OSError:
        return (0, 0, 0)
    return (look.st_mtime_ns, look.st_size, look.st_ino)


def _parse_status(listing: str) -> tuple[dict[str, Any], list[str]]:
    """Parse ``git status --porcelain=v2 --branch -z`` (without renames); the untracked paths are by themselves."""
    untracked: list[str] = []
    headers: dict[str, str] = {}
    submodules: list[str] = []
    changed: set[str] = set()
    for entry in listing.split("\0"):
        if entry.startswith("# "):
            name, _, value = entry[2:].partition(" ")
            headers[name] = value
        elif entry.startswith(("1 ", "u ")):
            path = entry.split(" ", 8 if entry[0] == "1" else 10)[-1]
            changed.add(path)
            sub = entry.split(" ", 3)[2]  # "N..." or "S<commit changed><modified><untracked>"
            if sub.startswith("S") and "M" in sub:
                submodules.append(path)
        elif entry.startswith("? "):
            untracked.append(entry[2:])
    commit, branch = headers["branch.oid"], headers["branch.head"]
    state = {
        "commit": None if commit == "(initial)" else commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": bool(changed),
        "submodules_dirty": submodules,
        "changed": changed,
    }
    return state, untracked
