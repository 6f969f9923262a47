"""The flags, and what each remedy is."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, get_args

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import InitializerName
from jaxstudies.studies.bounds import LARGEST, MOST_EPOCHS, check_size, check_training, network_size

HOW = {"num_examples": 3000, "batch_size": 64}
"""Training points of each network, and those of a step."""
LEARNED = 0.9
"""R² on a grid above which a network has learned its target."""
_Data = Literal["leaky_0.001", "leaky_0.01", "leaky_0.1", "leaky_0.3", "positive_bias", "sign_flips"]
_Form = Literal["rai", "orthogonal", "elu", "gelu", "residual", "batch_norm", "double_width", "quadruple_width"]
RemedyName = Literal["none", _Data, _Form]


class Remedy(NamedTuple):
    """In what a network differs from ReLU layers with He's normal weights and biases of zero; by the name of it."""

    slope: float = 0.0
    bias: float = 0.0
    flipped: float = 0.0  # no truth value, so that all numbers share a launch
    activation: Literal["leaky_relu", "elu", "gelu"] = "leaky_relu"
    init: InitializerName = "he_normal"
    residual: bool = False
    batch_norm: bool = False
    widening: int = 1


REMEDIES = {"none": Remedy()} | {f"leaky_{slope:g}": Remedy(slope=slope) for slope in (0.001, 0.01, 0.1, 0.3)}
REMEDIES |= {"positive_bias": Remedy(bias=0.1), "sign_flips": Remedy(flipped=1.0)}
REMEDIES |= {"rai": Remedy(init="rai"), "orthogonal": Remedy(init="orthogonal")}
REMEDIES |= {"elu": Remedy(activation="elu"), "gelu": Remedy(activation="gelu")}
REMEDIES |= {"residual": Remedy(residual=True), "batch_norm": Remedy(batch_norm=True)}
REMEDIES |= {"double_width": Remedy(widening=2), "quadruple_width": Remedy(widening=4)}


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
