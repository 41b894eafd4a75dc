"""Conditions: one thing of an experiment compared with one value, as an SQL expression over the catalog.

Every condition is either true or false of an experiment, never unknown: a comparison with something the
experiment does not have is false, ``!=`` and ``not in`` included. Users' text only ever becomes a bound value.

Numbers compare as numbers (1 == 1.0) and a bool is not a number; text compares as text, by code point, case
included; lists, bools and None compare by their JSON. NaN equals NaN and has no order.

A comparison that no experiment could ever meet, or that each meets, is refused: its writer meant another one.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import sqlalchemy as sa

from frameworm.experiment.config import dump_json, normalize_config
from frameworm.experiment.errors import ConfigError, QueryError
from frameworm.experiment.foreign import describe
from frameworm.experiment.model import STATUSES
from frameworm.experiment.query.metrics import MetricRef, resolve_metric
from frameworm.experiment.storage.schema import experiments, param_number, params, series, tags

Condition = sa.ColumnElement[bool]

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "contains")
"""What a dict filter may say. A text query can say ``not in`` and ``not contains`` as well."""

MAX_LIST = 10_000
"""Most elements of a list to be ``in``; SQLite binds at most 32,766 values in a statement."""

_EXACT_INT = 2**53
_ORDER = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s+ago\s*\Z", re.ASCII)

_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_FORMS: dict[str, tuple[re.Pattern[str], str]] = {
    "experiment_id": (re.compile(r"exp_\d{3,}\Z"), "an id is written 'exp_007'"),
    "uid": (re.compile(r"[0-9a-f]{32}\Z"), "a uid has 32 hex digits; a part of one is found by 'part' in uid"),
    "git_hash": (_COMMIT, "a commit is written whole; the beginning of one is found by 'part' in git_hash"),
}
"""What fields that are made by us or by git look like: nothing else equals them."""

_DAY = re.compile(r"\s*(?:\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(?:-?\d)?)\s*\Z", re.ASCII)

Kind = Literal["text", "status", "number", "bool", "time"]

FIELDS: dict[str, tuple[sa.Column[Any], Kind]] = {
    "experiment_id": (experiments.c.experiment_id, "text"),
    "uid": (experiments.c.uid, "text"),
    "name": (experiments.c.name, "text"),
    "project": (experiments.c.project, "text"),
    "description": (experiments.c.description, "text"),
    "status": (experiments.c.status, "status"),
    "created_at": (experiments.c.created_ms, "time"),
    "updated_at": (experiments.c.updated_ms, "time"),
    "started_at": (experiments.c.started_ms, "time"),
    "ended_at": (experiments.c.ended_ms, "time"),
    "duration_s": (experiments.c.duration_s, "number"),
    "git_hash": (experiments.c.git_hash, "text"),
    "git_branch": (experiments.c.git_branch, "text"),
    "git_dirty": (experiments.c.git_dirty, "bool"),
    "notes": (experiments.c.notes, "text"),
}


# ------------------------------------------------------------------------------------------ experiments' fields


def field_condition(field: str, op: str, value: object, now_ms: int) -> Condition:
    """Compare a field of ``FIELDS``.

    Raises:
        QueryError: the operator or value does not go with the field.
    """
    column, kind = FIELDS[field]
    if value is None and op in ("==", "!="):
        return column.is_(None) if op == "==" else column.is_not(None)
    if op.endswith("contains"):
        if kind not in ("text", "status"):
            raise QueryError(f"{field} is not text: it contains nothing; compare it with == or <")
        part = text_value(value, f"what {field} contains")
        if not part:
            raise QueryError(f"every {field} contains '': write what it is to contain")
        if kind == "status" and not any(part in status for status in STATUSES):
            raise QueryError(f"{part!r:.80} is in no status; there are {', '.join(STATUSES)}")
        found = _has_substring(column, part)
        return sa.and_(column.is_not(None), _signed(op, found))

    def convert(one: object) -> Any:
        return _field_value(field, kind, one, now_ms)

    if op in _ORDER:
        if kind in ("status", "bool"):
            raise QueryError(f"{field} has no order: compare it with == or !=")
        return sa.and_(column.is_not(None), getattr(column, _ORDER[op])(convert(value)))
    asked = list_value(value) if op.endswith("in") else [value]
    for one in asked:
        _check_form(field, kind, one)
    wanted = [convert(one) for one in asked]
    return sa.and_(column.is_not(None), _signed(op, column.in_(wanted)))


def _check_form(field: str, kind: Kind, value: object) -> None:
    """Refuse a value that the field never has."""
    form = _FORMS.get(field)
    if form is not None and isinstance(value, str) and not form[0].match(value):
        raise QueryError(f"{field} is never {value!r:.80}: {form[1]}")
    if kind == "time" and isinstance(value, str) and (_AGO.match(value) or _DAY.match(value)):
        raise QueryError(f"{field} is a moment, to the millisecond, and {value!r} is hardly ever met: use < or >=")


def _field_value(field: str, kind: Kind, value: object, now_ms: int) -> Any:
    if kind == "text":
        return text_value(value, field)
    if kind == "status":
        if value not in STATUSES:
            raise QueryError(f"{value!r} is not a status; allowed are {', '.join(STATUSES)}")
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise QueryError(f"{field} is True or False, not {value!r}")
        return value
    if kind == "time":
        return time_ms(field, value, now_ms)
    return _real_value(value, field)


def time_ms(field: str, value: object, now_ms: int) -> int:
    """Return a moment as Unix ms: ISO 8601 text (UTC if it names no offset), a datetime, or ``7d ago``."""
    moment = value
    if isinstance(value, str):
        ago = _AGO.match(value)
        if ago:
            return now_ms - round(float(ago[1]) * _SECONDS[ago[2]] * 1000)
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if not isinstance(moment, datetime.datetime):
        raise QueryError(
            f"{field} is a time: compare it with '2026-11-01', '2026-11-01T09:30+01:00' or '7d ago' "
            f"(s, m, h, d, w), not {value!r}"
        )
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return since // datetime.timedelta(milliseconds=1)


def tag_condition(tag: object) -> Condition:
    """Whether an experiment has a tag."""
    wanted = text_value(tag, "a tag")
    if not wanted:
        raise QueryError("a tag is never empty; leave it out")
    return experiments.c.number.in_(sa.select(tags.c.experiment).where(tags.c.tag == wanted))


# ------------------------------------------------------------------------------------------ params


def param_exists(key: object) -> Condition:
    """Whether an experiment's config has this param, or a section of this name."""
    name = text_value(key, "a config key")
    # "/" is the character after ".": the range holds all that starts with "name." and can use the index.
    inside = sa.and_(params.c.key > f"{name}.", params.c.key < f"{name}/")
    return _with_params(sa.or_(params.c.key == name, inside))


