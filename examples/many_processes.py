"""Several processes, one experiment: the folds of a cross-validation are trained side by side.

Each process attaches to the experiment and logs in a context of its own, ``fold-1``, ``fold-2``, …; none waits
for another, for each writes to a journal of its own.

    python examples/many_processes.py --processes 4
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits

from frameworm.experiment import Experiment


def train_fold(experiment_id: str, root_dir: str, fold: int, folds: int, epochs: int) -> tuple[int, float]:
    """Train a softmax regression on all folds but one, and log to the experiment from this process.

    Returns:
        the fold, and the accuracy on it.
    """
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x = np.c_[digits.data[order] / 16.0, np.ones(len(order))]
    y = np.eye(10)[digits.target[order]]
    held_out = np.arange(len(x)) % folds == fold - 1
    weights = np.zeros((x.shape[1], 10))
    with Experiment.attach(experiment_id, root_dir) as exp:
        lr = exp.config["training"]["lr"]
        for epoch in range(1, epochs + 1):
            scores = x @ weights
            p = np.exp(scores - scores.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            loss = -np.log((p * y).sum(1))
            hit = p.argmax(1) == y.argmax(1)
            exp.log_metrics(
                {
                    "loss": loss[~held_out].mean(),
                    "val_loss": loss[held_out].mean(),
                    "val_accuracy": hit[held_out].mean(),
                },
                step=epoch,
                epoch=epoch,
                metric_type=f"fold-{fold}",
            )
            weights -= lr * x[~held_out].T @ (p - y)[~held_out] / (~held_out).sum()
    return fold, float(hit[held_out].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root-dir", default="experiments", help="folder of all experiments (%(default)s)")
    parser.add_argument("--processes", type=int, default=4, help="as many processes as folds (%(default)s)")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--lr", type=float, default=0.5)
    arguments = parser.parse_args()

    folds = arguments.processes
    accuracies: dict[int, float] = {}
    with Experiment(
        "digits-cross-validation",
        config={"training": {"lr": arguments.lr, "epochs": arguments.epochs}, "folds": folds},
        description="Softmax regression, a process for each fold",
        tags=["digits", "numpy", "cross-validation"],
        root_dir=arguments.root_dir,
    ) as exp:
        with ProcessPoolExecutor(folds, mp_context=get_context("spawn")) as pool:
            jobs = [
                pool.submit(train_fold, exp.experiment_id, arguments.root_dir, fold, folds, arguments.epochs)
                for fold in range(1, folds + 1)
            ]
            for job in track(as_completed(jobs), "folds", total=folds, transient=True):
                fold, accuracy = job.result()
                accuracies[fold] = accuracy
        mean = float(np.mean(list(accuracies.values())))
        exp.log_metric("cv_accuracy", mean, metric_type="val")

    table = Table(title=f"{exp.experiment_id}: {folds} processes logged to it", title_justify="left")
    table.add_column("context")
    table.add_column("points", justify="right")
    table.add_column("last val_accuracy", justify="right")
    points = exp.get_metrics("val_accuracy")
    for fold in sorted(accuracies):
        own = [point for point in points if point["metric_type"] == f"fold-{fold}"]
        table.add_row(f"fold-{fold}", f"{len(own):,}", f"{own[-1]['metric_value']:.1%}")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"mean accuracy {mean:.1%}; recorded in {exp.exp_dir}")


if __name__ == "__main__":
    main()
