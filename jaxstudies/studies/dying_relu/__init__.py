"""Dying ReLU: how often does a deep, narrow network collapse to a constant?

Lu, Shin, Su and Karniadakis (arXiv 1903.06733) report that over 90 % of ReLU networks with ten
layers of two units, the last of them the output, end as constants. The study trains thousands with
ten hidden ones, each on data of its own, counts the collapsed ones before and after training under
several rules, and pairs ReLU with Leaky ReLU on the same seeds.
"""

from jaxstudies.studies.dying_relu.claims import POPULATION, claims
from jaxstudies.studies.dying_relu.config import Config
from jaxstudies.studies.dying_relu.counts import condense, derive, summarize
from jaxstudies.studies.dying_relu.design import data, settings
from jaxstudies.studies.dying_relu.figures import CAPTIONS, plot
from jaxstudies.studies.dying_relu.simulation import AXES, simulate

RUNS_PER_DEVICE = 128
"""Of ten layers of two units 512 took twice the time, as they leave the caches."""
PADDED = ("constant",)
QUICK = ("--seeds", "200")

__all__ = ["AXES", "CAPTIONS", "Config", "claims", "condense", "data", "derive", "plot", "settings", "simulate"]
__all__ += ["POPULATION", "summarize"]
