"""The arms, and the images on which they are trained."""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, UInt8

from jaxstudies.engine.design import Setting
from jaxstudies.networks import mnist
from jaxstudies.networks.names import DatasetName, DropoutPosition
from jaxstudies.studies.lenet.config import ArmName, Config


class Arm(NamedTuple):
    """Whether an arm has batch norm, also on the input, raw pixels in [0, 1] or standardized ones, and dropout.

    Dropout is where the flags say, or at a position of the arm's own and then not on the input.
    """

    batch_norm: bool
    input_batch_norm: bool
    raw: bool
    dropout: bool | DropoutPosition


ARMS: dict[ArmName, Arm] = {
    "plain": Arm(False, False, raw=False, dropout=False),
    "standardized": Arm(True, False, raw=False, dropout=False),
    "bn_input": Arm(True, True, raw=True, dropout=False),
    "raw_bn": Arm(True, False, raw=True, dropout=False),
    "dropout": Arm(False, False, raw=False, dropout=True),
    "bn_dropout": Arm(True, True, raw=True, dropout=True),
    "dropout_dense": Arm(False, False, raw=False, dropout="dense"),
    "bn_dropout_dense": Arm(True, True, raw=True, dropout="dense"),
    "bn_dropout_last": Arm(True, True, raw=True, dropout="last"),
}


class Dropout(NamedTuple):
    """Where hidden activations are dropped, and shares of the input's and of theirs."""

    dropout_position: DropoutPosition
    input_rate: float
    hidden_rate: float


def dropout_of(config: Config, arm: Arm) -> Dropout | None:
    """Return an arm's dropout."""
    if isinstance(arm.dropout, str):
        return Dropout(arm.dropout, 0.0, config.hidden_rate)
    return Dropout(config.dropout_position, config.input_rate, config.hidden_rate) if arm.dropout else None


class Images(NamedTuple):
    """All images, in the order of their splits: 0 for training, 1 for validation, 2 for test."""

    images: UInt8[np.ndarray | Array, "images 784"]
    labels: UInt8[np.ndarray | Array, " images"]
    splits: Int[np.ndarray | Array, " images"]


@cache
def load(dataset: DatasetName, data_dir: str | None) -> tuple[Images, int, float, float]:
    """Return images, the number for training, and mean and standard deviation of their pixels, in [0, 1].

    The last tenth of the training images is for validation.
    """
    train, test = mnist.load(dataset, data_dir)
    num_train = len(train.labels) - len(train.labels) // 10
    images = np.concatenate([train.images, test.images]).reshape(-1, 784)
    labels = np.concatenate([train.labels, test.labels])
    counts = [num_train, len(train.labels) - num_train, len(test.labels)]
    splits = np.repeat(np.arange(3, dtype=np.int8), counts)
    pixels = images[:num_train] / np.float32(255)
    moments = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
    return Images(images, labels, splits), num_train, *moments


def data(config: Config) -> dict[str, Images]:
    """Return the images, which all networks share."""
    return {"data": load(config.dataset, config.data_dir)[0]}


def epochs_of(config: Config) -> int:
    """Return the number of epochs, which by default depends on the images and the platform."""
    return config.epochs or (5 if config.dataset == "digits" or jax.default_backend() == "cpu" else 15)


def settings(config: Config) -> Iterator[Setting]:
    """Yield a setting per arm; arms with batch norm and without dropout share a program."""
    _, num_train, mean, deviation = load(config.dataset, config.data_dir)
    batch_size = config.batch_size or (32 if config.dataset == "digits" else 128)
    common: dict[str, object] = {"num_train": num_train, "num_epochs": epochs_of(config), "batch_size": batch_size}
    for name in config.arms:
        arm = ARMS[name]
        offset, scale = (0.0, 1.0) if arm.raw else (mean, deviation)
        own = {"offset": offset, "scale": scale, "batch_norm": arm.batch_norm, "dropout": dropout_of(config, arm)}
        yield Setting({"arm": name}, {**common, **own, "input_batch_norm": np.array([arm.input_batch_norm])})
