"""The functions of the first networks of each cell of the map, at birth."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from jaxstudies.networks import diagnostics
from jaxstudies.networks.data import TARGETS, grid_inputs
from jaxstudies.networks.models import MLP, affine, initializer, leaky_relu, weights
from jaxstudies.output.curves import Functions
from jaxstudies.studies.born_dead.config import Config
from jaxstudies.studies.born_dead.simulation import POINTS

MOST = 2000
"""Units of a network that is drawn, and networks of different shapes, at most."""


def outputs(
    config: Config, width: int, inputs: Float[Array, "points 1"], key: Key[Array, ""]
) -> Float[Array, "cells points"]:
    """Return the outputs of a network at every depth of the map: its first layers with the last one behind them."""
    model = MLP(max(config.depths), width, 1, partial(leaky_relu, 0.0), initializer(config.init, config.init_std))
    variables: PyTree = model.init(key, inputs[:1])
    last = weights(variables["params"]["layers"]["last"])
    seen = diagnostics.probe(model, variables, inputs, lambda layer: affine(last, layer.activations)[0])
    return seen.layers[np.array(config.depths) - 1]


def portraits(config: Config) -> Iterator[Functions]:
    """Yield the functions by depth and width, where they have one input and are small."""
    few = max(config.depths) * max(config.widths) <= MOST and len(config.depths) * len(config.widths) <= MOST
    if TARGETS[config.target].dimension > 1 or not few:
        return
    inputs = grid_inputs(POINTS, 1)
    for width in config.widths:
        cells = [{"depth": depth, "width": width, "stage": "born", "epochs": 0} for depth in config.depths]
        setting = {"part": "map", "width": width}
        yield Functions(setting, cells, np.asarray(inputs[:, 0]), partial(outputs, config, width, inputs))
