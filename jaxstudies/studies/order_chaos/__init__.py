"""Where do gradients vanish, and where do they explode, over sigma_w and sigma_b?

The order-chaos diagram: variances and gradients of deep networks against mean field. Where chi, the
factor of squared gradients per layer, is below 1, gradients vanish (order); above 1 they explode
(chaos). By theory inputs are drawn together in the one and, with tanh and sigmoid, driven apart in
the other, and signals survive near the line between (Poole et al. 2016; Schoenholz et al. 2017,
arXiv 1611.01232).
"""

from jaxstudies.studies.order_chaos.claims import POPULATION, claims
from jaxstudies.studies.order_chaos.config import Config
from jaxstudies.studies.order_chaos.design import data, settings
from jaxstudies.studies.order_chaos.figures import CAPTIONS, plot
from jaxstudies.studies.order_chaos.simulation import IMAGES, simulate
from jaxstudies.studies.order_chaos.summary import expected, summarize

RUNS_PER_DEVICE = 1024  # four seeds with all 256 points, whose layers stay in the caches
QUICK = ("--seeds", "4", "--points", "8", "--dataset", "digits")

__all__ = ["CAPTIONS", "POPULATION", "Config", "claims", "data", "plot", "settings", "simulate", "summarize"]
__all__ += ["IMAGES", "expected"]
