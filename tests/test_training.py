from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxstudies import training
from jaxstudies.data import Dataset
from jaxstudies.models import MLP, initializer, leaky_relu

squared_error = optax.losses.squared_error


class Affine(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(1)(x)


class Noisy(nn.Module):
    """A network with everything that a training step must carry."""

    @nn.compact
    def __call__(self, x, train=False):
        h = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(4)(x))
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=not train)(nn.relu(h)))


def linear_data(n=64):
    x = jax.random.normal(jax.random.key(1), (n, 3))
    y = x @ jnp.array([[1.0], [-2.0], [0.5]]) + 0.3
    return Dataset(x, y)


def test_one_sgd_step_equals_the_hand_formula():
    data, rate = linear_data(), 0.1
    model, optimizer = Affine(), optax.sgd(rate)
    state = training.init_state(jax.random.key(0), model, optimizer, data.inputs)
    after, loss = training.train_step(
        state, data, jax.random.key(2), model=model, optimizer=optimizer, loss_fn=squared_error
    )
    w, b = (state.params["Dense_0"][name] for name in ("kernel", "bias"))
    residual = data.inputs @ w + b[None] - data.targets
    np.testing.assert_allclose(loss, jnp.mean(residual**2), rtol=1e-6)
    gradient = 2 * data.inputs.T @ residual / len(residual)
    np.testing.assert_allclose(after.params["Dense_0"]["kernel"], w - rate * gradient, rtol=1e-5)
    np.testing.assert_allclose(
        after.params["Dense_0"]["bias"], b - rate * 2 * residual.mean(axis=0), rtol=1e-5
    )


@pytest.mark.parametrize("num_examples", [1, 7, 8, 20])
def test_mean_loss_in_blocks_is_the_mean_over_all_examples(num_examples):
    data, model = linear_data(num_examples), Noisy()
    variables = model.init(jax.random.key(0), data.inputs)
    got = training.mean_loss(model, variables, data, squared_error, block_size=8)
    expected = jnp.mean((model.apply(variables, data.inputs) - data.targets) ** 2)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_gradient_equals_backpropagation_by_hand():
    model = MLP(2, 2, 1, partial(leaky_relu, 0.0), initializer("pytorch_default"))
    data = Dataset(jnp.array([[0.7], [-0.4], [1.3]]), jnp.array([[0.7], [0.4], [1.3]]))
    optimizer = optax.sgd(1.0)
    state = training.init_state(jax.random.key(5), model, optimizer, data.inputs)
    after, _ = training.train_step(
        state, data, jax.random.key(0), model=model, optimizer=optimizer, loss_fn=squared_error
    )
    p = state.params["layers"]
    w1, w2, w3 = p["first"].kernel, p["hidden"].kernel[0], p["last"].kernel
    b1, b2, b3 = p["first"].bias, p["hidden"].bias[0], p["last"].bias
    x, y = data
    z1 = x @ w1 + b1[None]
    h1 = jnp.maximum(z1, 0)
    z2 = h1 @ w2 + b2[None]
    h2 = jnp.maximum(z2, 0)
    d3 = 2 * (h2 @ w3 + b3[None] - y) / len(x)
    d2 = (d3 @ w3.T) * (z2 > 0)
    d1 = (d2 @ w2.T) * (z1 > 0)
    q = after.params["layers"]
    pairs = [
        (w3 - q["last"].kernel, h2.T @ d3), (b3 - q["last"].bias, d3.sum(axis=0)),
        (w2 - q["hidden"].kernel[0], h1.T @ d2), (b2 - q["hidden"].bias[0], d2.sum(axis=0)),
        (w1 - q["first"].kernel, x.T @ d1), (b1 - q["first"].bias, d1.sum(axis=0)),
    ]  # fmt: skip
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_least_squares_reaches_the_normal_equations():
    data = linear_data()
    state, history = training.fit(
        jax.random.key(0), Affine(), optax.sgd(0.1), squared_error, data,
        num_epochs=200, batch_size=len(data.inputs),
    )  # fmt: skip
    design = np.hstack([data.inputs, np.ones((64, 1))])
    solution = np.linalg.lstsq(design, np.asarray(data.targets))[0]
    got = np.vstack([state.params["Dense_0"]["kernel"], state.params["Dense_0"]["bias"][None]])
    np.testing.assert_allclose(got, solution, atol=1e-5)
    assert history.shape == (200,)


def test_no_epochs_leave_the_network_as_initialized():
    data, model = linear_data(), Affine()
    fit = partial(training.fit, jax.random.key(4), model, optax.adam(1e-2), squared_error, data)
    state, history = fit(num_epochs=0, batch_size=8)
    init_key = jax.random.split(jax.random.key(4), 3)[0]
    jax.tree.map(
        np.testing.assert_array_equal, state.params, model.init(init_key, data.inputs)["params"]
    )
    assert history.shape == (0,)


def test_an_epoch_takes_every_example_once():
    """With a learning rate of 0 the mean loss of an epoch is that of the whole set."""
    data = linear_data()
    state, history = training.fit(
        jax.random.key(0), Affine(), optax.sgd(0.0), squared_error, data, num_epochs=3, batch_size=8
    )
    predictions = Affine().apply({"params": state.params}, data.inputs)
    whole = squared_error(predictions, data.targets).mean()
    np.testing.assert_allclose(history, jnp.full(3, whole), rtol=1e-5)


def test_batch_statistics_and_dropout_act_in_training_only():
    data, model = linear_data(), Noisy()
    fit = partial(training.fit, jax.random.key(0), model, optax.sgd(0.0), squared_error, data)
    born, _ = fit(num_epochs=0, batch_size=16)
    after, history = fit(num_epochs=2, batch_size=16)
    jax.tree.map(np.testing.assert_array_equal, born.params, after.params)
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), born.batch_stats, after.batch_stats)
    assert all(jax.tree.leaves(moved))
    assert history[0] != history[1]  # nothing but dropout and the order can tell them apart
    a, b = (model.apply(training.variables(after), data.inputs) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_a_batch_larger_than_the_data_is_all_of_it():
    data = linear_data(10)
    fit = partial(training.fit, jax.random.key(0), Affine(), optax.sgd(0.1), squared_error, data)
    few, many = (fit(num_epochs=3, batch_size=size)[1] for size in (10, 64))
    np.testing.assert_array_equal(few, many)


@pytest.mark.parametrize("batch_size", [7, 64])
def test_runs_with_one_shuffle_key_share_the_order(batch_size):
    data = linear_data()
    fit = partial(
        training.fit, model=Affine(), optimizer=optax.sgd(0.0), loss_fn=squared_error, data=data,
        num_epochs=2, batch_size=batch_size, shuffle_key=jax.random.key(9),
    )  # fmt: skip
    # With no learning and one network, the losses differ by the order alone.
    state = training.init_state(jax.random.key(0), Affine(), optax.sgd(0.0), data.inputs)
    orders = [
        training.train_epoch(
            state, data, jax.random.key(shuffle), jax.random.key(dropout),
            batch_size=7, model=Affine(), optimizer=optax.sgd(0.0), loss_fn=squared_error,
        )[1]
        for shuffle, dropout in ((1, 1), (1, 2), (2, 1))
    ]  # fmt: skip
    assert orders[0] == orders[1] != orders[2]
    assert fit(jax.random.key(0))[1].shape == (2,)
