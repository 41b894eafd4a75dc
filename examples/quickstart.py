"""Quickstart: a small network in NumPy learns handwritten digits, and every step is recorded.

Run it, then look at what it left:

    python examples/quickstart.py
    python -m frameworm.experiment.cli list
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.datasets import load_digits

from frameworm.experiment import Experiment

Array = NDArray[np.float64]


def load(seed: int) -> tuple[Array, NDArray[np.int64], Array, NDArray[np.int64]]:
    """Return 1,437 digits to train with and 360 to validate with: pixels (n, 64) in 0…1, and labels (n,)."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    pixels, labels = digits.data[order] / 16.0, digits.target[order]
    return pixels[:1437], labels[:1437], pixels[1437:], labels[1437:]


class Network:
    """One hidden layer, softmax, momentum."""

    def __init__(self, hidden: int, rng: np.random.Generator) -> None:
        self.weights = {
            "w1": rng.normal(0, np.sqrt(2 / 64), (64, hidden)),
            "b1": np.zeros(hidden),
            "w2": rng.normal(0, np.sqrt(2 / hidden), (hidden, 10)),
            "b2": np.zeros(10),
        }
        self.velocity = {name: np.zeros_like(value) for name, value in self.weights.items()}

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Return the hidden activations and the logarithms of the ten probabilities."""
        w = self.weights
        hidden = np.maximum(x @ w["w1"] + w["b1"], 0)
        scores = hidden @ w["w2"] + w["b2"]
        scores -= scores.max(axis=1, keepdims=True)
        return hidden, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    def evaluate(self, x: Array, y: NDArray[np.int64]) -> dict[str, float]:
        """Return the mean cross-entropy in nats, and the accuracy."""
        log_p = self.forward(x)[1]
        return {
            "loss": float(-log_p[np.arange(len(y)), y].mean()),
            "accuracy": float((log_p.argmax(1) == y).mean()),
        }

    def train_step(self, x: Array, y: NDArray[np.int64], lr: float, momentum: float) -> dict[str, float]:
        """Take one step down the gradient of a batch; return its loss and accuracy before the step."""
        hidden, log_p = self.forward(x)
        rows = np.arange(len(y))
        error = np.exp(log_p)
        error[rows, y] -= 1
        error /= len(y)
        back = (error @ self.weights["w2"].T) * (hidden > 0)
        gradients = {"w1": x.T @ back, "b1": back.sum(0), "w2": hidden.T @ error, "b2": error.sum(0)}
        for name, gradient in gradients.items():
            self.velocity[name] = momentum * self.velocity[name] - lr * gradient
            self.weights[name] += self.velocity[name]
        loss, accuracy = -log_p[rows, y].mean(), (log_p.argmax(1) == y).mean()
        return {"loss": float(loss), "accuracy": float(accuracy)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root-dir", default="experiments", help="folder of all experiments (%(default)s)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    config = {
        "model": {"hidden": 64},
        "training": {
            "lr": arguments.lr,
            "momentum": 0.9,
            "batch_size": 32,
            "epochs": arguments.epochs,
            "seed": arguments.seed,
        },
    }
    training = config["training"]
    rng = np.random.default_rng(arguments.seed)
    x, y, val_x, val_y = load(arguments.seed)
    network = Network(config["model"]["hidden"], rng)

    with Experiment(
        "digits-numpy",
        config=config,
        description="A network of one hidden layer, in NumPy alone",
        tags=["digits", "numpy", "quickstart"],
        root_dir=arguments.root_dir,
    ) as exp:
        step = 0
        for epoch in track(range(1, arguments.epochs + 1), "training", transient=True):
            order = rng.permutation(len(x))
            for batch in np.array_split(order, len(order) // training["batch_size"]):
                values = network.train_step(x[batch], y[batch], training["lr"], training["momentum"])
                step += 1
                exp.log_metrics(values, step=step, epoch=epoch)
            result = {f"val_{name}": value for name, value in network.evaluate(val_x, val_y).items()}
            exp.log_metrics(result, step=step, epoch=epoch, metric_type="val")

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.npz"
            np.savez(path, **network.weights)
            exp.log_artifact(path, artifact_type="model")

    console = Console(highlight=False)
    console.print(f"[bold]{exp.experiment_id}[/] {exp.status}: {step:,} steps recorded in {exp.exp_dir}")
    console.print(f"validation loss {result['val_loss']:.4f}, accuracy {result['val_accuracy']:.1%}")
    console.print(f"next: python -m frameworm.experiment.cli show {exp.experiment_id} --root-dir {arguments.root_dir}")


if __name__ == "__main__":
    main()
