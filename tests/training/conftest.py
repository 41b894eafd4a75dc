"""A tiny learnable problem, a model with everything random training has, and loaders that shuffle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from frameworm.training import Trainer

torch.set_num_threads(1)


class Net(nn.Module):
    """Draws random numbers in training (dropout), keeps buffers (batch norm), has several loss terms."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def compute_loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        error = (self(x) - y).pow(2).mean()
        size = sum(p.pow(2).sum() for p in self.parameters())
        return {"loss": error + 1e-3 * size, "error": error, "size": size}


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    """52 samples: x (52, 4) and y (52, 1) float32."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(52, 4, generator=generator)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])


@pytest.fixture
def loaders(data: tuple[Tensor, Tensor]) -> Callable[..., tuple[DataLoader[Any], DataLoader[Any]]]:
    """Make (train, val) loaders: 5 batches of 8 shuffled, the last of 4 alone if not dropped; 12 to validate."""

    def make(**options: Any) -> tuple[DataLoader[Any], DataLoader[Any]]:
        x, y = data
        options = {"batch_size": 8, "shuffle": True, **options}
        return (
            DataLoader(TensorDataset(x[:36], y[:36]), **options),
            DataLoader(TensorDataset(x[36:48], y[36:48]), batch_size=8),
        )

    return make


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """Make a Trainer of a fresh `Net` with the same weights each time, on the CPU, Adam."""

    def make(model: nn.Module | None = None, *, lr: float = 0.01, seed: int = 0, **options: Any) -> Trainer:
        torch.manual_seed(seed)
        model = model or Net()
        options.setdefault("optimizer", torch.optim.Adam(model.parameters(), lr=lr))
        return Trainer(model, options.pop("optimizer"), device="cpu", **options)

    return make
