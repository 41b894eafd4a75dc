"""The state of every random generator that training draws from."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch


def collect_rng(loaders: Iterable[Any]) -> dict[str, Any]:
    """Return the state of every random generator that training draws from.

    Those of Python, NumPy (its global one, if NumPy is loaded), PyTorch on the CPU and every CUDA device in
    use, and the generators given to the loaders or their samplers.
    """
    state: dict[str, Any] = {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "loaders": [generator.get_state() for generator in _generators(loaders)],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if numpy := sys.modules.get("numpy"):
        kind, keys, *rest = numpy.random.get_state(legacy=True)
        state["numpy"] = [str(kind), torch.from_numpy(keys.astype("int64")), *rest]
    return state


def restore_rng(state: Mapping[str, Any], loaders: Iterable[Any]) -> bool:
    """Take back what `collect_rng` returned.

    Returns:
        False if the loaders do not have as many generators of their own as they had: their order will differ.
    """
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        for device, cuda_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda_state, device)
    if "numpy" in state:
        import numpy

        kind, keys, *rest = state["numpy"]
        numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
    generators = _generators(loaders)
    if len(generators) != len(state["loaders"]):
        return False
    for generator, generator_state in zip(generators, state["loaders"], strict=True):
        generator.set_state(generator_state)
    return True


def _generators(loaders: Iterable[Any]) -> list[torch.Generator]:
    """Return the generators of loaders and their samplers, each once, in a fixed order."""
    found: list[torch.Generator] = []
    for loader in loaders:
        batch_sampler = getattr(loader, "batch_sampler", None)
        owners = (
            loader,
            getattr(loader, "sampler", None),
            batch_sampler,
            getattr(batch_sampler, "sampler", None),
        )
        for owner in owners:
            generator = getattr(owner, "generator", None)
            if isinstance(generator, torch.Generator) and not any(generator is known for known in found):
                found.append(generator)
    return found
