"""Artifacts: files copied beside an experiment, named, versioned and never overwritten.

A file is streamed to ``.tmp-…`` in the folder it will lie in, hashed on the way, fsynced, and only then linked to
its name, which fails if the name is taken, so that two processes never overwrite each other. A crash leaves at most
a ``.tmp-…`` file. Files of equal content, of whatever experiments, are one file with several names (``blobs``). The
second version of ``model.pt`` lies beside the first as ``model.v2.pt``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from frameworm.experiment.errors import ArtifactError, StoreError
from frameworm.experiment.model import Artifact
from frameworm.experiment.paths import place_inside
from frameworm.experiment.storage.blobs import BLOBS, share
from frameworm.experiment.storage.folder import HIDDEN, make_folders
from frameworm.experiment.storage.names import TEMPORARY, check_artifact_name

__all__ = ["artifact_path", "store_artifact"]

_PIECE = 1 << 20
_RECENT_NS = 1_000_000_000
"""A file changed less than this before it is read is read twice: its time moves in steps of some milliseconds, and
only when a write begins, so that a write just then, or one still going on, would not show in it."""
CHECKPOINTS = "checkpoints"
"""The sibling of the artifacts folder whose files, too, are recorded where they lie."""


class _File(NamedTuple):
    """One regular file to be stored: where it is, how it looked when found, the name it gets."""

    path: str
    seen: os.stat_result
    name: str
    in_place: str | None
    """Where it lies relative to the experiment's folder, if that is where it belongs."""


def store_artifact(
    source: str | os.PathLike[str],
    artifacts_dir: Path,
    *,
    name: str | None = None,
    artifact_type: str = "file",
    existing: Sequence[Artifact] = (),
) -> list[Artifact]:
    """Store a file, or every file of a directory, and return what was stored, in order of name.

    A file equal to the latest version of its name is not stored again: that version is returned. A file that
    already lies in ``artifacts_dir`` or in ``checkpoints`` beside it, under its own name, is recorded where it is;
    whoever writes to it later changes what was recorded. Symlinks are followed, but not out of a directory.
    Nothing is stored unless every file of a directory is allowed.

    Args:
        source: a regular file or a directory.
        artifacts_dir: ``<experiment>/artifacts``; made if missing.
        name: the artifact's name, ``/`` between folders; for a directory, what stands before its files' names.
            None for the file's or directory's own name.
        artifact_type: free word.
        existing: what the experiment has recorded so far.

    Raises:
        ArtifactError: missing, empty directory, special or unreadable file, symlink out of the tree, name that is
            not safe everywhere, or a file that keeps changing while it is read.
        StoreError: the artifact cannot be written: disk full, no permission.
    """
    own = os.path.realpath(artifacts_dir)
    if own != os.path.join(os.path.realpath(artifacts_dir.parent), artifacts_dir.name):
        raise StoreError(f"{artifacts_dir} is a symlink to {own}; artifacts must lie in the experiment's own folder")
    latest: dict[str, Artifact] = {}
    for artifact in existing:
        if artifact.name not in latest or latest[artifact.name].version <= artifact.version:
            latest[artifact.name] = artifact
    files = sorted(_find(source, own, name), key=lambda file: file.name)
    stored = [_store(file, own, artifact_type, latest.get(file.name)) for file in files]
    with _writing(own):
        _sync_folders({os.path.dirname(artifact.path) for artifact in stored}, os.path.dirname(own))
    return stored


def artifact_path(exp_dir: Path, artifact: Artifact) -> Path:
    """Return where an artifact lies; it need not exist.

    Raises:
        UnsafePathError: its recorded path leads out of ``exp_dir``.
    """
    return place_inside(exp_dir, artifact.path)


# --- what to store -------------------------------------------------------------------------------------------


