"""The bytes of a segment file, format 1: numbers, structs and limits. ``docs/formats/segment.md`` draws them.

header      16 bytes: magic, version
columns     one behind the other, each with its own encoding and checksum
text        names of sources, contexts and series (zlib)
events      JSON lines (zlib)
directory   24 bytes a column: where it lies, what it holds
footer      120 bytes: counts, and where text, events and directory lie
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from frameworm.experiment.storage.codec import checksum

__all__ = [
    "BLOCK",
    "DIRECTORY_ENTRY",
    "FOOTER_SIZE",
    "GROUP_LONG",
    "HEADER_SIZE",
    "LONG",
    "OUTLINE",
    "VERSION",
    "WINDOW",
    "Footer",
    "LayoutError",
    "Section",
    "Stream",
    "pack_header",
    "parse_header",
]

VERSION: Final = 1

BLOCK: Final = 65_536
"""A column holds 1 to so many numbers; this bounds what one damaged or forged column can cost."""

LONG: Final = 4_096
"""A series of at least so many points has blocks of its own, stored statistics and an overview."""

GROUP_LONG: Final = 2
"""The group of long series; 0: short, float32 alone; 1: short, others. Series lie by group, then by number."""

WINDOW: Final = 256
"""An overview has one entry for so many points of a long series; the last may cover fewer."""

OUTLINE: Final = 4_096
"""An outline, the coarser overview, has one entry for so many points, a multiple of WINDOW."""

_MAGIC: Final = b"\x93FWS\r\n\x1a\n"  # not text, and shows a transfer that changed line ends
_END_MAGIC: Final = b"FWSEGEND"
_HEADER: Final = struct.Struct("<8sI")
_SECTION: Final = struct.Struct("<QQQI")
_FOOTER: Final = struct.Struct("<Q4I")
_CRC: Final = struct.Struct("<I")
HEADER_SIZE: Final = _HEADER.size + _CRC.size
FOOTER_SIZE: Final = _FOOTER.size + 3 * _SECTION.size + _CRC.size + len(_END_MAGIC)

DIRECTORY_ENTRY: Final = np.dtype(
    [
        ("offset", "<u8"),
        ("length", "<u4"),
        ("count", "<u4"),
        ("crc", "<u4"),
        ("stream", "u1"),
        ("encoding", "u1"),
        ("reserved", "<u2"),
    ]
)


class Stream(IntEnum):
    """A run of numbers of one type, cut into columns; numbers are never reused.

    Below, series are counted as in the text section, ``m`` of them are long, ``w`` windows and ``o``
    entries of outlines cover these.
    """

    COUNT = 0
    CONTEXT = 1
    GROUP = 2
    TIMELINE = 3
    STATISTICS_FLOAT = 4
    STATISTICS_INT = 5
    OVERVIEW_FLOAT = 6
    OVERVIEW_INT = 7
    STEP = 8
    EPOCH = 9
    TIME = 10
    VALUE = 11
    OVERVIEW_NAN = 12
    OVERVIEW_STEPS = 13
    OUTLINE_FLOAT = 14
    OUTLINE_INT = 15

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of its numbers."""
        return _STREAM_TYPES[self]


_STREAM_TYPES: Final = tuple(map(np.dtype, "u4 u4 u4 u4 f8 i8 f8 i8 i8 i4 i8 f8 u4 i8 f8 i8".split()))


class LayoutError(ValueError):
    """Header or footer are not those of a segment.

    Attributes:
        at_end: whether the footer is meant.
    """

    def __init__(self, what: str, at_end: bool = False) -> None:
        super().__init__(what)
        self.at_end = at_end


class Section(NamedTuple):
    """Where a section lies.

    Attributes:
        offset: of its first byte in the file.
        length: bytes in the file.
        size: bytes once decompressed; ``length`` for the directory.
        crc: checksum of the bytes in the file.
    """

    offset: int
    length: int
    size: int
    crc: int


class Footer(NamedTuple):
    """The last bytes of the file."""

    points: int
    series: int
    contexts: int
    sources: int
    columns: int
    text: Section
    events: Section
    directory: Section

    def pack(self) -> bytes:
        """Return its bytes, checksum and closing magic included."""
        body = _FOOTER.pack(*self[:5]) + b"".join(_SECTION.pack(*section) for section in self[5:])
        return body + _CRC.pack(checksum(body)) + _END_MAGIC

    @classmethod
    def parse(cls, data: bytes) -> Footer:
        """Read the last ``FOOTER_SIZE`` bytes of a file.

        Raises:
            LayoutError: they are no footer.
        """
        if not data.endswith(_END_MAGIC):
            tail = data[-len(_END_MAGIC) :]
            raise LayoutError(f"ends with {tail!r}, expected {_END_MAGIC!r}: truncated, or bytes were added", True)
        body_size = FOOTER_SIZE - _CRC.size - len(_END_MAGIC)
        body = data[:body_size]
        _check(body, _CRC.unpack_from(data, body_size)[0], "footer", at_end=True)
        sections = (Section(*_SECTION.unpack_from(body, _FOOTER.size + i * _SECTION.size)) for i in range(3))
        return cls(*_FOOTER.unpack_from(body), *sections)


def pack_header() -> bytes:
    """Return the first bytes of a segment."""
    body = _HEADER.pack(_MAGIC, VERSION)
    return body + _CRC.pack(checksum(body))


def parse_header(data: bytes) -> int:
    """Return the format version in the first ``HEADER_SIZE`` bytes of a file.

    Raises:
        LayoutError: they are not the header of a segment of any version.
    """
    if not data.startswith(_MAGIC):
        raise LayoutError(f"starts with {data[: len(_MAGIC)]!r}, expected {_MAGIC!r}: not a segment")
    body = data[: _HEADER.size]
    _check(body, _CRC.unpack_from(data, _HEADER.size)[0], "header", at_end=False)
    return int(_HEADER.unpack(body)[1])


def _check(body: bytes, expected: int, what: str, *, at_end: bool) -> None:
    actual = checksum(body)
    if actual != expected:
        raise LayoutError(f"{what}: checksum mismatch, expected {expected:#010x}, actual {actual:#010x}", at_end)
