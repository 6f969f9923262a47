"""Statistical studies of neural-network training, thousands of seeds at a time, on JAX."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxstudies.evidence.claims import Claim, Verdict
    from jaxstudies.jobs import DirectoryError
    from jaxstudies.networks.data import Dataset
    from jaxstudies.networks.models import MLP, initializer
    from jaxstudies.runs import map_seeds, run
    from jaxstudies.study import Results, Setting, Study, main
    from jaxstudies.training import fit, predict

__version__ = "0.2.0.dev0"

_HOMES = {
    "map_seeds": "runs",
    "run": "runs",
    "main": "study",
    "Claim": "evidence.claims",
    "Verdict": "evidence.claims",
    "Study": "study",
    "Setting": "study",
    "Results": "study",
    "fit": "training",
    "predict": "training",
    "Dataset": "networks.data",
    "MLP": "networks.models",
    "initializer": "networks.models",
    "DirectoryError": "jobs",
}
__all__ = [
    "MLP",
    "Claim",
    "Dataset",
    "DirectoryError",
    "Results",
    "Setting",
    "Study",
    "Verdict",
    "fit",
    "initializer",
    "main",
    "map_seeds",
    "predict",
    "run",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is asked for, and nothing heavy before."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxstudies' has no attribute {name!r}")
    return vars(importlib.import_module(f"jaxstudies.{_HOMES[name]}"))[name]
