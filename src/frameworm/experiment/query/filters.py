"""Filters: what ``search_experiments`` is asked, dicts or text, turned into conditions over the catalog.

A text query is read by Python's own parser and walked by an allow-list: comparisons of one field, param or
metric with a constant, joined by ``and``, ``or``, ``not`` and parentheses. Nothing in it is ever evaluated.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import io
import keyword
import math
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import sqlalchemy as sa

from frameworm.experiment.errors import QueryError
from frameworm.experiment.query.conditions import (
    FIELDS,
    OPERATORS,
    Condition,
    field_condition,
    metric_condition,
    metric_exists,
    param_condition,
    param_exists,
    tag_condition,
    text_value,
)
from frameworm.experiment.query.metrics import SUMMARIES, resolve_metric

MAX_LENGTH = 10_000
MAX_DEPTH = 20
MAX_COMPARISONS = 200

_MOST_BITS = 14_000
"""Of a whole number: Python writes none of more than 4,300 digits, and so no config holds one."""

_CONSTANT_NAMES = {"nan": math.nan, "inf": math.inf}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "==",
    ast.IsNot: "!=",
}
_FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


# ------------------------------------------------------------------------------------------ dict filters


def config_filter_condition(config_filter: Mapping[str, Any]) -> Condition:
    """Turn ``{"training.lr": 0.001, "model.depth": (">=", 4)}`` into a condition; all must hold.

    A tuple of a text and a value is an operator with its operand; to find a param that is a list, give a list.
    """
    _check_mapping(config_filter, "config_filter", "{'training.lr': 0.001}")
    return sa.and_(
        sa.true(),
        *(param_condition(key, *_split("config_filter", key, wanted)) for key, wanted in config_filter.items()),
    )


def metric_filter_condition(metric_filter: Mapping[str, Any], has_metric: Callable[[str], bool]) -> Condition:
    """Turn ``{"val_loss": ("<=", 0.5), "acc@val.max": (">", 0.9)}`` into a condition; all must hold."""
    _check_mapping(metric_filter, "metric_filter", "{'val_loss': ('<=', 0.5)}")
    conditions = []
    for name, wanted in metric_filter.items():
        metric = resolve_metric(text_value(name, "a metric's name"), has_metric)
        conditions.append(metric_condition(metric, *_split("metric_filter", name, wanted)))
    return sa.and_(sa.true(), *conditions)


def _check_mapping(value: object, what: str, example: str) -> None:
    if not isinstance(value, Mapping):
        raise QueryError(f"{what} is a dict such as {example}, not {value!r:.80}")


def _split(what: str, key: object, wanted: object) -> tuple[str, object]:
    """Return operator and operand."""
    if isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[0], str):
        if wanted[0] not in OPERATORS:
            raise QueryError(
                f"{what}[{key!r}]: {wanted[0]!r:.80} is not an operator; allowed are {' '.join(OPERATORS)}. "
                "A list to be equal to is written [...], not (...)"
            )
        return wanted
    if isinstance(wanted, tuple) and len(wanted) == 2 and wanted[1] in OPERATORS:
        raise QueryError(f"{what}[{key!r}]: the operator comes first: ({wanted[1]!r}, {wanted[0]!r:.80})")
    return "==", wanted


# ------------------------------------------------------------------------------------------ text queries


def parse_query(text: str, has_metric: Callable[[str], bool], now_ms: int) -> Condition:
    """Turn a text query into a condition.

    Args:
        text: as in ``config.training.lr < 1e-3 and metrics.val_loss.min <= 0.5 and 'mnist' in tags``.
        has_metric: whether any experiment has a metric of exactly this name.
        now_ms: the moment that ``'7d ago'`` counts from, Unix ms.

    Raises:
        QueryError: it is not understood; points at the character and says what to write.
    """
    if not isinstance(text, str):
        raise QueryError(f"a query is text such as \"status == 'completed'\", not {text!r:.80}")
    if not text.strip():
        raise QueryError("the query is empty; write for example: status == 'completed'")
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the query has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed")
    return _Query(text, has_metric, now_ms).condition()


class _Reference(NamedTuple):
    """What a name in a query stands for.

    ``kind`` is field, config, metrics or tags; ``path`` the field, the param's key or the metric's name, empty for
    a whole collection; ``summary`` the ``min`` of ``metrics["loss"].min``, where it cannot be part of the name.
    """

    kind: str
    path: str
    node: ast.expr
    summary: str | None = None


class _Constant(NamedTuple):
    value: Any
    node: ast.expr


class _Query:
    """One text query being turned into a condition."""

    def __init__(self, text: str, has_metric: Callable[[str], bool], now_ms: int) -> None:
        # One line, so that positions are columns; leading blanks would be an "unexpected indent".
        self.text = re.sub(r"[\t\n\r\f\v]", " ", text)
        self.indent = len(self.text) - len(self.text.lstrip(" "))
        self.has_metric = has_metric
        self.now_ms = now_ms
        self.comparisons = 0

    def condition(self) -> Condition:
        source = self.text[self.indent :]
        try:
            source.encode()
        except UnicodeEncodeError as exc:
            self.fail_at(exc.start + self.indent, "half a surrogate pair is not text")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an unknown escape such as '\d' is taken as it stands
                tree = ast.parse(source, mode="eval")
        except SyntaxError as exc:
            self.fail_at(*_syntax_remedy(self.text, exc, self.indent))
        except (ValueError, MemoryError, RecursionError) as exc:
            raise QueryError(f"the query is nested too deeply, or holds a NUL: {exc}") from exc
        if "#" in source:
            for token in tokenize.generate_tokens(io.StringIO(source).readline):
                if token.type == tokenize.COMMENT:
                    self.fail_at(token.start[1] + self.indent, "a query has no comments: put text in quotes")
        return self.walk(tree.body, 0)

    def walk(self, node: ast.expr, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            self.fail(node, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, ast.BoolOp):
            parts = [self.walk(value, depth + 1) for value in node.values]
            return sa.and_(*parts) if isinstance(node.op, ast.And) else sa.or_(*parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return sa.not_(self.walk(node.operand, depth + 1))
        if isinstance(node, ast.Compare):
            return self.compare(node)
        operand = self.operand(node)
        if isinstance(operand, _Reference) and operand.kind == "field" and FIELDS[operand.path][1] == "bool":
            self.fail(node, f"a condition is needed: write {operand.path} == True")
        self.fail(node, "a value alone is no condition: compare it, as in status == 'completed'")

    def compare(self, node: ast.Compare) -> Condition:
        conditions = []
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            self.comparisons += 1
            if self.comparisons > MAX_COMPARISONS:
                self.fail(right, f"more than {MAX_COMPARISONS} comparisons; use in [...] for many values")
            conditions.append(self.pair(self.operand(left), op, self.operand(right)))
            left = right
        return sa.and_(*conditions)

    def pair(self, left: _Reference | _Constant, op_node: ast.cmpop, right: _Reference | _Constant) -> Condition:
        op = _COMPARISONS[type(op_node)]
        if isinstance(op_node, ast.Is | ast.IsNot) and not (isinstance(right, _Constant) and right.value is None):
            self.fail(right.node, f"`is` goes with None only: write {op}")
        if isinstance(left, _Constant) and isinstance(right, _Constant):
            self.fail(left.node, "two constants: one side must be a field, config.<key> or metrics.<name>")
        if isinstance(left, _Reference) and isinstance(right, _Reference):
            self.fail(right.node, "two names: one side must be a constant (text goes in quotes)")
        if isinstance(right, _Reference):
            assert isinstance(left, _Constant)
            if op in ("in", "not in"):
                return self.contains(right, op == "not in", left)
            return self.against(right, _FLIPPED[op], left)
        assert isinstance(left, _Reference)
        return self.against(left, op, right)

    def contains(self, whole: _Reference, negated: bool, part: _Constant) -> Condition:
        """``part in whole``."""
        with self.pointing_at(part.node):
            if whole.path:
                return self.condition_on(whole, "not contains" if negated else "contains", part.value)
            if whole.kind == "tags":
                found = tag_condition(part.value)
            elif whole.kind == "config":
                found = param_exists(part.value)
            else:
                found = metric_exists(part.value, self.has_metric)
        return sa.not_(found) if negated else found

    def against(self, reference: _Reference, op: str, constant: _Constant) -> Condition:
        """``reference op constant``."""
        if not reference.path:
            remedy = {"tags": "'mnist' in tags", "config": "config.training.lr < 0.1"}
            self.fail(reference.node, f"write {remedy.get(reference.kind, 'metrics.val_loss < 0.5')}")
        with self.pointing_at(constant.node):
            return self.condition_on(reference, op, constant.value)

    def condition_on(self, reference: _Reference, op: str, value: object) -> Condition:
        if reference.kind == "field":
            return field_condition(reference.path, op, value, self.now_ms)
        if reference.kind == "config":
            return param_condition(reference.path, op, value)
        metric = resolve_metric(reference.path, self.has_metric, reference.summary)
        return metric_condition(metric, op, value)

    # ------------------------------------------------------------------------------------ operands

    def operand(self, node: ast.expr) -> _Reference | _Constant:
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            if isinstance(node, ast.Name) and node.id in _CONSTANT_NAMES:
                return _Constant(_CONSTANT_NAMES[node.id], node)
            return self.reference(node)
        return _Constant(self.constant(node), node)

    def reference(self, node: ast.expr) -> _Reference:
        parts: list[str] = []
        root = node
        while not isinstance(root, ast.Name):
            if isinstance(root, ast.Attribute):
                parts.append(root.attr)
            elif not isinstance(root, ast.Subscript):
                self.unsupported(root)
            elif isinstance(root.slice, ast.Constant) and isinstance(root.slice.value, str):
                parts.append(root.slice.value)
            else:
                self.fail(root.slice, 'brackets hold a name in quotes, as in config["training.lr"]')
            root = root.value
        path = ".".join(reversed(parts))
        if root.id == "metrics" and isinstance(node, ast.Attribute) and isinstance(node.value, ast.Subscript):
            if node.attr in SUMMARIES:
                return _Reference("metrics", path.removesuffix(f".{node.attr}"), node, node.attr)
        if root.id in ("config", "metrics"):
            return _Reference(root.id, path, node)
        if root.id == "tags" and not path:
            return _Reference("tags", "", node)
        if root.id not in FIELDS and root.id != "tags":
            known = [*FIELDS, "tags", "config", "metrics"]
            near = difflib.get_close_matches(root.id, known, n=1, cutoff=0.6)
            literal = {"true": "True", "false": "False", "null": "None", "none": "None"}.get(root.id.lower())
            if literal:
                self.fail(root, f"write {literal}")
            self.fail(
                root,
                f"unknown field {root.id!r}" + (f": did you mean {near[0]}?" if near else "") + " There are "
                f"{', '.join(FIELDS)}, tags; params are config.<key> and metrics metrics.<name>. Text goes in "
                "quotes",
            )
        if path:
            self.fail(node, f"{root.id} has no parts: write {root.id} alone")
        return _Reference("field", root.id, node)

    def constant(self, node: ast.expr, nested: bool = False) -> Any:
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int | float | str)):
            if isinstance(node.value, int) and node.value.bit_length() > _MOST_BITS:
                self.fail(node, "a number of so many digits is none that was recorded")  # nor can it be told
            return node.value
        if isinstance(node, ast.Name) and node.id in _CONSTANT_NAMES:
            return _CONSTANT_NAMES[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            value = self.constant(node.operand, nested=True)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.List | ast.Tuple | ast.Set) and not nested:
            return [self.constant(element, nested=True) for element in node.elts]
        self.unsupported(node)

    # ------------------------------------------------------------------------------------ errors

    def unsupported(self, node: ast.expr) -> NoReturn:
        if isinstance(node, ast.Call):
            self.fail(node, "functions cannot be called in a query; a text part is found by 'part' in name")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            self.fail(node, f"write {'and' if isinstance(node.op, ast.BitAnd) else 'or'}, not & or |")
        if isinstance(node, ast.BinOp):
            self.fail(node, 'there is no arithmetic; a key with such a sign goes in brackets: config["warm-up"]')
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            self.fail(node, "a constant is needed here: text goes in quotes")
        if isinstance(node, ast.BoolOp | ast.Compare) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            self.fail(node, "a condition cannot be compared: join conditions with and, or")
        self.fail(node, "not allowed: compare a field, config.<key> or metrics.<name> with a constant")

    @contextlib.contextmanager
    def pointing_at(self, node: ast.expr) -> Iterator[None]:
        try:
            yield
        except QueryError as exc:
            if exc.position is not None:
                raise
            self.fail(node, str(exc))

    def fail(self, node: ast.expr, message: str) -> NoReturn:
        # The parser counts UTF-8 bytes.
        before = self.text[self.indent :].encode()[: node.col_offset].decode()
        self.fail_at(self.indent + len(before), message)

    def fail_at(self, position: int, message: str) -> NoReturn:
        raise QueryError(message, self.text, position) from None


# ------------------------------------------------------------------------------------------ syntax

_SLIPS = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?P<slip>&&|\|\||<>|===|=>|=<|(?<![=!<>])=(?!=)|!(?!=)"""
    r"""|\b(?:AND|OR|NOT|IN|LIKE|BETWEEN|IS|NULL)\b|(?<=\.)[ ]*(?P<word>[^\W\d]\w*)|(?<=[^\W\d]\.)\d\w*)"""
)
_REMEDIES = {
    "&&": "write and",
    "||": "write or",
    "<>": "write !=",
    "===": "write ==",
    "=>": "write >=",
    "=<": "write <=",
    "=": "write == to compare",
    "!": "write not",
    "LIKE": "write 'part' in name",
    "BETWEEN": "write 0.1 <= config.lr <= 0.2",
    "NULL": "write None",
}


def _syntax_remedy(text: str, error: SyntaxError, indent: int) -> tuple[int, str]:
    """Return where a query went wrong and what to write instead."""
    for match in _SLIPS.finditer(text):
        slip = match["slip"]
        if slip is None or (match["word"] and not keyword.iskeyword(match["word"])):
            continue
        if match["word"] or slip[0].isdigit():
            return match.start("slip"), f'after a dot, write {slip.strip()} in brackets: config["a.{slip.strip()}"]'
        return match.start("slip"), _REMEDIES.get(slip) or f"write {slip.lower()}"
    message = error.msg or "not understood"
    # At the end of the text, the parser points at nothing: offset 0 or a second line.
    at_end = error.lineno != 1 or not error.offset
    position = len(text) if at_end else min((error.offset or 1) - 1 + indent, len(text))
    if "unterminated string" in message:
        return position, "this quote is never closed"
    if "was never closed" in message or "unmatched" in message:
        return position, message
    if "invalid character" in message:
        return position, f"{message}: quotes are ' or \""
    if position >= len(text.rstrip()):
        return position, "something is missing at the end"
    return position, "not understood: write for example config.training.lr < 1e-3 and status == 'completed'"
