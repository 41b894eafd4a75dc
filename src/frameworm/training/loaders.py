"""What the trainer asks of a loader of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from frameworm.experiment.errors import InputError

EMPTY = "{name} gave no batch; is its data set empty, or smaller than one batch with drop_last=True?"


def set_up_loader(fabric: Fabric, loader: Any, name: str) -> Any:
    """Check a loader, and let Fabric share it among the ranks if it is a DataLoader.

    Raises:
        InputError: it is no iterable, is empty, or can be read only once.
    """
    if isinstance(loader, Iterator):
        raise InputError(
            f"{name} is a {type(loader).__name__}, which can be read only once; give a DataLoader or a list of batches"
        )
    if not isinstance(loader, Iterable):
        raise InputError(f"{name} is of type {type(loader).__name__}; give a DataLoader or a list of batches")
    if length(loader) == 0:
        raise InputError(EMPTY.format(name=name))
    if isinstance(loader, DataLoader):
        # Each batch is moved to the device when it is used: of a group to accumulate, one at a time is there.
        return fabric.setup_dataloaders(loader, move_to_device=False)
    return loader


def length(loader: Any) -> int | None:
    """Return the number of batches, None if the loader does not know."""
    try:
        return len(loader)
    except TypeError:
        return None


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell a sampler that reshuffles by epoch, as distributed ones do, which one comes next, from 0.

    Fabric's loader passes on how often it was iterated, which after a resume is not the epoch.
    """
    if hasattr(loader, "_num_iter_calls"):
        loader._num_iter_calls = epoch
