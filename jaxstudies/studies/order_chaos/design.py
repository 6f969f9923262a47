"""The images, and the points of the diagrams."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from jaxstudies.engine.design import Setting
from jaxstudies.networks import mnist
from jaxstudies.studies.order_chaos.config import Config

RANGES = {"sigmoid": (16.0, 4.0), "relu": (2.6, 2.0)}  # largest sigma_w and sigma_b; of others (3, 2)


def data(config: Config) -> dict[str, np.ndarray]:
    """Return the training images."""
    return {"images": mnist.load(config.dataset, config.data_dir).train.images}


def settings(config: Config) -> Iterator[Setting]:
    """Yield the points of the diagrams."""
    points = config.points
    shape: dict[str, object] = {"depth": config.depth, "width": config.width}
    for activation in config.activations:
        most_w, most_b = RANGES.get(activation, (3.0, 2.0))
        sigmas_w, sigmas_b = np.linspace(most_w / points, most_w, points), np.linspace(0, most_b, points)
        for sigma_w, sigma_b in product(sigmas_w.tolist(), sigmas_b.tolist()):
            point = {"activation": activation, "sigma_w": sigma_w, "sigma_b": sigma_b}
            yield Setting(point, point | shape)
