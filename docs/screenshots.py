"""Take a picture of each page of the dashboard, light and dark, into docs/images/; ``make screenshots`` calls it.

The experiments are made up but look like a small study: a model trained on digits at several rates and widths. Chromium
has to be installed.
"""

from __future__ import annotations

import logging
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Route, expect, sync_playwright

from frameworm.experiment import Experiment

IMAGES = Path(__file__).parent / "images"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SIZES = {"": (1440, 900), "-phone": (390, 844)}
EPOCHS, STEPS = 20, 60

PAGES = {
    "experiments": ("/?sort=metrics.loss%40val", "cnn wide"),
    "charts": ("/?charts=1&selected=exp_003,exp_007,exp_008,exp_011&chart.smooth=ema:0.6", "loss"),
    "groups": ("/?group=config.model.name,config.training.lr", "8 groups of"),
    "experiment": ("/experiments/exp_008", "What was seen"),
    "curves": ("/experiments/exp_008/charts?chart.smooth=ema:0.6", "accuracy"),
    "system": ("/experiments/exp_014/system", "cpu"),
    "logs": ("/experiments/exp_008/logs", "epoch"),
    "artifacts": ("/experiments/exp_008/artifacts?artifact=confusion.csv", "digit"),
    "provenance": ("/experiments/exp_008/provenance", "Command"),
    "media": ("/experiments/exp_008/media", "samples"),
    "lineage": ("/experiments/exp_008/lineage", "fine-tuned"),
    "compare": ("/compare?ids=exp_003,exp_008", "lr"),
    "side-by-side": ("/compare?ids=exp_003,exp_007,exp_008,exp_011&tab=side", "lr"),
    "parallel": ("/compare?ids=" + ",".join(f"exp_{n:03d}" for n in range(1, 13)) + "&tab=parallel", "lr"),
    "importance": ("/compare?ids=" + ",".join(f"exp_{n:03d}" for n in range(1, 13)) + "&tab=importance", "lr"),
    "alerts": ("/alerts", "The loss is not a number"),
}


