"""Records that the user did not make: what they would run is shown, and run only after a word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.provenance.notebook import NOTEBOOK_NAME
from frameworm.experiment.provenance.signature import is_own
from frameworm.experiment.storage.folder import PROVENANCE

# Numbers and words that change results and lead to no file: what is named nowhere here is not set.
_ALLOWED = re.compile(
    r"""
    (?:OMP|MKL|OPENBLAS|GOTO|BLIS|NUMEXPR|NUMBA)_(?:NUM|MAX|DOMAIN_NUM)_THREADS | VECLIB_MAXIMUM_THREADS
    | OMP_(?:DYNAMIC|SCHEDULE|PROC_BIND|PLACES|THREAD_LIMIT|MAX_ACTIVE_LEVELS|WAIT_POLICY|NESTED)
    | KMP_(?:AFFINITY|BLOCKTIME|DETERMINISTIC_REDUCTION|HW_SUBSET) | GOMP_CPU_AFFINITY
    | MKL_(?:DYNAMIC|CBWR|ENABLE_INSTRUCTIONS|THREADING_LAYER) | OPENBLAS_CORETYPE
    | CUDA_(?:VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING|DEVICE_MAX_CONNECTIONS)
    | CUBLAS_WORKSPACE_CONFIG | NVIDIA_TF32_OVERRIDE | HIP_VISIBLE_DEVICES | ROCR_VISIBLE_DEVICES
    | PYTORCH_CUDA_ALLOC_CONF | TORCH_ALLOW_TF32_CUBLAS_OVERRIDE | TOKENIZERS_PARALLELISM
    | TF_(?:DETERMINISTIC_OPS|CUDNN_DETERMINISTIC|ENABLE_ONEDNN_OPTS|NUM_INTEROP_THREADS|NUM_INTRAOP_THREADS)
    | TF_FORCE_GPU_ALLOW_GROWTH | TF_CPP_MIN_LOG_LEVEL
    | JAX_(?:ENABLE_X64|DEFAULT_MATMUL_PRECISION|THREEFRY_PARTITIONABLE|PLATFORMS|DEFAULT_PRNG_IMPL)
    | (?:HF_HUB|HF_DATASETS|TRANSFORMERS)_OFFLINE
    | LANG | LC_[A-Z]+ | TZ
    """,
    re.VERBOSE,
)
_VALUE = re.compile(r"[\w.,:=+@{}-]{0,200}|[A-Z][A-Za-z_]+(?:/[A-Za-z_+-]+){1,2}", re.ASCII)  # a word, or a time zone
_HASH_SEED = re.compile(r"\d{1,10}|random", re.ASCII)
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Foreign:
    """An experiment that this user did not record, or that was changed since.

    Attributes:
        experiment_id: which.
        name: what it is called.
        command: its command line.
        cwd: the folder in which that ran.
        code: where the code comes from, a sentence each.
        variables: those of its environment that are set.
        not_set: names of those that are not.
    """

    experiment_id: str
    name: str
    command: tuple[str, ...]
    cwd: str
    code: tuple[str, ...]
    variables: dict[str, str]
    not_set: tuple[str, ...]

    def lines(self) -> list[tuple[str, str]]:
        """Return what would be run, as labels and texts."""
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        return [
            ("command", " ".join(self.command)),
            ("in", self.cwd),
            *(("code", one) for one in self.code),
            ("variables", " ".join(variables) or "none"),
            *([("not set", " ".join(self.not_set))] if self.not_set else []),
        ]

    def refusal(self) -> str:
        """Return why it is not run, and what to do."""
        shown = "\n".join(f"  {label:<10} {text:.2000}" for label, text in self.lines())
        return (
            f"{self.experiment_id} was not recorded here by you (it was imported, copied from somebody else, changed "
            f"since, or recorded by an older release), and to reproduce it runs its code:\n{shown}\nlook at it, and "
            "run it with --trust (trust=True in Python) if you would run it by hand"
        )


def foreign(info: ExperimentInfo, exp_dir: Path, label: str) -> Foreign | None:
    """Return what an experiment would run if it is not the user's own; None if it is."""
    if is_own(exp_dir, info):
        return None
    recorded = info.environment.get("variables") or {}
    taken = allowed_variables(recorded)
    return Foreign(
        experiment_id=label,
        name=info.name,
        command=tuple(map(str, info.environment.get("command") or ())),
        cwd=str(info.environment.get("cwd") or ""),
        code=tuple(_code(info)),
        variables=taken,
        not_set=tuple(sorted(recorded.keys() - taken.keys())),
    )


def allowed_variables(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Return those of a stranger's variables that are set: by an allow-list of names, and of values that name no file.

    Nothing that says where programs, libraries, modules, plug-ins or configurations are to be loaded from.
    """
    return {name: value for name, value in recorded.items() if isinstance(value, str) and _is_allowed(name, value)}


def may_be_set(name: str) -> bool:
    """Whether a stranger's record may set this variable, if its value is harmless too."""
    return name == "PYTHONHASHSEED" or _ALLOWED.fullmatch(name) is not None


def _is_allowed(name: str, value: str) -> bool:
    if name == "PYTHONHASHSEED":  # the only one of Python's: a number, without which sets have another order
        return _HASH_SEED.fullmatch(value) is not None
    return may_be_set(name) and _VALUE.fullmatch(value) is not None


def _code(info: ExperimentInfo) -> Iterator[str]:
    git, files = info.git, info.code.get("files", ())
    if git.get("commit"):
        remote = f", fetched from {git['remote']} if it is not here" if git.get("remote") else ""
        yield f"commit {git['commit']} of {git.get('root')}{remote}"
    if git.get("patch"):
        yield "uncommitted changes, from the record"
    if notebook := info.code.get("notebook"):
        number = notebook.get("cells") or 0
        yield f"{number:,} cell{'' if number == 1 else 's'}, from the record: {info.path / PROVENANCE / NOTEBOOK_NAME}"
    if files:
        names = ", ".join(str(file["path"]) for file in files[:_SHOWN])
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        yield f"files, from the record: {names}{more}"
