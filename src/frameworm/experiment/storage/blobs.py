"""Blobs: one copy of each content under a root, however many experiments hold a file of it.

``<root>/.frameworm/blobs/<2 hex>/<64 hex>`` is a hard link to the same file as lies in the experiments' folders, so
that each of these is whole in itself and equal files take the space of one. What is shared must not be written to:
such files are read-only. Where the file system knows no hard links every experiment has a copy of its own.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from frameworm.experiment.paths import open_regular
from frameworm.experiment.storage.names import TEMPORARY

BLOBS = "blobs"
READ_ONLY = 0o444


def share(file: Path, sha256: str, blobs_dir: Path) -> None:
    """Make ``file``, just written and known to nobody else yet, one with all files of the same content.

    Args:
        file: whose content has the digest ``sha256``; replaced by a link when the content is there already.
        sha256: 64 hex digits.
        blobs_dir: ``<root>/.frameworm/blobs``.

    Raises:
        OSError: the file cannot be made read-only; that it cannot be shared is no error.
    """
    os.chmod(file, READ_ONLY & ~_umask())
    blob = blobs_dir / sha256[:2] / sha256
    with contextlib.suppress(OSError):
        blob.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, blob)
        except FileExistsError:
            if os.path.samestat(os.stat(blob), os.stat(file)) or not _holds(blob, sha256):
                return
            temporary = file.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
            os.link(blob, temporary)
            os.replace(temporary, file)


def sweep(blobs_dir: Path) -> int:
    """Remove the blobs that no experiment holds any more; return the bytes freed."""
    freed = 0
    for blob in blobs_dir.glob("??/*"):
        with contextlib.suppress(FileNotFoundError):
            look = blob.stat()
            if look.st_nlink == 1:
                blob.unlink()
                freed += look.st_size
    return freed


def _holds(blob: Path, sha256: str) -> bool:
    """Tell whether a blob still has the content of its name: a link to it may have been written through."""
    import hashlib

    with open(open_regular(blob), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _umask() -> int:
    # Asked without setting it, which would show to other threads for a moment.
    with contextlib.suppress(OSError, StopIteration, ValueError), open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("Umask:")).split()[1], 8)
    return 0o022
