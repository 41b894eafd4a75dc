"""Checkpoint files: written whole or not at all, and read without running any code in them."""

from __future__ import annotations

import errno
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frameworm.experiment.errors import InputError

FORMAT = 1
_SAFE = (Tensor, bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint so that ``path`` holds the old one or the new one, whole, whatever happens.

    Args:
        path: where; the folder is made if missing.
        content: tensors, numbers, strings, lists and dicts. NumPy scalars become Python numbers; anything
            else could not be read back with ``weights_only=True``, and is refused now, not at the resume.

    Raises:
        InputError: ``content`` holds another type; the message names the place.
        OSError: the disk is full, or the folder cannot be written.
    """
    plain = _plain(content, "")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            try:
                torch.save(plain, file)
            except RuntimeError as exc:  # torch's zip writer hides the OSError of a full disk behind this
                raise OSError(f"cannot write {beside}: {exc}") from exc
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU with ``weights_only=True``: nothing in the file is executed.

    Raises:
        InputError: the file is no checkpoint of a Trainer, is damaged, or is of a newer release.
        FileNotFoundError: there is no such file.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # torch seeks before the start of a file that was cut
            raise
        raise InputError(f"{path} is damaged or is not a checkpoint: {exc}") from exc
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, zipfile.BadZipFile) as exc:
        raise InputError(f"{path} is damaged or is not a checkpoint: {exc}") from exc
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int) or "rng" not in content:
        raise InputError(
            f"{path} is a file of PyTorch but not a checkpoint of a Trainer; load weights alone with "
            "model.load_state_dict(torch.load(path, weights_only=True))"
        )
    if version > FORMAT:
        raise InputError(
            f"{path} has checkpoint format {version}; this release reads up to {FORMAT}: upgrade with "
            "`pip install --upgrade frameworm`"
        )
    return content


def _plain(value: Any, where: str) -> Any:
    """Return ``value`` with only the types that ``weights_only=True`` reads."""
    if type(value) in _SAFE or isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        plain = {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
        if not isinstance(value, OrderedDict):
            return plain
        ordered = OrderedDict(plain)
        ordered.__dict__.update(vars(value))  # a module's state_dict carries the version of each layer here
        return ordered
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    raise InputError(
        f"checkpoint{where} is a {type(value).__module__}.{type(value).__qualname__}, which cannot be read "
        "back safely; keep numbers, strings, tensors, lists and dicts in state_dict()"
    )


def checkpoint_path(given: str | Path, folder: Path | None) -> Path:
    """Return the file that ``resume_from`` means.

    Args:
        given: ``latest``, ``best``, a file, or a folder with a ``latest.pt``.
        folder: where ``latest`` and ``best`` are looked for.

    Raises:
        InputError: there is no folder to look in.
        FileNotFoundError: there is none; the message lists the checkpoints of the folder.
    """
    if given in ("latest", "best"):
        if folder is None:
            raise InputError(
                f"resume_from={given!r} needs an experiment or a checkpoint_dir to look in; or give a path"
            )
        path = folder / f"{given}.pt"
    else:
        path = Path(given)
        if path.is_dir():
            path = path / "latest.pt"
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in path.parent.glob("*.pt"))) or "no checkpoint"
        raise FileNotFoundError(f"no checkpoint at {path}; in that folder there is {there}")
    return path
