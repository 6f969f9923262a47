"""For which learning rates does a network train, and is the boundary a fractal?

Sohl-Dickstein (2024, arXiv 2402.06184) trained a network of one hidden layer at every point of a plane of learning
rates, one for each layer, from one initialization. This is his plane, over seeds.
"""

from jaxstudies.studies.trainability.config import Config
from jaxstudies.studies.trainability.design import settings
from jaxstudies.studies.trainability.simulation import simulate

RUNS_PER_DEVICE = 32  # examples times units of so many networks stay within a core's caches
QUICK = ("--points", "32")

__all__ = ["Config", "settings", "simulate"]
