"""Which remedy rescues deep, narrow ReLU networks, and at what cost?

Ten layers of width two are constants from the start in nine of ten draws. The study trains the same
seeds with one remedy at a time: another initialization, activation or architecture.
"""

from jaxstudies.studies.dying_relu.claims import POPULATION
from jaxstudies.studies.dying_relu.design import data
from jaxstudies.studies.rescue.config import Config
from jaxstudies.studies.rescue.outcome import CAPTIONS, claims, plot, summarize
from jaxstudies.studies.rescue.simulation import AXES, settings, simulate

__all__ = ["AXES", "CAPTIONS", "POPULATION", "Config", "claims", "data", "plot", "settings", "simulate", "summarize"]
