"""Relevance: how much a difference of a kind weighs as a cause, by the name of what differs.

The weights are those of the table in ``causes``. Names that are not known weigh little more than nothing matters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

Group = Literal["inputs", "start", "numerics", ""]
"""What a difference touches: what was put in, how it began, how numbers are computed, or none of these."""

IDLE = 10
"""What weighs no more than this does not change results."""

# The last word of a param that names the experiment, whatever its value.
_IDLE_PARAM = re.compile(
    r"(run|exp|experiment|project|display|group)_?(name|id|title)|descriptions?|notes?|comments?|tags?|project|author|user"
    r"|verbos(e|ity)|quiet|progress(_bar)?|print_\w+|log_(dir|level|path|file|to|every\w*)|host(name)?|port",
    re.IGNORECASE,
)
# Idle if it is text: says where output goes and how much of it. A number may be anything: `output: 3`, `log: true`.
_IDLE_TEXT = re.compile(
    r"log(s|ging|ger)?|(out|output|save|result|results|run|runs|work|cache|tmp|temp|artifact|artifacts|experiment|experiments)"
    r"(_?(dir|directory|path|folder|root|file|to))?",
    re.IGNORECASE,
)
# Idle if it is when the experiment was made: as another date it may choose the data.
_DATE = re.compile(r"date|time|timestamp", re.IGNORECASE)
_NEAR_MS = 2 * 24 * 3_600_000
# As the last word idle at the top and below what is tracked: `model.name` and `optimizer.name` choose what runs.
_NAME = re.compile(r"name|id|title", re.IGNORECASE)
_NAMED = re.compile(r"group|track(er|ing)|wandb|mlflow|aim|tensorboard|hydra", re.IGNORECASE)
# A variable that names the job, or says where output goes: what the program looks at only to tell of it.
_IDLE_VARIABLE = re.compile(
    r"((.*_)?(JOB|TASK|RUN|EXP|EXPERIMENT|SESSION|PROCESS)_?(ID|NAME)|(.*_)?(LOG|OUT|OUTPUT|SAVE|RESULTS?|CACHE|TMP|WORK)_?(DIR|PATH|FILE|LEVEL)"
    r"|WANDB_.*|MLFLOW_.*|HF_HOME|.*_PROXY|.*_VERBOS(E|ITY)|SLURM_.*|LC_.*|LANG)",
    re.IGNORECASE,
)
# Files that a program run does not read; what pins packages is told by the packages themselves.
_IDLE_FILE = re.compile(
    r"(^|/)(tests?|docs?|\.github|\.vscode|\.idea)/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$|\.(md|rst)$"
    r"|(^|/)(LICENSE|NOTICE|CHANGELOG|Makefile|Dockerfile|\.git\w+|requirements[^/]*\.txt|pyproject\.toml|setup\.(py|cfg)"
    r"|[^/]*\.lock)$"
)
_COMPUTES = re.compile(
    r"(numpy|scipy|torch|tensorflow|jax|keras|cupy|numba|triton|nvidia|mkl|intel-openmp|openblas|onednn|dpcpp|pandas|polars|pyarrow"
    r"|scikit|xgboost|lightgbm|catboost|transformers|tokenizers|datasets|accelerate|diffusers|timm|flax|optax|haiku|equinox"
    r"|lightning|pytorch|einops|deepspeed|bitsandbytes|flash-attn|xformers|apex|gymnasium|stable-baselines3|ray"
    r"|opencv|pillow|albumentations|kornia|monai|librosa|sentencepiece|cuda|statsmodels|sympy|autograd|theano|mxnet|paddle\w*)"
    r"(-.*)?|torch\w+|jax\w+|tensorflow\w*"
)
_TOOL = re.compile(
    r"(pip|setuptools|wheel|build|hatch(ling)?|poetry|uv|virtualenv|tox|nox|pytest|hypothesis|coverage|ruff|black|isort|flake8"
    r"|pylint|mypy|pyright|pre-commit|sphinx|mkdocs|mkdocstrings|zensical|jupyter\w*|notebook|ipython|ipykernel|ipywidgets|nbformat"
    r"|nbconvert|types|twine|bandit|debugpy|pdbpp|jedi|parso|rich|tqdm|click|typer|colorama|pygments|tensorboard|wandb|mlflow|aim"
    r"|frameworm|import-linter|grimp|docutils|babel|watchdog|psutil)(-.*)?|.*-stubs"
)
_NUMERICS_VARIABLE = re.compile(
    r".*_THREADS|(OMP|KMP|GOMP|MKL|OPENBLAS|GOTO|BLIS|VECLIB|NUMEXPR|NUMBA|CUDA|CUBLAS|CUDNN|NVIDIA|NCCL|ROCR|HIP|HSA|RCCL|TF|XLA"
    r"|TORCH|PYTORCH|TORCHINDUCTOR|TRITON|JAX)_.*"
)
_FACTS: dict[str, dict[str, int]] = {
    "interpreter": {},
    "hardware": {"gpus": 50, "machine": 50, "cpu_model": 40, "cpu_flags": 40, "memory_bytes": 5, "host": 5},
    "platform": {
        "blas": 45,
        "cuda": 50,
        "libc": 25,
        "os_release": 15,
        "container": 20,
        "time_zone": 5,
        "locale": 5,
        "umask": 5,
    },
    "command": {"command": 65, "stdin": 60, "cwd": 15},
}
_UNNAMED = {"interpreter": 50, "hardware": 30, "platform": 10, "command": 10}


def weigh_fact(part: str, key: str) -> int:
    """Return the weight of a fact of ``interpreter``, ``hardware``, ``platform`` or ``command``."""
    return _FACTS[part].get(key.partition(".")[0], _UNNAMED[part])


def weigh_param(
    key: str, *, added: bool, values: Sequence[Any] = (), times_ms: Sequence[int] = ()
) -> tuple[int, Group]:
    """Return the weight of a param.

    Args:
        key: its name.
        added: one of the two experiments does not have it.
        values: what it is in those that have it.
        times_ms: when these were made.
    """
    *above, word = key.split(".")
    if _NAME.fullmatch(word):
        idle = not above or any(pattern.fullmatch(above[-1]) for pattern in (_NAMED, _IDLE_PARAM, _IDLE_TEXT))
    elif _IDLE_TEXT.fullmatch(word):
        idle = all(isinstance(value, str | None.__class__) for value in values)
    elif _DATE.fullmatch(word):
        idle = all(_is_near(value, time_ms) for value, time_ms in zip(values, times_ms, strict=False))
    else:
        idle = _IDLE_PARAM.fullmatch(word) is not None
    if idle:
        return 8, ""
    if re.search(r"(^|_)seeds?$|^(random_state|rng)$", word, re.IGNORECASE):
        return 85, "start"
    return 70 if added else 85, "inputs"


def _is_near(value: Any, time_ms: int) -> bool:
    """Whether a date or time, as text or as Unix seconds, is about when the experiment was made."""
    try:
        if isinstance(value, str):
            digits = "".join(re.findall(r"\d+", value))
            then = datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:8]), 12, tzinfo=UTC).timestamp()
        else:
            then = float(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return False
    return abs(1000 * then - time_ms) < _NEAR_MS


def weigh_package(name: str, *, added: bool) -> tuple[int, Group]:
    """Return the weight of a distribution, its name as PEP 503 writes it."""
    if _TOOL.fullmatch(name):
        return 5, ""
    if _COMPUTES.fullmatch(name):
        return 30 if added else 70, "numerics"
    return 20 if added else 45, "numerics"


def weigh_variable(name: str, *, looked_at: bool = False, added: bool = False) -> tuple[int, Group]:
    """Return the weight of an environment variable.

    Args:
        name: its name.
        looked_at: the program asked for it.
        added: one of the two has none.
    """
    if name == "PYTHONHASHSEED":
        return 45, "start"
    if _NUMERICS_VARIABLE.fullmatch(name):
        return 45, "numerics"
    if name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        return 45, "inputs"
    if name in ("PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONOPTIMIZE"):
        return 30, ""
    if looked_at and not _IDLE_VARIABLE.fullmatch(name):
        return 62 if added else 75, "inputs"
    return 8, ""


def is_idle_file(path: str) -> bool:
    """Whether a run does not read such a file: documentation, tests, what a repository keeps about itself."""
    return _IDLE_FILE.search(path) is not None
