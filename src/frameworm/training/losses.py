"""From a batch to named loss terms, and from terms to their means over an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from frameworm.experiment.errors import InputError

LossFunction = Callable[[Any], dict[str, Tensor]]


class _Batch:
    """Holds a batch where Fabric's precision plugin does not look.

    Under mixed precision the plugin would round every float of the batch to 16 bits, targets included, before
    the model sees them; autocast converts what each operation needs, and no more.
    """

    __slots__ = ("items",)

    def __init__(self, items: Any) -> None:
        self.items = items


class _ComputeLoss(nn.Module):
    """Puts ``model.compute_loss`` where Fabric, autocast and DDP expect ``forward``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: _Batch) -> dict[str, Tensor]:
        compute_loss: Callable[..., Any] = self.model.compute_loss  # type: ignore[assignment]
        items = batch.items
        output = compute_loss(**items) if isinstance(items, Mapping) else compute_loss(*items)
        return _loss_terms(output, f"{type(self.model).__name__}.compute_loss")


def loss_module(model: nn.Module, criterion: Callable[..., Any] | None) -> nn.Module:
    """Return the module that Fabric is to set up: the model itself, or its ``compute_loss`` as a module.

    Raises:
        InputError: the model has no ``compute_loss`` and there is no criterion.
    """
    if criterion is not None:
        if not callable(criterion):
            raise InputError(
                f"criterion is of type {type(criterion).__name__}; it must be callable as "
                "criterion(model(x), y), such as torch.nn.CrossEntropyLoss()"
            )
        return model
    if not callable(getattr(model, "compute_loss", None)):
        raise InputError(
            f"{type(model).__name__} has no method compute_loss and no criterion was given. Give "
            "Trainer(..., criterion=loss_function), called as criterion(model(x), y), or the model a method "
            "compute_loss(*batch) that returns the loss, or a dict of named terms with the key 'loss'"
        )
    return _ComputeLoss(model)


def loss_function(fabric: Fabric, module: nn.Module, criterion: Callable[..., Any] | None) -> LossFunction:
    """Return the function that maps a batch to its loss terms.

    Args:
        fabric: the Fabric that set up ``module``.
        module: what `loss_module` returned, set up.
        criterion: as given to `loss_module`.

    Returns:
        batch -> {"loss": scalar, other terms: scalars}. With a criterion, the last item of the batch is the
        target and those before it are the model's arguments.
    """
    if criterion is None:
        precision = fabric.strategy.precision
        mixed = str(getattr(precision, "precision", "")).endswith("-mixed")

        def from_model(batch: Any) -> dict[str, Tensor]:
            batch = fabric.to_device(batch)
            items = batch if isinstance(batch, list | tuple | Mapping) else (batch,)
            terms: dict[str, Tensor] = module(_Batch(items if mixed else precision.convert_input(items)))
            return terms

        return from_model

    def from_criterion(batch: Any) -> dict[str, Tensor]:
        if not isinstance(batch, list | tuple) or len(batch) < 2:
            raise InputError(
                f"with a criterion a batch must be (inputs, target), not {_described(batch)}; for other "
                "batches give the model a method compute_loss(*batch)"
            )
        *inputs, target = fabric.to_device(batch)
        return _loss_terms(criterion(module(*inputs), target), "the criterion")

    return from_criterion


def _loss_terms(output: Any, source: str) -> dict[str, Tensor]:
    if isinstance(output, Tensor):
        output = {"loss": output}
    if not isinstance(output, Mapping):
        raise InputError(f"{source} returned {_described(output)}; it must be a scalar tensor or a dict of them")
    if not isinstance(output.get("loss"), Tensor):
        raise InputError(
            f"{source} returned the terms {', '.join(map(repr, output)) or '(none)'}; "
            "the one that is minimised must be there as 'loss', a scalar tensor"
        )
    terms = {}
    for name, value in output.items():
        tensor = value if isinstance(value, Tensor) else torch.as_tensor(value, device=output["loss"].device)
        if tensor.numel() != 1:
            raise InputError(f"{source} returned {name!r} as {_described(tensor)}; take its mean or sum first")
        terms[str(name)] = tensor.reshape(())
    return terms


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"an object of type {type(value).__name__}"


def batch_size(batch: Any) -> int:
    """Return the length of the first tensor of a batch, 1 if there is none with a length."""
    if isinstance(batch, Tensor):
        return max(len(batch), 1) if batch.dim() else 1
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else ()
    for part in parts:
        if isinstance(part, Tensor | Mapping | list | tuple):
            return batch_size(part)
    return 1


class Means:
    """Sample-weighted means of named scalars, summed on the device in float64 (MPS has only float32).

    Nothing waits for the device until `values`. Terms need not be the same at each step: each is averaged
    over the samples of the steps that had it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._sums: dict[tuple[str, ...], tuple[Tensor, float]] = {}

    def row(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the terms as one tensor of shape (terms,), detached."""
        return torch.stack([value.detach().to(self._dtype) for value in terms.values()])

    def add(self, names: Iterable[str], row: Tensor, weight: float) -> None:
        """Add a step's terms, given as `row` makes them, that were means over ``weight`` samples."""
        key = tuple(names)
        total, weights = self._sums.get(key, (None, 0.0))
        row = row * weight
        self._sums[key] = (row if total is None else total + row, weights + weight)

    def reduce(self, fabric: Fabric) -> None:
        """Make these the means over all ranks."""
        for names, (total, weight) in self._sums.items():
            both = fabric.all_reduce(torch.cat([total, total.new_tensor([weight])]), reduce_op="sum")
            assert isinstance(both, Tensor)
            self._sums[names] = (both[:-1], float(both[-1]))

    def tensors(self) -> dict[str, Tensor]:
        """Return the means as scalars on the device, without waiting for it."""
        return self._means([total for total, _ in self._sums.values()])

    def values(self) -> dict[str, float]:
        """Return the means as floats: one transfer from the device for each set of names, normally one."""
        return self._means([total.tolist() for total, _ in self._sums.values()])

    def _means(self, totals: Iterable[Any]) -> dict[str, Any]:
        """Divide: ``totals`` are what is summed, as tensors or lists, in the order of the sets of names."""
        sums: dict[str, tuple[Any, float]] = {}
        for (names, (_, weight)), row in zip(self._sums.items(), totals, strict=True):
            for name, total in zip(names, row, strict=True):
                old, old_weight = sums.get(name, (0.0, 0.0))
                sums[name] = (old + total, old_weight + weight)
        return {name: total / weight for name, (total, weight) in sums.items()}

    def state(self) -> list[Any]:
        """Return the sums as plain numbers, exactly."""
        return [[list(names), total.tolist(), weight] for names, (total, weight) in self._sums.items()]

    def load(self, state: list[Any]) -> None:
        """Take back what `state` returned."""
        for names, total, weight in state:
            tensor = torch.tensor(total, dtype=self._dtype, device=self._device)
            self._sums[tuple(names)] = (tensor, weight)
