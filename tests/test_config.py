from __future__ import annotations

import argparse
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import math
import os
import pathlib
import subprocess
import sys
import types
import typing
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import omegaconf
import pydantic
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from frameworm.experiment.config import (
    MAX_DEPTH,
    dump_json,
    dump_yaml,
    flatten,
    load_json,
    merge,
    normalize_config,
)
from frameworm.experiment.errors import ConfigError

# --- sources -----------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Optim:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)


@dataclasses.dataclass
class Whole:
    optim: Optim = dataclasses.field(default_factory=Optim)
    seed: int = dataclasses.field(default=3, repr=False)


class Model(pydantic.BaseModel):
    lr: float = 0.1
    where: pathlib.Path = Path("/data")


class OldModel:
    """Has the face of a pydantic 1 model."""

    __fields__: typing.ClassVar = {"lr": None}

    def dict(self) -> dict[str, float]:
        return {"lr": 0.1}


@attrs.define
class Attrs:
    lr: float = 0.1
    optim: Optim = attrs.field(factory=Optim)


class HasToDict:
    def to_dict(self) -> dict[str, Any]:
        return {"lr": 0.1}


class OwnMapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return {"a": 1}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


Pair = namedtuple("Pair", "left right")

SOURCES: list[tuple[Any, dict[str, Any]]] = [
    (None, {}),
    ({}, {}),
    ({"lr": 0.1, "model": {"name": "vae"}}, {"lr": 0.1, "model": {"name": "vae"}}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (OwnMapping(), {"a": 1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (Whole(), {"optim": {"lr": 0.1, "betas": [0.9, 0.99]}, "seed": 3}),
    (Model(), {"lr": 0.1, "where": "/data"}),
    (OldModel(), {"lr": 0.1}),
    (Attrs(), {"lr": 0.1, "optim": {"lr": 0.1, "betas": [0.9, 0.99]}}),
    (omegaconf.OmegaConf.create({"a": 2, "b": "${a}", "c": [1, "${a}"]}), {"a": 2, "b": 2, "c": [1, 2]}),
    (argparse.Namespace(lr=0.1, inner=argparse.Namespace(x=1)), {"lr": 0.1, "inner": {"x": 1}}),
    (types.SimpleNamespace(lr=0.1), {"lr": 0.1}),
    (HasToDict(), {"lr": 0.1}),
    (Pair(1, 2), {"left": 1, "right": 2}),
]


@pytest.mark.parametrize(("source", "expected"), SOURCES, ids=lambda v: type(v).__name__)
def test_every_kind_of_source_becomes_a_plain_dict(source: Any, expected: dict[str, Any]) -> None:
    record = normalize_config(source)
    assert record.config == expected
    assert list(record.config) == list(expected)
    assert record.lossy == ()
    assert type(record.config) is dict


@pytest.mark.parametrize(
    "source", [3, 1.5, True, [1, 2], (1, 2), {1, 2}, b"lr: 1", object(), Whole, omegaconf.ListConfig([1])]
)
def test_what_is_no_configuration_is_refused_with_what_is(source: Any) -> None:
    with pytest.raises(ConfigError, match=r"config is of type .*; allowed is a dict"):
        normalize_config(source)


def test_a_source_whose_own_conversion_fails_is_refused_with_the_reason() -> None:
    class Config:
        def to_dict(self) -> dict[str, Any]:
            raise KeyError("nowhere")

    with pytest.raises(ConfigError, match=r"Config cannot be read: .*nowhere"):
        normalize_config(Config())


@pytest.mark.parametrize(
    ("given", "config", "lossy"),
    [
        ({"a": 1, "b": "${nowhere}"}, {"a": 1, "b": "${nowhere}"}, ("b",)),
        ({"a": 1, "b": {"c": "${oc.env:NO_SUCH_VARIABLE}/x", "d": "${a}"}},
         {"a": 1, "b": {"c": "${oc.env:NO_SUCH_VARIABLE}/x", "d": 1}}, ("b.c",)),
        ({"a": [1, "${hydra:runtime.cwd}", "${.0}"]}, {"a": [1, "${hydra:runtime.cwd}", 1]}, ("a",)),
        ({"a": "${b}", "b": "${a}", "c": 3}, {"a": "${b}", "b": "${a}", "c": 3}, ("a", "b")),
        ({"a": "${oc.decode:'[1'}", "b": "???", "c": None}, {"a": "${oc.decode:'[1'}", "b": "???", "c": None}, ("a",)),
        ({"a": "${missing}", "missing": "???"}, {"a": "${missing}", "missing": "???"}, ("a",)),
        ({"a": "${b}", "b": {"c": 1}}, {"a": {"c": 1}, "b": {"c": 1}}, ()),
    ],
)  # fmt: skip
def test_an_interpolation_without_a_target_costs_its_param(given: Any, config: Any, lossy: Any) -> None:
    source = omegaconf.OmegaConf.create(given)
    assert normalize_config(source) == (config, lossy)
    assert normalize_config({"cfg": source}) == ({"cfg": config}, tuple(f"cfg.{name}" for name in lossy))


@dataclasses.dataclass
class _HalfReadable:
    lr: float = 0.1
    device: str = "cpu"

    def __getattribute__(self, name: str) -> Any:
        if name == "device":
            raise OSError("the device is gone")
        return super().__getattribute__(name)


class _Store(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        if key == "far":
            raise ConnectionError("no route")
        return 1

    def __iter__(self) -> Iterator[str]:
        yield from ("near", "far")

    def __len__(self) -> int:
        return 2


class _Model(pydantic.BaseModel):
    lr: float = 0.1

    @pydantic.field_serializer("lr")
    def _serialize(self, value: float) -> float:
        raise RuntimeError("no")


def test_an_entry_that_raises_costs_itself() -> None:
    assert normalize_config(_HalfReadable()).config == {"lr": 0.1, "device": "OSError('the device is gone')"}
    assert normalize_config({"s": _Store()}) == ({"s": {"near": 1, "far": "ConnectionError('no route')"}}, ("s.far",))
    assert normalize_config(_Model()).config == {"lr": 0.1}


# --- values ------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


class Act(enum.Enum):
    RELU = "relu"


class Size(enum.IntEnum):
    SMALL = 7


class Mode(enum.StrEnum):
    FAST = "fast"


class Text(str):
    pass


class Number(int):
    pass


class Root(pydantic.RootModel[list[pathlib.Path]]):
    pass


VALUES: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (3, 3),
    (2**70, 2**70),
    (-0.0, -0.0),
    (math.inf, math.inf),
    ("ünïcode 🎉", "ünïcode 🎉"),
    (Text("x"), "x"),
    (Number(4), 4),
    (Path("/a/b"), "/a/b"),
    (pathlib.PureWindowsPath(r"C:\x"), r"C:\x"),
    (datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.UTC), "2024-01-02T03:04:00+00:00"),
    (datetime.date(2024, 1, 2), "2024-01-02"),
    (datetime.time(3, 4), "03:04:00"),
    (datetime.timedelta(minutes=1.5), 90.0),
    (Colour.RED, "RED"),
    (Act.RELU, "relu"),
    (Size.SMALL, 7),
    (Mode.FAST, "fast"),
    (np.float64(0.1), 0.1),
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.datetime64("2024-01-02"), "2024-01-02"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(2.5), 2.5),
    (np.array([b"a", b"b"]), ["a", "b"]),
    (np.array([1 + 2j]), ["(1+2j)"]),
    (np.array(None), None),
    (np.dtype("float32"), "float32"),
    (np.float32, "numpy.float32"),
    (torch.float32, "torch.float32"),
    (torch.device("cuda:1"), "cuda:1"),
    (torch.tensor(3), 3),
    (torch.tensor([0.5, 1.5], requires_grad=True), [0.5, 1.5]),
    (torch.tensor([0.5], dtype=torch.bfloat16), [0.5]),
    (torch.Size([2, 3]), [2, 3]),
    (torch.nn.functional.relu, "torch.nn.functional.relu"),
    (torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
    (b"abc", "abc"),
    (b"\xff\x00", "0xff00"),
    (bytearray(b"ab"), "ab"),
    ((1, (2, 3)), [1, [2, 3]]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a"}), ["a", "b"]),
    ({"b", 1}, [1, "b"]),
    ({"k": 1}.keys(), ["k"]),
    (range(3), "range(0, 3)"),
    (decimal.Decimal("0.1"), 0.1),
    (decimal.Decimal("1e400"), "1E+400"),
    (decimal.Decimal("0.12345678901234567890"), "0.12345678901234567890"),
    (decimal.Decimal("Infinity"), math.inf),
    (fractions.Fraction(1, 3), "1/3"),
    (1 + 2j, "(1+2j)"),
    (len, "builtins.len"),
    (os.path.join, "posixpath.join"),
    (Path.exists, "pathlib.Path.exists"),
    (Whole, f"{__name__}.Whole"),
    (math, "math"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (pydantic.TypeAdapter(pydantic.HttpUrl).validate_python("http://a/b"), "http://a/b"),
    (Root([Path("/x")]), ["/x"]),
    (omegaconf.OmegaConf.create([1, {"a": 2}]), [1, {"a": 2}]),
    (Optim(), {"lr": 0.1, "betas": [0.9, 0.99]}),
    ([], []),
    ({}, {}),
]


@pytest.mark.parametrize(("value", "expected"), VALUES, ids=lambda v: repr(v)[:40])
def test_values_with_a_plain_form_get_it(value: Any, expected: Any) -> None:
    record = normalize_config({"v": value})
    assert record.config["v"] == expected
    assert type(record.config["v"]) is type(expected)
    assert record.lossy == ()


def test_nan_stays_nan() -> None:
    found = normalize_config({"a": math.nan, "b": np.float32("nan"), "c": decimal.Decimal("sNaN")}).config
    assert [type(v) for v in found.values()] == [float] * 3
    assert all(math.isnan(v) for v in found.values())


class Unknown:
    pass


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Long:
    def __repr__(self) -> str:
        return "x" * 10_000_000


class BadToDict:
    def to_dict(self) -> dict[str, Any]:
        raise RuntimeError("no")


class ToDictOfNothing:
    def to_dict(self) -> int:
        return 3


LOSSY: list[tuple[Any, str]] = [
    (Unknown(), f"<{__name__}.Unknown object>"),
    (Rude(), f"<{__name__}.Rude, whose repr raises RuntimeError>"),
    (Long(), "x" * 199 + "…"),
    (BadToDict(), f"<{__name__}.BadToDict object>"),
    (ToDictOfNothing(), f"<{__name__}.ToDictOfNothing object>"),
    (np.zeros((1000, 1000), np.float32), "<numpy.ndarray of shape (1000, 1000), float32>"),
    (torch.zeros(2000), "<torch.Tensor of shape (2000,), torch.float32>"),
    (np.longdouble(1) / 3, "<numpy.longdouble of shape (), float128>"),
    (torch.nn.Linear(2, 3), "Linear(in_features=2, out_features=3, bias=True)"),
    (torch.nn.Sequential(torch.nn.ReLU()), "Sequential( (0): ReLU() )"),
    (b"\x01" * 5000, "<5000 bytes starting 0x" + "01" * 32 + ">"),
    (list[int], "list[int]"),
    (1 << 40_000, "<int of 40001 bits>"),
    ("a\udc80b", "a\\udc80b"),
    (Path(os.fsdecode(b"/data/\xff")), "/data/\\udcff"),
    (pydantic.SecretStr("hunter2"), "SecretStr('**********')"),
]


@pytest.mark.parametrize(("value", "expected"), LOSSY, ids=lambda v: type(v).__name__)
def test_values_without_a_plain_form_are_described_and_named_lossy(value: Any, expected: str) -> None:
    record = normalize_config({"a": {"v": value}, "b": [{"deep": [value]}], "c": 1})
    assert record.config["a"]["v"] == expected
    assert record.config["b"] == [{"deep": [expected]}]
    assert record.lossy == ("a.v", "b")
    record.config["a"]["v"].encode()


def test_functions_without_a_name_that_leads_to_them_are_lossy_and_without_addresses() -> None:
    record = normalize_config({"a": lambda x: x, "b": functools.partial(len, 3), "c": functools.partial(sorted)})
    assert record.lossy == ("a", "b", "c")
    assert all("0x" not in text for text in record.config.values())
    assert "<lambda>" in record.config["a"]
    assert record.config["b"] == "functools.partial(<built-in function len>, 3)"


def test_a_table_is_described_not_spelled_out() -> None:
    import pandas as pd

    record = normalize_config({"table": pd.DataFrame({"a": range(100_000)})})
    assert record.lossy == ("table",)
    assert len(record.config["table"]) <= 200
    assert normalize_config({"v": pd.Timestamp("2024-01-02")}).config["v"] == "2024-01-02T00:00:00"


# --- keys, cycles, limits ------------------------------------------------------------------------------------


def test_keys_that_are_not_text_become_text() -> None:
    keys = {1: "int", 2.5: "float", None: "null", (1, "a"): "tuple", Act.RELU: "enum", Path("p"): "path"}
    assert list(normalize_config({**keys, False: "bool"}).config) == [
        "1", "2.5", "null", '[1,"a"]', "relu", "p", "false",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({1: "a", "1": "b"}, "'1'"),
        ({"x": {"y": {None: 1, "null": 2}}}, r"'x\.y\.null'"),
        ({"a.b": 1, "a": {"b": 2}}, r"'a\.b'"),
        ({"a": {"b.c": 1, "b": {"c": 2}}}, r"'a\.b\.c'"),
        ({"a.b": {"c": 1}, "a": {"b.c": 1}}, r"'a\.b\.c'"),
    ],
)
def test_colliding_keys_are_refused_by_name(config: dict[Any, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"config key {key} comes twice"):
        normalize_config(config)


@pytest.mark.parametrize("key", ["\ud800", Text("x\udfff")])
def test_a_key_with_lone_surrogates_is_refused_by_name(key: str) -> None:
    with pytest.raises(ConfigError, match=r"'model\..*' has lone surrogates"):
        normalize_config({"model": {key: 1}})


def test_cycles_are_refused_by_name() -> None:
    loop: dict[str, Any] = {"a": {"b": [0, {}]}}
    loop["a"]["b"][1]["back"] = loop["a"]
    with pytest.raises(ConfigError, match=r"key 'a\.b\[1\]\.back' contains itself: .* key 'a'"):
        normalize_config(loop)
    loop = {}
    loop["self"] = loop
    with pytest.raises(ConfigError, match=r"key 'self' contains itself: .* the whole configuration"):
        normalize_config(loop)
    node = Whole()
    node.optim = node  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="'optim' contains itself"):
        normalize_config(node)
    array = np.array([None])
    array[0] = array
    with pytest.raises(ConfigError, match="contains itself"):
        normalize_config({"a": array})


def test_one_object_in_two_places_is_no_cycle() -> None:
    shared = {"x": [1]}
    record = normalize_config({"a": shared, "b": [shared, shared]})
    assert record.config == {"a": {"x": [1]}, "b": [{"x": [1]}, {"x": [1]}]}
    record.config["a"]["x"].append(2)
    assert shared == {"x": [1]}, "the caller's objects are copied"
    assert record.config["b"][0] == {"x": [1]}


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda v: {"k": v}, lambda v: [v], lambda v: types.SimpleNamespace(k=v)])
def test_a_hundred_levels_are_stored_and_read_back(wrap: Any) -> None:
    config = normalize_config({"top": nested(100, wrap)}).config
    assert load_json(dump_json(config)) == config
    assert yaml.safe_load(dump_yaml(config)) == config
    assert len(flatten(config)) == 1
    assert merge(config, {"new": 1})["new"] == 1


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 201, 5_000])
@pytest.mark.parametrize("wrap", [lambda v: {"k": v}, lambda v: [v], lambda v: types.SimpleNamespace(k=v)])
def test_too_deep_is_refused(depth: int, wrap: Any) -> None:
    with pytest.raises(ConfigError, match="nested deeper than"):
        normalize_config({"top": nested(depth, wrap)})


