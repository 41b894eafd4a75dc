"""The code that an experiment runs, as far as git does not hold it, stored in ``provenance/code``.

In a repository these are the files that git neither tracks nor ignores (changes of tracked files are in
``uncommitted.patch``). Outside git they are the project's files that were imported, and the script.
"""

from __future__ import annotations

import functools
import hashlib
import os
import site
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from frameworm.experiment.secrets import mask_text
from frameworm.experiment.storage.blobs import share

CODE = "code"
FILE_LIMIT_BYTES = 5 << 20
TOTAL_LIMIT_BYTES = 50 << 20
COUNT_LIMIT = 2_000
_LISTED = 200
_NO_CODE = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", "node_modules", ".mypy_cache", ".ruff_cache"})


def capture_code(
    provenance_dir: Path,
    blobs_dir: Path,
    cwd: Path,
    *,
    root: Path | None = None,
    untracked: Iterable[str] = (),
    ran: Iterable[Path] | None = None,
) -> dict[str, Any]:
    """Store the code that git does not hold and return what was stored; for a background thread.

    Args:
        provenance_dir: the experiment's; the files go to ``code`` in it.
        blobs_dir: ``<store>/.frameworm/blobs``.
        cwd: folder the process was started in.
        root: top folder of the git repository around ``cwd``; None outside git.
        untracked: paths relative to ``root`` that git neither tracks nor ignores.
        ran: real paths of files that ran without being imported, in a program that is no file but cells; else None.

    Returns:
        ``kind`` (``git`` or ``snapshot``), ``root``, ``cwd`` and ``script`` (relative to ``root``, absolute if outside;
        None where there is no script), ``files`` (each ``path``, ``digest`` as ``sha256:…``, ``size_bytes``,
        ``executable``, ``masked``: a secret was masked, so it is not what ran) and ``left_out`` (each ``path``,
        ``size_bytes``, ``why``; at most 200, with ``left_out_count``).
    """
    store = blobs_dir.parent.parent
    script = _script() if ran is None else None
    kind = "snapshot" if root is None else "git"
    if root is None:
        root = cwd if script is None or script.is_relative_to(cwd) else script.parent
        names: Iterable[str] = [*_imported(root, script), *_below(root, ran or ())]
    else:
        names = (name for name in untracked if not (root / name).is_relative_to(store))
    files: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    total = 0
    for name in sorted(set(names)):
        if _NO_CODE.intersection(Path(name).parts):
            continue
        path = root / name
        try:
            look = path.lstat()
            why = _unfit(look, total, len(files))
            if not why:
                _make_folder((provenance_dir / CODE / name).parent, provenance_dir)
                files.append(_keep(path, provenance_dir / CODE / name, name, blobs_dir))
                total += look.st_size
                continue
        except OSError as error:
            why, look = str(error.strerror), None
        left_out.append({"path": name, "size_bytes": look.st_size if look else None, "why": why})
    if script is not None and not script.is_relative_to(root):
        left_out.append({"path": str(script), "size_bytes": script.stat().st_size, "why": "outside the repository"})
    return {
        "kind": kind,
        "root": str(root),
        "cwd": _relative(cwd, root),
        "script": None if script is None else _relative(script, root),
        "files": files,
        "left_out": left_out[:_LISTED],
        "left_out_count": len(left_out),
    }


def _unfit(look: os.stat_result, total: int, count: int) -> str:
    """Return why a file is not stored, or ""."""
    if stat.S_ISLNK(look.st_mode):
        return "a symlink"
    if not stat.S_ISREG(look.st_mode):
        return "not a regular file"
    if look.st_size > FILE_LIMIT_BYTES:
        return f"larger than {FILE_LIMIT_BYTES >> 20} MiB"
    if total + look.st_size > TOTAL_LIMIT_BYTES:
        return f"{TOTAL_LIMIT_BYTES >> 20} MiB were stored before it"
    if count >= COUNT_LIMIT:
        return f"{COUNT_LIMIT} files were stored before it"
    return ""


def _make_folder(folder: Path, provenance_dir: Path) -> None:
    """Make a folder and those above it, but not ``provenance_dir``: who moved it away must not find it made again."""
    if folder != provenance_dir:
        _make_folder(folder.parent, provenance_dir)
        folder.mkdir(exist_ok=True)


def _keep(source: Path, place: Path, name: str, blobs_dir: Path) -> dict[str, Any]:
    content = source.read_bytes()
    kept = _masked(content)
    place.unlink(missing_ok=True)  # it may be one with files of other experiments, which must not be written to
    place.write_bytes(kept)
    digest = hashlib.sha256(kept).hexdigest()
    share(place, digest, blobs_dir)
    return {
        "path": name,
        "digest": f"sha256:{digest}",
        "size_bytes": len(kept),
        "executable": bool(source.stat().st_mode & 0o100),
        "masked": kept != content,
    }


def kept_digest(path: Path) -> str:
    """Return the digest that a file would be stored under: of its content with secrets masked."""
    return f"sha256:{hashlib.sha256(_masked(path.read_bytes())).hexdigest()}"


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


def _script() -> Path | None:
    """Return the program's file, or None at a prompt or in a notebook."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(main).resolve() if main else None


def _imported(root: Path, script: Path | None) -> Iterator[str]:
    """Yield the files under ``root`` that were imported and are not installed, and the script."""
    above = os.path.join(root, "")
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    for file in {*files, None if script is None else str(script)}:
        real = None if file is None else _own_source(file)
        if real is not None and real.startswith(above):
            yield real[len(above) :]


def _below(root: Path, files: Iterable[Path]) -> Iterator[str]:
    top = os.path.realpath(root)
    yield from (str(file.relative_to(top)) for file in files if file.is_relative_to(top))


@functools.cache  # a thousand modules took 16 ms an experiment
def _own_source(file: str) -> str | None:
    """Return the real path of a source file, or None if it is installed or no source."""
    installed = installed_folders()
    if not file.endswith(".py") or file.startswith(installed):
        return None
    real = os.path.realpath(file)
    # torch.ops and torch.classes are modules of which __file__ is "_ops.py": files that never were.
    invented = not os.path.isabs(file) and not os.path.isfile(real)
    return None if invented or real.startswith(installed) else real


@functools.cache
def installed_folders() -> tuple[str, ...]:
    """Return the folders whose files are not the user's own code: Python's, what is installed, this package."""
    paths = sysconfig.get_paths()
    own = str(Path(__file__).parents[2])  # this package, however it is installed
    places = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    places |= {*site.getsitepackages(), site.getusersitepackages(), sys.prefix, own}
    return tuple(f"{os.path.realpath(place)}/" for place in sorted(places))


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
