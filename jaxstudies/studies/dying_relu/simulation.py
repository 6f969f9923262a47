"""The networks of the dying-ReLU study: trained, and measured before and after."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxstudies.configs import LARGEST_SEED
from jaxstudies.networks import diagnostics
from jaxstudies.networks.data import TARGETS, Dataset, grid_inputs, uniform_inputs
from jaxstudies.networks.models import MLP, initializer, leaky_relu, switch
from jaxstudies.networks.states import TrainState, init_state, mean_loss, variables
from jaxstudies.studies.dying_relu.config import Config
from jaxstudies.training import fit

LOSSES = {"mse": optax.losses.squared_error, "mae": lambda y, target: jnp.abs(y - target)}
DORMANCY = (0.0, 0.025, 0.1)
KINDS = ("dead", "linear", *(f"dormant_{tau:g}" for tau in DORMANCY))
"""Kinds of unit whose shares are recorded."""
GRID_POINTS = 1024
CURVE = np.linspace(0, GRID_POINTS - 1, 64).round().astype(int)
"""Grid points at which the learned function is kept, both ends among them."""
MOST_OUTPUTS = 2
BY_STAGE = {"collapsed": ("stage", "rule"), "first_dead_layer": ("stage",), "r2": ("stage",)}
AXES = BY_STAGE | {"units": ("stage", "kind", "layer"), "constant": ("output",), "curve": ("point",)}
"""Stages are before and after training, rules `diagnostics.COLLAPSE_RULES`, kinds `KINDS`."""


def measure(model: MLP, state: TrainState, grid: Dataset) -> dict[str, jax.Array]:
    """Return what is recorded of a network at one stage, given the noise-free target on a grid."""

    def observe(layer: diagnostics.LayerSeen) -> dict[str, jax.Array]:
        dormant = (diagnostics.dormant_share(layer.activations, tau) for tau in DORMANCY)
        shares = (*diagnostics.unit_states(layer.derivatives), *dormant)
        return {"silent": jnp.all(layer.slopes == 0), "units": jnp.stack(shares)}

    seen = diagnostics.probe(model, variables(state), grid.inputs, observe)
    return {
        "collapsed": jnp.stack(list(diagnostics.collapse(seen, grid.targets).values())),
        "r2": diagnostics.r_squared(seen.outputs, grid.targets),
        "first_dead_layer": diagnostics.first_dead_layer(seen.layers["silent"]),
        "outputs": seen.outputs,
        "units": seen.layers["units"].T,
    }


def padded(array: jax.Array, length: int) -> jax.Array:
    """Fill up the last axis with NaN: settings that differ in it share a table."""
    widths = [(0, 0)] * (array.ndim - 1) + [(0, length - array.shape[-1])]
    return jnp.pad(array, widths, constant_values=jnp.nan)


def shuffle_key(seed: jax.Array) -> jax.Array:
    """Return the key of the order of examples, one for all networks: a word that no seed's key is folded with."""
    return jax.random.fold_in(jax.random.key(seed), LARGEST_SEED)


def simulate(
    key,
    leaky,
    target,
    init,
    epochs,
    shuffle_seed,
    *,
    config: Config,
    targets,
    depth,
    width,
    loss,
    profiles,
    points=GRID_POINTS,
) -> dict[str, jax.Array]:
    """Train one network on data of its own.

    `target` is an index into `targets`, all of one dimension and number of outputs, `init` one into the config's
    initializations. All networks share the order of examples that `shuffle_seed` gives. A network is judged on a grid
    of `points`. `profiles` adds what differs from layer to layer, the constant and the curve, of `GRID_POINTS`. The
    gaps are distances of the constant, which is the mean output, from mean and median of the target, in its standard
    deviations.
    """
    data_key, init_key, train_key = jax.random.split(key, 3)
    dimension = TARGETS[targets[0]].dimension
    functions = [TARGETS[name].function for name in targets]

    def labeled(inputs):
        return Dataset(inputs, jax.lax.switch(target, functions, inputs))

    data = labeled(uniform_inputs(data_key, config.num_examples, dimension))
    grid = labeled(grid_inputs(points, dimension))
    inits = [initializer(name, config.init_std) for name in config.inits]
    activation = partial(leaky_relu, jnp.where(leaky, config.negative_slope, 0.0))
    model = MLP(depth, width, grid.targets.shape[1], activation, switch(inits, init), config.linear_first_layer)
    optimizer = optax.adam(config.learning_rate, eps=config.adam_epsilon)
    born = init_state(init_key, model, optimizer, data.inputs)
    train = partial(fit, train_key, model, optimizer, LOSSES[loss], data, batch_size=config.batch_size)
    # The number of epochs is data, so that the study's budget and the long one share a program.
    trained, _ = train(num_epochs=epochs, state=born, shuffle_key=shuffle_key(shuffle_seed))
    both = jax.tree.map(lambda *a: jnp.stack(a), born, trained)
    seen = jax.lax.map(lambda state: measure(model, state, grid), both)
    finite = diagnostics.all_finite((trained.params, seen["outputs"]))
    outputs = seen.pop("outputs")[1]
    constant, deviation = outputs.mean(axis=0), grid.targets.std(axis=0)

    def gap(center):
        return jnp.max(jnp.abs(constant - center) / deviation)

    profile = {name: seen.pop(name) for name in ("units", "first_dead_layer")}
    if profiles:
        profile["units"] = padded(profile["units"], max(config.depths))
        seen |= profile | {"constant": padded(constant, MOST_OUTPUTS), "curve": outputs[CURVE, 0]}
    # A network with NaN or infinity is neither dead nor alive.
    seen["collapsed"] = seen["collapsed"].at[1].set(seen["collapsed"][1] & finite)
    return {
        "nonfinite": ~finite,
        "train_loss": mean_loss(model, trained, data, LOSSES[loss]),
        "test_loss": LOSSES[loss](outputs, grid.targets).mean(),
        "gap_to_mean": gap(grid.targets.mean(axis=0)),
        "gap_to_median": gap(jnp.median(grid.targets, axis=0)),
        **seen,
    }
