"""Exporting: an experiment's folder, and the commit it ran on, in one zip file; of a fork, its ancestors too.

The same experiment gives the same bytes: entries are sorted, their times and rights are fixed, and the commit is
packed by one thread. ``manifest.json`` comes last, as it has the digest of every entry.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from frameworm.experiment.errors import ReproductionError, StateError, StoreError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.paths import open_regular
from frameworm.experiment.provenance.data import fingerprint
from frameworm.experiment.provenance.signature import SIGNATURE
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.reproduction.inputs import data_name
from frameworm.experiment.reproduction.layout import GIT
from frameworm.experiment.reproduction.repository import Repository, pack_commit
from frameworm.experiment.storage.folder import ARTIFACTS, CHECKPOINTS, PROVENANCE, id_here
from frameworm.experiment.storage.names import TEMPORARY

FORMAT = "frameworm-bundle"
VERSION = 1
MANIFEST = "manifest.json"
FOLDER = "experiment"
"""Folder of the zip file that holds the experiment's."""
ANCESTORS = "ancestors"
"""Folder of the zip file that holds those of the experiments whose points a fork inherits, named by uid."""

_TIME = (1980, 1, 1, 0, 0, 0)
_PIECE = 1 << 20
_COMPRESSED = frozenset(
    ".seg .bundle .zip .gz .bz2 .xz .zst .png .jpg .jpeg .webp .mp4 .npz .pt .pth .ckpt .safetensors .parquet".split()
)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        size_bytes: of it.
        entries: how many files it holds.
        commits: those it holds.
        left_out: what it lacks, a sentence each.
        ancestors: ids of the experiments that it holds besides, because this one inherits points of theirs; the
            first of the line first.
    """

    path: Path
    size_bytes: int
    entries: int
    commits: tuple[str, ...]
    left_out: tuple[str, ...]
    ancestors: tuple[str, ...] = ()


def export(exp_dir: Path, path: Path, *, artifacts: bool = True, data: bool = False) -> Exported:
    """Write an experiment to one file; as ``ExperimentManager.export`` documents it."""
    reader = ExperimentReader(exp_dir)
    info = reader.info
    _ended(exp_dir, info)
    if path.exists():
        raise StoreError(f"{path} is there already; remove it, or give another name")
    *chain, _ = reader.chain()
    lines = [(folder, ExperimentReader(folder).info) for folder in chain]
    for folder, ancestor in lines:
        _ended(folder, ancestor, f", whose points {id_here(exp_dir, info.experiment_id)} inherits,")
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with tempfile.TemporaryDirectory(prefix="frameworm-export-") as name:
            scratch = Path(name)
            ancestors = [
                _collect(folder, ancestor, scratch / ancestor.uid, artifacts=artifacts, data=data)
                for folder, ancestor in lines
            ]
            whole = _collect(exp_dir, info, scratch / "own", artifacts=artifacts, data=data)
            if reader.missing:
                whole.left_out.append(reader.missing)
            entries = _write(partial, whole, ancestors, artifacts=artifacts)
        os.link(partial, path)
    except FileExistsError:
        raise StoreError(f"{path} is there already; remove it, or give another name") from None
    except (OSError, zipfile.LargeZipFile) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    commits = dict.fromkeys(commit for one in (whole, *ancestors) for commit in one.commits)
    left_out = (*whole.left_out, *(f"{one.label}: {what}" for one in ancestors for what in one.left_out))
    return Exported(path, path.stat().st_size, entries, tuple(commits), left_out, tuple(one.label for one in ancestors))


def _ended(exp_dir: Path, info: ExperimentInfo, who: str = "") -> None:
    if info.status in ("running", "pending"):
        label = id_here(exp_dir, info.experiment_id)
        raise StateError(f"{label}{who} is {info.status}; export it when it has ended")


@dataclass(frozen=True, slots=True)
class _Collected:
    """What is to be written of one experiment: its files by their path in its folder, and what is left out."""

    label: str
    info: ExperimentInfo
    files: dict[str, Path]
    commits: list[str]
    left_out: list[str]


def _collect(exp_dir: Path, info: ExperimentInfo, scratch: Path, *, artifacts: bool, data: bool) -> _Collected:
    scratch.mkdir()
    left_out: list[str] = []
    files = dict(_files(exp_dir, artifacts, left_out))
    commits = _commits(info, exp_dir, scratch, files, left_out)
    _data(info, exp_dir, data, files, left_out)
    for use in info.used:
        left_out.append(f"{use['artifact']} of {use['experiment_id']}, which it used: export that experiment too")
    return _Collected(id_here(exp_dir, info.experiment_id), info, files, commits, left_out)


def _files(exp_dir: Path, artifacts: bool, left_out: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files of the folder, by their path in it."""
    for place, folders, names in os.walk(exp_dir):
        inner = Path(place).relative_to(exp_dir)
        if inner.parts[:1] in ((ARTIFACTS,), (CHECKPOINTS,)) and not artifacts:
            folders.clear()
            continue
        for name in sorted([*names, *(one for one in folders if Path(place, one).is_symlink())]):
            path = inner / name
            if name.startswith((TEMPORARY, ".")) or path == Path(
                PROVENANCE, SIGNATURE
            ):  # that is of use to nobody else
                continue
            if not stat.S_ISREG(Path(place, name).lstat().st_mode):
                left_out.append(f"{path} is a link or a special file")
            elif not _is_text(path.as_posix()):
                left_out.append(f"{path!r} has a name that is not UTF-8, which the names in a bundle are")
            else:
                yield path.as_posix(), Path(place, name)
    if not artifacts:
        left_out.append("artifacts and checkpoints")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _commits(
    info: ExperimentInfo, exp_dir: Path, folder: Path, files: dict[str, Path], left_out: list[str]
) -> list[str]:
    """Pack the commit that was checked out, and those of its submodules, unless the experiment came with them."""
    packed: list[str] = []

    def pack(place: Path, commit: str, what: str) -> None:
        name = f"{PROVENANCE}/{GIT}/{commit}.bundle"
        try:
            if name not in files:
                target = folder / f"{commit}.bundle"
                pack_commit(place, commit, target, folder / f"packing-{len(packed)}")
                files[name] = target
            packed.append(commit)
            inner = Repository(folder / f"looking-{len(packed)}", commit)
            inner.obtain([place], files[name], None)
            inner.run("read-tree", commit)
            inner.run("checkout-index", "--force", "--", *_present(inner))
            for path, (submodule, _) in inner.submodules().items():
                pack(place / path, submodule, f"submodule {path}")
        except ReproductionError as error:
            left_out.append(f"{what}: {error}")

    commit = info.git.get("commit")
    if commit:
        pack(Path(info.git.get("root") or "."), commit, "the commit")
    return packed


def _present(repository: Repository) -> list[str]:
    return [".gitmodules"] if b".gitmodules\0" in repository.run("ls-files", "-z", ".gitmodules") else []


def _data(info: ExperimentInfo, exp_dir: Path, wanted: bool, files: dict[str, Path], left_out: list[str]) -> None:
    for dataset in info.datasets:
        name = f"{PROVENANCE}/{data_name(dataset['fingerprint'])}"
        if name in files or any(one.startswith(f"{name}/") for one in files):
            continue
        path = Path(dataset["path"]) if dataset.get("path") else None
        if not wanted or path is None:
            why = "use --data to include it" if path is not None else "it has no path"
            left_out.append(f"dataset {dataset['name']}: {why}")
            continue
        if not path.exists() or fingerprint(path)["fingerprint"] != dataset["fingerprint"]:
            left_out.append(f"dataset {dataset['name']}: {path} is gone or has changed")
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    files[f"{name}/{file.relative_to(path).as_posix()}"] = file
        else:
            files[name] = path


def _write(target: Path, whole: _Collected, ancestors: list[_Collected], *, artifacts: bool) -> int:
    with zipfile.ZipFile(target, "x", allowZip64=True) as archive:
        before = [_add_all(archive, f"{ANCESTORS}/{one.info.uid}", one) for one in ancestors]
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "artifacts": artifacts,
            **_add_all(archive, FOLDER, whole),
            **({"ancestors": before} if before else {}),
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=True)
        archive.writestr(_entry(MANIFEST, len(text)), text)
    return sum(len(one["entries"]) for one in (manifest, *before))


def _add_all(archive: zipfile.ZipFile, folder: str, one: _Collected) -> dict[str, Any]:
    """Add the files of one experiment and return what the manifest says of it."""
    entries = []
    for name in sorted(one.files):
        with open(open_regular(one.files[name]), "rb") as source:
            entries.append(_add(archive, folder, name, source))
    info = one.info
    return {
        "experiment_id": info.experiment_id,
        "uid": info.uid,
        "name": info.name,
        "left_out": one.left_out,
        "entries": entries,
    }


def _add(archive: zipfile.ZipFile, folder: str, name: str, source: IO[bytes]) -> dict[str, Any]:
    look = os.fstat(source.fileno())
    hasher, size = hashlib.sha256(), 0
    with archive.open(_entry(f"{folder}/{name}", look.st_size), "w", force_zip64=look.st_size >= 1 << 30) as file:
        while piece := source.read(_PIECE):
            hasher.update(piece)
            size += len(piece)
            file.write(piece)
    return {
        "path": name,
        "size_bytes": size,
        "sha256": hasher.hexdigest(),
        "read_only": not look.st_mode & 0o200,
    }


def _entry(name: str, size_bytes: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.create_system = 3
    compressed = Path(name).suffix.lower() in _COMPRESSED
    entry.compress_type = zipfile.ZIP_STORED if compressed or size_bytes < 64 else zipfile.ZIP_DEFLATED
    return entry
