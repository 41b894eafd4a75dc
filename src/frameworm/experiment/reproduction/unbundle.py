"""Importing: an experiment from a zip file that ``bundle`` wrote. Nothing in it is trusted, executed or unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import BundleError, ExperimentError, StateError, StoreError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.reproduction.bundle import FOLDER, FORMAT, MANIFEST, VERSION
from frameworm.experiment.storage.folder import HIDDEN, create_folder, id_of, number_of

_PIECE = 1 << 20
_MANIFEST_LIMIT_BYTES = 256 << 20
_ENTRY_LIMIT = 5_000_000
_NAME_LIMIT = 1024
_UID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Imported:
    """What was taken in.

    Attributes:
        experiment_id: its id here.
        original_id: the id it had where it was recorded.
        uid: the same everywhere.
        path: its folder.
        entries: how many files.
        size_bytes: of them.
        left_out: what the file lacks, a sentence each.
    """

    experiment_id: str
    original_id: str
    uid: str
    path: Path
    entries: int
    size_bytes: int
    left_out: tuple[str, ...]


def import_bundle(root_dir: Path, path: Path, folder_of: Callable[[str], Path | None]) -> Imported:
    """Take in an experiment; as ``ExperimentManager.import_bundle`` documents it.

    Everything is written to a hidden folder and checked there; only then does it become an experiment.
    """
    hidden = root_dir / HIDDEN
    making = hidden / f"importing-{os.urandom(8).hex()}"
    try:
        making.mkdir(parents=True)
        try:
            with zipfile.ZipFile(path) as archive:
                manifest = _manifest(archive, path)
                entries = _checked(archive, manifest, path)
                _check_room(entries, hidden, path)
                for entry in entries:
                    _extract(archive, entry, making, path)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise BundleError(f"{path} is not a whole zip file: {error}") from error
        info = _check_experiment(making, manifest, path)
        present = folder_of(info.uid)
        if present is not None:
            number = number_of(present.name)
            raise StateError(
                f"{info.name!r} is here already, as {id_of(number or 0)} (uid {info.uid}); delete that to replace it"
            )

        def fill(_: str, folder: Path) -> None:
            for part in making.iterdir():
                os.replace(part, folder / part.name)

        experiment_id, folder = create_folder(root_dir, info.name, fill)
    except OSError as error:
        if isinstance(error, ExperimentError):
            raise
        if isinstance(error, FileNotFoundError) and not path.exists():
            raise BundleError(f"{path}: no such file") from error
        raise StoreError(f"{path} cannot be imported into {root_dir}: {error}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return Imported(
        experiment_id=experiment_id,
        original_id=str(manifest.get("experiment_id")),
        uid=info.uid,
        path=folder,
        entries=len(entries),
        size_bytes=sum(entry["size_bytes"] for entry in entries),
        left_out=tuple(str(one) for one in manifest.get("left_out", ())),
    )


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Return ``manifest.json``, its form checked."""
    found = [entry for entry in archive.infolist() if entry.filename == MANIFEST]
    if len(found) != 1 or found[0].file_size > _MANIFEST_LIMIT_BYTES:
        raise BundleError(f"{path} is not the bundle of an experiment: it has no {MANIFEST}")
    try:
        with archive.open(found[0]) as file:
            manifest = json.loads(file.read(_MANIFEST_LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{path} is not the bundle of an experiment: its {MANIFEST} is of something else")
    if manifest.get("version") != VERSION:
        raise BundleError(f"{path} is of version {manifest.get('version')!r}; this release reads version {VERSION}")
    return manifest


def _checked(archive: zipfile.ZipFile, manifest: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """Return the entries of the manifest, each safe to write and in the zip file exactly once."""
    listed = manifest.get("entries")
    if not isinstance(listed, list) or len(listed) > _ENTRY_LIMIT:
        raise BundleError(f"{path}: {MANIFEST} lists no entries")
    held: dict[str, zipfile.ZipInfo] = {}
    for found in archive.infolist():
        if found.filename in held:
            raise BundleError(f"{path} holds {found.filename!r} twice")
        held[found.filename] = found
        kind = stat.S_IFMT(found.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or found.is_dir() or found.flag_bits & 0x1:
            raise BundleError(
                f"{path}: {found.filename!r} is a link, a folder, encrypted or special; expected a plain file"
            )
    if sum(found.compress_size for found in held.values()) > path.stat().st_size:
        raise BundleError(f"{path}: files in it share their bytes")
    names: set[str] = set()
    for entry in listed:
        _check_entry(entry, held, path)
        names.add(f"{FOLDER}/{entry['path']}")
    if len(names) != len(listed) or names | {MANIFEST} != held.keys():
        extra = sorted(held.keys() - names - {MANIFEST})[:1]
        raise BundleError(f"{path}: {MANIFEST} and the files in it do not agree{f': {extra[0]!r}' if extra else ''}")
    folders = {parent for name in names for parent in _parents(name)}
    if both := sorted(folders & names):
        raise BundleError(f"{path}: {both[0]!r} is both a file and a folder")
    return listed


def _check_entry(entry: Any, held: Mapping[str, zipfile.ZipInfo], path: Path) -> None:
    if not (
        isinstance(entry, dict)
        and isinstance(entry.get("path"), str)
        and type(entry.get("size_bytes")) is int
        and isinstance(entry.get("sha256"), str)
    ):
        raise BundleError(f"{path}: {MANIFEST} has an entry of another form: {entry!r:.200}")
    name = entry["path"]
    parts = name.split("/")
    unsafe = any(part in ("", ".", "..") for part in parts) or "\\" in name or any(ord(c) < 32 for c in name)
    if unsafe or len(name) > _NAME_LIMIT:
        raise BundleError(f"{path}: the path {name!r:.200} is unsafe")
    found = held.get(f"{FOLDER}/{name}")
    if found is None:
        raise BundleError(f"{path}: {name!r} is missing")
    if found.file_size != entry["size_bytes"]:
        raise BundleError(f"{path}: {name!r} has {found.file_size} bytes instead of {entry['size_bytes']}")


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def _check_room(entries: list[dict[str, Any]], hidden: Path, path: Path) -> None:
    total, free = sum(entry["size_bytes"] for entry in entries), shutil.disk_usage(hidden).free
    if total > free:
        raise BundleError(f"{path} unpacks to {total:,} bytes; {free:,} are free in {hidden}")


def _extract(archive: zipfile.ZipFile, entry: Mapping[str, Any], folder: Path, path: Path) -> None:
    """Write one file, never more of it than was declared, and compare it with its digest."""
    target = folder / entry["path"]
    target.parent.mkdir(parents=True, exist_ok=True)
    hasher, size = hashlib.sha256(), 0
    with archive.open(f"{FOLDER}/{entry['path']}") as source, open(target, "xb") as file:
        while piece := source.read(_PIECE):
            size += len(piece)
            if size > entry["size_bytes"]:
                break
            hasher.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if size != entry["size_bytes"] or hasher.hexdigest() != entry["sha256"]:
        raise BundleError(f"{path}: {entry['path']!r} is damaged: its content is not what {MANIFEST} says")
    if entry.get("read_only") is True:
        target.chmod(0o444)


def _check_experiment(folder: Path, manifest: Mapping[str, Any], path: Path) -> ExperimentInfo:
    try:
        info = ExperimentReader(folder).info
    except ExperimentError as error:
        raise BundleError(f"{path} holds no experiment that can be read: {error}") from error
    if info.uid != manifest.get("uid") or not _UID.fullmatch(info.uid):
        raise BundleError(f"{path}: {MANIFEST} is of another experiment: uid {manifest.get('uid')!r}, not {info.uid}")
    return info
