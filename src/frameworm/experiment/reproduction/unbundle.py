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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import BundleError, ExperimentError, StateError, StoreError, UnsafePathError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.paths import open_regular, parts_of, place_inside
from frameworm.experiment.provenance.plan import check_changeable
from frameworm.experiment.provenance.signature import SIGNATURE
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.records import Flag, Integer, ListOf, Record, Text, Texts, optional
from frameworm.experiment.reproduction.bundle import ANCESTORS, FOLDER, FORMAT, MANIFEST, VERSION
from frameworm.experiment.storage.folder import HIDDEN, PROVENANCE, create_folder, id_here, read_metadata

_PIECE = 1 << 20
_MANIFEST_LIMIT_BYTES = 256 << 20
_NAME_LIMIT = 1024
_ANCESTOR_LIMIT = 100_000
_UID = re.compile(r"[0-9a-f]{32}")


class _Entry(Record):
    """What the manifest says of a file."""

    path = Text()
    size_bytes = Integer(0)
    sha256 = Text()
    read_only = optional(Flag())


class _Described(Record):
    """What it says of an experiment."""

    experiment_id = optional(Text())
    uid = Text()
    name = optional(Text())
    left_out = optional(Texts())
    entries = ListOf(_Entry)


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
        ancestors: ids here of the experiments that were taken in with it, because it inherits points of theirs. Those
            that were here already are not among them.
    """

    experiment_id: str
    original_id: str
    uid: str
    path: Path
    entries: int
    size_bytes: int
    left_out: tuple[str, ...]
    ancestors: tuple[str, ...] = ()


def import_bundle(root_dir: Path, path: Path, folder_of: Callable[[str], Path | None]) -> Imported:
    """Take in an experiment; as ``ExperimentManager.import_bundle`` documents it.

    Everything is written to a hidden folder and checked there; only then does it become an experiment. Ancestors come
    before what inherits from them, so that a crash in between leaves nothing that lacks its beginning.
    """
    check_changeable(root_dir)
    hidden = root_dir / HIDDEN
    making = hidden / f"importing-{os.urandom(8).hex()}"
    try:
        making.mkdir(parents=True)
        try:
            with open(open_regular(path, follow=True), "rb") as bundle, zipfile.ZipFile(bundle) as archive:
                manifest = _manifest(archive, path)
                described = _described(manifest, path)
                entries = _checked(archive, described, path)
                _check_room(entries, hidden, path)
                for entry in entries:
                    _extract(archive, entry, making, path)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise BundleError(f"{path} is not a whole zip file: {error}") from error
        infos = {folder: _check_experiment(making / folder, one, path) for folder, one in described.items()}
        info = infos.pop(FOLDER)
        present = folder_of(info.uid)
        if present is not None:
            label = id_here(present, info.experiment_id)
            raise StateError(f"{info.name!r} is here already, as {label} (uid {info.uid}); delete that to replace it")
        new = {folder: one for folder, one in infos.items() if folder_of(one.uid) is None}
        ancestors = [_take_in(root_dir, one.name, making / folder)[0] for folder, one in new.items()]
        experiment_id, where = _take_in(root_dir, info.name, making / FOLDER)
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
        path=where,
        entries=len(entries),
        size_bytes=sum(entry["size_bytes"] for entry in entries),
        left_out=tuple(_left_out(described)),
        ancestors=tuple(ancestors),
    )


def _take_in(root_dir: Path, name: str, made: Path) -> tuple[str, Path]:
    """Make an experiment of a folder that was checked; whatever it says, it was not recorded here."""
    (made / PROVENANCE / SIGNATURE).unlink(missing_ok=True)

    def fill(_: str, folder: Path) -> None:
        for part in made.iterdir():
            os.replace(part, folder / part.name)

    return create_folder(root_dir, name, fill)


def _left_out(described: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the file lacks, that of ancestors with their names."""
    for folder, one in reversed(list(described.items())):
        for what in one.get("left_out", ()):
            yield str(what) if folder == FOLDER else f"{one.get('experiment_id')}: {what}"


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


