"""The flags."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import ActivationName, DatasetName
from jaxstudies.studies.bounds import LARGEST, MOST_AT_ONCE, check_size, network_size

InitName = Literal[
    "normal", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "orthogonal", "lsuv"
]

MOST_IMAGES = 60_000
"""Of any data set, to train with."""
MOST_EPOCHS = 30_000
"""At fewer than 2^31 steps, even of one image each."""


@dataclass(frozen=True)
class Config:
    """What is simulated: every activation with every initialization."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 40
    """Independent networks per setting."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    dataset: DatasetName = "mnist"
    """MNIST, or scikit-learn's 1,797 digits, which need neither files nor network."""
    data_dir: str | None = None
    """Directory with MNIST's four .gz files, or of tensorflow-datasets (JAXSTUDIES_DATA_DIR)."""
    activations: tuple[ActivationName, ...] = ("tanh", "sigmoid", "relu")
    """Activations, paired on the same seeds and images."""
    inits: tuple[InitName, ...] = ("normal", "glorot_normal", "he_normal", "lecun_normal", "orthogonal", "lsuv")
    """Initializations of all layers; lsuv is for ReLU networks, and left out with others."""
    sigmas: tuple[Annotated[float, Interval(gt=0, le=LARGEST)], ...] = (0.10, 0.14, 0.28)
    """Standard deviations of the weights with normal."""
    depth: Annotated[int, Interval(ge=2, le=1000)] = 5
    """Hidden layers with an activation."""
    width: Annotated[int, Interval(ge=2, le=10_000)] = 100
    """Units per hidden layer."""
    linear_first_layer: bool = True
    """Put a layer without activation before the hidden layers, as the source notebook did."""
    num_images: Annotated[int, Interval(ge=1, le=MOST_AT_ONCE)] = 10_000
    """Training images sent through each network, drawn afresh for each seed."""
    epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] = 0
    """Passes through the training images; 0 looks at the networks as initialized only."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Optimizer of the training; the source notebook names RMSprop."""
    learning_rate: Annotated[float, Interval(gt=0, le=LARGEST)] = 1e-3
    """Learning rate."""
    batch_size: Annotated[int, Interval(ge=1, le=MOST_AT_ONCE)] = 128
    """Images per training step."""
    phase: bool = False
    """No longer here: the order-chaos diagram is a study of its own, scripts/order_chaos.py."""

    def __post_init__(self):
        if self.phase:
            raise ValueError("phase: the diagram is a study of its own, run scripts/order_chaos.py")
        batch = min(self.batch_size, MOST_IMAGES) if self.epochs else 1
        size = network_size(self.depth, self.width, batch)
        check_size(size, depth=self.depth, width=self.width, batch_size=self.batch_size)
