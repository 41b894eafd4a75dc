from __future__ import annotations

import os
import random
import runpy
import shutil
import signal
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from frameworm.experiment import ExperimentManager
from frameworm.experiment.errors import FramewormWarning, InputError
from frameworm.training import Callback, EarlyStopping, Trainer
from frameworm.training.checkpoint import read_checkpoint, write_checkpoint


class RaiseAt(Callback):
    """Fails after a given step."""

    def __init__(self, step, error):
        self.step, self.error = step, error

    def on_step_end(self, trainer, terms):
        if trainer.state.global_step == self.step:
            raise self.error


class Noise(Callback):
    """Draws from every global generator, so that a resume that forgets one is found out."""

    def __init__(self):
        self.drawn = []

    def on_step_end(self, trainer, terms):
        self.drawn.append((random.random(), np.random.random(), torch.rand(()).item()))


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture
def make(make_trainer, tmp_path):
    """Make a Trainer with everything that has a state, its checkpoints in tmp_path/<name>."""

    def make(name="a", **options):
        trainer = make_trainer()
        optimizer = trainer.optimizer
        options = {
            "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.1),
            "early_stopping": EarlyStopping(50),
            "clip_norm": 1.0,
            "checkpoint_dir": tmp_path / name,
            **options,
        }
        random.seed(1)
        np.random.seed(2)
        torch.manual_seed(3)
        return Trainer(trainer.model, optimizer, device="cpu", **options)

    return make


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_after_an_epoch_ends_with_the_same_bits(make, loaders, workers):
    options = {"num_workers": workers}
    whole, noise = make("whole"), Noise()
    whole._callbacks.append(noise)
    whole.train(*loaders(**options), epochs=4)

    first = make("parts", callbacks=[Noise()])
    first.train(*loaders(**options), epochs=2)
    rest = Noise()
    second = make("parts", callbacks=[rest])
    torch.rand(100)  # whatever happened before must not matter
    state = second.train(*loaders(**options), epochs=4, resume_from="latest")

    assert_same_bits(weights(second), weights(whole))
    assert state == whole.state
    assert rest.drawn == noise.drawn[10:]


@pytest.mark.parametrize(("step", "accumulate"), [(1, 1), (5, 1), (6, 1), (2, 2), (4, 2)])
def test_resumed_within_an_epoch_ends_with_the_same_bits(make, loaders, step, accumulate):
    whole = make("whole", accumulate_batches=accumulate)
    whole.train(*loaders(), epochs=3)

    options = {"accumulate_batches": accumulate, "checkpoint_every_steps": 1}
    with pytest.raises(LookupError):
        broken = make("parts", **options, callbacks=[RaiseAt(step + 1, LookupError("of the test"))])
        broken.train(*loaders(), epochs=3)
    resumed = make("parts", **options)
    state = resumed.train(*loaders(), epochs=3, resume_from="latest")
    assert_same_bits(weights(resumed), weights(whole))
    assert state == whole.state


def test_loaders_with_generators_of_their_own_resume_too(make, loaders):
    def own():
        return loaders(generator=torch.Generator().manual_seed(5))

    whole = make("whole")
    whole.train(*own(), epochs=3)
    make("parts").train(*own(), epochs=1)
    resumed = make("parts")
    resumed.train(*own(), epochs=3, resume_from="latest")
    assert_same_bits(weights(resumed), weights(whole))

    with pytest.warns(FramewormWarning, match="the order of batches will differ"):
        make("parts").train(*loaders(), epochs=4, resume_from="latest")


def test_best_and_path_and_folder(make, loaders, tmp_path):
    trainer = make()
    state = trainer.train(*loaders(), epochs=5)
    best = read_checkpoint(tmp_path / "a" / "best.pt")
    assert best["finished_epochs"] == state.best_epoch
    assert best["best_metric"] == state.best_metric
    assert read_checkpoint(tmp_path / "a" / "latest.pt")["finished_epochs"] == 5
    for given in ("best", tmp_path / "a" / "best.pt"):
        again = make()
        assert again.train(*loaders(), epochs=6, resume_from=given).current_epoch == 6
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert make().train(*loaders(), epochs=7, resume_from=tmp_path / "b").global_step == 35


def test_checkpoint_is_read_with_weights_only(make, loaders, tmp_path):
    make().train(*loaders(), epochs=1)
    content = torch.load(tmp_path / "a" / "latest.pt", weights_only=True)
    fresh = make("c").model
    fresh.load_state_dict(content["model"])
    assert content["model"]._metadata["layers.1"] == {"version": 2}
    assert content["history"]["loss"]


