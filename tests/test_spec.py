"""Every block of docs/specification.md, run word for word against experiments made by real training."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.training import Trainer

REPOSITORY = Path(__file__).parents[1]
SPECIFICATION = REPOSITORY / "docs" / "specification.md"
CONFIG = {"training": {"lr": 0.001, "batch_size": 64}, "model": {"latent": 2}}
IDS = ["exp_001", "exp_002", "exp_003"]


# ---------------------------------------------------------------------------------------------- the text


@dataclass(frozen=True)
class Block:
    """One fenced block: the heading it stands under, its language and its code."""

    heading: str
    language: str
    code: str


def blocks_of(text: str) -> list[Block]:
    found = []
    heading = ""
    for match in re.finditer(r"^#+ (?P<heading>[^\n]*)$|^```(?P<language>\w+)\n(?P<code>.*?)^```", text, re.M | re.S):
        if match["heading"]:
            heading = match["heading"]
        else:
            found.append(Block(heading, match["language"], match["code"]))
    return found


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one."""
    return re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], flags=re.M)[0]


TEXT = SPECIFICATION.read_text(encoding="utf-8")
BLOCKS = blocks_of(TEXT)


# ---------------------------------------------------------------------------------------------- real training


class SmallVae(nn.Module):
    """A variational autoencoder of 8 by 8 images with a latent space of two."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
        self.decode = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())

    def compute_loss(self, images: Tensor) -> dict[str, Tensor]:
        mean, log_variance = self.encode(images).chunk(2, dim=1)
        sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = (self.decode(sample) - images).pow(2).mean()
        kl_div = 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return {"loss": error + 0.01 * kl_div, "kl_div": kl_div}


def digits() -> tuple[DataLoader[Any], DataLoader[Any]]:
    images = torch.tensor(load_digits().data[:512] / 16, dtype=torch.float32)
    train, val = TensorDataset(images[:384]), TensorDataset(images[384:])
    return DataLoader(train, batch_size=64, shuffle=True), DataLoader(val, batch_size=64)


@dataclass
class Workplace:
    """A folder in which the specification's blocks run one after the other, and their names."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)

    def python(self, heading: str) -> list[str]:
        """Run the Python blocks under a heading; return what each printed."""
        return [self._run(block) for block in BLOCKS if (block.heading, block.language) == (heading, "python")]

    def _run(self, block: Block) -> str:
        out = self.folder / "printed"
        with contextlib.chdir(self.folder), out.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            exec(compile(block.code, f"specification.md: {block.heading}", "exec"), self.names)
        return out.read_text(encoding="utf-8")

    def prepare(self) -> None:
        """Give the names that the blocks take for granted."""
        torch.manual_seed(0)
        model = SmallVae()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        train_loader, val_loader = digits()
        trainer = Trainer(model, optimizer, device="cpu", progress=False)
        self.names |= {"config": CONFIG, "model": model, "optimizer": optimizer, "trainer": trainer}
        self.names |= {"train_loader": train_loader, "val_loader": val_loader, "Trainer": Trainer}

    def environment(self) -> dict[str, str]:
        """Return the environment for commands: ``python`` is the Python that runs the tests."""
        bin_dir = self.folder / "bin"
        if not bin_dir.exists():
            bin_dir.mkdir()
            (bin_dir / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
            (bin_dir / "python").chmod(0o755)
        path = os.pathsep.join([str(bin_dir), os.environ.get("PATH", "")])
        python_path = os.pathsep.join(filter(None, [str(REPOSITORY / "src"), os.environ.get("PYTHONPATH")]))
        ours = {name: value for name, value in os.environ.items() if not name.startswith("FRAMEWORM_")}
        return {**ours, "PATH": path, "PYTHONPATH": python_path, "COLUMNS": "160"}

    def commands(self, heading: str) -> list[str]:
        """Run each line of the bash blocks under a heading; return what each printed."""
        printed = []
        for block in BLOCKS:
            if (block.heading, block.language) == (heading, "bash"):
                for line in block.code.splitlines():
                    done = subprocess.run(
                        ["bash", "-c", line],
                        cwd=self.folder,
                        env=self.environment(),
                        stdin=subprocess.DEVNULL,
                        capture_output=True,
                        text=True,
                        timeout=60,
                    )
                    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                    printed.append(done.stdout)
        return printed


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """The folder in which all tests of this module run, in their order; three trained experiments in it."""
    place = Workplace(tmp_path_factory.mktemp("specification"))
    place.prepare()
    place.python("Creating an Experiment")

    place.prepare()
    with contextlib.chdir(place.folder):
        place.names["exp"] = Experiment(
            name="VAE baseline", config={**CONFIG, "model": {"latent": 2, "beta": 0.01}}, tags=["mnist", "vae"]
        )
    place.python("Integration with Trainer")

    place.prepare()
    slow = {**CONFIG, "training": {"lr": 0.1, "batch_size": 64}}
    with contextlib.chdir(place.folder), Experiment(name="high learning rate", config=slow, tags=["mnist"]) as exp:
        place.names["trainer"].set_experiment(exp)
        place.names["trainer"].train(place.names["train_loader"], place.names["val_loader"], epochs=2)
    yield place


# ---------------------------------------------------------------------------------------------- the tests


def test_the_specification_stands_word_for_word() -> None:
    """It is a promise: whoever changes it has to say so here."""
    digest = hashlib.sha256(SPECIFICATION.read_bytes()).hexdigest()
    assert digest == "18d8fff176f59f8d08bed12c6eb77efecada5b7008414fa38656187c104fecdd"


def test_every_block_is_run_here() -> None:
    covered = {
        "Creating an Experiment",
        "Integration with Trainer",
        "List Experiments",
        "Compare Experiments",
        "Search Experiments",
        "Plot Metric Comparison",
        "Plot Multiple Metrics",
        "Show Experiment",
        "Plot Metrics",
        "Delete Experiment",
    }
    assert {block.heading for block in BLOCKS} == covered
    assert len(BLOCKS) == 12 and {block.language for block in BLOCKS} == {"python", "bash"}


def test_creating_an_experiment_tracks_config_metrics_git_and_artifacts(workplace: Workplace) -> None:
    manager = ExperimentManager(workplace.folder / "experiments")
    found = manager.get_experiment("exp_001")
    assert found["name"] == "my-experiment"
    assert found["description"] == "Testing new architecture"
    assert list(found["tags"]) == ["vae", "mnist", "baseline"]
    assert found["status"] == "completed"
    assert found["config"] == CONFIG
    history = manager.get_metric_history("exp_001", "loss", metric_type="train")
    assert list(history.index) == list(range(60))
    assert list(history["step"]) == list(range(1, 61))  # ten epochs of six batches
    assert history["metric_value"].iloc[-6:].mean() < history["metric_value"].iloc[:6].mean()
    assert len(manager.get_metric_history("exp_001", "val_loss")) == 10


def test_integration_with_trainer_logs_by_itself(workplace: Workplace) -> None:
    found = ExperimentManager(workplace.folder / "experiments").get_experiment("exp_002")
    assert found["status"] == "completed"
    assert {"loss", "kl_div", "val_loss", "val_kl_div"} <= {name.split("@")[0] for name in found["metrics_summary"]}


def test_list_experiments(workplace: Workplace) -> None:
    workplace.python("List Experiments")
    frame = workplace.names["df"]
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["experiment_id"]) == ["exp_002", "exp_001"]  # the last statement asks for both tags
    everything = workplace.names["manager"].list_experiments()
    assert list(everything["experiment_id"]) == IDS[::-1]
    wanted = (
        "experiment_id name project description status created_at updated_at duration_s tags git_hash git_dirty path "
        "damage"
    )
    assert list(everything.columns) == wanted.split()
    assert list(workplace.names["manager"].list_experiments(status="completed")["experiment_id"]) == IDS[::-1]
    assert workplace.names["manager"].list_experiments(status="failed").empty


