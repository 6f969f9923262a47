"""The flags."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import ActivationName, DatasetName
from jaxstudies.studies.bounds import check_size, network_size


@dataclass(frozen=True)
class Config:
    """What is simulated: every activation at every point of its diagram."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 40
    """Independent networks per point."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    dataset: DatasetName = "mnist"
    """MNIST, or scikit-learn's 1,797 digits, which need neither files nor network."""
    data_dir: str | None = None
    """Directory with MNIST's four .gz files, or of tensorflow-datasets (JAXSTUDIES_DATA_DIR)."""
    activations: tuple[ActivationName, ...] = ("tanh", "sigmoid", "relu")
    """Activations, each with a diagram of its own."""
    points: Annotated[int, Interval(ge=2, le=200)] = 16
    """Values of sigma_w and of sigma_b in the diagrams."""
    depth: Annotated[int, Interval(ge=4, le=1000)] = 20
    """Hidden layers of the networks."""
    width: Annotated[int, Interval(ge=2, le=10_000)] = 100
    """Units per hidden layer."""

    def __post_init__(self):
        check_size(network_size(self.depth, self.width, 8), depth=self.depth, width=self.width)
