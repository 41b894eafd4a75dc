"""What a training leaves in a real experiment, read back from its folder."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import FramewormWarning, StateError
from frameworm.training import Callback, Trainer


@pytest.fixture
def make_experiment(tmp_path):
    def make(name="training", **options):
        options = {"capture_console": False, "system_metrics_s": 0.0, **options}
        return Experiment(name, root_dir=tmp_path / "experiments", **options)

    return make


@pytest.fixture
def manager(tmp_path):
    return lambda: ExperimentManager(tmp_path / "experiments")


def series(exp, name):
    """Return {context: [(step, epoch, value)]}."""
    found: dict[str, list[tuple[int, int, float]]] = {}
    for point in exp.get_metrics(name):
        row = (point["step"], point["epoch"], point["metric_value"])
        found.setdefault(point["metric_type"], []).append(row)
    return found


class Seen(Callback):
    def __init__(self):
        self.losses = []

    def on_step_end(self, trainer, terms):
        self.losses.append(terms["loss"].item())


def test_every_step_every_epoch_and_validation_are_logged_bit_for_bit(make_trainer, make_experiment, loaders):
    seen = Seen()
    trainer = make_trainer(callbacks=[seen], clip_norm=0.5)
    with make_experiment(config={"lr": 1}) as exp:
        trainer.set_experiment(exp)
        state = trainer.train(*loaders(), epochs=2)

    assert exp.status == "completed"
    assert exp.config == {"lr": 1}
    epochs = [1] * 5 + [2] * 5
    loss = series(exp, "loss")
    assert loss["train"] == list(zip(range(1, 11), epochs, seen.losses, strict=True))
    assert loss["train_epoch"] == [(5, 1, state.history["loss"][0]), (10, 2, state.history["loss"][1])]
    assert series(exp, "val_error") == {
        "val": [(5, 1, state.history["val_error"][0]), (10, 2, state.history["val_error"][1])]
    }
    assert [value for _, _, value in series(exp, "lr")["train"]] == [0.01] * 10
    assert len(series(exp, "grad_norm")["train"]) == 10
    assert len(series(exp, "size")["train"]) == 10
    assert all(speed > 0 for _, _, speed in series(exp, "samples_per_s")["system"])
    assert sorted(path.name for path in exp.checkpoint_dir.iterdir()) == ["best.pt", "latest.pt"]


def test_one_of_several_steps_and_several_learning_rates(make_experiment):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.2}])
    trainer = Trainer(model, optimizer, nn.MSELoss(), device="cpu", log_every=3)
    with make_experiment() as exp:
        trainer.set_experiment(exp)
        trainer.train([(torch.ones(1, 1), torch.ones(1, 1))] * 7, epochs=1)
    assert [step for step, _, _ in series(exp, "loss")["train"]] == [3, 6]
    assert [value for _, _, value in series(exp, "lr/1")["train"]] == [0.2, 0.2]
    assert [step for step, _, _ in series(exp, "loss")["train_epoch"]] == [7]


def test_a_loss_that_is_nan_is_recorded_as_such(make_experiment):
    class Model(nn.Linear):
        def compute_loss(self, x):
            return self(x).mean() * math.nan

    model = Model(1, 1)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu")
    with make_experiment() as exp:
        trainer.set_experiment(exp)
        with pytest.warns(FramewormWarning, match="loss is nan at step 1") as caught:
            trainer.train([torch.ones(1, 1)], epochs=2)
    assert len(caught) == 1
    assert [math.isnan(value) for _, _, value in series(exp, "loss")["train"]] == [True, True]


# ---- status


class Raise(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, trainer, metrics):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"), [(None, "completed"), (ValueError("of the test"), "failed"), (KeyboardInterrupt(), "killed")]
)
@pytest.mark.parametrize("block", [True, False])
def test_status_within_a_block_and_without(make_trainer, make_experiment, loaders, manager, block, error, status):
    trainer = make_trainer(callbacks=[Raise(error)] if error else [])
    exp = make_experiment()
    trainer.set_experiment(exp)

    def train():
        trainer.train(*loaders(), epochs=1)

    def run():
        if not block:
            return train()
        with exp:
            train()

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    assert exp.status == status
    assert manager().get_experiment(exp.experiment_id)["status"] == status
    assert (exp.checkpoint_dir / "latest.pt").exists()


def test_a_running_experiment_is_left_running(make_trainer, make_experiment, loaders):
    exp = make_experiment().start()
    trainer = make_trainer()
    trainer.set_experiment(exp)
    trainer.train(*loaders(), epochs=1)
    assert exp.status == "running"
    exp.end()
    with pytest.raises(StateError, match=r"exp_001 has ended \(completed\); go on in it with Experiment.resume"):
        trainer.train(*loaders(), epochs=2)
    trainer.set_experiment(None)
    assert trainer.train(*loaders(), epochs=2).current_epoch == 2


def test_a_failed_training_is_resumed_in_its_experiment(make_trainer, make_experiment, loaders, tmp_path):
    exp = make_experiment()
    torch.manual_seed(1)
    trainer = make_trainer(callbacks=[Raise(ValueError())])
    trainer.set_experiment(exp)
    with pytest.raises(ValueError):
        trainer.train(*loaders(), epochs=3)
    resumed = make_trainer()
    with Experiment.resume(
        exp.experiment_id, tmp_path / "experiments", capture_console=False, system_metrics_s=0.0
    ) as again:
        resumed.set_experiment(again)
        resumed.train(*loaders(), epochs=3, resume_from="latest")
    # The callback failed before the checkpoint of epoch 1 was written: training went on from the start.
    steps = [step for step, _, _ in series(again, "loss")["train"]]
    assert steps == [*range(1, 6), *range(1, 16)]
    assert again.status == "completed"


def test_sigint_kills_the_experiment_and_leaves_its_checkpoint(tmp_path):
    script = """
        import sys, time, torch
        from frameworm.experiment import Experiment
        from frameworm.training import Trainer

        class Model(torch.nn.Linear):
            def compute_loss(self, x):
                print("step", flush=True)
                time.sleep(0.02)
                return self(x).mean()

        model = Model(1, 1)
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu")
        trainer.set_experiment(Experiment("interrupted", root_dir=sys.argv[1]))
        trainer.train([torch.ones(1, 1)] * 1000)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    for _ in range(3):
        assert process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    manager = ExperimentManager(tmp_path)
    assert manager.get_experiment("exp_001")["status"] == "killed"
    logged = len(manager.get_metric_history("exp_001", "loss"))
    (folder,) = tmp_path.glob("exp_001*")
    content = torch.load(folder / "checkpoints" / "latest.pt", weights_only=True)
    assert content["global_step"] == content["position"]["batches"] == logged >= 3
