"""The remedies are what their names say, and the network without one is that of the study of dying ReLU."""

from functools import partial
from typing import get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reading import assert_told
from test_dying_relu import results_of

from jaxstudies import results
from jaxstudies.commands import command
from jaxstudies.networks.models import MLP, initializer
from jaxstudies.networks.names import RemedyName
from jaxstudies.networks.remedies import REMEDIES, Remedy, count_trained, draw_layers, make_model, with_signs_flipped
from jaxstudies.output import table
from jaxstudies.studies import dying_relu
from jaxstudies.studies.rescue import simulation
from jaxstudies.studies.rescue.config import Config
from jaxstudies.study import load

ACTIVATIONS = {"elu": nn.elu, "gelu": nn.gelu}
ACTIVATIONS |= {f"leaky_{slope:g}": partial(nn.leaky_relu, negative_slope=slope) for slope in (0.001, 0.01, 0.1, 0.3)}


CONFIG = Config(depth=4)


def network(remedy):
    """Return a network at initialization as a function, and its layers."""
    model = make_model(CONFIG.depth, CONFIG.width, REMEDIES[remedy], REMEDIES[remedy].slope)
    initial = model.init(jax.random.key(0), jnp.zeros((1, 1)))
    rng = np.random.default_rng(0)
    shapes = {name: array for name, array in initial["params"].items() if not name.startswith("norm")}
    layers = jax.tree.map(lambda array: jnp.array(rng.normal(size=array.shape)), shapes)
    return partial(model.apply, {**initial, "params": initial["params"] | layers}), layers


def test_every_name_is_a_remedy_of_its_own():
    assert set(REMEDIES) == set(get_args(RemedyName)) and len(set(REMEDIES.values())) == len(REMEDIES)
    settings = simulation.settings(Config())
    assert [setting.labels["remedy"] for setting in settings] == list(get_args(RemedyName))
    told = {tuple(sorted(setting.arguments.items(), key=str)) for setting in settings}
    assert len(told) == len(REMEDIES)  # what is passed on tells them apart, too


@pytest.mark.parametrize("remedy", REMEDIES)
def test_a_network_is_what_its_remedy_says(remedy):
    """By a slow formula, example by example."""
    apply, layers = network(remedy)
    activation = ACTIVATIONS.get(remedy, nn.relu)
    inputs = jnp.linspace(-2, 2, 7)[:, None]
    hidden, last = [layers[f"layer_{i}"] for i in range(CONFIG.depth)], layers["last"]
    for x, output in zip(inputs, np.asarray(apply(inputs)), strict=True):
        h = x
        for i, layer in enumerate(hidden):
            # Before training, batch norm has averages of 0 and 1, and no bias.
            bias = 0 if remedy == "batch_norm" else layer.bias
            z = (h @ layer.kernel + bias) / ((1 + 1e-5) ** 0.5 if remedy == "batch_norm" else 1)
            h = h + activation(z) / 4 if remedy == "residual" and i else activation(z)
        np.testing.assert_allclose(output, h @ last.kernel + last.bias, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("remedy", "number"), [("none", 61), ("batch_norm", 81), ("double_width", 193), ("quadruple_width", 673)]
)
def test_parameters_are_counted(remedy, number):
    assert count_trained(make_model(Config().depth, Config().width, REMEDIES[remedy]), 1) == number


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 2, 3])
def test_turning_signs_lets_half_of_the_examples_through_each_layer(width):
    """Rister and Rubin's bound, of those that any unit is not 0 at."""
    config, inputs = Config(depth=6, width=width), jnp.linspace(-2, 1, 64)[:, None]

    @jax.jit
    @jax.vmap
    def draw(key):
        layers = draw_layers(key, config.depth, width, REMEDIES["none"])
        bias = jax.random.normal(key)
        layers = {name: layer._replace(bias=layer.bias + bias) for name, layer in layers.items()}
        return layers, with_signs_flipped(layers, inputs)

    drawn, turned = draw(jax.random.split(jax.random.key(0), 200))
    h = np.broadcast_to(inputs, (200, 64, 1))
    for name in [f"layer_{i}" for i in range(6)]:
        before, after = drawn[name], turned[name]
        kept, opposite = (np.isclose(after.kernel, sign * before.kernel).all((1, 2)) for sign in (1, -1))
        assert (kept | opposite).all() and opposite.any() and kept.any()
        np.testing.assert_array_equal(after.bias, np.where(kept[:, None], 1, -1) * before.bias)
        z = h @ np.asarray(after.kernel) + np.asarray(after.bias)[:, None]
        seen = np.abs(z) > 1e-6  # sums are rounded
        assert (2 * (z > -1e-6).any(2).sum(1) >= seen.any(2).sum(1)).all()
        h = np.maximum(z, 0)
    np.testing.assert_array_equal(turned["last"].kernel, drawn["last"].kernel)


@pytest.mark.slow
@pytest.mark.parametrize("init", ["he_normal", "rai", "orthogonal"])
def test_layers_are_drawn_by_their_initialization(init):
    layers = draw_layers(jax.random.key(0), CONFIG.depth, CONFIG.width, Remedy(init=init))
    model = MLP(CONFIG.depth, CONFIG.width, 1, nn.relu, initializer(init))
    expected = model.init(jax.random.key(0), jnp.zeros((1, 1)))["params"]["layers"]
    first, *rest = (layers[f"layer_{i}"] for i in range(CONFIG.depth))
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *rest)
    jax.tree.map(
        np.testing.assert_array_equal,
        (first, stacked, layers["last"]),
        (expected["first"], expected["hidden"], expected["last"]),
    )


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
def test_without_a_remedy_it_is_the_network_of_the_study_of_dying_relu(tmp_path):
    study, flags = load("rescue"), ["--seeds", "64", "--epochs", "2", "--remedies", "none", "elu"]
    command.main(study, [*flags, "--depth", "4", "--out", str(tmp_path)])
    assert_told(study, tmp_path)
    runs = results.read(study, tmp_path)[0].runs
    ours = runs[runs["remedy"] == "none"]
    config = dying_relu.Config(seeds=64, depths=(4,), activations=("relu",), epochs=2, long_epochs=0)
    theirs = results_of(load("dying_relu"), config).runs
    rule = simulation.diagnostics.COLLAPSE_RULES.index("range_1e-3")
    constant = table.stacked(theirs, "collapsed")[:, :, rule]
    np.testing.assert_array_equal(table.stacked(ours, "constant"), constant)
    np.testing.assert_allclose(ours["r2"], table.stacked(theirs, "r2")[:, 1], rtol=1e-3, atol=1e-3)
