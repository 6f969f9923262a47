"""Laws of training in one kernel: it is XLA's to rounding, and what it cannot do it refuses by name."""

import ctypes
import json
import shutil
import subprocess
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from unittest.mock import Mock, patch

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxstudies
from jaxstudies import MLP, Claim, Dataset, fit, initializer
from jaxstudies.engine import prng, progress
from jaxstudies.fused import build, choice, coupling, loops, program
from jaxstudies.fused.emission import is_elementwise, trace
from jaxstudies.fused.epochs import NoKernel
from jaxstudies.fused.fusing import trace_step
from jaxstudies.fused.kernel import Kernel, cuda_source, write
from jaxstudies.fused.layout import Inputs, aval_leaf
from jaxstudies.fused.program import Refused
from jaxstudies.networks.states import init_state

pytestmark = pytest.mark.skipif(choice.missing() is not None, reason=f"no kernels here: {choice.missing()}")
HE = initializer("he_normal")
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.3, -0.7, 3.0, 6.0, 7.0, 88.0, -88.0, np.inf, -np.inf, np.nan, 1e-40, 3e38])


class Dense(nn.Module):
    """Dense layers with an activation."""

    depth: int
    width: int
    activation: object
    outputs: int = 1

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = self.activation(nn.Dense(self.width)(x))
        return nn.Dense(self.outputs)(x)


def line(slope=0.5):
    return lambda key, inputs: jnp.full((inputs.shape[1], 1), slope), lambda weights, inputs: inputs @ weights


def examples(key, n=24, inputs=2):
    x = jax.random.uniform(key, (n, inputs), minval=-2.0, maxval=2.0)
    return Dataset(x, jnp.abs(x[:, :1]) - 0.3 * x[:, 1:2])


def mapped(f, in_axes=0):
    """Map and compile as the engine does, which is faster than JAX alone."""

    def run(*arguments):
        traced = jax.jit(jax.vmap(f, in_axes)).trace(*arguments)
        return prng.lower(traced, "cpu").compile()(*arguments)

    return run


def trained(
    fused, model, optimizer, *, networks=20, loss_fn=optax.squared_error, inputs=2, n=24, own_order=True, **how
):
    """Return parameters, optimizer states and histories of networks on data of their own."""
    how = {"num_epochs": 3, "batch_size": 8} | how

    def one(key):
        data_key, fit_key = jax.random.split(key)
        shuffle = {} if own_order else {"shuffle_key": jax.random.key(9)}
        run = fit(fit_key, model, optimizer, loss_fn, examples(data_key, n, inputs), fused=fused, **shuffle, **how)
        return run.state.params, run.state.opt_state, run.history

    return mapped(one)(jax.random.split(jax.random.key(0), networks))


def gap(a, b) -> float:
    """Return the largest difference between pytrees of numbers, relative to the size of an array; NaN must agree."""
    largest = 0.0
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        assert x.shape == y.shape
        np.testing.assert_array_equal(np.isfinite(x), np.isfinite(y))
        x, y = (np.where(np.isfinite(z), z, 0) for z in (x, y))
        largest = max(largest, float(np.max(np.abs(x - y), initial=0) / max(np.max(np.abs(y), initial=0), 1e-3)))
    return largest


def agree(model, optimizer, tolerance=2e-5, **how):
    assert gap(trained(True, model, optimizer, **how), trained(False, model, optimizer, **how)) < tolerance


MODELS = {
    "dense": Dense(2, 3, nn.relu),
    "scanned": MLP(4, 2, 1, nn.relu, HE),
    "linear first": MLP(2, 2, 1, jnp.tanh, HE, linear_first_layer=True),
    "one layer": MLP(1, 2, 1, nn.relu, HE),  # none is scanned
    "functions": line(),
}


def some(names, *plain):
    """Return parameters of a test, all but a few of them slow."""
    return [name if name in plain else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", some(MODELS, "functions"))
def test_fused_training_is_that_of_xla(name):
    agree(MODELS[name], optax.adam(1e-2))


# Their state starts elsewhere than at zero, counts, depends on the loss, or couples the parameters of a network.
OPTIMIZERS = {
    "momentum": optax.sgd(0.05, momentum=0.9),
    "nesterov": optax.sgd(0.05, momentum=0.9, nesterov=True),
    "adamw": optax.adamw(1e-2, weight_decay=0.1),
    "adagrad": optax.adagrad(0.1),
    "rmsprop": optax.rmsprop(1e-2, initial_scale=1.0),
    "yogi": optax.yogi(1e-2),
    "hyperparameters": optax.inject_hyperparams(optax.sgd)(learning_rate=optax.linear_schedule(0.1, 0.0, 9)),
    "cosine": optax.adam(optax.cosine_decay_schedule(1e-2, 9)),
    "piecewise": optax.sgd(optax.piecewise_constant_schedule(0.1, {4: 0.5})),
    "clipped": optax.chain(optax.clip(0.01), optax.sgd(0.1)),
    "clipped by norm": optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1)),
    "flat": optax.flatten(optax.adam(1e-2)),
    "plateau": optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1)),
}