def test_failing_loss_leaves_the_last_whole_state(make, loaders, tmp_path):
    class Fails(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.calls = inner, 0

        def compute_loss(self, x, y):
            self.calls += 1
            if self.calls == 7:
                raise ZeroDivisionError("of the test")
            return self.inner.compute_loss(x, y)

    plain = make("plain").model
    model = Fails(plain)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu", checkpoint_dir=tmp_path)
    train, _ = loaders()
    with pytest.raises(ZeroDivisionError) as caught:
        trainer.train(train, epochs=3)
    assert "resume_from=" in caught.value.__notes__[0]
    content = read_checkpoint(tmp_path / "latest.pt")
    assert (content["finished_epochs"], content["global_step"], content["position"]) == (1, 5, None)


def test_failure_in_the_first_step_leaves_a_checkpoint(make, loaders, tmp_path):
    with pytest.raises(LookupError):
        make(callbacks=[RaiseAt(1, LookupError())]).train(*loaders())
    assert read_checkpoint(tmp_path / "a" / "latest.pt")["global_step"] == 0


def test_after_an_exception_the_same_trainer_starts_that_epoch_anew(make, loaders):
    trainer = make(callbacks=[RaiseAt(7, LookupError())])
    with pytest.raises(LookupError):
        trainer.train(*loaders(), epochs=3)
    assert trainer.state.current_epoch == 2
    assert trainer.train(*loaders(), epochs=3).current_epoch == 3
    assert len(trainer.state.history["loss"]) == 3


def test_early_stop_is_final_after_a_resume_unless_patience_grows(make, loaders):
    def stopping(patience):
        return make(early_stopping=EarlyStopping(patience, min_delta=1000.0))

    assert stopping(2).train(*loaders(), epochs=9).current_epoch == 3
    again = stopping(2).train(*loaders(), epochs=9, resume_from="latest")
    assert (again.current_epoch, bool(again.stop_reason)) == (3, True)
    assert stopping(4).train(*loaders(), epochs=9, resume_from="latest").current_epoch == 5


SCRIPT = """
    import sys, time
    import torch
    from torch import nn
    from frameworm.training import Trainer

    def main(folder, resume_from=None, pause=False):
        class Model(nn.Linear):
            def compute_loss(self, x):
                if pause:
                    print("step", flush=True)
                    time.sleep(0.05)
                return (self(nn.functional.dropout(x)) - 1).pow(2).mean()

        torch.set_num_threads(1)
        torch.manual_seed(0)
        model = Model(3, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        trainer = Trainer(model, optimizer, device="cpu", checkpoint_dir=folder)
        data = torch.utils.data.DataLoader(torch.randn(64, 3), batch_size=4, shuffle=True)
        state = trainer.train(data, epochs=3, resume_from=resume_from)
        return state, model.weight.tolist()

    if __name__ == "__main__":
        main(sys.argv[1], pause=True)
"""


def test_sigint_within_an_epoch_and_resume_give_the_same_bits(tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "checkpoints"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(3):
        assert process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "KeyboardInterrupt" in errors
    assert "resume_from=" in errors
    content = read_checkpoint(folder / "latest.pt")
    assert content["finished_epochs"] == 0
    assert content["position"]["batches"] == content["global_step"] >= 3
    main = runpy.run_path(str(script))["main"]
    whole, resumed = main(tmp_path / "whole"), main(folder, "latest")
    assert resumed == whole
    assert whole[0].global_step == 48


# ---- files


def test_checkpoint_that_cannot_be_written_is_one_warning(make, loaders, tmp_path):
    (tmp_path / "file").write_text("in the way")
    trainer = make(checkpoint_dir=tmp_path / "file" / "checkpoints")
    with pytest.warns(FramewormWarning, match="cannot write the checkpoint .*training goes on") as caught:
        assert trainer.train(*loaders(), epochs=3).current_epoch == 3
    assert len(caught) == 1


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path):
    """In a process whose files may not exceed 100 kB."""
    script = f"""
        import resource, signal, torch
        from pathlib import Path
        from frameworm.training.checkpoint import write_checkpoint
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        path = Path({str(tmp_path / "latest.pt")!r})
        write_checkpoint(path, {{"value": torch.ones(3)}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_checkpoint(path, {{"value": torch.ones(1_000_000)}})
        except OSError as exc:
            print("OSError", torch.load(path, weights_only=True)["value"].tolist())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "OSError [1.0, 1.0, 1.0]\n", done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["latest.pt"]


def test_checkpoint_respects_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_checkpoint(tmp_path / "latest.pt", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "latest.pt").stat().st_mode) == 0o640


def test_state_that_could_not_be_read_back_is_refused_before_the_first_step(make, loaders):
    class Bad(Callback):
        def state_dict(self):
            return {"made": object()}

    with pytest.raises(InputError, match=r"checkpoint\['callbacks'\]\[1\]\[1\]\['made'\] is a builtins.object"):
        make(callbacks=[Bad()]).train(*loaders())


def test_numpy_scalars_become_numbers(tmp_path):
    write_checkpoint(tmp_path / "x.pt", {"lr": np.float64(0.5), "n": (np.int32(3), [np.bool_(True)])})
    assert torch.load(tmp_path / "x.pt", weights_only=True) == {"lr": 0.5, "n": (3, [True])}


def test_missing_and_foreign_and_damaged_checkpoints(make, loaders, tmp_path):
    train, val = loaders()
    make().train(train, val, epochs=1)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.pt; .* there is best\.pt, latest\.pt"):
        make().train(train, val, resume_from=tmp_path / "a" / "none.pt")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        make("empty").train(train, val, resume_from="latest")
    with pytest.raises(InputError, match="needs an experiment or a checkpoint_dir"):
        make(checkpoint_dir=None).train(train, val, resume_from="best")

    torch.save({"weight": torch.ones(1)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="not a checkpoint of a Trainer"):
        make().train(train, val, resume_from=tmp_path / "weights.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "pickled.pt")
    with pytest.raises(InputError, match="damaged or is not a checkpoint"):
        make().train(train, val, resume_from=tmp_path / "pickled.pt")

    whole = (tmp_path / "a" / "latest.pt").read_bytes()
    for damaged in (b"", b"not a zip", whole[: len(whole) // 2]):
        (tmp_path / "damaged.pt").write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged\.pt is damaged"):
            make().train(train, val, resume_from=tmp_path / "damaged.pt")


def test_checkpoint_of_another_model_or_release(make, loaders, make_trainer, tmp_path):
    train, val = loaders()
    make().train(train, val, epochs=1)
    model = nn.Linear(4, 1)
    other = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(), device="cpu")
    with pytest.raises(InputError, match="of another model or optimizer"):
        other.train(train, val, resume_from=tmp_path / "a")
    with pytest.warns(FramewormWarning, match="the checkpoint has a learning rate scheduler and the trainer"):
        make(scheduler=None).train(train, val, epochs=2, resume_from=tmp_path / "a")
    content = read_checkpoint(tmp_path / "a" / "latest.pt")
    write_checkpoint(tmp_path / "newer.pt", {**content, "format": 99})
    with pytest.raises(InputError, match="format 99; this release reads up to 1: upgrade"):
        make().train(train, val, resume_from=tmp_path / "newer.pt")


KILLED = """
    import signal, sys, os
    import torch
    from torch import nn
    from frameworm.experiment import Experiment, seed_everything
    from frameworm.training import Trainer

    root, resume, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])

    class Model(nn.Linear):
        steps = 0

        def compute_loss(self, x):
            Model.steps += self.training
            if Model.steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return (self(nn.functional.dropout(x, training=self.training)) - 1).pow(2).mean()

    torch.set_num_threads(1)
    seed_everything(0)
    options = {"system_metrics_s": 0.0}
    if resume:
        step = torch.load(f"{root}/{resume}/checkpoints/latest.pt", weights_only=True)["global_step"]
        exp = Experiment.resume(resume[:7], root, step=step, **options)
    else:
        exp = Experiment("killed" if kill_at else "whole", root_dir=root, **options)
    with exp:
        model = Model(3, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        trainer = Trainer(model, optimizer, device="cpu")
        trainer.set_experiment(exp)
        data = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
        loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
        validation = torch.utils.data.DataLoader(data[:16], batch_size=4)
        trainer.train(loader, validation, epochs=4, resume_from="latest" if resume else None)
"""


def test_resumed_after_kill_9_every_metric_is_that_of_an_uninterrupted_training(tmp_path):
    script, root = tmp_path / "script.py", tmp_path / "experiments"
    script.write_text(textwrap.dedent(KILLED))

    def run(resume="", kill_at=0):
        command = [sys.executable, str(script), str(root), resume, str(kill_at)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    whole = run()
    assert whole.returncode == 0, whole.stderr
    assert run(kill_at=40).returncode == -signal.SIGKILL  # in the third of four epochs of 16 steps
    manager = ExperimentManager(root)
    assert manager.get_experiment("exp_002")["status"] == "crashed"
    (folder,) = root.glob("exp_002_*")
    resumed = run(resume=folder.name)
    assert resumed.returncode == 0, resumed.stderr
    assert manager.get_experiment("exp_002")["status"] == "completed"
    diff = manager.diff("exp_001", "exp_002")
    assert diff.same_metrics, diff.verdict
    assert {one.label for one in diff.series} >= {"loss@train", "loss@train_epoch", "val_loss@val"}
    assert sum(one.points[0] for one in diff.series) > 64
    assert manager.reproduce("exp_001").outcome == "identical"
