"""Choices that were made on a CPU, each timed against what was not chosen."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks import timing
from benchmarks.parts import Extent, Job, Row
from jaxstudies.engine import prng, tracing
from jaxstudies.networks import convnets
from jaxstudies.networks.batches import epoch_batches

KERNEL = "jax_threefry_gpu_kernel_lowering"
"""JAX's option by which Threefry is a kernel of its own on a GPU; it is off by default."""


@contextlib.contextmanager
def threefry_kernel() -> Iterator[None]:
    """Let JAX lower Threefry to its kernel inside, on a GPU."""
    before = getattr(jax.config, KERNEL)
    jax.config.update(KERNEL, True)
    try:
        yield
    finally:
        jax.config.update(KERNEL, before)


def draws(key: jax.Array) -> list[jax.Array]:
    """Draw a dozen times."""
    return [jax.random.normal(k, (30, 30)) for k in jax.random.split(key, 12)]


def choices(extent: Extent) -> Iterator[Job]:
    """Time what was chosen on a CPU, compiling and running, and what was not."""
    networks = extent.of(1_024, 8)
    yield from draws_of(networks)
    yield from orders_of(networks)
    yield from convolutions_of(extent.of(64, 2))


def draws_of(networks: int) -> Iterator[Job]:
    """Time random numbers: in a loop, as JAX has them, and by its kernel."""

    def traced() -> jax.stages.Traced:
        return jax.jit(jax.vmap(lambda key: draws(key))).trace(keys_of(networks))  # a function that JAX has not seen

    def by_kernel() -> jax.stages.Lowered:
        with threefry_kernel():
            return traced().lower()

    ways = {
        "Threefry in a loop": lambda: prng.lower(traced(), "cpu"),
        "Threefry by JAX": lambda: traced().lower(),
        f"Threefry by JAX's kernel ({KERNEL})": by_kernel,
    }
    for name, lower in ways.items():
        yield {"choice": name, "networks": networks}, partial(timed, lower, lambda: (keys_of(networks),))


def orders_of(networks: int) -> Iterator[Job]:
    """Time the order of an epoch's examples."""
    orders = {
        "order by one sort": partial(epoch_batches, num_examples=3_000, batch_size=64),
        "order by jax.random.permutation": lambda key: jax.random.permutation(key, 3_000),
    }
    for name, order in orders.items():

        def lower(order: Callable = order) -> jax.stages.Lowered:
            return jax.jit(jax.vmap(order)).lower(keys_of(networks))

        yield {"choice": name, "networks": networks}, partial(timed, lower, lambda: (keys_of(networks),))


def convolutions_of(networks: int) -> Iterator[Job]:
    """Time the gradient of LeNet's second convolution, for networks that see the same images."""

    def arguments() -> tuple[jax.Array, ...]:
        return jnp.ones((networks, 5, 5, 6, 16)), jnp.ones((6, 12, 12, 128))

    def by_xla(kernel: jax.Array, h: jax.Array) -> jax.Array:
        numbers = ("CHWN", "HWIO", "CHWN")
        return jax.lax.conv_general_dilated(h, kernel, (1, 1), "VALID", dimension_numbers=numbers)

    def lower(convolve: Callable, within: Callable) -> jax.stages.Lowered:
        def gradient(kernel, h):
            return jax.grad(lambda *inputs: (convolve(*inputs) ** 2).sum(), (0, 1))(kernel, h)

        with within():
            return jax.jit(jax.vmap(gradient, (0, None))).lower(*arguments())

    for precision, within in {"full": tracing.full_precision, "default": contextlib.nullcontext}.items():
        for name, convolve in {"convolution by patches": convnets.convolve, "convolution by XLA": by_xla}.items():
            about = {"choice": name, "precision": precision, "networks": networks}
            yield about, partial(timed, partial(lower, convolve, within), arguments)


def keys_of(networks: int) -> jax.Array:
    """Return a key for each network."""
    return jax.random.split(jax.random.key(0), networks)


def timed(lower: Callable[[], jax.stages.Lowered], make: Callable[[], tuple[jax.Array, ...]]) -> Row:
    """Return how long a computation takes to lower and compile, and to run on arguments that are made before.

    How many loops it has, and what it calls, shows whether it is what it is named.
    """
    arguments, began = make(), time.perf_counter()
    lowered = lower()
    compiled = lowered.compile()
    row: Row = {"compile_seconds": time.perf_counter() - began}
    text = lowered.as_text()
    row |= {"loops": text.count("stablehlo.while"), "calls": sorted(set(re.findall(r"custom_call @(\w+)", text)))}
    return row | timing.least(lambda: jax.block_until_ready(compiled(*arguments)))
