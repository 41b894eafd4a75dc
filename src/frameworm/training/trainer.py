"""The training loop: steps, validation, checkpoints, and a log of all of it in an experiment."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from frameworm.experiment.errors import FramewormWarning, InputError, StateError
from frameworm.experiment.model import ENDED, SYSTEM_CONTEXT
from frameworm.training.callbacks import Callback, EarlyStopping, Mode, is_better, metric_of
from frameworm.training.checkpoint import FORMAT, checkpoint_path, read_checkpoint, write_checkpoint
from frameworm.training.interrupt import DeferredInterrupt
from frameworm.training.loaders import EMPTY, length, set_epoch, set_up_loader
from frameworm.training.losses import Means
from frameworm.training.progress import ProgressLine
from frameworm.training.randomness import collect_rng, restore_rng
from frameworm.training.step import Stepper, launched_fabric, learning_rates

if TYPE_CHECKING:
    from frameworm.experiment import Experiment

TRAIN_EPOCH_CONTEXT = "train_epoch"
"""Context of what is logged once an epoch about training: the mean of each loss term."""


@dataclass
class TrainerState:
    """Where a training is.

    Attributes:
        current_epoch: the epoch being trained or the last one trained, from 1; 0 before the first.
        global_step: optimizer steps made so far.
        best_metric: best value of the monitored metric at the end of an epoch; None before there is one.
        best_epoch: the epoch of ``best_metric``.
        history: per metric its value for each finished epoch: the means of the loss terms over the epoch
            (``loss``, …), ``val_loss``, … if there is a validation loader, and the learning rate.
        stop_reason: why training ended before its last epoch, or empty.
    """

    current_epoch: int = 0
    global_step: int = 0
    best_metric: float | None = None
    best_epoch: int | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    stop_reason: str = ""


class Trainer:
    """Trains a model, logs to an experiment, and leaves checkpoints from which training goes on bit for bit.

    The loss is ``model.compute_loss(*batch)``, which returns a scalar tensor, or a dict of scalars of which
    ``loss`` is minimised and all are logged; or, if a criterion is given, ``criterion(model(*inputs),
    target)`` for batches ``(*inputs, target)``. A batch that is a dict is passed as keyword arguments. Losses
    are taken to be means over the batch, whose length is the first dimension of its first tensor.

    **Logged**, by the first rank, once `set_experiment` was called:

    - at each step, in context ``train``: every loss term, ``lr`` (``lr/0``, ``lr/1``, … with several
      parameter groups), and with ``clip_norm`` the ``grad_norm`` before clipping. The step is the number of
      optimizer steps made, from 1.
    - at the end of each epoch, in context ``train_epoch``: the mean of every term over the epoch's samples;
      in context ``val``: every term over the validation loader as ``val_loss``, …; in context ``system``:
      ``samples_per_s``.

    The experiment's config is yours: the trainer adds nothing to it.

    **Checkpoints** go to ``checkpoint_dir``, by default the experiment's; without either none are written.
    ``latest.pt`` is written before the first step, at the end of each epoch, at every
    ``checkpoint_every_steps``, and after the step during which Ctrl-C was pressed (a second Ctrl-C does not
    wait for it). ``best.pt`` is written when the monitored metric is the best so far. After an exception
    ``latest.pt`` is the last of these, never half a step. One that cannot be written is a warning.

    Resumed on the CPU from any of them, with the same code, loaders and number of threads, training ends with
    the very bits it would have ended with, unless the loaders draw their order from something other than the
    generators of Python, NumPy (the global one) and PyTorch.

    Args:
        model: any module. It is moved to the device.
        optimizer: an optimizer of the model's parameters.
        criterion: called as ``criterion(model(*inputs), target)``; None if the model has ``compute_loss``.
        device: ``auto`` (an accelerator if there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1``, …
        scheduler: a learning rate scheduler of ``optimizer``; ReduceLROnPlateau gets the monitored metric.
        scheduler_interval: when the scheduler steps: after each ``epoch`` or each optimizer ``step``.
        accumulate_batches: batches to an optimizer step; the last of an epoch takes what is left. Each batch
            counts by its length, so that the gradient is that of the batches joined.
        clip_norm: largest norm of the gradient; None for no limit.
        precision: as Lightning Fabric names it: ``32-true``, ``bf16-mixed``, ``16-mixed``, ``bf16-true``,
            ``64-true``.
        early_stopping: an `EarlyStopping`, or its patience in epochs.
        callbacks: `Callback` objects, called in this order after ``early_stopping``.
        monitor: the epoch's metric that tells which is best: by default ``val_loss``, or ``loss`` if there is
            no validation.
        mode: ``min`` if the smaller is the better, ``max`` if the larger.
        log_every: log one of so many steps; more than 1 spares an accelerator the wait for the loss.
        checkpoint_dir: where checkpoints go if not to the experiment's folder.
        checkpoint_every_steps: also write ``latest.pt`` at every so many optimizer steps.
        stop_on_nan: raise FloatingPointError when a loss is NaN or infinite, instead of one warning.
        progress: draw a progress line on standard error; None: if it is a terminal.
        fabric: a launched Fabric, in place of ``device`` and ``precision``: that is how to train on several
            devices. Every rank makes a Trainer; the first alone gets the experiment.

    Attributes:
        model: the model as given.
        optimizer: the optimizer as given.
        state: see `TrainerState`.
        fabric: the Lightning Fabric that runs it.

    Raises:
        InputError: an argument is not what is allowed.

    Not thread-safe. The experiment may be written to by others at the same time.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        criterion: Callable[..., Any] | None = None,
        device: str | torch.device = "auto",
        *,
        scheduler: Any = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        accumulate_batches: int = 1,
        clip_norm: float | None = None,
        precision: str = "32-true",
        early_stopping: EarlyStopping | int | None = None,
        callbacks: Sequence[Callback] = (),
        monitor: str | None = None,
        mode: Mode = "min",
        log_every: int = 1,
        checkpoint_dir: str | Path | None = None,
        checkpoint_every_steps: int | None = None,
        stop_on_nan: bool = False,
        progress: bool | None = None,
        fabric: Fabric | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"model is of type {type(model).__name__}; it must be a torch.nn.Module")
        if not isinstance(optimizer, Optimizer):
            raise InputError(f"optimizer is of type {type(optimizer).__name__}; it must be a torch.optim.Optimizer")
        for name, count in [
            ("accumulate_batches", accumulate_batches),
            ("log_every", log_every),
            ("checkpoint_every_steps", 1 if checkpoint_every_steps is None else checkpoint_every_steps),
        ]:
            if not isinstance(count, int) or count < 1:
                raise InputError(f"{name} is {count!r}; it must be a whole number, 1 or more")
        if clip_norm is not None and not clip_norm > 0:
            raise InputError(f"clip_norm is {clip_norm!r}; it must be more than 0, or None for no clipping")
        if mode not in ("min", "max"):
            raise InputError(f"mode is {mode!r}; it must be 'min' or 'max'")
        if scheduler_interval not in ("epoch", "step"):
            raise InputError(f"scheduler_interval is {scheduler_interval!r}; it must be 'epoch' or 'step'")
        if isinstance(scheduler, ReduceLROnPlateau) and scheduler_interval == "step":
            raise InputError("ReduceLROnPlateau follows a metric of an epoch; give scheduler_interval='epoch'")
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.fabric = fabric or launched_fabric(device, precision)
        self.state = TrainerState()
        self.mode: Mode = mode
        self._monitor = monitor
        self._scheduler_interval = scheduler_interval
        self._accumulate_batches = accumulate_batches
        self._log_every = log_every
        self._checkpoint_dir = Path(checkpoint_dir) if checkpoint_dir is not None else None
        self._checkpoint_every_steps = checkpoint_every_steps
        self._stop_on_nan = stop_on_nan
        self._progress = progress
        if isinstance(early_stopping, bool):
            raise InputError(f"early_stopping is {early_stopping}; give the patience in epochs, or None")
        if isinstance(early_stopping, int):
            early_stopping = EarlyStopping(early_stopping)
        self._callbacks: list[Callback] = [*([early_stopping] if early_stopping else []), *callbacks]
        self._stepper = Stepper(self.fabric, model, optimizer, criterion, clip_norm)
        self._experiment: Experiment | None = None
        self._train_loader: Any = None
        self._val_loader: Any = None
        self._finished_epochs = 0
        self._warned: set[str] = set()

    @property
    def monitor(self) -> str:
        """Name of the epoch's metric that tells which epoch is best."""
        return self._monitor or ("val_loss" if self._val_loader is not None else "loss")

    @property
    def checkpoint_dir(self) -> Path | None:
        """Where checkpoints go: as given, else the experiment's folder; None if there is neither."""
        if self._checkpoint_dir is None and self._experiment is not None:
            return Path(self._experiment.checkpoint_dir)
        return self._checkpoint_dir

    def set_experiment(self, experiment: Experiment | None) -> None:
        """Log to this experiment from now on, and leave checkpoints in it; None: to none.

        If it is still pending when `train` is called, `train` starts it, and ends it as completed, failed or
        killed. Within ``with experiment:`` that is left to the block.
        """
        self._experiment = experiment

    def stop(self, reason: str) -> None:
        """End training after this epoch; for callbacks."""
        self.state.stop_reason = reason

    def train(
        self,
        train_loader: Iterable[Any],
        val_loader: Iterable[Any] | None = None,
        epochs: int = 10,
        resume_from: str | Path | None = None,
    ) -> TrainerState:
        """Train until ``epochs`` epochs have been trained in all.

        Args:
            train_loader: a DataLoader, or any iterable of batches that can be iterated anew for each epoch.
            val_loader: alike; None for no validation.
            epochs: how many in all, those before a resume or in an earlier call included.
            resume_from: ``"latest"`` or ``"best"`` in the checkpoint folder, the path of a checkpoint, or
                that of a folder with a ``latest.pt``. Points that the experiment holds from after that
                checkpoint stay in it, and are logged again with the same steps.

        Returns:
            The state, also at `state`.

        Raises:
            InputError: a loader is empty or can be read only once, a loss is not a scalar, a checkpoint does
                not fit.
            StateError: the experiment has ended.
            FileNotFoundError: there is no such checkpoint.
            FloatingPointError: a loss is not finite, and ``stop_on_nan`` was asked for.
            KeyboardInterrupt: Ctrl-C; ``latest.pt`` holds the last whole step.
        """
        if not isinstance(epochs, int) or epochs < 1:
            raise InputError(f"epochs is {epochs!r}; it must be a whole number, 1 or more")
        self._train_loader = set_up_loader(self.fabric, train_loader, "train_loader")
        self._val_loader = None if val_loader is None else set_up_loader(self.fabric, val_loader, "val_loader")
        self.state.stop_reason = ""
        experiment = self._experiment
        if experiment is not None and experiment.status in ENDED:
            raise StateError(
                f"{experiment.experiment_id} has ended ({experiment.status}); "
                "go on in it with Experiment.resume(...), or make a new Experiment"
            )
        with ExitStack() as stack:
            if experiment is not None and experiment.status == "pending":
                stack.enter_context(experiment)
            folder = self.fabric.broadcast(self.checkpoint_dir)
            interrupt = stack.enter_context(DeferredInterrupt())
            title = "training" if experiment is None else experiment.name
            show = self._progress if self.fabric.is_global_zero else False
            line = stack.enter_context(ProgressLine(show, title, epochs, length(train_loader)))
            try:
                resumed = None if resume_from is None else self._load(checkpoint_path(resume_from, folder))
                self._fit(epochs, resumed, interrupt, line)
            except BaseException as exc:
                for callback in self._callbacks:
                    callback.on_exception(self, exc)
                if folder is not None and (folder / "latest.pt").exists():
                    exc.add_note(f"to go on, train with resume_from={str(folder / 'latest.pt')!r}")
                raise
        return self.state

    def save_checkpoint(self, path: str | Path) -> None:
        """Write a checkpoint of this moment, between two epochs.

        Raises:
            OSError: it cannot be written.
            InputError: a state_dict holds what could not be read back safely.
        """
        if self.fabric.is_global_zero:
            write_checkpoint(Path(path), self._content(None))

    def _fit(
        self, epochs: int, resumed: dict[str, Any] | None, interrupt: DeferredInterrupt, line: ProgressLine
    ) -> None:
        state = self.state
        for callback in self._callbacks:
            callback.on_train_start(self)
        if resumed is not None and not restore_rng(resumed["rng"], self._loaders()):
            self._warn(
                "rng",
                "the checkpoint was made with loaders that had other random generators of their own; "
                "the order of batches will differ from the training it continues",
            )
        if self._finished_epochs >= epochs:
            self._warn(
                "epochs",
                f"nothing to train: epochs={epochs} counts all epochs, and {self._finished_epochs} are done; "
                "pass a larger number",
            )
        elif resumed is None:
            self._save("latest.pt", None)
        while self._finished_epochs < epochs and not state.stop_reason:
            state.current_epoch = self._finished_epochs + 1
            if resumed is None or resumed["position"] is None:
                for callback in self._callbacks:
                    callback.on_epoch_start(self)
            metrics = self._train_epoch(resumed, interrupt, line)
            resumed = None
            if self._val_loader is not None:
                metrics.update(self._validate())
            self._end_epoch(metrics)
            line.show(state.current_epoch, length(self._train_loader) or 0, metrics)
            interrupt.raise_if_pending()
        for callback in self._callbacks:
            callback.on_train_end(self)

    def _train_epoch(
        self, resumed: dict[str, Any] | None, interrupt: DeferredInterrupt, line: ProgressLine
    ) -> dict[str, float]:
        """Make the steps of an epoch, from its start or a checkpoint within it; return its terms' means."""
        state = self.state
        means = Means(self.fabric.device)
        rng = collect_rng(self._loaders())
        done: dict[str, Any] = {"batches": 0, "samples": 0, "seconds": 0.0, "rng": rng}
        within = resumed["position"] if resumed is not None else None
        if within is not None:
            done = {key: within[key] for key in done}
            means.load(within["means"])
            restore_rng(done["rng"], self._loaders())
        set_epoch(self._train_loader, state.current_epoch - 1)
        self._stepper.begin_epoch()
        batches = iter(self._train_loader)
        if resumed is not None and within is not None:
            # The order of an epoch is drawn as its iteration starts: it has now been drawn as it was then.
            # Pass over what was trained, then go on with the random numbers that followed.
            for _ in islice(batches, done["batches"]):
                pass
            restore_rng(resumed["rng"], self._loaders())
        started = time.perf_counter() - done["seconds"]
        while group := list(islice(batches, self._accumulate_batches)):
            samples, terms = self._stepper.step(group, means)
            done["batches"] += len(group)
            done["samples"] += samples
            done["seconds"] = time.perf_counter() - started
            self._after_step(terms, done["batches"], line)
            every = self._checkpoint_every_steps
            if interrupt.pending or (every is not None and state.global_step % every == 0):
                self._save("latest.pt", {**done, "means": means.state()})
                interrupt.raise_if_pending()
        if not done["batches"]:
            raise InputError(EMPTY.format(name="train_loader"))
        means.reduce(self.fabric)
        metrics = means.values()
        speed = done["samples"] * self.fabric.world_size / (time.perf_counter() - started)
        self._log(metrics, TRAIN_EPOCH_CONTEXT)
        self._log({"samples_per_s": speed}, SYSTEM_CONTEXT)  # the machine's, which no other run has again
        return metrics

    def _after_step(self, terms: Means, batches: int, line: ProgressLine) -> None:
        """Count, log and show an optimizer step."""
        state = self.state
        rates = learning_rates(self.optimizer)
        if self.scheduler is not None and self._scheduler_interval == "step":
            self.scheduler.step()
        state.global_step += 1
        log = self._experiment is not None and state.global_step % self._log_every == 0
        if log or line.due():
            values = terms.values()
            line.show(state.current_epoch, batches, values)
            if log:
                self._log({**values, **rates}, "train")
            self._check_finite(values)
        if self._callbacks:
            scalars = terms.tensors()
            for callback in self._callbacks:
                callback.on_step_end(self, scalars)

    def _validate(self) -> dict[str, float]:
        """Return the means of the loss terms over the validation loader, named ``val_*``."""
        means = Means(self.fabric.device)
        if not self._stepper.evaluate(self._val_loader, means):
            raise InputError(EMPTY.format(name="val_loader"))
        means.reduce(self.fabric)
        metrics = {f"val_{name}": value for name, value in means.values().items()}
        self._log(metrics, "val")
        return metrics

    def _end_epoch(self, metrics: dict[str, float]) -> None:
        """Book a finished epoch: history, scheduler, callbacks, checkpoints."""
        state = self.state
        self._check_finite(metrics)
        value = metric_of(metrics, self.monitor)
        best = is_better(value, state.best_metric, self.mode)
        if best:
            state.best_metric, state.best_epoch = value, state.current_epoch
        for name, number in {**metrics, **learning_rates(self.optimizer)}.items():
            state.history.setdefault(name, []).append(number)
        self._finished_epochs = state.current_epoch
        if self.scheduler is not None and self._scheduler_interval == "epoch":
            self.scheduler.step(*([value] if isinstance(self.scheduler, ReduceLROnPlateau) else []))
        for callback in self._callbacks:
            callback.on_epoch_end(self, metrics)
        self._save("latest.pt", None)
        if best:
            self._save("best.pt", None)

    def _log(self, metrics: Mapping[str, float], context: str) -> None:
        if self._experiment is not None and self.fabric.is_global_zero:
            state = self.state
            self._experiment.log_metrics(
                dict(metrics), step=state.global_step, epoch=state.current_epoch, metric_type=context
            )

    def _check_finite(self, values: Mapping[str, float]) -> None:
        for name in ("loss", "val_loss"):
            if name in values and not math.isfinite(values[name]):
                state = self.state
                what = f"{name} is {values[name]} at step {state.global_step}, epoch {state.current_epoch}"
                if self._stop_on_nan:
                    raise FloatingPointError(f"{what}; a smaller learning rate or clip_norm may help")
                self._warn("nan", f"{what}; training goes on (stop_on_nan=True would stop it)")

    def _warn(self, about: str, message: str) -> None:
        """Warn once about each thing."""
        if about not in self._warned:
            self._warned.add(about)
            warnings.warn(message, FramewormWarning, stacklevel=3)

    def _save(self, name: str, position: dict[str, Any] | None) -> None:
        """Write a checkpoint if there is a place for it; if that fails, warn, and let training go on."""
        folder = self.checkpoint_dir
        if folder is None or not self.fabric.is_global_zero:
            return
        try:
            write_checkpoint(folder / name, self._content(position))
        except OSError as exc:
            self._warn("checkpoint", f"cannot write the checkpoint {folder / name}: {exc}; training goes on")

    def _content(self, position: dict[str, Any] | None) -> dict[str, Any]:
        """Return what a checkpoint holds: everything that later steps depend on."""
        state = self.state
        return {
            "format": FORMAT,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "callbacks": [[type(callback).__name__, callback.state_dict()] for callback in self._callbacks],
            "finished_epochs": self._finished_epochs,
            "global_step": state.global_step,
            "best_metric": state.best_metric,
            "best_epoch": state.best_epoch,
            "history": state.history,
            "rng": collect_rng(self._loaders()),
            "position": position,
        }

    def _load(self, path: Path) -> dict[str, Any]:
        """Take the state of a checkpoint, all but the random states, and return its content."""
        content = read_checkpoint(path)
        try:
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
        except (RuntimeError, ValueError, KeyError) as exc:
            raise InputError(f"the checkpoint {path} is of another model or optimizer: {exc}") from exc
        if (content["scheduler"] is None) != (self.scheduler is None):
            has, has_not = (
                ("the checkpoint", "the trainer") if self.scheduler is None else ("the trainer", "the checkpoint")
            )
            self._warn("scheduler", f"{has} has a learning rate scheduler and {has_not} has none: not resumed")
        elif self.scheduler is not None:
            self.scheduler.load_state_dict(content["scheduler"])
        self.fabric.strategy.precision.load_state_dict(content["precision"])
        saved = list(content["callbacks"])
        for callback in self._callbacks:
            match = next((entry for entry in saved if entry[0] == type(callback).__name__), None)
            if match is not None:
                saved.remove(match)
                callback.load_state_dict(match[1])
        self._finished_epochs = content["finished_epochs"]
        self.state = TrainerState(
            current_epoch=self._finished_epochs,
            global_step=content["global_step"],
            best_metric=content["best_metric"],
            best_epoch=content["best_epoch"],
            history=content["history"],
        )
        return content

    def _loaders(self) -> tuple[Any, Any]:
        return self._train_loader, self._val_loader
