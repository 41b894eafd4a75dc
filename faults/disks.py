"""Disks to fill, to make read-only, and to cut the power of. Nothing stays mounted."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.child import PATIENCE_S
from faults.harness import LeftOut

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2


def _run(*command: object) -> None:
    """Run a command of mount's kind.

    Raises:
        LeftOut: it is not here, or not allowed.
    """
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        raise LeftOut(f"needs {words[0]}")
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise LeftOut(f"{words[0]} may not or cannot do so here: {done.stderr.strip()[:120]}")


def _mounts() -> list[str]:
    return Path("/proc/mounts").read_text().splitlines()


def _unmount(place: Path, patience_s: float = 2.0) -> bool:
    """Unmount; from all but those who still have a file of it open, if they keep it. Return whether nobody did."""
    end = time.monotonic() + patience_s
    while subprocess.run(["umount", str(place)], capture_output=True).returncode:
        if time.monotonic() > end:  # a trial that failed, and whose error holds a reader
            subprocess.run(["umount", "-l", str(place)], check=True)
            return False
        time.sleep(0.02)
    return True


@contextmanager
def tmpfs(place: Path, size_kib: int) -> Iterator[Path]:
    """Mount a small disk in memory."""
    place.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", place)
    try:
        yield place
    finally:
        _unmount(place)


def grow(place: Path, size_kib: int) -> None:
    """Make a ``tmpfs`` larger."""
    _run("mount", "-o", f"remount,size={size_kib}k", place)


@contextmanager
def bound(folder: Path, place: Path, *, read_only: bool = False) -> Iterator[Path]:
    """Show a folder at another place too."""
    place.mkdir(parents=True)
    _run("mount", "--bind", folder, place)
    try:
        if read_only:
            set_read_only(place)
        yield place
    finally:
        _unmount(place)


def set_read_only(place: Path) -> None:
    """Make what is ``bound`` at a place read-only."""
    _run("mount", "-o", "remount,ro,bind", place)


class Disk:
    """A file system in a file, whose power can be cut: what was not on the disk by then is gone.

    FS_IOC_SHUTDOWN without flushing the log lets no further byte reach the disk; mounted again, the file system
    recovers from its log, as after a boot.
    """

    def __init__(self, kind: str, folder: Path, size_bytes: int = 400 << 20, *, thin: bool = False) -> None:
        """Make an empty one below ``folder`` and mount it.

        Args:
            kind: ext4 or xfs.
            folder: where the file goes, and where it is mounted, as ``disk``.
            size_bytes: xfs takes no less than 300 MB; the file is sparse.
            thin: the file system's own tables and log have their room in the file, new data does not.
        """
        folder.mkdir(parents=True)
        self.kind = kind
        self.image = folder / "image"
        self.place = folder / "disk"
        self.place.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(size_bytes)
        _run(f"mkfs.{kind}", "-q", *(["-F"] if kind == "ext4" else ["-f"]), self.image)
        if thin:
            _fill_holes(self.image)
        self._mount()
        if thin:
            _run("fstrim", self.place)  # takes back what is free

    def cut(self) -> None:
        """Cut the power."""
        fd = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def boot(self) -> None:
        """Mount it again. Nobody may have a file of it open."""
        assert _unmount(self.place, PATIENCE_S), f"{self.place} stayed busy"
        self._mount()

    def fail(self) -> None:
        """Have an ext4 meet an error of its own: it becomes read-only, with files open for writing or not."""
        device = Path(next(line.split()[0] for line in _mounts() if line.split()[1] == str(self.place)))
        (Path("/sys/fs/ext4") / device.name / "trigger_fs_error").write_text("on purpose")

    def _mount(self) -> None:
        options = "loop,errors=remount-ro" if self.kind == "ext4" else "loop"
        _run("mount", "-o", options, self.image, self.place)

    def close(self) -> None:
        """Unmount and remove it."""
        _unmount(self.place)
        self.image.unlink()


def _fill_holes(path: Path) -> None:
    """Give every byte of a sparse file its room."""
    with open(path, "r+b", buffering=0) as file:
        for at in range(0, path.stat().st_size, 1 << 20):
            file.seek(at)
            piece = file.read(1 << 20)
            file.seek(at)
            file.write(piece)


def needed(kind: str, folder: Path) -> None:
    """See that disks of this kind can be made, mounted and shut down.

    Raises:
        LeftOut: they cannot.
    """
    if not any(line.split()[-1] == kind for line in Path("/proc/filesystems").read_text().splitlines()):
        raise LeftOut(f"the kernel has no {kind}")
    disk = Disk(kind, folder)
    try:
        disk.cut()
        disk.boot()
    except OSError as error:
        raise LeftOut(f"no power cut on {kind}: {error}") from error
    finally:
        disk.close()
