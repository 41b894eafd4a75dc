"""A small real training: a net of one hidden layer learns three rings of points, in NumPy, in a moment.

As a program it trains what its first argument names. ``sweep`` trains four, lets a fifth fail and forks the first;
``steered`` logs a point for each line that it reads, until it is killed or the lines end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from frameworm.experiment import Experiment

RINGS = 3


class DivergedError(RuntimeError):
    """The loss is not a number."""


def rings(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points (n, 2) and the ring each lies on (n,)."""
    choose = np.random.default_rng(seed)
    ring = choose.integers(0, RINGS, n)
    angle = choose.uniform(0, 2 * np.pi, n)
    radius = ring + 1 + choose.normal(0, 0.2, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), ring


class Net:
    """One hidden layer of tanh, softmax on top, plain gradient descent."""

    def __init__(self, hidden: int, seed: int) -> None:
        choose = np.random.default_rng(seed)
        self.first = choose.normal(0, 1, (3, hidden))
        self.second = choose.normal(0, 0.1, (hidden + 1, RINGS))

    def learn(self, points: np.ndarray, ring: np.ndarray, lr: float) -> tuple[float, float]:
        """Take one step down the gradient; return loss and accuracy before it."""
        inputs = np.c_[points, np.ones(len(points))]
        hidden = np.c_[np.tanh(inputs @ self.first), np.ones(len(points))]
        logits = hidden @ self.second
        odds = np.exp(logits - logits.max(1, keepdims=True))
        odds /= odds.sum(1, keepdims=True)
        right = odds[np.arange(len(ring)), ring]
        error = odds.copy()
        error[np.arange(len(ring)), ring] -= 1
        back = (error @ self.second[:-1].T) * (1 - hidden[:, :-1] ** 2)
        self.second -= lr * hidden.T @ error / len(ring)
        self.first -= lr * inputs.T @ back / len(ring)
        return float(-np.log(right + 1e-12).mean()), float((odds.argmax(1) == ring).mean())


def picture(net: Net) -> np.ndarray:
    """Return the plane (48, 48, 3) with each ring's region in a colour."""
    axis = np.linspace(-4, 4, 48)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    hidden = np.c_[np.tanh(np.c_[points, np.ones(len(points))] @ net.first), np.ones(len(points))]
    colours = np.array([[230, 159, 0], [86, 180, 233], [0, 158, 115]], dtype=np.uint8)
    return colours[(hidden @ net.second).argmax(1)].reshape(48, 48, 3)


def train(exp: Experiment, config: dict[str, Any], epochs: int, first: int = 0) -> None:
    """Train and log everything that the dashboard shows."""
    points, ring = rings(240, 0)
    held, held_ring = rings(120, 1)
    net = Net(config["model"]["hidden"], config["seed"])
    for epoch in range(first, first + epochs):
        loss, accuracy = net.learn(points, ring, config["training"]["lr"])
        if config.get("breaks") == epoch:
            raise DivergedError(f"the loss is not a number at epoch {epoch}")
        exp.log_metrics({"loss": loss, "quality/accuracy": accuracy}, step=epoch, epoch=epoch)
        exp.log_metric("grad/norm", float(np.abs(net.second).sum()), step=epoch)
        if epoch % 10 == 0:
            val = Net.__new__(Net)
            val.first, val.second = net.first.copy(), net.second.copy()
            exp.log_metric("loss", val.learn(held, held_ring, 0.0)[0], step=epoch, metric_type="val")
            exp.log_image("regions", picture(net), step=epoch, caption=f"after {epoch} epochs")
            exp.log_histogram("weights", net.second, step=epoch)
            print(f"\x1b[32mepoch {epoch}\x1b[0m loss {loss:.4f} accuracy {accuracy:.3f}", flush=True)


class Plotly:
    """What of a plotly figure the tracker asks for."""

    def __init__(self, data: list[dict[str, Any]], layout: dict[str, Any]) -> None:
        self.figure = {"data": data, "layout": layout}

    def to_plotly_json(self) -> dict[str, Any]:
        return self.figure

    def to_json(self) -> str:
        return json.dumps(self.figure)


