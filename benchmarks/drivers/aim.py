"""Aim with a local repository, read through its SDK."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer


class Aim(Peer):
    """``Run.track`` into RocksDB."""

    title = "Aim"
    requirements = ("aim==3.29.1",)
    extras = ("pandas==2.3.3",)
    module = "aim"
    sizes: ClassVar[dict[str, str | None]] = {
        "latency": "10000",
        "scalar": "10000",
        "rows-20": "20x500",
        "rows-10000": "10000x1",
        "rows-100000": None,
        "short": "10",
        "processes-8": "8x500",
        "processes-64": None,
        "read-1m": None,
        "store": "100",
    }
    notes = "Its index, without which queries find no metrics, is made after recording; that is not timed."
    environment: ClassVar[dict[str, str]] = {"AIM_UI_TELEMETRY_ENABLED": "0"}

    def __init__(self, folder: Path) -> None:
        """Import it."""
        import aim

        self.aim = aim
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record a run."""
        run = self.aim.Run(repo=str(self.folder), experiment=name)
        run["hparams"] = params
        put = run.track
        body(
            lambda metric, value, step: put(value, name=metric, step=step),
            lambda row, step: put(row, step=step),
        )
        run.close()

    def settle(self) -> None:
        """Make the index, without which queries find no metrics."""
        aim = Path(sys.executable).with_name("aim")
        subprocess.run([aim, "storage", "--repo", self.folder, "reindex", "--yes"], check=True)

    def _series(self) -> Any:
        repo = self.aim.Repo(str(self.folder))
        found = repo.query_metrics("metric.name == 'loss'", report_mode=0)
        return next(metric.data for run in found.iter_runs() for metric in run)

    def arrays(self) -> Any:
        """Read every point."""
        steps, (values, _, _) = self._series().numpy()
        return steps, values

    def frame(self) -> Any:
        """Read every point as a table."""
        import pandas as pd

        steps, (values, epochs, times) = self._series().numpy()
        return pd.DataFrame({"step": steps, "value": values, "epoch": epochs, "time": times})

    def chart(self) -> Any:
        """Read a sample."""
        return self._series().sample(1000).numpy()

    def _rows(self, query: str = "", most: int | None = None) -> list[dict[str, Any]]:
        rows = []
        repo = self.aim.Repo(str(self.folder))
        runs = (one.run for one in repo.query_runs(query, report_mode=0).iter_runs())
        for number, run in enumerate(runs):
            if number == most:
                break
            last = {metric.name: metric.data.numpy()[1][0][-1] for metric in run.metrics()}
            rows.append({"hash": run.hash, **run.get("hparams", {}), **last})
        return rows

    def list_all(self) -> Any:
        """Collect params and last values of every run."""
        import pandas as pd

        return pd.DataFrame(self._rows())

    def search(self) -> Any:
        """Ask for the param, then choose by the last value."""
        import pandas as pd

        table = pd.DataFrame(self._rows("run.hparams.lr < 0.5"))
        return table[table.m0 < 0.5]

    def compare(self) -> Any:
        """Collect ten."""
        import pandas as pd

        return pd.DataFrame(self._rows(most=10))


PEERS = {"aim": Aim}
