"""A loop of your own in PyTorch: what to add to it to have it recorded.

The lines that record are those with ``exp``. Run it twice with another learning rate, then compare:

    python examples/pytorch_loop.py --lr 0.001
    python examples/pytorch_loop.py --lr 0.01
    python -m frameworm.experiment.cli compare exp_001 exp_002
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.progress import track
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from frameworm.experiment import Experiment


def load(seed: int) -> tuple[DataLoader[tuple[Tensor, ...]], DataLoader[tuple[Tensor, ...]]]:
    """Return loaders of digits, 1,437 to train and 360 to validate: images (n, 1, 8, 8) in 0…1, labels (n,)."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(seed))
    images = torch.as_tensor(digits.images, dtype=torch.float32)[order, None] / 16
    labels = torch.as_tensor(digits.target)[order]
    return (
        DataLoader(TensorDataset(images[:1437], labels[:1437]), batch_size=64, shuffle=True),
        DataLoader(TensorDataset(images[1437:], labels[1437:]), batch_size=360),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root-dir", default="experiments", help="folder of all experiments (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    train, val = load(arguments.seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.lr)
    criterion = nn.CrossEntropyLoss()

    with Experiment(
        "digits-cnn",
        config=arguments,
        description="A plain PyTorch loop",
        tags=["digits", "cnn"],
        root_dir=arguments.root_dir,
    ) as exp:
        step, best = 0, float("inf")
        for epoch in track(range(1, arguments.epochs + 1), "training", transient=True):
            model.train()
            for images, labels in train:
                optimizer.zero_grad()
                loss = criterion(model(images), labels)
                loss.backward()
                optimizer.step()
                step += 1
                exp.log_metric("loss", loss, step=step, epoch=epoch)

            model.eval()
            with torch.no_grad():
                images, labels = next(iter(val))
                scores = model(images)
                val_loss = criterion(scores, labels).item()
                accuracy = (scores.argmax(1) == labels).float().mean().item()
            exp.log_metrics({"val_loss": val_loss, "val_accuracy": accuracy}, step=step, epoch=epoch, metric_type="val")
            if val_loss < best:
                best = val_loss
                torch.save(model.state_dict(), exp.checkpoint_dir / "best.pt")

    console = Console(highlight=False)
    console.print(f"[bold]{exp.experiment_id}[/] {exp.status}: {step:,} steps recorded in {exp.exp_dir}")
    console.print(f"best validation loss {best:.4f}, last accuracy {accuracy:.1%}")
    console.print(f"next: python -m frameworm.experiment.cli show {exp.experiment_id} --root-dir {arguments.root_dir}")


if __name__ == "__main__":
    main()