def param_condition(key: str, op: str, value: object) -> Condition:
    """Compare a param, named as ``flatten`` names it.

    Raises:
        QueryError: the operator or value makes no sense.
    """
    where = params.c.key == text_value(key, "a config key")
    if op.endswith("contains"):
        return _with_params(where, _signed(op, _param_contains(value)))
    if op in _ORDER:
        plain = _leaf(key, value)
        if isinstance(plain, str):
            return _with_params(where, getattr(params.c.text, _ORDER[op])(plain))
        return _with_params(where, getattr(params.c.number, _ORDER[op])(_real_value(plain, f"config.{key}", op)))
    wanted = [_leaf(key, one) for one in (list_value(value) if op.endswith("in") else [value])]
    return _with_params(where, _signed(op, _param_in(wanted)))


def _leaf(key: str, value: object) -> Any:
    """Return a plain value that a param may have."""
    plain = plain_value(value)
    if isinstance(plain, dict) and plain:
        inner = next(iter(plain))
        raise QueryError(
            f"config.{key} is a section if it holds {inner!r:.40}; compare its params: config.{key}.{inner}"
        )
    return plain


def _with_params(*conditions: Condition) -> Condition:
    return experiments.c.number.in_(sa.select(params.c.experiment).where(*conditions))


def _param_in(wanted: list[Any]) -> Condition:
    """Whether a row of params equals one of these plain values."""
    p = params.c
    texts: list[str] = []
    numbers: list[float] = []
    values: list[str] = []
    large: list[float] = []
    for value in wanted:
        number = param_number(value)
        if isinstance(value, str):
            texts.append(value)
        elif number is None or math.isinf(number):
            values.append(dump_json(value))
        elif abs(number) < _EXACT_INT:
            numbers.append(number)
        else:  # Doubles cannot tell such integers apart (64-bit seeds), so they are compared as written.
            values.append(str(int(value)))
            if int(number) == int(value):
                large.append(number)
    terms: list[Condition] = [sa.false()]
    terms += [column.in_(found) for column, found in ((p.text, texts), (p.number, numbers), (p.value, values)) if found]
    if large:
        written_as_float = sa.or_(_has_substring(p.value, "e"), _has_substring(p.value, "."))
        terms.append(sa.and_(p.number.in_(large), written_as_float))
    return sa.or_(*terms)


