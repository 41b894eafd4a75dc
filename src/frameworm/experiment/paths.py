"""Paths and files that somebody else may have written: the one place that decides whether they are touched.

A path out of a record (a dataset, an artifact, a file of the code, an entry of a bundle) is text from a stranger. It
is checked here before anything at it is looked at, opened, replaced or removed.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

from frameworm.experiment.errors import UnsafePathError

__all__ = [
    "absolute_of",
    "check_regular",
    "is_gits",
    "kind_of",
    "open_inside",
    "open_regular",
    "parts_of",
    "place_inside",
    "read_regular",
]

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(mode: int) -> str:
    """Return what a file of this mode is, in words: ``a FIFO``."""
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def parts_of(path: object) -> tuple[str, ...]:
    """Return the parts of a recorded relative path, of which none leads upwards, however it is read.

    Raises:
        UnsafePathError: it is no text, empty, absolute, has a NUL or ``..``, or something that a file system which
            normalises names may take for one of these: ``．．`` with wide dots, dots between invisible characters.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        raise UnsafePathError(f"path {path!r:.200} is no path; expected a relative one such as 'data/train.csv'")
    for part in path.split("/"):
        plain = _plain(part)
        if part == ".." or plain.strip() == ".." or "/" in plain:
            raise UnsafePathError(f"path {path!r:.200} leads upwards by its part {part!r:.80}")
    if path.startswith("/"):
        raise UnsafePathError(f"path {path!r:.200} is absolute; expected a relative one")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not parts:
        raise UnsafePathError(f"path {path!r:.200} names its folder itself; expected a path below it")
    return parts


def _plain(part: str) -> str:
    """Return a name as a file system may read it that normalises names and drops what is invisible."""
    return "".join(char for char in unicodedata.normalize("NFKC", part) if unicodedata.category(char) != "Cf")


def absolute_of(path: object) -> Path:
    """Return where a recorded absolute path leads, ``..`` resolved: to be compared with other paths, or read.

    Raises:
        UnsafePathError: it is none, or has parts that may be read as ``..``.
    """
    if not isinstance(path, str) or not path.startswith("/"):
        raise UnsafePathError(f"path {path!r:.200} is not absolute; expected one such as '/data/train.csv'")
    inner = os.path.normpath(path).lstrip("/")
    return Path("/", *parts_of(inner)) if inner else Path("/")


def is_gits(part: str) -> bool:
    """Whether a name is that of git's own folder, or may be taken for it.

    As by a file system that knows no case, ignores what is invisible, or shortens names.
    """
    return _plain(part).casefold().partition(":")[0].rstrip(" .") in (".git", "git~1")


def place_inside(top: Path, path: object, *, follow: bool = True, git: bool = False) -> Path:
    """Return the place of a recorded relative path below a folder; it need not exist.

    Args:
        top: the folder.
        path: as recorded, ``/`` between folders.
        follow: whether whoever asks will follow a link at the place itself, which then must not lead out either.
        git: whether git works in ``top``: then no part may be its own folder (``is_gits``).

    Raises:
        UnsafePathError: the path or a link on its way leads out of ``top``.
    """
    parts = parts_of(path)
    for part in parts:
        if git and is_gits(part):
            raise UnsafePathError(f"path {path!r:.200} leads into git's own folder by its part {part!r:.80}")
    place = top.joinpath(*parts)
    try:
        real = os.path.realpath(place if follow else place.parent)
    except OSError as error:
        raise UnsafePathError(f"path {path!r:.200} below {top} cannot be followed: {error}") from error
    if not Path(real).is_relative_to(os.path.realpath(top)):
        raise UnsafePathError(f"path {path!r:.200} leads out of {top} by a link, to {real}")
    return place


def check_regular(path: str | os.PathLike[str], *, follow: bool = False) -> None:
    """See that a file is a regular one, where it is somebody else's library that opens it.

    Args:
        path: the file.
        follow: whether it may be a link to one.

    Raises:
        UnsafePathError: it is a link, folder, FIFO, socket or device.
        OSError: there is no such file.
    """
    mode = os.stat(path, follow_symlinks=follow).st_mode
    if not stat.S_ISREG(mode):
        raise UnsafePathError(f"{os.fsdecode(path)} is {kind_of(mode)}; expected a regular file")


def read_regular(path: str | os.PathLike[str], *, follow: bool = False) -> bytes:
    """Return the content of a regular file; as ``open_regular``."""
    with open(open_regular(path, follow=follow), "rb") as file:
        return file.read()


def open_regular(path: str | os.PathLike[str], *, dir_fd: int | None = None, follow: bool = False) -> int:
    """Open a regular file for reading and return its descriptor; anything else is not even opened.

    A FIFO would wait for a writer, a device may act on being opened, a link may lead anywhere.

    Args:
        path: the file.
        dir_fd: the folder that a relative path is in.
        follow: whether it may be a link to one: a file that the user names, not one that was found.

    Raises:
        UnsafePathError: it is a link, folder, FIFO, socket or device.
        OSError: there is no such file, or it must not be read.
    """
    mode = os.stat(path, dir_fd=dir_fd, follow_symlinks=follow).st_mode
    if stat.S_ISREG(mode):
        descriptor = os.open(path, _OPEN & ~os.O_NOFOLLOW if follow else _OPEN, dir_fd=dir_fd)
        mode = os.fstat(descriptor).st_mode  # of what was opened: another may have taken its name meanwhile
        if stat.S_ISREG(mode):
            return descriptor
        os.close(descriptor)
    raise UnsafePathError(f"{os.fsdecode(path)} is {kind_of(mode)}; expected a regular file")


def open_inside(top: Path, path: str) -> int:
    """Open a regular file below a folder for reading, following no link below it, and return its descriptor.

    Every folder on the way is opened from the one before it, so that a link put there between a look and the opening
    leads nowhere.

    Raises:
        UnsafePathError: the path leads out of ``top``, or a link is on its way, or it is no regular file.
        OSError: there is no such file, or it must not be read.
    """
    *folders, name = parts_of(path)
    at = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            mode = os.stat(folder, dir_fd=at, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode):
                raise UnsafePathError(f"path {path!r:.200}: {folder!r:.80} in {top} is {kind_of(mode)}, not a folder")
            below = os.open(folder, _OPEN | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        return open_regular(name, dir_fd=at)
    finally:
        os.close(at)
