"""Which initializations make gradients vanish in a network of five hidden layers on MNIST?

The study draws networks by the dozen under each initialization, sends images through them and the
gradients of the cross-entropy back, before and, if asked to, after training, and holds activations
and gradients, layer by layer, against mean-field theory.
"""

from jaxstudies.studies.initialization.claims import POPULATION, claims
from jaxstudies.studies.initialization.config import Config
from jaxstudies.studies.initialization.design import data, settings
from jaxstudies.studies.initialization.figures import CAPTIONS, plot
from jaxstudies.studies.initialization.simulation import AXES, simulate
from jaxstudies.studies.initialization.summary import summarize, tables

RUNS_PER_DEVICE = 32
"""About four seeds with all settings of an activation, whose layers stay in the caches."""
QUICK = ("--seeds", "4", "--dataset", "digits")

__all__ = ["AXES", "CAPTIONS", "POPULATION", "Config", "claims", "data", "plot", "settings", "simulate"]
__all__ += ["summarize", "tables"]
