"""Three variational autoencoders on handwritten digits: trained, recorded, listed, compared, searched, plotted.

A baseline, one with a higher learning rate, and a beta-VAE, which pays more for what it encodes. `make demo` runs
this file:

    python examples/vae_digits.py --root-dir demo/experiments --plots demo/plots
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.visualization import (
    plot_experiment_comparison_grid,
    plot_metric_comparison,
    plot_multiple_metrics,
)
from frameworm.training import Trainer

VARIANTS: list[dict[str, Any]] = [
    {"name": "vae-baseline", "tag": "baseline", "lr": 0.001, "beta": 1.0, "about": "Adam, lr 0.001"},
    {"name": "vae-high-lr", "tag": "high-lr", "lr": 0.01, "beta": 1.0, "about": "ten times the learning rate"},
    {"name": "beta-vae", "tag": "beta", "lr": 0.001, "beta": 4.0, "about": "four times the price of the code"},
]


NOISE = 0.1
"""Standard deviation that the decoder grants each pixel."""


class VAE(nn.Module):
    """A variational autoencoder of 8×8 images with pixels in 0…1 (Kingma & Welling, 2014).

    Args:
        hidden: width of the hidden layers.
        latent: dimensions of the code.
        beta: weight of the divergence in the loss (Higgins et al., 2017).
    """

    def __init__(self, hidden: int, latent: int, beta: float) -> None:
        super().__init__()
        self.latent, self.beta = latent, beta
        self.encoder = nn.Sequential(
            nn.Linear(64, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 64)
        )

    def compute_loss(self, x: Tensor) -> dict[str, Tensor]:
        """Return the loss of images (n, 64), and what it is made of, in nats an image.

        ``reconstruction`` is the negative logarithm of the likelihood, up to a constant.
        """
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = torch.sigmoid(self.decoder(code)) - x
        reconstruction = error.square().sum() / (2 * NOISE**2) / len(x)
        kl_div = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / len(x)
        return {"loss": reconstruction + self.beta * kl_div, "reconstruction": reconstruction, "kl_div": kl_div}

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images (n, 64) decoded from the most likely codes of ``x``."""
        return torch.sigmoid(self.decoder(self.encoder(x)[:, : self.latent]))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return images (n, 64) decoded from codes drawn from the prior."""
        return torch.sigmoid(self.decoder(torch.randn(n, self.latent, generator=generator)))


def load(seed: int) -> tuple[Tensor, Tensor]:
    """Return the digits: 1,437 images to train with and 360 to validate with, (n, 64) in 0…1."""
    images = torch.as_tensor(load_digits().data, dtype=torch.float32) / 16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:1437]], images[order[1437:]]


def draw_digits(model: VAE, originals: Tensor, seed: int) -> Figure:
    """Draw twelve digits, what the model makes of them, and twelve of its own."""
    originals = originals[:12]
    samples = model.sample(12, torch.Generator().manual_seed(seed))
    figure = Figure(figsize=(7.2, 2.1), dpi=150, layout="constrained")
    axes = figure.subplots(3, 12, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    rows = {"original": originals, "reconstructed": model.reconstruct(originals), "sampled": samples}
    for row, (label, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def train(variant: dict[str, Any], arguments: argparse.Namespace) -> Experiment:
    """Train one variant and record it."""
    config = {
        "model": {"name": "vae", "hidden": 256, "latent": 8, "beta": variant["beta"]},
        "training": {
            "lr": variant["lr"],
            "batch_size": 64,
            "epochs": arguments.epochs,
            "seed": arguments.seed,
        },
        "data": {"name": "digits", "train": 1437, "val": 360},
    }
    torch.manual_seed(arguments.seed)
    images, val_images = load(arguments.seed)
    train_loader = DataLoader(TensorDataset(images), config["training"]["batch_size"], shuffle=True)
    val_loader = DataLoader(TensorDataset(val_images), 360)
    model = VAE(config["model"]["hidden"], config["model"]["latent"], config["model"]["beta"])
    optimizer = torch.optim.Adam(model.parameters(), lr=config["training"]["lr"])

    exp = Experiment(
        name=variant["name"],
        config=config,
        description=f"Digits VAE: {variant['about']}",
        tags=["vae", "digits", variant["tag"]],
        root_dir=arguments.root_dir,
    )
    with exp:
        trainer = Trainer(model, optimizer, device="cpu")
        trainer.set_experiment(exp)
        trainer.train(train_loader, val_loader, epochs=arguments.epochs)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "digits.png"
            draw_digits(model, val_images, arguments.seed).savefig(path)
            exp.log_artifact(path, artifact_type="plot")
    return exp


def table_of(title: str, header: list[str], rows: list[list[str]], numbers_from: int) -> Table:
    """Return a table whose columns from ``numbers_from`` on are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i >= numbers_from else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def report(console: Console, manager: ExperimentManager, ids: list[str]) -> None:
    """List, compare and search."""
    listed = manager.list_experiments(tags=["vae", "digits"])
    rows = [
        [row.experiment_id, row.name, row.status, ", ".join(row.tags), f"{row.duration_s:.1f} s"]
        for row in listed.itertuples()
    ]
    header = ["id", "name", "status", "tags", "duration"]
    console.print(table_of("manager.list_experiments(tags=['vae', 'digits'])", header, rows, 4), "")

    metrics = ["loss", "val_loss", "val_reconstruction", "val_kl_div"]
    compared = manager.compare_experiments(ids, metrics=metrics)
    rows = [[row["name"], *(f"{row[metric]:.2f}" for metric in metrics)] for row in compared.to_dict("records")]
    console.print(table_of("manager.compare_experiments(ids, metrics=[…])", ["name", *metrics], rows, 1), "")

    console.print("[bold]manager.search_experiments(…)[/]")
    for query in ("config.training.lr == 0.001", "'vae' in tags and metrics.val_loss.min <= 60"):
        found = manager.search_experiments(query)
        console.print(f"  [cyan]{query}[/]  →  {', '.join(sorted(found['name'])) or 'none'}")
    console.print()


