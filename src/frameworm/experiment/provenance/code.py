"""The code that an experiment runs, as far as git does not hold it, stored in ``provenance/code``.

These are the files that the program has loaded, as they were when they were first seen, and in a repository those
that git neither tracks nor ignores besides, as far as they are code: not what runs leave behind. What commit and
``uncommitted.patch`` bring back is not stored again.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from frameworm.experiment.errors import UnsafePathError
from frameworm.experiment.paths import open_regular
from frameworm.experiment.provenance.git import GitCapture
from frameworm.experiment.provenance.program import Program, find_program, loaded_files, standard_input, was_edited
from frameworm.experiment.secrets import mask_text
from frameworm.experiment.storage.blobs import share

CODE = "code"
FILE_LIMIT_BYTES = 5 << 20
TOTAL_LIMIT_BYTES = 50 << 20
COUNT_LIMIT = 2_000
CODE_SUFFIXES = frozenset(
    """
    .py .pyi .pyw .pyx .pxd .ipynb .so .sh .bash .c .cc .cpp .cxx .cu .cuh .h .hpp .rs .go .jl .r .lua .sql .proto
    .yaml .yml .toml .json .jsonnet .ini .cfg .conf .env .j2 .jinja .jinja2 .tmpl .md .rst .cmake
    """.split()
)
"""Of files that are taken for code though Python did not load them."""
_LISTED = 200
_NO_CODE = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", "node_modules", ".mypy_cache", ".ruff_cache"})
_HASHED_BYTES = 64 << 20  # of all that is left out: reading it must not be felt
_AT_ONCE = 64
_AT_ONCE_BYTES = 1 << 20
_REMEMBERED_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class _Source:
    """A file as it was when it was first seen after a module was loaded from it.

    Attributes:
        content: None if it had been edited since it was loaded.
        executable: whether it may be run.
        spec: of the module; another one when it is loaded again.
    """

    content: bytes | None
    executable: bool
    spec: object


_sources: dict[str, _Source] = {}  # by real path: a later experiment of this process runs the same code still


class CodeRecord:
    """What is recorded of the code of one experiment. Made as it starts, on its thread; then used by one at a time."""

    def __init__(self, cwd: Path, *, cells: bool = False) -> None:
        """Take note of the program, and read at once what it has loaded, as far as that is quick.

        Args:
            cwd: where the process runs.
            cells: whether the program is no file, but cells.
        """
        self.program = Program(None, cwd) if cells else find_program(cwd)
        self._began_ns = time.time_ns()
        self._cwd = cwd
        self._stdin = standard_input()
        self._modules = 0
        self._root = cwd
        self._git: GitCapture | None = None
        self._in_git = False
        self._done: set[str] = set()
        self._files: dict[str, dict[str, Any]] = {}
        self._left_out: dict[str, dict[str, Any]] = {}
        self._total = 0
        self._hashed = 0
        self.loaded = self._find_loaded()
        """Real paths of the files that are loaded, and their modules."""
        total = 0
        for path, module in list(self.loaded.items())[:_AT_ONCE]:
            source = _source(path, module)
            total += 0 if source is None or source.content is None else len(source.content)
            if total > _AT_ONCE_BYTES:
                break

    def _find_loaded(self) -> dict[str, ModuleType | None]:
        self._modules = len(sys.modules)
        file = self.program.file
        first: dict[str, ModuleType | None] = {} if file is None else {str(file): sys.modules.get("__main__")}
        return first | loaded_files()

    def take(
        self, provenance_dir: Path, blobs_dir: Path, git: GitCapture, *, in_git: bool, ran: Iterable[Path] = ()
    ) -> dict[str, Any]:
        """Store the code that git does not hold and return what was stored; for a background thread.

        Args:
            provenance_dir: the experiment's; the files go to ``code`` in it.
            blobs_dir: ``<store>/.frameworm/blobs``.
            git: collected.
            in_git: whether a commit is recorded, or that there is none yet.
            ran: real paths of files that ran without being imported.

        Returns:
            ``kind`` (``git`` or ``snapshot``), ``root``, ``cwd`` and ``script`` (relative to ``root``, absolute if
            outside; None where there is no script), ``files`` (each ``path``, ``digest`` as ``sha256:…``,
            ``size_bytes``, ``executable``, ``masked``: a secret was masked, so it is not what ran) and ``left_out``
            (each ``path``, ``size_bytes``, ``why``, and ``digest`` of its content, or None; at most 200, with
            ``left_out_count``).
        """
        self._git = git
        self._in_git = in_git
        self._root = git.root or _top_of(self.program, self._cwd)
        store = blobs_dir.parent.parent
        if self.program.lost is not None:
            name, why = self.program.lost
            self._leave_out(name, None, why)
        self._take_loaded(provenance_dir, blobs_dir, ran)
        for name in git.hidden:
            self._take_file(name, provenance_dir, blobs_dir)
        for name in git.untracked:
            if not (self._root / name).is_relative_to(store):
                self._take_file(name, provenance_dir, blobs_dir)
        return self._record()

    def follow(self, provenance_dir: Path, blobs_dir: Path, ran: Iterable[Path] = ()) -> dict[str, Any] | None:
        """Store what was loaded, or ran, since; return all that is stored, or None if nothing came to it."""
        if self._git is None or (self._modules == len(sys.modules) and self._done.issuperset(map(str, ran))):
            return None
        before = len(self._files), len(self._left_out)
        self.loaded = self._find_loaded()
        self._take_loaded(provenance_dir, blobs_dir, ran)
        return None if before == (len(self._files), len(self._left_out)) else self._record()

    def _record(self) -> dict[str, Any]:
        script = self.program.file
        return {
            "kind": "git" if self._in_git else "snapshot",
            "root": str(self._root),
            "cwd": _relative(self._cwd, self._root),
            "script": None if script is None else _relative(script, self._root),
            "files": [self._files[name] for name in sorted(self._files)],
            "left_out": [self._left_out[name] for name in sorted(self._left_out)[:_LISTED]],
            "left_out_count": len(self._left_out),
        }

    def _take_loaded(self, provenance_dir: Path, blobs_dir: Path, ran: Iterable[Path]) -> None:
        assert self._git is not None
        for path, module in {**dict.fromkeys(map(str, ran)), **self.loaded}.items():
            if path in self._done:
                continue
            self._done.add(path)
            inside = Path(path).is_relative_to(self._root)
            name = os.path.relpath(path, self._root) if inside else path
            source = _source(path, module)
            if source is None:
                self._leave_out(name, Path(path), _unfit_file(Path(path)) or "it is gone from the disk")
            elif source.content is None:
                self._leave_out(name, None, "it was edited after it was loaded")
            elif not inside:
                where = "repository" if self._in_git else "project"
                self._leave_out(name, Path(path), f"outside the {where}")
            elif not self._git.holds(name, source.content):
                self._keep(name, source.content, source.executable, provenance_dir, blobs_dir)

    def _take_file(self, name: str, provenance_dir: Path, blobs_dir: Path) -> None:
        """Store a file that was not loaded, if it is code and as it was at the start."""
        if name in self._files or _NO_CODE.intersection(Path(name).parts):
            return
        path = self._root / name
        why = "a repository of its own" if name.endswith("/") else _unfit_file(path)
        if not why:
            look = path.lstat()
            if not (Path(name).suffix.lower() in CODE_SUFFIXES or look.st_mode & 0o100 or str(path) == self._stdin):
                why = "no code, and not loaded"
            elif look.st_mtime_ns > self._began_ns:
                why = "written after the start"
        if why:
            self._leave_out(name, path, why)
            return
        try:
            self._keep(name, _read(path), bool(look.st_mode & 0o100), provenance_dir, blobs_dir)
        except (OSError, UnsafePathError) as error:
            self._leave_out(name, path, str(error))

    def _keep(self, name: str, content: bytes, executable: bool, provenance_dir: Path, blobs_dir: Path) -> None:
        why = self._no_room(len(content))
        place = provenance_dir / CODE / name
        if not why:
            try:
                _make_folder(place.parent, provenance_dir)
                kept = _masked(content)
                place.unlink(missing_ok=True)  # it may be one with files of other experiments, which stay as they are
                place.write_bytes(kept)
            except OSError as error:
                why = str(error.strerror)
        if why:
            self._leave_out(name, self._root / name, why)
            return
        digest = hashlib.sha256(kept).hexdigest()
        share(place, digest, blobs_dir)
        self._total += len(content)
        self._files[name] = {
            "path": name,
            "digest": f"sha256:{digest}",
            "size_bytes": len(kept),
            "executable": executable,
            "masked": kept != content,
        }

    def _no_room(self, size: int) -> str:
        if self._total + size > TOTAL_LIMIT_BYTES:
            return f"{TOTAL_LIMIT_BYTES >> 20} MiB were stored before it"
        return f"{COUNT_LIMIT} files were stored before it" if len(self._files) >= COUNT_LIMIT else ""

    def _leave_out(self, name: str, path: Path | None, why: str) -> None:
        """Take note of a file that is not stored, with a fingerprint by which it can be told again."""
        size = digest = None
        if path is not None:
            try:
                look = path.stat()
                size = look.st_size
                if stat.S_ISREG(look.st_mode) and self._hashed + size <= _HASHED_BYTES:
                    self._hashed += size
                    digest = file_digest(path)
            except (OSError, UnsafePathError):
                size = None
        self._left_out[name] = {"path": name, "size_bytes": size, "why": why, "digest": digest}


def _source(path: str, module: ModuleType | None) -> _Source | None:
    """Return a loaded file as it was first seen; None if it cannot be read or is too large."""
    known = _sources.get(path)
    spec = None if module is None else vars(module).get("__spec__")
    if known is not None and module is not None and known.spec is spec:
        return known
    try:
        with open(open_regular(path), "rb") as file:
            look = os.fstat(file.fileno())
            if look.st_size > FILE_LIMIT_BYTES:
                return None
            content = None if was_edited(path, module, look) else file.read()
            source = _Source(content, bool(look.st_mode & 0o100), spec)
    except (OSError, UnsafePathError):
        return known
    remembered = sum(len(one.content or b"") for one in _sources.values())
    if remembered + len(source.content or b"") <= _REMEMBERED_BYTES:
        _sources[path] = source
    return source


def _top_of(program: Program, cwd: Path) -> Path:
    """Return the folder that the paths of code outside git are relative to."""
    if program.file is None or program.file.is_relative_to(cwd):
        return cwd
    folder = program.folder
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


def _unfit_file(path: Path) -> str:
    """Return why a file is not stored, or ""."""
    try:
        look = path.lstat()
    except OSError as error:
        return str(error.strerror)
    if stat.S_ISLNK(look.st_mode):
        return "a symlink"
    if not stat.S_ISREG(look.st_mode):
        return "not a regular file"
    return f"larger than {FILE_LIMIT_BYTES >> 20} MiB" if look.st_size > FILE_LIMIT_BYTES else ""


def _make_folder(folder: Path, provenance_dir: Path) -> None:
    """Make a folder and those above it, but not ``provenance_dir``: who moved it away must not find it made again."""
    if folder != provenance_dir:
        _make_folder(folder.parent, provenance_dir)
        folder.mkdir(exist_ok=True)


def _read(path: Path) -> bytes:
    with open(open_regular(path), "rb") as file:
        return file.read()


def kept_digest(path: Path) -> str:
    """Return the digest that a file would be stored under: of its content with secrets masked."""
    return f"sha256:{hashlib.sha256(_masked(path.read_bytes())).hexdigest()}"


def file_digest(path: Path) -> str:
    """Return the digest by which a file that is left out is told again: of its content as it is."""
    with open(open_regular(os.path.realpath(path)), "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _masked(content: bytes) -> bytes:
    """Mask secrets in text; what is no UTF-8 is taken for binary and left as it is."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return content
    return "".join(mask_text(line) for line in _pieces(text)).encode("utf-8")


def _pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces of whole lines, each of which holds the interpreter for some 5 ms only."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + (1 << 17)) + 1 or len(text)
        yield text[start:end]
        start = end


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
