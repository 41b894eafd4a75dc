"""Encoding of media: arrays, pictures, sounds and figures become bytes that any browser shows and none runs."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frameworm.experiment.errors import InputError
from frameworm.experiment.foreign import describe
from frameworm.experiment.recording.arrays import array_of, real, whole

__all__ = ["Medium", "encode_audio", "encode_figure", "encode_image", "encode_text", "encode_video"]

_OUTSIDE = 1.01
"""Floats up to here are taken as 1: resampling and compression go a little too far."""
_DARKEST = 1 / 510
"""Below this, a float is black."""
_CHANNELS = (1, 2, 3, 4)
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_MOST_CHANNELS = 32
_LARGEST_WEBP = 16_383
"""Pixels to a side; a larger film is an animated PNG."""
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
        doubt: why it may not be what was meant, a sentence's end; empty if nothing speaks for that.
    """

    content: bytes
    suffix: str
    about: dict[str, Any]
    doubt: str = ""


def encode_image(data: Any) -> Medium:
    """Encode a picture as PNG; a file that is one already is taken as it is.

    Args:
        data: array or tensor (height, width), (height, width, channels) or (channels, height, width) with 1 to 4
            channels (2: grey and alpha), also as a batch of one: uint8, bool, whole numbers from 0 to 255, or floats
            from 0 to 1, where what lies outside is clipped and NaN is black; a PIL image; a matplotlib figure; or the
            path of a PNG, JPEG, GIF or WebP file.

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
    picture, doubt = _picture(data, "image")
    with io.BytesIO() as file:
        _save(picture, file, "image", "PNG", compress_level=1)
        return Medium(file.getvalue(), "png", {"width": picture.width, "height": picture.height}, doubt)


def encode_video(data: Any, fps: Any) -> Medium:
    """Encode frames as an animated WebP, or PNG where that is too small; a file is taken as it is.

    Args:
        data: array or tensor (frames, height, width[, channels]) or (frames, channels, height, width), also as a batch
            of one; a sequence of what ``encode_image`` takes; or the path of an MP4, WebM, GIF or WebP file.
        fps: frames a second.

    Raises:
        InputError: anything else.
    """
    if isinstance(data, str | os.PathLike):
        content, suffix = _file(data, _FILMS, "an MP4, WebM, GIF or WebP file")
        return Medium(content, suffix, {})
    rate = real(fps, "fps", "a number above 0, up to 1000", 0, 1000)
    if getattr(data, "ndim", 0) == 5 and len(data) == 1:
        data = data[0]
    try:
        pictures = [_picture(frame, "video frame") for frame in data]
    except TypeError:
        raise InputError(f"video: expected frames or a path, got {type(data).__name__}") from None
    frames = [picture for picture, _ in pictures]
    sizes = {frame.size for frame in frames}
    if not frames or len(sizes) > 1:
        raise InputError(f"video: expected frames of one size, got {len(frames)} of {len(sizes)} sizes")
    kind, suffix = ("PNG", "png") if max(frames[0].size) > _LARGEST_WEBP else ("WEBP", "webp")
    with io.BytesIO() as file:
        first, *others = [frame.convert("RGB") for frame in frames]
        film: dict[str, Any] = {"save_all": True, "append_images": others, "loop": 0}
        quickly = {"compress_level": 1} if kind == "PNG" else {"method": 0}
        _save(first, file, "video", kind, **film, **quickly, duration=max(1, round(1000 / rate)))
        about = {"width": first.width, "height": first.height, "frames": len(frames), "fps": rate}
        return Medium(file.getvalue(), suffix, about, next((doubt for _, doubt in pictures if doubt), ""))


def encode_audio(data: Any, sample_rate: Any) -> Medium:
    """Encode sound as a 16-bit WAV; a file is taken as it is.

    Args:
        data: array or tensor (samples,), (samples, channels) or (channels, samples), of which the longer one is the
            samples, also as a batch of one: int16, or floats from -1 to 1, where what lies outside is clipped and NaN
            is silence; or the path of a WAV, MP3, Ogg or FLAC file.
        sample_rate: samples a second; for a file not needed.

    Raises:
        InputError: anything else.
    """
    if isinstance(data, str | os.PathLike):
        content, suffix = _file(data, _SOUNDS, "a WAV, MP3, Ogg or FLAC file")
        return Medium(content, suffix, {})
    import numpy as np

    rate = whole(sample_rate, "sample_rate", "samples a second, 1 to 1,000,000", 1, 1_000_000)
    given = samples = array_of(data, "audio")
    if samples.ndim == 3 and len(samples) == 1:
        samples = samples[0]
    if samples.ndim == 1:
        samples = samples[:, None]
    elif samples.ndim == 2 and (samples.shape[0] == 1 or samples.shape[0] <= _MOST_CHANNELS < samples.shape[1]):
        samples = samples.T
    if samples.ndim != 2 or not 1 <= samples.shape[1] <= _MOST_CHANNELS:
        raise InputError(
            f"audio: expected shape (samples,), (samples, channels) or (channels, samples) with up to "
            f"{_MOST_CHANNELS} channels, got {given.shape}"
        )
    doubt = ""
    if samples.dtype.kind == "f":
        peak = float(np.max(np.abs(samples), initial=0, where=~np.isnan(samples)))
        if peak > _OUTSIDE:
            doubt = f"floats beyond ±1 are clipped, and these go to ±{peak:g}; divide them by their greatest"
        samples = np.round(np.clip(np.nan_to_num(samples, nan=0.0), -1, 1) * 32_767).astype("<i2")
    elif samples.dtype != np.int16:
        raise InputError(f"audio: expected int16, or floats from -1 to 1, got {samples.dtype}")
    with io.BytesIO() as file:
        with wave.open(file, "wb") as out:
            out.setnchannels(samples.shape[1])
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(np.ascontiguousarray(samples.astype("<i2")).tobytes())
        about = {"sample_rate": rate, "channels": samples.shape[1], "duration_s": len(samples) / rate}
        return Medium(file.getvalue(), "wav", about, doubt)


def encode_text(text: Any) -> Medium:
    """Encode a text.

    Raises:
        InputError: not a str, or with lone surrogates.
    """
    if not isinstance(text, str):
        raise InputError(f"text: expected a str, got {type(text).__name__} {describe(text)}")
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
    raise InputError(f"figure: expected one of matplotlib or plotly, got {type(figure).__name__} {describe(figure)}")


def _picture(data: Any, what: str) -> tuple[Any, str]:
    """Return data as a PIL image that PNG can hold, and why that may not be what was meant."""
    import numpy as np
    from PIL import Image

    if isinstance(data, Image.Image):
        if data.mode in ("F", "I"):
            data = np.asarray(data)  # the same numbers, so the same picture
        elif data.mode in _MODES:
            return data, ""
        else:
            try:
                return data.convert({"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(data.mode, "RGB")), ""
            except (ValueError, OSError) as error:
                raise InputError(f"{what}: PIL image of mode {data.mode}: {error}; convert it to RGB") from error
    array = array_of(data, what)
    shape = array.shape
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 3:
        # Two channels are rare: a side of length 2 is taken for them only if no other can be the channels.
        axis = next((axis for among in ((1, 3, 4), (2,)) for axis in (2, 0) if array.shape[axis] in among), 2)
        array = np.moveaxis(array, axis, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)):
        raise InputError(
            f"{what}: expected shape (height, width[, 1 to 4]) or (1 to 4, height, width), got {shape}"
            + ("; log each of them, or a grid" if len(shape) == 4 else "")
        )
    doubt = ""
    if array.dtype.kind == "f":
        doubt = _outside(array)
        array = np.round(np.clip(np.nan_to_num(array, nan=0.0), 0, 1) * 255)
    elif array.dtype == bool:
        array = array * 255
    elif array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if low < 0 or high > 255:
            raise InputError(
                f"{what}: expected whole numbers from 0 to 255, or floats from 0 to 1, got {low} to {high} "
                f"({array.dtype})"
            )
    return Image.fromarray(np.ascontiguousarray(array.astype(np.uint8))), doubt


def _outside(array: Any) -> str:
    """Return why floats may not be meant as a picture from 0 to 1; empty if nothing speaks for that."""
    import numpy as np

    known = array[~np.isnan(array)]
    if not known.size:
        return ""
    low, high = float(known.min()), float(known.max())
    if low < 1 - _OUTSIDE or high > _OUTSIDE:
        return f"floats are clipped to 0 … 1, and these go from {low:g} to {high:g}; scale them first"
    if 0 < high < _DARKEST:
        return f"floats go from 0, black, to 1, and these to {high:g} at most; scale them first"
    return ""


def _save(picture: Any, file: io.BytesIO, what: str, kind: str, **options: Any) -> None:
    try:
        picture.save(file, kind, **options)
    except (ValueError, OSError, SystemError, MemoryError) as error:  # what Pillow raises for what it cannot write
        raise InputError(f"{what} of {picture.width} × {picture.height} ({picture.mode}): {error}") from error


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
