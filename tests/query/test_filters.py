"""Filters: both kinds against a plain-Python reading of the same rows, and every error where it points."""

from __future__ import annotations

import datetime
import enum
import math
import operator
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from frameworm.experiment.config import dump_json, flatten
from frameworm.experiment.errors import InputError, QueryError
from frameworm.experiment.model import STATUSES, ExperimentInfo, Note, SeriesSummary, default_context
from frameworm.experiment.query.filters import config_filter_condition, metric_filter_condition, parse_query
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.schema import Entry, experiments

NAN, INF = math.nan, math.inf
NOW_MS = 1_700_000_000_000

NUMBERS = [0, 1, 1.0, -1, 0.1, 1e-3, -0.0, 2**53, 2**53 + 1, float(2**53), 2**64, -(2**64), 10**400, NAN, INF, -INF]
TEXTS = ["", "adam", "Adam", "adamw", "100%", "a_b", "axb", "é", "it's", 'x"y', "a\nb", "null", "1", "🦊", "\\d"]
OTHERS = [True, False, None]
LISTS = [[], [1, 2], [1.0, 2], ["adam", "é"], [True], [None, [1]], [NAN], [0.1], ["a,b"], [2**53 + 1]]
VALUES = [*NUMBERS, *TEXTS, *OTHERS, *LISTS]
FLOATS = [0.0, 0.5, -0.5, 1.0, 2.0, 1e300, NAN, INF, -INF]
KEYS = ["a", "b", "training.lr", "training.opt", "odd-key/é"]
METRICS = ["loss", "val/loss", "a.b", "loss.min", "m@x"]
CONTEXTS = ["train", "val", "extra"]
SUMMARIES = ["last", "min", "max", "mean", "first", "count"]
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
FIELD_VALUES: dict[str, list[Any]] = {
    "name": ["run", "Run", "runs", "100%", "é🦊", ""],
    "project": ["default", "p"],
    "status": [*STATUSES],
    "git_hash": ["abc" + 37 * "0", "abd" + 37 * "0", None],
    "duration_s": [0.0, 1, 1.5, None],
    "git_dirty": [True, False, None],
}


def make_rows() -> list[tuple[ExperimentInfo, list[SeriesSummary]]]:
    choose = random.Random(2)
    rows = []
    for number in range(1, 161):
        nested: dict[str, Any] = {}
        for key in KEYS:
            if choose.random() < 0.7:
                section, _, leaf = key.rpartition(".")
                (nested.setdefault(section, {}) if section else nested)[leaf] = choose.choice(VALUES)
        summaries = []
        for metric in METRICS:
            for context in choose.sample(CONTEXTS, choose.randint(0, 3)):
                first, last, least, most, total = (choose.choice(FLOATS) for _ in range(5))
                count = choose.randint(1, 4)
                summaries.append(SeriesSummary(metric, context, count, 0, first, last, least, most, total, 1, 0, 1, 2))
        field = {name: choose.choice(values) for name, values in FIELD_VALUES.items()}
        rows.append(
            (
                ExperimentInfo(
                    experiment_id=f"exp_{number:03d}",
                    uid=f"{number:032x}",
                    path=Path(f"exp_{number:03d}_x"),
                    name=field["name"],
                    project=field["project"],
                    status=field["status"],
                    duration_s=field["duration_s"],
                    git={} if field["git_hash"] is None else {"commit": field["git_hash"], "dirty": field["git_dirty"]},
                    config=nested,
                    tags=tuple(choose.sample(["vae", "mnist", "100%", "é"], choose.randint(0, 3))),
                    notes=(Note("looked at it", 1),) if number % 3 == 0 else (),
                    created_ms=NOW_MS - number * 3_600_000,
                ),
                summaries,
            )
        )
    return rows


ROWS = make_rows()


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    catalog = Catalog.open(tmp_path_factory.mktemp("root"))
    catalog.upsert_many(Entry(info, summaries, False) for info, summaries in ROWS)
    return catalog


def found(catalog: Catalog, condition: Any) -> set[int]:
    return {row[0] for row in catalog.rows(sa.select(experiments.c.number).where(condition))}


def ask(catalog: Catalog, text: str) -> set[int]:
    return found(catalog, parse_query(text, catalog.has_metric, NOW_MS))


# ------------------------------------------------------------------------------------------ the plain reading

