"""How long an epoch of each network takes by itself."""

import itertools
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import numpy as np
import optax
import pandas as pd

from jaxstudies.engine import progress
from jaxstudies.networks.batches import epoch_batches
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.states import TrainState
from jaxstudies.studies.depth_width.config import Config
from jaxstudies.studies.depth_width.design import Network, labels_of, networks
from jaxstudies.studies.depth_width.problem import problem_of
from jaxstudies.studies.depth_width.simulation import first_state, make_bounds, make_model, make_optimizer
from jaxstudies.training import fit

REPEATS = 7
"""Times that each network is timed."""
AT_ONCE = 100
"""Networks whose programs are there at once: each takes up over a hundred of the 65,530 memory maps of a process."""
Columns = dict[str, np.ndarray]
Remember = Callable[[str, Callable[[], Columns]], Columns]
"""Returns what was kept under a name, or computes and keeps it."""


class Call(NamedTuple):
    """What is timed, and how many times as long an epoch takes."""

    run: Callable[[], object]
    times: float


def time_alone(config: Config, remember: Remember) -> pd.DataFrame:
    """Return seconds of an epoch of each network by itself, a row per repeat.

    Networks are timed one after another, and that again and again: what else a machine does meanwhile then slows all
    of them down and not one. Very many are dealt into hands, each with networks of all sizes.
    """
    train, listed = problem_of(config, 0).train, networks(config)

    def compute() -> Columns:
        hands = deal(len(listed), AT_ONCE)
        bar = progress.counted(list(itertools.chain(*hands)), "networks to be timed alone, compiled")
        seconds = np.empty((REPEATS, len(listed)))
        for hand in hands:
            calls = [training_call(config, listed[i], train) for i in itertools.islice(bar, len(hand))]
            calls.append(shuffling_call(train, config.batch_size))
            times = np.array([[seconds_of(call) for call in calls] for _ in range(REPEATS)])
            # Shuffling is the same for every network.
            seconds[:, hand] = times[:, :-1] + times[:, -1:]
            calls.clear()
        return {"seconds": seconds}

    seconds = remember("alone", compute)["seconds"]
    rows = [
        labels_of(config, network) | {"repeat": repeat, "seconds_per_epoch": seconds[repeat, i]}
        for (i, network), repeat in product(enumerate(listed), range(REPEATS))
    ]
    return pd.DataFrame(rows)


def deal(number: int, most: int) -> list[list[int]]:
    """Return the indices of so many things in hands of at most `most`, dealt one by one."""
    count = -(-number // most)
    return [list(range(first, number, count)) for first in range(count)]


def shuffling_call(train: Dataset, batch_size: int) -> Call:
    """Return what puts the points into batches in a random order."""

    def shuffle(train: Dataset) -> Dataset:
        examples = epoch_batches(jax.random.key(0), len(train.inputs), batch_size)
        return Dataset(*(a[examples] for a in train))

    return compiled_call(shuffle, 1, train)


def training_call(config: Config, network: Network, train: Dataset) -> Call:
    """Return what takes a fifth of an epoch's steps with one network."""
    kind = network.kind._replace(widths=network.shape)
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
    return compiled_call(epoch, len(train.inputs) / num_points, state, batches)


def compiled_call(function: Callable, share: float, *arguments: object) -> Call:
    """Return a function compiled for arguments, which has run once: the first run fills caches."""
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    return Call(partial(compiled, *arguments), share)


def seconds_of(call: Call) -> float:
    """Return the seconds of an epoch."""
    began = time.perf_counter()
    jax.block_until_ready(call.run())
    return call.times * (time.perf_counter() - began)
