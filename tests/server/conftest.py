"""A store with a little of everything, and a client of the application over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from frameworm.experiment import Experiment
from frameworm.experiment.server.app import create_app

LOCAL = "http://127.0.0.1"

MODELS = [
    ("vae", {"lr": 0.1, "model": "vae", "big": True, "odd": 2}, [3.0, 1.0, 2.0], ["mnist"]),
    ("vae two", {"lr": 0.01, "model": "vae", "big": False, "odd": "ten"}, [0.5, math.nan], ["mnist", "good"]),
    ("gan", {"lr": 0.001, "model": "gan", "odd": None, "warm-up": 3}, [math.inf], []),
    ("lost", {"lr": 1, "model": "gan", "odd": 10}, [], ["archived"]),
    ("none", {}, [0.25], ["mnist"]),
]


def record(root: Path) -> Path:
    """Record ``exp_001`` to ``exp_005``."""
    for name, config, losses, tags in MODELS:
        project = "digits" if "vae" in name else "default"
        with Experiment(
            name=name,
            root_dir=root,
            config=config,
            tags=tags,
            project=project,
            capture_console=False,
            system_metrics_s=0,
        ) as exp:
            for step, loss in enumerate(losses):
                exp.log_metric("loss", loss, step=step)
                exp.log_metric("loss", -loss, step=step, metric_type="val")
            exp.log_metric("m/odd name", 1.0)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that no test changes."""
    return record(tmp_path_factory.mktemp("server") / "experiments")


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    """A client of the store that no test changes."""
    with TestClient(create_app(root), base_url=LOCAL) as client:
        yield client


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """A store of the test's own."""
    return record(tmp_path / "experiments")


@pytest.fixture
def serving() -> Iterator[Callable[..., TestClient]]:
    """Return a client of a new application over a root."""
    opened: list[TestClient] = []

    def serve(root: Path, **options: object) -> TestClient:
        client = TestClient(create_app(root, **options), base_url=LOCAL)
        opened.append(client)
        return client

    yield serve
    for client in opened:
        client.close()