def digit(number: int, noise: float, seed: int) -> np.ndarray:
    """Draw a digit-like ring or bar (28, 28), the noisier the earlier in training."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    radius = np.hypot(x * (1 + 0.1 * number), y)
    shape = np.exp(-(((radius - 0.55) / 0.13) ** 2)) if number % 2 == 0 else np.exp(-((x / 0.18) ** 2)) * (abs(y) < 0.7)
    return np.clip(shape + np.random.default_rng(seed).normal(0, noise, (28, 28)), 0, 1)


def curve(exp: Experiment, config: dict[str, Any], epochs: int, first: int = 0) -> None:
    """Log a training that the config makes good or bad."""
    choose = random.Random(config["seed"] * 100 + len(exp.name))
    lr, width = config["training"]["lr"], config["model"]["width"]
    best = 0.08 + 0.12 * abs(math.log10(lr) + 2.5) + 4 / width
    for epoch in range(first, epochs):
        for step in range(epoch * STEPS, (epoch + 1) * STEPS):
            loss = best + 2.2 * math.exp(-step / (60 + 0.2 / lr))
            exp.log_metrics(
                {
                    "loss": loss * math.exp(choose.gauss(0, 0.09)),
                    "optim/grad_norm": 0.4 + loss * choose.lognormvariate(0, 0.3),
                    "optim/lr": lr * 0.5 * (1 + math.cos(math.pi * step / (EPOCHS * STEPS))),
                },
                step=step,
                epoch=epoch,
            )
        accuracy = 1 - loss / 2.8 * math.exp(choose.gauss(0, 0.03))
        exp.log_metric("loss", loss * 1.08 * math.exp(choose.gauss(0, 0.02)), step=step, epoch=epoch, metric_type="val")
        exp.log_metric("accuracy", accuracy, step=step, epoch=epoch, metric_type="val")
        print(f"\x1b[36mepoch {epoch:>2}/{EPOCHS}\x1b[0m  loss {loss:.4f}  val accuracy \x1b[32m{accuracy:.4f}\x1b[0m")
        if epoch % 5 == 4 or epoch == first:
            row = np.concatenate([digit(number, 0.9 / (epoch + 1), epoch) for number in range(6)], axis=1)
            exp.log_image("samples", row, step=step, epoch=epoch, caption=f"six samples after epoch {epoch}")
        weights = np.random.default_rng(epoch).normal(0, 0.3 + epoch / 40, 2000)
        exp.log_histogram("weights/first", weights, step=step, epoch=epoch)


def config_of(name: str, lr: float, width: int, seed: int) -> dict[str, Any]:
    """Return the config of an experiment."""
    training = {"lr": lr, "batch_size": 128, "epochs": EPOCHS, "optimizer": "adamw", "weight_decay": 1e-4}
    return {
        "model": {"name": name, "width": width, "dropout": 0.1},
        "training": training,
        "data": {"name": "digits", "augment": ["shift", "rotate"]},
        "seed": seed,
    }


def demo(root: Path) -> Experiment:
    """Record fourteen experiments; the last one is running still and is returned."""
    files = root.parent.parent / "files"
    files.mkdir()
    (files / "report.md").write_text("# What was seen\n\n- loss falls **until epoch 17**\n- the widest net wins\n")
    lines = [f"{n},{95 + n % 5},{5 - n % 5}" for n in range(10)]
    (files / "confusion.csv").write_text("\n".join(["digit,right,wrong", *lines]) + "\n")
    (files / "summary.json").write_text('{"best_epoch": 17, "accuracy": 0.964, "sizes": [64, 128]}\n')
    common: dict[str, Any] = {"root_dir": root, "project": "digits", "system_metrics_s": 0}
    number = 0
    for name in ("mlp", "cnn"):
        for width in (64, 256):
            for lr in (1e-2, 3e-3, 3e-4):
                number += 1
                config = config_of(name, lr, width * (2 if name == "cnn" else 1), number)
                title = f"{name} {'wide' if width > 64 else 'small'} lr {lr:g}"
                tags = [name, "sweep", *(["best"] if number == 8 else [])]
                with Experiment(title, config, tags=tags, **common) as exp:
                    curve(exp, config, EPOCHS)
                    if number == 8:
                        for path in sorted(files.iterdir()):
                            exp.log_artifact(path)
                        exp.add_note(
                            "## What was seen\n\nThe *best* of the sweep; see `report.md`. Next: more dropout."
                        )
    config = config_of("cnn", 3.0, 512, 13)
    try:
        with Experiment("cnn wide lr 3", config, tags=["cnn"], **common) as exp:
            curve(exp, {**config, "training": {"lr": 1e-2}}, 3)
            exp.log_metric("loss", math.nan, step=3 * STEPS)
            exp.alert("The loss is not a number", f"At step {3 * STEPS}, with a learning rate of 3.", "error")
            raise FloatingPointError(f"the loss is not a number at step {3 * STEPS}")
    except FloatingPointError:
        pass
    exp = Experiment.fork(
        "exp_008", root_dir=root, step=12 * STEPS, name="cnn fine-tuned", tags=["cnn"], system_metrics_s=0.5,
        config={"training": {"lr": 1e-4}},
    )  # fmt: skip
    exp.start()
    curve(exp, config_of("cnn", 3e-3, 128, 8), 17, first=12)
    return exp


def neutral(route: Route) -> None:
    """Show another machine than the one that took the pictures, so that they look alike wherever they are taken."""
    if "/events" in route.request.url:
        return route.continue_()
    answer = route.fetch()
    if "json" not in answer.headers.get("content-type", ""):
        return route.fulfill(response=answer)
    text = answer.text()
    for here, there in (
        (str(Path.cwd()), "/home/ada/digits"),
        (sys.executable, "/home/ada/digits/.venv/bin/python"),
        (__file__, "/home/ada/digits/train.py"),
        (sys.argv[0], "train.py"),
    ):
        text = text.replace(here, there)
    for key, value in {"host": "workstation", "user": "ada", "platform": "Linux 6.12", "cpu_model": "a CPU"}.items():
        text = re.sub(f'"{key}": ?"[^"]*"', f'"{key}":"{value}"', text)
    return route.fulfill(response=answer, body=text)


def repository(folder: Path) -> Path:
    """Make a git repository with a change that is not committed, as the training's own."""
    folder.mkdir()
    code = [
        "import torch",
        "",
        "lr = 1e-3",
        "width = 64",
        "dropout = 0.0",
        "",
        "for epoch in range(20):",
        "    train()",
    ]
    (folder / "train.py").write_text("\n".join(code) + "\n")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Train on digits"]):
        names = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *names, *command], cwd=folder, check=True)
    code[3:5] = ["width = 128", "dropout = 0.1"]
    (folder / "train.py").write_text("\n".join(code) + "\n")
    (folder / ".gitignore").write_text("experiments/\n")
    return folder


def shoot(browser: Browser, address: str, scheme: Any, only: set[str]) -> None:
    """Take the pictures of one colour scheme."""
    for suffix, (width, height) in SIZES.items():
        folder = IMAGES if suffix == "" else Path(tempfile.gettempdir()) / "frameworm-phone"
        folder.mkdir(exist_ok=True)
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        context.route("**/api/v1/**", neutral)
        page = context.new_page()
        for name, (path, shown) in PAGES.items():
            if only and name not in only:
                continue
            page.goto(address + path)
            expect(page.locator("#main").get_by_text(shown).first).to_be_attached(timeout=30_000)
            expect(page.locator(".spinner, .skeleton")).to_have_count(0, timeout=30_000)
            page.wait_for_load_state("load")
            page.wait_for_timeout(700)  # charts and pictures that come after the text
            page.screenshot(path=folder / f"ui-{name}-{scheme}{suffix}.png")
        context.close()


def main(only: set[str]) -> None:
    """Record the demo, show it, take the pictures."""
    logging.disable(logging.WARNING)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is needed: install your system's package")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(repository(Path(folder) / "digits"))
        root = Path.cwd() / "experiments"
        running = demo(root)
        command = [sys.executable, "-m", "frameworm.experiment.cli", "ui", "--no-browser", "--no-token", "--port", "0"]
        server = subprocess.Popen([*command, "--root-dir", str(root)], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split(" is shown at ")[1].split()[0].rstrip("/")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
                for scheme in ("light", "dark"):
                    shoot(browser, address, scheme, only)
                browser.close()
        finally:
            server.terminate()
            server.communicate()
            running.end()
            os.chdir(IMAGES)  # so that the folder can go


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main(set(sys.argv[1:]))