def _param_contains(value: object) -> Condition:
    """Whether a row of params is text with this substring, or a list with this element."""
    plain = plain_value(value)
    element = sa.func.json_each(params.c.value).table_valued("value", "type", name="element")
    number = param_number(plain)
    if isinstance(plain, str):
        same = sa.and_(element.c.type == "text", element.c.value == plain)
    elif number is not None and math.isfinite(number):
        same = sa.and_(element.c.type.in_(("integer", "real")), sa.cast(element.c.value, sa.Double) == number)
    elif plain is None or isinstance(plain, bool):
        same = element.c.type == dump_json(plain)
    else:
        same = sa.and_(element.c.type.in_(("array", "object")), element.c.value == sa.func.json(dump_json(plain)))
    is_list = sa.func.substr(params.c.value, 1, 1) == "["
    in_list = sa.and_(is_list, sa.exists(sa.select(sa.literal(1)).select_from(element).where(same)))
    if isinstance(plain, str):
        return sa.or_(_has_substring(params.c.text, plain), in_list)
    return in_list


# ------------------------------------------------------------------------------------------ metrics


def metric_exists(name: object, has_metric: Callable[[str], bool]) -> Condition:
    """Whether an experiment has a metric of this name, in any context or the one given as ``name@context``."""
    metric = resolve_metric(text_value(name, "a metric's name"), has_metric)
    conditions = [series.c.name == metric.name]
    if metric.context is not None:
        conditions.append(series.c.context == metric.context)
    return experiments.c.number.in_(sa.select(series.c.experiment).where(*conditions))


def metric_condition(metric: MetricRef, op: str, value: object) -> Condition:
    """Compare one summary value of a metric.

    Raises:
        QueryError: the operator or value makes no sense.
    """
    column = series.c[metric.summary]
    if not metric.name:
        raise QueryError("a metric's name is never empty; write for example metrics.val_loss")
    if op.endswith("contains"):
        raise QueryError(f"metric {metric.name!r} is a number: it contains nothing; compare it with == or <")
    if op in _ORDER:
        found: Condition = getattr(column, _ORDER[op])(_real_value(value, f"metric {metric.name!r}", op))
    else:
        values = list_value(value) if op.endswith("in") else [value]
        wanted = [_real_value(one, f"metric {metric.name!r}") for one in values]
        found = column.in_([one for one in wanted if not math.isnan(one)])
        if any(math.isnan(one) for one in wanted):
            found = sa.or_(found, column.is_(None))
        found = _signed(op, found)
    conditions = [series.c.name == text_value(metric.name, "a metric's name"), found]
    conditions.append(
        series.c.is_default == sa.true() if metric.context is None else series.c.context == metric.context
    )
    return experiments.c.number.in_(sa.select(series.c.experiment).where(*conditions))


# ------------------------------------------------------------------------------------------ values


def plain_value(value: object) -> Any:
    """Return a value as a config would hold it (NumPy's and torch's scalars, paths, enums made plain)."""
    try:
        record = normalize_config({"value": value})
    except ConfigError as exc:
        raise QueryError(f"{type(value).__name__} cannot be compared with a config's values: {exc}") from exc
    if record.lossy:
        raise QueryError(
            f"{describe(value):.80} cannot be compared with a config's values: allowed are numbers, text, bools, None "
            "and lists of them"
        )
    return record.config["value"]


def text_value(value: object, what: str) -> str:
    """Return the value if it is text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise QueryError(f"{what} is text, not {value!r:.80}: put it in quotes")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise QueryError(f"{what}: {value!r:.80} holds half a surrogate pair, which nothing stored does") from exc
    return value


def list_value(value: object) -> list[Any]:
    """Return the elements to be ``in``."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise QueryError(f"`in` wants a list such as ['adam', 'sgd'], not {value!r:.80}")
    elements = list(value)
    if not elements:
        raise QueryError("`in` wants a list with something in it, not []: nothing is in that")
    if len(elements) > MAX_LIST:
        raise QueryError(f"`in` takes at most {MAX_LIST:,} values, not {len(elements):,}")
    return elements


def _real_value(value: object, what: str, op: str = "==") -> float:
    plain = plain_value(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        if op in _ORDER and what.startswith("config."):
            raise QueryError(f"`{op}` wants a number or text, not {plain!r:.80}: it has no order")
        raise QueryError(f"{what} is a number: compare it with one, not with {plain!r:.80}")
    number = param_number(plain)
    if number is None:
        if op in _ORDER:
            raise QueryError("NaN has no order: find NaN with ==")
        return math.nan
    return number


def _signed(op: str, found: Condition) -> Condition:
    """Negate for ``!=`` and ``not …``; what is NULL was not found."""
    if op == "!=" or op.startswith("not "):
        return sa.not_(sa.func.coalesce(found, sa.false()))
    return found


def _has_substring(column: sa.ColumnElement[Any], text: str) -> Condition:
    # Not LIKE: its % and _ are wildcards and SQLite's ignores case.
    found: Condition = sa.func.instr(column, text) > 0
    return found
