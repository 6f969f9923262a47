"""Born dead: which depths and widths of ReLU networks are constant before any training?

Lu, Shin, Su and Karniadakis (arXiv 1903.06733) bound the probability. The study initializes
networks of every width and finds, on the map of depths and widths, how many are constant; with
`--epochs` it trains networks of every shape as well and maps those that are dead after that.
"""

from jaxstudies.studies.born_dead.config import Config
from jaxstudies.studies.born_dead.design import settings
from jaxstudies.studies.born_dead.figures import CAPTIONS, plot
from jaxstudies.studies.born_dead.portraits import portraits
from jaxstudies.studies.born_dead.simulation import AXES, simulate
from jaxstudies.studies.born_dead.summary import KIND, condense, derive, expand_depths, summarize
from jaxstudies.studies.dying_relu.design import data

RUNS_PER_DEVICE = 512

__all__ = ["AXES", "CAPTIONS", "Config", "condense", "data", "derive", "plot", "settings", "simulate", "summarize"]
__all__ += ["KIND", "expand_depths", "portraits"]
