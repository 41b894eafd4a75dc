"""MLflow with its two local stores: an SQLite file, and plain files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer


class Sqlite(Peer):
    """``mlflow.log_metric``: a transaction a call."""

    title = "MLflow, SQLite"
    requirements = ("mlflow==3.17.0",)
    module = "mlflow"
    sizes: ClassVar[dict[str, str | None]] = {
        "latency": "1000",
        "scalar": "300",
        "rows-20": "20x100",
        "rows-10000": "5000x1",
        "rows-100000": None,
        "short": "10",
        "processes-8": "8x20",
        "processes-64": None,
        "read-1m": None,
        "store": "100",
    }
    environment: ClassVar[dict[str, str]] = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}

    def __init__(self, folder: Path) -> None:
        """Import it and name the store."""
        import mlflow

        self.mlflow = mlflow
        mlflow.set_tracking_uri(self.uri(folder))
        super().__init__(folder)

    def uri(self, folder: Path) -> str:
        """Return where it records to."""
        return f"sqlite:///{folder}/mlflow.db"

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record a run."""
        with self.mlflow.start_run(run_name=name):
            if params:
                self.mlflow.log_params(params)
            body(self.mlflow.log_metric, self.mlflow.log_metrics)

    def fill(self, values: list[float]) -> None:
        """Record by batches of 1,000."""
        from mlflow.entities import Metric

        client = self.mlflow.MlflowClient()
        with self.mlflow.start_run(run_name="filled") as run:
            for first in range(0, len(values), 1000):
                part = enumerate(values[first : first + 1000], first)
                client.log_batch(run.info.run_id, [Metric("loss", value, 1, step) for step, value in part])

    def _series(self) -> Any:
        client = self.mlflow.MlflowClient()
        run = client.search_runs(["0"], max_results=1)[0]
        return client.get_metric_history(run.info.run_id, "loss")

    def arrays(self) -> Any:
        """Read every point."""
        series = self._series()
        return [one.step for one in series], [one.value for one in series]

    def frame(self) -> Any:
        """Read every point as a table."""
        import pandas as pd

        return pd.DataFrame([{"step": one.step, "value": one.value, "time": one.timestamp} for one in self._series()])

    def list_all(self) -> Any:
        """List."""
        return self.mlflow.search_runs(["0"])

    def search(self) -> Any:
        """Search by the metric; params are text there, so the table is asked for the param."""
        table = self.mlflow.search_runs(["0"], filter_string="metrics.m0 < 0.5")
        return table[table["params.lr"].astype(float) < 0.5]

    def compare(self) -> Any:
        """List ten."""
        return self.mlflow.search_runs(["0"], max_results=10)


class Files(Sqlite):
    """The same with plain files, which it has been asking its users to leave."""

    title = "MLflow, files"
    sizes: ClassVar[dict[str, str | None]] = {
        "latency": "3000",
        "scalar": "3000",
        "rows-20": "20x500",
        "rows-10000": "10000x1",
        "rows-100000": None,
        "short": "50",
        "processes-8": "8x300",
        "processes-64": None,
        "read-1m": None,
        "store": "200",
    }
    environment: ClassVar[dict[str, str]] = {**Sqlite.environment, "MLFLOW_ALLOW_FILE_STORE": "true"}
    notes = "MLflow refuses plain files unless `MLFLOW_ALLOW_FILE_STORE` is set, which is done here."

    def uri(self, folder: Path) -> str:
        """Return the folder."""
        return (folder / "mlruns").as_uri()


PEERS = {"mlflow-files": Files, "mlflow-sqlite": Sqlite}
