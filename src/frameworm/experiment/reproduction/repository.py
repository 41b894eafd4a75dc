"""A git repository of our own, made to lay a commit out: it borrows, reads or fetches the objects.

Nothing of the repository that the commit comes from is executed: neither its hooks nor its filters, as its
configuration is not read when files are checked out. The contents of Git LFS are taken from the store beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path

from frameworm.experiment.errors import ReproductionError

_TIMEOUT_S = 1800
_SETTINGS = (
    "safe.directory=*",  # of others only objects are read
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "advice.detachedHead=false",
    "gc.auto=0",
    "pack.threads=1",  # the same pack each time
    "protocol.allow=never",
    *(f"protocol.{name}.allow=always" for name in ("file", "git", "http", "https", "ssh")),
)
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize \d+\n"
)
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REFERENCE = "refs/heads/frameworm"


class GitError(ReproductionError):
    """Git is not there or failed."""


def git(*words: str, cwd: Path, given: bytes = b"", isolated: bool = True) -> bytes:
    """Run git and return what it prints.

    Args:
        words: the command and its arguments.
        cwd: where.
        given: its standard input.
        isolated: without the user's configuration, of which only fetching has need.

    Raises:
        GitError: it is not installed, failed or took too long.
    """
    import subprocess

    from frameworm.experiment.reproduction.child import run

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
    if isolated:
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    else:
        environment["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes"
    try:
        done = run(
            ["git", *(word for setting in _SETTINGS for word in ("-c", setting)), *words],
            cwd=cwd,
            env=environment,
            given=given,
            timeout_s=_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise GitError("git is not installed or not on PATH") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git {words[0]}: {error}") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitError(f"git {words[0]}: {'; '.join(lines[:2]) or f'exit code {done.returncode}'}")
    return done.stdout


class Repository:
    """A repository in a folder of its own, for one commit.

    Attributes:
        folder: its working tree.
        commit: None for one without commits.
    """

    def __init__(self, folder: Path, commit: str | None, *, bare: bool = False) -> None:
        """Make it, empty.

        Raises:
            GitError: that is no commit, or git is not there or failed.
        """
        if commit is not None and not _COMMIT.fullmatch(commit):  # git would take it for an option, or a path
            raise GitError(f"the record names {commit!r:.80}, which is no commit")
        self.folder = folder
        self.commit = commit
        self._git_dir = folder if bare else folder / ".git"
        self.borrowed: list[Path] = []
        """Object stores that are read but not copied."""
        folder.mkdir(parents=True, exist_ok=True)
        form = "sha256" if len(commit or "") == 64 else "sha1"
        self.run("init", "--quiet", "--template=", f"--object-format={form}", *(["--bare"] if bare else []), ".")
        for name in ("objects", "info"):
            (self._git_dir / name / "info" if name == "objects" else self._git_dir / name).mkdir(
                parents=True, exist_ok=True
            )

    def run(self, *words: str, given: bytes = b"") -> bytes:
        """Run git in it."""
        return git(*words, cwd=self.folder, given=given)

    def obtain(self, places: list[Path], bundle: Path, url: str | None) -> str:
        """Get the commit, and return from where.

        Args:
            places: folders in repositories that may have it.
            bundle: file that may have it.
            url: remote that may have it; asked last.

        Raises:
            GitError: none has it.
        """
        tried = []
        for place in places:
            if self._borrow(place):
                return str(place)
            tried.append("the working folder" if place == Path(".") else str(place))
        if bundle.is_file() and self._unbundle(bundle):
            return bundle.name
        if url:
            try:
                self._fetch(url)
                return url
            except GitError as error:
                tried.append(f"{url} ({error})")
        raise GitError(f"commit {self.commit} was not found; looked in {', '.join(tried) or 'no repository'}")

    def _has_commit(self) -> bool:
        with contextlib.suppress(GitError):
            self.run("cat-file", "-e", f"{self.commit}^{{tree}}")
            return True
        return False

    def _borrow(self, place: Path) -> bool:
        """Read the objects of the repository around a folder, if it has the commit."""
        if not place.is_dir():
            return False
        try:
            answer = git("rev-parse", "--path-format=absolute", "--git-common-dir", cwd=place)
        except GitError:
            return False
        theirs = Path(os.fsdecode(answer).rstrip("\n"))
        alternates = self._git_dir / "objects" / "info" / "alternates"
        if "\n" in str(theirs) or not (theirs / "objects").is_dir():
            return False
        alternates.write_bytes(os.fsencode(theirs / "objects") + b"\n")
        if self._has_commit():
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(theirs / "shallow", self._git_dir / "shallow")
            self.borrowed.append(theirs)
            return True
        alternates.unlink()
        return False

    def _unbundle(self, bundle: Path) -> bool:
        (self._git_dir / "shallow").write_text(f"{self.commit}\n")
        with contextlib.suppress(GitError):
            self.run("bundle", "unbundle", str(bundle.absolute()))
        if self._has_commit():
            return True
        (self._git_dir / "shallow").unlink()
        return False

    def _fetch(self, url: str) -> None:
        if url.startswith("-"):
            raise GitError("no URL of a repository")
        try:
            git("fetch", "--quiet", "--no-tags", "--depth=1", url, str(self.commit), cwd=self.folder, isolated=False)
        except GitError:  # servers need not give a commit that no branch points to
            every = "+refs/*:refs/frameworm/*"
            git("fetch", "--quiet", "--no-tags", url, every, cwd=self.folder, isolated=False)
        if not self._has_commit():
            raise GitError("it does not have it any more")

    def check_out(self, remote: str | None) -> None:
        """Lay the commit out, its branch unnamed."""
        if remote and not remote.startswith("-"):
            self.run("config", "remote.origin.url", remote)
        if self.commit is not None:
            self.run("checkout", "--quiet", "--detach", self.commit)

    def apply(self, patch: bytes) -> None:
        """Apply uncommitted changes; files that they add become known to git, as they were.

        Raises:
            GitError: they do not fit the commit.
        """
        # No objects are written, as with --index: git would renew the time of one that is among the borrowed.
        self.run("apply", "--whitespace=nowarn", "-", given=patch)
        if added := self.run("ls-files", "-z", "--others"):
            pathspec = ("--pathspec-from-file=-", "--pathspec-file-nul")
            self.run("--literal-pathspecs", "add", "--intent-to-add", "--force", *pathspec, given=added)

    def exclude(self, paths: list[str]) -> None:
        """Have git ignore files."""
        with open(self._git_dir / "info" / "exclude", "a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"/{re.sub(r'([][*?!# ])', chr(92) * 2 + '1', path)}\n" for path in paths)

    def overlook(self, path: str) -> None:
        """Have git take a file for unchanged, whatever lies in its place."""
        self.run("update-index", "--skip-worktree", "--", path)

    def submodules(self) -> dict[str, tuple[str, str | None]]:
        """Return the commit and the URL, if it is an absolute one, of each submodule by its path."""
        urls: dict[str, dict[str, str]] = {}
        if (self.folder / ".gitmodules").is_file():
            listing = b""
            with contextlib.suppress(GitError):
                listing = self.run("config", "-z", "-f", ".gitmodules", "--get-regexp", r"^submodule\..*\.(path|url)$")
            for entry in filter(None, os.fsdecode(listing).split("\0")):
                name, _, value = entry.partition("\n")
                section, _, field = name.rpartition(".")
                urls.setdefault(section, {})[field] = value
        by_path = {one.get("path"): one.get("url") for one in urls.values()}
        found = {}
        for entry in filter(None, os.fsdecode(self.run("ls-files", "-z", "--stage")).split("\0")):
            facts, _, path = entry.partition("\t")
            mode, commit, _ = facts.split(" ")
            if mode == "160000":
                url = by_path.get(path)
                found[path] = commit, url if url and not url.startswith(".") else None
        return found

    def fill_large_files(self) -> list[str]:
        """Put the contents of Git LFS in the place of their pointers; return the paths of those that are not here."""
        missing = []
        for path in filter(None, os.fsdecode(self.run("ls-files", "-z")).split("\0")):
            file = self.folder / path
            if file.is_symlink() or not file.is_file() or file.stat().st_size > 1024:
                continue
            pointer = _POINTER.fullmatch(file.read_bytes())
            if pointer is None:
                continue
            digest = pointer[1].decode()
            for store in self.borrowed:
                stored = store / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
                if stored.is_file() and _sha256(stored) == digest:
                    shutil.copyfile(stored, file)
                    break
            else:
                missing.append(path)
        return missing


def pack_commit(place: Path, commit: str, target: Path, folder: Path) -> None:
    """Write one commit, without its history, to a bundle that git can read.

    Args:
        place: a folder in the repository.
        commit: which.
        target: the file.
        folder: an empty one, to work in.

    Raises:
        GitError: the repository does not have it.
    """
    repository = Repository(folder, commit, bare=True)
    if not repository._borrow(place):
        raise GitError(f"commit {commit} is not in {place}")
    (folder / "shallow").write_text(f"{commit}\n")
    repository.run("update-ref", _REFERENCE, commit)
    repository.run("bundle", "create", "--quiet", str(target.absolute()), _REFERENCE)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
