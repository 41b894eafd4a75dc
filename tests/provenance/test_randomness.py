"""Seeding everything; states kept and restored."""

import random

import numpy as np
import pytest
import torch

from frameworm.experiment import Experiment, seed_everything
from frameworm.experiment.errors import InputError
from frameworm.experiment.provenance import randomness
from frameworm.experiment.provenance.randomness import collect_states, keep_states, restore_states


@pytest.fixture(autouse=True)
def as_before():
    states, deterministic = collect_states(), torch.are_deterministic_algorithms_enabled()
    yield
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = False
    randomness._seeded.clear()


def draw():
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_a_seed_makes_all_generators_repeat():
    assert seed_everything(7) == 7
    first = draw()
    seed_everything(7)
    assert draw() == first
    seed_everything(8)
    assert all(a != b for a, b in zip(draw(), first, strict=True))
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "7", True, None])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(InputError, match="seed: expected an int from 0"):
        seed_everything(seed)


def test_states_are_kept_and_restored_bit_for_bit(tmp_path):
    record = keep_states(collect_states(), tmp_path)
    first = draw()
    draw()
    assert sorted(restore_states(tmp_path)) == ["numpy", "python", "torch"]
    assert keep_states(collect_states(), tmp_path) == record
    assert draw() == first
    assert record["seed"] is None
    assert set(record["states"]) == {"python", "numpy", "torch"}


def test_an_experiment_records_seed_and_states(tmp_path):
    seed_everything(11, deterministic=False)
    with Experiment("e", root_dir=tmp_path, system_metrics_s=0, capture_console=False) as exp:
        first = draw()
    assert exp.info.randomness["seed"] == 11
    assert exp.info.randomness["deterministic"] is False
    restore_states(exp.provenance_dir)
    assert draw() == first
