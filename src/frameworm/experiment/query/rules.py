"""Rules: what makes an experiment worth a word, written once in ``<root>/alerts.yaml`` and looked for in the catalog.

rules:
  - name: diverged                    # each is told once of an experiment
    when: metrics.loss.max > 1e3      # a query, as for ``search_experiments``
  - name: not a number
    not_finite: loss                  # a metric; "*" for any
  - name: stalled
    silent_minutes: 10                # running, and no new point for so long
  - name: crashed
    crashed: true
    level: error
send:                                    # done only where the user has allowed it
  webhook: https://hooks.example.org/…   # POST of JSON
  command: [notify-send, frameworm]      # run without a shell; what to say is in its environment
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import sqlalchemy as sa

from frameworm.experiment.errors import ConfigError, ExperimentError
from frameworm.experiment.model import SYSTEM_CONTEXT
from frameworm.experiment.plaintext import read_config_file
from frameworm.experiment.query.conditions import Condition
from frameworm.experiment.query.filters import parse_query
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.folder import RULES_NAME
from frameworm.experiment.storage.schema import alerts, experiments, series

LEVELS = ("info", "warning", "error")

_KINDS = ("when", "not_finite", "silent_minutes", "crashed")


class Rule(NamedTuple):
    """One rule: ``kind`` is one of when, not_finite, silent_minutes, crashed, and ``value`` what stands beside it."""

    name: str
    kind: str
    value: Any
    level: str


class Rules(NamedTuple):
    """What ``alerts.yaml`` says; empty where there is none."""

    rules: tuple[Rule, ...] = ()
    webhook: str = ""
    command: tuple[str, ...] = ()


class Found(NamedTuple):
    """A rule that has come true of an experiment."""

    number: int
    folder: str
    rule: Rule
    text: str


def read_rules(root: Path) -> Rules:
    """Read ``alerts.yaml``; none is no error.

    Raises:
        ConfigError: it cannot be read, or says what is not understood.
    """
    path = root / RULES_NAME
    if not path.exists():
        return Rules()
    try:
        told = read_config_file(str(path))
        _known(told, ("rules", "send"), "it")
        send = told.get("send") or {}
        _known(send, ("webhook", "command"), "send")
        listed = told.get("rules") or []
        if not isinstance(listed, list):
            raise ConfigError("rules: expected a list, each with a name")
        rules = tuple(_rule(one, number) for number, one in enumerate(listed, 1))
        names = [rule.name for rule in rules]
        if len(set(names)) < len(names):
            raise ConfigError(f"rules: each needs a name of its own, got {', '.join(names)}")
        return Rules(rules, _webhook(send.get("webhook")), _command(send.get("command")))
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if str(path) in message else f"{path}: {message}") from error


def _known(told: Any, names: Sequence[str], what: str) -> None:
    if not isinstance(told, Mapping):
        raise ConfigError(f"{what}: expected names and values, got {told!r:.80}")
    unknown = [str(name) for name in told if name not in names]
    if unknown:
        raise ConfigError(f"{what} has {', '.join(unknown)}; there are {', '.join(names)}")


def _rule(told: Any, number: int) -> Rule:
    what = f"rule {number}"
    _known(told, ("name", "level", *_KINDS), what)
    kinds = [kind for kind in _KINDS if kind in told]
    if len(kinds) != 1:
        raise ConfigError(f"{what}: expected one of {', '.join(_KINDS)}, got {', '.join(kinds) or 'none'}")
    (kind,) = kinds
    value, name, level = told[kind], told.get("name", kind), told.get("level", "warning")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{what}: name: expected a word, got {name!r:.80}")
    if level not in LEVELS:
        raise ConfigError(f"{what}: level: expected {', '.join(LEVELS)}, got {level!r:.80}")
    if kind in ("when", "not_finite") and not (isinstance(value, str) and value):
        raise ConfigError(f"{what}: {kind}: expected a text, got {value!r:.80}")
    if kind == "when":
        try:
            parse_query(value, lambda name: False, 0)
        except ExperimentError as error:
            raise ConfigError(f"{what}: when: {error}") from error
    if kind == "silent_minutes" and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
        raise ConfigError(f"{what}: silent_minutes: expected minutes above 0, got {value!r:.80}")
    if kind == "crashed" and value is not True:
        raise ConfigError(f"{what}: crashed: expected true, got {value!r:.80}")
    return Rule(name, kind, value, level)


def _webhook(told: Any) -> str:
    if told is None:
        return ""
    try:
        parts = urlsplit(told) if isinstance(told, str) else urlsplit("")
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that hold no address
        right = False
    if not right or any(ord(char) <= 32 or ord(char) > 126 for char in told):
        raise ConfigError(f"send: webhook: expected an address that begins with https://, got {told!r:.80}")
    return str(told)


def _command(told: Any) -> tuple[str, ...]:
    if told is None:
        return ()
    if not isinstance(told, list) or not told or not all(isinstance(part, str) and part for part in told):
        raise ConfigError(f"send: command: expected a list, [program, argument, …], got {told!r:.80}")
    return tuple(told)


def came_true(catalog: Catalog, rules: Sequence[Rule], since_ms: int, now_ms: int) -> list[Found]:
    """Return what has come true of experiments that changed since then, and was not told of them before.

    Args:
        catalog: up to date.
        rules: what to look for.
        since_ms: Unix ms; experiments that ended before are left in peace.
        now_ms: Unix ms.
    """
    e, found = experiments.c, []
    recent = sa.or_(e.updated_ms >= since_ms, e.status == "running")
    for rule in rules:
        told = sa.exists().where(alerts.c.experiment == e.number, alerts.c.rule == rule.name)
        columns = (e.number, e.folder, e.status)
        statement = sa.select(*columns).where(recent, ~told, _condition(catalog, rule, now_ms)).order_by(e.number)
        found += [Found(number, folder, rule, _text(rule)) for number, folder, _ in catalog.rows(statement)]
    return found


def _condition(catalog: Catalog, rule: Rule, now_ms: int) -> Condition:
    e, s = experiments.c, series.c
    if rule.kind == "when":
        return parse_query(rule.value, catalog.has_metric, now_ms)
    if rule.kind == "crashed":
        return e.status == "crashed"
    own = sa.and_(s.experiment == e.number, s.context != SYSTEM_CONTEXT)
    if rule.kind == "not_finite":
        infinite = [column.in_((float("inf"), float("-inf"))) for column in (s.min, s.max)]
        named = sa.true() if rule.value == "*" else s.name == rule.value
        return sa.exists().where(own, named, sa.or_(s.nan_count > 0, *infinite))
    last = sa.select(sa.func.max(s.last_time_ms)).where(own).scalar_subquery()
    return sa.and_(e.status == "running", sa.func.coalesce(last, e.started_ms) < now_ms - rule.value * 60_000)


def _text(rule: Rule) -> str:
    if rule.kind == "when":
        return str(rule.value)
    if rule.kind == "crashed":
        return "the process that recorded it is gone"
    if rule.kind == "silent_minutes":
        return f"running, and no new point for {rule.value:g} minutes"
    return "a metric is NaN or infinite" if rule.value == "*" else f"{rule.value} is NaN or infinite"
