"""What the benchmark times: the engine and its peers, which import what they need when they are readied."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import scaling, steps, timing
from benchmarks.parts import Extent, Job, Row
from benchmarks.timing import Contestant, Timed
from jaxstudies.networks.data import uniform_inputs

DEPTH, WIDTH, EXAMPLES, BATCH = 10, 2, 3000, 64
NUMBERS = 8_192, 65_536
"""Of networks that are trained on an accelerator."""


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


def torch_func(seeds: int, epochs: int, compiled: bool = False, device: str = "cpu") -> Timed:
    """Train a batch by `torch.func`: stacked parameters, one epoch timed and multiplied."""
    torch = import_module("torch")
    network = torch_network(torch)
    params = {name: torch_stacked(torch, seeds, p, device) for name, p in network.named_parameters()}
    base = network.to("meta")
    optimizer = torch.optim.Adam(list(params.values()), lr=1e-3)
    x = (torch.rand(seeds, EXAMPLES, 1, device=device) * 2 - 1) * 7**0.5
    y = x.abs()

    def loss(params, x, y):
        return ((torch.func.functional_call(base, params, (x,)) - y) ** 2).mean()

    gradients = torch.func.vmap(torch.func.grad(loss))
    batches = steps.shuffled(torch, EXAMPLES, BATCH, device)
    if compiled:
        gradients = torch.compile(gradients)

    def epoch():
        torch.set_num_threads(timing.cores())
        for rows in batches():
            found = gradients(params, x[:, rows], y[:, rows])
            for name, value in params.items():
                value.grad = found[name]
            optimizer.step()

    return epoch, float(epochs)


def torch_stacked(torch: ModuleType, seeds: int, parameter: Any, device: str) -> Any:
    """Return one parameter of many networks, drawn at once as `torch_network` draws it."""
    scale = (2 / parameter.shape[-1]) ** 0.5 if parameter.ndim == 2 else 0.0
    return torch.randn(seeds, *parameter.shape, device=device) * scale


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


def beside(extent: Extent) -> Iterator[Job]:
    """Train the main job's networks here and by a plain `vmap` of Flax's layers."""
    for number in NUMBERS if extent.whole else NUMBERS[:1]:
        for name, make in {"jaxstudies": scaling.compile_batch, "plain Flax vmap": plain_flax}.items():
            networks = extent.of(number, 8)
            yield {"contestant": name, "networks": networks, "epochs": 20}, partial(compared, make, networks)


def compared(make: Callable[[int, int], Timed], networks: int) -> Row:
    """Time a contestant, the best of three."""
    began = time.perf_counter()
    run, factor = make(networks, 20)
    row = {"prepare_seconds": time.perf_counter() - began} | timing.least(run)
    return row | {"seconds": row["seconds"] * factor, "per_second": networks / row["seconds"] / factor}


def by_torch(extent: Extent) -> Iterator[Job]:
    """Train the main job's networks by `torch.func`, as it is and compiled, in a process in which JAX has no card."""
    for number in NUMBERS if extent.whole else NUMBERS[:1]:
        for compiled in (False, True):
            networks = extent.of(number, 8)
            about = {"contestant": "torch.func", "compiled": compiled, "networks": networks, "epochs": 20}
            yield about, partial(torch_on_card, networks, compiled, extent.whole)


def torch_on_card(networks: int, compiled: bool, needs_card: bool) -> Row:
    """Time `torch.func` on the card if there is one, else on the CPU, which a whole part does not do."""
    try:
        torch = import_module("torch")
    except ImportError:
        return {"absent": "PyTorch is not installed"}
    has_card = torch.cuda.is_available()
    if needs_card and not has_card:
        return {"absent": f"PyTorch {torch.__version__} finds no card"}
    device = "cuda" if has_card else "cpu"

    def make(networks: int, epochs: int) -> Timed:
        epoch, factor = torch_func(networks, epochs, compiled, device)

        def synchronized():
            epoch()
            if has_card:
                torch.cuda.synchronize()

        synchronized()  # compiles
        return synchronized, factor

    return {"torch": torch.__version__, "device": device} | compared(make, networks)


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