@pytest.mark.parametrize("name", some(OPTIMIZERS, "hyperparameters"))
def test_fused_optimizers_are_right(name):
    agree(Dense(1, 2, jnp.tanh), OPTIMIZERS[name])


def in_loops():
    """Let every kernel have loops, however small the network."""
    return patch.dict(choice.MOST_UNROLLED, cpu=0)


LOOPED = {
    "dense": Dense(2, 9, nn.relu),
    "scanned": MLP(3, 8, 1, nn.relu, HE),
    "linear first": MLP(2, 8, 1, jnp.tanh, HE, linear_first_layer=True),
    "one layer": Dense(1, 33, nn.gelu),
    "none stacked": MLP(1, 33, 1, jnp.tanh, HE),
}


@pytest.mark.parametrize("name", some(LOOPED, "dense"))
def test_fused_loops_are_straight_lines_and_xla(name):
    with in_loops():
        looped = trained(True, LOOPED[name], optax.adam(1e-2))
    assert gap(looped, trained(False, LOOPED[name], optax.adam(1e-2))) < 2e-5
    if name == "dense":  # the others in straight lines, which take long to compile where they are many: MODELS
        with patch.dict(choice.MOST_UNROLLED, cpu=10**6):
            assert gap(looped, trained(True, LOOPED[name], optax.adam(1e-2))) < 2e-5


def backward(updates, params=None):
    return jax.tree.map(lambda g: jnp.flip(g), updates)


def exchanged(updates, params=None):
    first, second = updates["Dense_1"], updates["Dense_2"]
    return updates | {"Dense_1": jax.tree.map(jnp.negative, second), "Dense_2": first}


MIXING = {
    "backward": optax.chain(optax.stateless(backward), optax.adam(1e-2)),
    "exchanged": optax.chain(optax.stateless(exchanged), optax.sgd(0.05, momentum=0.9)),
    "centered": optax.chain(optax.centralize(), optax.sgd(0.05)),
}
"""Optimizers in which the numbers of a network's arrays know of one another."""


IN_LOOPS = {name: OPTIMIZERS[name] for name in ("adamw", "adagrad", "plateau")} | MIXING


@pytest.mark.parametrize("name", some(IN_LOOPS, "adamw", "exchanged"))
def test_fused_optimizers_are_right_in_loops(name):
    with in_loops():
        agree(Dense(3 if name == "exchanged" else 2, 8, jnp.tanh), IN_LOOPS[name])  # which exchanges two alike