def plot(manager: ExperimentManager, ids: list[str], folder: Path) -> list[Path]:
    """Draw the three kinds of plots; return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "comparison.png", folder / "metrics.png", folder / "grid.png"]
    plot_metric_comparison(manager, ids, "val_loss", save_path=files[0], log=True)
    plot_multiple_metrics(manager, ids[0], ["loss", "val_loss", "kl_div"], save_path=files[1])
    terms = ["loss", "reconstruction", "kl_div", "val_loss", "val_reconstruction", "val_kl_div"]
    plot_experiment_comparison_grid(manager, ids, metrics=terms, save_path=files[2])
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root-dir", default="demo/experiments", help="folder of experiments (%(default)s)")
    parser.add_argument("--plots", default="demo/plots", help="folder of plots (%(default)s)")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    matplotlib.use("agg")
    torch.set_num_threads(1)  # layers this small are slower on two
    began = time.perf_counter()
    console = Console(highlight=False)
    console.print(Rule("[bold]Three VAEs on 1,797 handwritten digits", align="left", style="dim"))
    ids = []
    for variant in VARIANTS:
        exp = train(variant, arguments)
        ids.append(exp.experiment_id)
        best = min(point["metric_value"] for point in exp.get_metrics("val_loss"))
        console.print(
            f"[green]✓[/] [bold]{exp.experiment_id}[/] {exp.name:<13} {variant['about']:<34} best val_loss {best:6.2f}"
        )
    console.print()

    manager = ExperimentManager(arguments.root_dir)
    report(console, manager, ids)
    files = plot(manager, ids, Path(arguments.plots))

    console.print(Rule(f"[bold]Done in {time.perf_counter() - began:.0f} s", align="left", style="dim"))
    console.print(f"experiments  {arguments.root_dir}")
    for file in [*files, manager.reader(ids[0]).info.path / "artifacts" / "digits.png"]:
        console.print(f"figure       {relative(file)}", soft_wrap=True)
    console.print("\nNext:")
    command, root = command_line(), f"--root-dir {arguments.root_dir}"
    for line in ("list", f"show {ids[0]}", f"compare {' '.join(ids)}", f"plot {' '.join(ids)} val_loss"):
        console.print(f"  {command} {line} {root}", soft_wrap=True)


def relative(path: Path) -> Path:
    """Return the path as seen from here, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def command_line() -> str:
    """Return how to call the command line of the environment that runs this file."""
    script = Path(sys.executable).with_name("frameworm")
    return str(relative(script)) if script.exists() else "python -m frameworm.experiment.cli"


if __name__ == "__main__":
    main()
