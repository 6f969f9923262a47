"""For which learning rates does a network train, and is the boundary a fractal?

Sohl-Dickstein (2024, arXiv 2402.06184) trained a network of one hidden layer at every point of a plane of learning
rates, one for each layer, from one initialization. This is his plane, over seeds.
"""

from jaxstudies.studies.trainability.config import Config
from jaxstudies.studies.trainability.design import RUNS_PER_DEVICE, settings
from jaxstudies.studies.trainability.figures import CAPTIONS, plot
from jaxstudies.studies.trainability.outcome import POPULATION, claims, summarize, tables
from jaxstudies.studies.trainability.refined import beside
from jaxstudies.studies.trainability.simulation import simulate

QUICK = ("--seeds", "6", "--points", "32", "--points-of-all", "16")

__all__ = ["CAPTIONS", "POPULATION", "QUICK", "RUNS_PER_DEVICE", "Config", "beside", "claims", "plot", "settings"]
__all__ += ["simulate", "summarize", "tables"]
