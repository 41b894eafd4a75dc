"""Random generators: seeded all at once, and their states kept as they were when an experiment started."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frameworm.experiment.config import dump_json, load_json
from frameworm.experiment.errors import InputError
from frameworm.experiment.paths import read_regular

STATES = "random.json"

_seeded: dict[str, Any] = {}
"""What ``seed_everything`` was called with last, and the libraries that were seeded."""


def seed_everything(seed: int, *, deterministic: bool = True) -> int:
    """Seed the generators of Python, NumPy and PyTorch, and ask PyTorch for deterministic algorithms.

    Libraries that are imported later are seeded when the next experiment starts; nothing is imported for this.
    JAX has no generator of its own: make its keys from the seed that is returned.

    Args:
        seed: 0 to 2**32 - 1.
        deterministic: also ``torch.use_deterministic_algorithms`` (which warns where there is none), cuDNN without
            benchmarking, and ``CUBLAS_WORKSPACE_CONFIG`` where it is not set.

    Returns:
        the seed.

    Raises:
        InputError: the seed is not such a number.
    """
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise InputError(f"seed: expected an int from 0 to 2**32 - 1, got {seed!r}")
    _seeded.clear()
    _seeded.update(seed=seed, deterministic=deterministic, done=set())
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seed_late_imports()
    return seed


def seed_late_imports() -> None:
    """Seed what was imported since ``seed_everything`` was called, if it was."""
    for name, seed in (("random", random.seed), ("numpy", _seed_numpy), ("torch", _seed_torch)):
        if _seeded and name in sys.modules and name not in _seeded["done"]:
            seed(_seeded["seed"])
            _seeded["done"].add(name)


def _seed_numpy(seed: int) -> None:
    sys.modules["numpy"].random.seed(seed)


def _seed_torch(seed: int) -> None:
    torch = sys.modules["torch"]
    torch.manual_seed(seed)  # of every device
    if _seeded["deterministic"]:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def collect_states() -> dict[str, Any]:
    """Return the state of each generator of the process, as it is now; takes 50 µs.

    Returns:
        ``python``, and of what is imported ``numpy`` (its global generator), ``torch`` and ``cuda`` (a list, if CUDA is
        in use): values for ``keep_states``.
    """
    states: dict[str, Any] = {"python": random.getstate()}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        states["numpy"] = numpy.random.get_state(legacy=True)  # NumPy makes its generator at the first use: now, then
    if torch is not None and hasattr(torch, "get_rng_state"):
        states["torch"] = torch.get_rng_state().numpy().tobytes()
        if torch.cuda.is_initialized():
            states["cuda"] = [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()]
    return states


def keep_states(states: dict[str, Any], provenance_dir: Path) -> dict[str, Any]:
    """Write the states to ``random.json`` and return what the experiment's record says of its randomness.

    Returns:
        ``seed`` and ``deterministic`` (None if ``seed_everything`` was not called), ``states`` (a digest of each
        generator's state), ``hash_randomization`` (whether ``hash(str)`` differs from run to run), ``torch_threads``.
    """
    texts = {name: dump_json(_plain(state)) for name, state in states.items()}
    members = ",\n".join(f"{dump_json(name)}: {text}" for name, text in texts.items())
    (provenance_dir / STATES).write_text(f"{{{members}}}\n", encoding="utf-8")
    digests = {name: f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" for name, text in texts.items()}
    torch = sys.modules.get("torch")
    return {
        "seed": _seeded.get("seed"),
        "deterministic": _seeded.get("deterministic"),
        "states": digests,
        "hash_randomization": bool(sys.flags.hash_randomization),
        "torch_threads": torch.get_num_threads() if torch is not None and hasattr(torch, "get_num_threads") else None,
    }


def _plain(state: Any) -> Any:
    if isinstance(state, bytes):
        return base64.b64encode(state).decode()
    if isinstance(state, tuple | list):
        # Python's generator has 625 numbers, which need not be looked at one by one.
        return state if {type(item) for item in state} == {int} else [_plain(item) for item in state]
    return state.tolist() if hasattr(state, "tolist") else state


def restore_states(provenance_dir: Path) -> list[str]:
    """Set the generators to the states in ``random.json``; return the names of those that were set.

    A library that is not imported is left alone.
    """
    states = load_json(read_regular(provenance_dir / STATES))
    setters: dict[str, Callable[[Any], None]] = {
        "python": lambda state: random.setstate((state[0], tuple(state[1]), state[2])),
        "numpy": _set_numpy,
        "torch": lambda state: sys.modules["torch"].set_rng_state(_torch_bytes(state)),
        "cuda": lambda state: sys.modules["torch"].cuda.set_rng_state_all([_torch_bytes(one) for one in state]),
    }
    done = []
    for name, state in states.items():
        module = {"python": "random", "cuda": "torch"}.get(name, name)
        if module in sys.modules and (name != "cuda" or sys.modules["torch"].cuda.is_available()):
            setters[name](state)
            done.append(name)
    return done


def _set_numpy(state: list[Any]) -> None:
    numpy = sys.modules["numpy"]
    numpy.random.set_state((state[0], numpy.array(state[1], dtype="uint32"), *state[2:]))


def _torch_bytes(state: str) -> Any:
    return sys.modules["torch"].frombuffer(bytearray(base64.b64decode(state)), dtype=sys.modules["torch"].uint8)