Reading = Callable[[ExperimentInfo, list[SeriesSummary]], bool]
MISSING = object()


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return INF if value > 0 else -INF


def same(a: Any, b: Any) -> bool:
    if is_number(a) and is_number(b):
        return a == b or (a != a and b != b)
    if is_number(a) or is_number(b) or isinstance(a, str) != isinstance(b, str):
        return False
    return dump_json(a) == dump_json(b)


def compared(value: Any, op: str, wanted: Any) -> bool:
    """One value of an experiment against one of a filter, in Python."""
    if value is MISSING:
        return False
    if op in ORDER:
        if is_number(value) and is_number(wanted):
            return ORDER[op](as_double(value), as_double(wanted))
        return isinstance(value, str) and isinstance(wanted, str) and ORDER[op](value, wanted)
    if op == "==":
        return same(value, wanted)
    if op == "in":
        return any(same(value, one) for one in wanted)
    if op == "contains":
        if isinstance(value, str):
            return isinstance(wanted, str) and wanted in value
        if isinstance(value, list):  # inside a list, numbers are equal as doubles
            return any(
                same(as_double(one), as_double(wanted)) if is_number(one) and is_number(wanted) else same(one, wanted)
                for one in value
            )
        return False
    return not compared(value, {"!=": "==", "not in": "in", "not contains": "contains"}[op], wanted)


def param(info: ExperimentInfo, key: str) -> Any:
    return flatten(info.config).get(key, MISSING)


def metric(summaries: list[SeriesSummary], name: str, context: str | None, summary: str) -> Any:
    mine = {s.context: s for s in summaries if s.name == name}
    if context is None and mine:
        context = default_context(mine)
    return getattr(mine[context], summary) if context in mine else MISSING


def literal(value: Any) -> str:
    return repr(value)  # repr of NaN and infinities is what a query calls them


def comparison(reference: str, op: str, wanted: Any) -> str:
    if op.endswith("contains"):
        return f"{literal(wanted)} {'not in' if op.startswith('not') else 'in'} {reference}"
    return f"{reference} {op} {literal(wanted)}"


EVERY_OP = ["==", "!=", *ORDER, "in", "not in", "contains", "not contains"]


@st.composite
def param_comparisons(draw: st.DrawFn) -> tuple[str, str, Any]:
    op = draw(st.sampled_from(EVERY_OP))
    if op in ORDER:
        wanted = draw(st.sampled_from([v for v in [*NUMBERS, *TEXTS] if v == v]))
    elif op.endswith("in"):
        wanted = draw(st.lists(st.sampled_from([v for v in VALUES if not isinstance(v, list)]), min_size=1, max_size=4))
    elif op.endswith("contains"):
        wanted = draw(st.sampled_from([*NUMBERS, *TEXTS, *OTHERS, "a", "%", "_"]))
    else:
        wanted = draw(st.sampled_from(VALUES))
    if isinstance(wanted, list) and not op.endswith("in"):
        wanted = [one for one in wanted if not isinstance(one, list)]  # a query's lists are flat
    return draw(st.sampled_from(KEYS)), op, wanted


@st.composite
def metric_comparisons(draw: st.DrawFn) -> tuple[tuple[str, str | None, str], str, Any]:
    op = draw(st.sampled_from(["==", "!=", *ORDER, "in", "not in"]))
    wanted = draw(st.sampled_from([v for v in FLOATS if v == v or op not in ORDER]))
    if op.endswith("in"):
        wanted = draw(st.lists(st.sampled_from(FLOATS), min_size=1, max_size=3))
    where = (
        draw(st.sampled_from(METRICS)),
        draw(st.sampled_from([None, *CONTEXTS])),
        draw(st.sampled_from(SUMMARIES)),
    )
    return where, op, wanted


