"""Depth against width: which networks of at most 512 hidden units learn the Eggholder function?

Networks of one, two and three hidden layers are trained on 100,000 noisy points, which each seed
draws anew, by two recipes with equal budgets: the prescribed one (SGD with Nesterov momentum, batch
norm in two and three layers) and Adam with cosine decay without batch norm. Each network
has the learning rate that is best on a validation split after a short training, both of whose
neighbors on a grid are worse. A network on Fourier features and regressors that are not neural stand
beside them.
"""

from jaxstudies.studies.depth_width.beside import beside
from jaxstudies.studies.depth_width.claims import POPULATION, claims
from jaxstudies.studies.depth_width.config import Config, Kind
from jaxstudies.studies.depth_width.design import settings
from jaxstudies.studies.depth_width.figures import CAPTIONS, plot
from jaxstudies.studies.depth_width.simulation import AXES, count_parameters, simulate
from jaxstudies.studies.depth_width.summary import summarize

PADDED = ("curve", "cusp_rmse", "tried")
QUICK = ("--seeds", "2", "--epochs", "3", "--shapes", "512", "64-64", "128-256-128")
REFERENCE = ("--shapes", "all", "--epochs", "60", "--seeds", "5", "--seed", "2")  # data sets that were not seen before

__all__ = ["AXES", "CAPTIONS", "POPULATION", "QUICK", "Config", "beside", "claims", "plot", "settings", "simulate"]
__all__ += ["Kind", "count_parameters", "summarize"]
