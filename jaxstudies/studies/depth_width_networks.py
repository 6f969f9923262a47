"""One network on the Eggholder function: its training at every rate, its errors, its time."""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxstudies import data
from jaxstudies.data import Dataset
from jaxstudies.models import FeedForward, Layer, fourier_features, leaky_relu, zero_bias
from jaxstudies.studies.depth_width_data import Problem, cusp_errors, rmse
from jaxstudies.studies.depth_width_padding import draw_layers, initial_bounds
from jaxstudies.training import TrainState, train_step, variables

BLOCK = 1000


class Kind(NamedTuple):
    """What sort of network is trained, and how long."""

    widths: tuple[int, ...]
    recipe: str
    features: str
    activation: str
    epochs: int
    batch_size: int


def make_model(config: Any, kind: Kind, key: jax.Array) -> FeedForward:
    """Return the network; the key draws its frequencies. Its layers are drawn apart, by bounds."""
    features = None
    if kind.features == "fourier":
        frequencies = config.fourier_scale * jax.random.normal(key, (config.num_features, 2))
        features = partial(fourier_features, frequencies)
    return FeedForward(
        kind.widths, 1,
        jnp.sin if kind.activation == "sine" else partial(leaky_relu, 0.0),
        partial(zero_bias, jax.nn.initializers.zeros),
        batch_norm=kind.recipe == "sgd" and len(kind.widths) > 1,
        features=features,
    )  # fmt: skip


def make_bounds(config: Any, kind: Kind, room: tuple[int, ...]) -> dict[str, Layer]:
    """Return the bounds of the initial parameters of a network padded to a room.

    Biases are random: with zero biases every kink of the first layer starts on a line through the
    origin, and shallow networks hardly leave that.
    """
    fourier = kind.features == "fourier"
    num_inputs = 2 * config.num_features if fourier else 2
    return initial_bounds(kind.widths, room, num_inputs, kind.activation == "sine", fourier)


def make_optimizer(recipe: str, rate: Any, steps: int) -> optax.GradientTransformation:
    """Return the optimizer of a recipe, which sees all parameters as one vector: fewer kernels."""
    if recipe == "sgd":
        return optax.flatten(optax.sgd(rate, momentum=0.9, nesterov=True))
    return optax.flatten(optax.adam(optax.cosine_decay_schedule(rate, max(steps, 1))))


def first_state(
    key: jax.Array, model: FeedForward, optimizer: optax.GradientTransformation, bounds: Any
) -> TrainState:
    """Draw a network within bounds; batch norm starts as the identity."""
    initial: Any = model.init(key, jnp.zeros((1, 2)))
    params = initial["params"] | draw_layers(key, bounds)
    return TrainState(params, initial.get("batch_stats", {}), optimizer.init(params))


def random_order(key: jax.Array, n: int) -> jax.Array:
    """Return the numbers below n in a random order."""
    bits = jax.random.bits(key, (n,))
    digits = max(n - 1, 1).bit_length()
    if digits > 17:
        return jnp.argsort(bits)
    # Pairs are sorted five times as slowly as numbers, so both are put into one number. That leaves
    # 15 random bits or more: the two or three points that share theirs stay side by side, the
    # smaller index first.
    packed = (bits << digits) | jnp.arange(n, dtype=jnp.uint32)
    return jnp.sort(packed) & np.uint32(2**digits - 1)


