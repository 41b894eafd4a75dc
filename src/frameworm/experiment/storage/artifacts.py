"""Artifacts: files copied into an experiment's folder, whole or not at all, and never over one another."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from frameworm.experiment.errors import ArtifactError
from frameworm.experiment.model import Artifact

__all__ = ["artifact_path", "store_artifact"]

_PIECE = 1 << 20
_MAX_NAME_BYTES = 1024
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z", re.IGNORECASE)


def store_artifact(
    source: str | os.PathLike[str],
    artifacts_dir: Path,
    *,
    name: str | None = None,
    artifact_type: str = "file",
    existing: Sequence[Artifact] = (),
) -> list[Artifact]:
    """Copy a file, or every file of a directory, into ``artifacts_dir``.

    Equal content under the same name is stored once; other content becomes a new version beside it
    (``model.v2.pt``). A file that already lies inside the experiment's folder is recorded where it is.

    Args:
        source: file or directory; a link given here is followed.
        artifacts_dir: the experiment's ``artifacts`` folder.
        name: name to store it under, ``/`` between folders; by default the last part of ``source``.
        artifact_type: free word kept with it.
        existing: what was stored before.

    Returns:
        one entry a file.

    Raises:
        ArtifactError: missing, no regular file, an unsafe name, a link out of the directory, or a file that
            changes while it is copied.
    """
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArtifactError(f"artifact {str(source)!r}: {reason} (looked from {Path.cwd()}); check the path") from error
    chosen = checked_name(path.resolve().name if name is None else name)
    if stat.S_ISDIR(mode):
        files = [(file, f"{chosen}/{inside}") for file, inside in _files_in(path)]
    elif stat.S_ISREG(mode):
        files = [(path, chosen)]
    else:
        raise ArtifactError(f"artifact {str(path)!r}: expected a file or a directory, got {_kind(mode)}; it was not opened")
    known = list(existing)
    stored = []
    for file, file_name in files:
        artifact = _store(file, checked_name(file_name), artifacts_dir, artifact_type, known)
        known.append(artifact)
        stored.append(artifact)
    return stored


def artifact_path(exp_dir: Path, artifact: Artifact) -> Path:
    """Return where an artifact lies.

    Raises:
        ArtifactError: its recorded path leads out of the experiment's folder.
    """
    path = exp_dir / artifact.path
    if not path.resolve().is_relative_to(exp_dir.resolve()):
        raise ArtifactError(f"artifact {artifact.name!r}: its path {artifact.path!r} leads out of {exp_dir}")
    return path


def checked_name(name: object) -> str:
    """Return an artifact's name if it is safe as a path below the artifacts folder on any system.

    Raises:
        ArtifactError: it is not; the message says why.
    """
    if not isinstance(name, str):
        raise ArtifactError(f"artifact name: expected a str, got {type(name).__name__} {name!r:.80}")
    plain = unquote(unquote(name))
    problem = ""
    if not name.strip():
        problem = "it is empty"
    elif any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in plain):
        problem = "control characters and lone surrogates are not allowed"
    elif "\\" in plain or re.match(r"[A-Za-z]:", plain):
        problem = "backslashes and drive letters are not allowed; use / between folders"
    elif plain.startswith("/"):
        problem = "it is absolute; give it relative to the artifacts folder"
    elif any(part in ("", ".", "..") for part in re.split(r"[/?#;]", plain)) and ".." in plain or "//" in plain:
        problem = "it climbs or has empty parts; use plain names between single slashes"
    elif any(part in ("", ".", "..") for part in name.split("/")):
        problem = "it has empty parts, '.' or '..'; use plain names between single slashes"
    elif any(_RESERVED.match(part) or part.startswith(".tmp-") for part in plain.split("/")):
        problem = "a part of it is reserved"
    elif len(name.encode()) > _MAX_NAME_BYTES or any(len(part.encode()) > 200 for part in name.split("/")):
        problem = f"at most {_MAX_NAME_BYTES} bytes, 200 a part"
    if problem:
        raise ArtifactError(f"artifact name {name!r:.120} cannot be used: {problem}")
    return name


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if test(mode):
            return word
    return "something else"


def _files_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files below a directory and their names in it, sorted."""
    top = folder.resolve()
    for parent, folders, files in os.walk(top, followlinks=False):
        folders.sort()
        for entry in sorted([*files, *(f for f in folders if os.path.islink(os.path.join(parent, f)))]):
            path = Path(parent) / entry
            inside = path.relative_to(top).as_posix()
            if path.is_symlink() and not path.resolve().is_relative_to(top):
                raise ArtifactError(f"artifact {inside!r} in {str(folder)!r} is a link out of it; copy the file or leave it out")
            try:
                mode = path.stat().st_mode
            except OSError as error:
                raise ArtifactError(f"artifact {str(path)!r}: {error.strerror}") from error
            if stat.S_ISREG(mode):
                yield path, inside
            elif not stat.S_ISDIR(mode):
                raise ArtifactError(f"artifact {str(path)!r}: expected a file, got {_kind(mode)}; it was not opened")