def _described(manifest: Mapping[str, Any], path: Path) -> dict[str, Mapping[str, Any]]:
    """Return what the manifest says of each experiment, by its folder in the zip file: ancestors first."""
    ancestors = manifest.get("ancestors", [])
    if not isinstance(ancestors, list) or len(ancestors) > _ANCESTOR_LIMIT:
        raise BundleError(f"{path}: {MANIFEST} lists no ancestors")
    described: dict[str, Mapping[str, Any]] = {}
    for one in ancestors:
        uid = one.get("uid") if isinstance(one, dict) else None
        if not isinstance(uid, str) or not _UID.fullmatch(uid) or uid == manifest.get("uid"):
            raise BundleError(f"{path}: {MANIFEST} has an ancestor of another form: uid {uid!r:.80}")
        described[f"{ANCESTORS}/{uid}"] = one
    if len(described) != len(ancestors):
        raise BundleError(f"{path}: {MANIFEST} lists an ancestor twice")
    described[FOLDER] = manifest
    for one in described.values():
        try:
            _Described.check(one)
        except ValueError as error:
            raise BundleError(f"{path}: {MANIFEST} is of another form: {error}") from None
    return described


def _checked(archive: zipfile.ZipFile, described: Mapping[str, Mapping[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Return the entries of the manifest, each safe to write and in the zip file exactly once.

    ``path`` of each is that in the zip file.
    """
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
    entries: list[dict[str, Any]] = []
    for folder, one in described.items():
        entries += [_checked_entry(entry, folder, held, path) for entry in one["entries"]]
    names = {entry["path"] for entry in entries}
    if len(names) != len(entries) or names | {MANIFEST} != held.keys():
        extra = sorted(held.keys() - names - {MANIFEST})[:1]
        raise BundleError(f"{path}: {MANIFEST} and the files in it do not agree{f': {extra[0]!r}' if extra else ''}")
    folders = {parent for name in names for parent in _parents(name)}
    if both := sorted(folders & names):
        raise BundleError(f"{path}: {both[0]!r} is both a file and a folder")
    return entries


def _checked_entry(
    entry: Mapping[str, Any], folder: str, held: Mapping[str, zipfile.ZipInfo], path: Path
) -> dict[str, Any]:
    name = entry["path"]
    try:
        plain = "/".join(parts_of(name)) == name and len(name) <= _NAME_LIMIT
    except UnsafePathError as error:
        raise BundleError(f"{path} is unsafe: {error}") from error
    if not plain or "\\" in name or any(ord(char) < 32 for char in name):  # what no system reads otherwise
        raise BundleError(f"{path} is unsafe: a file in it is called {name!r:.200}")
    found = held.get(f"{folder}/{name}")
    if found is None:
        raise BundleError(f"{path}: {name!r} is missing")
    if found.file_size != entry["size_bytes"]:
        raise BundleError(f"{path}: {name!r} has {found.file_size} bytes instead of {entry['size_bytes']}")
    return {**entry, "path": f"{folder}/{name}"}


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def _check_room(entries: list[dict[str, Any]], hidden: Path, path: Path) -> None:
    total, free = sum(entry["size_bytes"] for entry in entries), shutil.disk_usage(hidden).free
    if total > free:
        raise BundleError(f"{path} unpacks to {total:,} bytes; {free:,} are free in {hidden}")


def _extract(archive: zipfile.ZipFile, entry: Mapping[str, Any], folder: Path, path: Path) -> None:
    """Write one file, never more of it than was declared, and compare it with its digest."""
    target = place_inside(folder, entry["path"])
    target.parent.mkdir(parents=True, exist_ok=True)
    hasher, size = hashlib.sha256(), 0
    with archive.open(entry["path"]) as source, open(target, "xb") as file:
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
        reader = ExperimentReader(folder)
        read_metadata(folder)
    except ExperimentError as error:
        raise BundleError(f"{path} holds no experiment that can be read: {error}") from error
    if reader.damage:
        raise BundleError(f"{path} holds a damaged experiment, which is not taken in: {reader.damage_told}")
    info = reader.info
    if info.uid != manifest.get("uid") or not _UID.fullmatch(info.uid):
        raise BundleError(f"{path}: {MANIFEST} is of another experiment: uid {manifest.get('uid')!r}, not {info.uid}")
    return info
