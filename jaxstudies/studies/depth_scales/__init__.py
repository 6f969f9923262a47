"""How deep can a random network be and still be trained?

Mean field gives the number of layers over which two inputs are told apart. The study trains tanh networks
on images over the variance of their weights and their depth, without dropout and with it, and holds
the depth at which training fails against multiples of that scale (Schoenholz et al. 2017, arXiv 1611.01232);
and ReLU networks of 30 layers from He's initialization and Glorot's.
"""

from jaxstudies.studies.depth_scales.claims import POPULATION, claims
from jaxstudies.studies.depth_scales.config import Config
from jaxstudies.studies.depth_scales.figures import CAPTIONS, plot
from jaxstudies.studies.depth_scales.simulation import data, settings, simulate
from jaxstudies.studies.depth_scales.summary import summarize

QUICK = ("--seeds", "3", "--dataset", "digits", "--depths", "10", "20", "--relu-depth", "0")
REFERENCE = ("--seeds", "12", "--seed", "1")  # the claims were worded after networks of master seed 0 had been seen

__all__ = ["CAPTIONS", "POPULATION", "QUICK", "Config", "claims", "data", "plot", "settings", "simulate", "summarize"]
