"""Points for charts: metrics of many experiments in one binary answer, and groups of them as bands."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from frameworm.experiment.errors import DamageError, ExperimentNotFoundError, InputError, StoreError
from frameworm.experiment.server.delivery import POINTS
from frameworm.experiment.server.parameters import few, groups_in, ids_in
from frameworm.experiment.server.store import Opened, Store

if TYPE_CHECKING:
    from frameworm.experiment.query.panels import Line

router = APIRouter(tags=["points"])

_MAGIC = b"FWP2"
_VERSION = 3
"""Of what is answered: count up where the same record is to give other bytes, so that no client keeps the old ones."""
_MOST_METRICS = 20
_BINARY = {200: {"content": {POINTS: {}}, "description": "series of points"}, 304: {"description": "not changed"}}

Ids = Annotated[str, Query(description="ids or uids, separated by commas, or a JSON list")]
Metric = Annotated[str, Query(min_length=1, description="its name; `loss@val` is short for a context")]
Metrics = Annotated[list[Annotated[str, Field(min_length=1)]], Query(description="as for `/bands`; may be repeated")]
Context = Annotated[str, Query(description="train, val, …; empty: the default one; `*`: all")]
Buckets = Annotated[int, Query(ge=2, le=20_000, description="at most so many points a series")]
X = Annotated[str, Query(description="step, epoch, relative, time, or metric: and the name of one")]
Low = Annotated[str, Query(alias="from", description="smallest x; empty for no bound")]
High = Annotated[str, Query(alias="to", description="largest x; empty for no bound")]


@router.get("/points", response_class=Response, responses=_BINARY)  # type: ignore[arg-type]
def points(
    request: Request,
    store: Opened,
    metric: Metrics,
    ids: Ids,
    context: Context = "",
    n: Buckets = 800,
    x: X = "step",
    from_: Low = "",
    to: High = "",
    times: Annotated[bool, Query(description="`time_ms` as well")] = False,
) -> Response:
    """Return metrics of many experiments, each series in at most `n` buckets along x.

    At most 20 metrics may be asked for at once, which takes less time than one by one: each experiment is looked at
    once.

    A bucket stands for a run of points; its `min` and `max` leave none out, so that what is drawn from them is true at
    any zoom. Where there are no more than `n` points, each is a bucket (`exact`). A long series may come in as few as
    n / 3 buckets. The same record gives the same bytes.

    **x** is `step`; `epoch` (a bucket an epoch or several; points without one are left out); `relative`, seconds since
    the experiment (of a fork, its first ancestor) started; `time`, Unix ms; or `metric:<name>`, the value of that one
    at the same step. x ascends, whatever order the points arrived in, unless it is a metric that goes to and fro: then
    the series is a `path`, points in the order of steps, at most `n` of those that were logged, among them the
    outermost of every run of points. Steps past 2^53 are no float64: they are rounded to the nearest, and the header
    says so (`rounded`); `from` and `to` count exactly.

    **The body** is `FWP2`, the length of the header (uint32 LE, such that arrays begin at a multiple of 8), the header
    (JSON), then arrays of float64 LE, each as long as its series has buckets, n. A series has its own, one behind the
    other: `min`, `max`, `last` (value of the bucket's last point) and, with `times`, `time_ms` (of that point); and
    `x`, which it may share with others: experiments of one program log at the same steps. A bucket of NaN alone has
    NaN for min and max. The header:

    - `series`: `{id, metric, context, n, count, exact, rounded, path, x_offset, offset}` each, `metric` being the name
      asked for, `count` the points it stands for, `x_offset` the bytes from the end of the header to its `x`, and
      `offset` those to the first of its own arrays;
    - `x`, `metrics`: as asked;
    - `missing`: the ids that have no such series, or are no experiments;
    - `damaged`: `{id: message}` of what cannot be read.

    `from` and `to` bound x; buckets at the ends may reach past them. What lies beyond is left out: draw it over what
    was there before. An ETag is made of how much of each file has been read, before any point is: asking again for
    what has not changed costs next to nothing. The header `Frameworm-Version` tells as of which version of the catalog
    it is, for who does not follow `/events` yet; empty if there is no catalog.
    """
    if len(metrics := list(dict.fromkeys(metric))) > _MOST_METRICS:
        raise InputError(f"{len(metrics):,} metrics are asked for at once; at most {_MOST_METRICS} are allowed")
    asked = _Asked(ids_in(ids), metrics, context, n, x, from_, to, ("times",) * times)
    version = store.version()
    if (known := _known(request, store, asked)) is not None:
        return _as_of(version, known)
    found = _gather(store, asked)
    series = [
        {"id": one, "metric": name, "context": line.context, "n": len(line.x), "count": line.count, "exact": line.exact}
        | ({"rounded": True} if line.rounded else {})
        | ({"path": True} if line.path else {})
        for one, name, line in found.lines
    ]
    arrays = [
        (line.x, line.low, line.high, line.last, *((line.times_ms,) if times else ())) for _, _, line in found.lines
    ]
    return _as_of(version, _answer(store, asked, found, series, arrays))


@router.get("/bands", response_class=Response, responses=_BINARY)  # type: ignore[arg-type]
def bands(
    request: Request,
    store: Opened,
    metric: Metric,
    groups: Annotated[str, Query(description='JSON: `[["exp_001", "exp_002"], ["exp_003"]]`')],
    context: Annotated[str, Query(description="train, val, …; empty: the default one")] = "",
    n: Buckets = 400,
    x: X = "step",
    from_: Low = "",
    to: High = "",
    error: Annotated[Literal["std", "sem", "ci"], Query(description="what the band shows")] = "std",
) -> Response:
    """Return the mean of a metric over each group of experiments, and a band around it.

    The band is mean ± standard deviation (`std`, n - 1), ± standard error (`sem`, std / √n), or Student's interval of
    the mean at 95 % (`ci`; it takes the values for normal). It is NaN where less than two members have a value. Where
    all members have points at the same x, the values there are taken as they are; else they are interpolated, never
    beyond a member's ends. NaN and infinities are no values.

    The body is laid out as that of `/points`; a series' own arrays are `low`, `high`, `mean` and `members` (how many
    have a value there). In the header a series is `{group, n, members, exact, ids, x_offset, offset}`, `group` being
    its position in `groups`, `members` how many have the metric, `exact` that every x of theirs is there, and `ids`
    theirs. `from` and `to` are as for `/points`; close to them some members may not count.
    """
    from frameworm.experiment.query.panels import band_of

    chosen = groups_in(groups)
    every = few(one for group in chosen for one in group)
    asked = _Asked(every, [metric], context, n, x, from_, to, (error, groups))
    version = store.version()
    if (known := _known(request, store, asked)) is not None:
        return _as_of(version, known)
    found = _gather(store, asked, paths=False)
    lines = {one: line for one, _, line in reversed(found.lines)}  # the first context of each
    series, arrays = [], []
    for number, group in enumerate(chosen):
        members = [one for one in dict.fromkeys(group) if one in lines]
        if members:
            band = band_of([lines[one] for one in members], n, error)
            exact = len(band.x) < n and all(lines[one].exact for one in members)
            about = {"group": number, "n": len(band.x), "members": len(members), "exact": exact, "ids": members}
            series.append(about)
            arrays.append(tuple(band))
    return _as_of(version, _answer(store, asked, found, series, arrays))


# ------------------------------------------------------------------------------------------ what is asked


class _Asked(NamedTuple):
    """What lines a request is about."""

    ids: list[str]
    metrics: list[str]
    context: str
    buckets: int
    x: str
    low: str
    high: str
    also: tuple[str, ...] = ()


class _Found(NamedTuple):
    """What there is of it: id, metric and line of each, and what tells how much of each experiment was read."""

    lines: list[tuple[str, str, Line]]
    missing: list[str]
    damaged: dict[str, str]
    marks: list[object]


def _gather(store: Store, asked: _Asked, *, paths: bool = True) -> _Found:
    """Read the lines."""
    from frameworm.experiment.query.panels import Axis, Drawn, find_series, lines_of, read_at_once, read_series

    axis = Axis.parse(asked.x)
    bounds = _bound(asked.low, "from", -math.inf), _bound(asked.high, "to", math.inf)
    found = _Found([], [], {}, [])
    whose: list[tuple[str, str]] = []
    drawn: list[Drawn] = []
    located = store.locate(asked.ids)
    for one in asked.ids:
        before = len(drawn)
        try:
            with store.reading(one, located) as reader:
                found.marks.append((one, reader.mark))
                keys = {metric: find_series(reader, metric, asked.context) for metric in asked.metrics}
                every = [key for some in keys.values() for key in some]
                at_once = read_at_once(reader, every, axis, asked.buckets, bounds)
                for metric, mine in keys.items():
                    try:
                        some = [
                            at_once.get(key) or read_series(reader, key, axis, asked.buckets, bounds, paths=paths)
                            for key in mine
                        ]
                    except DamageError as error:  # its other metrics may be whole
                        found.damaged[one] = str(error)
                        continue
                    drawn += some
                    whose += [(one, metric)] * len(some)
        except ExperimentNotFoundError:
            found.marks.append((one, None))
        except (DamageError, StoreError) as error:
            found.damaged[one] = str(error)
        if len(drawn) == before and one not in found.damaged:
            found.missing.append(one)
    found.lines.extend((*who, line) for who, line in zip(whose, lines_of(drawn, axis, asked.buckets), strict=True))
    return found


def _bound(text: str, name: str, otherwise: float) -> float:
    """Return a bound of x: an int where it is one, so that steps past 2^53 are exact.

    Raises:
        InputError: it is no number.
    """
    if not text:
        return otherwise
    try:
        bound = int(text) if text.removeprefix("-").isdecimal() and len(text) < 25 else float(text)
    except ValueError:
        bound = math.nan
    if not math.isnan(bound):
        return bound
    raise InputError(f"{name} is {text!r:.80}; it is a number, or empty for no bound")


# ------------------------------------------------------------------------------------------ the wire


def encode(header: dict[str, Any], series: list[dict[str, Any]], arrays: Sequence[Sequence[Any]]) -> bytes:
    """Return the body of an answer.

    Args:
        header: of it, without the series.
        series: what the header says of each; ``n`` must be there, ``x_offset`` and ``offset`` are added.
        arrays: x, float64, and other arrays of length n of each series, of any kind of number.
    """
    import numpy as np

    flat = []
    places: dict[bytes, int] = {}
    at = 0
    for told, (x, *own) in zip(series, arrays, strict=True):
        key = x.tobytes()
        if key not in places:
            places[key] = at
            flat.append(x)
            at += len(key)
        told["x_offset"], told["offset"] = places[key], at
        flat += own
        at += 8 * len(x) * len(own)
    head = json.dumps({"series": series, **header}, ensure_ascii=False, separators=(",", ":")).encode(
        errors="backslashreplace"
    )
    head += b" " * (-len(head) % 8)
    numbers = np.concatenate([np.empty(0), *flat], dtype="<f8", casting="unsafe")
    return b"".join((_MAGIC, len(head).to_bytes(4, "little"), head, numbers.data))


def _answer(
    store: Store, asked: _Asked, found: _Found, series: list[dict[str, Any]], arrays: Sequence[Sequence[Any]]
) -> Response:
    header: dict[str, Any] = {"x": asked.x, "metrics": asked.metrics, "missing": found.missing}
    if found.damaged:
        header["damaged"] = found.damaged
    body, tag = encode(header, series, arrays), _tag(asked, found.marks)
    if not found.damaged:
        store.answers.keep(repr(asked), tag, body)
    store.charts_out()
    return Response(body, media_type=POINTS, headers=_headers(tag))


# ------------------------------------------------------------------------------------------ asked once more


def _known(request: Request, store: Store, asked: _Asked) -> Response | None:
    """Return the answer that the client has already, or the server; nothing is read for it but what was appended."""
    theirs = request.headers.get("if-none-match", "")
    ours = store.answers.get(repr(asked))
    if not theirs and ours is None:
        return None
    marks: list[object] = []
    located = store.locate(asked.ids)
    for one in asked.ids:
        try:
            with store.reading(one, located) as reader:
                marks.append((one, reader.mark))
        except ExperimentNotFoundError:
            marks.append((one, None))
        except (DamageError, StoreError):
            return None
    tag = _tag(asked, marks)
    if tag in theirs:
        return Response(status_code=304, headers=_headers(tag))
    if ours is not None and ours[0] == tag:
        return Response(ours[1], media_type=POINTS, headers=_headers(tag))
    return None


def _tag(asked: _Asked, marks: list[object]) -> str:
    text = repr((_VERSION, asked, marks))
    return f'W/"{hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=12).hexdigest()}"'


def _headers(tag: str) -> dict[str, str]:
    return {"ETag": tag, "Cache-Control": "no-cache"}


def _as_of(version: str, answer: Response) -> Response:
    answer.headers["Frameworm-Version"] = version
    return answer
