"""Training: a `Trainer` that logs to an experiment, checkpoints, and resumes bit for bit.

Needs PyTorch and Lightning Fabric (``pip install 'frameworm[torch]'``). Both are imported when a name of this
package is first used, so that the rest of frameworm works without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frameworm.training.callbacks import Callback, EarlyStopping
    from frameworm.training.trainer import Trainer, TrainerState

__all__ = ["Callback", "EarlyStopping", "Trainer", "TrainerState"]

_HOME = {
    "Callback": "frameworm.training.callbacks",
    "EarlyStopping": "frameworm.training.callbacks",
    "Trainer": "frameworm.training.trainer",
    "TrainerState": "frameworm.training.trainer",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'frameworm.training' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in ("torch", "lightning_fabric"):
            raise
        raise ModuleNotFoundError(
            f"frameworm.training.{name} needs PyTorch and Lightning Fabric, and {exc.name} is not installed: "
            "pip install 'frameworm[torch]'",
            name=exc.name,
        ) from exc


def __dir__() -> list[str]:
    return sorted(__all__)
