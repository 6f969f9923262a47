"""Batch norm agrees with Flax's, in value, averages and gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstudies.networks.normalization import BatchNorm, moments, normalize

EPS = float(np.finfo(np.float32).eps)
EPSILON = 1e-3


def examples(key=0, shape=(3, 5, 5, 16)):
    return jax.random.normal(jax.random.key(key), shape) * 2.0 + 1.0


def test_batch_norm_is_flax_batch_norm():
    z = examples()
    ours, theirs = BatchNorm(0.9, EPSILON), nn.BatchNorm(momentum=0.9, epsilon=EPSILON, axis=0)
    state = ours.init(jax.random.key(0), z, True)
    their_state = theirs.init(jax.random.key(0), z, use_running_average=False)
    np.testing.assert_array_equal(state["batch_stats"]["var"], jnp.ones(3))  # not moved by init
    a, moved = ours.apply(state, z, True, mutable=["batch_stats"])
    b, their_moved = theirs.apply(their_state, z, use_running_average=False, mutable=["batch_stats"])
    np.testing.assert_allclose(a, b, atol=100 * EPS)
    for name in ("mean", "var"):
        np.testing.assert_allclose(moved["batch_stats"][name], their_moved["batch_stats"][name], atol=100 * EPS)
    a = ours.apply({**state, **moved}, z, False)
    b = theirs.apply({**their_state, **their_moved}, z, use_running_average=True)
    np.testing.assert_allclose(a, b, atol=100 * EPS)


def plain(z, scale, bias, epsilon):
    """Normalize as the formula says, for JAX to differentiate."""
    centered = z - z.mean(axis=1, keepdims=True)
    deviation = jnp.sqrt((centered**2).mean(axis=1, keepdims=True) + epsilon)
    return scale[:, None] * centered / deviation + bias[:, None]


@pytest.mark.parametrize("mapped", [False, True], ids=["one", "mapped"])
def test_the_gradient_is_that_of_the_formula(mapped):
    shape = (4, 3, 50) if mapped else (3, 50)
    keys = jax.random.split(jax.random.key(1), 4)
    z = examples(2, shape)
    scale, bias = (1.0 + 0.3 * jax.random.normal(k, shape[:-1]) for k in keys[:2])
    cotangent = jax.random.normal(keys[2], shape)

    def gradients(function):
        def objective(z, scale, bias, epsilon, cotangent):
            return jnp.sum(function(z, scale, bias, epsilon) * cotangent)

        grad = jax.grad(objective, argnums=(0, 1, 2, 3))
        if mapped:
            grad = jax.vmap(grad, in_axes=(0, 0, 0, None, 0))
        return jax.jit(grad)(z, scale, bias, jnp.float32(EPSILON), cotangent)

    # Sums of 50 products of numbers up to 10 or so.
    for ours, theirs in zip(gradients(normalize), gradients(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=50 * 10 * EPS)


def test_products_are_in_full_precision_on_any_device():
    one = jnp.ones(3)
    z = examples(0, (3, 8))
    gradient = jax.grad(lambda z: jnp.sum(normalize(z, one, one, EPSILON) ** 2))
    text = str(jax.make_jaxpr(gradient)(z))
    assert text.count("dot_general") == text.count("precision=(Precision.HIGHEST") == 2


def test_a_constant_feature_stays_finite():
    z = jnp.full((1, 8), 3.0)
    one = jnp.ones(1)
    np.testing.assert_array_equal(moments(z)[1], 0.0)
    np.testing.assert_allclose(normalize(z, one, 2 * one, EPSILON), 2.0, atol=100 * EPS / EPSILON)
    gradient = jax.grad(lambda z: jnp.sum(normalize(z, one, one, EPSILON) ** 2))(z)
    assert np.isfinite(gradient).all()