def _store(source: Path, name: str, artifacts_dir: Path, artifact_type: str, known: list[Artifact]) -> Artifact:
    versions = [artifact for artifact in known if artifact.name == name]
    exp_dir = artifacts_dir.parent
    inside = source.resolve().is_relative_to(exp_dir.resolve())
    target_dir = (artifacts_dir / name).parent
    try:
        target_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ArtifactError(f"artifact name {name!r}: a part of it is a file already; use another name") from error
    temporary = None if inside else target_dir / f".tmp-{os.getpid()}-{time.monotonic_ns()}"
    try:
        digest, size = _copy(source, temporary)
        same = next((artifact for artifact in versions if artifact.digest == digest), None)
        version = max((artifact.version for artifact in versions), default=0) + 1
        if inside:
            path = source.resolve().relative_to(exp_dir.resolve()).as_posix()
            same = next((artifact for artifact in versions if (artifact.digest, artifact.path) == (digest, path)), None)
        elif same is None:
            assert temporary is not None
            version, target = _link(temporary, artifacts_dir, name, version)
            path = target.relative_to(exp_dir).as_posix()
        if same is not None:
            return same
        now_ms = time.time_ns() // 1_000_000
        return Artifact(name, path, artifact_type, version, size, digest, now_ms)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _copy(source: Path, temporary: Path | None) -> tuple[str, int]:
    """Copy and digest a file that must not change meanwhile; without a target only digest it."""
    for attempt in (1, 2):
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as reading:
            before = os.fstat(reading.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise ArtifactError(f"artifact {str(source)!r}: expected a file, got {_kind(before.st_mode)}")
            digest, size = hashlib.sha256(), 0
            writing = None if temporary is None else open(temporary, "wb")
            try:
                while piece := reading.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    if writing is not None:
                        writing.write(piece)
                if writing is not None:
                    writing.flush()
                    os.fsync(writing.fileno())
            finally:
                if writing is not None:
                    writing.close()
        after = source.stat()
        if _identity(before) == _identity(after) and size == after.st_size:
            return f"sha256:{digest.hexdigest()}", size
        if attempt == 2:
            break
    raise ArtifactError(f"artifact {str(source)!r} changes while it is copied; log it once it is written")


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _link(temporary: Path, artifacts_dir: Path, name: str, version: int) -> tuple[int, Path]:
    """Give the copy its name; the first free version, whoever else stores under it at the same time."""
    pure = PurePosixPath(name)
    while True:
        last = pure.name if version == 1 else f"{pure.stem}.v{version}{pure.suffix}"
        target = artifacts_dir / pure.parent / last
        try:
            os.link(temporary, target)
        except FileExistsError:
            version += 1
            continue
        except OSError:
            # No hard links here: take the name first, then put the content there.
            try:
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                version += 1
                continue
            os.replace(temporary, target)
        return version, target
