"""Perceptron criterion against hinge loss: which separates the half square better?

Points are uniform in the unit square, of class +1 where x1 > x2. A linear classifier without bias
learns from 20 of them, by sequential updates from W = 0, and is held to the closed form of its
accuracy and to 1,000 test points. The study does so for thousands of pairs of training sets, with
other rules beside the two: averaged perceptron, hard-margin SVM, middle of the version space.
"""

from jaxstudies.studies.perceptron.claims import claims
from jaxstudies.studies.perceptron.config import Config
from jaxstudies.studies.perceptron.design import settings
from jaxstudies.studies.perceptron.figures import CAPTIONS, plot
from jaxstudies.studies.perceptron.simulation import AXES, simulate
from jaxstudies.studies.perceptron.summary import derive, summarize

RUNS_PER_DEVICE = 2500
"""A few hundred training sets for each rule; the study and the learning curve share a program."""
QUICK = ("--seeds", "2000")
POPULATION = "A seed draws two training sets and the test points anew, from the unit square; all rules share them."

__all__ = ["AXES", "CAPTIONS", "Config", "claims", "derive", "plot", "settings", "simulate", "summarize"]
__all__ += ["POPULATION"]
