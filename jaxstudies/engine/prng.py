"""JAX's own random numbers, to the bit, from a program that compiles faster.

At each of a study's dozen draws, XLA compiles the 20 rounds of Threefry anew, unrolled and twice over: on a CPU half of
what it compiles for a small network. Here a small draw runs them in a loop. Keys are JAX's: only how operations on them
are lowered is another, and only in the programs of the engine.
"""

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import mlir

Operation = Callable[..., jax.Array]
"""What is done with the words of a key."""
ROTATIONS = np.array([13, 15, 26, 6, 17, 29, 16, 24] * 3, np.uint32)[:20]
THREEFRY = "threefry2x32"
"""What JAX calls its default implementation."""
SMALL = 4096
"""Numbers drawn at once, at most, by the loop."""
BLOCK = 1024
"""Numbers per run of the loop: for hundreds of networks at once more would leave the caches."""


def threefry_2x32(key: jax.Array, counts: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Hash pairs of counts, high and low words, by Threefry-2x32 of 20 rounds (Salmon et al. 2011)."""
    schedule = jnp.stack([key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA)])
    # Behind every fourth round two words of the schedule and a counter are added.
    group = np.arange(20) // 4 + 1
    last = np.where(np.arange(20) % 4 == 3, np.uint32(0xFFFFFFFF), np.uint32(0))
    added = (schedule[group % 3] & last, (schedule[(group + 1) % 3] + group.astype(np.uint32)) & last)

    def one_round(words, step):
        rotation, (add_high, add_low) = step
        high = words[0] + words[1]
        low = (words[1] << rotation) | (words[1] >> (np.uint32(32) - rotation))
        return (high + add_high, (high ^ low) + add_low), None

    words = (counts[0] + schedule[0], counts[1] + schedule[1])
    return jax.lax.scan(one_round, words, (ROTATIONS, added))[0]


def _hash(key: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    return threefry_2x32(key, (jnp.zeros_like(low), low))


def _is_counted(how) -> bool:
    """Return whether number i of a draw is the hash of i: JAX has an older layout, too, if it is told so."""
    return how.name == THREEFRY and bool(getattr(jax.config, "jax_threefry_partitionable", True))


def _split(how, *, shape: tuple[int, ...]) -> Operation:
    if not _is_counted(how):
        return lambda key: how.split(key, shape)
    counts = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    return lambda key: jnp.stack(_hash(key, counts), axis=-1)


def _fold_in(how) -> Operation:
    if not _is_counted(how):
        return how.fold_in
    return lambda key, data: jnp.stack(_hash(key, data.astype(jnp.uint32)))


def _random_bits(how, *, bit_width: int, shape: tuple[int, ...]) -> Operation:
    count = math.prod(shape)
    if not _is_counted(how) or bit_width != 32 or count > SMALL:
        return lambda key: how.random_bits(key, bit_width, shape)

    def hash_block(key, low):
        high, low = _hash(key, low)
        return high ^ low

    if count <= BLOCK:
        return lambda key: hash_block(key, jnp.arange(count, dtype=jnp.uint32).reshape(shape))
    blocks = jnp.arange(-(-count // BLOCK) * BLOCK, dtype=jnp.uint32).reshape(-1, BLOCK)
    return lambda key: jax.lax.map(lambda low: hash_block(key, low), blocks).ravel()[:count].reshape(shape)


OPERATIONS = {"random_bits": _random_bits, "random_split": _split, "random_fold_in": _fold_in}
"""By the names of JAX's primitives: takes an implementation and parameters, and returns what is done with a key."""


def _lower(operation: Callable[..., Operation], ctx, *operands, **parameters):
    """Lower an operation on an array of keys, whose words are operands."""
    keys, how = ctx.avals_in[0], ctx.avals_in[0].dtype._impl

    def operate(words, *rest):
        shape = np.broadcast_shapes(keys.shape, *(a.shape for a in rest))
        words = jnp.broadcast_to(words, (*shape, *how.key_shape)).reshape(-1, *how.key_shape)
        others = (jnp.broadcast_to(a, shape).ravel() for a in rest)
        results = jax.vmap(operation(how, **parameters))(words, *others)
        return results.reshape(*shape, *results.shape[1:])

    def in_words(aval):
        if aval.dtype != keys.dtype:
            return aval
        return aval.update(shape=(*aval.shape, *how.key_shape), dtype=np.dtype(np.uint32))

    inside = ctx.replace(avals_in=[*map(in_words, ctx.avals_in)], avals_out=[*map(in_words, ctx.avals_out)])
    return mlir.lower_fun(operate, multiple_results=False)(inside, *operands)


@functools.cache
def _primitives() -> dict[str, Primitive]:
    def all_of_them(key):
        return jax.random.bits(jax.random.fold_in(jax.random.split(key)[0], 1))

    traced = jax.make_jaxpr(all_of_them)(jax.random.key(0, impl=THREEFRY))
    return {equation.primitive.name: equation.primitive for equation in traced.eqns}


@functools.cache
def _lowering() -> dict[str, Any]:
    rules: Any = tuple((_primitives()[name], functools.partial(_lower, f)) for name, f in OPERATIONS.items())
    return {"_private_parameters": mlir.LoweringParameters(override_lowering_rules=rules)}


def lower(traced: jax.stages.Traced, platform: str) -> jax.stages.Lowered:
    """Lower a computation for a platform; elsewhere than on a CPU, as JAX does.

    On a GPU that has a kernel for Threefry, which is off by default (`jax_threefry_gpu_kernel_lowering`).
    """
    if platform == "cpu":
        with contextlib.suppress(AttributeError, TypeError):  # JAX does not promise that rules can be given
            return traced.lower(**_lowering())
    return traced.lower()
