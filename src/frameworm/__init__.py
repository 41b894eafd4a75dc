"""Frameworm: experiment tracking for machine learning.

Names are loaded when first used, so that ``import frameworm`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frameworm.experiment import Experiment, ExperimentManager
    from frameworm.training import Trainer

__version__ = "0.1.0"
__all__ = ["Experiment", "ExperimentManager", "Trainer", "__version__"]

_HOME = {
    "Experiment": "frameworm.experiment",
    "ExperimentManager": "frameworm.experiment",
    "Trainer": "frameworm.training",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'frameworm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
