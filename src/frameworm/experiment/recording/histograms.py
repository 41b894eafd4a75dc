"""Histograms: numbers are counted in bins of equal width, however close together or far apart they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frameworm.experiment.errors import InputError
from frameworm.experiment.recording.arrays import array_of, whole
from frameworm.experiment.recording.media import Medium

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["encode_histogram"]

_MOST_BINS = 1_024


def encode_histogram(data: Any, bins: Any) -> Medium:
    """Count values in bins of equal width from the least to the greatest.

    Where floats are too coarse for so many bins between these two, there are fewer.

    Args:
        data: array, tensor or sequence of numbers, of any shape; NaN and infinities are counted apart. Or counts and
            edges as a library's own histogram returns them: ``numpy.histogram``, ``torch.histogram``,
            ``Axes.hist``, an object of boost-histogram or wandb.
        bins: how many.

    Raises:
        InputError: anything else.
    """
    import numpy as np

    wanted = whole(bins, "bins", f"1 to {_MOST_BINS}", 1, _MOST_BINS)
    given = _counted(data)
    if given is not None:
        return _as_given(*given)
    values = array_of(data, "histogram", counted=True).astype(np.float64).ravel()
    finite = values[np.isfinite(values)]
    counts, edges = _count(finite, wanted) if len(finite) else (np.zeros(0, np.int64), np.zeros(0))
    about = {"counts": counts.tolist(), "edges": edges.tolist(), "not_finite": len(values) - len(finite)}
    return Medium(b"", "", about)


def _counted(data: Any) -> tuple[Any, Any] | None:
    """Return counts and edges if ``data`` is what a library's histogram returned, else None."""
    library = type(data).__module__.partition(".")[0]
    if library in ("boost_histogram", "hist") and hasattr(data, "to_numpy"):
        data = data.to_numpy()
    elif library == "wandb" and hasattr(data, "histogram") and hasattr(data, "bins"):
        data = (data.histogram, data.bins)
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        return None
    if len(data) == 3 and not _is_drawn(data[2]):  # of Axes.hist, what was drawn
        return None
    try:
        counts, edges = (array_of(part, "histogram") for part in data[:2])
    except InputError:
        return None
    fits = counts.ndim == edges.ndim == 1 and len(edges) == len(counts) + 1 >= 2
    return (counts, edges) if fits else None


def _is_drawn(part: Any) -> bool:
    return type(part).__module__.startswith("matplotlib.") or type(part).__name__ == "silent_list"


def _as_given(counts: NDArray[Any], edges: NDArray[Any]) -> Medium:
    import numpy as np

    right = np.isfinite(counts).all() and (counts >= 0).all() and np.isfinite(edges).all()
    if len(counts) > _MOST_BINS or not right or (edges[1:] < edges[:-1]).any():
        raise InputError(
            f"histogram: expected up to {_MOST_BINS} counts, finite and none negative, and finite ascending edges"
        )
    return Medium(b"", "", {"counts": counts.tolist(), "edges": edges.tolist(), "not_finite": 0})


def _count(values: NDArray[np.float64], bins: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count finite values in at most so many bins; returns counts (k,) and edges (k + 1,)."""
    import numpy as np

    scale = 1.0
    least, most = float(values.min()), float(values.max())
    if most - least == float("inf"):  # their difference is no float: a power of two takes no bit of them
        scale, values = 4.0, values / 4
    with np.errstate(all="ignore"):
        while True:
            try:
                counts, edges = np.histogram(values, bins)
                break
            except ValueError:  # there are not so many floats between the two
                bins //= 2
                if not bins:
                    counts, edges = np.array([len(values)]), np.array([least, most])
                    break
    return counts, edges * scale
