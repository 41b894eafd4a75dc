"""Media: images, sounds and the like, stored by their content in ``<experiment>/media/<2 hex>/<64 hex>.<suffix>``.

Equal contents are one file, in an experiment and, by hard links, in a whole root (``blobs``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path

from frameworm.experiment.errors import ArtifactError, StoreError
from frameworm.experiment.storage.blobs import BLOBS, share
from frameworm.experiment.storage.folder import HIDDEN, make_folders
from frameworm.experiment.storage.names import TEMPORARY

__all__ = ["MEDIA", "MIMES", "media_path", "store_medium"]

MEDIA = "media"
MIMES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
}
"""What may be stored, by the suffix of its file: nothing that a browser would run."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def store_medium(content: bytes, suffix: str, exp_dir: Path) -> tuple[str, Path | None]:
    """Keep a content and return its digest, and its file if it is new and not yet on the disk.

    It is whole under its name, or not there. Who needs it to survive a power cut calls ``os.fsync`` on the file.

    Raises:
        StoreError: it cannot be written.
    """
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = media_path(exp_dir, digest, suffix)
    if path.exists():
        return digest, None
    temporary = path.with_name(TEMPORARY + secrets.token_hex(8))
    try:
        make_folders(path.parent, exp_dir)
        temporary.write_bytes(content)
        share(temporary, digest.removeprefix("sha256:"), exp_dir.parent / HIDDEN / BLOBS)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StoreError(f"{path} cannot be written: {error}") from error
    return digest, path


def media_path(exp_dir: Path, digest: str, suffix: str) -> Path:
    """Return where a content lies; it need not exist.

    Raises:
        ArtifactError: digest or suffix are not ours: they may come from a URL.
    """
    if not _DIGEST.match(digest) or suffix not in MIMES:
        raise ArtifactError(
            f"media {digest!r:.80}.{suffix!r:.20}: expected sha256:<64 hex> and one of {', '.join(MIMES)}"
        )
    name = digest.removeprefix("sha256:")
    return exp_dir / MEDIA / name[:2] / f"{name}.{suffix}"
