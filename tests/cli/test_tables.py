from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from frameworm.experiment.cli.tables import Column, layout, middle, tree
from frameworm.experiment.cli.text import inert, param


def written(columns: list[Column], width: int) -> list[str]:
    return ["".join(text for text, _ in line) for line in layout(columns, width)]


def columns() -> list[Column]:
    return [
        Column("id", ["exp_001", "exp_002"]),
        Column("name", ["a name of some length", "another"], shrink=8),
        Column("n", ["1", "22"], right=True, drop=1),
        Column("less important", ["x", ""], drop=2),
    ]


def test_a_wide_table_shows_everything() -> None:
    assert written(columns(), 1000) == [
        "id       name                    n  less important",
        "exp_001  a name of some length   1  x",
        "exp_002  another                22",
    ]


def test_columns_go_by_importance_and_then_texts_lose_their_middle() -> None:
    assert written(columns(), 36)[1:] == ["exp_001  a name of some length   1", "exp_002  another                22"]
    assert written(columns(), 24)[1] == "exp_001  a nam…ength   1"
    assert written(columns(), 19)[1] == "exp_001  a nam…ngth"
    assert max(map(len, written(columns(), 12))) <= 12


@given(st.text(), st.integers(3, 40))
def test_a_shortened_text_fits(text: str, size: int) -> None:
    assert cell_len(middle(inert(text), size)) <= size


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1), st.integers(20, 100))
def test_a_table_fits_whatever_is_in_it(rows: list[tuple[str, str]], width: int) -> None:
    table = [
        Column("id", ["exp_001" for _ in rows]),
        Column("name", [inert(a) for a, _ in rows], shrink=6),
        Column("more", [inert(b) for _, b in rows], drop=1),
    ]
    for line in written(table, width):
        assert cell_len(line) <= width
        assert "\x1b" not in line and "\n" not in line


@pytest.mark.parametrize("width", [30, 80])
def test_a_config_is_a_tree(width: int) -> None:
    config: dict[str, Any] = {
        "model": {"latent": 2, "layers": list(range(100)), "empty": {}},
        "seed": 1,
        "k" * 60: "v" * 60,
    }
    deep = config["model"]
    for _ in range(60):
        deep["deeper"] = {}
        deep = deep["deeper"]
    lines = ["".join(text for text, _ in line) for line in tree(config, width, 2, param)]
    assert lines[:2] == ["  model", "    latent  2"]
    assert lines[3] == "    empty   {}"
    assert max(map(cell_len, lines)) <= width
