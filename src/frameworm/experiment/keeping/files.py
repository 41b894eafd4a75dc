"""Checking what lies beside an experiment's record: snapshots, artifacts, temporary files, rights."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from frameworm.experiment.config import dump_json, dump_yaml, load_json
from frameworm.experiment.errors import ArtifactError, UnsafePathError
from frameworm.experiment.keeping.findings import Finding
from frameworm.experiment.keeping.ward import Ward, is_old
from frameworm.experiment.model import Artifact, ExperimentInfo
from frameworm.experiment.paths import open_regular, read_regular
from frameworm.experiment.storage.artifacts import artifact_path
from frameworm.experiment.storage.folder import CONFIG, LOGS, METADATA, write_config, write_metadata
from frameworm.experiment.storage.media import media_path
from frameworm.experiment.storage.names import TEMPORARY

_PIECE = 1 << 20
_UNFINISHED = re.compile(r"metrics-.+\.seg\.\d+\.tmp\Z|\.(metadata\.json|config\.yaml)\.\d+(-\d+)?\Z")


def check_files(ward: Ward) -> Iterator[Finding]:
    """Check everything in an experiment's folder but its journals and segments."""
    yield from _rights(ward)
    yield from _temporaries(ward)
    if ward.reader is None:
        return
    info = ward.reader.info
    if not ward.busy and ward.reader.fold().begun:
        yield from _snapshots(ward, info)
    for artifact in info.artifacts:
        yield from _artifact(ward, artifact)
    yield from _media(ward, ward.reader.media())


# ------------------------------------------------------------------------------------------ snapshots


def _snapshots(ward: Ward, info: ExperimentInfo) -> Iterator[Finding]:
    """Compare metadata.json and config.yaml with what the events say."""
    path = ward.folder / METADATA
    rewrite = partial(write_metadata, ward.folder, info)
    try:
        written = load_json(read_regular(path))
        differing = _differing(written, load_json(dump_json({**asdict(info), "path": ""})))
        what = f"differs from the events in {', '.join(differing[:6])}" if differing else ""
    except FileNotFoundError:
        what = "is missing"
    except (OSError, ValueError) as error:
        what = f"cannot be read ({error})"
    if what:
        severity, why = _why(info)
        yield ward.finding("metadata-differs", severity, path, what + why, "written anew from the events", rewrite)
    path = ward.folder / CONFIG
    try:
        what = "" if read_regular(path) == dump_yaml(info.config).encode() else "differs from the events"
    except FileNotFoundError:
        what = "is missing"
    except (OSError, ValueError) as error:
        what = f"cannot be read ({error})"
    if what:
        again = partial(write_config, ward.folder, info.config)
        severity, why = _why(info)
        yield ward.finding("config-differs", severity, path, what + why, "written anew from the events", again)


def _why(info: ExperimentInfo) -> tuple[Any, str]:
    if info.status == "crashed":
        return "leftover", ": its process died before it could write it"
    return "wrong", ""


def _differing(written: Any, expected: dict[str, Any]) -> list[str]:
    """Return the names of what differs; where the folder lies and who has it open are no part of the record."""
    if not isinstance(written, dict):
        return ["everything"]
    names = [name for name in expected if name not in ("path", "writers")]
    return [name for name in names if written.get(name) != expected[name]]


# ------------------------------------------------------------------------------------------ artifacts


def _artifact(ward: Ward, artifact: Artifact) -> Iterator[Finding]:
    """Compare one artifact with its record."""
    try:
        path = artifact_path(ward.folder, artifact)
    except UnsafePathError as error:
        path = ward.folder / LOGS
        yield ward.finding("artifact-outside", "wrong", path, str(error), "nothing; do not open what it names")
        return
    yield from _stored(ward, path, artifact.size_bytes, artifact.digest, "artifact")


def _media(ward: Ward, items: list[dict[str, Any]]) -> Iterator[Finding]:
    """Compare the contents of ``log_image`` and the like with their record, each once."""
    for digest, item in {item["digest"]: item for item in items if "digest" in item}.items():
        try:
            path = media_path(ward.folder, digest, item["suffix"])
        except ArtifactError as error:
            yield ward.finding("media-outside", "wrong", ward.folder / LOGS, str(error), "nothing; do not open it")
            continue
        yield from _stored(ward, path, item["size_bytes"], digest, "media")


def _stored(ward: Ward, path: Path, size_bytes: int, recorded: str, what: str) -> Iterator[Finding]:
    """Compare one file with what is recorded of it."""
    again = "log it again, or bring it back from a copy"
    try:
        seen = path.lstat()
        if not stat.S_ISREG(seen.st_mode):
            yield ward.finding(f"{what}-changed", "damage", path, "is no regular file any more", again)
        elif seen.st_size != size_bytes:
            wrong = f"has {seen.st_size:,} bytes, recorded were {size_bytes:,}"
            yield ward.finding(f"{what}-changed", "damage", path, wrong, again)
        elif (digest := _digest(ward, path)) != recorded:
            wrong = f"checksum differs: recorded {recorded[:19]}…, found {digest[:19]}…"
            yield ward.finding(f"{what}-changed", "damage", path, wrong, again)
    except FileNotFoundError:
        yield ward.finding(f"{what}-missing", "damage", path, "is recorded and not there", again)
    except OSError as error:
        yield ward.finding("unreadable", "damage", path, f"cannot be read: {error.strerror}", "see to its rights")


def _digest(ward: Ward, path: Path) -> str:
    digest = hashlib.sha256()
    with open(open_regular(path), "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            ward.advance(len(piece))
    return f"sha256:{digest.hexdigest()}"


# ------------------------------------------------------------------------------------------ remains and rights


def _temporaries(ward: Ward) -> Iterator[Finding]:
    """Find files that were being written when a process died."""
    if ward.busy:
        return
    for parent, _, names in os.walk(ward.folder):
        for name in names:
            path = Path(parent, name)
            if (_UNFINISHED.match(name) or name.startswith(TEMPORARY)) and is_old(path):
                yield ward.finding(
                    "temporary-file",
                    "leftover",
                    path,
                    "was being written when its process died; what it was to become is not missing",
                    "set aside",
                    partial(ward.set_aside, path),
                )


def _rights(ward: Ward) -> Iterator[Finding]:
    """Find files and folders that their own owner may not read."""
    yield from _right(ward, ward.folder)
    for parent, folders, names in os.walk(ward.folder):
        for name in (*folders, *names):
            yield from _right(ward, Path(parent, name))


def _right(ward: Ward, path: Path) -> Iterator[Finding]:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    wanted = stat.S_IRUSR | stat.S_IXUSR if stat.S_ISDIR(mode) else stat.S_IRUSR
    if (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and mode & wanted != wanted:
        yield ward.finding(
            "wrong-rights",
            "wrong",
            path,
            f"its owner may not read it (mode {stat.S_IMODE(mode):03o})",
            f"chmod u+{'rx' if stat.S_ISDIR(mode) else 'r'}",
            partial(os.chmod, path, stat.S_IMODE(mode) | wanted),
        )
