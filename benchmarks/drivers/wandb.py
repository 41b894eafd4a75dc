"""Weights & Biases in offline mode. What it writes offline it cannot read itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer


class Wandb(Peer):
    """``run.log`` to a process of its own that writes the offline file."""

    title = "W&B offline"
    requirements = ("wandb==0.31.0",)
    module = "wandb"
    sizes: ClassVar[dict[str, str | None]] = {
        "latency": "10000",
        "scalar": "10000",
        "rows-20": "20x3000",
        "rows-10000": "10000x20",
        "rows-100000": "100000x2",
        "short": "30",
        "processes-8": "8x500",
        "processes-64": None,
        "read": None,
        "store": None,
    }
    environment: ClassVar[dict[str, str]] = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    notes = "Offline runs have to be uploaded to be read; 64 processes take minutes to start."

    def __init__(self, folder: Path) -> None:
        """Import it."""
        import wandb

        self.wandb = wandb
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record a run."""
        with self.wandb.init(project="bench", name=name, config=params, dir=str(self.folder), mode="offline") as run:
            put = run.log
            body(lambda metric, value, step: put({metric: value}, step=step), lambda row, step: put(row, step=step))


PEERS = {"wandb": Wandb}
