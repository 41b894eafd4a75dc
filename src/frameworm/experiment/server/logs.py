"""The console log of an experiment, a window at a time: of 100 MB only what is looked at is read."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query

from frameworm.experiment.errors import InputError
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.opened import open_below
from frameworm.experiment.server.parameters import Integer, Natural
from frameworm.experiment.server.store import Opened
from frameworm.experiment.storage.folder import LOGS

router = APIRouter(tags=["one experiment"])

CONSOLE = f"{LOGS}/console.log"

_WINDOW = 256 << 10
_LARGEST_WINDOW = 4 << 20
_PIECE = 4 << 20
_SEARCHED = 256 << 20
_SHOWN = 400
"""Bytes of a line that are shown of a match, to each side of it."""


@router.get("/experiments/{id}/console")
def console(
    id: str,
    store: Opened,
    from_: Annotated[Integer, Query(alias="from", description="byte; negative: so many before the end")] = 0,
    limit: Annotated[int, Query(ge=1, le=_LARGEST_WINDOW, description="bytes")] = _WINDOW,
) -> Json:
    """Return a part of what the experiment printed: `{from, to, size, text, begins, live}`.

    The part ends behind the last line that ends within `limit` bytes; a line that is longer than that comes in parts.
    `from` and `to` of the answer are bytes of the file, `size` is all of it: go on from `to`. `begins` says that a line
    begins at `from`. `from=-65536` is the end, from the beginning of a line. Text is UTF-8, with U+FFFD for what is
    not; ANSI codes are left in. `live` says that more may come.
    """
    with store.reading(id) as reader:
        folder, live = reader.exp_dir, reader.info.status in ("pending", "running")
    found = read_window(folder, from_, limit)
    return Json(
        {
            "from": found.start,
            "to": found.stop,
            "size": found.size,
            "text": found.data.decode(errors="replace"),
            "begins": found.begins,
            "live": live,
        }
    )


@router.get("/experiments/{id}/console/search")
def search_console(
    id: str,
    store: Opened,
    q: Annotated[str, Query(min_length=1, max_length=1000, description="text, not a pattern")],
    from_: Annotated[Natural, Query(alias="from", description="byte to begin at")] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000, description="matches")] = 200,
    case: Annotated[bool, Query(description="whether `A` is not `a`")] = False,
) -> Json:
    """Return the lines that hold a text: `{matches: [{byte, line, text}], more, next}`.

    `byte` is where the line begins in the file, `line` its number from 1, `text` the line, cut around the match if it
    is long. Colours between letters do not hide a match. Letters beyond ASCII have to be of the same case. `more` says
    that there is more to search, from byte `next`: at most 256 MB are searched at once.
    """
    with store.reading(id) as reader:
        folder = reader.exp_dir
    return Json(search(folder, q, from_, limit, case=case))


class Window(NamedTuple):
    """Bytes ``start`` to ``stop`` of a file of so many bytes; ``begins`` says that a line does at ``start``."""

    start: int
    stop: int
    size: int
    begins: bool
    data: bytes


def read_window(folder: Path, start: int, limit: int) -> Window:
    """Return whole lines of an experiment's console, or a part of a line that is longer than the limit."""
    file = open_below(folder, CONSOLE)
    if file is None:
        return Window(0, 0, 0, True, b"")
    with file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        tail = start < 0
        start = min(max(0, size + start) if tail else start, size)
        begins = start == 0 or _pread(descriptor, 1, start - 1) == b"\n"
        data = _pread(descriptor, limit, start)
        if tail and not begins and 0 < (line := data.find(b"\n") + 1) < len(data):
            data, start, begins = data[line:], start + line, True
        if start + len(data) < size:
            data = _whole_lines(data)
        return Window(start, start + len(data), size, begins, data)


def _whole_lines(data: bytes) -> bytes:
    """Return what ends with the last line, or, of a part of a single line, with its last whole character."""
    if end := data.rfind(b"\n") + 1:
        return data[:end]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    return data[: len(data) - len(decoder.getstate()[0])] or data


def search(folder: Path, text: str, start: int, limit: int, *, case: bool = False) -> dict[str, Any]:
    """Return the lines of an experiment's console that hold a text, from byte ``start`` on, as the endpoint tells them.

    Raises:
        InputError: the text holds a line break.
    """
    if "\n" in text:
        raise InputError("a line break is in no line; search for one line's text at a time")
    fold = bytes if case else bytes.lower  # of 100 MB 0.1 s; the flag for any case takes five times that
    letters = [re.escape(fold(one.encode(errors="surrogateescape"))) for one in text]
    plain = re.compile(b"".join(letters))
    coloured = re.compile(rb"(?:\x1b\[[0-9;]*m)*".join(letters))  # a colour may begin or end between any two
    matches: list[dict[str, Any]] = []
    file = open_below(folder, CONSOLE)
    if file is None:
        return {"matches": matches, "more": False, "next": 0}
    with file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        at, line = 0, 1
        while at < start:  # lines are numbered from the beginning
            piece = _pread(descriptor, min(_PIECE, start - at), at)
            if not piece:
                break
            at, line = at + len(piece), line + piece.count(b"\n")
        stop = at + _SEARCHED
        while at < min(size, stop):
            data = _pread(descriptor, _PIECE, at)
            if not data:
                break
            if at + len(data) < size:
                data = _whole_lines(data)
            pattern = coloured if b"\x1b" in data else plain
            counted = 0
            next_line = 0
            for match in pattern.finditer(fold(data)):
                if match.start() < next_line:
                    continue  # once a line
                begin = data.rfind(b"\n", 0, match.start()) + 1
                end = data.find(b"\n", match.start())
                end = len(data) if end < 0 else end
                line += data.count(b"\n", counted, begin)
                counted = begin
                if len(matches) == limit:
                    return {"matches": matches, "more": True, "next": at + begin}
                shown = data[max(begin, match.start() - _SHOWN) : min(end, match.end() + _SHOWN)]
                matches.append({"byte": at + begin, "line": line, "text": shown.decode(errors="replace")})
                next_line = end + 1
            line += data.count(b"\n", counted)
            at += len(data)
        return {"matches": matches, "more": at < size, "next": at}


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    return os.pread(descriptor, size, offset) if size > 0 else b""
