"""One network with a remedy: before training and after."""

from functools import partial
from operator import itemgetter

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxstudies.engine.design import Setting
from jaxstudies.networks import diagnostics
from jaxstudies.networks.data import TARGETS, Dataset, grid_inputs, uniform_inputs
from jaxstudies.networks.models import MLP, FeedForward, Layer, affine, initializer, leaky_relu, weights, zero_bias
from jaxstudies.networks.states import predict, start_state, variables
from jaxstudies.studies.dying_relu.simulation import shuffle_key
from jaxstudies.studies.rescue.config import HOW, REMEDIES, Config, Remedy
from jaxstudies.training import fit

AXES = {"constant": ("stage",)}


def make_model(config: Config, remedy: Remedy, slope: jax.Array | float) -> FeedForward:
    """Return the network, whose layers are drawn apart."""
    activation = {"leaky_relu": partial(leaky_relu, slope), "elu": nn.elu, "gelu": nn.gelu}[remedy.activation]
    widths, draw = (remedy.widening * config.width,) * config.depth, partial(zero_bias, jax.nn.initializers.zeros)
    # What ten layers add must not grow from layer to layer (Hanin and Rolnick 2018, arXiv 1803.01719).
    residual = 1 / config.depth if remedy.residual else None
    return FeedForward(widths, 1, activation, draw, batch_norm=remedy.batch_norm, residual=residual)


def count_parameters(config: Config, remedy: Remedy) -> int:
    """Return the number of trained parameters; batch norm's shift takes the place of a bias."""
    init = partial(make_model(config, remedy, 0.0).init, inputs=jnp.zeros((1, 1)))
    sizes = [leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))["params"])]
    return sum(sizes) - remedy.batch_norm * config.depth * remedy.widening * config.width


def settings(config: Config) -> list[Setting]:
    """List the remedies."""
    listed = []
    for name in config.remedies:
        remedy = REMEDIES[name]
        labels = {"remedy": name, "parameters": count_parameters(config, remedy)}
        form = remedy._replace(slope=0.0, bias=0.0, flipped=0.0)  # what makes a program of its own
        arguments = {"slope": remedy.slope, "bias": remedy.bias, "flipped": remedy.flipped, "remedy": form}
        listed.append(Setting(labels, arguments))
    return listed


def draw_layers(key: jax.Array, config: Config, remedy: Remedy) -> dict[str, Layer]:
    """Draw the layers: without a remedy those of the study of dying ReLU."""
    width, draw = remedy.widening * config.width, initializer(remedy.init)
    layers = dict(MLP(config.depth, width, 1, nn.relu, draw).init(key, jnp.zeros((1, 1))))["params"]["layers"]
    hidden = [layers["first"], *(jax.tree.map(itemgetter(i), layers["hidden"]) for i in range(config.depth - 1))]
    return {f"layer_{i}": layer for i, layer in enumerate(hidden)} | {"last": layers["last"]}


def with_signs_flipped(layers: dict[str, Layer], inputs: jax.Array) -> dict[str, Layer]:
    """Turn the signs of a hidden layer if that lets more examples through (Rister and Rubin, arXiv 2007.06192)."""
    h, flipped = inputs.T, dict(layers)
    for name in [f"layer_{i}" for i in range(len(layers) - 1)]:  # as a pytree they would be sorted, 10 before 2
        z = affine(weights(layers[name]), h)
        sign = jnp.where((z < 0).any(0).sum() > (z > 0).any(0).sum(), -1.0, 1.0)
        flipped[name], h = Layer(*(sign * array for array in layers[name])), nn.relu(sign * z)
    return flipped


def simulate(key, slope, bias, flipped, shuffle_seed, *, config: Config, remedy: Remedy) -> dict[str, jax.Array]:
    """Train a network on data of its own; find whether it is a constant before and after, and what it explains.

    A constant's outputs on a grid differ by less than a thousandth of the target's standard deviation.
    """
    data_key, init_key, train_key = jax.random.split(key, 3)
    inputs, grid = uniform_inputs(data_key, HOW["num_examples"], 1), grid_inputs(1024, 1)
    target = TARGETS[config.target].function
    model, optimizer = make_model(config, remedy, slope), optax.adam(config.learning_rate)
    layers = draw_layers(init_key, config, remedy)
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
