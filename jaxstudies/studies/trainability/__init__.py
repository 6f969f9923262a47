"""For which learning rates does a network train, and is the boundary a fractal?

Sohl-Dickstein (2024, arXiv 2402.06184) trained a network of one hidden layer at every point of a plane of learning
rates, one for each layer, from one initialization. This is his plane, over seeds.
"""

from jaxstudies.studies.trainability.config import Config
from jaxstudies.studies.trainability.design import RUNS_PER_DEVICE, beside, settings
from jaxstudies.studies.trainability.figures import CAPTIONS, plot
from jaxstudies.studies.trainability.outcome import POPULATION, claims, summarize, tables
from jaxstudies.studies.trainability.simulation import simulate

QUICK = ("--points", "48", "--zooms", "1")
REFERENCE = ("--seeds", "15", "--conditions", "tanh", "relu", "identity", "minibatch", "single", "drift")

__all__ = ["CAPTIONS", "POPULATION", "QUICK", "REFERENCE", "RUNS_PER_DEVICE", "Config", "beside", "claims", "plot"]
__all__ += ["settings", "simulate", "summarize", "tables"]