def test_numbers_that_know_of_one_another_are_not_fused_one_by_one():
    pair = jax.ShapeDtypeStruct((4, 4), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    alone = [lambda a, b: a * b + jnp.tanh(a), lambda a, b: jnp.where(b > 0, a, -a), lambda a, b: jax.jit(jnp.exp)(a)]
    mixed = [lambda a, b: a.T, lambda a, b: a[::-1], lambda a, b: a + a.sum(), lambda a, b: a @ a]
    mixed += [lambda a, b: a + a[:1], lambda a, b: jax.lax.cond(b > 0, lambda x: x, jnp.flip, a)]
    assert [is_elementwise(trace(f, *pair)[0].jaxpr) for f in alone] == [True] * len(alone)
    assert [is_elementwise(trace(f, *pair)[0].jaxpr) for f in mixed] == [False] * len(mixed)


def test_fused_loops_find_arrays_in_memory_only_where_all_of_them_lie_in_steps():
    assert loops.affine(np.arange(12).reshape(3, 4)) == (0, (4, 1))
    assert loops.affine(np.arange(12).reshape(3, 4).T + 5) == (5, (1, 4))
    assert loops.affine(np.array([[2, 2], [3, 3]])) == (2, (1, 0))
    assert loops.affine(np.array([0, 1, 3])) is None
    assert loops.one_by_one(["const v t1 = s0[e] * s1[e];"], {"s0": ("v", "t1", 4), "s1": ("v", "s1[e]", 2)}) is None


ACTIVATIONS = [
    *(nn.relu, nn.relu6, nn.sigmoid, nn.softplus, nn.soft_sign, nn.silu, nn.log_sigmoid, nn.leaky_relu, nn.elu),
    *(nn.hard_sigmoid, nn.hard_silu, nn.hard_tanh, nn.celu, nn.selu, nn.gelu, jax.nn.squareplus, jax.nn.mish),
    *(partial(nn.gelu, approximate=False), jax.nn.sparse_plus, jax.nn.sparse_sigmoid, jnp.tanh, jnp.sin, jnp.cos),
    *(jnp.abs, jnp.square, jnp.expm1, lambda x: jnp.log1p(x * x), lambda x: jax.nn.softmax(x), jax.lax.rsqrt),
]


@pytest.mark.slow
def test_fused_activations_of_flax_are_right():
    def init(key, inputs):
        return jax.random.normal(key, (len(ACTIVATIONS), 1)) + 1.0

    def apply(weights, inputs):
        return sum(f(inputs[:, :1] * w[None] + 2.5) for f, w in zip(ACTIVATIONS, weights, strict=True))

    agree((init, apply), optax.sgd(1e-3))


LOSSES = {
    "hinge": lambda y, t: jnp.maximum(0.0, 1 - y * jnp.sign(t)),
    "absolute": lambda y, t: jnp.abs(y - t),
    "huber": optax.huber_loss,
    "sigmoid": lambda y, t: optax.sigmoid_binary_cross_entropy(y, (t > 0).astype(jnp.float32)),
    "softmax": lambda y, t: optax.softmax_cross_entropy(jnp.concatenate([y, -y]), jnp.concatenate([t > 0, t <= 0])),
}


def test_fused_losses_are_right():
    def each(y, t):
        return sum(jnp.mean(loss(y, t)) for loss in LOSSES.values())

    agree(Dense(1, 2, jnp.tanh), optax.sgd(0.1), loss_fn=each)


def test_one_fused_network_need_not_fill_a_vector():
    agree(line(), optax.sgd(0.1), networks=1)


@pytest.mark.parametrize(
    "how",
    [
        {"batch_size": 7},  # an odd number, and not a divisor
        {"batch_size": 1, "num_epochs": 1},
        {"batch_size": None, "num_epochs": 5},
        {"num_epochs": 0},
        {
            "own_order": False,
            "observe": lambda state: {"weights": state.params, "two": jnp.float32(2)},
            "prepare": lambda batch: Dataset(2 * batch.inputs - 1, batch.targets + 1),
        },
    ],
)
@pytest.mark.slow
def test_fused_training_takes_what_fit_takes(how):
    agree(Dense(1, 2, jnp.tanh), optax.adam(1e-2), **how)


def test_a_fused_number_of_epochs_may_be_traced():
    def one(key, epochs, fused):
        return fit(
            key,
            line(),
            optax.sgd(0.1),
            optax.squared_error,
            examples(key),
            num_epochs=epochs,
            batch_size=8,
            fused=fused,
        )

    keys = jax.random.split(jax.random.key(0), 20)
    shared = [mapped(partial(one, fused=f), (0, None))(keys, 4).state for f in (True, False)]
    assert gap(*shared) < 1e-5
    own = [mapped(partial(one, fused=f))(keys, jnp.arange(20)).state for f in (True, False)]
    assert gap(*own) < 1e-5


def test_networks_that_are_trained_for_epochs_of_their_own_have_states_of_their_own():
    """As the count of Adam's steps, by which training goes on."""

    def one(key, epochs, fused):
        data = examples(key)
        how = {"num_epochs": epochs, "batch_size": 8, "fused": fused}
        return fit(key, line(), optax.adam(0.1), optax.squared_error, data, **how).state.opt_state

    keys, epochs = jax.random.split(jax.random.key(0), 20), jnp.arange(20)
    own, plain = (mapped(partial(one, fused=f))(keys, epochs) for f in (None, False))
    assert gap(own, plain) < 1e-5
    np.testing.assert_array_equal(own[0].count, 3 * epochs)


@pytest.mark.parametrize("n", [24, pytest.param(2**17 + 64, marks=pytest.mark.slow)])
def test_with_64_bits_a_kernel_takes_the_examples_that_xla_takes(n):
    """One batch of all, and so many that their order is sorted otherwise."""
    with jax.enable_x64(True):

        def one(key, fused):
            x = jax.random.uniform(key, (n, 2), jnp.float32, -2.0, 2.0)
            data = Dataset(x, jnp.abs(x[:, :1]))
            model = lambda key, inputs: jnp.full((2, 1), 0.5, jnp.float32), lambda w, inputs: inputs @ w
            how = {"num_epochs": 2, "batch_size": None if n < 100 else 2**14, "fused": fused}
            return fit(key, model, optax.sgd(0.1), optax.squared_error, data, **how).history

        keys = jax.random.split(jax.random.key(0), 17)
        ours, theirs = (jax.jit(jax.vmap(partial(one, fused=f)))(keys) for f in (True, False))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_what_does_not_pay_as_it_is_mapped_is_trained_by_xla():
    """A product with an array that all networks share is written out, and one of its own is a loop."""
    shared = jax.random.normal(jax.random.key(5), (60, 70)) / 60

    def one(key, fused):
        model = lambda key, inputs: jnp.full((70, 1), 0.1), lambda w, inputs: jnp.tanh(inputs @ shared) @ w
        data = Dataset(jax.random.normal(jax.random.key(2), (8, 60)), jnp.ones((8, 1)))
        how = {"num_epochs": 1, "batch_size": 4, "shuffle_key": jax.random.key(1), "fused": fused}
        return fit(key, model, optax.sgd(0.1), optax.squared_error, data, **how).history

    keys = jax.random.split(jax.random.key(0), 4)
    with choice.noting() as kernels:
        ours = mapped(partial(one, fused=None))(keys)
    assert not kernels
    np.testing.assert_allclose(ours, mapped(partial(one, fused=False))(keys), rtol=1e-5)


def test_fused_settings_inside_seeds_are_lanes_too(monkeypatch):
    loaded, load = [], build._load  # which may have been compiled in an earlier run of the tests
    monkeypatch.setattr(build, "_load", lambda *kernel: loaded.append(kernel) or load(*kernel))

    def one(key, rate, slope, fused):
        activation = lambda z: jnp.where(z > 0, z, slope * z)  # noqa: E731
        data = examples(key)  # of a seed, whatever the setting
        return fit(key, Dense(1, 2, activation), optax.adam(rate), optax.squared_error, data, num_epochs=2, fused=fused)

    keys, rates, slopes = jax.random.split(jax.random.key(0), 5), jnp.array([1e-3, 1e-2, 0.1]), jnp.arange(4) / 4

    def both(fused):
        over_slopes = jax.vmap(partial(one, fused=fused), (None, None, 0))
        return mapped(jax.vmap(over_slopes, (None, 0, None)), (0, None, None))(keys, rates, slopes)

    fused, plain = both(True), both(False)
    assert gap(fused.state, plain.state) < 1e-5
    assert gap(fused.history, plain.history) < 1e-5
    assert fused.history.shape == (5, 3, 4, 2)
    assert len(loaded) == 1  # none of the maps inside


def test_fused_data_may_be_shared_and_of_whole_numbers():
    data = Dataset(jnp.arange(12).reshape(6, 2), jnp.arange(6)[:, None] % 2 == 0)
    as_numbers = lambda batch: Dataset(batch.inputs.astype(jnp.float32) / 12, batch.targets.astype(jnp.float32))  # noqa: E731

    def one(key, fused):
        how = {"num_epochs": 3, "batch_size": 2, "prepare": as_numbers}
        return fit(key, Dense(1, 2, jnp.tanh), optax.sgd(0.1), optax.squared_error, data, fused=fused, **how).state

    keys = jax.random.split(jax.random.key(0), 20)
    assert gap(*(mapped(partial(one, fused=f))(keys) for f in (True, False))) < 1e-5


@pytest.mark.slow
def test_what_diverges_in_a_fused_kernel_diverges_as_in_xla():
    agree(Dense(2, 3, nn.relu), optax.sgd(1e3), num_epochs=12, tolerance=1e9)
    _, _, history = trained(True, Dense(2, 3, nn.relu), optax.sgd(1e3), num_epochs=12)
    assert not np.isfinite(history).all()


def through_state(*functions):
    """Return an optimizer whose state becomes functions of the parameters, which stay."""

    def init(params):
        return tuple(jnp.zeros_like(params) for _ in functions)

    def update(grads, state, params=None):
        return jnp.zeros_like(grads), tuple(f(params).astype(jnp.float32) for f in functions)

    return optax.GradientTransformation(init, update)


def evaluated(fused, values, *functions):
    """Return functions of values, each computed in a lane of its own."""
    apply = lambda weights, inputs: inputs @ weights * 0  # noqa: E731

    def one(value):
        key, data = jax.random.key(0), Dataset(jnp.ones((1, 1)), jnp.ones((1, 1)))
        model = (lambda key, inputs: value.reshape(1, 1), apply)
        loss = lambda y, t: t  # noqa: E731
        return fit(key, model, through_state(*functions), loss, data, num_epochs=1, fused=fused).state.opt_state

    return [np.asarray(a).ravel() for a in mapped(one)(jnp.asarray(values, jnp.float32))]


FUNCTIONS = [
    *(nn.relu, jnp.sign, jnp.abs, jnp.isfinite, jnp.isnan, nn.relu6, jnp.square, lambda x: x * 0, lambda x: 0 / x),
    *(lambda x: jnp.maximum(x, 2 * x - 1), lambda x: jnp.minimum(x, 2 * x - 1), lambda x: jnp.minimum(1.5, x)),
    *(lambda x: jnp.clip(x, -1, 1), lambda x: jnp.where(x > 0, x, -1), jnp.floor, jnp.ceil, lambda x: x**3),
    *(lambda x: (x > 0) & (x < 2), lambda x: (x > 0) ^ (x < 2), lambda x: ~(x > 0), lambda x: x / 3, jnp.negative),
    *(jnp.exp, jnp.log, jnp.log1p, jnp.expm1, jnp.tanh, jnp.sqrt, nn.sigmoid, jax.lax.rsqrt, jax.scipy.special.erf),
]


def test_fused_numbers_that_are_not_finite_are_those_of_xla():
    fused, plain = (evaluated(f, SPECIAL, *FUNCTIONS) for f in (True, False))
    for function, ours, theirs in zip(FUNCTIONS, fused, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-37, err_msg=str(function))


EXACT = {
    "exp": (np.exp, -80, 80),
    "expm1": (np.expm1, -10, 10),
    "log": (np.log, 1e-6, 1e6),
    "log1p": (np.log1p, -0.99, 100),
    "tanh": (np.tanh, -12, 12),
    "logistic": (lambda x: 1 / (1 + np.exp(-x)), -30, 30),
    "sin": (np.sin, -10, 10),
    "cos": (np.cos, -10, 10),
}


def test_fused_functions_are_exact_to_a_few_units_in_the_last_place():
    ranges = {name: np.linspace(low, high, 20_001).astype(np.float32) for name, (_, low, high) in EXACT.items()}
    saturated = np.float32([9.1, -9.1, 40.0])
    functions = [getattr(jax.lax, name) for name in EXACT]  # in one kernel, over the ranges of all
    found = evaluated(True, np.concatenate([*ranges.values(), saturated]), *functions)
    for i, (name, x) in enumerate(ranges.items()):
        ours = found[i][i * len(x) : (i + 1) * len(x)]
        exact = EXACT[name][0](x.astype(np.float64))
        unit = np.spacing(np.maximum(np.abs(exact), np.abs(exact).max() * 1e-7).astype(np.float32))
        assert np.max(np.abs(ours - exact) / unit) < 5, name
    # Tanh saturates where it does in float32.
    np.testing.assert_array_equal(found[list(EXACT).index("tanh")][-3:], [1, -1, 1])


class Dropped(nn.Module):
    """A network with dropout."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dropout(0.5, deterministic=not train)(nn.Dense(1)(x))


class Normalized(nn.Module):
    """A network with batch norm."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=not train)(x))


def with_apply(apply):
    return (lambda key, inputs: jnp.ones((2, 1))), apply


def seen(w, x):
    jax.debug.callback(lambda: None)
    return x @ w


def by_place(batch):
    return Dataset(batch.inputs, jnp.linspace(0, 1, len(batch.inputs))[:, None])


def by_weight(batch):
    weights = jnp.ones(len(batch.inputs)) / jnp.ones(len(batch.inputs)).sum()
    return Dataset(batch.inputs, batch.targets * weights[:, None])


def carrying_places(w, x):
    places = jnp.arange(len(x), dtype=jnp.float32)[:, None]
    return jax.lax.scan(lambda h, _: (x @ w, h), places, None, length=2)[1][0] + x @ w


REFUSED = {
    "random numbers in training": {"model": Dropped()},
    "batch statistics couple": {"model": Normalized()},
    "coupled by reduce_sum": {"model": with_apply(lambda w, x: (x - x.mean(0, keepdims=True)) @ w)},
    "coupled by dot_general": {"model": with_apply(lambda w, x: x @ x.T @ (x @ w))},
    "their places in it matter": {"model": with_apply(lambda w, x: x @ w + jnp.arange(len(x))[:, None])},
    "coupled by rev": {"model": with_apply(lambda w, x: x[::-1] @ w)},
    "the number of examples in a batch is part": {"model": with_apply(lambda w, x: x @ w / x.shape[0])},
    "is part of what is computed": {"model": with_apply(lambda w, x: (x @ w) ** x.shape[0])},
    "place in the batch alone": {"model": line(), "prepare": by_place},
    "differ by their place": {"model": with_apply(lambda w, x: jnp.arange(len(x))[:, None] * w[:1])},
    "number of examples in a batch is part": {"model": with_apply(lambda w, x: x @ w / jnp.ones(len(x)).sum())},
    "examples in a batch is part of what": {
        "model": with_apply(lambda w, x: jax.lax.fori_loop(0, len(x), lambda i, h: 0.9 * h, x @ w))
    },
    "a batch is part of what is computed": {
        "model": with_apply(lambda w, x: x @ w * jnp.arange(len(x), dtype=jnp.float32)[-1])
    },
    "in a batch is part of what": {"model": line(), "prepare": by_weight},
    "scan, as their places in it matter": {"model": with_apply(carrying_places)},
    "make it raise TypeError": {"model": with_apply(lambda w, x: x.reshape(8, 2) @ w), "batch_size": 8},
    "callbacks": {"model": with_apply(seen)},
    "the primitive sort": {"model": with_apply(lambda w, x: jnp.sort(x, axis=1) @ w)},
    "the primitive cumsum": {"model": with_apply(lambda w, x: jnp.cumsum(x, axis=1) @ w)},
    "the primitive gather": {"model": with_apply(lambda w, x: jnp.take(x, jnp.array([1, 0]), axis=1) @ w)},
    "floats turned into ints": {"model": with_apply(lambda w, x: x.astype(jnp.int32).astype(jnp.float32) @ w)},
    "numbers of type bfloat16": {"model": with_apply(lambda w, x: x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16))},
    "searches along a line": {"model": line(), "optimizer": optax.lbfgs()},
    "function of the step": {"model": line(), "data": lambda step: examples(jax.random.key(0)), "num_steps": 2},
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_fused_is_refused_by_name(why):
    how = {"optimizer": optax.sgd(0.1), "data": examples(jax.random.key(0)), "num_epochs": 1}
    how |= REFUSED[why]
    key = jax.random.key(0)
    arguments = [how.pop(name) for name in ("model", "optimizer")], how.pop("data")
    run = partial(fit, key, *arguments[0], optax.squared_error, arguments[1], **how)
    with pytest.raises(ValueError, match=f"^fused True: .*{why}"):
        run(fused=True)
    with choice.noting() as kernels:
        jax.eval_shape(lambda: run().state)  # trained by XLA
    assert not kernels


def test_what_is_too_large_is_fused_only_if_that_is_insisted_on(monkeypatch):
    monkeypatch.setitem(choice.MOST_STATEMENTS, "cpu", 10)
    with choice.noting() as kernels:
        trained(None, line(), optax.sgd(0.1))
    assert not kernels
    with choice.noting() as kernels:
        trained(True, line(), optax.sgd(0.1))
    assert kernels
    monkeypatch.setattr(program, "MOST_STATEMENTS", 10)
    with pytest.raises(ValueError, match=r"more than 10 operations|numbers are too many, of 10"):
        trained(True, line(), optax.sgd(0.1))


@pytest.mark.parametrize(
    "apply",
    [
        lambda w, x: x @ jnp.broadcast_to(w.sum(0, keepdims=True), (2, 10**9)).sum(1, keepdims=True),
        lambda w, x: x @ w + jnp.zeros((10**6,)).sum(keepdims=True)[None],
        lambda w, x: x @ w + np.arange(10.0**6).sum() + jnp.asarray(np.arange(10**6))[:1].sum(),
    ],
)
def test_a_fused_kernel_of_large_arrays_is_refused_before_they_are_taken_apart(apply):
    data = jax.eval_shape(lambda: examples(jax.random.key(0)))

    def one(data):
        run = fit(
            jax.random.key(0), with_apply(apply), optax.sgd(0.1), optax.squared_error, data, num_epochs=1, fused=True
        )
        return run.history

    with pytest.raises(ValueError, match="numbers are too many"):
        jax.eval_shape(one, data)


def test_a_wide_network_is_not_fused_and_waits_for_nothing():
    def one(key):
        data = examples(key)
        return fit(key, Dense(3, 10_000, nn.relu), optax.adam(0.1), optax.squared_error, data, num_epochs=1).history

    with choice.noting() as kernels:
        jax.eval_shape(one, jax.random.key(0))
    assert not kernels


@pytest.mark.slow
def test_fused_training_can_be_differentiated():
    def loss(rate, key, fused):
        run = fit(key, line(), optax.sgd(rate), optax.squared_error, examples(key), num_epochs=3, fused=fused)
        return run.history[-1]

    keys = jax.random.split(jax.random.key(0), 4)
    slopes = [mapped(jax.grad(partial(loss, fused=f)), (None, 0))(0.1, keys) for f in (True, False)]
    np.testing.assert_allclose(*slopes, rtol=1e-5)


def test_one_network_and_a_debugger_have_no_fused_kernel():
    with choice.noting() as kernels:
        fit(jax.random.key(0), line(), optax.sgd(0.1), optax.squared_error, examples(jax.random.key(0)), num_epochs=1)
        with jax.debug_nans(True):
            trained(None, line(), optax.sgd(0.1))
    assert not kernels
    with choice.noting() as kernels:
        trained(None, line(), optax.sgd(0.1))
    assert kernels


def test_of_threads_that_want_one_kernel_one_compiles_it(monkeypatch):
    """XLA refuses a second one of the same name."""
    together, loaded, registered = threading.Barrier(2), [], []

    def load(name, make):
        loaded.append(name)
        time.sleep(0.2)
        return types.SimpleNamespace(run=ctypes.pythonapi.PyOS_getsig)

    def register(_):
        together.wait()
        return build.register(Mock(spec=Kernel), 1, 1, "cpu")

    monkeypatch.setattr(build, "_load", load)
    monkeypatch.setattr(build, "cpu_source", lambda kernel: "a kernel of two threads")
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda name, *_, **__: registered.append(name))
    with ThreadPoolExecutor(2) as threads:
        names = list(threads.map(register, range(2)))
    assert loaded == registered == names[:1] and len(set(names)) == 1
    del build._LOADED[names[0]]


