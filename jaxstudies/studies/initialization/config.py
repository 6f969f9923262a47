"""What the initialization study runs: its flags, its images, its settings."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from jaxstudies.networks import mnist
from jaxstudies.networks.activations import ActivationName
from jaxstudies.studies.initialization.draws import DRAWS, InitName, draw_of, layer_scales
from jaxstudies.study import Setting


@dataclass(frozen=True)
class Config:
    """What is simulated: every activation with every initialization."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 40
    """Independent networks per setting."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; network i depends on it and on i alone."""
    dataset: mnist.DatasetName = "mnist"
    """MNIST, or scikit-learn's 1,797 digits, which need neither files nor network."""
    data_dir: str | None = None
    """Directory with MNIST's four .gz files, or of tensorflow-datasets (JAXSTUDIES_DATA_DIR)."""
    activations: tuple[ActivationName, ...] = ("tanh", "sigmoid", "relu")
    """Activations, paired on the same seeds and images."""
    inits: tuple[InitName, ...] = ("normal", "glorot_normal", "he_normal", "lecun_normal", "orthogonal", "lsuv")
    """Initializations of all layers; lsuv is for ReLU networks, and left out with others."""
    sigmas: tuple[Annotated[float, Gt(0)], ...] = (0.10, 0.14, 0.28)
    """Standard deviations of the weights with normal."""
    depth: Annotated[int, Interval(ge=2, le=1000)] = 5
    """Hidden layers with an activation."""
    width: Annotated[int, Interval(ge=2, le=10_000)] = 100
    """Units per hidden layer."""
    linear_first_layer: bool = True
    """Put a layer without activation before the hidden layers, as the source notebook did."""
    num_images: Annotated[int, Ge(1)] = 10_000
    """Training images sent through each network, drawn afresh for each seed."""
    epochs: Annotated[int, Ge(0)] = 0
    """Passes through the training images; 0 looks at the networks as initialized only."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Optimizer of the training; the source notebook names RMSprop."""
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Learning rate."""
    batch_size: Annotated[int, Ge(1)] = 128
    """Images per training step."""
    phase: bool = False
    """No longer here: the order-chaos diagram is a study of its own, scripts/order_chaos.py."""

    def __post_init__(self):
        if self.phase:
            raise ValueError("--phase: the diagram is a study of its own, run scripts/order_chaos.py")


def data(config: Config) -> dict[str, mnist.Digits]:
    """Return training and test images with their classes."""
    return {"digits": mnist.load(config.dataset, config.data_dir)}


def inits_of(config: Config, activation: str) -> list[tuple[str, float]]:
    """List (initialization, sigma) for an activation; sigma is NaN where the layer decides it.

    LSUV is left out with activations other than ReLU, unless nothing else is asked for.
    """
    with_lsuv = activation == "relu" or config.inits == ("lsuv",)
    names = [name for name in config.inits if with_lsuv or name != "lsuv"]
    return [(name, sigma) for name in names for sigma in (config.sigmas if name == "normal" else (np.nan,))]


def settings(config: Config) -> list[Setting]:
    """List the settings: those of an activation share a program and, on a seed, all draws."""
    listed = []
    for activation in config.activations:
        inits = inits_of(config, activation)
        needed = {draw_of(init) for init, _ in inits}
        draws = tuple(name for name in DRAWS if name in needed)
        for init, sigma in inits:
            draw, adapt = np.array([draws.index(draw_of(init))]), np.array([init == "lsuv"])
            mapped = {"draw": draw, "scale": np.array(layer_scales(init, sigma, config.width)), "adapt": adapt}
            labels = {"activation": activation, "init": init, "sigma": sigma}
            listed.append(Setting(labels, {**mapped, "activation": activation, "draws": draws}))
    return listed
