"""The state of the git repository an experiment starts in: commit, branch, remote and the uncommitted diff.

``GitCapture.launch`` only starts processes, ``collect`` (on a background thread) reads what they say, so that an
experiment starts at once and yet records the files as they were when it started.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from frameworm.experiment.secrets import MASK, mask_text, mask_url

PATCH_NAME = "uncommitted.patch"
PATCH_LIMIT_BYTES = 16 << 20
"""A longer diff is cut after its last whole file; it is held in memory twice while it is masked."""
UNTRACKED_LIMIT = 200
"""At most so many untracked paths are listed; all are counted."""

# Settings of the user's that would change what we parse or store, or start a daemon that holds our pipe open.
_SETTINGS = (
    "core.fsmonitor=false",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.relative=false",
    "diff.submodule=short",
)
STATUS = "status --porcelain=v2 --branch -z --untracked-files=normal --no-renames --no-ahead-behind".split()
STATUS.append("--ignore-submodules=untracked")
_OTHERS = "ls-files -z --others --exclude-standard --full-name".split()
_LIST = "config -z --list --show-origin".split()
_REMOTES = re.compile(r"remote\..*\.url|branch\..*\.remote", re.DOTALL)
_DIFF = "diff --binary --no-ext-diff --no-textconv --no-color -U3 --ignore-submodules=dirty".split()
# Set inside a hook, these name the repository of the hook, not that of the folder we ask about.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE")
_PIECE = 1 << 17
_CLOCK_TICK_NS = 20_000_000  # of file systems: two changes within one leave the same time of modification
# A line of a private key in a diff: base64 or a header such as "DEK-Info: AES-256-CBC,0F3A", bare or as a string.
_KEY_LINE = re.compile(r"""[ +-][\s"'#*]*(?:[A-Za-z0-9+/=]*|[A-Za-z-]+: [\w,. -]+)(?:\\n)?[\s"',)\\]*""")


class _Repository:
    """What this process remembers of a repository, so that the next experiment starts no more of git than it needs.

    Attributes:
        changed: whether files differed from the commit; then the diff is started at once.
        folders: whether there were untracked folders; then their files are listed at once.
        remotes: the settings that name remotes.
        origins: the files that settings came from.
        looks: how these files looked then; None if the settings have to be read anew.
    """

    def __init__(self) -> None:
        self.changed = True
        self.folders = False
        self.remotes: dict[str, str] = {}
        self.origins: list[str] = []
        self.looks: object = None


_repositories: dict[Path, _Repository] = {}


class GitCapture:
    """What git says of a folder at one moment. One thread launches, one (any) thread collects, once."""

    def __init__(self, cwd: Path, provenance_dir: Path) -> None:
        self._cwd = cwd
        self.provenance_dir = provenance_dir
        """The experiment's; may be set anew before ``collect`` when the folder was moved."""
        self.untracked: list[str] = []
        """Every file that git neither tracks nor ignores, relative to the root; once collected."""
        self._root: Path | None = None
        self._store = ""  # relative to the root
        self._memory = _Repository()
        self._status: _Git | None = None
        self._others: _Git | None = None
        self._diff: _Git | None = None
        self._started: list[_Git] = []
        self._error = ""

    @classmethod
    def launch(cls, cwd: Path, provenance_dir: Path, store: Path | None = None) -> GitCapture:
        """Start the git processes that read the working tree, without waiting for any.

        Costs 0.5 ms a process inside a repository and 30 µs outside one, however large the program is. Never raises.
        One process tells commit, branch, and which files changed or are new; what they hold is asked at once by a
        second one, unless there were no changes when this process last looked: then it is asked when there are.

        Args:
            cwd: any folder; what matters is the repository around it, if there is one.
            provenance_dir: where ``collect`` writes the diff; made when needed.
            store: root of all experiments, whose files are not code: should it lie in the repository and not be
                ignored there, thousands of files need not be looked at.
        """
        self = cls(cwd, provenance_dir)
        self._root = next((folder for folder in (cwd, *cwd.parents) if (folder / ".git").exists()), None)
        if self._root is None:
            return self
        if store and store != self._root and store.is_relative_to(self._root):
            self._store = f"{store.relative_to(self._root)}/"
        self._memory = _repositories.setdefault(self._root, self._memory)
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

    def collect(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait for git and return what it said; write the uncommitted diff, masked, to ``uncommitted.patch``.

        To be called soon after ``launch``: git waits when it has said more than a pipe holds.

        Args:
            timeout_s: after that many seconds git is killed and what is known by then is returned.

        Returns:
            ``{}`` outside a repository. Else ``commit`` (None before the first), ``branch`` (None when
            detached), ``remote`` (URL without credentials, or None), ``root``, ``dirty`` (tracked files
            differ from the commit, staged or not), ``untracked`` (paths, at most 200), ``untracked_count``,
            ``submodules_dirty`` (paths of submodules with changes of their own, which the patch lacks),
            ``patch`` (path of the diff relative to the experiment's folder, or None), ``patch_bytes``,
            ``patch_truncated``, ``patch_masked`` (secrets were masked: it may not apply as it is).
            ``error`` says what is missing and why.
        """
        deadline = time.monotonic() + timeout_s
        found: dict[str, Any] = {}
        try:
            if self._error or self._root is None or self._status is None:
                return {"error": self._error} if self._error else {}
            found["root"] = str(self._root)
            try:
                state, names = _parse_status(_text(self._output(self._status, deadline)))
            except _ExitError:
                self._ask(["rev-parse", "--show-toplevel"], deadline)  # whose message says why, if it fails as well
                raise
            found |= state
            names = self._not_stored(names)
            self._start_missing(state, names)
            found["remote"] = self._remote(state["branch"], deadline)
            if self._memory.folders and self._others is not None:
                names = [name for name in _text(self._output(self._others, deadline)).split("\0") if name]
            self.untracked = names
            found |= {"untracked": names[:UNTRACKED_LIMIT], "untracked_count": len(names)}
            diff: _Git | None = None
            if state["dirty"]:
                diff = self._diff if state["commit"] else self._diff_of_unborn(deadline)
            found |= self._save_patch(diff, deadline)
        except (OSError, _GitError) as error:
            if "not a git repository" in str(error):
                return {}
            found["error"] = str(error)
        finally:
            self.close()
        return found

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            process.kill()

    def _start(self, args: Sequence[str], *, limit_bytes: int = 1 << 30, errors: bool = False) -> _Git:
        process = _Git(self._cwd, args, limit_bytes=limit_bytes, errors=errors)
        self._started.append(process)
        return process

    def _start_diff(self, commit: str) -> _Git:
        return self._start([*_DIFF, commit], limit_bytes=PATCH_LIMIT_BYTES)

    def _start_others(self) -> _Git:
        left_out = [f"--exclude=/{self._store}"] if self._store else []
        return self._start([*_OTHERS, *left_out, ":/"])

    def _ask(self, args: Sequence[str], deadline: float) -> str:
        return _text(self._output(self._start(args, errors=True), deadline))

    def _output(self, wanted: _Git, deadline: float) -> bytes:
        return wanted.output(deadline, beside=self._started)

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

    def _remote(self, branch: str | None, deadline: float) -> str | None:
        """Return the URL of the branch's remote, else of ``origin``, else of the first one."""
        try:
            settings = self._remote_settings(branch, deadline)
        except _ExitError:
            return None
        wanted = settings.get(f"branch.{branch}.remote", "origin")
        urls = [value for name, value in settings.items() if name.startswith("remote.")]
        url = settings.get(f"remote.{wanted}.url") or settings.get("remote.origin.url") or next(iter(urls), None)
        return mask_url(url) if url else None

    def _remote_settings(self, branch: str | None, deadline: float) -> dict[str, str]:
        """Return the settings that name remotes: as they were if no file of settings has changed, else from git."""
        memory = self._memory
        if memory.looks is None or memory.looks != self._looks(branch):
            memory.looks = None
            began_ns = time.time_ns()
            words = _text(self._output(self._start(_LIST), deadline)).split("\0")
            memory.remotes, origins = {}, set()
            for origin, setting in zip(words[::2], words[1::2], strict=False):
                name, _, value = setting.partition("\n")
                if _REMOTES.fullmatch(name):
                    memory.remotes.setdefault(name, value)
                if origin.startswith("file:"):
                    origins.add(os.path.join(str(self._root), origin.removeprefix("file:")))
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

    def _diff_of_unborn(self, deadline: float) -> _Git:
        """Start the diff against nothing at all: there is no HEAD before the first commit."""
        return self._start_diff(self._ask(["hash-object", "-t", "tree", "--stdin"], deadline).strip())

    def _save_patch(self, diff: _Git | None, deadline: float) -> dict[str, Any]:
        raw = self._output(diff, deadline) if diff else b""
        cut = diff is not None and diff.cut
        if cut:
            raw = raw[: raw.rfind(b"\ndiff --git ") + 1]
        patch = _mask_patch(raw)
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


class _GitError(Exception):
    """Git failed; the message is its own first line, or the time-out."""


class _ExitError(_GitError):
    """Git ran and said no."""


class _Git:
    """One git process, whose output is read by ``output``, of this or of another one.

    ``os.posix_spawnp`` because importing ``subprocess`` costs 10 to 20 ms, ten times the start of a process.
    """

    def __init__(self, cwd: Path, args: Sequence[str], *, limit_bytes: int = 1 << 30, errors: bool = False) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
        environment |= {"LC_ALL": "C", "LANGUAGE": "C"}
        command = ["git", "-C", str(cwd), *(word for setting in _SETTINGS for word in ("-c", setting)), *args]
        reading, writing = os.pipe()
        to_stderr: tuple[Any, ...] = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        if errors:
            to_stderr = (os.POSIX_SPAWN_DUP2, writing, 2)
        try:
            self._pid = os.posix_spawnp(
                "git",
                command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    to_stderr,
                ],
                setpgroup=0,  # Ctrl-C in the terminal is not for git, and its children can be killed with it
                setsigmask=[],
                setsigdef=[signal.SIGPIPE],  # Python ignores it, and ignored signals are inherited
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.cut = False
        self.pipe = reading
        """What it writes to; -1 when all is read."""
        self._args = args
        self._errors = errors
        self._limit_bytes = limit_bytes
        self._output = bytearray()
        self._exit_code: int | None = None

    def output(self, deadline: float, beside: Iterable[_Git] = ()) -> bytes:
        """Wait until the process has ended or ``deadline`` (monotonic seconds) has come; return what it wrote.

        Args:
            deadline: then the process is killed.
            beside: processes that are read meanwhile, so that a full pipe holds none of them back.
        """
        name = f"git {self._args[0]}"
        while self.pipe >= 0 or not self._has_ended():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.kill()
                raise _GitError(f"{name} was stopped: it took too long")
            if self.pipe < 0:
                time.sleep(0.0002)  # it has closed its output, so it is about to end
                continue
            poll = select.poll()
            open_ones = {process.pipe: process for process in (self, *beside) if process.pipe >= 0}
            for pipe in open_ones:
                poll.register(pipe, select.POLLIN)
            for pipe, _ in poll.poll(1000 * left_s):
                open_ones[pipe]._read()
        if self._exit_code != 0 and not self.cut:
            first_line = _text(bytes(self._output)).partition("\n")[0] if self._errors else ""
            raise _ExitError(first_line or f"{name} failed with exit code {self._exit_code}")
        return bytes(self._output[: self._limit_bytes])

    def _read(self) -> None:
        chunk = os.read(self.pipe, 1 << 16)
        self._output += chunk
        self.cut = len(self._output) > self._limit_bytes
        if self.cut:
            self.kill()
        elif not chunk:
            self._close()

    def _close(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    def _has_ended(self) -> bool:
        if self._exit_code is None:
            try:
                ended, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # the program ignores SIGCHLD: nobody can know the exit code
                ended, status = self._pid, 0
            if ended:
                self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code is not None

    def kill(self) -> None:
        """Kill the process and its children, unless it has ended."""
        self._close()
        for _ in range(100):
            if self._has_ended():
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            time.sleep(0.001)


def read_patch(folder: Path, commit: str | None) -> tuple[bytes, bytes] | None:
    """Return how the working tree around a folder differs from a commit: as it is, and with secrets masked.

    Returns:
        None if git cannot say, or the difference is larger than what is recorded.
    """
    if commit is None or not folder.is_dir():
        return None
    diff = _Git(folder, [*_DIFF, commit], limit_bytes=PATCH_LIMIT_BYTES)
    try:
        raw = diff.output(time.monotonic() + 60)
    except _GitError:
        return None
    return None if diff.cut else (raw, _mask_patch(raw))


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
    dirty = False
    for entry in listing.split("\0"):
        if entry.startswith("# "):
            name, _, value = entry[2:].partition(" ")
            headers[name] = value
        elif entry.startswith(("1 ", "u ")):
            dirty = True
            sub = entry.split(" ", 3)[2]  # "N..." or "S<commit changed><modified><untracked>"
            if sub.startswith("S") and "M" in sub:
                submodules.append(entry.split(" ", 8 if entry[0] == "1" else 10)[-1])
        elif entry.startswith("? "):
            untracked.append(entry[2:])
    commit, branch = headers["branch.oid"], headers["branch.head"]
    state = {
        "commit": None if commit == "(initial)" else commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": dirty,
        "submodules_dirty": submodules,
    }
    return state, untracked


def _mask_patch(patch: bytes) -> bytes:
    """Mask secrets in the text of a diff, file by file; base85 of binary files only looks like secrets."""
    separator = b"\ndiff --git "
    parts = patch.split(separator)
    for i, part in enumerate(parts):
        if b"\nGIT binary patch\n" not in part:
            text = part.decode("utf-8", "surrogateescape")
            mask = _mask_keys if "PRIVATE KEY" in text else _mask_in_pieces
            parts[i] = mask(text).encode("utf-8", "surrogateescape")
    return separator.join(parts)


def _mask_in_pieces(text: str) -> str:
    """Mask a text in pieces of whole lines, each of which keeps the training from running for some 5 ms only."""
    pieces = []
    start = 0
    while start < len(text):
        end = text.find("\n", start + _PIECE) + 1 or len(text)
        pieces.append(mask_text(text[start:end]))
        start = end
    return "".join(pieces)


def _mask_keys(text: str) -> str:
    """Mask line by line, private keys included, so that the lines of a hunk stay as many as its header says."""
    lines = text.split("\n")
    inside = False
    for i, line in enumerate(lines):
        begins, ends = line.rfind("-----BEGIN "), line.rfind("-----END ")
        if inside and ends < 0 and _KEY_LINE.fullmatch(line):
            lines[i] = line[:1] + MASK
            continue
        inside = "PRIVATE KEY" in line and begins > ends
        lines[i] = mask_text(line)
    return "\n".join(lines)