def figures(exp: Experiment) -> None:
    """Log plotly figures: one of each kind that is drawn, and one that is not."""
    line = {"type": "scatter", "mode": "lines+markers", "x": [0, 1, 2], "y": [1, 10, 100], "name": "grows"}
    bars = {"type": "bar", "x": ["inner", "outer"], "y": [3, 5], "name": "rings"}
    cells = {"type": "heatmap", "x": ["inner", "outer"], "y": ["inner", "outer"], "z": [[70, 10], [1, 79]]}
    exp.log_figure("eval/growth", Plotly([line], {"title": "It grows", "yaxis": {"type": "log"}}), step=40)
    exp.log_figure("eval/rings", Plotly([bars, {**bars, "name": "again"}], {"barmode": "stack"}), step=40)
    exp.log_figure("eval/spread", Plotly([{"type": "histogram", "x": [1, 2, 2, 3]}], {}), step=40)
    exp.log_figure("eval/confusion", Plotly([cells], {"yaxis": {"autorange": "reversed"}}), step=40)
    exp.log_figure("eval/flow", Plotly([line, {"type": "sankey"}], {}), step=40)
    exp.log_figure("eval/shares", Plotly([{"type": "pie", "values": [1, 2]}], {}), step=40)


def files(exp: Experiment, folder: Path) -> None:
    """Keep one artifact of each kind that can be looked at."""
    contents = {
        "notes.md": "# What was seen\n\n- the *outer* ring comes first\n",
        "confusion.csv": "ring,right,wrong\ninner,70,10\nmiddle,66,14\nouter,79,1\n",
        "settings.json": '{"hidden": 16, "rings": ["inner", "middle", "outer"]}',
        "settings.yaml": "hidden: 16\nrings: [inner, middle, outer]\n",
        "plain.txt": "one line\nanother line\n",
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
        exp.log_artifact(folder / name)
    (folder / "weights.npy").write_bytes(bytes(range(256)))
    exp.log_artifact(folder / "weights.npy")


def config_of(lr: float, hidden: int, seed: int) -> dict[str, Any]:
    return {"training": {"lr": lr, "epochs": 40}, "model": {"hidden": hidden}, "seed": seed, "data": "rings"}


def sweep(root: Path, work: Path) -> None:
    """Train ``exp_001`` to ``exp_004``, fail ``exp_005``, fork ``exp_006`` from the first."""
    quiet = {"root_dir": root, "system_metrics_s": 0}
    for number, (lr, hidden) in enumerate([(0.5, 16), (0.5, 4), (0.05, 16), (0.05, 4)]):
        config = config_of(lr, hidden, number)
        with Experiment(name=f"rings {hidden} at {lr}", config=config, tags=["sweep", f"h{hidden}"], **quiet) as exp:
            train(exp, config, 41)
            if number == 0:
                files(exp, work)
                exp.log_table("errors", [["inner", 10], ["outer", 1]], columns=["ring", "wrong"], step=40)
                figures(exp)
                exp.log_text("sample", "a sample of text", step=40)
                exp.add_note("The *best* so far.")
    config = {**config_of(50.0, 16, 9), "breaks": 12}
    try:
        with Experiment(name="rings that fail", config=config, tags=["sweep"], **quiet) as exp:
            train(exp, config, 41)
    except DivergedError:
        pass
    with Experiment.fork("exp_001", step=20, name="rings gone on", config={"training": {"lr": 0.1}}, **quiet) as exp:
        train(exp, {**config_of(0.1, 16, 0), "training": {"lr": 0.1}}, 30, first=21)


def steered(root: Path) -> None:
    """Log the point that each line says, ``<step> <value>``, and print it."""
    with Experiment(name="steered", config={"lr": 1}, root_dir=root, system_metrics_s=0) as exp:
        print(f"ready {exp.experiment_id}", flush=True)
        for line in sys.stdin:
            step, value = line.split()
            exp.log_metric("loss", float(value), step=int(step))
            print(f"said {step} {value}", flush=True)


if __name__ == "__main__":
    kind, folder = sys.argv[1], Path(sys.argv[2])
    sweep(folder, Path(sys.argv[3])) if kind == "sweep" else steered(folder)
