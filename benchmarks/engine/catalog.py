"""Many experiments, of 50 params and 20 metrics each, entered by the catalog's own calls; their folders are empty."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from drivers import Peer
from frameworm.experiment.manager import ExperimentManager
from frameworm.experiment.model import ExperimentInfo, SeriesSummary
from frameworm.experiment.storage.catalog import Catalog
from frameworm.experiment.storage.schema import Entry

PARAMS, METRICS = 50, 20
BATCH = 500
QUERY = "config.training.lr < 1e-2 and metrics.val_loss <= 0.5 and 'mnist' in tags and status == 'completed'"


def entries(root: Path, n: int) -> Iterator[Entry]:
    """Yield experiments with random values, fixed seed; makes their folders."""
    choose = random.Random(1)
    names = ["loss", "val_loss", *(f"m/{j}" for j in range(METRICS - 2))]
    for number in range(1, n + 1):
        config = {
            "training": {"lr": choose.random(), **{f"p{j}": choose.random() for j in range(PARAMS // 2 - 1)}},
            "model": {f"q{j}": choose.choice(["adam", 3, True, [1, 2]]) for j in range(PARAMS // 2)},
        }
        info = ExperimentInfo(
            experiment_id=f"exp_{number:03d}",
            uid=f"{number:032x}",
            name=f"run {number}",
            path=root / f"exp_{number:03d}_run_{number}",
            config=config,
            status="completed",
            tags=("vae", "mnist") if number % 2 else ("vae",),
            created_ms=1_700_000_000_000 + number * 1000,
            git={"commit": "abcd" * 10, "dirty": bool(number % 2)},
        )
        info.path.mkdir(exist_ok=True)
        yield Entry(
            info,
            [
                SeriesSummary(name, "train", 100, 0, choose.random(), choose.random(), 0.1, 0.9, 50.0, 99, 1, 1, 2)
                for name in names
            ],
            False,
        )


def fill(driver: Peer, n: int) -> dict[str, float]:
    """Enter n experiments."""
    catalog = Catalog.open(driver.folder)
    made = entries(driver.folder, n)
    begin = time.perf_counter()
    while batch := list(islice(made, BATCH)):
        catalog.upsert_many(batch)
    return {"fill_s": time.perf_counter() - begin}


def measure(driver: Peer, n: int) -> dict[str, float]:
    """List, search and compare by one manager, as in a notebook; then put to SQLite alone what each asks."""
    from measuring import repeated

    manager = ExperimentManager(driver.folder)
    some = some_of(n)
    asked: dict[str, Callable[[], Any]] = {
        "list": manager.list_experiments,
        "newest": lambda: manager.list_experiments(limit=20),
        "search": lambda: manager.search_experiments(QUERY),
        "compare": lambda: manager.compare_experiments(some),
    }
    figures = {"bytes_each": (driver.folder / "experiments.db").stat().st_size / n}
    for name, ask in asked.items():
        figures |= repeated(name, ask)
    for name in ("list", "search", "compare"):
        figures |= repeated(f"{name}_sqlite", partial(_rows, driver.folder, _statements(asked[name])))
    return figures


def some_of(n: int) -> list[str]:
    """Return the ids of ten experiments of n, far from each other."""
    return [f"exp_{number:03d}" for number in range(5, n, max(1, n // 10))][:10]


def _statements(ask: Callable[[], Any]) -> list[tuple[str, Any]]:
    """Return the statements that a question puts to SQLite, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "WITH")):
            found.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    return found


def _rows(root: Path, statements: list[tuple[str, Any]]) -> list[Any]:
    """Fetch what they answer with the standard library alone."""
    with closing(sqlite3.connect(root / "experiments.db")) as file:
        return [row for statement, parameters in statements for row in file.execute(statement, parameters)]
