"""Artifacts: which there are, their bytes, and what can be shown of them.

What somebody stored is never run: it is sent as an image, as sound, as video, where its first bytes say that it is
one, and else to be saved. Nothing is unpacked.
"""

from __future__ import annotations

import csv
import itertools
import os
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from frameworm.experiment.errors import ArtifactNotFoundError
from frameworm.experiment.model import Artifact, ExperimentInfo
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.opened import OpenedResponse, open_below
from frameworm.experiment.server.parameters import Natural
from frameworm.experiment.server.store import Opened

router = APIRouter(tags=["one experiment"])

_TEXT = 256 << 10
_ROWS, _COLUMNS, _CELL = 200, 100, 1000
_INERT = "default-src 'none'; sandbox"

Name = Annotated[str, Query(min_length=1, description="as it was logged, `/` between folders")]
Version = Annotated[Natural | None, Query(ge=1, description="none for the latest")]
Shown = Literal["text", "json", "yaml", "csv", "markdown", "image", "audio", "video", "binary"]

_SUFFIXES: dict[str, Shown] = {
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".csv": "csv",
    ".tsv": "csv",
    ".md": "markdown",
    ".markdown": "markdown",
}


@router.get("/experiments/{id}/artifacts")
def artifacts(id: str, store: Opened) -> Json:
    """Return the artifacts, every version, by name, the latest first: `{artifacts: […]}`.

    Each is `{name, version, artifact_type, size_bytes, digest, logged_ms, path}`.
    """
    with store.reading(id) as reader:
        found = sorted(reader.info.artifacts, key=lambda one: (one.name, -one.version))
    return Json({"artifacts": [asdict(one) for one in found]})


@router.get("/experiments/{id}/artifacts/content", response_class=FileResponse)
def artifact_content(id: str, store: Opened, name: Name, version: Version = None) -> OpenedResponse:
    """Return the bytes of an artifact, or a range of them.

    PNG, JPEG, GIF, WebP, WAV, MP3, Ogg, FLAC, MP4 and WebM, told by their first bytes whatever they are called, come as
    what they are; all else as `application/octet-stream`, to be saved, with a policy that lets nothing run.
    """
    artifact, file = _open(store, id, name, version)
    kind = media_type(_head(file, 64))
    return OpenedResponse(
        file,
        media_type=kind or "application/octet-stream",
        filename=artifact.name.rpartition("/")[2],
        inline=bool(kind),
        headers={"Content-Security-Policy": _INERT, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"},
    )


@router.get("/experiments/{id}/artifacts/preview")
def artifact_preview(id: str, store: Opened, name: Name, version: Version = None) -> Json:
    """Return what can be shown of an artifact: `{kind, text, rows, truncated, size_bytes}`.

    `kind` is `text`, `json`, `yaml`, `markdown` (each with `text`, the first 256 kB), `csv` (with `rows`, the first 200
    of at most 100 cells), or `image`, `audio`, `video` (see `content`), or `binary`. SVG and HTML are text.
    """
    artifact, file = _open(store, id, name, version)
    with file:
        return Json({**preview(file, artifact.name), "size_bytes": os.fstat(file.fileno()).st_size})


def preview(file: FileIO, name: str) -> dict[str, Any]:
    """Return what can be shown of a file, as the endpoint tells it but for the size."""
    head = _head(file, _TEXT + 1)
    if kind := media_type(head):
        return {"kind": kind.partition("/")[0], "text": None, "rows": None, "truncated": False}
    truncated = len(head) > _TEXT
    text = _text(head[:_TEXT], truncated)
    if text is None:
        return {"kind": "binary", "text": None, "rows": None, "truncated": False}
    shown = _SUFFIXES.get(Path(name).suffix.lower(), "text")
    if shown == "csv":
        rows, cut = _rows(text, "\t" if name.lower().endswith(".tsv") else ",", truncated)
        return {"kind": shown, "text": None, "rows": rows, "truncated": cut}
    return {"kind": shown, "text": text, "rows": None, "truncated": truncated}


def media_type(head: bytes) -> str:
    """Return the type of an image, sound or video by its first bytes; empty for all else."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return "audio/mp4" if head[8:11] == b"M4A" else "video/mp4"
    if head[:1] == b"\xff" and head[1:2] in (b"\xfb", b"\xf3", b"\xf2"):
        return "audio/mpeg"
    return ""


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
)


def _open(store: Opened, experiment_id: str, name: str, version: int | None) -> tuple[Artifact, FileIO]:
    """Return an artifact and its file, open.

    Raises:
        ArtifactNotFoundError: there is no such, or its file is gone.
        UnsafePathError: its recorded path leads out of the experiment's folder, or to no regular file.
    """
    with store.reading(experiment_id) as reader:
        info, folder = reader.info, reader.exp_dir
    artifact = _chosen(info, name, version)
    file = open_below(folder, artifact.path)
    if file is None:
        raise ArtifactNotFoundError(f"{info.experiment_id}: the file of artifact {name!r} is gone from {folder}")
    return artifact, file


def _chosen(info: ExperimentInfo, name: str, version: int | None) -> Artifact:
    found = [one for one in info.artifacts if one.name == name and version in (None, one.version)]
    if not found:
        of = "" if version is None else f" of version {version}"
        raise ArtifactNotFoundError(f"{info.experiment_id} has no artifact {name!r}{of}")
    return max(found, key=lambda one: one.version)


def _head(file: FileIO, size: int) -> bytes:
    return os.pread(file.fileno(), size, 0)


def _text(data: bytes, truncated: bool) -> str | None:
    """Return bytes as text, or None if they are none; the last character may be cut."""
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if truncated and error.start >= len(data) - 3:
            return data[: error.start].decode()
        return None


def _rows(text: str, delimiter: str, truncated: bool) -> tuple[list[list[str]], bool]:
    """Return the first rows of a table, and whether anything of it is left out."""
    if truncated:
        text = text[: text.rfind("\n") + 1] or text
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    rows: list[list[str]] = []
    try:
        for row in itertools.islice(reader, _ROWS + 1):
            rows.append(row)
    except csv.Error:  # a cell larger than the library takes
        truncated = True
    cut = truncated or len(rows) > _ROWS or any(len(row) > _COLUMNS for row in rows)
    return [[cell[:_CELL] for cell in row[:_COLUMNS]] for row in rows[:_ROWS]], cut
