"""What the networks stand beside: other regressors, the floor of the noise, one network's time."""

import timeit
from collections.abc import Callable
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from tqdm import tqdm

from jaxstudies.networks import baselines
from jaxstudies.networks.data import Dataset
from jaxstudies.studies.depth_width.config import Config, Kind
from jaxstudies.studies.depth_width.design import networks
from jaxstudies.studies.depth_width.problem import cusp_errors, find_cusps, problem_of, rmse, splits_of
from jaxstudies.studies.depth_width.simulation import first_state, make_bounds, make_model, make_optimizer
from jaxstudies.training import TrainState, epoch_batches, fit

FITTED = 5
"""Data sets, at most, to which the baselines are fitted: those of the first seeds."""
Columns = dict[str, np.ndarray]
Remember = Callable[[str, Callable[[], Columns]], Columns]
"""Returns what was kept under a name, or computes and keeps it."""


def beside(config: Config, remember: Remember) -> dict[str, pd.DataFrame]:
    """Fit the baselines and time each network by itself."""
    train, alone = problem_of(config, 0).train, []

    def seconds(name: str, compute: Callable[[], float]) -> float:
        return float(remember(f"alone-{name}", lambda: {"seconds": np.array(compute())})["seconds"])

    # Shuffling is the same for every network, and so is timed once.
    shuffling = seconds("shuffle", partial(seconds_to_shuffle, train, config.batch_size))
    bar = tqdm(networks(config), desc="times of one network alone", unit="network", delay=1)
    for i, network in enumerate(bar):
        kind = network.kind._replace(widths=network.shape)
        training = seconds(str(i), partial(seconds_to_train, config, kind, train))
        alone.append(network.labels | {"seconds_per_epoch": shuffling + training})
    return {"baselines": fit_baselines(config, remember), "alone": pd.DataFrame(alone)}


def fit_baselines(config: Config, remember: Remember) -> pd.DataFrame:
    """Fit what is not a network to the training and validation data of the first seeds; a row each, and the floor.

    `test_rmse_error` is the standard error of the test error over the test points.
    """
    listed = list(product(range(min(config.seeds, FITTED)), baselines.REGRESSORS))
    bar = tqdm(listed, desc="baselines", unit="baseline", delay=1)
    rows = [fit_baseline(config, seed, name, remember) for seed, name in bar]
    rows.append({"part": "floor", "shape": "floor", "test_rmse": config.noise_variance**0.5, "seed": 0})
    same = {"recipe": "baseline", "nonfinite": False, "depth": 0, "hidden_units": 0, "parameters": 0}
    return pd.DataFrame(rows).assign(**same)


def fit_baseline(config: Config, seed: int, name: str, remember: Remember) -> dict[str, object]:
    """Return the errors of a regressor on the data set of a seed."""
    (*known, test), clean_test = splits_of(config, seed)

    def predictions_of() -> Columns:
        inputs, targets = (np.concatenate(arrays).astype(float) for arrays in zip(*known, strict=True))
        fitted = baselines.predict(name, inputs, targets[:, 0], np.asarray(test.inputs, float))
        return {"predictions": fitted[:, None]}

    predicted = remember(f"baseline-{name}-{seed}", predictions_of)["predictions"]
    squares = (predicted - np.asarray(test.targets, float)) ** 2
    error = squares.mean() ** 0.5
    predictions = jnp.asarray(predicted, jnp.float32)
    by_distance, share = cusp_errors(predictions, clean_test, find_cusps(test.inputs))
    row = {"part": "baseline", "shape": name, "seed": seed, "test_rmse": error, "cusp_share": float(share)}
    row |= {"test_rmse_error": squares.std() / (2 * error * len(squares) ** 0.5)}
    return row | {"clean_rmse": float(rmse(predictions, clean_test)), "cusp_rmse": by_distance.tolist()}


def seconds_to_shuffle(train: Dataset, batch_size: int) -> float:
    """Return the seconds it takes to put the points into batches in a random order."""

    def shuffle(train: Dataset) -> Dataset:
        examples = epoch_batches(jax.random.key(0), len(train.inputs), batch_size)
        return Dataset(*(a[examples] for a in train))

    return least_seconds(shuffle, train)


def seconds_to_train(config: Config, kind: Kind, train: Dataset) -> float:
    """Return the seconds of an epoch's steps of one network by itself, from a fifth of the points."""
    num_points = max(len(train.inputs) // 5, 1)
    size = min(kind.batch_size, num_points)
    num_steps = num_points // size
    batches = Dataset(*(a[: num_steps * size].reshape(num_steps, size, -1) for a in train))
    model = make_model(config, kind, jax.random.key(0))
    optimizer, loss_fn = make_optimizer(kind.recipe, 1e-6, 1000), optax.losses.squared_error

    def first(key: jax.Array) -> TrainState:
        return first_state(key, model, optimizer, make_bounds(config, kind, kind.widths))

    def epoch(state: TrainState, batches: Dataset) -> TrainState:
        def batch(step):
            return Dataset(*(a[step] for a in batches))

        return fit(
            jax.random.key(0), model, optimizer, loss_fn, batch, num_epochs=1, num_steps=num_steps, state=state
        ).state

    # The numbers make no difference to the time, and zeros need no program to be drawn.
    shapes = jax.eval_shape(first, jax.random.key(0))
    state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    return least_seconds(epoch, state, batches) * len(train.inputs) / num_points


def least_seconds(function: Callable, *arguments) -> float:
    """Return the seconds that a compiled function takes, the least of three."""
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    return min(timeit.repeat(lambda: jax.block_until_ready(compiled(*arguments)), number=1, repeat=3))