@st.composite
def leaves(draw: st.DrawFn) -> tuple[str, Reading]:
    kind = draw(st.sampled_from(["config", "metrics", "field", "tags", "has param", "has metric"]))
    if kind == "config":
        key, op, wanted = draw(param_comparisons())
        reference = f"config.{key}" if key.isidentifier() or "." in key else f"config[{key!r}]"
        return comparison(reference, op, wanted), lambda info, s: compared(param(info, key), op, wanted)
    if kind == "metrics":
        where, op, wanted = draw(metric_comparisons())
        name, context, summary = where
        full = name if context is None else f"{name}@{context}"
        text = comparison(f"metrics[{full!r}].{summary}", op, wanted)
        return text, lambda info, s: compared(metric(s, *where), op, wanted)
    if kind == "tags":
        tag, sign = draw(st.sampled_from(["vae", "mnist", "%", "100%", "é"])), draw(st.booleans())
        return f"{tag!r} {'in' if sign else 'not in'} tags", lambda info, s: (tag in info.tags) == sign
    if kind == "has param":
        key = draw(st.sampled_from([*KEYS, "training", "train", "odd-key"]))
        return f"{key!r} in config", lambda info, s: any(
            one == key or one.startswith(f"{key}.") for one in flatten(info.config)
        )
    if kind == "has metric":
        name = draw(st.sampled_from(METRICS))
        return f"{name!r} in metrics", lambda info, s: any(one.name == name for one in s)
    field = draw(st.sampled_from(list(FIELD_VALUES)))
    values = [v for v in FIELD_VALUES[field] if v is not None]
    ops = ["==", "!=", "in", "not in"]
    if field not in ("status", "git_dirty"):
        ops += ORDER
    if isinstance(values[0], str):
        ops += ["contains", "not contains"]
    op = draw(st.sampled_from(ops))
    if op.endswith("in"):
        wanted = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    elif op in ("==", "!=") and draw(st.booleans()):
        sign = op == "=="
        return f"{field} {op} None", lambda info, s: (getattr(info, field) is None) == sign
    else:
        wanted = draw(st.sampled_from([v for v in values if v or "contains" not in op]))

    def read(info: ExperimentInfo, s: list[SeriesSummary]) -> bool:
        value = getattr(info, field)
        return compared(MISSING if value is None else value, op, wanted)

    return comparison(field, op, wanted), read


def joined(parts: st.SearchStrategy[tuple[str, Reading]]) -> st.SearchStrategy[tuple[str, Reading]]:
    def both(a: tuple[str, Reading], b: tuple[str, Reading], word: str) -> tuple[str, Reading]:
        combine = all if word == "and" else any
        return f"({a[0]} {word} {b[0]})", lambda info, s: combine((a[1](info, s), b[1](info, s)))

    def negated(a: tuple[str, Reading]) -> tuple[str, Reading]:
        return f"not ({a[0]})", lambda info, s: not a[1](info, s)

    return st.builds(negated, parts) | st.builds(both, parts, parts, st.sampled_from(["and", "or"]))


class TestAgainstPython:
    @settings(max_examples=400, deadline=None)
    @given(query=st.recursive(leaves(), joined, max_leaves=6))
    def test_a_text_query_finds_what_python_finds(self, catalog: Catalog, query: tuple[str, Reading]) -> None:
        text, reading = query
        expected = {n for n, row in enumerate(ROWS, 1) if reading(*row)}
        assert ask(catalog, text) == expected, text

    @settings(max_examples=200, deadline=None)
    @given(asked=param_comparisons())
    def test_a_config_filter_finds_what_python_finds(self, catalog: Catalog, asked: tuple[str, str, Any]) -> None:
        key, op, wanted = asked
        if op.startswith("not"):
            return
        condition = config_filter_condition({key: (op, wanted)})
        expected = {n for n, (info, _) in enumerate(ROWS, 1) if compared(param(info, key), op, wanted)}
        assert found(catalog, condition) == expected

    @settings(max_examples=200, deadline=None)
    @given(asked=metric_comparisons())
    def test_a_metric_filter_finds_what_python_finds(self, catalog: Catalog, asked: tuple[Any, str, Any]) -> None:
        (name, context, summary), op, wanted = asked
        if op.startswith("not") or (name, context, summary) == ("loss", None, "min"):
            return  # "loss.min" is a metric itself
        full = f"{name if context is None else f'{name}@{context}'}.{summary}"
        condition = metric_filter_condition({full: (op, wanted)}, catalog.has_metric)
        expected = {n for n, (_, s) in enumerate(ROWS, 1) if compared(metric(s, name, context, summary), op, wanted)}
        assert found(catalog, condition) == expected


class Color(enum.Enum):
    ADAM = "adam"