def test_compare_experiments(workplace: Workplace) -> None:
    (printed,) = workplace.python("Compare Experiments")
    comparison = workplace.names["comparison"]
    assert list(comparison["experiment_id"]) == IDS
    assert list(comparison["name"]) == ["my-experiment", "VAE baseline", "high learning rate"]
    for metric in ("loss", "val_loss"):
        for experiment_id, value in zip(IDS, comparison[metric], strict=True):
            history = workplace.names["manager"].get_metric_history(experiment_id, metric)
            context = "train" if metric == "loss" else "val"
            last = history[history["metric_type"] == context]["metric_value"].iloc[-1]
            assert np.float64(value).tobytes() == np.float64(last).tobytes()
    assert "VAE baseline" in printed and "val_loss" in printed


def test_search_experiments(workplace: Workplace) -> None:
    workplace.python("Search Experiments")
    results = workplace.names["results"]  # of the last block: every val_loss is a mean squared error below 0.5
    assert set(results["experiment_id"]) == set(IDS)
    manager = workplace.names["manager"]
    assert set(manager.search_experiments(config_filter={"training.lr": 0.001})["experiment_id"]) == {*IDS[:2]}
    losses = manager.compare_experiments(IDS, metrics=["val_loss"]).set_index("experiment_id")["val_loss"]
    best = manager.search_experiments(metric_filter={"val_loss": ("<=", losses.min())})
    assert set(best["experiment_id"]) == set(losses.index[losses == losses.min()]) != set(IDS)


def test_plots(workplace: Workplace) -> None:
    workplace.python("Plot Metric Comparison")
    workplace.python("Plot Multiple Metrics")
    for name in ("comparison.png", "metrics.png"):
        assert is_picture(workplace.folder / name)


def test_command_list(workplace: Workplace) -> None:
    everything, completed = workplace.commands("List Experiments")
    for text in (everything, completed):
        assert all(experiment_id in text for experiment_id in IDS)
        assert "my-experiment" in text


def test_command_show(workplace: Workplace) -> None:
    (text,) = workplace.commands("Show Experiment")
    for wanted in ("exp_001", "my-experiment", "Testing new architecture", "completed", "training", "val_loss"):
        assert wanted in text