def _find(source: str | os.PathLike[str], own: str, name: str | None) -> Iterator[_File]:
    """Yield the files that ``source`` stands for, each checked but none opened; ``own`` is the artifacts folder."""
    try:
        given = os.fsdecode(source)
        if not given:
            raise FileNotFoundError
        real = os.path.realpath(given, strict=True)
        seen = os.stat(real)
    except TypeError:
        raise ArtifactError(
            f"artifact: expected a path, got {type(source).__name__}; save it to a file first"
        ) from None
    except FileNotFoundError:
        raise ArtifactError(f"artifact: no file at {given!r} (working folder {os.getcwd()!r})") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        raise ArtifactError(f"artifact {given!r} cannot be read: {error}") from error
    if name is not None:
        check_artifact_name(name, given)
    exp_dir = os.path.dirname(own)
    home = next((folder for folder in (own, os.path.join(exp_dir, CHECKPOINTS)) if _inside(real, folder)), None)
    if name is None and home is not None:
        name = os.path.relpath(real, home)
    elif name is None:
        shown = os.path.normpath(given)  # a link's own name says more than its target's
        name = os.path.basename(shown if os.path.islink(shown) else real)

    def file(path: str, look: os.stat_result, file_name: str) -> _File:
        check_artifact_name(file_name, path)
        if home is not None and path == os.path.join(home, file_name):
            return _File(path, look, file_name, os.path.relpath(path, exp_dir))
        return _File(path, look, file_name, None)

    if not stat.S_ISDIR(seen.st_mode):
        _check_regular(given, seen)
        yield file(real, seen, name)
        return
    if real != own and _inside(own, real):
        raise ArtifactError(f"artifact {given!r} holds the experiment's own folder; pass a folder that does not")
    prefix = "" if name == "." else name + "/"
    found = False
    for path, look, inner in _walk(real, real, (), ""):
        if home is not None and os.path.basename(inner).startswith(TEMPORARY):
            continue
        found = True
        yield file(path, look, prefix + inner)
    if not found:
        raise ArtifactError(f"artifact {given!r} is a directory without files; nothing to store")


def _walk(folder: str, root: str, above: tuple[str, ...], prefix: str) -> Iterator[tuple[str, os.stat_result, str]]:
    """Yield (real path, stat, name relative to ``root``) of every file in a tree, in order of name."""
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise ArtifactError(f"artifact {folder!r} cannot be read: {error}") from error
    for entry in entries:
        path = os.path.join(folder, entry)
        try:
            real = os.path.realpath(path, strict=True)
            seen = os.stat(real)
        except OSError as error:
            raise ArtifactError(f"artifact {path!r} cannot be read: {error}") from error
        if not _inside(real, root):
            raise ArtifactError(
                f"artifact {path!r} is a symlink out of the directory, to {real!r}; copy the file there"
            )
        if not stat.S_ISDIR(seen.st_mode):
            _check_regular(path, seen)
            yield real, seen, prefix + entry
        elif real == folder or real in above:
            raise ArtifactError(f"artifact {path!r} is a symlink to a folder it lies in; remove it")
        else:
            yield from _walk(real, root, (*above, folder), f"{prefix}{entry}/")


def _check_regular(path: str, seen: os.stat_result) -> None:
    if stat.S_ISREG(seen.st_mode):
        return
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(seen.st_mode), "a special file")
    raise ArtifactError(f"artifact {path!r} is {kind}, not a regular file or directory; save its content to a file")


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


# --- storing one file ------------------------------------------------------------------------------------------


def _store(file: _File, own: str, artifact_type: str, latest: Artifact | None) -> Artifact:
    """Store one file, its folder not yet synced."""
    exp_dir = os.path.dirname(own)
    if latest and latest.size_bytes == file.seen.st_size and _digest(file) == (latest.digest, latest.size_bytes):
        # What was stored is read again: it may have been deleted, or lie in place and be written to since.
        if _holds(os.path.join(exp_dir, latest.path), latest.digest, latest.size_bytes):
            return latest
    version = latest.version + 1 if latest else 1
    if file.in_place is not None:
        digest, size = _digest(file)
        return _artifact(file.name, file.in_place, artifact_type, version, digest, size)
    place = os.path.join(own, file.name)
    _make_folder(os.path.dirname(place), own, file.name)
    temporary = os.path.join(os.path.dirname(place), TEMPORARY + secrets.token_hex(8))
    try:
        with _writing(place):
            digest, size = _copy(file, temporary)
            share(Path(temporary), digest.removeprefix("sha256:"), Path(exp_dir).parent / HIDDEN / BLOBS)
            # A name may be taken: by another process, by a file of the user's, or by what was stored when a crash
            # came before it was recorded. If equal it is used as it is.
            while not _link(temporary, path := _versioned(place, version)) and not _holds(path, digest, size):
                version += 1
    finally:
        with contextlib.suppress(OSError):  # a temporary file left behind does no harm
            os.unlink(temporary)
    return _artifact(file.name, os.path.relpath(path, exp_dir), artifact_type, version, digest, size)


