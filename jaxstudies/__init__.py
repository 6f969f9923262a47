"""Statistical studies of neural-network training, thousands of seeds at a time, on JAX."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxstudies.engine.monte_carlo import map_seeds
    from jaxstudies.evidence.claims import Claim
    from jaxstudies.study import Results, Setting, run

__version__ = "0.2.0.dev0"

_HOMES = {
    "map_seeds": "engine.monte_carlo",
    "run": "study",
    "Claim": "evidence.claims",
    "Results": "study",
    "Setting": "study",
}
__all__ = ["Claim", "Results", "Setting", "map_seeds", "run"]


def __getattr__(name: str) -> object:
    """Import a public name when it is asked for, and nothing heavy before."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxstudies' has no attribute {name!r}")
    return vars(importlib.import_module(f"jaxstudies.{_HOMES[name]}"))[name]
