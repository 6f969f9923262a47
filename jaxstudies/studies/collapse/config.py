"""The flags."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.studies.bounds import MOST_EPOCHS, check_training


@dataclass(frozen=True)
class Config:
    """What is trained: the networks of the papers on 3,000 points, in minibatches of 64, by Adam."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 1000
    """Independent networks per setting, as many as the papers have."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] = 20
    """Passes through the data."""
    long_epochs: Annotated[int, Interval(ge=1, le=MOST_EPOCHS)] = 60
    """A budget in which a constant arrives where the loss wants it."""

    def __post_init__(self):
        for name in ("epochs", "long_epochs"):
            number = getattr(self, name)
            check_training(number, num_examples=3000, batch_size=64, **{name: number})
