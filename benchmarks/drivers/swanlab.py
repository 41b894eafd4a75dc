"""SwanLab in offline mode. What it writes offline it cannot read itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer


class SwanLab(Peer):
    """``swanlab.log``."""

    title = "SwanLab offline"
    requirements = ("swanlab==0.10.3",)
    module = "swanlab"
    sizes: ClassVar[dict[str, str | None]] = {
        "latency": "20000",
        "scalar": "20000",
        "rows-20": "20x2000",
        "rows-10000": "10000x4",
        "rows-100000": "100000x1",
        "short": "4",
        "processes-8": "8x1000",
        "processes-64": None,
        "read": None,
        "store": None,
    }
    notes = "Offline runs have to be uploaded to be read; 64 processes take minutes to start."

    def __init__(self, folder: Path) -> None:
        """Import it."""
        import swanlab

        self.swanlab = swanlab
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record a run."""
        self.swanlab.init(project="bench", name=name, config=params, log_dir=str(self.folder), mode="offline")
        put = self.swanlab.log
        body(lambda metric, value, step: put({metric: value}, step=step), lambda row, step: put(row, step=step))
        self.swanlab.finish()


PEERS = {"swanlab": SwanLab}
