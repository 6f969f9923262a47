"""The networks of the dying-ReLU study: trained, and measured before and after."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxstudies import diagnostics
from jaxstudies.data import TARGETS, Dataset, grid_inputs, uniform_inputs
from jaxstudies.models import MLP, initializer, leaky_relu, switch
from jaxstudies.training import TrainState, init_state, mean_loss, train_epoch, variables

LOSSES = {"mse": optax.losses.squared_error, "mae": lambda y, target: jnp.abs(y - target)}
DORMANCY = {"dormant_0": 0.0, "dormant_0.025": 0.025, "dormant_0.1": 0.1}
GRID_POINTS = 1024
CURVE = np.linspace(0, GRID_POINTS - 1, 64).round().astype(int)
"""Grid points at which the learned function is kept, both ends among them."""


def measure(model: MLP, state: TrainState, grid: Dataset, profiles: bool) -> dict[str, jax.Array]:
    """Return what is recorded of a network at one stage, given the noise-free target on a grid.

    `profiles` are the shares of dead, linear and dormant units in each layer.
    """

    def observe(layer: diagnostics.LayerSeen) -> dict[str, jax.Array]:
        silent = {"silent": jnp.all(layer.slopes == 0)}
        if not profiles:
            return silent
        dead, linear = diagnostics.unit_states(layer.derivatives)
        dormant = {
            name: diagnostics.dormant_share(layer.activations, tau)
            for name, tau in DORMANCY.items()
        }
        return silent | {"dead": dead, "linear": linear, **dormant}

    seen = diagnostics.probe(model, variables(state), grid.inputs, observe)
    return {
        **diagnostics.collapse(seen, grid.targets),
        "r2": diagnostics.r_squared(seen.outputs, grid.targets),
        "first_dead_layer": diagnostics.first_dead_layer(seen.layers.pop("silent")),
        "outputs": seen.outputs,
        **seen.layers,
    }


def simulate(
    key,
    shuffle_key,
    slope,
    target,
    init,
    epochs,
    *,
    config: Any,
    targets,
    depth,
    width,
    loss,
    profiles,
) -> dict[str, jax.Array]:
    """Train one network on data of its own.

    Args:
        key: Random key of this network.
        shuffle_key: Key of the order of the examples, shared by all networks.
        slope: Negative slope of the activation; 0 is ReLU.
        target: Index into `targets`.
        init: Index into the config's initializations.
        epochs: Passes through the data.
        config: The study's configuration.
        targets: Names of targets of one dimension and one number of outputs.
        depth: Hidden layers.
        width: Units per hidden layer.
        loss: Name of the loss.
        profiles: Whether what differs from layer to layer, and the curve, is recorded.

    Returns:
        Scalars, and arrays over layers, outputs or points; names begin with the stage, `born` or
        `trained`, where both are recorded.
    """
    data_key, init_key, train_key = jax.random.split(key, 3)
    dimension = TARGETS[targets[0]].dimension
    functions = [TARGETS[name].function for name in targets]

    def labeled(inputs):
        return Dataset(inputs, jax.lax.switch(target, functions, inputs))

    data = labeled(uniform_inputs(data_key, config.num_examples, dimension))
    grid = labeled(grid_inputs(GRID_POINTS, dimension))
    inits = [initializer(name, config.init_std) for name in config.inits]
    model = MLP(
        depth, width, grid.targets.shape[1], partial(leaky_relu, slope), switch(inits, init),
        config.linear_first_layer,
    )  # fmt: skip
    optimizer = optax.adam(config.learning_rate)
    born_state = init_state(init_key, model, optimizer, data.inputs)
    one_epoch = partial(
        train_epoch, batch_size=config.batch_size,
        model=model, optimizer=optimizer, loss_fn=LOSSES[loss],
    )  # fmt: skip

    def epoch(index, state):
        return one_epoch(state, data, jax.random.fold_in(shuffle_key, index), train_key)[0]

    # The number of epochs is data, so that the study's budget and the long one share a program.
    trained_state = jax.lax.fori_loop(0, epochs, epoch, born_state)
    both = jax.tree.map(lambda *a: jnp.stack(a), born_state, trained_state)
    stages = jax.lax.map(lambda state: measure(model, state, grid, profiles), both)
    born, trained = (jax.tree.map(lambda a, i=i: a[i], stages) for i in (0, 1))

    outputs = trained.pop("outputs")
    finite = diagnostics.all_finite((trained_state.params, outputs, born.pop("outputs")))
    curve = {"curve": outputs[CURVE, 0]} if profiles else {}
    return {
        "nonfinite": ~finite,
        "train_loss": mean_loss(model, variables(trained_state), data, LOSSES[loss]),
        "test_loss": LOSSES[loss](outputs, grid.targets).mean(),
        "constant": outputs.mean(axis=0),
        **{f"born_{name}": value for name, value in born.items()},
        **{f"trained_{name}": value for name, value in trained.items()},
        **curve,
    }
