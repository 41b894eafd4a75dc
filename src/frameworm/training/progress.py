"""One calm line that says where training is, and vanishes when it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

REFRESH_S = 0.1


class ProgressLine:
    """A bar over all epochs of a training, drawn on standard error; draws nothing when disabled.

    Args:
        enabled: False draws nothing; None draws if standard error is a terminal.
        title: what is trained.
        epochs: how many there are in all.
        batches_per_epoch: None if unknown; then the bar counts epochs.
    """

    def __init__(self, enabled: bool | None, title: str, epochs: int, batches_per_epoch: int | None) -> None:
        self._title = title
        self.enabled = sys.stderr.isatty() if enabled is None else enabled
        self._epochs = epochs
        self._batches_per_epoch = batches_per_epoch
        self._due = 0.0
        self._shown: dict[str, float] = {}

    def __enter__(self) -> ProgressLine:
        """Start drawing."""
        if self.enabled:
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("[bold]{task.description}[/]", markup=True),
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[values]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                refresh_per_second=5,
            )
            total = self._epochs * (self._batches_per_epoch or 1)
            self._task = self._bar.add_task(escape(self._title), total=total, epoch="", values="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the line away."""
        if self.enabled:
            self._bar.stop()

    def due(self) -> bool:
        """Tell whether the line is to be redrawn; false most of the time, for 0.1 µs."""
        return self.enabled and time.monotonic() >= self._due

    def show(self, epoch: int, batches: int, values: Mapping[str, float]) -> None:
        """Draw the line for the given epoch (from 1) and the batches of it that are done.

        Of the values, the loss and the last validation loss are shown, in columns that do not jump about.
        """
        if not self.enabled:
            return
        self._due = time.monotonic() + REFRESH_S
        done = (epoch - 1) * self._batches_per_epoch + batches if self._batches_per_epoch else epoch - 1
        self._shown.update((name, values[name]) for name in ("loss", "val_loss") if name in values)
        text = "  ".join(f"{name} {value:<9.4g}" for name, value in self._shown.items())
        self._bar.update(
            self._task, completed=done, epoch=f"{epoch:>{len(str(self._epochs))}}/{self._epochs}", values=text
        )
