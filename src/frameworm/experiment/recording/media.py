"""Encoding of media: arrays, pictures, figures and tables become bytes that any browser shows and none runs."""

from __future__ import annotations

import io
import json
import math
import os
import wave
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frameworm.experiment.errors import InputError

__all__ = ["Medium", "encode_audio", "encode_figure", "encode_histogram", "encode_image", "encode_table"]
__all__ += ["encode_text", "encode_video"]

_BINS = 64
_MOST_BINS = 1_024
_MOST_ROWS = 100_000
_SIGNATURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("png", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("jpg", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("gif", lambda head: head.startswith((b"GIF87a", b"GIF89a"))),
    ("webp", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    ("wav", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE"),
    ("mp3", lambda head: head.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"))),
    ("ogg", lambda head: head.startswith(b"OggS")),
    ("flac", lambda head: head.startswith(b"fLaC")),
    ("mp4", lambda head: head[4:8] == b"ftyp"),
    ("webm", lambda head: head.startswith(b"\x1a\x45\xdf\xa3")),
)
_PICTURES, _SOUNDS, _FILMS = (
    ("png", "jpg", "gif", "webp"),
    ("wav", "mp3", "ogg", "flac"),
    ("mp4", "webm", "gif", "webp"),
)


class Medium(NamedTuple):
    """What is to be stored.

    Attributes:
        content: the file; empty if all is in ``about``.
        suffix: what kind of file it is, a key of ``storage.media.MIMES``; empty without a file.
        about: JSON values that go into the record: ``width``, ``height``, ``counts``, …
    """

    content: bytes
    suffix: str
    about: dict[str, Any]


def encode_image(data: Any) -> Medium:
    """Encode a picture as PNG; a file that is one already is taken as it is.

    Args:
        data: array or tensor (height, width), (height, width, channels) or (channels, height, width) with 1, 3 or 4
            channels: uint8, bool, or floats from 0 to 1, where what lies outside is clipped and NaN is black; a PIL
            image; a matplotlib figure; or the path of a PNG, JPEG, GIF or WebP file.

    Raises:
        InputError: anything else.
    """
    if isinstance(data, str | os.PathLike):
        content, suffix = _file(data, _PICTURES, "a PNG, JPEG, GIF or WebP image")
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(content)) as picture:
                width, height = picture.size
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
            raise InputError(f"image {os.fspath(data)!r} cannot be read: {error}") from error
        return Medium(content, suffix, {"width": width, "height": height})
    if hasattr(data, "savefig"):
        return encode_figure(data)
    if not hasattr(data, "convert"):
        data = _picture(data, "image")
    with io.BytesIO() as file:
        picture = data if data.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else data.convert("RGB")
        picture.save(file, "PNG", compress_level=1)
        return Medium(file.getvalue(), "png", {"width": data.width, "height": data.height})


def encode_video(data: Any, fps: float) -> Medium:
    """Encode frames as an animated WebP; a file is taken as it is.

    Args:
        data: array or tensor (frames, height, width[, channels]) or (frames, channels, height, width), a sequence of
            what ``encode_image`` takes, or the path of an MP4, WebM, GIF or WebP file.
        fps: frames a second.

    Raises:
        InputError: anything else.
    """
    if isinstance(data, str | os.PathLike):
        content, suffix = _file(data, _FILMS, "an MP4, WebM, GIF or WebP file")
        return Medium(content, suffix, {})
    if not isinstance(fps, int | float) or not 0 < fps <= 1000:
        raise InputError(f"fps: expected a number above 0, up to 1000, got {fps!r:.80}")
    try:
        frames = [frame if hasattr(frame, "convert") else _picture(frame, "video frame") for frame in data]
    except TypeError:
        raise InputError(f"video: expected frames or a path, got {type(data).__name__}") from None
    if not frames or len({frame.size for frame in frames}) > 1:
        raise InputError(
            f"video: expected frames of one size, got {len(frames)} of {len({f.size for f in frames})} sizes"
        )
    with io.BytesIO() as file:
        first, *others = [frame.convert("RGB") for frame in frames]
        first.save(
            file, "WEBP", save_all=True, append_images=others, duration=max(1, round(1000 / fps)), loop=0, method=0
        )
        about = {"width": first.width, "height": first.height, "frames": len(frames), "fps": fps}
        return Medium(file.getvalue(), "webp", about)


def encode_audio(data: Any, sample_rate: int | None) -> Medium:
    """Encode sound as a 16-bit WAV; a file is taken as it is.

    Args:
        data: array or tensor (samples,) or (samples, channels): int16, or floats from -1 to 1, where what lies outside
            is clipped and NaN is silence; or the path of a WAV, MP3, Ogg or FLAC file.
        sample_rate: samples a second; for a file not needed.

    Raises:
        InputError: anything else.
    """
    if isinstance(data, str | os.PathLike):
        content, suffix = _file(data, _SOUNDS, "a WAV, MP3, Ogg or FLAC file")
        return Medium(content, suffix, {})
    import numpy as np

    if not isinstance(sample_rate, int) or isinstance(sample_rate, bool) or not 1 <= sample_rate <= 1_000_000:
        raise InputError(f"sample_rate: expected samples a second, 1 to 1,000,000, got {sample_rate!r:.80}")
    samples = _array(data, "audio")
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not 1 <= samples.shape[1] <= 32:
        raise InputError(f"audio: expected shape (samples,) or (samples, channels), got {samples.shape}")
    if samples.dtype.kind == "f":
        samples = np.round(np.clip(np.nan_to_num(samples), -1, 1) * 32_767).astype("<i2")
    elif samples.dtype != np.int16:
        raise InputError(f"audio: expected int16, or floats from -1 to 1, got {samples.dtype}")
    with io.BytesIO() as file:
        with wave.open(file, "wb") as out:
            out.setnchannels(samples.shape[1])
            out.setsampwidth(2)
            out.setframerate(sample_rate)
            out.writeframes(samples.astype("<i2").tobytes())
        about = {"sample_rate": sample_rate, "channels": samples.shape[1], "duration_s": len(samples) / sample_rate}
        return Medium(file.getvalue(), "wav", about)


def encode_histogram(data: Any, bins: int) -> Medium:
    """Count values in bins of equal width from the least to the greatest.

    Args:
        data: array, tensor or sequence of numbers, of any shape; NaN and infinities are counted apart. Or a pair
            (counts, edges) as ``numpy.histogram`` returns.
        bins: how many.

    Raises:
        InputError: anything else.
    """
    import numpy as np

    if isinstance(data, tuple) and len(data) == 2 and np.size(data[1]) == np.size(data[0]) + 1 and np.size(data[0]):
        counts, edges = _array(data[0], "histogram counts").ravel(), _array(data[1], "histogram edges").ravel()
        if len(counts) > _MOST_BINS or not np.isfinite(edges).all() or (np.diff(edges) < 0).any() or (counts < 0).any():
            raise InputError(
                f"histogram: expected up to {_MOST_BINS} counts, none negative, and finite ascending edges"
            )
        return Medium(b"", "", {"counts": counts.tolist(), "edges": edges.tolist(), "not_finite": 0})
    if not isinstance(bins, int) or not 1 <= bins <= _MOST_BINS:
        raise InputError(f"bins: expected 1 to {_MOST_BINS}, got {bins!r:.80}")
    values = _array(data, "histogram").astype(np.float64).ravel()
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, bins) if len(finite) else (np.zeros(0, np.int64), np.zeros(0))
    about = {"counts": counts.tolist(), "edges": edges.tolist(), "not_finite": len(values) - len(finite)}
    return Medium(b"", "", about)


def encode_text(text: Any) -> Medium:
    """Encode a text.

    Raises:
        InputError: not a str, or with lone surrogates.
    """
    if not isinstance(text, str):
        raise InputError(f"text: expected a str, got {type(text).__name__} {text!r:.80}")
    try:
        return Medium(text.encode(), "txt", {"characters": len(text)})
    except UnicodeEncodeError as error:
        raise InputError(f"text: a character cannot be kept: {error}") from None


def encode_figure(figure: Any) -> Medium:
    """Encode a matplotlib figure as PNG; a plotly figure as its JSON.

    Raises:
        InputError: anything else.
    """
    if hasattr(figure, "savefig"):
        with io.BytesIO() as file:
            figure.savefig(file, format="png", bbox_inches="tight")
            content = file.getvalue()
        from PIL import Image

        with Image.open(io.BytesIO(content)) as picture:
            return Medium(content, "png", {"width": picture.width, "height": picture.height})
    if hasattr(figure, "to_plotly_json") and hasattr(figure, "to_json"):
        return Medium(str(figure.to_json()).encode(), "json", {"library": "plotly"})
    raise InputError(f"figure: expected one of matplotlib or plotly, got {type(figure).__name__} {figure!r:.80}")


def encode_table(data: Any, columns: Sequence[str] | None, keep: Callable[[Medium], str]) -> Medium:
    """Encode a table as JSON: ``columns``, and ``rows`` of cells; a picture in a cell is stored beside.

    Args:
        data: a pandas or Polars DataFrame, a list of dicts, or rows with ``columns``. Cells are numbers, texts, bools,
            None, or pictures as ``encode_image`` takes them but paths; anything else is kept as its ``str``.
        columns: the names of the columns, for rows.
        keep: stores a picture and returns its digest.

    Raises:
        InputError: anything else.
    """
    names, rows = _rows(data, columns)
    if len(rows) > _MOST_ROWS:
        raise InputError(f"table: expected up to {_MOST_ROWS:,} rows, got {len(rows):,}; log it as an artifact")
    cells = [[_cell(value, keep) for value in row] for row in rows]
    content = json.dumps({"columns": names, "rows": cells}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Medium(content.encode("utf-8", "replace"), "json", {"rows": len(cells), "columns": len(names)})


def _rows(data: Any, columns: Sequence[str] | None) -> tuple[list[str], list[list[Any]]]:
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        listed = [_values(data[name]) for name in data.columns]
        return [str(name) for name in data.columns], [list(row) for row in zip(*listed, strict=True)]
    if isinstance(data, Mapping) or not isinstance(data, Iterable) or isinstance(data, str | bytes):
        raise InputError(f"table: expected a DataFrame, dicts or rows, got {type(data).__name__}")
    rows = list(data)
    if columns is None:
        if not rows or not all(isinstance(row, Mapping) for row in rows):
            raise InputError("table: rows that are not dicts need columns=, one name for each cell")
        names = list(dict.fromkeys(str(key) for row in rows for key in row))
        by_name = [{str(key): value for key, value in row.items()} for row in rows]
        return names, [[row.get(name) for name in names] for row in by_name]
    names = [str(name) for name in columns]
    listed = [list(row) for row in rows]
    wrong = next((i for i, row in enumerate(listed) if len(row) != len(names)), None)
    if wrong is not None:
        raise InputError(f"table: row {wrong} has {len(listed[wrong])} cells for {len(names)} columns")
    return names, listed


def _values(column: Any) -> list[Any]:
    values = list(column.to_list())
    if not hasattr(column, "isna") or column.dtype.kind == "f":  # there NaN is a value
        return values
    return [None if gone else value for value, gone in zip(values, column.isna().to_list(), strict=True)]


def _cell(value: Any, keep: Callable[[Medium], str]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if hasattr(value, "convert") or hasattr(value, "savefig") or getattr(value, "ndim", 0) in (2, 3):
        medium = encode_image(value)
        return {"image": keep(medium), "suffix": medium.suffix, **medium.about}
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"number": str(value)}
    return str(value)


def _array(data: Any, what: str) -> Any:
    import numpy as np

    if hasattr(data, "detach"):  # a torch tensor, on whatever device
        data = data.detach().cpu()
        if str(data.dtype) == "torch.bfloat16":
            data = data.float()
    try:
        array = np.asarray(data)
    except Exception as error:  # whatever a library of arrays raises
        raise InputError(f"{what}: {type(data).__name__} cannot be made an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what}: expected numbers, got {type(data).__name__} of {array.dtype}")
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _picture(data: Any, what: str) -> Any:
    import numpy as np
    from PIL import Image

    array = _array(data, what)
    shape = array.shape
    if array.ndim == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"{what}: expected shape (height, width[, 1, 3 or 4]) or (1, 3 or 4, height, width), got {shape}"
        )
    if array.dtype.kind == "f":
        array = np.round(np.clip(np.nan_to_num(array, nan=0.0), 0, 1) * 255)
    elif array.dtype == bool:
        array = array * 255
    elif array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if low < 0 or high > 255:
            raise InputError(f"{what}: expected whole numbers from 0 to 255, got {low} to {high} ({array.dtype})")
    return Image.fromarray(np.ascontiguousarray(array.astype(np.uint8)))


def _file(path: str | os.PathLike[str], suffixes: Sequence[str], wanted: str) -> tuple[bytes, str]:
    """Return a file's content, and what kind it is by its first bytes, whatever its name says."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    found = next((suffix for suffix, fits in _SIGNATURES if fits(content[:16])), "")
    if found not in suffixes:
        raise InputError(f"{os.fspath(path)!r}: expected {wanted}, and its first bytes are not those of one")
    return content, found
