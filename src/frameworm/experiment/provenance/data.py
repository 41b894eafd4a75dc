"""Fingerprints of data: what an experiment learnt from, told apart without keeping a copy."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import InputError

_MMAP_BYTES = 1 << 20


def fingerprint(data: Any) -> dict[str, Any]:
    """Return what tells this data from any other: BLAKE3 of its content, not of where or when it was written.

    Args:
        data: path of a file or folder (of every file's content and name in it; symlinks are followed, but not to
            folders); array or tensor (of dtype, shape and values); pandas or Polars DataFrame or Series (of names,
            dtypes, index and rows); a dict, list or tuple of these.

    Returns:
        ``kind`` (``file``, ``folder``, ``array``, ``table`` or ``group``), ``fingerprint`` (``blake3:…``), ``path``
        (absolute, or None), ``size_bytes`` (None where it is not known), and ``rows``, ``columns`` (name to dtype),
        ``shape``, ``dtype``, ``files`` or ``parts`` where they apply.

    Raises:
        InputError: it is nothing of these, or cannot be read.
    """
    if isinstance(data, str | os.PathLike):
        path = Path(os.fsdecode(data)).absolute()
        try:
            return _of_folder(path) if path.is_dir() else _of_file(path)
        except OSError as error:
            raise InputError(f"dataset {str(path)!r} cannot be read: {error.strerror}; check the path") from error
    if isinstance(data, Mapping):
        return _of_group({str(name): part for name, part in data.items()})
    if isinstance(data, list | tuple) and data and not isinstance(data[0], int | float | str | bool | None.__class__):
        return _of_group({str(i): part for i, part in enumerate(data)})
    if hasattr(data, "to_pandas") and type(data).__module__.startswith("polars"):
        data = data.to_pandas()
    if hasattr(data, "index") and (hasattr(data, "columns") or hasattr(data, "to_frame")):
        return _of_table(data if hasattr(data, "columns") else data.to_frame())
    if hasattr(data, "__array__") or isinstance(data, list | tuple):
        return _of_array(data)
    raise InputError(
        f"dataset: expected a path, an array or tensor, a DataFrame, or a dict or list of these, got "
        f"{type(data).__name__}; of a Dataset pass the arrays or the path it reads"
    )


def _of_file(path: Path) -> dict[str, Any]:
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"dataset {str(path)!r} is not a regular file or folder; save it to a file first")
    return {"kind": "file", "fingerprint": _digest(path), "path": str(path), "size_bytes": path.stat().st_size}


def _digest(path: Path) -> str:
    import blake3

    hasher = blake3.blake3(max_threads=blake3.blake3.AUTO)
    if path.stat().st_size > _MMAP_BYTES:
        hasher.update_mmap(path)
    else:
        hasher.update(path.read_bytes())
    return f"blake3:{hasher.hexdigest()}"


def _of_folder(path: Path) -> dict[str, Any]:
    import blake3

    hasher, size, count = blake3.blake3(), 0, 0
    for file in _files(path):
        hasher.update(f"{file.relative_to(path).as_posix()}\0{_digest(file)}\n".encode("utf-8", "surrogateescape"))
        size += file.stat().st_size
        count += 1
    if not count:
        raise InputError(f"dataset {str(path)!r} is a folder without files; check the path")
    found = f"blake3:{hasher.hexdigest()}"
    return {"kind": "folder", "fingerprint": found, "path": str(path), "size_bytes": size, "files": count}


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(place, name)
            if file.is_file():
                yield file


def _of_array(data: Any) -> dict[str, Any]:
    import blake3
    import numpy as np

    try:
        array = np.asarray(data.detach().cpu() if hasattr(data, "detach") else data)
        if array.dtype.hasobject:
            raise TypeError("it holds Python objects")
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"dataset: {type(data).__name__} is no array of numbers or strings ({error})") from error
    hasher = blake3.blake3(f"{array.dtype.str}{array.shape}".encode())
    hasher.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return {
        "kind": "array",
        "fingerprint": f"blake3:{hasher.hexdigest()}",
        "path": None,
        "size_bytes": array.nbytes,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
    }


def _of_table(frame: Any) -> dict[str, Any]:
    import blake3
    from pandas.util import hash_pandas_object

    columns = {str(name): str(dtype) for name, dtype in frame.dtypes.items()}
    try:
        rows = hash_pandas_object(frame, index=True).to_numpy()
    except TypeError as error:
        raise InputError(f"dataset: a column holds values that cannot be compared ({error})") from error
    hasher = blake3.blake3(repr(list(columns.items())).encode())
    hasher.update(rows.tobytes())
    return {
        "kind": "table",
        "fingerprint": f"blake3:{hasher.hexdigest()}",
        "path": None,
        "size_bytes": int(frame.memory_usage(index=True).sum()),
        "rows": len(frame),
        "columns": columns,
    }


def _of_group(parts: dict[str, Any]) -> dict[str, Any]:
    import blake3

    found = {name: fingerprint(part) for name, part in parts.items()}
    if not found:
        raise InputError("dataset: expected data, got an empty dict or list")
    hasher = blake3.blake3()
    for name, part in found.items():
        hasher.update(f"{name}\0{part['fingerprint']}\n".encode())
    return {
        "kind": "group",
        "fingerprint": f"blake3:{hasher.hexdigest()}",
        "path": None,
        "size_bytes": sum(part["size_bytes"] for part in found.values()),
        "parts": found,
    }
