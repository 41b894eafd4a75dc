"""The leaderboard: experiments by their value of a metric, or groups by their mean, from best to worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from frameworm.experiment.errors import InputError
from frameworm.experiment.query.listing import compare_frame

if TYPE_CHECKING:
    from frameworm.experiment.query.samples import Measured
    from frameworm.experiment.storage.catalog import Catalog

Mode = Literal["min", "max"]


def check_mode(mode: object, at: str) -> Mode:
    """Return which end leads: as asked; if not, the lowest, unless ``at`` looks for the highest of each.

    Raises:
        InputError: not ``min``, ``max`` or None.
    """
    if mode is None:
        return "max" if at == "max" else "min"
    if mode == "min" or mode == "max":
        return "min" if mode == "min" else "max"
    raise InputError(f"mode is {mode!r:.80}; allowed is 'min' or 'max', or None for 'max' if at is 'max', else 'min'")


def ranked(values: Sequence[float], mode: Mode) -> list[tuple[int, int | None]]:
    """Return positions from best to worst, each with its rank.

    Equal values share a rank and keep their order; the next rank counts them all (1, 2, 2, 4). NaN comes last and
    has none.
    """
    sign = 1.0 if mode == "min" else -1.0
    known = sorted((i for i, value in enumerate(values) if value == value), key=lambda i: sign * values[i])
    order: list[tuple[int, int | None]] = []
    for place, i in enumerate(known, 1):
        tied = bool(order) and values[order[-1][0]] == values[i]
        order.append((i, order[-1][1] if tied else place))
    return order + [(i, None) for i, value in enumerate(values) if value != value]


def experiment_board(
    catalog: Catalog, numbers: Sequence[int], data: Measured, mode: Mode, limit: int | None
) -> pd.DataFrame:
    """Return rank, experiment_id, name, status, value, and the params that differ among those shown.

    Args:
        catalog: up to date.
        numbers: of the experiments, ascending: so do those of equal value come.
        data: their values; those that have none are not in the table but counted in its ``attrs``.
        mode: which end leads.
        limit: at most so many.
    """
    there = [number for number in numbers if number in data.values]
    values = [data.values[number] for number in there]
    order = ranked(values, mode)
    shown = order[:limit]
    board = compare_frame(catalog, [there[i] for i, _ in shown], []).drop(columns="created_at")
    board.insert(3, "value", np.array([values[i] for i, _ in shown], np.float64))
    return _finished(board, shown, len(order), len(numbers) - len(there))


def group_board(frame: pd.DataFrame, mode: Mode, limit: int | None) -> pd.DataFrame:
    """Return ``aggregate``'s table from the best mean to the worst, with the rank in front."""
    order = ranked(frame["mean"].tolist(), mode)
    shown = order[:limit]
    board = frame.iloc[[i for i, _ in shown]].reset_index(drop=True)
    return _finished(board, shown, len(order), int(frame["missing"].sum()))


def _finished(board: pd.DataFrame, shown: Sequence[tuple[int, int | None]], total: int, without: int) -> pd.DataFrame:
    board.insert(0, "rank", pd.Series([rank for _, rank in shown], dtype="Int64"))
    board.attrs = {"total": total, "without": without}
    return board