class TestDictFilters:
    def test_a_value_alone_means_equal(self, catalog: Catalog) -> None:
        assert found(catalog, config_filter_condition({"a": "adam"})) == found(
            catalog, config_filter_condition({"a": ("==", "adam")})
        )

    def test_all_entries_must_hold(self, catalog: Catalog) -> None:
        one, other = config_filter_condition({"a": 1}), config_filter_condition({"b": ("!=", 1)})
        both = config_filter_condition({"a": 1, "b": ("!=", 1)})
        assert found(catalog, both) == found(catalog, one) & found(catalog, other)

    def test_an_empty_filter_finds_all(self, catalog: Catalog) -> None:
        assert len(found(catalog, config_filter_condition({}))) == len(ROWS)
        assert len(found(catalog, metric_filter_condition({}, catalog.has_metric))) == len(ROWS)

    @pytest.mark.parametrize(
        ("given", "plain"), [(np.float64(0.1), 0.1), (np.int32(1), 1), (np.bool_(True), True), (Color.ADAM, "adam")]
    )
    def test_values_are_made_plain_as_in_a_config(self, catalog: Catalog, given: Any, plain: Any) -> None:
        expected = found(catalog, config_filter_condition({"a": plain}))
        assert found(catalog, config_filter_condition({"a": given})) == expected != set()

    def test_the_exact_metric_name_wins_over_a_suffix(self, catalog: Catalog) -> None:
        condition = metric_filter_condition({"loss.min": (">", -INF)}, catalog.has_metric)
        expected = {n for n, (_, s) in enumerate(ROWS, 1) if compared(metric(s, "loss.min", None, "last"), ">", -INF)}
        assert found(catalog, condition) == expected
        condition = metric_filter_condition({"a.b.max": (">", -INF)}, catalog.has_metric)
        expected = {n for n, (_, s) in enumerate(ROWS, 1) if compared(metric(s, "a.b", None, "max"), ">", -INF)}
        assert found(catalog, condition) == expected

    @pytest.mark.parametrize(
        "op", ["> 0 OR 1=1 OR 1 =", "; DROP TABLE experiments", "", "=", "like", "not in", "IN", "<>"]
    )
    def test_an_operator_outside_the_list_is_refused(self, catalog: Catalog, op: str) -> None:
        for make in (
            lambda: config_filter_condition({"a": (op, 1)}),
            lambda: metric_filter_condition({"loss": (op, 1)}, catalog.has_metric),
        ):
            with pytest.raises(QueryError, match="allowed are == != < <= > >= in contains"):
                make()
        assert len(found(catalog, sa.true())) == len(ROWS)

    @pytest.mark.parametrize(
        ("filters", "message"),
        [
            ({"a": ("<", True)}, "wants a number or text, not True"),
            ({"a": ("<", None)}, "wants a number or text, not None"),
            ({"a": ("<", NAN)}, "NaN has no order"),
            ({"a": ("in", "adam")}, r"`in` wants a list such as \['adam', 'sgd'\]"),
            ({"a": ("in", range(20_000))}, "at most 10,000 values"),
            ({"a": object()}, "allowed are numbers, text, bools, None"),
            ({1: 2}, "a config key is text, not 1"),
            ({"\ud800": 2}, "half a surrogate pair"),
            ("a == 1", r"config_filter is a dict such as \{'training.lr': 0.001\}"),
        ],
    )
    def test_what_makes_no_sense_says_so(self, filters: Any, message: str) -> None:
        with pytest.raises(QueryError, match=message):
            config_filter_condition(filters)

    @pytest.mark.parametrize(
        ("filters", "message"),
        [
            ({"loss": "low"}, "metric 'loss' is a number: compare it with one, not with 'low'"),
            ({"loss": True}, "compare it with one, not with True"),
            ({"loss": ("contains", 1)}, "contains nothing"),
            ({"loss": ("<", NAN)}, "NaN has no order"),
            ({3: 2}, "a metric's name is text, not 3"),
            ([("loss", 1)], r"metric_filter is a dict such as \{'val_loss': \('<=', 0.5\)\}"),
        ],
    )
    def test_what_makes_no_sense_of_a_metric(self, filters: Any, message: str) -> None:
        with pytest.raises(QueryError, match=message):
            metric_filter_condition(filters, lambda name: True)

    def test_injection_in_keys_and_values_is_only_text(self, catalog: Catalog) -> None:
        evil = "' OR 1=1; DROP TABLE experiments; --"
        assert found(catalog, config_filter_condition({evil: evil})) == set()
        assert found(catalog, metric_filter_condition({evil: 1}, catalog.has_metric)) == set()
        assert ask(catalog, f"name == {evil!r} or config[{evil!r}] == {evil!r} or {evil!r} in tags") == set()
        assert len(found(catalog, sa.true())) == len(ROWS)


