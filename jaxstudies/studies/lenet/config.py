"""The flags."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import DatasetName, DropoutPosition
from jaxstudies.studies.bounds import LARGEST, MOST_AT_ONCE

_Assigned = Literal["plain", "standardized", "bn_input", "raw_bn", "dropout", "bn_dropout"]
_Elsewhere = Literal["dropout_dense", "bn_dropout_dense", "bn_dropout_last"]
ArmName = Literal[_Assigned, _Elsewhere]


@dataclass(frozen=True)
class Config:
    """What is simulated. The same seeds, order of images and budget for every arm."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 6
    """Independent networks per arm; arms are paired by seed."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    arms: tuple[ArmName, ...] = get_args(_Assigned)
    """plain: neither. standardized: input standardized by training statistics, batch norm in the hidden layers.
    bn_input: batch norm on the input too. raw_bn: pixels in [0, 1], batch norm in the hidden layers. dropout:
    standardized input, no batch norm. bn_dropout: bn_input and dropout. dropout_dense, bn_dropout_dense: the same, but
    for dropout in the dense layers alone. bn_dropout_last: bn_input, and dropout behind the last hidden layer alone."""
    dataset: DatasetName = "mnist"
    """Images; digits needs no files and takes less than a minute."""
    data_dir: str | None = None
    """Where MNIST lies (JAXSTUDIES_DATA_DIR, else where tensorflow-datasets keeps it)."""
    epochs: Annotated[int, Interval(ge=1, le=1000)] | None = None
    """Passes through the training images (5; MNIST on an accelerator 15)."""
    batch_size: Annotated[int, Interval(ge=2, le=MOST_AT_ONCE)] | None = None
    """Images per step (128; of the few digits 32)."""
    learning_rate: Annotated[float, Interval(gt=0, le=LARGEST)] = 1e-3
    """Learning rate of Adam."""
    dropout_position: DropoutPosition = "activation"
    """Where dropout and bn_dropout drop hidden activations: behind each sigmoid and before pooling (activation), behind
    pooling (pooled), in the dense layers alone (dense) or behind the last of them (last)."""
    input_rate: Annotated[float, Interval(ge=0, le=0.99)] = 0.2
    """Share of input pixels that they drop."""
    hidden_rate: Annotated[float, Interval(ge=0, le=0.99)] = 0.5
    """Share of hidden activations dropped."""
    train_evaluated: Annotated[int, Interval(ge=1, le=MOST_AT_ONCE)] = 10_000
    """Training images on which loss and accuracy are evaluated, at most: the last ones."""
    bn_momentum: Annotated[float, Interval(ge=0, le=0.9999)] = 0.99
    """Share of batch norm's running averages kept at a step."""
    bn_epsilon: Annotated[float, Interval(gt=0, le=LARGEST)] = 1e-3
    """Added to the variance in batch norm."""
