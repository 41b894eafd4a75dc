"""frameworm: its own calls, with everything it captures by default (console, system metrics, git, packages)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import Body, Peer


class Frameworm(Peer):
    """An ``Experiment`` a run; its manager and its reader."""

    title = "frameworm"
    requirements = ("-e {project}",)
    module = "frameworm.experiment"

    def __init__(self, folder: Path) -> None:
        """Import it."""
        from frameworm.experiment import Experiment, ExperimentManager

        self.experiment, self.manager = Experiment, ExperimentManager
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record an experiment."""
        with self.experiment(name, params, root_dir=self.folder) as exp:
            body(exp.log_metric, exp.log_metrics)

    def points_size(self) -> int:
        """Return the bytes of all segments."""
        return sum(path.stat().st_size for path in self.folder.glob("exp_*/logs/*.seg"))

    def arrays(self) -> Any:
        """Read every point."""
        points = self.manager(self.folder).reader("exp_001").read("loss")
        return points.steps, points.values

    def frame(self) -> Any:
        """Read every point, with its epoch, context and time."""
        return self.manager(self.folder).get_metric_history("exp_001", "loss")

    def chart(self) -> Any:
        """Read buckets that keep the extremes."""
        return self.manager(self.folder).reader("exp_001").read_downsampled("loss", points=1000)

    def list_all(self) -> Any:
        """List."""
        return self.manager(self.folder).list_experiments()

    def search(self) -> Any:
        """Search."""
        return self.manager(self.folder).search_experiments("config.lr < 0.5 and metrics.m0 < 0.5")

    def compare(self) -> Any:
        """Compare."""
        return self.manager(self.folder).compare_experiments([f"exp_{n:03d}" for n in range(1, 11)])


PEERS = {"frameworm": Frameworm}
