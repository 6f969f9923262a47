"""One network on the Eggholder function: its data, its training at every rate, its errors."""

import time
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxstudies import data, prng
from jaxstudies.data import Dataset, Standardization
from jaxstudies.models import (
    FeedForward,
    fourier_features,
    initializer,
    leaky_relu,
    uniform_first_layer,
)
from jaxstudies.training import init_state, train_epoch, variables

CUSP_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, np.inf)
"""Distances to the nearer line of cusps between which errors are pooled."""
MAP_SIDE = 96
BLOCK = 1000


class Splits(NamedTuple):
    """The data of a study, in the function's own units."""

    train: Dataset
    validation: Dataset
    test: Dataset
    clean_test: jax.Array


def make_splits(config: Any) -> Splits:
    """Draw the points and split them 72 : 8 : 20."""
    key = jax.random.fold_in(prng.key(config.seed), 2**32 - 1)
    points, clean = data.eggholder_dataset(key, config.num_examples, config.noise_variance)
    ends = [0, int(0.72 * config.num_examples), int(0.8 * config.num_examples), config.num_examples]
    train, validation, test = (
        Dataset(points.inputs[a:b], points.targets[a:b]) for a, b in pairwise(ends)
    )
    return Splits(train, validation, test, clean[ends[2] :])


def scales(config: Any, train: Dataset) -> tuple[Standardization, Standardization]:
    """Return the maps of inputs and targets; the identity with `raw`."""
    if config.raw:
        return tuple(Standardization(*map(jnp.asarray, ([0.0] * d, [1.0] * d))) for d in (2, 1))  # type: ignore[return-value]
    return data.standardization(train.inputs), data.standardization(train.targets)


class Kind(NamedTuple):
    """What sort of network is trained, and how long."""

    widths: tuple[int, ...]
    recipe: str
    features: str
    activation: str
    epochs: int


def make_model(config: Any, kind: Kind, key: jax.Array) -> FeedForward:
    """Return the network; the key draws its frequencies.

    The initialization is PyTorch's default, with random biases: with zero biases every kink of the
    first layer starts on a line through the origin, and shallow networks hardly leave that.
    """
    frequencies = config.fourier_scale * jax.random.normal(key, (config.num_features, 2))
    fourier = kind.features == "fourier"
    sine = kind.activation == "sine"
    return FeedForward(
        kind.widths, 1,
        jnp.sin if sine else partial(leaky_relu, 0.0),
        initializer("he_uniform" if sine else "pytorch_default"),
        init_first=partial(uniform_first_layer, 30.0) if sine and not fourier else None,
        batch_norm=kind.recipe == "sgd" and len(kind.widths) > 1,
        features=partial(fourier_features, frequencies) if fourier else None,
    )  # fmt: skip


def make_optimizer(recipe: str, rate: Any, steps: int) -> optax.GradientTransformation:
    """Return the optimizer of a recipe."""
    if recipe == "sgd":
        return optax.sgd(rate, momentum=0.9, nesterov=True)
    return optax.adam(optax.cosine_decay_schedule(rate, max(steps, 1)))


def predict(model: FeedForward, state: Any, inputs: jax.Array) -> jax.Array:
    """Return the outputs, block by block, which bounds the memory."""
    n = inputs.shape[0]
    blocks = jnp.pad(inputs, ((0, -n % BLOCK), (0, 0))).reshape(-1, BLOCK, inputs.shape[1])
    outputs = jax.lax.map(lambda x: model.apply(variables(state), x), blocks)
    return outputs.reshape(-1, 1)[:n]


