"""Records: JSON objects out of files that somebody else may have written, and what their values may be.

A ``Record`` is the object itself, as it was read, with a typed attribute for each value that we know. Values are
checked once, when a file is read, and trusted from there on. Keys that this release does not know belong to a newer
one: they are kept, and only how deep they are nested is looked at. ``events.py`` has the records themselves.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any, ClassVar, Generic, TypeVar, overload

__all__ = [
    "Either",
    "Field",
    "Flag",
    "Integer",
    "ListOf",
    "Mapping",
    "Number",
    "Numbers",
    "Record",
    "Text",
    "Texts",
    "check_nesting",
    "described",
    "maybe",
    "optional",
]

MAX_NESTING = 64
"""Deepest nesting of what is no config; it is told apart from what the JSON parser itself can take."""
MAX_NAME = 1 << 20
"""Characters of what is shown in one line: a name, a tag, a path. Far more than anybody writes."""
MAX_TEXT = 1 << 24
"""Characters of what may have lines: a note, a description."""
MAX_ITEMS = 5_000_000

_T = TypeVar("_T")


class Field(Generic[_T]):
    """One value of a record. Read as an attribute of the record it is the value, None where it may be left out.

    Attributes:
        key: its name in the file.
        required: whether it has to be there.
        nullable: whether it may be null.
    """

    required = True
    nullable = False

    def __init__(self, *, key: str = "") -> None:
        self.key = key

    def __set_name__(self, owner: type[Record], name: str) -> None:
        self.key = self.key or name

    @overload
    def __get__(self, record: None, owner: type[Record]) -> Field[_T]: ...
    @overload
    def __get__(self, record: Record, owner: type[Record]) -> _T: ...
    def __get__(self, record: Record | None, owner: type[Record]) -> Field[_T] | _T:
        return self if record is None else record.get(self.key)  # type: ignore[return-value]

    def check(self, value: object) -> None:
        """See that a value is allowed.

        Raises:
            ValueError: it is not; says what came and what is allowed.
        """
        raise NotImplementedError

    def fits_all(self, values: Collection[object]) -> bool:
        """Whether all of many values are seen to be allowed at once; if not, each is to be checked."""
        return False


class Record(dict[str, Any]):
    """A JSON object of which each known value is checked; not to be changed."""

    __slots__ = ()

    fields: ClassVar[dict[str, Field[Any]]] = {}

    def __init_subclass__(cls) -> None:
        inherited = [base.fields for base in reversed(cls.__bases__) if issubclass(base, Record)]
        own = {value.key: value for value in vars(cls).values() if isinstance(value, Field)}
        cls.fields = {key: field for some in (*inherited, own) for key, field in some.items()}

    @classmethod
    def check(cls, raw: object) -> None:
        """See that an object is such a record.

        Raises:
            ValueError: it is not; names the key.
        """
        if not isinstance(raw, dict):
            raise ValueError(f"expected an object, got {described(raw)}")
        key = ""
        try:
            for key, field in cls.fields.items():
                if key in raw:
                    value = raw[key]
                    if value is not None or not field.nullable:
                        field.check(value)
                elif field.required:
                    raise ValueError("is missing")
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None


class Text(Field[str]):
    """A text of at most so many characters; one of a few, or of some form."""

    def __init__(self, limit: int = MAX_NAME, *, among: Iterable[str] = (), key: str = "") -> None:
        super().__init__(key=key)
        self.limit, self.among = limit, frozenset(among)

    def check(self, value: object) -> None:
        """See ``Field``."""
        if type(value) is not str:
            raise ValueError(f"expected a text, got {described(value)}")
        if len(value) > self.limit:
            raise ValueError(f"expected at most {self.limit:,} characters, got {len(value):,}")
        if self.among and value not in self.among:
            raise ValueError(f"expected {', '.join(sorted(self.among))}, got {described(value)}")

    def fits_all(self, values: Collection[object]) -> bool:
        """See ``Field``; 200 names take 5 µs, one by one 40."""
        return set(map(type, values)) == {str} and max(map(len, values)) <= self.limit  # type: ignore[arg-type]


class Integer(Field[int]):
    """A whole number in a range, both ends included: of 64 bits unless said otherwise."""

    def __init__(self, low: int = -(2**63), high: int = 2**63 - 1, *, key: str = "") -> None:
        super().__init__(key=key)
        self.low, self.high = low, high

    def check(self, value: object) -> None:
        """See ``Field``."""
        if type(value) is not int:
            raise ValueError(f"expected a whole number, got {described(value)}")
        if not self.low <= value <= self.high:
            raise ValueError(f"expected a whole number from {self.low} to {self.high}, got {described(value)}")

    def fits_all(self, values: Collection[Any]) -> bool:
        """See ``Field``."""
        return set(map(type, values)) == {int} and self.low <= min(values) and max(values) <= self.high


class Number(Field[float]):
    """A number that a double can be; with ``low`` a finite one, and at least so large."""

    def __init__(self, low: float | None = None) -> None:
        super().__init__()
        self.low = low

    def check(self, value: object) -> None:
        """See ``Field``."""
        if type(value) is float:
            fits = self.low is None or self.low <= value < math.inf
        elif type(value) is int:
            fits = (-(2**1023) if self.low is None else self.low) <= value <= 2**1023
        else:
            raise ValueError(f"expected a number, got {described(value)}")
        if not fits:
            least = "" if self.low is None else f"finite number from {self.low:g}"
            raise ValueError(f"expected a {least or 'number of a double'}, got {described(value)}")


class Flag(Field[bool]):
    """True or false."""

    def check(self, value: object) -> None:
        """See ``Field``."""
        if type(value) is not bool:
            raise ValueError(f"expected true or false, got {described(value)}")


class _List(Field[_T]):
    """A list of values of one kind; subclasses say of which."""

    def __init__(self, each: Field[Any] | type[Record], *, fewest: int = 0, most: int = MAX_ITEMS) -> None:
        super().__init__()
        self.each, self.fewest, self.most = each, fewest, most

    def check(self, value: object) -> None:
        """See ``Field``."""
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {described(value)}")
        if not self.fewest <= len(value) <= self.most:
            raise ValueError(f"expected {self.fewest} to {self.most:,} items, got {len(value):,}")
        if isinstance(self.each, Field) and self.each.fits_all(value):
            return
        for i, item in enumerate(value):
            try:
                self.each.check(item)
            except ValueError as error:
                raise ValueError(f"item {i}: {error}") from None


class Texts(_List[list[str]]):
    """A list of texts."""

    def __init__(self, *, most: int = MAX_ITEMS) -> None:
        super().__init__(Text(), most=most)


class Numbers(_List[list[float]]):
    """A list of numbers."""

    def __init__(self) -> None:
        super().__init__(Number())


class ListOf(_List[list[Any]]):
    """A list of records, or of values of another kind."""


class Mapping(Field[dict[str, Any]]):
    """An object: any, a record of some kind, or one whose values are all of one kind."""

    def __init__(self, of: type[Record] = Record, *, values: Field[Any] | None = None) -> None:
        super().__init__()
        self.of, self.values = of, values

    def check(self, value: object) -> None:
        """See ``Field``."""
        self.of.check(value)
        assert isinstance(value, dict)
        if self.values is not None and not self.values.fits_all(value.values()):
            for key, item in value.items():
                try:
                    self.values.check(item)
                except ValueError as error:
                    raise ValueError(f"{key!r:.80}: {error}") from None


class Either(Field[Any]):
    """A value of one of some kinds."""

    def __init__(self, *kinds: Field[Any]) -> None:
        super().__init__()
        self.kinds = kinds

    def check(self, value: object) -> None:
        """See ``Field``."""
        for kind in self.kinds[:-1]:
            try:
                return kind.check(value)
            except ValueError:
                continue
        self.kinds[-1].check(value)


def optional(field: Field[_T], *, null: bool = False) -> Field[_T | None]:
    """Return the field as one that may be left out, or be null as well."""
    field.required, field.nullable = False, null
    return field  # type: ignore[return-value]  # the same, read as another


def maybe(field: Field[_T]) -> Field[_T | None]:
    """Return the field as one that may be left out or be null."""
    return optional(field, null=True)


def check_nesting(value: object, limit: int = MAX_NESTING) -> None:
    """See that a value out of a file is nested no deeper than ``limit`` levels.

    Raises:
        ValueError: it is.
    """
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[attr-defined]
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise ValueError(f"is nested deeper than {limit} levels")


def described(value: object) -> str:
    """Return a few words on a value that is not allowed, however large or deep it is."""
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if type(value) is int and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    if type(value) is str:
        return f"{value[:60]!r}{'…' if len(value) > 60 else ''}"
    if isinstance(value, int | float):
        return repr(value)
    return "a list" if isinstance(value, list) else "an object"
