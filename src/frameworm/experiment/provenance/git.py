"""The state of the git repository an experiment starts in: commit, branch, remote and the uncommitted diff.

``GitCapture.launch`` only starts processes, ``collect`` (on a background thread) waits for them, so that an
experiment starts at once and yet records the files as they were when it started.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Sequence
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
_STATUS = "status --porcelain=v2 --branch -z --untracked-files=no --no-renames --no-ahead-behind".split()
_STATUS.append("--ignore-submodules=untracked")
_OTHERS = "ls-files -z --others --exclude-standard --full-name".split()
_REMOTES = r"^(remote\..*\.url|branch\..*\.remote)$"
_DIFF = "diff --binary --no-ext-diff --no-textconv --no-color -U3 --ignore-submodules=dirty".split()
# Set inside a hook, these name the repository of the hook, not that of the folder we ask about.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE")
_PIECE = 1 << 17
# A line of a private key in a diff: base64 or a header such as "DEK-Info: AES-256-CBC,0F3A", bare or as a string.
_KEY_LINE = re.compile(r"""[ +-][\s"'#*]*(?:[A-Za-z0-9+/=]*|[A-Za-z-]+: [\w,. -]+)(?:\\n)?[\s"',)\\]*""")


class GitCapture:
    """What git says of a folder at one moment. One thread launches, one (any) thread collects, once."""

    def __init__(self, cwd: Path, provenance_dir: Path) -> None:
        self._cwd = cwd
        self.provenance_dir = provenance_dir
        """The experiment's; may be set anew before ``collect`` when the folder was moved."""
        self.untracked: list[str] = []
        """Every file that git neither tracks nor ignores, relative to the root; once collected."""
        self._status: _Git | None = None
        self._others: _Git | None = None
        self._remotes: _Git | None = None
        self._diff: _Git | None = None
        self._error = ""
        self._root = ""

    @classmethod
    def launch(cls, cwd: Path, provenance_dir: Path, store: Path | None = None) -> GitCapture:
        """Start the git processes that read the working tree, without waiting for any.

        Costs 2 to 3 ms inside a repository and 30 µs outside one, however large the program is. Never raises.

        Args:
            cwd: any folder; what matters is the repository around it, if there is one.
            provenance_dir: where ``collect`` writes the diff; made when needed.
            store: root of all experiments, whose files are not code: should it lie in the repository and not be
                ignored there, thousands of files need not be looked at.
        """
        self = cls(cwd, provenance_dir)
        root = next((folder for folder in (cwd, *cwd.parents) if (folder / ".git").exists()), None)
        if root is None:
            return self
        self._root = str(root)
        left_out = [f"--exclude=/{store.relative_to(root)}/"] if store and store.is_relative_to(root) else []
        try:
            self._diff = _Git(cwd, [*_DIFF, "HEAD"], limit_bytes=PATCH_LIMIT_BYTES)
            self._status = _Git(cwd, _STATUS)
            self._others = _Git(cwd, [*_OTHERS, *left_out, ":/"])
        except FileNotFoundError:
            self._error = "git is not installed or not on PATH"
        except OSError as error:
            self._error = f"git could not be started: {error}"
        return self

    def collect(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait for git and return what it said; write the uncommitted diff, masked, to ``uncommitted.patch``.

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
            if self._status is None or self._diff is None or self._others is None:
                return {"error": self._error} if self._error else {}
            self._remotes = _Git(self._cwd, ["config", "-z", "--get-regexp", _REMOTES])
            try:
                found["root"] = self._root
                found |= _parse_status(_text(self._status.output(deadline)))
            except _ExitError:
                self._ask(["rev-parse", "--show-toplevel"], deadline)  # whose message says why, if it fails as well
                raise
            self.untracked = [name for name in _text(self._others.output(deadline)).split("\0") if name]
            found |= {"untracked": self.untracked[:UNTRACKED_LIMIT], "untracked_count": len(self.untracked)}
            found["remote"] = self._remote(self._remotes, found["branch"], deadline)
            found |= self._save_patch(self._diff if found["commit"] else self._diff_of_unborn(deadline), deadline)
        except (OSError, _GitError) as error:
            if "not a git repository" in str(error):
                return {}
            found["error"] = str(error)
        finally:
            for process in (self._status, self._others, self._remotes, self._diff):
                if process is not None:
                    process.kill()
        return found

    def _ask(self, args: Sequence[str], deadline: float) -> str:
        return _text(_Git(self._cwd, args, errors=True).output(deadline))

    def _remote(self, remotes: _Git, branch: str | None, deadline: float) -> str | None:
        """Return the URL of the branch's remote, else of ``origin``, else of the first one."""
        try:
            listing = _text(remotes.output(deadline))
        except _ExitError:  # exit code 1: nothing matches
            return None
        settings: dict[str, str] = {}
        for entry in filter(None, listing.split("\0")):
            name, _, value = entry.partition("\n")
            settings.setdefault(name, value)
        wanted = settings.get(f"branch.{branch}.remote", "origin")
        urls = [value for name, value in settings.items() if name.startswith("remote.")]
        url = settings.get(f"remote.{wanted}.url") or settings.get("remote.origin.url") or next(iter(urls), None)
        return mask_url(url) if url else None

    def _diff_of_unborn(self, deadline: float) -> _Git:
        """Start the diff against nothing at all: there is no HEAD before the first commit."""
        empty_tree = self._ask(["hash-object", "-t", "tree", "--stdin"], deadline).strip()
        return _Git(self._cwd, [*_DIFF, empty_tree], limit_bytes=PATCH_LIMIT_BYTES)

    def _save_patch(self, diff: _Git, deadline: float) -> dict[str, Any]:
        raw = diff.output(deadline)
        if diff.cut:
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
            "patch_truncated": diff.cut,
            "patch_masked": patch != raw,
        }


class _GitError(Exception):
    """Git failed; the message is its own first line, or the time-out."""


class _ExitError(_GitError):
    """Git ran and said no."""


class _Git:
    """One git process and the thread that reads it, so that a full pipe never holds git back from reading files.

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
        self._args = args
        self._errors = errors
        self._limit_bytes = limit_bytes
        self._output = bytearray()
        self._exit_code: int | None = None
        self._lock = threading.Lock()  # between the reader, which reaps, and kill(): a reaped pid is not ours
        self._reader = threading.Thread(target=self._read, args=(reading,), name="frameworm-git", daemon=True)
        self._reader.start()

    def _read(self, pipe: int) -> None:
        try:
            while chunk := os.read(pipe, 1 << 16):
                self._output += chunk
                if len(self._output) > self._limit_bytes:
                    self.cut = True
                    break
        finally:
            os.close(pipe)
        if self.cut:
            self.kill()
        while self._exit_code is None:
            with self._lock:
                try:
                    ended, status = os.waitpid(self._pid, os.WNOHANG)
                except ChildProcessError:  # the program ignores SIGCHLD: nobody can know the exit code
                    ended, status = self._pid, 0
                if ended:
                    self._exit_code = os.waitstatus_to_exitcode(status)
            time.sleep(0.001)  # it has closed its output, so it is about to end

    def output(self, deadline: float) -> bytes:
        """Wait until the process has ended or ``deadline`` (monotonic seconds) has come."""
        name = f"git {self._args[0]}"
        self._reader.join(max(0.0, deadline - time.monotonic()))
        if self._reader.is_alive():
            self.kill()
            raise _GitError(f"{name} was stopped: it took too long")
        if self._exit_code != 0 and not self.cut:
            first_line = _text(bytes(self._output)).partition("\n")[0] if self._errors else ""
            raise _ExitError(first_line or f"{name} failed with exit code {self._exit_code}")
        return bytes(self._output[: self._limit_bytes])

    def kill(self) -> None:
        """Kill the process and its children, unless it has ended."""
        with self._lock:
            if self._exit_code is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._pid, signal.SIGKILL)


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


def _parse_status(listing: str) -> dict[str, Any]:
    """Parse ``git status --porcelain=v2 --branch -z`` (without renames and untracked files)."""
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
    commit, branch = headers["branch.oid"], headers["branch.head"]
    return {
        "commit": None if commit == "(initial)" else commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": dirty,
        "submodules_dirty": submodules,
    }


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
