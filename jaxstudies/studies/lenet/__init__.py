"""LeNet-5 with batch norm, dropout, both and neither: what do they change, and by how much?

Co-adaptation. Units of a layer that always see the same partners may learn to correct one another's mistakes on the
training set, a habit that does not carry over to new images. Dropout makes each unit's partners unreliable, so that it
has to be useful with many random sets of them (Srivastava et al. 2014, JMLR 15:1929). The study measures the mean
absolute correlation between the units of a layer: a sign of co-adaptation, though it can have other causes.

Internal covariate shift. While a network trains, the distribution of each layer's inputs moves because the layers
before it change, and each layer has to follow. Batch norm was proposed to hold mean and variance of those inputs still
(Ioffe and Szegedy 2015, arXiv 1502.03167). Santurkar et al. (2018, arXiv 1805.11604) found that it helps even where
such shift is put back in, and explain its effect by a smoother loss.

The input's treatment cannot matter much: a convolution without padding, followed by batch norm, gives the same output
for a x + b as for x, up to batch norm's epsilon. Runs may still look different if they are judged by the running
averages of batch norm, which lag behind the weights. So every network is evaluated twice: with the running averages,
and with statistics recomputed over the training set ("precise": Wu and Johnson 2021, arXiv 2105.07576). Every accuracy
and loss, also on training images, is in evaluation mode.
"""

from jaxstudies.studies.lenet.claims import POPULATION
from jaxstudies.studies.lenet.config import Config
from jaxstudies.studies.lenet.design import ARMS, data, settings
from jaxstudies.studies.lenet.figures import CAPTIONS, plot
from jaxstudies.studies.lenet.notebook import tables
from jaxstudies.studies.lenet.papers import claims_of as claims
from jaxstudies.studies.lenet.simulation import AXES, beside, simulate
from jaxstudies.studies.lenet.summary import summarize

__all__ = ["AXES", "CAPTIONS", "POPULATION", "Config", "beside", "claims", "data", "plot", "settings", "simulate"]
__all__ += ["summarize", "tables"]

PADDED = ("input_norm",)
QUICK = ("--seeds", "2", "--dataset", "digits")
# Another master seed than that of the networks after which claims on running averages became claims on medians.
REFERENCE = ("--seed", "1", "--seeds", "33", "--epochs", "15", "--arms", *ARMS)
RUNS_PER_DEVICE = 1  # a network's activations fill a core's caches
