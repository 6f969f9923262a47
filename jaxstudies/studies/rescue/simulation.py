"""One network with a remedy: before training and after."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from jaxstudies.engine.design import Setting
from jaxstudies.networks import diagnostics
from jaxstudies.networks.data import TARGETS, Dataset, grid_inputs, uniform_inputs
from jaxstudies.networks.remedies import REMEDIES, Remedy, count_trained, draw_layers, make_model, with_signs_flipped
from jaxstudies.networks.states import predict, start_state, variables
from jaxstudies.studies.dying_relu.simulation import shuffle_key
from jaxstudies.studies.rescue.config import HOW, Config
from jaxstudies.training import fit

AXES = {"constant": ("stage",)}


def settings(config: Config) -> list[Setting]:
    """List the remedies."""
    listed = []
    for name in config.remedies:
        remedy = REMEDIES[name]
        labels = {"remedy": name, "parameters": count_trained(make_model(config.depth, config.width, remedy), 1)}
        form = remedy._replace(slope=0.0, bias=0.0, flipped=0.0)  # what makes a program of its own
        arguments: dict[str, object] = {"slope": remedy.slope, "bias": remedy.bias, "flipped": remedy.flipped}
        listed.append(Setting(labels, arguments | {"remedy": form}))
    return listed


def simulate(key, slope, bias, flipped, shuffle_seed, *, config: Config, remedy: Remedy) -> dict[str, jax.Array]:
    """Train a network on data of its own; find whether it is a constant before and after, and what it explains.

    A constant's outputs on a grid differ by less than a thousandth of the target's standard deviation.
    """
    data_key, init_key, train_key = jax.random.split(key, 3)
    inputs, grid = uniform_inputs(data_key, HOW["num_examples"], 1), grid_inputs(1024, 1)
    target = TARGETS[config.target].function
    model, optimizer = make_model(config.depth, config.width, remedy, slope), optax.adam(config.learning_rate)
    layers = draw_layers(init_key, config.depth, config.width, remedy)
    layers |= {name: layer._replace(bias=layer.bias + bias) for name, layer in layers.items() if name != "last"}
    layers = jax.tree.map(partial(jnp.where, flipped > 0), with_signs_flipped(layers, inputs), layers)
    initial = model.init(init_key, inputs[:1])
    born = start_state(initial["params"] | layers, optimizer, initial.get("batch_stats"))
    how = {"num_epochs": config.epochs, "batch_size": HOW["batch_size"], "state": born}
    how["shuffle_key"] = shuffle_key(shuffle_seed)
    trained, _ = fit(train_key, model, optimizer, optax.squared_error, Dataset(inputs, target(inputs)), **how)
    # At initialization the averages of batch norm know nothing yet: it is seen as it is trained, by the grid's own.
    first, _ = model.apply(variables(born), grid, train=True, mutable=["batch_stats"])
    last = predict(model, trained, grid)
    spread = jnp.stack([jnp.ptp(outputs) for outputs in (first, last)]) / target(grid).std()
    finite = diagnostics.all_finite((trained.params, last))
    constant = (spread < 1e-3) & jnp.array([True, finite])
    return {"constant": constant, "r2": diagnostics.r_squared(last, target(grid)), "nonfinite": ~finite}
