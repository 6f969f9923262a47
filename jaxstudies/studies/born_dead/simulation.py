"""One run: a network at birth, or trained."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxstudies.networks import diagnostics
from jaxstudies.networks.data import TARGETS, grid_inputs
from jaxstudies.networks.models import MLP, initializer, leaky_relu
from jaxstudies.studies.born_dead.config import Config
from jaxstudies.studies.born_dead.design import training
from jaxstudies.studies.dying_relu.simulation import simulate as train

POINTS = 64
"""Grid points of a network at birth. With zero biases two, one on each side of 0, would do."""
AXES = {"collapsed": ("stage", "rule")}


def simulate(key, epochs, shuffle_seed, *, config: Config, depth, width, after) -> dict[str, jax.Array]:
    """Initialize a ReLU network and find the numbers of two layers, 0 if there is none such, or train it.

    They are the first dead layer and the first that overflows, behind which it is not known whether a layer is dead.
    The first d hidden layers are a network of depth d, so the deepest one serves its whole column of the map: it is
    dead at depth d if the first dead layer is one of them. Trained, it returns which rules hold at both stages. All
    share the order of examples that `shuffle_seed` gives.
    """
    if after:
        fixed = partial(train, config=training(config), targets=(config.target,), loss=config.loss, profiles=False)
        seen = fixed(key, False, 0, 0, epochs, shuffle_seed, depth=depth, width=width)
        return {name: seen[name] for name in ("collapsed", "nonfinite")}
    inputs = grid_inputs(POINTS, TARGETS[config.target].dimension)
    init_layer = initializer(config.init, config.init_std)
    model = MLP(depth, width, 1, partial(leaky_relu, 0.0), init_layer)

    def observe(layer: diagnostics.LayerSeen) -> dict[str, jax.Array]:
        finite = diagnostics.all_finite((layer.activations, layer.slopes))
        return {"first_dead_layer": jnp.all(layer.slopes == 0), "first_nonfinite_layer": ~finite}

    seen = diagnostics.probe(model, model.init(key, inputs[:1]), inputs, observe)
    return jax.tree.map(diagnostics.first_dead_layer, seen.layers)
