"""The flags."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import InitializerName, TargetName
from jaxstudies.studies.bounds import LARGEST, MOST_AT_ONCE, MOST_EPOCHS, check_size, check_training, network_size


@dataclass(frozen=True)
class Config:
    """What is simulated. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**9)] = 1000
    """Independent networks per setting."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    activations: tuple[Literal["relu", "leaky_relu"], ...] = ("relu", "leaky_relu")
    """Activations, paired on the same seeds."""
    targets: tuple[TargetName, ...] = ("abs",)
    """Functions to learn; abs_sum_diff is [|x1+x2|, |x1-x2|], the others have one input."""
    inits: tuple[InitializerName, ...] = ("he_normal",)
    """Initializations of all layers."""
    depths: tuple[Annotated[int, Interval(ge=1, le=1000)], ...] = (10,)
    """Hidden layers."""
    widths: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] = (2,)
    """Units per hidden layer."""
    losses: tuple[Literal["mse", "mae"], ...] = ("mse",)
    """Losses."""
    negative_slope: Annotated[float, Interval(ge=0, le=1)] = 0.01
    """Slope of Leaky ReLU below zero."""
    init_std: Annotated[float, Interval(gt=0, le=LARGEST)] = 1.0
    """Standard deviation of the weights with --inits normal."""
    linear_first_layer: bool = False
    """Put a layer without activation before the hidden layers, as the source notebook did."""
    epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] = 20
    """Passes through the data."""
    num_examples: Annotated[int, Interval(ge=1, le=10**7)] = 3000
    """Training points of each network, uniform in [-sqrt 7, sqrt 7]."""
    batch_size: Annotated[int, Interval(ge=1, le=MOST_AT_ONCE)] = 64
    """Points per step."""
    learning_rate: Annotated[float, Interval(gt=0, le=LARGEST)] = 1e-3
    """Learning rate of Adam."""
    adam_epsilon: Annotated[float, Interval(gt=0, le=1)] = 1e-8
    """What Adam adds to the root of the second moment; Keras' is 1e-7."""
    long_epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] = 60
    """A budget long enough to tell which constant a collapsed network outputs, where the study's
    own is not, run for the first 250 seeds; 0 leaves that out."""
    map: bool = False
    """No longer here: the depth x width map is a study of its own, scripts/born_dead.py."""

    def __post_init__(self):
        if self.map:
            raise ValueError("map: the map is a study of its own, run scripts/born_dead.py")
        depth, width = max(self.depths), max(self.widths)
        how = {"num_examples": self.num_examples, "batch_size": self.batch_size}
        budgets = {"epochs": self.epochs, "long_epochs": self.long_epochs}
        check_training(max(budgets.values()), **budgets, **how)
        check_size(network_size(depth, width, min(how.values())), depths=depth, widths=width, **how)
