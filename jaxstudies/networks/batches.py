"""Which examples each step of an epoch takes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree


def random_order(key: Key[Array, ""], n: int) -> Int[Array, " n"]:
    """Return the numbers below n in a random order."""
    bits = jax.random.bits(key, (n,))
    digits = max(n - 1, 1).bit_length()
    if digits > 17:
        return jnp.argsort(bits)
    # Sorting random bits shuffles as well as jax.random.permutation, which sorts twice to break
    # ties. Pairs are sorted five times as slowly as numbers, so both are put into one number. That
    # leaves 15 random bits or more: the few examples that share theirs stay side by side, the
    # smaller index first.
    packed = (bits << digits) | jnp.arange(n, dtype=jnp.uint32)
    return (jnp.sort(packed) & np.uint32(2**digits - 1)).astype(jnp.int32)


def epoch_batches(key: Key[Array, ""], num_examples: int, batch_size: int) -> Int[Array, "steps batch"]:
    """Return the examples of each step of an epoch: whole batches, at least one.

    What does not fill a batch waits for another epoch's order. One batch of all examples needs no
    order.
    """
    size = min(batch_size, num_examples)
    if size == num_examples:
        return jnp.arange(num_examples)[None]
    order = random_order(key, num_examples)
    return order[: num_examples // size * size].reshape(-1, size)


def take(data: PyTree, examples: Int[Array, " batch"] | slice) -> PyTree:
    """Return some examples of arrays, of JAX or NumPy, whose first axis is that of examples."""
    return jax.tree.map(lambda a: jnp.asarray(a)[examples], data)
