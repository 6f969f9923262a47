"""Do deep, narrow ReLU networks collapse as Lu, Shin, Su and Karniadakis say?

Networks of nine hidden layers and width two on the papers' targets, by He's and by randomized
asymmetric initialization (arXiv 1903.06733); wider and deeper ones, and the constant that is left
under either loss (arXiv 1808.04947).
"""

from jaxstudies.studies.collapse.claims import claims
from jaxstudies.studies.collapse.config import Config
from jaxstudies.studies.collapse.design import settings, simulate
from jaxstudies.studies.collapse.summary import CAPTIONS, plot, summarize
from jaxstudies.studies.dying_relu.claims import POPULATION
from jaxstudies.studies.dying_relu.design import data
from jaxstudies.studies.dying_relu.simulation import BY_STAGE

RUNS_PER_DEVICE = 128  # as in the study of dying ReLU
REFERENCE = ("--seed", "1")  # the margin was chosen after networks of master seed 0 had been seen
AXES = {name: BY_STAGE[name] for name in ("collapsed", "r2")}

__all__ = ["AXES", "CAPTIONS", "POPULATION", "Config", "claims", "data", "plot", "settings", "simulate", "summarize"]
