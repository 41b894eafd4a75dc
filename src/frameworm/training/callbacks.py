"""What may be done between the steps of a training: the callback protocol and early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from frameworm.experiment.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from frameworm.training.trainer import Trainer

Mode = Literal["min", "max"]


class Callback:
    """Base of callbacks: every method does nothing; override what you need.

    All are called on every rank, in the order the callbacks were given. ``trainer.state`` tells where
    training is; ``trainer.stop(reason)`` ends it after the epoch.
    """

    def on_train_start(self, trainer: Trainer) -> None:
        """Before the first step, after a checkpoint was resumed."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first batch of ``trainer.state.current_epoch``."""

    def on_step_end(self, trainer: Trainer, terms: Mapping[str, Tensor]) -> None:
        """After an optimizer step; ``terms`` are scalars on the device, so that nothing waits for it."""

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        """After validation and before the checkpoint; ``metrics`` are the epoch's means and ``val_*``."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last epoch, or after an early stop."""

    def on_exception(self, trainer: Trainer, exception: BaseException) -> None:
        """When training ends by an exception, Ctrl-C included; it is raised again afterwards."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold to resume this callback: numbers, strings, tensors, lists and dicts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""


class EarlyStopping(Callback):
    """Stop when the monitored metric has not improved for ``patience`` epochs in a row.

    Args:
        patience: epochs without improvement after which training stops, at least 1.
        min_delta: by how much a value must beat the best one to count as an improvement.
        monitor: name of an epoch's metric such as ``val_loss``; the trainer's own ``monitor`` if None.
        mode: ``min`` if smaller is better, ``max`` if larger is; the trainer's own ``mode`` if None.

    NaN is never an improvement. The count is part of a checkpoint.
    """

    def __init__(
        self,
        patience: int = 5,
        min_delta: float = 0.0,
        monitor: str | None = None,
        mode: Mode | None = None,
    ) -> None:
        if patience < 1:
            raise InputError(f"patience is {patience}; it must be at least 1 epoch")
        if not (min_delta >= 0 and math.isfinite(min_delta)):
            raise InputError(f"min_delta is {min_delta}; it must be a finite number, 0 or more")
        if mode not in ("min", "max", None):
            raise InputError(f"mode is {mode!r}; it must be 'min' or 'max'")
        self.patience = patience
        self.min_delta = min_delta
        self.monitor = monitor
        self.mode = mode
        self.best: float | None = None
        self.epochs_without_improvement = 0

    def on_train_start(self, trainer: Trainer) -> None:
        """Stop at once if the resumed checkpoint was written by the epoch that stopped."""
        self._stop_if_due(trainer)

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        """Count the epoch, and stop the trainer when patience is used up."""
        value = metric_of(metrics, self.monitor or trainer.monitor)
        if is_better(value, self.best, self.mode or trainer.mode, self.min_delta):
            self.best = value
            self.epochs_without_improvement = 0
        else:
            self.epochs_without_improvement += 1
        self._stop_if_due(trainer)

    def _stop_if_due(self, trainer: Trainer) -> None:
        if self.epochs_without_improvement >= self.patience:
            name = self.monitor or trainer.monitor
            trainer.stop(f"{name} has not improved on {self.best} for {self.epochs_without_improvement} epochs")

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the count."""
        return {"best": self.best, "epochs_without_improvement": self.epochs_without_improvement}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back the best value and the count."""
        self.best = state["best"]
        self.epochs_without_improvement = state["epochs_without_improvement"]


def is_better(value: float, best: float | None, mode: Mode, min_delta: float = 0.0) -> bool:
    """Tell if ``value`` beats ``best`` by more than ``min_delta``; NaN never does, None is always beaten."""
    if math.isnan(value):
        return False
    if best is None:
        return True
    return value < best - min_delta if mode == "min" else value > best + min_delta


def metric_of(metrics: Mapping[str, float], name: str) -> float:
    """Return an epoch's metric.

    Raises:
        InputError: there is none of that name; the message lists those there are.
    """
    try:
        return metrics[name]
    except KeyError:
        raise InputError(
            f"the monitored metric {name!r} is not among this epoch's: {', '.join(sorted(metrics))}"
        ) from None
