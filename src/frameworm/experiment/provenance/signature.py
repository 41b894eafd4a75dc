"""Whose record it is: what a user recorded here is signed with a key of that user's, which no folder or bundle has.

Whatever would be run again is signed: the command, the variables, the code, the packages. So a record that was copied
or moved stays its user's own, one that somebody sent, or changed, is a stranger's, and one that is imported is too,
whatever it says of itself: the signature is left out of bundles, and taken from none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from pathlib import Path

from frameworm.experiment.config import dump_json
from frameworm.experiment.errors import UnsafePathError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.paths import open_inside
from frameworm.experiment.provenance.code import CODE
from frameworm.experiment.provenance.environment import REQUIREMENTS_NAME
from frameworm.experiment.provenance.notebook import NOTEBOOK_NAME
from frameworm.experiment.provenance.patch import PATCH_NAME
from frameworm.experiment.storage.folder import PROVENANCE

SIGNATURE = "signature"
"""File in ``provenance``."""

_KEY_BYTES = 32
_ENVIRONMENT = (
    *("command", "cwd", "stdin", "variables", "umask", "time_zone", "ordinal", "package_sources"),
    *("python_version", "python_implementation"),
)


def sign(exp_dir: Path, info: ExperimentInfo) -> None:
    """Sign what would be run; without a place for a key of the user's it stays unsigned.

    Raises:
        OSError: the experiment's folder cannot be written.
    """
    key = _key(make=True)
    if key is not None:
        path = exp_dir / PROVENANCE / SIGNATURE
        path.unlink(missing_ok=True)  # to write over one, or to replace it, waits milliseconds for some disks
        path.write_text(_signature(key, exp_dir, info), encoding="ascii")


def is_own(exp_dir: Path, info: ExperimentInfo) -> bool:
    """Whether this user recorded the experiment, and nothing that would be run was changed since."""
    key = _key(make=False)
    said = _content(exp_dir, f"{PROVENANCE}/{SIGNATURE}")
    if key is None or said is None or said != _signature(key, exp_dir, info).encode("ascii"):
        return False
    stored = {f"{CODE}/{file['path']}": file["digest"] for file in info.code.get("files", ())}
    if notebook := info.code.get("notebook"):
        stored[NOTEBOOK_NAME] = notebook["digest"]
    for path, digest in stored.items():
        content = _content(exp_dir, f"{PROVENANCE}/{path}")
        if content is not None and f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            return False
    return True


def _signature(key: bytes, exp_dir: Path, info: ExperimentInfo) -> str:
    said = {
        "uid": info.uid,
        "environment": {name: info.environment.get(name) for name in _ENVIRONMENT},
        "git": info.git,
        "code": info.code,
    }
    text = json.dumps(json.loads(dump_json(said)), sort_keys=True)  # alike from memory and from the record
    hasher = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key)
    for name in (PATCH_NAME, REQUIREMENTS_NAME):
        hasher.update(hashlib.sha256(_content(exp_dir, f"{PROVENANCE}/{name}") or b"").digest())
    return hasher.hexdigest()


def _content(exp_dir: Path, path: str) -> bytes | None:
    try:
        with open(open_inside(exp_dir, path), "rb") as file:
            return file.read()
    except (UnsafePathError, OSError):  # what is not there, or no file, is no part of what would be run
        return None


def _key(*, make: bool) -> bytes | None:
    """Return the user's key, None if there is none and none can be made."""
    # Where platformdirs would have it on Linux; importing that takes a fifth of the time of a whole short experiment.
    data = os.environ.get("XDG_DATA_HOME") or ""
    path = Path(data if os.path.isabs(data) else os.path.expanduser("~/.local/share"), "frameworm", "key")
    with contextlib.suppress(OSError):  # no home, or one that must not be written: nothing is signed
        if make and not os.path.exists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"key-{os.urandom(8).hex()}")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
            try:
                os.link(temporary, path)  # of several processes that make it at once, one does
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        return _read_key(path)
    return None


@functools.lru_cache(8)
def _read_key(path: Path) -> bytes:
    """Return the key in a file, which stays the same for good.

    Raises:
        OSError: there is none.
    """
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(f"{path} holds no key")
    return key
