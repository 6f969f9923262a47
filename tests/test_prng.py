"""Random numbers of the engine's programs are JAX's, to the bit, and compiled another way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstudies.engine import prng

SIZES = [(), (0,), (12,), (3, 7), (prng.BLOCK,), (50, 60), (prng.SMALL,), (prng.SMALL + 1,)]


def both(function, *arguments):
    """Compile a function as the engine does and as JAX does; return what both return."""
    traced = jax.jit(function).trace(*arguments)
    return prng.lower(traced, "cpu").compile()(*arguments), traced.lower().compile()(*arguments)


def words(tree):
    """Return arrays of keys as their words."""
    is_key = lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key)  # noqa: E731
    return jax.tree.map(lambda a: np.asarray(jax.random.key_data(a) if is_key(a) else a), tree)


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, words(found), words(expected))


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_keys_follow_from_one_another_as_in_jax(seed, implementation):
    def follow(key, data):
        several = jax.vmap(lambda d: jax.random.fold_in(key, d))(data)
        return jax.random.fold_in(key, data[0]), several, *(jax.random.split(key, shape) for shape in (1, 3, (2, 5)))

    key = jax.random.key(seed, impl=implementation)
    assert_same(*both(follow, key, jnp.array([0, 7, 2**32 - 1], jnp.uint32)))


def test_numbers_are_jax_s_in_its_older_layout_too():
    def drawn(key):
        first, second = jax.random.split(key)
        return jax.random.normal(first, (3,)), jax.random.bits(jax.random.fold_in(second, 4), (7,))

    with jax.threefry_partitionable(False):
        older = both(drawn, jax.random.key(0))
    assert_same(*older)
    assert not np.array_equal(older[0][0], both(drawn, jax.random.key(0))[0][0])


@pytest.mark.parametrize("shape", SIZES)
def test_draws_are_those_of_jax(shape):
    def draw(key):
        # Narrower bits are JAX's own, whatever the shape.
        dtypes = (jnp.uint8, jnp.uint16, jnp.uint32) if shape == (12,) else (jnp.uint32,)
        bits = [jax.random.bits(key, shape, dtype) for dtype in dtypes]
        return [*bits, jax.random.uniform(key, shape), jax.random.normal(key, shape)]

    assert_same(*both(draw, jax.random.fold_in(jax.random.key(3), 5)))


def test_mapped_draws_are_the_same():
    def draw(key):
        return jax.vmap(lambda k: jax.random.uniform(jax.random.split(k)[1], (30,)))(jax.random.split(key, 3))

    assert_same(*both(jax.vmap(draw), jax.random.split(jax.random.key(0), 5)))


def test_a_draw_is_a_loop_in_the_engine_s_programs():
    """By a parameter of JAX's that is not public: where it goes, programs compile slower and this says why."""
    traced = jax.jit(lambda key: jax.random.uniform(key, (30,))).trace(jax.random.key(0))
    ours, theirs = prng.lower(traced, "cpu").as_text(), traced.lower().as_text()
    assert "stablehlo.while" in ours and len(ours) != len(theirs)
