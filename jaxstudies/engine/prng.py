"""JAX's own random numbers, to the bit, from a program that compiles faster.

At each of a study's dozen draws, XLA compiles the 20 rounds of Threefry anew, unrolled and twice over: nearly half of
what it compiles for a small network. Here a small draw runs them in a loop.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as extended

ROTATIONS = np.array([13, 15, 26, 6, 17, 29, 16, 24] * 3, np.uint32)[:20]
SMALL = 4096
"""Numbers drawn at once, at most, by the loop."""
BLOCK = 1024
"""Numbers per run of the loop: for hundreds of networks at once more would leave the caches."""

_jax = extended.threefry_prng_impl


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


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_hash(key, jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)), axis=-1)


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    count = math.prod(shape)
    if bit_width != 32 or count > SMALL:
        return _jax.random_bits(key, bit_width, shape)

    def hash_block(low):
        high, low = _hash(key, low)
        return high ^ low

    if count <= BLOCK:
        return hash_block(jnp.arange(count, dtype=jnp.uint32).reshape(shape))
    blocks = jnp.arange(-(-count // BLOCK) * BLOCK, dtype=jnp.uint32).reshape(-1, BLOCK)
    return jax.lax.map(hash_block, blocks).ravel()[:count].reshape(shape)


IMPLEMENTATION = extended.define_prng_impl(
    key_shape=_jax.key_shape,
    seed=_jax.seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=lambda key, data: jnp.stack(_hash(key, jnp.asarray(data, jnp.uint32))),
    name="jaxstudies_threefry2x32",
    tag="fry",
)


def key(seed: int | jax.Array) -> jax.Array:
    """Return the random key of a seed; it gives the same numbers as `jax.random.key(seed)`."""
    return jax.random.key(seed, impl=IMPLEMENTATION)
