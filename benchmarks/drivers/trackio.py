"""Trackio: its local SQLite file, read through its storage class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer

PROJECT = "bench"


class Trackio(Peer):
    """``trackio.log`` into a queue that a thread writes to SQLite."""

    title = "Trackio"
    requirements = ("trackio==0.43.0",)
    extras = ("pandas==3.1.1",)
    module = "trackio"
    sizes: ClassVar[dict[str, str | None]] = {
        "rows-10000": "10000x50",
        "rows-100000": "100000x3",
        "short": "60",
        "processes-8": "8x2000",
        "processes-64": "64x300",
    }
    reader = "its SQLiteStorage"
    environment: ClassVar[dict[str, str]] = {"HF_HUB_OFFLINE": "1"}

    def __init__(self, folder: Path) -> None:
        """Import it; the folder is taken from the environment at that moment."""
        os.environ["TRACKIO_DIR"] = str(folder)
        import trackio

        self.trackio = trackio
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record a run."""
        run = self.trackio.init(project=PROJECT, name=name, config=params, embed=False)
        put = run.log
        body(lambda metric, value, step: put({metric: value}, step=step), lambda row, step: put(row, step=step))
        self.trackio.finish()

    def _storage(self) -> Any:
        from trackio.sqlite_storage import SQLiteStorage

        return SQLiteStorage

    def arrays(self) -> Any:
        """Read every point."""
        logs = self._storage().get_logs(PROJECT, "filled")
        return [one["step"] for one in logs], [one["loss"] for one in logs]

    def frame(self) -> Any:
        """Read every point as a table."""
        import pandas as pd

        return pd.DataFrame(self._storage().get_logs(PROJECT, "filled"))

    def chart(self) -> Any:
        """Read a sample."""
        return self._storage().get_logs(PROJECT, "filled", max_points=1000)

    def _rows(self, most: int | None = None) -> list[dict[str, Any]]:
        storage = self._storage()
        rows = []
        for run in list(self.trackio.Api().runs(PROJECT))[:most]:
            logs = storage.get_logs(PROJECT, run.name, run_id=run.id)
            rows.append({"name": run.name, **(run.config or {}), **(logs[-1] if logs else {})})
        return rows

    def list_all(self) -> Any:
        """Read every run's config and points; it has no call for last values."""
        import pandas as pd

        return pd.DataFrame(self._rows())

    def search(self) -> Any:
        """Read every run and choose."""
        table = self.list_all()
        return table[(table.lr < 0.5) & (table.m0 < 0.5)]

    def compare(self) -> Any:
        """Read ten runs."""
        import pandas as pd

        return pd.DataFrame(self._rows(10))


PEERS = {"trackio": Trackio}
