"""The flags."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import RemedyName
from jaxstudies.studies.bounds import LARGEST, MOST_EPOCHS, check_size, check_training, network_size

HOW = {"num_examples": 3000, "batch_size": 64}
"""Training points of each network, and those of a step."""


@dataclass(frozen=True)
class Config:
    """What is trained: ReLU layers from He's initialization, and the same with one remedy at a time."""

    seeds: Annotated[int, Interval(ge=1, le=10**7)] = 1000
    """Networks per remedy, on data of their own."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    remedies: tuple[RemedyName, ...] = get_args(RemedyName)
    """What is tried; none is the network without a remedy, with which all are compared."""
    target: Literal["abs", "x_sin_5x", "abs_x_sin_5x", "step_sin"] = "abs"
    """Function to learn."""
    depth: Annotated[int, Interval(ge=1, le=100)] = 10
    """Hidden layers."""
    width: Annotated[int, Interval(ge=1, le=1000)] = 2
    """Units per hidden layer."""
    epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] = 60
    """Passes through the data."""
    learning_rate: Annotated[float, Interval(gt=0, le=LARGEST)] = 1e-3
    """Learning rate of Adam."""

    def __post_init__(self):
        check_training(self.epochs, epochs=self.epochs, **HOW)
        check_size(network_size(self.depth, 4 * self.width, HOW["batch_size"]), depth=self.depth, width=self.width)
