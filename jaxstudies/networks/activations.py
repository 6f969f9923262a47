"""Elementwise activations by name, for JAX and for NumPy."""

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

ActivationName = Literal[
    "tanh",
    "sigmoid",
    "relu",
    "leaky_relu",
    "elu",
    "celu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "soft_sign",
    "relu6",
    "hard_tanh",
    "hard_sigmoid",
    "hard_silu",
    "log_sigmoid",
]
"""Elementwise activations, by their names in Flax."""

Activation = Callable[[jax.Array], jax.Array]


def activation_named(name: str) -> Activation:
    """Return Flax's elementwise function of that name."""
    return getattr(nn, name)


def with_slope(activation: Activation, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return an activation and its derivative at z."""
    return jax.jvp(activation, (z,), (jnp.ones_like(z),))


def on_arrays(name: str) -> tuple[Callable[[ArrayLike], np.ndarray], Callable[[ArrayLike], np.ndarray]]:
    """Return an activation and its derivative as functions of NumPy arrays."""
    function = activation_named(name)

    def value(z: ArrayLike) -> np.ndarray:
        return np.asarray(function(jnp.asarray(z, jnp.float32)), float)

    def derivative(z: ArrayLike) -> np.ndarray:
        return np.asarray(with_slope(function, jnp.asarray(z, jnp.float32))[1], float)

    return value, derivative
