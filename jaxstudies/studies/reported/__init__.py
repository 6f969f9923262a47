"""Where do the source notebook's shares of dead networks come from?

It found 99.6 % of ReLU networks dead on |x|, and 83.0 % of Leaky ReLU networks on |x sin 5x|. The study trains its own
architecture, a layer of two units without activation before ten of two, with Keras' Adam, from several initializations,
as the name of its own is cut off in the text; and tells dead networks by several rules.
"""

from jaxstudies.studies.dying_relu.claims import POPULATION
from jaxstudies.studies.dying_relu.design import data
from jaxstudies.studies.reported.claims import claims
from jaxstudies.studies.reported.config import Config
from jaxstudies.studies.reported.design import AXES, settings, simulate
from jaxstudies.studies.reported.summary import CAPTIONS, plot, summarize

RUNS_PER_DEVICE = 128  # as in the study of dying ReLU
QUICK = ("--seeds", "200")

__all__ = ["AXES", "CAPTIONS", "POPULATION", "Config", "claims", "data", "plot", "settings", "simulate", "summarize"]
