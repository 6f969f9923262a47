"""Statistical studies of neural-network training, thousands of seeds at a time, on JAX.

- To run: `map_seeds` maps a function over seeds, `run` over a design of settings and seeds, `main` makes a file a study
  with flags, `replay` runs one run again.
- To write a study: `Study` lists what a module may define, with `Setting`, `Claim`, `Undecidable`,
  `Verdict` and `Results`.
- To train: `fit`, `predict`, and for small networks `MLP`, `initializer`, `Dataset`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxstudies.engine.design import Setting
    from jaxstudies.evidence.claims import Claim
    from jaxstudies.evidence.verdicts import Undecidable, Verdict
    from jaxstudies.networks.data import Dataset
    from jaxstudies.networks.models import MLP, initializer
    from jaxstudies.networks.states import predict
    from jaxstudies.replays import Replay, replay
    from jaxstudies.runs import map_seeds, run
    from jaxstudies.study import Results, Study, main
    from jaxstudies.training import fit

__version__ = "0.2.0.dev0"

_HOMES = {
    "map_seeds": "runs",
    "run": "runs",
    "replay": "replays",
    "Replay": "replays",
    "main": "study",
    "Claim": "evidence.claims",
    "Verdict": "evidence.verdicts",
    "Undecidable": "evidence.verdicts",
    "Study": "study",
    "Setting": "engine.design",
    "Results": "study",
    "fit": "training",
    "predict": "networks.states",
    "Dataset": "networks.data",
    "MLP": "networks.models",
    "initializer": "networks.models",
}
__all__ = [
    "MLP",
    "Claim",
    "Dataset",
    "Replay",
    "Results",
    "Setting",
    "Study",
    "Undecidable",
    "Verdict",
    "fit",
    "initializer",
    "main",
    "map_seeds",
    "predict",
    "replay",
    "run",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is asked for, and nothing heavy before."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxstudies' has no attribute {name!r}")
    # Arrays that a file makes before it runs anything would start JAX with one core.
    importlib.import_module("jaxstudies.engine.devices").use_all_cores()
    value = globals()[name] = vars(importlib.import_module(f"jaxstudies.{_HOMES[name]}"))[name]
    return value