def test_without_a_compiler_nothing_is_fused(monkeypatch):
    def none(*arguments):
        raise build.NoCompiler("no C++ compiler is found")

    monkeypatch.setattr(build, "register", none)
    with pytest.warns(NoKernel, match="no C\\+\\+ compiler is found; pip install 'jaxstudies\\[fused\\]'"):
        plainly = trained(None, line(), optax.sgd(0.1))
    assert gap(plainly, trained(False, line(), optax.sgd(0.1))) == 0
    with pytest.raises(ValueError, match="fused True: no C\\+\\+ compiler is found"):
        trained(True, line(), optax.sgd(0.1))


def test_where_nothing_can_be_kept_nothing_is_fused(monkeypatch, tmp_path):
    monkeypatch.setattr(build.tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.warns(NoKernel, match="a kernel cannot be kept in .*gone"):
        trained(None, line(0.25), optax.sgd(0.1234))


@pytest.mark.slow
def test_the_examples_of_layer_norm_and_of_attention_over_features_are_not_coupled_and_fused():
    def apply(weights, x):
        centered = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1)
        return jax.nn.softmax(centered, axis=1) @ weights

    jaxpr = jax.make_jaxpr(apply)(jnp.ones((2, 1)), jnp.ones((5, 2))).jaxpr
    coupling.check(jaxpr, [False, True])
    with pytest.raises(Refused, match="coupled by reduce_"):
        jaxpr = jax.make_jaxpr(lambda w, x: jax.nn.softmax(x @ w, axis=0))(jnp.ones((2, 1)), jnp.ones((5, 2))).jaxpr
        coupling.check(jaxpr, [False, True])
    agree(with_apply(apply), optax.sgd(0.1))


