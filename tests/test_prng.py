"""The engine's random numbers are JAX's, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstudies.engine import prng

SIZES = [(), (0,), (1,), (12,), (3, 7), (prng.BLOCK,), (50, 60), (prng.SMALL,), (prng.SMALL + 1,)]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_keys_follow_from_one_another_as_in_jax(seed):
    ours, theirs = prng.key(seed), jax.random.key(seed)
    for data in (0, 7, 2**32 - 1):
        a, b = (jax.random.fold_in(key, np.uint32(data)) for key in (ours, theirs))
        np.testing.assert_array_equal(jax.random.key_data(a), jax.random.key_data(b))
    for shape in (1, 3, (2, 5)):
        a, b = (jax.random.split(key, shape) for key in (ours, theirs))
        np.testing.assert_array_equal(jax.random.key_data(a), jax.random.key_data(b))


@pytest.mark.parametrize("shape", SIZES)
def test_draws_are_those_of_jax(shape):
    ours, theirs = (jax.random.fold_in(key(3), 5) for key in (prng.key, jax.random.key))
    for dtype in (jnp.uint8, jnp.uint16, jnp.uint32):
        a, b = (jax.random.bits(key, shape, dtype) for key in (ours, theirs))
        np.testing.assert_array_equal(a, b)
    for draw in (jax.random.uniform, jax.random.normal):
        np.testing.assert_array_equal(draw(ours, shape), draw(theirs, shape))


def test_mapped_and_compiled_draws_are_the_same():
    def draw(key):
        return jax.random.uniform(jax.random.split(key)[1], (30,))

    keys = jax.random.split(prng.key(0), 5)
    mapped = jax.jit(jax.vmap(draw))(keys)
    for i in range(5):
        np.testing.assert_array_equal(mapped[i], draw(jax.random.split(jax.random.key(0), 5)[i]))
