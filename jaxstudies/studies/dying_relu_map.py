"""The map of the dying-ReLU study at initialization: which depths and widths are born dead."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxstudies import diagnostics
from jaxstudies.data import TARGETS, grid_inputs
from jaxstudies.models import MLP, Initializer, leaky_relu
from jaxstudies.monte_carlo import Setting

POINTS = 64
"""Grid points of a network at birth. With zero biases two, one on each side of 0, would do."""


def simulate_birth(
    key: jax.Array, *, init_layer: Initializer, dimension: int, depth: int, width: int
) -> dict[str, jax.Array]:
    """Initialize a ReLU network and find its first dead layer.

    Its first d hidden layers are a network of depth d, so the deepest one serves its whole column
    of the map: it is dead at depth d if the first dead layer is one of them.
    """
    inputs = grid_inputs(POINTS, dimension)
    model = MLP(depth, width, 1, partial(leaky_relu, 0.0), init_layer)
    seen = diagnostics.probe(
        model, model.init(key, inputs[:1]), inputs, lambda layer: jnp.all(layer.slopes == 0)
    )
    return {"born_first_dead_layer": diagnostics.first_dead_layer(seen.layers)}


def birth_settings(
    names: list[str], target: str, init: str, init_layer: Initializer, loss: str,
    depths: tuple[int, ...], widths: tuple[int, ...], num_seeds: int,
) -> list[Setting]:  # fmt: skip
    """List the settings of the map at birth, one per width; `names` are those of the labels."""
    depth = max(depths)
    return [
        Setting(
            dict(zip(names, ("map", "relu", target, init, depth, width, loss, 0), strict=True)),
            partial(
                simulate_birth, init_layer=init_layer, dimension=TARGETS[target].dimension,
                depth=depth, width=width,
            ),
            num_seeds=num_seeds,
        )
        for width in widths
    ]  # fmt: skip
