"""The uncommitted changes of a repository as text: what is stored of them, with secrets masked."""

from __future__ import annotations

import re
import time
from pathlib import Path

from frameworm.experiment.provenance.git_process import Git, GitError
from frameworm.experiment.secrets import MASK, mask_text

PATCH_NAME = "uncommitted.patch"
PATCH_LIMIT_BYTES = 16 << 20
"""A longer diff is cut after its last whole file; it is held in memory twice while it is masked."""
DIFF = "diff --binary --no-ext-diff --no-textconv --no-color -U3 --ignore-submodules=dirty".split()
_PIECE = 1 << 17
# A line of a private key in a diff: base64 or a header such as "DEK-Info: AES-256-CBC,0F3A", bare or as a string.
_KEY_LINE = re.compile(r"""[ +-][\s"'#*]*(?:[A-Za-z0-9+/=]*|[A-Za-z-]+: [\w,. -]+)(?:\\n)?[\s"',)\\]*""")


def read_patch(folder: Path, commit: str | None) -> tuple[bytes, bytes] | None:
    """Return how the working tree around a folder differs from a commit: as it is, and with secrets masked.

    Returns:
        None if git cannot say, or the difference is larger than what is recorded.
    """
    if commit is None or not folder.is_dir():
        return None
    diff = Git(folder, [*DIFF, commit], limit_bytes=PATCH_LIMIT_BYTES)
    try:
        raw = diff.output(time.monotonic() + 60)
    except GitError:
        return None
    return None if diff.cut else (raw, mask_patch(raw))


def mask_patch(patch: bytes) -> bytes:
    """Mask secrets in the text of a diff, file by file; base85 of binary files only looks like secrets."""
    separator = b"\ndiff --git "
    parts = patch.split(separator)
    for i, part in enumerate(parts):
        if b"\nGIT binary patch\n" not in part:
            text = part.decode("utf-8", "surrogateescape")
            mask = _mask_keys if "PRIVATE KEY" in text else _mask_in_pieces
            parts[i] = mask(text).encode("utf-8", "surrogateescape")
    return separator.join(parts)


def _mask_in_pieces(text: str) -> str:
    """Mask a text in pieces of whole lines, each of which keeps the training from running for some 5 ms only."""
    pieces = []
    start = 0
    while start < len(text):
        end = text.find("\n", start + _PIECE) + 1 or len(text)
        pieces.append(mask_text(text[start:end]))
        start = end
    return "".join(pieces)


def _mask_keys(text: str) -> str:
    """Mask line by line, private keys included, so that the lines of a hunk stay as many as its header says."""
    lines = text.split("\n")
    inside = False
    for i, line in enumerate(lines):
        begins, ends = line.rfind("-----BEGIN "), line.rfind("-----END ")
        if inside and ends < 0 and _KEY_LINE.fullmatch(line):
            lines[i] = line[:1] + MASK
            continue
        inside = "PRIVATE KEY" in line and begins > ends
        lines[i] = mask_text(line)
    return "\n".join(lines)
