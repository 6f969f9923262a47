"""The order-chaos study: one network against the definition, and the diagram against theory."""

import jax
import numpy as np
import pandas as pd
import pytest
from reading import assert_told

from jaxstudies import results as from_table
from jaxstudies import tasks
from jaxstudies.commands import command
from jaxstudies.engine import compiler
from jaxstudies.networks.activations import activation_named
from jaxstudies.studies import order_chaos
from jaxstudies.study import Results, load


def images(number=30):
    return np.random.default_rng(0).integers(0, 256, (number, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_factor_is_that_of_the_gradient_of_the_network(activation):
    """The squared gradient of v . z of the last layer, by automatic differentiation."""
    depth, width, w, b = 6, 30, 1.3, 0.4
    key, function = jax.random.key(0), activation_named(activation)
    seen = order_chaos.simulate(
        key,
        jax.numpy.float32(w),
        jax.numpy.float32(b),
        jax.numpy.asarray(images()),
        activation=activation,
        depth=depth,
        width=width,
    )
    pick_key, first_key, layer_key, gradient_key = jax.random.split(key, 4)
    picks = jax.random.randint(pick_key, (order_chaos.IMAGES,), 0, 30)

    def layer(key, inputs):
        weight_key, bias_key = jax.random.split(key)
        weights = jax.random.normal(weight_key, (width, inputs)) * w / inputs**0.5
        return weights, b * jax.random.normal(bias_key, (width, 1))

    weights, bias = layer(first_key, 784)
    z = weights @ (images()[picks].reshape(-1, 784).T / np.float32(255)) + bias
    layers = [layer(key, width) for key in jax.random.split(layer_key, depth - 1)]
    for weights, bias in layers[:2]:
        z = weights @ function(z) + bias

    def behind(z):
        for weights, bias in layers[2:]:
            z = weights @ function(z) + bias
        return z

    v = jax.random.normal(gradient_key, (width, 1))
    last, pull = jax.vjp(behind, z)
    (gradient,) = pull(jax.numpy.broadcast_to(v, last.shape))
    factor = np.mean(np.square(gradient)) / np.mean(np.square(v))
    np.testing.assert_allclose(seen["log_factor"], np.log(factor) / 3, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen["q"], np.mean(np.square(last)), rtol=1e-4)


def test_all_points_of_a_diagram_share_a_launch():
    study, config = load("order_chaos"), order_chaos.Config(points=3, dataset="digits")
    design = tasks.task_of(study, config, 1).design
    assert [len(group.positions) for group in design.groups] == [9, 9, 9]
    assert all(set(group.mapped) == {"sigma_w", "sigma_b"} for group in design.groups)


@pytest.mark.slow
def test_points_do_not_touch_each_other():
    """A point alone and among others: by rounding, which chaos multiplies a little a layer."""
    study = load("order_chaos")
    config = order_chaos.Config(activations=("tanh",), points=3, depth=6, width=20)
    (group,) = tasks.task_of(study, config, 1).design.groups
    static, fixed = dict(group.static), {**group.fixed, "images": jax.numpy.asarray(images())}

    @jax.jit
    def run(mapped):
        seeds = jax.numpy.arange(2, dtype="uint32")
        key = jax.random.key(0)
        return compiler.run_block(
            lambda k, one, same: study.simulate(k, **one, **same, **static), key, seeds, mapped, fixed
        )

    among, alone = run(group.mapped), run({k: v[4:5] for k, v in group.mapped.items()})
    for name in ("q", "log_factor"):
        np.testing.assert_allclose(among[name][:, 4], alone[name][:, 0], rtol=1e-4, atol=1e-5)


def test_judge_on_made_up_factors():
    config = order_chaos.Config(activations=("relu", "tanh"), points=2)
    rows = [
        {**setting.labels, "seed": seed, "q": 1.0, "log_factor": 0.01 * seed + shift}
        for setting in order_chaos.settings(config)
        for seed in range(5)
        for chi in [order_chaos.expected(*setting.labels.values())[1]]
        for shift in [np.log(chi) + (0.5 if setting.labels["activation"] == "tanh" else 0)]
    ]
    rows[0]["log_factor"] = -np.inf  # gradients of exactly zero have no logarithm
    results = Results(config, pd.DataFrame(rows), pd.DataFrame(), {})
    relu, tanh = from_table.judge(load("order_chaos"), results)[0]
    assert (relu.verdict, relu.n) == ("supported", 5) and relu.effect == pytest.approx(0.02)
    assert (tanh.verdict, tanh.n) == ("refuted", 5)


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
def test_diagram_end_to_end(tmp_path):
    argv = ["--seeds", "2", "--points", "3", "--width", "10", "--dataset", "digits"]
    command.main(load("order_chaos"), [*argv, "--depth", "8", "--out", str(tmp_path)])
    assert_told(load("order_chaos"), tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert len(summary) == 3 * 9
    # For ReLU chi is sigma_w^2 / 2 whatever the bias.
    relu = summary[summary["activation"] == "relu"]
    np.testing.assert_allclose(relu["chi"], relu["sigma_w"] ** 2 / 2, rtol=1e-6)
    assert (tmp_path / "phase.png").stat().st_size > 20_000
