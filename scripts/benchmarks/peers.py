"""What the benchmark times: the engine and its peers, which import what they need when they are readied."""

import os
import subprocess
import sys
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import scaling, steps, timing
from benchmarks.timing import Contestant, Timed
from jaxstudies.networks.data import uniform_inputs

DEPTH, WIDTH, EXAMPLES, BATCH = 10, 2, 3000, 64


def plain_flax(seeds: int, epochs: int) -> Timed:
    """Train a batch as a Flax tutorial would: `vmap` of `nn.Dense` layers, shuffles of its own."""
    import flax.linen as nn

    dense = partial(nn.Dense, kernel_init=nn.initializers.he_normal())
    hidden = [layer for _ in range(DEPTH) for layer in (dense(WIDTH), nn.relu)]
    model: Any = nn.Sequential([*hidden, dense(1)])
    optimizer = optax.adam(1e-3)

    def simulate(key):
        data_key, init_key, order_key = jax.random.split(key, 3)
        x = uniform_inputs(data_key, EXAMPLES, 1)
        y = jnp.abs(x)
        params = model.init(init_key, x[:1])

        def step(carry, rows):
            params, state = carry
            grads = jax.grad(lambda p: jnp.mean((model.apply(p, x[rows]) - y[rows]) ** 2))(params)
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(params, updates), state), None

        def epoch(carry, key):
            order = jax.random.permutation(key, EXAMPLES)[: EXAMPLES // BATCH * BATCH]
            return jax.lax.scan(step, carry, order.reshape(-1, BATCH))

        carry = (params, optimizer.init(params))
        (params, _), _ = jax.lax.scan(epoch, carry, jax.random.split(order_key, epochs))
        return jnp.ptp(model.apply(params, x))

    keys = jax.random.split(jax.random.key(0), seeds)
    run = jax.jit(jax.vmap(simulate)).lower(keys).compile()
    return lambda: jax.block_until_ready(run(keys)), 1.0


def torch_network(torch: ModuleType):
    """Return the network of the study in PyTorch."""
    network = steps.torch_network(torch, 1, [WIDTH] * DEPTH)
    for layer in network:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.kaiming_normal_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    return network


def torch_func(seeds: int, epochs: int) -> Timed:
    """Train a batch by `torch.func`: stacked parameters, one epoch timed and multiplied."""
    torch = import_module("torch")
    params, _ = torch.func.stack_module_state([torch_network(torch) for _ in range(seeds)])
    base = torch_network(torch).to("meta")
    optimizer = torch.optim.Adam(list(params.values()), lr=1e-3)
    x = (torch.rand(seeds, EXAMPLES, 1) * 2 - 1) * 7**0.5
    y = x.abs()

    def loss(params, x, y):
        return ((torch.func.functional_call(base, params, (x,)) - y) ** 2).mean()

    gradients, batches = torch.func.vmap(torch.func.grad(loss)), steps.shuffled(torch, EXAMPLES, BATCH)

    def epoch():
        torch.set_num_threads(timing.cores())
        for rows in batches():
            found = gradients(params, x[:, rows], y[:, rows])
            for name, value in params.items():
                value.grad = found[name]
            optimizer.step()

    return epoch, float(epochs)


def torch_loop(seeds: int, epochs: int) -> Timed:
    """Train one network after another in PyTorch: one epoch of one network, multiplied."""
    torch = import_module("torch")
    network = torch_network(torch)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    x = (torch.rand(EXAMPLES, 1) * 2 - 1) * 7**0.5
    loss, batches = torch.nn.functional.mse_loss, steps.shuffled(torch, EXAMPLES, BATCH)
    # One thread is faster than more for networks this small.
    epoch = steps.training(torch, network, optimizer, loss, (x, x.abs()), batches, threads=1)
    return epoch, float(epochs * seeds)


def keras_loop(seeds: int, epochs: int) -> Timed:
    """Train one network after another in Keras: one epoch of one network, multiplied."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = import_module("keras")
    dense = partial(keras.layers.Dense, kernel_initializer="he_normal")
    hidden = [dense(WIDTH, activation="relu") for _ in range(DEPTH)]
    network = keras.Sequential([keras.Input((1,)), *hidden, dense(1)])
    network.compile(optimizer="adam", loss="mse")
    x = np.random.default_rng(0).uniform(-(7**0.5), 7**0.5, (EXAMPLES, 1))
    epoch = partial(network.fit, x, np.abs(x), batch_size=BATCH, epochs=1, verbose=0)
    epoch()  # traces
    return epoch, float(epochs * seeds)


def start_up(module: str, seeds: int, epochs: int) -> Timed:
    """Import a module in a fresh interpreter."""
    import_module(module)
    command, environment = [sys.executable, "-c", f"import {module}"], {"KERAS_BACKEND": "torch"} | os.environ
    return partial(subprocess.run, command, check=True, env=environment, capture_output=True), 1


CONTESTANTS: dict[str, Contestant] = {
    "jaxstudies": ("dying ReLU", scaling.compile_batch),
    "plain Flax vmap": ("dying ReLU", plain_flax),
    "torch.func": ("dying ReLU", torch_func),
    "PyTorch loop (extrapolated)": ("dying ReLU", torch_loop),
    "Keras loop (extrapolated)": ("dying ReLU", keras_loop),
    **steps.CONTESTANTS,
    "jaxstudies start-up": ("start-up", partial(start_up, "jaxstudies.studies.dying_relu")),
    "PyTorch start-up": ("start-up", partial(start_up, "torch")),
    "Keras start-up": ("start-up", partial(start_up, "keras")),
}
