"""Training in kernels and by XLA: networks of several kinds, the main job in several numbers, and all of its study."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import programs, timing
from benchmarks.parts import Extent, Job, Row
from jaxstudies.engine.blocks import plan_size
from jaxstudies.engine.devices import choose_devices
from jaxstudies.fused import choice
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.models import MLP, initializer
from jaxstudies.networks.states import init_state
from jaxstudies.studies import dying_relu
from jaxstudies.study import from_module
from jaxstudies.tasks import task_of
from jaxstudies.training import fit

EXAMPLES, BATCH = 3000, 64
MAIN_JOB = "main job, ReLU 10 x 2, Adam"


class Dense(nn.Module):
    """Dense layers with an activation."""

    depth: int
    width: int
    activation: Callable

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Return one output for each example."""
        for _ in range(self.depth):
            inputs = self.activation(nn.Dense(self.width)(inputs))
        return nn.Dense(1)(inputs)


HE = initializer("he_normal")
MODELS: dict[str, tuple[nn.Module, optax.GradientTransformation, int]] = {
    MAIN_JOB: (MLP(10, 2, 1, nn.relu, HE), optax.adam(1e-3), 1),
    "GELU 1 x 4, AdamW": (Dense(1, 4, nn.gelu), optax.adamw(1e-2), 1),
    "tanh 2 x 3, momentum": (Dense(2, 3, nn.tanh), optax.sgd(0.05, momentum=0.9), 1),
    "ReLU 2 x 8, Adam": (Dense(2, 8, nn.relu), optax.adam(1e-3), 1),
    "ReLU 10 x 3, Adam": (MLP(10, 3, 1, nn.relu, HE), optax.adam(1e-3), 1),
    "ReLU 10 x 4, Adam": (MLP(10, 4, 1, nn.relu, HE), optax.adam(1e-3), 1),
    "ReLU 2 x 16, Adam": (Dense(2, 16, nn.relu), optax.adam(1e-3), 1),
    "ReLU 2 x 24, Adam": (Dense(2, 24, nn.relu), optax.adam(1e-3), 1),
    "ReLU 2 x 40, Adam": (Dense(2, 40, nn.relu), optax.adam(1e-3), 1),
    "tanh 1 x 16 on 16 inputs, SGD": (Dense(1, 16, nn.tanh), optax.sgd(0.1), 16),
}


def ready(name: str, networks: int, num_epochs: int, fused: bool) -> tuple[Callable[[], Any], Row]:
    """Compile the training of networks, each on data of its own, with products in full precision."""
    model, optimizer, inputs = MODELS[name]

    def born(key: jax.Array) -> tuple:
        data_key, init_key = jax.random.split(key)
        x = jax.random.uniform(data_key, (EXAMPLES, inputs), minval=-(7**0.5), maxval=7**0.5)
        return Dataset(x, jnp.abs(x[:, :1])), init_state(init_key, model, optimizer, x).params

    def train(data: Dataset, params: Any) -> Any:
        state = init_state(jax.random.key(0), model, optimizer, data.inputs)._replace(params=params)
        how = {"num_epochs": num_epochs, "batch_size": BATCH, "state": state, "shuffle_key": jax.random.key(7)}
        run = fit(jax.random.key(1), model, optimizer, optax.squared_error, data, fused=fused, **how)
        return run.state.params, run.history

    arguments = jax.block_until_ready(jax.jit(jax.vmap(born))(jax.random.split(jax.random.key(0), networks)))
    began = time.perf_counter()
    with jax.default_matmul_precision("highest"), programs.kernels_timed() as kernels:
        compiled = jax.jit(jax.vmap(train)).lower(*arguments).compile()
    about = {"compile_seconds": time.perf_counter() - began, "kernel_seconds": sum(kernels)}
    about["parameters"] = sum(leaf[0].size for leaf in jax.tree.leaves(arguments[1]))
    return lambda: jax.block_until_ready(compiled(*arguments)), about | programs.bytes_of(compiled)


def trained(name: str, networks: int, num_epochs: int, fused: bool, kept: dict[bool, list[np.ndarray]]) -> Row:
    """Time a training; keep every hundredth number of what comes out, and say how far two ways are apart."""
    (run, row), outs = ready(name, networks, num_epochs, fused), []

    def once():
        outs.clear()  # before as many are made again
        outs.extend(jax.tree.leaves(run()))

    row |= timing.least(once)
    kept[fused] = [np.asarray(leaf.ravel()[::100]) for leaf in outs]
    row["per_second"] = networks / row["seconds"]
    if len(kept) == 2:
        gaps = [np.abs(a - b) for a, b in zip(kept[True], kept[False], strict=True)]
        row["gap"] = float(np.quantile(np.concatenate(gaps), 0.999))
    return row


def models(extent: Extent) -> Iterator[Job]:
    """Compare kernels with XLA, for networks of several sizes."""
    networks = extent.of(65_536)
    for name in MODELS:
        kept: dict[bool, list[np.ndarray]] = {}
        for fused in (True, False):
            about = {"model": name, "networks": networks, "epochs": 2, "fused": fused}
            yield about, partial(trained, name, networks, 2, fused, kept)


def sizes(extent: Extent) -> Iterator[Job]:
    """Train more and more networks of the main job for its 20 epochs."""
    for number in (1_000, 16_384, 131_072, 1_000_000):
        networks = extent.of(number)
        about = {"model": MAIN_JOB, "networks": networks, "epochs": 20, "fused": True}
        yield about, partial(trained, MAIN_JOB, networks, 20, True, {})


def whole(extent: Extent) -> Iterator[Job]:
    """Make the runs of the dying-ReLU study with all that is measured of them, more and more at once."""
    for number, epochs, fused in (
        *((8_192, 20, None), (8_192, 20, False), (131_072, 0, None), (131_072, 20, None)),
        *((500_000, 20, None), (1_000_000, 20, None), (32_768, 20, None)),
    ):
        networks = extent.of(number)
        yield {"networks": networks, "epochs": epochs, "fused": fused}, partial(studied, networks, epochs, fused)


def studied(networks: int, epochs: int, fused: bool | None) -> Row:
    """Time runs of the dying-ReLU study, all at once."""
    config = dying_relu.Config(seeds=networks, activations=("relu",), epochs=epochs, long_epochs=0)
    task, devices = task_of(from_module(dying_relu), config, networks), choose_devices()
    (group,), size = task.design.groups, plan_size(1, networks, networks, len(devices))
    with allowing(fused):
        run, row = programs.ready(task, group, size, devices)
    row |= timing.least(run, 2)
    return row | {"networks": size.seeds, "per_second": size.seeds / row["seconds"]}


@contextlib.contextmanager
def allowing(kernels: bool | None) -> Iterator[None]:
    """Let the rule, or nobody, use kernels."""
    token = choice.ALLOWED.set(kernels)
    try:
        yield
    finally:
        choice.ALLOWED.reset(token)