def make_batches(key: jax.Array, points: Dataset, batch_size: int) -> Dataset:
    """Return whole batches in a random order, shape (steps, batch, ...); at least one."""
    n = len(points.inputs)
    batch_size = min(batch_size, n)
    order = random_order(key, n)[: n // batch_size * batch_size]
    return jax.tree.map(lambda a: a[order].reshape(-1, batch_size, *a.shape[1:]), points)


def train_batches(
    state: TrainState, batches: Dataset, model: FeedForward, optimizer: Any
) -> TrainState:
    """Take a step on each batch."""

    def step(state, batch):
        return train_step(
            state, batch, jax.random.key(0), model=model, optimizer=optimizer,
            loss_fn=optax.losses.squared_error,
        )  # fmt: skip

    return jax.lax.scan(step, state, batches)[0]


def predict(model: FeedForward, state: Any, inputs: jax.Array) -> jax.Array:
    """Return the outputs, block by block, which bounds the memory."""
    n = inputs.shape[0]
    blocks = jnp.pad(inputs, ((0, -n % BLOCK), (0, 0))).reshape(-1, BLOCK, inputs.shape[1])
    outputs = jax.lax.map(lambda x: model.apply(variables(state), x), blocks)
    return outputs.reshape(-1, 1)[:n]


def simulate(
    key, problem: Problem, bounds: dict[str, Layer], rates, *, config: Any, kind: Kind
) -> dict[str, jax.Array]:
    """Train one network at every learning rate and keep the one that is best on validation data.

    Args:
        key: Random key of this network, the same at every rate.
        problem: The data.
        bounds: Bounds of the initial parameters, which say what of the widths is padding.
        rates: Learning rates, shape (rates,).
        config: The study's configuration.
        kind: The network, padding included, and its budget.

    Returns:
        Errors in the target's units; `curve` is the validation error after each epoch.
    """
    init_key, features_key, order_key = jax.random.split(key, 3)
    model = make_model(config, kind, features_key)
    num_train = len(problem.train.inputs)
    steps = num_train // min(kind.batch_size, num_train) * kind.epochs
    unit = problem.target_scale.deviation[0]

    def fit_at(rate):
        optimizer = make_optimizer(kind.recipe, rate, steps)

        def epoch(state, index):
            shuffle_key = jax.random.fold_in(order_key, index)
            batches = make_batches(shuffle_key, problem.train, kind.batch_size)
            state = train_batches(state, batches, model, optimizer)
            outputs = predict(model, state, problem.validation.inputs)
            return state, unit * rmse(outputs, problem.validation.targets)

        state = first_state(init_key, model, optimizer, bounds)
        return jax.lax.scan(epoch, state, jnp.arange(kind.epochs))

    states, curves = jax.vmap(fit_at)(rates)
    score = jnp.where(jnp.isfinite(curves[:, -1]), curves[:, -1], jnp.inf)
    best = jnp.argmin(score)
    state = jax.tree.map(lambda a: a[best], states)
    # One pass over everything compiles once; three passes would compile three times.
    everything = [problem.test.inputs, problem.train.inputs, problem.surface]
    ends = np.cumsum([len(inputs) for inputs in everything])[:-1]
    outputs = predict(model, state, jnp.concatenate(everything))
    predictions, fitted, surface = jnp.split(outputs, ends)
    cusps = cusp_errors(predictions, problem.clean_test, problem.cusps)
    return {
        "learning_rate": rates[best],
        "nonfinite": ~jnp.isfinite(score[best]),
        "train_rmse": unit * rmse(fitted, problem.train.targets),
        "validation_rmse": curves[best, -1],
        "test_rmse": unit * rmse(predictions, problem.test.targets),
        "clean_rmse": unit * rmse(predictions, problem.clean_test),
        "cusp_rmse": unit * cusps["cusp_rmse"],
        "cusp_share": cusps["cusp_share"],
        "rate_rmse": curves[:, -1],
        "curve": curves[best],
        "map": data.restore(problem.target_scale, surface)[:, 0],
    }


def count_parameters(config: Any, kind: Kind) -> int:
    """Return the number of trained parameters."""

    def init(key):
        return make_model(config, kind, key).init(key, jnp.zeros((1, 2)))["params"]

    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))


def seconds_of(function: Any, *arguments: Any) -> float:
    """Return the seconds that a compiled function takes, the least of three."""
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def fifth(points: Dataset) -> Dataset:
    """Return the first fifth of the points."""
    return Dataset(*(a[: max(len(a) // 5, 1)] for a in points))


def seconds_to_shuffle(train: Dataset, batch_size: int) -> float:
    """Return the seconds it takes to put the points into batches, from a fifth of them.

    It is the same for every network, and so is timed once.
    """
    few = fifth(train)
    seconds = seconds_of(partial(make_batches, batch_size=batch_size), jax.random.key(0), few)
    return seconds * len(train.inputs) / len(few.inputs)


def seconds_to_train(config: Any, kind: Kind, train: Dataset) -> float:
    """Return the seconds of an epoch's steps of one network by itself, from a fifth of them."""
    few = fifth(train)
    size = min(kind.batch_size, len(few.inputs))
    batches = jax.tree.map(
        lambda a: a[: len(a) // size * size].reshape(-1, size, *a.shape[1:]), few
    )
    model = make_model(config, kind, jax.random.key(0))
    optimizer = make_optimizer(kind.recipe, 1e-6, 1000)
    # The numbers make no difference to the time, and zeros need no program to be drawn.
    bounds = make_bounds(config, kind, kind.widths)
    shapes = jax.eval_shape(
        partial(first_state, model=model, optimizer=optimizer), jax.random.key(0), bounds=bounds
    )
    state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    steps = partial(train_batches, model=model, optimizer=optimizer)
    return seconds_of(steps, state, batches) * len(train.inputs) / len(few.inputs)
