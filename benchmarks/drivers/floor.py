"""The floor: what the machine itself takes for a call that does nothing, one small write, an array kept and saved."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer

NOT: dict[str, str | None] = {"short": None, "store": None, "start": None, "import": None, "installed": None}


class Call(Peer):
    """An empty method with the signature of ``log_metric``."""

    title = "empty method call"
    sizes: ClassVar[dict[str, str | None]] = {**NOT, "processes": None, "read": None}

    def log(self, name: str, value: float, step: int | None = None, epoch: int | None = None) -> None:
        """Do nothing."""

    def log_row(self, row: dict[str, float], step: int | None = None, epoch: int | None = None) -> None:
        """Do nothing."""

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Call the body."""
        body(self.log, self.log_row)


class Write(Peer):
    """One ``os.write`` a call: 32 bytes for a scalar, 8 a metric and 24 for a row."""

    title = "os.write"
    sizes: ClassVar[dict[str, str | None]] = {**NOT, "read": None}

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Write and fsync."""
        file = os.open(self.folder / f"{name}-{os.getpid()}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        record = bytes(32)
        rows: dict[int, bytes] = {}

        def log(metric: str, value: float, step: int) -> None:
            os.write(file, record)

        def log_row(row: dict[str, float], step: int) -> None:
            size = len(row)
            if size not in rows:
                rows[size] = bytes(24 + 8 * size)
            os.write(file, rows[size])

        body(log, log_row)
        os.fsync(file)
        os.close(file)


class NumPy(Peer):
    """Steps and values kept in memory, saved as ``.npy`` at the end: nothing survives a kill."""

    title = "arrays, saved as .npy"
    sizes: ClassVar[dict[str, str | None]] = {**NOT, "processes": None}

    def __init__(self, folder: Path) -> None:
        """Import NumPy."""
        import numpy as np

        self.np = np
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Append to arrays; save and fsync them."""
        steps, values = array("q"), array("d")

        def log(metric: str, value: float, step: int) -> None:
            steps.append(step)
            values.append(value)

        def log_row(row: dict[str, float], step: int) -> None:
            steps.append(step)
            values.extend(row.values())

        body(log, log_row)
        for what, column in (("steps", steps), ("values", values)):
            with open(self.folder / f"{name}-{what}.npy", "wb") as file:
                self.np.save(file, self.np.asarray(column))
                file.flush()
                os.fsync(file.fileno())

    def arrays(self) -> Any:
        """Load both files."""
        return self.np.load(self.folder / "filled-steps.npy"), self.np.load(self.folder / "filled-values.npy")


PEERS = {"floor-call": Call, "floor-write": Write, "floor-numpy": NumPy}