def _artifact(name: str, path: str, artifact_type: str, version: int, digest: str, size: int) -> Artifact:
    return Artifact(name, path, artifact_type, version, size, digest, time.time_ns() // 1_000_000)


def _versioned(place: str, version: int) -> str:
    """Return where a version lies: the second of ``model.pt`` is ``model.v2.pt``."""
    if version == 1:
        return place
    folder, file = os.path.split(place)
    stem, suffix = os.path.splitext(file)
    if stem.endswith(".tar"):
        stem, suffix = stem[:-4], ".tar" + suffix
    return os.path.join(folder, f"{stem}.v{version}{suffix}")


def _copy(file: _File, temporary: str) -> tuple[str, int]:
    """Copy a file to a new one, down to the disk; return the copy's digest and size."""
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)  # less the umask
    try:

        def start() -> None:
            os.lseek(fd, 0, os.SEEK_SET)
            os.ftruncate(fd, 0)

        def write(piece: memoryview) -> None:
            while piece:
                piece = piece[os.write(fd, piece) :]

        found = _digest(file, start, write)
        os.fsync(fd)
        return found
    finally:
        os.close(fd)


def _digest(
    file: _File, start: Callable[[], None] | None = None, write: Callable[[memoryview], None] | None = None
) -> tuple[str, int]:
    """Return the digest and size of a file that did not change while it was read, on the second try at the latest.

    Args:
        file: what to read.
        start: called before each try.
        write: called with each piece.

    Raises:
        ArtifactError: it changed twice, or cannot be read.
    """
    for _ in range(2):
        if start is not None:
            start()
        found, recent = _read_once(file, write)
        if found is not None and (not recent or _read_once(file, None)[0] == found):
            return found
    raise ArtifactError(
        f"artifact {file.path!r} changes while it is read; log it once it is written, or log a copy of it"
    )


def _read_once(file: _File, write: Callable[[memoryview], None] | None) -> tuple[tuple[str, int] | None, bool]:
    """Return digest and size, and whether the file had changed just before.

    Instead of digest and size, None if it changed meanwhile: its size, time of change or identity.
    """
    with _reading(file.path):
        if os.path.realpath(file.path) != file.path:
            raise ArtifactError(f"artifact {file.path!r} has become a symlink since it was found")
        # It was a regular file when found. If it no longer is: do not wait for a FIFO, do not follow a symlink.
        fd = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = os.fstat(fd)
        recent = abs(time.time_ns() - before.st_mtime_ns) < _RECENT_NS
        _check_regular(file.path, before)
        digest, size = hashlib.sha256(), 0
        buffer = memoryview(bytearray(min(_PIECE, before.st_size + 1)))
        while size <= before.st_size:  # one that grows faster than it is read would never end
            with _reading(file.path):
                count = os.readv(fd, [buffer])
            if not count:
                break
            digest.update(buffer[:count])
            if write is not None:
                write(buffer[:count])
            size += count
        if file.in_place is not None:
            os.fsync(fd)
        with _reading(file.path):
            looks = [_look(stat_result) for stat_result in (before, os.fstat(fd), os.lstat(file.path))]
    finally:
        os.close(fd)
    if size != before.st_size or looks[0] != looks[1] or looks[0] != looks[2]:
        return None, recent
    return (f"sha256:{digest.hexdigest()}", size), recent


def _look(seen: os.stat_result) -> tuple[int, ...]:
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns


def _holds(path: str, digest: str, size: int) -> bool:
    """Tell whether a regular file of that very content lies at ``path``."""
    try:
        seen = os.lstat(path)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size != size:
            return False
        return _digest(_File(path, seen, "", None)) == (digest, size)
    except (OSError, ArtifactError):
        return False


def _link(temporary: str, path: str) -> bool:
    """Give the finished file its name; False if that is taken. Never replaces a file."""
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # No hard links here (FAT, some network file systems): claim the name, then replace the claim.
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            return False
        os.rename(temporary, path)
    return True


def _make_folder(folder: str, own: str, name: str) -> None:
    if not _inside(os.path.realpath(folder), own):
        raise ArtifactError(f"artifact name {name!r} leads out of {own} by a symlink there; pass another name")
    try:
        make_folders(Path(folder), Path(own).parent)
    except (FileExistsError, NotADirectoryError):
        raise ArtifactError(
            f"artifact name {name!r} needs a folder where a file of another artifact lies; pass another name"
        ) from None
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}") from error


def _sync_folders(folders: set[str], exp_dir: str) -> None:
    """Make new names durable: those in the folders, relative to the experiment's, and in all above them."""
    wanted = {""}
    for folder in folders:
        while folder:
            wanted.add(folder)
            folder = os.path.dirname(folder)
    for folder in wanted:
        fd = os.open(os.path.join(exp_dir, folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactError(f"artifact {path!r} cannot be read: {error}") from error


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"artifact cannot be written to {path}: {error}; free space or permit it, then log it again"
        ) from error
