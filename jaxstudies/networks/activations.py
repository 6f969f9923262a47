"""Elementwise activations by name, for JAX and for NumPy."""

from collections.abc import Callable
from functools import partial
from typing import get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxstudies.networks.names import ActivationName

Activation = Callable[[jax.Array], jax.Array]
ArrayFunction = Callable[[ArrayLike], np.ndarray]


def activation_named(name: str) -> Activation:
    """Return Flax's elementwise function of that name; raise ValueError if it is none of `ActivationName`."""
    if name not in get_args(ActivationName):
        raise ValueError(f"activation {name!r}: one of {', '.join(get_args(ActivationName))}")
    return getattr(nn, name)


def with_slope(activation: Activation, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return an activation and its derivative at z."""
    return jax.jvp(activation, (z,), (jnp.ones_like(z),))


def on_arrays(name: str) -> tuple[ArrayFunction, ArrayFunction]:
    """Return an activation and its derivative as functions of NumPy arrays."""

    def one_of_both(which: int, z: ArrayLike) -> np.ndarray:
        return np.asarray(with_slope(activation_named(name), jnp.asarray(z, jnp.float32))[which], float)

    return partial(one_of_both, 0), partial(one_of_both, 1)
