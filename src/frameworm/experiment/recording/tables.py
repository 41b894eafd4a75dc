"""Tables: frames of any library, dicts and rows become columns and cells of JSON; a cell costs itself at most."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from frameworm.experiment.errors import InputError, StoreError
from frameworm.experiment.foreign import describe
from frameworm.experiment.recording.arrays import is_missing
from frameworm.experiment.recording.media import Medium, encode_image

__all__ = ["encode_table"]

_MOST_ROWS = 100_000
_MOST_TEXT = 1_000
"""Elements of an array that is no picture which are written out in a cell."""


def encode_table(data: Any, columns: Sequence[str] | None, keep: Callable[[Medium], str]) -> Medium:
    """Encode a table as JSON: ``columns``, and ``rows`` of cells; a picture in a cell is stored beside.

    Args:
        data: a DataFrame or Series of pandas or Polars, a table of Arrow, a list of dicts, or rows with ``columns``.
            Row labels of pandas come first, unless they only count. Cells are numbers, texts, bools, None, figures, or
            pictures: of PIL, or arrays as ``encode_image`` takes them, of uint8, bool, or floats from 0 to 1. Anything
            else is kept as its ``str``.
        columns: the names of the columns, for rows; of a frame or dicts those that are wanted.
        keep: stores a picture and returns its digest.

    Raises:
        InputError: anything else.
    """
    names, rows = _rows(data, None if columns is None else [_name(column) for column in columns])
    if len(rows) > _MOST_ROWS:
        raise InputError(f"table: expected up to {_MOST_ROWS:,} rows, got {len(rows):,}; log it as an artifact")
    cells = [[_cell(value, keep) for value in row] for row in rows]
    content = json.dumps({"columns": names, "rows": cells}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Medium(content.encode("utf-8", "replace"), "json", {"rows": len(cells), "columns": len(names)})


def _rows(data: Any, wanted: list[str] | None) -> tuple[list[str], list[list[Any]]]:
    frame = _frame(data)
    if frame is not None:
        names, columns = frame
        if wanted is not None:
            unknown = [name for name in wanted if name not in names]
            if unknown:
                raise InputError(f"table: columns: there is no {unknown[0]!r:.80}; there are {', '.join(names):.200}")
            names, columns = wanted, [columns[names.index(name)] for name in wanted]
        return names, [list(row) for row in zip(*columns, strict=True)]
    if isinstance(data, Mapping) or not isinstance(data, Iterable) or isinstance(data, str | bytes):
        raise InputError(f"table: expected a DataFrame, dicts or rows, got {type(data).__name__}")
    rows = list(data)
    if rows and all(isinstance(row, Mapping) for row in rows):
        by_name = [{_name(key): value for key, value in row.items()} for row in rows]
        names = wanted or list(dict.fromkeys(name for row in by_name for name in row))
        return names, [[row.get(name) for name in names] for row in by_name]
    names = wanted or list(getattr(getattr(data, "dtype", None), "names", None) or ())
    if not names:
        raise InputError("table: rows that are not dicts need columns=, one name for each cell")
    listed = [_row(row, i) for i, row in enumerate(rows)]
    wrong = next((i for i, row in enumerate(listed) if len(row) != len(names)), None)
    if wrong is not None:
        raise InputError(f"table: row {wrong} has {len(listed[wrong])} cells for {len(names)} columns")
    return names, listed


def _row(row: Any, number: int) -> list[Any]:
    if isinstance(row, str | bytes | Mapping):
        raise InputError(f"table: row {number}: expected a list of cells, got {type(row).__name__} {describe(row)}")
    try:
        return list(row)
    except TypeError:
        raise InputError(f"table: row {number}: expected a list of cells, got {describe(row)}") from None


def _frame(data: Any) -> tuple[list[str], list[list[Any]]] | None:
    """Return names and columns of a frame, those of its row labels first; None if it is none."""
    if hasattr(data, "column_names") and hasattr(data, "to_pydict"):  # Arrow
        found = [data.column(i).to_pylist() for i in range(data.num_columns)]
        return [_name(name) for name in data.column_names], found
    if hasattr(data, "to_frame") and not hasattr(data, "columns"):  # a series
        data = data.to_frame()
    if not (hasattr(data, "columns") and hasattr(data, "to_numpy")):
        return None
    if not hasattr(data, "iloc"):  # Polars, whose columns have names of their own each
        return [_name(name) for name in data.columns], [data[name].to_list() for name in data.columns]
    names, columns = [], []
    if not _only_counts(data.index):
        for level in range(data.index.nlevels):
            name = data.index.names[level]
            names.append("index" if name is None else _name(name))
            columns.append(list(data.index.get_level_values(level)))
    for i, name in enumerate(data.columns):  # by number: a name may come twice
        names.append(_name(name))
        columns.append(_values(data.iloc[:, i]))
    return names, columns


def _only_counts(index: Any) -> bool:
    """Return whether row labels say no more than which row it is."""
    counting = getattr(index, "start", None) == 0 and getattr(index, "step", None) == 1
    return counting and index.nlevels == 1 and index.name is None


def _name(name: Any) -> str:
    """Return a column's name; the levels of one that has several are joined."""
    return "/".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _values(column: Any) -> list[Any]:
    values = list(column.to_list())
    if column.dtype.kind == "f":  # there NaN is a value
        return values
    return [None if gone else value for value, gone in zip(values, column.isna().to_list(), strict=True)]


def _cell(value: Any, keep: Callable[[Medium], str]) -> Any:
    if is_missing(value):
        return None
    if isinstance(value, bool | str):
        return value
    try:
        if hasattr(value, "convert") or hasattr(value, "savefig") or _is_picture(value):
            medium = encode_image(value)
            return {"image": keep(medium), "suffix": medium.suffix, **medium.about}
        return _plain(value)
    except InputError:
        return _text(value)
    except StoreError:
        raise
    except Exception as error:  # whatever an object of another library raises costs its cell
        return f"<{type(value).__name__}: {describe(error)}>"


def _is_picture(value: Any) -> bool:
    """Return whether an array is meant to be looked at: a confusion matrix of whole numbers is not."""
    if getattr(value, "ndim", 0) not in (2, 3):
        return False
    return str(value.dtype).rpartition(".")[2] in ("uint8", "bool", "float16", "bfloat16", "float32", "float64")


def _plain(value: Any) -> Any:
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
        return str(value)  # a time, which item() would make a number of
    if hasattr(value, "item") and math.prod(getattr(value, "shape", ())) == 1:
        value = value.item()
    if isinstance(value, bool | str) or is_missing(value):
        return None if is_missing(value) else value
    if isinstance(value, int):
        return int(value) if abs(value) <= 2**53 else str(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"number": str(float(value))}
    return _text(value)


def _text(value: Any) -> str:
    """Return what a cell says that is neither number nor picture."""
    if hasattr(value, "tolist") and hasattr(value, "shape"):
        return str(value.tolist()) if math.prod(value.shape) <= _MOST_TEXT else describe(value)
    return str(value)
