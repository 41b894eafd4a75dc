from __future__ import annotations

import subprocess
import sys
import textwrap

import torch

from frameworm.training.checkpoint import read_checkpoint

SCRIPT = """
    import sys
    from pathlib import Path
    import torch
    from lightning_fabric import Fabric
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from frameworm.training import Trainer

    class Model(nn.Linear):
        def compute_loss(self, x, y):
            return {"loss": (self(x) - y).pow(2).mean(), "first": x[0, 0]}

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    torch.manual_seed(0)
    model = Model(2, 1)
    folder = Path(sys.argv[1])
    trainer = Trainer(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        fabric=fabric,
        accumulate_batches=2,
        checkpoint_dir=folder if fabric.is_global_zero else None,
    )
    x = torch.arange(32.0).reshape(16, 2) / 32
    data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=2)
    trainer.train(data, data, epochs=2)
    trainer.train(data, data, epochs=3, resume_from="latest")
    text = f"{trainer.state.global_step} {trainer.state.history['loss']} {model.weight.tolist()}"
    (folder / f"rank{fabric.global_rank}").write_text(text)
"""


def test_two_ranks_train_one_model_like_one_rank_with_batches_joined(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in (0, 1))
    assert first == second

    # 16 samples are 4 batches of 2 a rank; 2 ranks x 2 accumulated batches x 2 = 8 a step: 2 steps an epoch.
    assert first.startswith("6 ")
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.arange(32.0).reshape(16, 2) / 32
    for _ in range(3):
        for part in (x[:8], x[8:]):
            optimizer.zero_grad()
            (model(part) - part.sum(1, keepdim=True)).pow(2).mean().backward()
            optimizer.step()
    learned = read_checkpoint(tmp_path / "latest.pt")["model"]["weight"]
    torch.testing.assert_close(learned, model.weight.detach(), rtol=1e-5, atol=0)
