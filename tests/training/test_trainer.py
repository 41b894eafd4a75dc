from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from frameworm.experiment.errors import FramewormWarning, InputError
from frameworm.training import Callback, EarlyStopping, Trainer


def linear(weight: float = 0.0) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    return model


class Weights(Callback):
    """Keeps the only weight after every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_step_end(self, trainer, terms):
        self.values.append(next(trainer.model.parameters()).item())


class Replay(nn.Module):
    """A model whose loss is what the script says, whatever is learned."""

    def __init__(self, losses):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.losses = iter(losses)

    def compute_loss(self, x):
        return self.weight * 0.0 + next(self.losses)


# ---- learning


def test_learns(make_trainer, loaders):
    train, val = loaders()
    state = make_trainer(lr=0.05).train(train, val, epochs=30)
    assert state.history["val_error"][-1] < 0.2 * state.history["val_error"][0]
    assert state.current_epoch == 30
    assert state.global_step == 30 * 5
    assert len(state.history["loss"]) == len(state.history["lr"]) == 30
    assert state.best_metric == min(state.history["val_loss"])
    assert state.history["val_loss"][state.best_epoch - 1] == state.best_metric


def test_equals_a_plain_loop_bit_for_bit(make_trainer, loaders):
    trainer = make_trainer()
    model = make_trainer().model
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    (train, _), (plain, _) = loaders(), loaders()
    torch.manual_seed(1)
    trainer.train(train, epochs=2)
    torch.manual_seed(1)
    for _ in range(2):
        for x, y in plain:
            optimizer.zero_grad()
            model.compute_loss(x, y)["loss"].backward()
            optimizer.step()
    for ours, theirs in zip(trainer.model.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_criterion_with_several_inputs():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, a, b):
            return self.scale * (a + b)

    model = Sum()
    batch = (torch.ones(2), torch.ones(2), torch.zeros(2))
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.0), nn.MSELoss(), device="cpu")
    assert trainer.train([batch], epochs=1).history == {"loss": [4.0], "lr": [0.0]}


@pytest.mark.parametrize("batch", [{"x": torch.ones(3, 1)}, [torch.ones(3, 1)], torch.ones(3, 1)])
def test_batch_is_a_dict_a_list_or_a_tensor(batch):
    class Model(nn.Linear):
        def compute_loss(self, x):
            assert x.shape == (3, 1)
            return self(x).mean()

    model = Model(1, 1)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu")
    assert trainer.train([batch], epochs=1).global_step == 1


def test_epoch_mean_weighs_samples_not_batches():
    model = linear(1.0)
    batches = [(torch.full((3, 1), 1.0), torch.zeros(3, 1)), (torch.full((1, 1), 5.0), torch.zeros(1, 1))]
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.0), nn.MSELoss(), device="cpu")
    assert trainer.train(batches, batches, epochs=1).history["loss"] == [(3 * 1 + 25) / 4]
    assert trainer.state.history["val_loss"] == [7.0]


def test_validation_is_in_evaluation_mode_without_gradients():
    class Model(nn.Linear):
        def compute_loss(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return self(x).mean()

    seen: list[tuple[bool, bool]] = []
    model = Model(1, 1)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu")
    trainer.train([torch.ones(1, 1)], [torch.ones(1, 1)], epochs=2)
    assert seen == [(True, True), (False, False)] * 2


# ---- accumulation, clipping, precision, schedulers


def test_accumulation_is_the_gradient_of_the_batches_joined(data):
    x, y = data
    big = [(x[:8], y[:8]), (x[8:11], y[8:11])]
    small = [(x[:5], y[:5]), (x[5:8], y[5:8]), (x[8:11], y[8:11])]  # unequal, and a last group of one
    weights = []
    for batches, accumulate in [(big, 1), (small, 2)]:
        torch.manual_seed(0)
        model = nn.Linear(4, 1).double()
        trainer = Trainer(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            nn.MSELoss(),
            device="cpu",
            accumulate_batches=accumulate,
        )
        state = trainer.train([(a.double(), b.double()) for a, b in batches], epochs=3)
        assert state.global_step == 6
        weights.append((model.weight.detach().clone(), state.history["loss"]))
    torch.testing.assert_close(weights[0][0], weights[1][0], rtol=1e-13, atol=0)
    assert weights[0][1] == pytest.approx(weights[1][1], rel=1e-13)


def test_clipping_limits_the_step():
    model, weights = linear(), Weights()
    trainer = Trainer(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        nn.MSELoss(),
        device="cpu",
        clip_norm=0.25,
        callbacks=[weights],
    )
    trainer.train([(torch.ones(1, 1), torch.full((1, 1), 100.0))], epochs=2)
    assert weights.values == pytest.approx([0.25, 0.5], rel=1e-5)


def test_bf16_mixed_computes_in_bfloat16_and_keeps_weights_and_targets_whole():
    class Model(nn.Linear):
        def compute_loss(self, x, y):
            out = self(x)
            seen.extend([out.dtype, y.dtype])
            return (out.float() - y).pow(2).mean()

    seen: list[torch.dtype] = []
    model = Model(1, 1)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu", precision="bf16-mixed")
    trainer.train([(torch.ones(4, 1), torch.full((4, 1), 1.00001))], epochs=1)
    assert seen == [torch.bfloat16, torch.float32]
    assert model.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("64-true", torch.float64),
        ("bf16-true", torch.bfloat16),
        ("bf16-mixed", torch.float32),
    ],
)
@pytest.mark.parametrize("criterion", [None, nn.MSELoss()])
def test_every_precision_trains_and_resumes(loaders, make_trainer, tmp_path, precision, dtype, criterion):
    def make():
        return make_trainer(precision=precision, criterion=criterion, checkpoint_dir=tmp_path, clip_norm=1.0, lr=0.02)

    losses = make().train(*loaders(), epochs=8).history["loss"]
    assert losses[-1] < losses[0]
    resumed = make()
    assert resumed.train(*loaders(), epochs=9, resume_from="latest").current_epoch == 9
    assert resumed.model.layers[0].weight.dtype == dtype


def test_scheduler_by_epoch_and_by_step(make_trainer, loaders):
    rates = {}
    for interval in ("epoch", "step"):
        trainer = make_trainer(lr=1.0)
        trainer = Trainer(
            trainer.model,
            trainer.optimizer,
            device="cpu",
            scheduler=torch.optim.lr_scheduler.ExponentialLR(trainer.optimizer, gamma=0.5),
            scheduler_interval=interval,
        )
        rates[interval] = trainer.train(loaders()[0], epochs=2).history["lr"]
    assert rates == {"epoch": [1.0, 0.5], "step": [0.5**5, 0.5**10]}


def test_plateau_scheduler_follows_the_monitored_metric():
    model = Replay([1.0, 0.5, 0.5, 0.5, 0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.1)
    trainer = Trainer(model, optimizer, device="cpu", scheduler=plateau)
    assert trainer.train([torch.ones(1)], epochs=5).history["lr"] == pytest.approx([1, 1, 1, 0.1, 0.01])


# ---- stopping


def test_early_stopping_counts_epochs_without_improvement():
    model = Replay([3.0, 2.0, 1.95, 2.5, math.nan, 0.0])
    trainer = Trainer(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        device="cpu",
        early_stopping=EarlyStopping(patience=3, min_delta=0.1),
    )
    with pytest.warns(FramewormWarning, match="loss is nan at step 5, epoch 5"):
        state = trainer.train([torch.ones(1)], epochs=20)
    assert state.current_epoch == 5
    assert state.stop_reason == "loss has not improved on 2.0 for 3 epochs"
    assert (state.best_metric, state.best_epoch) == (pytest.approx(1.95), 3)


def test_early_stopping_of_the_largest_and_of_a_number():
    model = Replay([1.0, 2.0, 1.5, 3.0])
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu", mode="max", early_stopping=1)
    state = trainer.train([torch.ones(1)], epochs=9)
    assert (state.current_epoch, state.best_metric, state.best_epoch) == (3, 2.0, 2)


def test_not_finite_loss_warns_once_and_goes_on_or_raises():
    model = Replay([math.inf, math.nan, 1.0])
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.0), device="cpu")
    with pytest.warns(FramewormWarning, match="loss is inf") as caught:
        state = trainer.train([torch.ones(1)], epochs=3)
    assert len(caught) == 1
    assert (state.best_metric, state.best_epoch, state.current_epoch) == (1.0, 3, 3)

    model = Replay([1.0, math.nan])
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.0), device="cpu", stop_on_nan=True)
    with pytest.raises(FloatingPointError, match="loss is nan at step 2, epoch 2"):
        trainer.train([torch.ones(1)], epochs=3)


def test_a_second_call_trains_what_is_missing(make_trainer, loaders):
    trainer = make_trainer()
    train, val = loaders()
    trainer.train(train, val, epochs=2)
    assert trainer.train(train, val, epochs=3).global_step == 15
    with pytest.warns(FramewormWarning, match="epochs=3 counts all epochs, and 3 are done"):
        assert trainer.train(train, val, epochs=3).global_step == 15


# ---- callbacks


def test_callbacks_are_called_in_order(make_trainer, loaders):
    class Log(Callback):
        def __init__(self):
            self.calls = []

        def on_train_start(self, trainer):
            self.calls.append("start")

        def on_epoch_start(self, trainer):
            self.calls.append(f"epoch {trainer.state.current_epoch}")

        def on_step_end(self, trainer, terms):
            assert set(terms) == {"loss", "error", "size"}
            assert terms["loss"].shape == ()
            self.calls.append(trainer.state.global_step)

        def on_epoch_end(self, trainer, metrics):
            assert set(metrics) == {"loss", "error", "size", "val_loss", "val_error", "val_size"}
            if trainer.state.current_epoch == 2:
                trainer.stop("enough")

        def on_train_end(self, trainer):
            self.calls.append(f"end: {trainer.state.stop_reason}")

    log = Log()
    make_trainer(callbacks=[log]).train(*loaders(), epochs=9)
    assert log.calls == ["start", "epoch 1", 1, 2, 3, 4, 5, "epoch 2", 6, 7, 8, 9, 10, "end: enough"]


def test_callback_hears_of_an_exception(make_trainer, loaders):
    class Fails(Callback):
        heard = None

        def on_step_end(self, trainer, terms):
            raise LookupError("of the test")

        def on_exception(self, trainer, exception):
            self.heard = exception

    fails = Fails()
    with pytest.raises(LookupError) as caught:
        make_trainer(callbacks=[fails]).train(*loaders())
    assert fails.heard is caught.value


# ---- what is refused


class Returns(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.output = output

    def compute_loss(self, x):
        return self.output(self.weight)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda w: 1.0, "Returns.compute_loss returned an object of type float"),
        (lambda w: w.repeat(3), r"returned 'loss' as a tensor of shape \(3,\); take its mean"),
        (lambda w: {"kl": w}, "returned the terms 'kl'; the one that is minimised must be there as 'loss'"),
        (lambda w: {"loss": w, "kl": w.repeat(2)}, r"returned 'kl' as a tensor of shape \(2,\)"),
        (lambda w: (w, w), "returned a tuple of 2"),
        (lambda w: None, "returned an object of type NoneType"),
    ],
)
def test_loss_that_is_none_is_refused(output, message):
    model = Returns(output)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu")
    with pytest.raises(InputError, match=message):
        trainer.train([torch.ones(1)])


def test_terms_may_be_numbers_and_of_one_element():
    model = Returns(lambda w: {"loss": w.reshape(1, 1), "beta": 0.5, "n": 3})
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.0), device="cpu")
    history = trainer.train([torch.ones(1)], epochs=1).history
    assert history == {"loss": [1.0], "beta": [0.5], "n": [3.0], "lr": [0.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"criterion": None}, "Linear has no method compute_loss and no criterion"),
        ({"criterion": 3}, "criterion is of type int"),
        ({"optimizer": "adam"}, "optimizer is of type str"),
        ({"model": "net"}, "model is of type str"),
        ({"accumulate_batches": 0}, "accumulate_batches is 0"),
        ({"log_every": 1.5}, "log_every is 1.5"),
        ({"checkpoint_every_steps": 0}, "checkpoint_every_steps is 0"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"mode": "best"}, "mode is 'best'"),
        ({"scheduler_interval": "day"}, "scheduler_interval is 'day'"),
        ({"device": "cuda:93"}, "cannot train on device='cuda:93'"),
        ({"device": "abacus"}, "cannot train on device='abacus'"),
        ({"precision": "7-bit"}, "precision='7-bit'"),
        ({"early_stopping": 0}, "patience is 0"),
        ({"early_stopping": True}, "give the patience in epochs"),
    ],
)
def test_arguments_that_are_refused(change, message):
    model = linear()
    arguments = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "criterion": nn.MSELoss(),
        "device": "cpu",
        **change,
    }
    with pytest.raises(InputError, match=message):
        Trainer(**arguments)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "train_loader gave no batch"),
        (DataLoader(TensorDataset(torch.ones(3, 1)), batch_size=8, drop_last=True), "drop_last=True"),
        (iter([1]), "train_loader is a list_iterator, which can be read only once"),
        (5, "train_loader is of type int"),
        ([torch.ones(3, 1)], r"a batch must be \(inputs, target\), not a tensor of shape \(3, 1\)"),
    ],
)
def test_loaders_that_are_refused(loader, message):
    model = linear()
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(), device="cpu")
    with pytest.raises(InputError, match=message):
        trainer.train(loader)


def test_loader_without_length_that_is_empty_is_refused():
    class Nothing(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([])

    model = linear()
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(), device="cpu")
    good = [(torch.ones(1, 1), torch.ones(1, 1))]
    with pytest.raises(InputError, match="train_loader gave no batch"):
        trainer.train(DataLoader(Nothing()), good)
    with pytest.raises(InputError, match="val_loader gave no batch"):
        trainer.train(good, DataLoader(Nothing()))


def test_unknown_monitor_is_refused_with_those_there_are(make_trainer, loaders):
    with pytest.raises(InputError, match=r"'accuracy' is not among this epoch's: error, loss, size"):
        make_trainer(monitor="accuracy").train(loaders()[0], epochs=1)


def test_epochs_must_be_a_positive_number(make_trainer, loaders):
    for epochs, train in itertools.product([0, -1, 2.5], [loaders()[0]]):
        with pytest.raises(InputError, match="epochs is"):
            make_trainer().train(train, epochs=epochs)


def test_progress_line_does_not_change_the_training(make_trainer, loaders, capsys):
    histories = []
    for progress in (True, False):
        torch.manual_seed(3)
        trainer = make_trainer(progress=progress)
        histories.append(trainer.train(*loaders(), epochs=3).history)
    assert histories[0] == histories[1]
    shown = capsys.readouterr()
    assert shown.out == ""
