"""Lending: what the record does not hold is given to the program as a private copy, so that it can write to that.

A copy shares its bytes with the original until one of them is written to, on file systems that can (XFS, Btrfs, and
others that know ``FICLONE``). On others the bytes are copied, up to a size.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from frameworm.experiment.errors import ReproductionError

LIMIT_BYTES = 1 << 30
"""As much is copied byte by byte for one reproduction, of all that is lent."""

_FICLONE = 0x40049409
_CANNOT = frozenset((errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM))
_PIECE = 1 << 20


class _Found(NamedTuple):
    """A file or folder to be lent."""

    path: str
    inner: tuple[str, ...]
    look: os.stat_result


class Lender:
    """Puts private copies into one layout, and counts what they take.

    Attributes:
        share: whether what is too large to be copied may be used where it lies, so that the program can change it.
        shared: the links that were made because of that.
    """

    def __init__(self, folder: Path, *, share: bool = False) -> None:
        self.share = share
        self.shared: list[Path] = []
        self._folder = folder
        self._left_bytes = LIMIT_BYTES

    def lend(self, source: Path, place: Path) -> None:
        """Put a file or folder at a place; what lies there is replaced.

        Links in a folder are followed. What is no file and no folder is left out.

        Raises:
            ReproductionError: it is too large to be copied.
        """
        found = list(_walk(source))
        files = [one for one in found if stat.S_ISREG(one.look.st_mode)]
        if not self._can_copy(files):
            if not self.share:
                size = sum(file.look.st_size for file in files)
                raise ReproductionError(
                    f"{source} ({size:,} bytes) was not recorded and is too large to be copied: "
                    f"{self._left_bytes:,} of {LIMIT_BYTES:,} bytes are left. --share-large lets the program "
                    "use it where it lies; it could change it"
                )
            _clear(place)
            place.symlink_to(source.absolute())
            self.shared.append(place)
            return
        _clear(place)
        for one in found:
            target = place.joinpath(*one.inner)
            if stat.S_ISDIR(one.look.st_mode):
                target.mkdir()
            else:
                self._copy(one, target)

    def is_shared(self, place: Path) -> bool:
        """Whether a place is what is used where it lies, or below such."""
        return any(place.is_relative_to(one) for one in self.shared)

    def _can_copy(self, files: list[_Found]) -> bool:
        size = sum(file.look.st_size for file in files)
        if size <= self._left_bytes and size <= shutil.disk_usage(self._folder).free:
            return True
        largest = max(files, key=lambda file: file.look.st_size)
        probe = self._folder / ".probe"
        try:
            with open(largest.path, "rb") as read, open(probe, "wb") as write:
                return _clone(read.fileno(), write.fileno())
        finally:
            probe.unlink(missing_ok=True)

    def _copy(self, file: _Found, target: Path) -> None:
        read = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(read, "rb") as source, open(target, "xb") as copy:
            if not stat.S_ISREG(os.fstat(read).st_mode):
                return
            if not _clone(read, copy.fileno()):
                shutil.copyfileobj(source, copy, _PIECE)
                self._left_bytes -= file.look.st_size
        os.utime(target, ns=(file.look.st_atime_ns, file.look.st_mtime_ns))
        target.chmod(file.look.st_mode & 0o777)


def _clone(read: int, write: int) -> bool:
    """Have a file share the bytes of another; return whether the file system can."""
    try:
        fcntl.ioctl(write, _FICLONE, read)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def _clear(place: Path) -> None:
    """Make room at a place, and the folders above it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)


def _walk(source: Path) -> Iterator[_Found]:
    """Yield a file, or a folder and all that it holds, folders before what they hold; links are followed."""
    yield from _below(str(source), (), ())


def _below(path: str, inner: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[_Found]:
    look = os.stat(path)
    known = (look.st_dev, look.st_ino)
    if stat.S_ISREG(look.st_mode):
        yield _Found(path, inner, look)
    elif stat.S_ISDIR(look.st_mode) and known not in above:
        yield _Found(path, inner, look)
        for name in sorted(os.listdir(path)):
            if os.path.exists(below := os.path.join(path, name)):  # else a link to nothing, or to itself
                yield from _below(below, (*inner, name), (*above, known))
