"""Networks padded to a wider shape, a room, that several may share: their first parameters."""

# The further units have no weights, in or out, and no bias. Their outputs are 0, as is every gradient there, so that
# they stay as they are; only the initialization and the learning rate know the true shape, and they are data.

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from jaxstudies.engine import prng
from jaxstudies.networks.models import Layer
from jaxstudies.studies.depth_width.config import Config, Kind

Widths = Sequence[int | Int[Array, ""]]
"""Widths of the hidden layers, which may be traced."""


def make_bounds(config: Config, kind: Kind, widths: Widths) -> dict[str, Layer]:
    """Return what the initial weights and biases are uniform within, 0 where there is padding.

    By PyTorch's default that is +-1 / sqrt(fan-in). With sines it is He's +-sqrt(6 / fan-in) and no
    bias, but in a first layer that sees the points themselves +-30 / fan-in, and biases over a
    period (Sitzmann et al. 2020, arXiv 2006.09661).

    Biases are random: with zero biases every kink of the first layer starts on a line through the
    origin, and shallow networks hardly leave that.
    """
    waves, room = kind.features == "fourier", kind.widths
    num_inputs = 2 * config.num_features if waves else 2
    layers = {}
    sizes = zip(pairwise((num_inputs, *widths, 1)), pairwise((num_inputs, *room, 1)), strict=True)
    for i, ((fan_in, outputs), (rows, columns)) in enumerate(sizes):
        kernel = bias = 1 / jnp.sqrt(fan_in)
        if kind.activation == "sine":
            kernel, bias = (jnp.sqrt(6 / fan_in), 0.0) if i or waves else (30 / fan_in, np.pi)
        row, column = jnp.arange(rows) < fan_in, jnp.arange(columns) < outputs
        name, inside = "last" if i == len(room) else f"layer_{i}", row[:, None] & column[None]
        layers[name] = Layer(jnp.where(inside, kernel, 0.0), jnp.where(column, bias, 0.0))
    return layers


def draw_layers(key: Key[Array, ""], bounds: dict[str, Layer]) -> dict[str, Layer]:
    """Draw parameters uniformly within +-bounds.

    Each number depends on the key and on its layer, row and column alone, so that padding changes
    none of them.
    """
    leaves, tree = jax.tree.flatten(bounds)
    places = []
    for i, leaf in enumerate(leaves):
        column = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, leaf.ndim - 1)
        row = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, 0) if leaf.ndim > 1 else 0 * column
        places.append((row.ravel() + np.uint32(i << 24), column.ravel()))
    high, low = (jnp.concatenate(words) for words in zip(*places, strict=True))
    bits = prng.threefry_2x32(jax.random.key_data(key), (high, low))[0]
    # 24 bits, which float32 holds exactly.
    uniform = (bits >> 8).astype(jnp.float32) * 2.0**-23 - 1
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    drawn = [u.reshape(b.shape) * b for u, b in zip(jnp.split(uniform, ends), leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)
