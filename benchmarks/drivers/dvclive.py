"""DVCLive without a DVC repository. Its TSV files are read by pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer


class DVCLive(Peer):
    """``log_metric`` and ``next_step``: a line in a TSV file a metric, and the summary written anew each step."""

    title = "DVCLive"
    requirements = ("dvclive==3.49.1",)
    extras = ("pandas==3.1.1",)
    module = "dvclive"
    sizes: ClassVar[dict[str, str | None]] = {
        "latency": "1000",
        "scalar": "500",
        "rows-20": "20x200",
        "rows-10000": "10000x1",
        "rows-100000": None,
        "short": "20",
        "processes-8": "8x100",
        "processes-64": None,
        "store": None,
    }
    reader = "pandas.read_csv of its files"
    environment: ClassVar[dict[str, str]] = {"DVC_NO_ANALYTICS": "1", "DVCLIVE_LOGLEVEL": "ERROR"}
    notes = "Its experiments are listed by DVC, from git commits; that is not measured."

    def __init__(self, folder: Path) -> None:
        """Import it."""
        from dvclive import Live

        self.live = Live
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record a run."""
        with self.live(str(self.folder / name), save_dvc_exp=False, dvcyaml=None) as live:
            if params:
                live.log_params(params)

            def log(metric: str, value: float, step: int) -> None:
                live.log_metric(metric, value)
                live.next_step()

            def log_row(row: dict[str, float], step: int) -> None:
                for metric, value in row.items():
                    live.log_metric(metric, value)
                live.next_step()

            body(log, log_row)

    def fill(self, values: list[float]) -> None:
        """Record without a summary at each step."""
        with self.live(str(self.folder / "filled"), save_dvc_exp=False, dvcyaml=None) as live:
            for step, value in enumerate(values):
                live.step = step
                live.log_metric("loss", value)

    def frame(self) -> Any:
        """Read the metric's file."""
        import pandas as pd

        return pd.read_csv(self.folder / "filled" / "plots" / "metrics" / "loss.tsv", sep="\t")

    def arrays(self) -> Any:
        """The columns of that."""
        table = self.frame()
        return table["step"].to_numpy(), table["loss"].to_numpy()


PEERS = {"dvclive": DVCLive}
