"""The flags."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import InitializerName, TargetName
from jaxstudies.studies.bounds import LARGEST, MOST_AT_ONCE, MOST_EPOCHS, check_size, check_training, network_size


@dataclass(frozen=True)
class Config:
    """What is simulated: ReLU networks of every depth and width."""

    seeds: Annotated[int, Interval(ge=1, le=10**9)] = 20_000
    """Networks initialized per width, the deepest of which serves all depths."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    depths: tuple[Annotated[int, Interval(ge=1, le=1000)], ...] = tuple(range(1, 21))
    """Hidden layers."""
    widths: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] = tuple(range(2, 11))
    """Units per hidden layer."""
    init: InitializerName = "he_normal"
    """Initialization of all layers."""
    init_std: Annotated[float, Interval(gt=0, le=LARGEST)] = 1.0
    """Standard deviation of the weights with --init normal."""
    target: TargetName = "abs"
    """Function to learn; abs_sum_diff is [|x1+x2|, |x1-x2|], the others have one input."""
    epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] = 0
    """Passes through the data; with 0 nothing is trained."""
    trained_seeds: Annotated[int, Interval(ge=1, le=10**9)] = 1000
    """Networks trained per depth and width, at most --seeds."""
    loss: Literal["mse", "mae"] = "mse"
    """Loss."""
    num_examples: Annotated[int, Interval(ge=1, le=10**7)] = 3000
    """Training points of each network, uniform in [-sqrt 7, sqrt 7]."""
    batch_size: Annotated[int, Interval(ge=1, le=MOST_AT_ONCE)] = 64
    """Points per step."""
    learning_rate: Annotated[float, Interval(gt=0, le=LARGEST)] = 1e-3
    """Learning rate of Adam."""

    def __post_init__(self):
        depth, width = max(self.depths), max(self.widths)
        how = {"num_examples": self.num_examples, "batch_size": self.batch_size}
        check_training(self.epochs, epochs=self.epochs, **how)
        batch = min(how.values()) if self.epochs else 1
        check_size(network_size(depth, width, batch), depths=depth, widths=width, **how)
