"""The flags, and what the notebook reports."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import InitializerName, TargetName
from jaxstudies.studies.bounds import MOST_EPOCHS, check_training


class Reported(NamedTuple):
    """What the notebook trained, and how many of 1,000 networks it found dead."""

    activation: str
    target: TargetName
    count: int


REPORTED = (Reported("relu", "abs", 996), Reported("leaky_relu", "abs_x_sin_5x", 830))


@dataclass(frozen=True)
class Config:
    """What is trained: the notebook's networks on 3,000 points, in minibatches of 64, by Adam with Keras' epsilon."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 1000
    """Independent networks per setting, as many as the notebook has."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    inits: tuple[InitializerName, ...] = (
        *("he_normal", "glorot_normal", "glorot_uniform", "lecun_normal"),
        *("normal", "keras_normal", "keras_uniform"),
    )
    """Initializations of all layers: normal has a standard deviation of 1, keras_normal of 0.05, and keras_uniform
    draws from -0.05 to 0.05."""
    epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] = 20
    """Passes through the data."""

    def __post_init__(self):
        check_training(self.epochs, num_examples=3000, batch_size=64, epochs=self.epochs)