def rmse(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the root of the mean squared error."""
    return jnp.sqrt(jnp.mean((predictions - targets) ** 2))


def cusp_errors(predictions: jax.Array, clean: jax.Array, inputs: jax.Array) -> dict[str, Any]:
    """Return the errors on clean targets by distance to the cusps.

    Returns:
        `cusp_rmse`, shape (bins of `CUSP_EDGES`,), NaN where a bin is empty; `cusp_share`, the
        share of the squared error that lies within four units of a cusp.
    """
    squares = ((predictions - clean) ** 2)[:, 0]
    distance = data.eggholder_cusp_distance(inputs)
    edges = jnp.array(CUSP_EDGES)
    inside = (distance[None] >= edges[:-1, None]) & (distance[None] < edges[1:, None])
    means = jnp.sum(inside * squares[None], axis=1) / jnp.sum(inside, axis=1)
    near = jnp.sum(jnp.where(distance < 4.0, squares, 0.0)) / jnp.sum(squares)
    return {"cusp_rmse": jnp.sqrt(means), "cusp_share": near}


def map_inputs() -> jax.Array:
    """Return the midpoints of a square grid, x2 slow and upwards, shape (MAP_SIDE^2, 2)."""
    axis = ((jnp.arange(MAP_SIDE) + 0.5) / MAP_SIDE * 2 - 1) * data.EGGHOLDER_BOUND
    x2, x1 = jnp.meshgrid(axis, axis, indexing="ij")
    return jnp.stack([x1.ravel(), x2.ravel()], axis=-1)


def simulate(key, splits: Splits, rates, *, config: Any, kind: Kind) -> dict[str, jax.Array]:
    """Train one network at every learning rate and keep the one that is best on validation data.

    Args:
        key: Random key of this network, the same at every rate.
        splits: The data.
        rates: Learning rates, shape (rates,).
        config: The study's configuration.
        kind: The network and its budget.

    Returns:
        Errors in the target's units; `curve` is the validation error after each epoch.
    """
    init_key, features_key, order_key = jax.random.split(key, 3)
    scale, target_scale = scales(config, splits.train)
    model = make_model(config, kind, features_key)
    train = Dataset(
        data.standardize(scale, splits.train.inputs),
        data.standardize(target_scale, splits.train.targets),
    )
    steps = len(train.inputs) // min(config.batch_size, len(train.inputs)) * kind.epochs

    def predict_units(state, inputs):
        outputs = predict(model, state, data.standardize(scale, inputs))
        return data.restore(target_scale, outputs)

    def fit_at(rate):
        optimizer = make_optimizer(kind.recipe, rate, steps)

        def epoch(state, index):
            state, _ = train_epoch(
                state, train, jax.random.fold_in(order_key, index), order_key,
                batch_size=config.batch_size, model=model, optimizer=optimizer,
                loss_fn=optax.losses.squared_error,
            )  # fmt: skip
            outputs = predict_units(state, splits.validation.inputs)
            return state, rmse(outputs, splits.validation.targets)

        state = init_state(init_key, model, optimizer, train.inputs)
        return jax.lax.scan(epoch, state, jnp.arange(kind.epochs))

    states, curves = jax.vmap(fit_at)(rates)
    score = jnp.where(jnp.isfinite(curves[:, -1]), curves[:, -1], jnp.inf)
    best = jnp.argmin(score)
    state = jax.tree.map(lambda a: a[best], states)
    # One pass over everything compiles once; four passes would compile four times.
    everything = [splits.test.inputs, splits.train.inputs, map_inputs()]
    ends = np.cumsum([len(inputs) for inputs in everything])[:-1]
    predictions, fitted, surface = jnp.split(
        predict_units(state, jnp.concatenate(everything)), ends
    )
    return {
        "learning_rate": rates[best],
        "nonfinite": ~jnp.isfinite(score[best]),
        "train_rmse": rmse(fitted, splits.train.targets),
        "validation_rmse": curves[best, -1],
        "test_rmse": rmse(predictions, splits.test.targets),
        "clean_rmse": rmse(predictions, splits.clean_test),
        **cusp_errors(predictions, splits.clean_test, splits.test.inputs),
        "rate_rmse": curves[:, -1],
        "curve": curves[best],
        "map": surface[:, 0],
    }


def count_parameters(config: Any, kind: Kind) -> int:
    """Return the number of trained parameters."""

    def init(key):
        return make_model(config, kind, key).init(key, jnp.zeros((1, 2)))["params"]

    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))


def seconds_alone(config: Any, kind: Kind, train: Dataset) -> float:
    """Return the seconds of an epoch of one network by itself, from a fifth of one, thrice."""
    few = Dataset(*(a[: max(len(a) // 5, 1)] for a in train))
    model = make_model(config, kind, jax.random.key(0))
    optimizer = make_optimizer(kind.recipe, 1e-6, 1000)
    key = jax.random.key(0)
    # The numbers make no difference to the time, and zeros need no program to be drawn.
    shapes = jax.eval_shape(
        partial(init_state, model=model, optimizer=optimizer), key, inputs=few.inputs
    )
    state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    epoch = jax.jit(
        partial(
            train_epoch, batch_size=config.batch_size, model=model, optimizer=optimizer,
            loss_fn=optax.losses.squared_error,
        )
    )  # fmt: skip
    jax.block_until_ready(epoch(state, few, key, key))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(epoch(state, few, key, key))
        seconds.append(time.perf_counter() - began)
    return min(seconds) * len(train.inputs) / len(few.inputs)