def test_objects_that_unfold_for_ever_are_refused() -> None:
    class Endless:
        def to_dict(self) -> dict[str, Any]:
            return {"next": Endless()}

    with pytest.raises(ConfigError, match="nested deeper than"):
        normalize_config(Endless())


def test_a_stack_that_is_nearly_full_gives_our_error() -> None:
    def at_depth(left: int) -> None:
        if left:
            at_depth(left - 1)
        else:
            normalize_config({"top": nested(MAX_DEPTH - 2, lambda v: {"k": v})})

    frame, used = sys._getframe(), 0
    while frame.f_back is not None:
        frame, used = frame.f_back, used + 1
    with pytest.raises(ConfigError, match="nested too deeply"):
        at_depth(sys.getrecursionlimit() - used - 40)


# --- files -------------------------------------------------------------------------------------------------

YAML = """
lr: 1e-3
eps: 1.5E-8
big: 2e6
text: "1e-3"
when: 2024-01-02
nan: .nan
base: &base {a: 1, b: 2}
both: {<<: *base, b: 3}
"""


def test_yaml_json_and_toml_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(YAML)
    found = normalize_config(str(tmp_path / "c.yaml")).config
    assert math.isnan(found.pop("nan"))
    assert found == {
        "lr": 0.001, "eps": 1.5e-8, "big": 2e6, "text": "1e-3", "when": "2024-01-02",
        "base": {"a": 1, "b": 2}, "both": {"a": 1, "b": 3},
    }  # fmt: skip
    (tmp_path / "c.JSON").write_bytes(b'\xef\xbb\xbf{"lr": 1e-3, "name": "\xc3\xbc"}')
    assert normalize_config(tmp_path / "c.JSON").config == {"lr": 0.001, "name": "ü"}
    (tmp_path / "c.toml").write_text("lr = 1e-3\n[model]\nwhen = 2024-01-02\n")
    assert normalize_config(tmp_path / "c.toml").config == {"lr": 0.001, "model": {"when": "2024-01-02"}}
    (tmp_path / "empty.yml").write_text("")
    assert normalize_config(tmp_path / "empty.yml").config == {}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("c.yaml", "a: !!python/object/apply:os.system ['touch pwned']", "could not determine a constructor"),
        ("c.yaml", "a: [", "cannot be read"),
        ("c.yaml", "a: 1\na: 2", "key 'a' comes twice"),
        ("c.yaml", "- 1\n- 2", "is of type list; allowed is a dict"),
        ("c.yaml", "just text", "is of type str; allowed is a dict"),
        ("c.yaml", "a: 1\n---\nb: 2", "cannot be read"),
        ("c.yaml", "a: &a [*a]", "contains itself"),
        ("c.yaml", "a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("c.yaml", "1: a\n'1': b", "comes twice"),
        ("c.json", '{"a": 1, "a": 2}', "key 'a' comes twice"),
        ("c.json", "{", "cannot be read"),
        ("c.json", "", "cannot be read"),
        ("c.json", "[" * 100_000, "nested too deeply"),
        ("c.toml", "a = 1\na = 2", "cannot be read"),
        ("c.txt", "a: 1", r"is none of \.yaml, \.yml, \.json, \.toml"),
        ("c.yaml", b"a: \xff", "cannot be read: .*utf-8"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, name: str, text: str | bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError, match=f"(?s){name}.*{reason}"):
        normalize_config(path)


def test_files_that_are_missing_or_special_are_refused_unopened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml' does not exist \(working folder"):
        normalize_config("nope.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dir.yaml").mkdir()
    for name in ("pipe.yaml", "dir.yaml"):
        with pytest.raises(ConfigError, match=rf"{name}.* is a (FIFO|folder); expected a regular file"):
            normalize_config(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot be read"):
        normalize_config("a\0b.yaml")


def test_a_few_lines_of_yaml_cannot_unfold_into_billions(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"bomb\.yaml.*more than 1,000,000 values"):
        normalize_config(tmp_path / "bomb.yaml")


# --- flatten and merge ---------------------------------------------------------------------------------------


def test_flatten_makes_params() -> None:
    config = {"training": {"lr": 0.1, "betas": [1, {"a": 2}]}, "empty": {}, "x.y": 1, "": {"": 2}}
    assert flatten(config) == {
        "training.lr": 0.1, "training.betas": [1, {"a": 2}], "empty": {}, "x.y": 1, ".": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "update", "expected"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": {"x": 1}}, {"a.x": 2}, {"a": {"x": 2}}),
        ({"a": {"x": 1}}, {"a.y": 2}, {"a": {"x": 1, "y": 2}}),
        ({"a.x": 1}, {"a.x": 2}, {"a.x": 2}),
        ({"a.b": {"c": 1}}, {"a.b.c": 2}, {"a.b": {"c": 2}}),
        ({}, {"a.b.c": 1}, {"a": {"b": {"c": 1}}}),
        ({"a": {}}, {"a": {"b.c": 1}}, {"a": {"b": {"c": 1}}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": {"x": {"y": 1}}}, {"a.x": {"z": 2}}, {"a": {"x": {"y": 1, "z": 2}}}),
        ({"a": {"b": {"c": 1}}, "a.b": {"d": 1}}, {"a.b.c": 2}, {"a": {"b": {"c": 2}}, "a.b": {"d": 1}}),
        ({}, {".": 1, "a.": 2, ".b": 3}, {".": 1, "a.": 2, ".b": 3}),
    ],
)
def test_merge(config: dict[str, Any], update: dict[str, Any], expected: dict[str, Any]) -> None:
    before = dump_json([config, update])
    merged = merge(config, update)
    assert merged == expected
    assert dump_json([config, update]) == before


def test_merge_refuses_what_it_cannot_place() -> None:
    with pytest.raises(ConfigError, match=r"'training\.lr' cannot be set: 'training' is 3, not a section"):
        merge({"training": 3}, {"training.lr": 0.1})
    with pytest.raises(ConfigError, match=r"'a\.b' comes twice"):
        merge({"a.b": 1}, {"a": {"b": 2}})


# --- JSON and YAML -------------------------------------------------------------------------------------------

keys = st.text(max_size=6) | st.sampled_from(["$float", "a", "no", "1e-3", "null", "-", "<<", "=", "a: b", "#"])
texts = st.text(max_size=60) | st.sampled_from(
    ["", "~", "1e-3", "1.5", "0x1F", "1_000", "12:30", "yes", "Off", "2024-01-01", ".nan", "inf", "nan", "- a",
     "a: b", "a #b", "&a", "*a", "!!int 3", "%", "@", "\t", "a\nb", "a\n\n b \n", " lead", "trail ", "\x85", "\u2028",
     "\ufeff", "\x7f", "\x00", "🎉", "a\r\nb", "x " * 100, "\ufffe", "{a}", "[b", "'", '"', "|", ">", "---", "..."]
)  # fmt: skip
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
    | st.sampled_from([1e-5, 1e20, 1e16, -0.0, 5e-324, 1.0, 123456789.123])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
configs = st.dictionaries(keys, values, max_size=5)


def same(a: Any, b: Any) -> bool:
    """Equal in value, type, sign of zero and order of keys."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(a == b)


@given(values | st.floats() | st.lists(st.floats()))
def test_json_round_trip(value: Any) -> None:
    text = dump_json(value)
    assert "\n" not in text
    assert same(load_json(text), value)
    assert same(load_json(text.encode()), value)


@given(configs)
def test_yaml_round_trip(config: dict[str, Any]) -> None:
    text = dump_yaml(config)
    assert same(yaml.safe_load(text), config)


@given(configs)
def test_a_written_yaml_file_is_read_back_as_it_was(tmp_path_factory: Any, config: dict[str, Any]) -> None:
    try:
        expected = normalize_config(config).config
    except ConfigError:
        return  # two of the keys flatten alike
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(dump_yaml(expected), encoding="utf-8", newline="")
    assert same(normalize_config(path).config, expected)


@given(configs)
def test_normalizing_plain_values_changes_nothing(config: dict[str, Any]) -> None:
    try:
        record = normalize_config(config)
    except ConfigError:
        return
    assert same(record.config, config)
    assert record.lossy == ()
    assert same(normalize_config(record.config).config, config)


dotless = st.recursive(
    scalars, lambda inner: st.dictionaries(st.text("ab", max_size=2), inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(st.text("ab", max_size=2), dotless, max_size=4))
def test_merging_a_config_or_its_params_into_itself_changes_nothing(config: dict[str, Any]) -> None:
    assert same(merge(config, config), config)
    assert same(merge(config, flatten(config)), config)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([math.nan, [math.inf, -math.inf]], '[{"$float":"nan"},[{"$float":"inf"},{"$float":"-inf"}]]'),
        ({"$float": "nan"}, '{"$float":["nan"]}'),
        ({"$float": {"$float": math.nan}}, '{"$float":[{"$float":[{"$float":"nan"}]}]}'),
        ({"$float": 1, "b": 2}, '{"$float":1,"b":2}'),
        ({"ü": "é"}, '{"ü":"é"}'),
        ("a\udc80", '"a\\udc80"'),
        (-0.0, "-0.0"),
    ],
)  # fmt: skip
def test_json_is_written_so(value: Any, text: str) -> None:
    assert dump_json(value) == text
    assert same(load_json(text), value)
    dump_json(value).encode()


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "", '{"$float":"big"}', '{"$float":[1,2]}', b"\xff", "1 2"])
def test_json_that_is_not_ours_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        load_json(text)


def test_json_refuses_what_is_not_plain() -> None:
    with pytest.raises(TypeError):
        dump_json({"a": np.float32(1)})


def test_yaml_is_made_to_be_read() -> None:
    config = {
        "name": "β-VAE",
        "model": {"layers": [64, 32], "act": "relu"},
        "lr": 1e-5,
        "text": "1e-3",
        "limit": math.inf,
        "stages": [{"epochs": 3}, {"epochs": 4}],
        "none": None,
        "empty": {},
    }
    assert dump_yaml(config) == (
        "name: β-VAE\nmodel:\n  layers: [64, 32]\n  act: relu\nlr: 1.0e-05\ntext: '1e-3'\nlimit: .inf\n"
        "stages:\n- epochs: 3\n- epochs: 4\nnone: null\nempty: {}\n"
    )
    assert dump_yaml({}) == "{}\n"
    shared = [1]
    assert dump_yaml({"a": shared, "b": shared}) == "a: [1]\nb: [1]\n"


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, frameworm.experiment.config\n"
        "heavy = {'yaml', 'numpy', 'pandas', 'sqlalchemy', 'torch', 'pydantic', 'decimal', 'tomllib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout == "[]\n"