def simulate(key, rate):
    data_key, fit_key = jax.random.split(key)
    run = fit(fit_key, Dense(1, 2, nn.relu), optax.adam(rate), optax.squared_error, examples(data_key), num_epochs=9)
    return {"loss": run.history[-1]}


def test_a_run_half_in_fused_kernels_and_half_by_xla_is_one_run(tmp_path):
    config = {"rate": (0.01, 0.1)}
    saved = lambda of: of("loss", rate=0.1) - of("loss", rate=0.01)  # noqa: E731
    below = Claim("below", "it learns", saved, (-np.inf, 0), estimand="median")
    run = partial(jaxstudies.run, config, simulate, claims=below, progress=False, directory=tmp_path / "both")
    token = choice.ALLOWED.set(False)
    try:
        run(num_seeds=20)
        assert not pd.read_csv(tmp_path / "both" / "times.csv")["in_kernels"].any()
    finally:
        choice.ALLOWED.reset(token)
    both = run(num_seeds=50)
    assert pd.read_csv(tmp_path / "both" / "times.csv")["in_kernels"].all()
    alone = jaxstudies.run(config, simulate, num_seeds=50, claims=below, progress=False, directory=tmp_path / "alone")
    np.testing.assert_allclose(both["loss"], alone["loss"], rtol=1e-4)
    verdicts = [json.loads((tmp_path / name / "claims.json").read_text())["claims"] for name in ("both", "alone")]
    assert verdicts[0][0]["verdict"] == verdicts[1][0]["verdict"] == "supported"


