"""One optimizer step, and an evaluation: what training does, without when and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from frameworm.experiment.errors import InputError
from frameworm.training.losses import Means, batch_size, loss_function, loss_module


class Stepper:
    """Makes optimizer steps with a model on Fabric's device, precision and ranks.

    Args:
        fabric: launched.
        model: moved to the device by this.
        optimizer: of the model's parameters.
        criterion: see `frameworm.training.losses.loss_function`.
        clip_norm: largest norm of the gradient, or None.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        optimizer: Optimizer,
        criterion: Callable[..., Any] | None,
        clip_norm: float | None,
    ) -> None:
        self._fabric = fabric
        self._module, self._optimizer = fabric.setup(loss_module(model, criterion), optimizer)
        self._loss = loss_function(fabric, self._module, criterion)
        self._clip_norm = clip_norm

    def begin_epoch(self) -> None:
        """Put the model in training mode; once an epoch, as it costs as much as a small step."""
        self._module.train()

    def step(self, group: list[Any], epoch_means: Means) -> tuple[int, Means]:
        """Make one optimizer step with the gradient of a group of batches joined.

        Args:
            group: the batches; each counts by its length.
            epoch_means: every batch's terms are added to it.

        Returns:
            The number of samples, and the means of the terms over them (and ``grad_norm`` if clipping).
        """
        sizes = [batch_size(batch) for batch in group]
        samples = sum(sizes)
        means = Means(self._fabric.device)
        self._optimizer.zero_grad()
        for i, (batch, size) in enumerate(zip(group, sizes, strict=True)):
            with self._fabric.no_backward_sync(self._module, enabled=i < len(group) - 1):
                terms = self._loss(batch)
                loss = terms["loss"]
                self._fabric.backward(loss if len(group) == 1 else loss * (size / samples))
            row = means.row(terms)
            means.add(terms, row, size / samples)
            epoch_means.add(terms, row, size)
        if self._clip_norm is not None:
            norm = self._fabric.clip_gradients(
                self._module, self._optimizer, max_norm=self._clip_norm, error_if_nonfinite=False
            )
            assert norm is not None
            means.add(["grad_norm"], means.row({"grad_norm": norm}), 1.0)
        self._optimizer.step()
        return samples, means

    def evaluate(self, loader: Iterable[Any], means: Means) -> int:
        """Add the loss terms of every batch, computed in evaluation mode; return the number of batches."""
        batches = 0
        self._module.eval()
        with torch.no_grad():
            for batches, batch in enumerate(loader, start=1):  # noqa: B007
                terms = self._loss(batch)
                means.add(terms, means.row(terms), batch_size(batch))
        return batches


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """Return ``lr``, or ``lr/0``, ``lr/1``, … if there are several parameter groups."""
    groups = optimizer.param_groups
    if len(groups) == 1:
        return {"lr": float(groups[0]["lr"])}
    return {f"lr/{i}": float(group["lr"]) for i, group in enumerate(groups)}


def launched_fabric(device: str | torch.device, precision: str) -> Fabric:
    """Return a Fabric for one device.

    Raises:
        InputError: there is no such device or precision.
    """
    kind, _, index = str(device).partition(":")
    devices: list[int] | int = [int(index)] if index.isdigit() and kind != "cpu" else 1
    try:
        fabric = Fabric(accelerator=kind, devices=devices, precision=precision)  # type: ignore[arg-type]
        fabric.launch()
    except (ValueError, RuntimeError) as exc:
        raise InputError(f"cannot train on device={str(device)!r} with precision={precision!r}: {exc}") from exc
    return fabric
