"""One file a peer. Each says how its peer is installed, and records and reads with the peer's own local calls.

A driver is imported twice: by the harness, for what it says of the peer, and by ``drive.py`` in the peer's own
interpreter. So a module of this folder imports at its top nothing but the standard library.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

Log = Callable[[str, float, int], object]
"""Record one scalar: name, value, step."""

LogRow = Callable[[dict[str, float], int], object]
"""Record one value of each of several metrics at one step."""

Body = Callable[[Log, LogRow], object]

NAMES = (
    "floor-call",
    "floor-write",
    "floor-numpy",
    "frameworm",
    "sacred",
    "trackio",
    "tensorboardx",
    "swanlab",
    "wandb",
    "aim",
    "dvclive",
    "mlflow-files",
    "mlflow-sqlite",
)
"""Every peer, in the order of the report; what stands before the dash names the driver's file."""


class Peer:
    """What a driver tells of its peer, and what it does with it.

    Attributes:
        title: as it stands in the report.
        requirements: what pip installs; exact versions, for results that stay comparable.
        extras: what this driver needs beside, to read; installed after the size was taken.
        module: what a user imports.
        sizes: for each workload the peer takes part in, its size where that is not the full one; None leaves the
            peer out. A slow peer gets fewer points: rates are compared.
        reader: who reads what was recorded; empty when it is the peer itself.
        environment: variables that keep the peer local and quiet.
        notes: a sentence the report gives.
    """

    title: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]] = ()
    extras: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[str] = ""
    sizes: ClassVar[dict[str, str | None]] = {}
    reader: ClassVar[str] = ""
    environment: ClassVar[dict[str, str]] = {}
    notes: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        """Import the peer and point it at the folder that all of its files go to."""
        self.folder = folder

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Make one experiment, let ``body`` log to it, and end it: all is written when this returns."""
        raise NotImplementedError

    def fill(self, values: list[float]) -> None:
        """Record a series ``loss`` to be read later; a peer with a call for many points at once uses that."""

        def body(log: Log, log_row: LogRow) -> None:
            for step, value in enumerate(values):
                log("loss", value, step)

        self.run("filled", {}, body)

    def points_size(self) -> int | None:
        """Return the bytes of the files that hold points and nothing else, where there are such."""
        return None

    def settle(self) -> None:
        """Do what the peer needs done before it can read what was recorded."""

    # A peer that has one of these takes part in that reading workload. Each opens what it needs anew at every call.
    arrays: Callable[[], Any] | None = None
    """Return steps and values of ``loss`` of the only experiment, every point, as arrays or lists."""

    frame: Callable[[], Any] | None = None
    """Return the same as a pandas DataFrame."""

    chart: Callable[[], Any] | None = None
    """Return about 1,000 points of it, for a chart."""

    list_all: Callable[[], Any] | None = None
    """Return a table of all experiments."""

    search: Callable[[], Any] | None = None
    """Return the experiments whose param ``lr`` is below 0.5 and whose metric ``m0`` ended below 0.5."""

    compare: Callable[[], Any] | None = None
    """Return the params and last metrics of the first ten experiments."""


def peer_class(name: str) -> type[Peer]:
    """Return the driver of a peer, whose file is imported only now."""
    module = importlib.import_module(f"{__name__}.{name.split('-')[0]}")
    found: type[Peer] = module.PEERS[name]
    return found