def kernel_of(model, optimizer, batch_size=64, rolled=False):
    """Return the kernel of networks on data of their own."""
    data = examples(jax.random.key(0), 256)
    state = init_state(jax.random.key(0), model, optimizer, data.inputs)
    forward = lambda params, batch: (model.apply({"params": params}, batch.inputs), batch.targets)  # noqa: E731
    pair = state.params, state.opt_state
    step = trace_step(forward, optax.squared_error, optimizer, pair, data, batch_size)

    def leaves(tree, own):
        return tuple(aval_leaf(jax.ShapeDtypeStruct(a.shape, a.dtype), own) for a in jax.tree.leaves(tree))

    order = aval_leaf(jax.ShapeDtypeStruct((1, 4, batch_size), jnp.int32), False)
    return write(step, Inputs((), (), leaves(pair, False), leaves(data, True), (order,)), rolled)


CARDS = {
    "main job": (MLP(10, 2, 1, nn.relu, HE), False, 600),
    "tanh": (Dense(2, 3, jnp.tanh), False, 64),
    "gelu": (Dense(1, 4, nn.gelu), False, 64),
    "wide": (Dense(2, 16, nn.relu), True, 13_000),  # of which 5,136 are its arrays, 321 numbers four times
}


@pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is not here")
@pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
@pytest.mark.parametrize("name", some(CARDS, "tanh"))
def test_fused_kernels_compile_for_cards_that_are_not_here_and_spill_little(name, architecture, tmp_path):
    model, rolled, most = CARDS[name]
    (tmp_path / "kernel.cu").write_text(cuda_source(kernel_of(model, optax.adam(1e-3), rolled=rolled)))
    command = ["nvcc", "-cubin", f"-arch={architecture}", "-w", "-Xptxas", "-v", *build.CUDA_FLAGS.split()]
    done = subprocess.run([*command, "kernel.cu", "-o", "kernel.cubin"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (stack,) = [line for line in done.stderr.splitlines() if "bytes stack frame" in line]
    assert int(stack.split()[0]) <= most


DRAWN = given(
    depth=st.integers(1, 4),
    width=st.integers(1, 10),
    activation=st.sampled_from([nn.relu, jnp.tanh, nn.gelu, nn.silu, jnp.sin, nn.elu]),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    loss=st.sampled_from(list(LOSSES)),
    inputs=st.integers(2, 4),
    batch_size=st.integers(1, 24),
    networks=st.integers(1, 40),
    scanned=st.booleans(),
    looped=st.booleans(),
)


def agrees_with_xla(depth, width, activation, optimizer, loss, inputs, batch_size, networks, scanned, looped):
    model = MLP(depth, width, 1, activation, HE) if scanned else Dense(depth, width, activation)
    how = {"batch_size": batch_size, "networks": networks, "inputs": inputs, "num_epochs": 1}
    with patch.dict(choice.MOST_UNROLLED, cpu=0 if looped else 64):
        agree(model, OPTIMIZERS[optimizer], tolerance=2e-3, loss_fn=LOSSES[loss], **how)


@pytest.mark.slow
@DRAWN
@settings(max_examples=5, deadline=None)
def test_fused_training_is_that_of_xla_for_networks_drawn_at_random(**drawn):
    agrees_with_xla(**drawn)


@pytest.mark.faults
@DRAWN
@settings(max_examples=100, deadline=None)
def test_fused_training_is_that_of_xla_for_many_networks_drawn_at_random(**drawn):
    agrees_with_xla(**drawn)


def test_a_long_run_says_what_fused_kernels_would_save(monkeypatch, capsys):
    def none(*arguments):
        raise build.NoCompiler("no C++ compiler is found")

    monkeypatch.setattr(build, "register", none)
    monkeypatch.setattr(progress.Bar, "seconds_left", lambda bar, running: 720.0)

    def simulate(key):
        return {"loss": fit(key, line(), optax.sgd(0.1), optax.squared_error, examples(key), num_epochs=1).history}

    with pytest.warns(NoKernel):
        jaxstudies.map_seeds(simulate, num_seeds=40, chunk_size=10)
    assert capsys.readouterr().err.count("12 minutes left, about 6 with pip install 'jaxstudies[fused]'\n") == 1
