"""What the benchmark times: the engine and its peers, each a function that readies one contestant.

A peer imports what it needs inside, so that those that are not installed can be skipped. Each
function takes the number of networks and of epochs and returns what is timed. The larger networks
of other studies are in `steps`.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxstudies.benchmarks import machine, scaling, steps
from jaxstudies.benchmarks.timing import Timed
from jaxstudies.networks.data import uniform_inputs

DEPTH, WIDTH, EXAMPLES, BATCH = 10, 2, 3000, 64


def ours(seeds: int, epochs: int) -> Timed:
    """Train a batch by the engine, everything measured as in the study."""
    return scaling.compile_batch(seeds, epochs), 1.0


def plain_flax(seeds: int, epochs: int) -> Timed:
    """Train a batch as a Flax tutorial would: `vmap` of `nn.Dense` layers, shuffles of its own."""
    import flax.linen as nn

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(DEPTH):
                x = nn.relu(nn.Dense(WIDTH, kernel_init=nn.initializers.he_normal())(x))
            return nn.Dense(1, kernel_init=nn.initializers.he_normal())(x)

    model: Any = Network()
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


def torch_network(torch: Any) -> Any:
    """Return the network of the study in PyTorch."""
    layers: list = []
    for inputs in [1] + [WIDTH] * (DEPTH - 1):
        layers += [torch.nn.Linear(inputs, WIDTH), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, 1))
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

    gradients = torch.func.vmap(torch.func.grad(loss))

    def epoch():
        torch.set_num_threads(machine.cores())
        order = torch.randperm(EXAMPLES)
        for rows in order[: EXAMPLES // BATCH * BATCH].reshape(-1, BATCH):
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
    y = x.abs()

    def epoch():
        torch.set_num_threads(1)  # faster than more for networks this small
        order = torch.randperm(EXAMPLES)
        for rows in order[: EXAMPLES // BATCH * BATCH].reshape(-1, BATCH):
            optimizer.zero_grad()
            ((network(x[rows]) - y[rows]) ** 2).mean().backward()
            optimizer.step()

    return epoch, float(epochs * seeds)


def keras_loop(seeds: int, epochs: int) -> Timed:
    """Train one network after another in Keras: one epoch of one network, multiplied."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = import_module("keras")

    def dense(units, activation=None):
        return keras.layers.Dense(units, activation=activation, kernel_initializer="he_normal")

    hidden = [dense(WIDTH, "relu") for _ in range(DEPTH)]
    network = keras.Sequential([keras.Input((1,)), *hidden, dense(1)])
    network.compile(optimizer="adam", loss="mse")
    x = np.random.default_rng(0).uniform(-(7**0.5), 7**0.5, (EXAMPLES, 1))

    def epoch():
        network.fit(x, np.abs(x), batch_size=BATCH, epochs=1, verbose=0)

    epoch()  # traces
    return epoch, float(epochs * seeds)


def start_up(*modules: str) -> Callable[[int, int], Timed]:
    """Return a contestant that imports modules in a fresh interpreter."""

    def prepare(seeds: int, epochs: int) -> Timed:
        for module in modules:
            import_module(module)
        command = [sys.executable, "-c", f"import {', '.join(modules)}"]
        environment = {"KERAS_BACKEND": "torch"} | os.environ
        return lambda: subprocess.run(command, check=True, env=environment, capture_output=True), 1

    return prepare


CONTESTANTS: dict[str, tuple[str, Callable[[int, int], Timed]]] = {
    "jaxstudies": ("dying ReLU", ours),
    "plain Flax vmap": ("dying ReLU", plain_flax),
    "torch.func": ("dying ReLU", torch_func),
    "PyTorch loop (extrapolated)": ("dying ReLU", torch_loop),
    "Keras loop (extrapolated)": ("dying ReLU", keras_loop),
    **steps.CONTESTANTS,
    "jaxstudies start-up": ("start-up", start_up("jaxstudies.studies.dying_relu")),
    "PyTorch start-up": ("start-up", start_up("torch")),
    "Keras start-up": ("start-up", start_up("keras")),
}