def test_command_compare(workplace: Workplace) -> None:
    (text,) = workplace.commands("Compare Experiments")
    for wanted in (*IDS, "val_loss", "training.lr"):
        assert wanted in text


def test_command_plot(workplace: Workplace) -> None:
    workplace.commands("Plot Metrics")
    assert is_picture(workplace.folder / "loss.png")


def test_storage_structure(workplace: Workplace) -> None:
    """The tree of the specification, whose experiment is named "vae baseline"."""
    tree = section(TEXT, "Storage Structure")
    folder = re.search(r"(exp_\d+)_(\w+)/", tree)
    assert folder is not None
    root = workplace.folder / "structure" / "experiments"
    with Experiment(name=folder[2].replace("_", " "), config=CONFIG, root_dir=root) as exp:
        exp.log_metric("loss", 1.0)
    assert exp.exp_dir == root / folder[0].rstrip("/")
    inside = re.findall(r"^│   [├└]── (\S+)", tree, re.M)
    assert inside == ["config.yaml", "metadata.json", "checkpoints/", "logs/", "artifacts/"]
    for name in inside:
        assert (exp.exp_dir / name).is_dir() if name.endswith("/") else (exp.exp_dir / name).is_file()
    assert yaml.safe_load((exp.exp_dir / "config.yaml").read_text()) == CONFIG
    assert json.loads((exp.exp_dir / "metadata.json").read_text())["status"] == "completed"
    assert "└── experiments.db" in tree
    with contextlib.closing(sqlite3.connect(root / "experiments.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_reproducibility(workplace: Workplace) -> None:
    """Each item of the list is in the folder of an experiment that ran in a git repository with a change."""
    promised = re.findall(r"^- (.*)$", section(TEXT, "Reproducibility"), re.M)
    repository = workplace.folder / "repository"
    repository.mkdir()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(repository)]
    subprocess.run([*git, "init", "-q"], check=True)
    program = f"""
from frameworm.experiment import Experiment

lr = 0.1
with Experiment(name="reproducible", config={CONFIG!r}) as exp:
    exp.log_metric("loss", 0.5, step=3)
    exp.log_artifact("weights.bin")
"""
    (repository / "train.py").write_text(program)
    (repository / "weights.bin").write_bytes(b"\0\1\2")
    subprocess.run([*git, "add", "train.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    (repository / "train.py").write_text(program.replace("lr = 0.1", "lr = 0.001"))
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    subprocess.run([sys.executable, "train.py"], cwd=repository, check=True)
    found = ExperimentManager(repository / "experiments").get_experiment("exp_001")
    folder = Path(found["path"])
    config = yaml.safe_load((folder / "config.yaml").read_text())
    metadata = json.loads((folder / "metadata.json").read_text())
    history = ExperimentManager(repository / "experiments").get_metric_history("exp_001", "loss")
    kept = {
        "Complete configuration": config == found["config"] == CONFIG,
        "Git commit hash": found["git_hash"] == metadata["git"]["commit"] == commit,
        "Git dirty status (uncommitted changes)": found["git_dirty"] is True
        and "+lr = 0.001" in (folder / "provenance" / "uncommitted.patch").read_text(),
        "All hyperparameters": config["training"]["lr"] == 0.001 and config["model"]["latent"] == 2,
        "Environment info": metadata["environment"]["python_version"] == ".".join(map(str, sys.version_info[:3]))
        and metadata["environment"]["packages"]["numpy"] == np.__version__,
        "Metrics history": history[["step", "metric_value"]].values.tolist() == [[3, 0.5]],
        "Artifacts": (folder / found["artifacts"][0]["path"]).read_bytes() == b"\0\1\2",
    }
    assert list(kept) == promised
    assert all(kept.values()), kept


def test_command_delete_asks_first(workplace: Workplace) -> None:
    """Last of all: the command asks in a terminal, and does nothing where there is none to ask in."""
    (command,) = (block.code.strip() for block in BLOCKS if block.heading == "Delete Experiment")
    run = {"cwd": workplace.folder, "env": workplace.environment(), "timeout": 60}
    refused = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, **run)
    assert refused.returncode != 0 and b"--yes" in refused.stderr

    terminal, other_end = os.openpty()
    try:
        for answer, left in (("n\n", IDS), ("y\n", IDS[1:])):
            os.write(terminal, answer.encode())
            subprocess.run(["bash", "-c", command], stdin=other_end, stdout=other_end, stderr=other_end, **run)
            asked = os.read(terminal, 65536).decode()
            assert "exp_001" in asked and "my-experiment" in asked
            frame = ExperimentManager(workplace.folder / "experiments").list_experiments()
            assert sorted(frame["experiment_id"]) == left
    finally:
        os.close(terminal)
        os.close(other_end)


def is_picture(path: Path) -> bool:
    """Whether a file is a PNG with something drawn on it."""
    from matplotlib.image import imread

    pixels = imread(path)
    return (
        pixels.shape[0] >= 300
        and pixels.shape[1] >= 300
        and len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20
    )
