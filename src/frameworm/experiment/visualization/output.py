"""Figures to files: PNG, SVG or PDF by suffix, whole or not at all, the same bytes for the same figure."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200
_METADATA: dict[str, dict[str, Any]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
_SVG_ID = re.compile(r'id="([A-Za-z]*[0-9a-f]{10})"')


def check_path(save_path: str | os.PathLike[str] | None) -> Path | None:
    """Return the path, before any work is done for it.

    Raises:
        InputError: its suffix is none of .png, .svg, .pdf.
    """
    if save_path is None:
        return None
    path = Path(save_path)
    if path.suffix.lower().removeprefix(".") not in _METADATA:
        raise InputError(f"save_path is {os.fspath(save_path)!r}; allowed are the suffixes .png, .svg and .pdf")
    return path


def save(figure: Figure, path: Path) -> None:
    """Write a figure; missing folders are made.

    Raises:
        OSError: the file cannot be written; what was there before is untouched.
    """
    kind = path.suffix.lower().removeprefix(".")
    buffer = io.BytesIO()
    with no_glyph_warnings():
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=_METADATA[kind], facecolor=figure.get_facecolor())
    content = buffer.getvalue()
    if kind == "svg":
        content = _with_plain_ids(content.decode()).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _with_plain_ids(svg: str) -> str:
    """Number the ids that matplotlib salts with a random UUID; its own remedy is a global setting."""
    ids = {found: f"i{i}" for i, found in enumerate(dict.fromkeys(_SVG_ID.findall(svg)))}
    return re.sub(
        r'(id="|url\(#|href="#)([A-Za-z]*[0-9a-f]{10})(?=["\)])',
        lambda match: match[1] + ids.get(match[2], match[2]),
        svg,
    )


@contextmanager
def no_glyph_warnings() -> Iterator[None]:
    """Keep quiet about characters no installed font has: they are drawn as boxes, which says it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield
