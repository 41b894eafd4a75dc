"""The folders: how experiments lie under a root, how a number is claimed, and the files people read.

<root>/
  .frameworm/ids/7            number 7 is taken, for ever: an empty file made with O_EXCL
  exp_007_<slug>/             config.yaml  metadata.json  checkpoints/  logs/  artifacts/  provenance/
  experiments.db              the catalog
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import json
import os
import re
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from frameworm.experiment.config import dump_json, dump_yaml, load_json
from frameworm.experiment.errors import ExperimentNotFoundError, StoreError, StoreNotFoundError, UnreadableError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.paths import check_regular, open_regular

HIDDEN = ".frameworm"
CATALOG_NAME = "experiments.db"
CATALOG_FORMAT = "frameworm catalog"
SCHEMA_VERSION = 5
"""Of the catalog's tables."""

RULES_NAME = "alerts.yaml"
CONFIG = "config.yaml"
METADATA = "metadata.json"
MAX_METADATA_BYTES = 256 << 20
"""Of what is read of it; ours are some kilobytes."""
LOGS, ARTIFACTS, CHECKPOINTS, PROVENANCE = "logs", "artifacts", "checkpoints", "provenance"

_FOLDER = re.compile(r"exp_([0-9]{3,18})(?:_.*)?\Z", re.DOTALL)
_ID = re.compile(r"exp_[0-9]{3,18}\Z")
"""Of numbers that are 64 bits: what has more digits, or other ones, is no experiment's."""

_NAMED, _LIKE, _SHOWN = 100, 3, 80
"""Of ids that are not there: how many are named, the nearest of how many are looked for, and letters of each."""


def number_of(folder: str) -> int | None:
    """Return the experiment number in a folder's name, or None if it is no experiment's folder."""
    match = _FOLDER.match(folder)
    return int(match[1]) if match else None


def id_of(number: int) -> str:
    """Return the experiment id of a number: ``exp_007``."""
    return f"exp_{number:03d}"


def id_here(folder: Path, recorded: str) -> str:
    """Return the id of an experiment where it lies now: an import gives it another than the one in its record."""
    number = number_of(folder.name)
    return recorded if number is None else id_of(number)


def slug(name: str) -> str:
    """Return a name as it may stand in a folder's name: ASCII letters, digits and ``_``, at most 60."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", ascii_name).strip("_")[:60].rstrip("_") or "experiment"


def experiment_folders(root: Path) -> dict[str, int]:
    """Return the names of all experiments' folders under ``root`` and their numbers.

    Raises:
        StoreNotFoundError: there is no such folder.
    """
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        raise StoreNotFoundError(
            f"{root}: no such folder (looked from {Path.cwd()}); give the root_dir that experiments were "
            "recorded in, or record one with Experiment(...)"
        ) from None
    except NotADirectoryError:
        raise StoreNotFoundError(f"{root}: is a file; expected the folder that experiments are recorded in") from None
    return {name: int(match[1]) for name in names if (match := _FOLDER.match(name))}


def find_folder(root: Path, experiment_id: str) -> Path:
    """Return the folder of an experiment.

    Raises:
        ExperimentNotFoundError: none has that id; the message suggests the nearest.
        StoreNotFoundError: there is no such root.
    """
    folders = experiment_folders(root)
    if _ID.match(str(experiment_id)):
        for name in sorted(folders):  # of two with one number always the same
            if name == experiment_id or name.startswith(f"{experiment_id}_"):
                return root / name
    raise not_found(root, [str(experiment_id)], [id_of(number) for number in sorted(folders.values())])


def not_found(root: Path, missing: list[str], known: list[str]) -> ExperimentNotFoundError:
    """Return the error for ids that are not there, with the nearest that are."""
    like = [n for one in missing[:_LIKE] for n in difflib.get_close_matches(one[:_SHOWN], known, n=3, cutoff=0.5)]
    near = list(dict.fromkeys(like))
    if not known:
        hint = "it holds no experiments"
    elif near:
        hint = f"did you mean {' or '.join(near[:3])}?"
    else:
        hint = f"it holds {known[0]} to {known[-1]}"
    wanted = ", ".join(f"{one:.{_SHOWN}}" for one in missing[:_NAMED])
    if len(missing) > _NAMED:
        wanted += f" and {len(missing) - _NAMED:,} others"
    return ExperimentNotFoundError(f"no experiment {wanted} in {root}; {hint}", tuple(near))


def fingerprint(folder: Path) -> str:
    """Return a text that changes whenever a journal or segment of the folder does."""
    try:
        with os.scandir(folder / LOGS) as files:
            found = sorted(
                (file.name, (stat := file.stat()).st_size, stat.st_mtime_ns)
                for file in files
                if file.name.startswith(("journal-", "metrics-"))
            )
    except OSError:
        return ""
    return hashlib.blake2b(repr(found).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def create_folder(root: Path, name: str, fill: Callable[[str, Path], None]) -> tuple[str, Path]:
    """Claim the next number and make the experiment's folder, whole or not at all.

    Args:
        root: made if it is missing.
        name: the experiment's name, of which the slug is made.
        fill: called with the id and the folder while it still has a temporary name.

    Returns:
        experiment id and folder.

    Raises:
        StoreError: the root cannot be written.
    """
    try:
        ids = root / HIDDEN / "ids"
        ids.mkdir(parents=True, exist_ok=True)
        number = _claim(root, ids)
        experiment_id = id_of(number)
        making = root / HIDDEN / f"making-{number}"
        for part in ("", CHECKPOINTS, LOGS, ARTIFACTS, PROVENANCE):
            (making / part).mkdir()
        fill(experiment_id, making)
        folder = root / f"{experiment_id}_{slug(name)}"
        making.rename(folder)
    except OSError as error:
        raise StoreError(
            f"{root}: an experiment cannot be made there ({error}); check root_dir and its rights"
        ) from error
    return experiment_id, folder


def _claim(root: Path, ids: Path) -> int:
    """Take a number that no experiment has or had, however many processes try at once."""
    number = max(experiment_folders(root).values(), default=0)  # those deleted since have their claims
    while True:
        number += 1
        try:
            os.close(os.open(ids / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return number
        except FileExistsError:
            continue


def catalog_uri(catalog: Path, mode: str) -> str:
    """Return what SQLite opens a catalog by, with ``mode`` ro, rw or rwc.

    Raises:
        OSError: it, or what SQLite keeps beside it, is no regular file: for a FIFO's writer it would wait.
    """
    for suffix in ("", "-journal", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            check_regular(f"{catalog}{suffix}", follow=True)
    return f"file:{quote(os.fsencode(catalog.absolute()))}?mode={mode}"


def make_folders(folder: Path, top: Path) -> None:
    """Make a folder and those above it up to ``top``, which must be there: one that was moved away is not made anew.

    Raises:
        OSError: ``top`` is gone, or something else lies in the way.
    """
    for part in (*reversed(folder.relative_to(top).parents[:-1]), folder.relative_to(top)):
        with contextlib.suppress(FileExistsError):
            (top / part).mkdir()
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(folder))


def write_atomically(path: Path, text: str) -> None:
    """Write a small file that readers see whole, old or new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    # The name of a folder need not be UTF-8: in JSON, a half of a surrogate pair is written as an escape.
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(temporary, path)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write ``config.yaml``."""
    write_atomically(folder / CONFIG, dump_yaml(config))


def write_metadata(folder: Path, info: ExperimentInfo) -> None:
    """Write ``metadata.json``: everything known but the points, for people and for ``read_metadata``."""
    # Not ``asdict`` of the whole, which copies config and packages leaf by leaf: 0.25 ms.
    data = {field.name: getattr(info, field.name) for field in fields(info)}
    data |= {"path": folder.name, "artifacts": [asdict(a) for a in info.artifacts]}
    data["notes"] = [asdict(note) for note in info.notes]
    text = json.dumps(json.loads(dump_json(data)), indent=2, ensure_ascii=False)
    write_atomically(folder / METADATA, text + "\n")


def read_metadata(folder: Path) -> ExperimentInfo:
    """Return what ``metadata.json`` says: all that is left when an experiment's logs are lost.

    Raises:
        UnreadableError: it cannot be read, or is not ours.
    """
    from frameworm.experiment.events import Told, facts_of

    try:
        with open(open_regular(folder / METADATA), "rb", buffering=0) as file:
            content = file.read(MAX_METADATA_BYTES + 1)
        if len(content) > MAX_METADATA_BYTES:
            raise ValueError(f"it has more than {MAX_METADATA_BYTES:,} bytes")
        told = load_json(content)
        Told.check(told)
    except (OSError, ValueError) as error:
        raise UnreadableError(
            f"{folder}: not an experiment's folder: {LOGS}/ holds no journal or segment with its beginning, and "
            f"{METADATA} cannot be read ({error})"
        ) from error
    facts = facts_of(told)
    if facts.get("status") == "running":
        facts["status"] = "crashed"
    return ExperimentInfo(path=folder, **facts)
