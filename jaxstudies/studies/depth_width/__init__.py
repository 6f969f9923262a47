"""Depth against width: which networks of at most 512 hidden units learn the Eggholder function?

Networks of one, two and three hidden layers are trained on 100,000 noisy points, which each seed
draws anew, by two recipes with equal budgets: the prescribed one (SGD with Nesterov momentum, batch
norm in two and three layers) and Adam with cosine decay without batch norm. Learning rates are tuned
on a validation split. A network on Fourier features and regressors that are not neural stand beside
them.
"""

from jaxstudies.studies.depth_width.beside import beside
from jaxstudies.studies.depth_width.claims import POPULATION, claims
from jaxstudies.studies.depth_width.config import Config, Kind
from jaxstudies.studies.depth_width.design import settings
from jaxstudies.studies.depth_width.figures import CAPTIONS, plot
from jaxstudies.studies.depth_width.simulation import AXES, count_parameters, simulate
from jaxstudies.studies.depth_width.summary import summarize

PADDED = ("curve", "cusp_rmse")
QUICK = (*("--seeds", "2", "--epochs", "3", "--modern-epochs", "5"), *("--shapes", "512", "64-64", "128-256-128"))

__all__ = ["AXES", "CAPTIONS", "POPULATION", "QUICK", "Config", "beside", "claims", "plot", "settings", "simulate"]
__all__ += ["Kind", "count_parameters", "summarize"]
