"""tensorboardX writes; TensorBoard's EventAccumulator reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer


class TensorboardX(Peer):
    """A ``SummaryWriter`` a run."""

    title = "tensorboardX"
    requirements = ("tensorboardX==2.6.5",)
    extras = ("tensorboard==2.21.0", "pandas==3.1.1")
    module = "tensorboardX"
    sizes: ClassVar[dict[str, str | None]] = {
        "latency": "20000",
        "scalar": "20000",
        "rows-20": "20x1000",
        "rows-10000": "10000x2",
        "rows-100000": "20000x1",
        "short": "100",
        "processes-8": "8x2000",
        "processes-64": "64x500",
        "read-1m": None,
    }
    reader = "TensorBoard's EventAccumulator"
    notes = "It keeps values as float32, and params as text."

    def __init__(self, folder: Path) -> None:
        """Import it."""
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record a run; params go to a text summary, as ``add_hparams`` would make a second run of them."""
        with self.writer(str(self.folder / name)) as writer:
            if params:
                writer.add_text("params", str(params))
            log = writer.add_scalar

            def log_row(row: dict[str, float], step: int) -> None:
                for metric, value in row.items():
                    log(metric, value, step)

            body(log, log_row)

    def _series(self) -> Any:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        accumulator = EventAccumulator(str(self.folder / "filled"), size_guidance={"scalars": 0})
        accumulator.Reload()
        return accumulator.Scalars("loss")

    def arrays(self) -> Any:
        """Read every event."""
        series = self._series()
        return [event.step for event in series], [event.value for event in series]

    def frame(self) -> Any:
        """The same, as a table."""
        import pandas as pd

        return pd.DataFrame(self._series())

    def _rows(self) -> list[dict[str, Any]]:
        from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

        multiplexer = EventMultiplexer().AddRunsFromDirectory(str(self.folder))
        multiplexer.Reload()
        rows = []
        for run, tags in multiplexer.Runs().items():
            last = {tag: multiplexer.Scalars(run, tag)[-1].value for tag in tags["scalars"]}
            rows.append({"run": run, **last})
        return rows

    def list_all(self) -> Any:
        """Load every run, as TensorBoard does."""
        import pandas as pd

        return pd.DataFrame(self._rows())

    def search(self) -> Any:
        """Load every run and choose by the metric; params are not recorded as values."""
        table = self.list_all()
        return table[table.m0 < 0.5]


PEERS = {"tensorboardx": TensorboardX}
