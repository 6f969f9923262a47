"""The images, and which networks are drawn."""

import numpy as np

from jaxstudies.engine.design import Setting
from jaxstudies.networks import mnist
from jaxstudies.studies.initialization.config import Config
from jaxstudies.studies.initialization.draws import DRAWS, draw_of, layer_scales


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
