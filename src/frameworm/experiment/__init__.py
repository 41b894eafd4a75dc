"""Experiment tracking: record, list, search, compare and plot experiments.

Names are loaded when first used: importing this package imports neither NumPy, pandas nor SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frameworm.experiment.errors import ExperimentError
    from frameworm.experiment.experiment import Experiment
    from frameworm.experiment.manager import ExperimentManager
    from frameworm.experiment.provenance.randomness import seed_everything

__all__ = ["Experiment", "ExperimentError", "ExperimentManager", "seed_everything"]

_HOME = {
    "Experiment": "frameworm.experiment.experiment",
    "ExperimentError": "frameworm.experiment.errors",
    "ExperimentManager": "frameworm.experiment.manager",
    "seed_everything": "frameworm.experiment.provenance.randomness",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'frameworm.experiment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