class TestTextQueries:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("1 < config.a", "config.a > 1"),
            ("0 < metrics.loss < 2", "metrics.loss > 0 and metrics.loss < 2"),
            ("config['training.lr'] == 1", "config.training.lr == 1"),
            ("config.training['lr'] == 1", "config.training.lr == 1"),
            ("metrics['loss.min'] > 0", "metrics.loss.min > 0"),
            ("metrics.a.b.max > 0", "metrics['a.b'].max > 0"),
            ("config.a is None", "config.a == None"),
            ("git_hash is not None", "git_hash != None"),
            ("status in ('failed', 'killed')", "status in ['failed', 'killed']"),
            ("status in {'failed', 'killed'}", "status == 'failed' or status == 'killed'"),
            ("config.a == -1", "config.a == - 1"),
            ("config.a == +1", "config.a == 1.0"),
            ("not status == 'failed'", "status != 'failed'"),
            ("status == 'failed'\n  and\tconfig.a == 1", "status == 'failed' and config.a == 1"),
            ("  name == 'run' ", "name == 'run'"),
            ("config.a == '#'", "config.a == '\\x23'"),
            ("metrics['loss@val'] > 0", "metrics['loss@val.last'] > 0"),
        ],
    )
    def test_two_ways_to_say_the_same(self, catalog: Catalog, one: str, other: str) -> None:
        assert ask(catalog, one) == ask(catalog, other)

    def test_what_is_missing_never_matches_but_its_negation_does(self, catalog: Catalog) -> None:
        has = ask(catalog, "'a' in config")
        assert 0 < len(has) < len(ROWS)
        assert ask(catalog, "config.a != 'no such'") == has
        assert ask(catalog, "config.a not in ['no such']") == has
        assert ask(catalog, "'a' not in config") == set(range(1, len(ROWS) + 1)) - has
        assert ask(catalog, "not config.a != 'no such'") == set(range(1, len(ROWS) + 1)) - has

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ("created_at > '2023-11-14T20:13:20'", 1),
            ("created_at >= '2023-11-14T20:13:20'", 2),
            ("created_at >= '2023-11-14T21:13:20+01:00'", 2),
            ("created_at == '2023-11-14T21:13:20Z'", 1),
            ("created_at < '2023-11-10'", 42),
            ("created_at > '3h ago'", 2),
            ("created_at >= '1d ago'", 24),
            ("'1.5d ago' <= created_at <= '1 d ago'", 13),
            ("started_at > '2000-01-01'", 0),
            ("started_at is None", 160),
            ("'looked' in notes", 53),
            ("git_dirty == True", len([i for i, _ in ROWS if i.git_dirty is True])),
        ],
    )
    def test_times_and_notes(self, catalog: Catalog, query: str, count: int) -> None:
        assert len(ask(catalog, query)) == count

    def test_a_datetime_compares_as_well(self, catalog: Catalog) -> None:
        from frameworm.experiment.query.conditions import time_ms

        assert time_ms("created_at", datetime.datetime(1970, 1, 2), NOW_MS) == 86_400_000
        assert time_ms("created_at", "1969-12-31T23:59:59.999", NOW_MS) == -1

    @pytest.mark.parametrize(
        ("query", "at", "message"),
        [
            ("status = 'completed'", "= ", "write == to compare"),
            ("a && b", "&&", "write and"),
            ("name == 'x' || name == 'y'", "||", "write or"),
            ("config.lr <> 3", "<>", "write !="),
            ("config.lr => 3", "=>", "write >="),
            ("config.lr === 3", "===", "write =="),
            ("!name == 'x'", "!", "write not"),
            ("name == 'a = b' AND name == 'y'", "AND", "write and"),
            ("name LIKE 'x%'", "LIKE", "write 'part' in name"),
            ("config.lr BETWEEN 1 AND 2", "BETWEEN", "write 0.1 <= config.lr <= 0.2"),
            ("git_hash IS NULL", "IS", "write is"),
            ("config.lambda < 1", "lambda", r'in brackets: config\["a.lambda"\]'),
            ("config.layers.0 < 1", "0 <", r'in brackets: config\["a.0"\]'),
            ("name == 'abc", "'abc", "this quote is never closed"),
            ("(name == 'abc'", "(", "never closed"),
            ("name == 'abc')", ")", "unmatched"),
            ("name == “abc”", "“", "quotes are ' or"),
            ("name ==", "", "something is missing at the end"),
            ("name == 'x' and", "", "something is missing at the end"),
            ("name 'x'", "", "not understood"),
            ("é == 1", "é", "unknown field 'é'"),
            ("'é' in tags and nmae == 'x'", "nmae", "did you mean name"),
            ("'🦊' in name or lr < 1", "lr", r"params are config\.<key> and metrics metrics\.<name>"),
            ("params.lr < 1", "params", "params are config.<key>"),
            ("git_dirty == true", "true", "write True"),
            ("git_hash == null", "null", "write None"),
            ("len(name) < 3", "len", "functions cannot be called"),
            ("name.startswith('x')", "name", "functions cannot be called"),
            ("__import__('os').system('id')", "__import__", "functions cannot be called"),
            ("config.warm-up == 1", "config.warm", r"brackets: config\[\"warm-up\"\]"),
            ("name == 'a' & name == 'b'", "'a'", "write and, not & or"),
            ("config.lr == 2 * 3", "2 *", "there is no arithmetic"),
            ("status", "status", "a value alone is no condition"),
            ("'x' and status == 'failed'", "'x'", "a value alone is no condition"),
            ("not git_dirty", "git_dirty", "write git_dirty == True"),
            ("1 < 2", "1", "two constants"),
            ("name == project", "project", "two names"),
            ("tags == 'x'", "tags", "write 'mnist' in tags"),
            ("config == 1", "config", "write config.training.lr < 0.1"),
            ("metrics < 1", "metrics", "write metrics.val_loss < 0.5"),
            ("status == 'done'", "'done'", "allowed are pending, running, completed"),
            ("status < 'failed'", "'failed'", "status has no order"),
            ("duration_s > 'long'", "'long'", "duration_s is a number"),
            ("git_dirty == 'yes'", "'yes'", "git_dirty is True or False"),
            ("name == 3", "3", "name is text, not 3: put it in quotes"),
            ("3 in tags", "3", "a tag is text"),
            ("created_at > 'yesterday'", "'yesterday'", "'2026-11-01T09:30.*'7d ago'"),
            ("created_at > 5", "5", "created_at is a time"),
            ("metrics.loss < nan", "nan", "NaN has no order"),
            ("metrics.loss < 'x'", "'x'", "is a number"),
            ("'x' in metrics.loss", "'x'", "contains nothing"),
            ("'x' in duration_s", "'x'", "duration_s is not text"),
            ("name in 'abc'", "'abc'", "`in` wants a list"),
            ("name is 'x'", "'x'", "write =="),
            ("status.x == 1", "status", "status has no parts"),
            ("config[0] == 1", "0", "brackets hold a name in quotes"),
            ("config.a[0] == 1", "0", "brackets hold a name in quotes"),
            ("config.lr == f'{1}'", "f'", "not allowed"),
            ("config.lr == b'x'", "b'", "not allowed"),
            ("config.lr == 1j", "1j", "not allowed"),
            ("config.lr == ...", "...", "not allowed"),
            ("config.lr == [name]", "name", "text goes in quotes"),
            ("(x := 1) == 1", "x", "not allowed"),
            ("(lambda: 1) == 1", "lambda", "not allowed"),
            ("[1 for x in tags] == 1", "[", "not allowed"),
            ("(name == 'x') == True", "name", "a condition cannot be compared"),
            ("name == 'x' # and more", "#", "no comments"),
            ("name == 'x'; name == 'y'", ";", "not understood"),
        ],
    )
    def test_errors_point_at_the_character(self, query: str, at: str, message: str) -> None:
        with pytest.raises(QueryError, match=message) as caught:
            parse_query(query, lambda name: True, NOW_MS)
        error = caught.value
        assert error.query == query
        assert error.position is not None
        if at:
            assert query[error.position :].startswith(at), (error.position, str(error))
        assert 0 <= error.position <= len(query)
        assert str(error).splitlines()[-1] == "  " + " " * error.position + "^"

    def test_leading_blanks_do_not_move_the_position(self) -> None:
        with pytest.raises(QueryError) as caught:
            parse_query("\n  'é' in tags and\n nmae == 1", lambda name: True, NOW_MS)
        assert caught.value.position == len("\n  'é' in tags and\n ")

    @pytest.mark.parametrize(
        "query",
        [
            "(" * 300 + "name == 'x'" + ")" * 300,
            "not " * 60 + "name == 'x'",
            "not " * 2000 + "name == 'x'",
            "-" * 9000 + "1 == config.a",
            "config" + ".a" * 4900 + " == 1" + " or name",
            "config.a == " + "[" * 150 + "]" * 150,
            "name == 'x'" + " or name == 'x'" * 300,
            "name == 'x' and " * 700,
            "name == '\x00'" + "\x00",
            "\ud800 == 1",
            "name == '\\ud800'",
        ],
    )
    def test_what_is_too_deep_too_long_or_no_text_is_refused(self, query: str) -> None:
        with pytest.raises(QueryError):
            parse_query(query, lambda name: True, NOW_MS)

    @pytest.mark.parametrize("query", [None, 3, b"name == 'x'", "", "   ", "x" * 10_001])
    def test_what_is_no_query_is_refused(self, query: Any) -> None:
        with pytest.raises(QueryError):
            parse_query(query, lambda name: True, NOW_MS)

    def test_the_longest_query_allowed_runs(self, catalog: Catalog) -> None:
        query = " or ".join(f"config.a == {n}" for n in range(200))
        assert ask(catalog, query) == ask(catalog, f"config.a in {list(range(200))}")
        leaf = "'x' not in config.a"
        for n in range(20):
            leaf = f"not ({leaf})" if n % 2 else f"(config.b == 1 or (name == 'x' and {leaf}))"
            if n == 12:
                break
        assert ask(catalog, leaf) is not None
        nested = "not (" * 20 + "name == 'run'" + ")" * 20
        assert ask(catalog, nested) == ask(catalog, "name == 'run'")

    @settings(max_examples=300, deadline=None)
    @given(
        text=st.text(st.sampled_from("config.ametrsloin <>=!&|()[]{}'\"#,:;0123é🦊\\\n\tTrueand or not"), max_size=40)
    )
    def test_any_text_is_a_condition_or_a_query_error(self, catalog: Catalog, text: str) -> None:
        try:
            ask(catalog, text)
        except QueryError as error:
            assert isinstance(error, InputError)
            assert error.position is None or 0 <= error.position <= len(text)


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        *(("name in []", "nothing is in that"), ("config.a not in []", "nothing is in that")),
        *(("metrics.loss in ()", "nothing is in that"), ("'' in name", "every name contains ''")),
        *(("config.a == ''", ""), ("'' in config.a", ""), ("'' in tags", "a tag is never empty")),
        *(("experiment_id == 'exp_1'", "written 'exp_007'"), ("experiment_id == '7'", "written 'exp_007'")),
        *(("uid == 'abc'", "'part' in uid"), ("git_hash == '14e2f8d'", "'part' in git_hash")),
        *(("git_hash in ['14e2f8de01ce0541e7fb528896411746dc22e293', 'HEAD']", "'part' in git_hash"),),
        *(("created_at == '2026-11-01'", "use < or >="), ("ended_at != '7d ago'", "use < or >=")),
        *(("started_at == '2026-11-01T09:30'", ""), ("'complete' in status", ""), ("'done' in status", "in no status")),
        *(("metrics[''] < 1", "write metrics.val_loss < 0.5"), ("git_hash < '5'", ""), ("'14e2' in git_hash", "")),
    ],
)
def test_what_no_experiment_could_meet_or_each_does_is_refused(catalog: Catalog, query: str, remedy: str) -> None:
    if not remedy:
        ask(catalog, query)
        return
    with pytest.raises(QueryError, match=re.escape(remedy)):
        ask(catalog, query)


@pytest.mark.parametrize(
    ("wanted", "remedy"),
    [
        ({"lr": 0.1}, "compare its params: config.a.lr"),
        ((0.1, "<="), "the operator comes first: ('<=', 0.1)"),
        (("in", []), "nothing is in that"),
        (("in", [{"lr": 1}]), "compare its params"),
    ],
)
def test_a_dict_filter_that_can_mean_nothing_is_refused(wanted: Any, remedy: str) -> None:
    with pytest.raises(QueryError, match=re.escape(remedy)):
        config_filter_condition({"a": wanted})
