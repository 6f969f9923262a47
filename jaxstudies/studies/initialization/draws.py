"""How networks are drawn: matrices that all settings of a kind share on a seed, times scales by layer."""

# So settings are compared on the same draws, and the largest product is computed once for each kind.

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key

from jaxstudies.networks.activations import Activation
from jaxstudies.networks.models import Layer, orthonormalize

NUM_PIXELS, NUM_CLASSES = 784, 10
DRAWS = ("normal", "truncated", "uniform", "orthogonal")
TRUNCATED_DEVIATION = 0.87962566103423978
"""Standard deviation of N(0, 1) truncated at +-2."""


class Matrices(NamedTuple):
    """Matrices (inputs, outputs) of the first, the hidden (stacked) and the last layers."""

    first: Float[Array, "*draws pixels width"]
    hidden: Float[Array, "*draws layers width width"]
    last: Float[Array, "*draws width classes"]


class Networks(NamedTuple):
    """A network: first, hidden (stacked) and last layers."""

    first: Layer
    hidden: Layer
    last: Layer


Scales = Sequence[Float[Array, "..."]]
"""What multiplies the weights of the first, the hidden (one for all, or one each) and the last layers."""


def weight_scale(init: str, sigma: float, inputs: int, outputs: int) -> float:
    """Return the standard deviation of a weight, or of all of an orthogonal layer's, from which `lsuv` starts."""
    if init == "normal":
        return sigma
    if init in ("orthogonal", "lsuv"):
        return max(inputs, outputs) ** -0.5
    variances = {"glorot": 2 / (inputs + outputs), "he": 2 / inputs, "lecun": 1 / inputs}
    return variances[init.split("_")[0]] ** 0.5


def layer_scales(init: str, sigma: float, width: int) -> list[float]:
    """Return the standard deviations of a weight in the first, a hidden and the last layer."""
    sizes = (NUM_PIXELS, width), (width, width), (width, NUM_CLASSES)
    return [weight_scale(init, sigma, *size) for size in sizes]


def draw_of(init: str) -> str:
    """Return which of `DRAWS` an initialization scales."""
    kind = "orthogonal" if init == "lsuv" else init.split("_")[-1]
    return "truncated" if init != "normal" and kind == "normal" else kind


def draw_matrices(key: Key[Array, ""], num_hidden: int, width: int, draws: tuple[str, ...] = DRAWS) -> Matrices:
    """Draw each layer's matrix once in each kind of draw, with weights of variance 1.

    The orthogonal matrices are made of the normal ones. The entries of all layers are drawn at
    once, which compiles in a third of the time.
    """
    shapes = (NUM_PIXELS, width), (num_hidden, width, width), (width, NUM_CLASSES)
    flat, cut = ravel_pytree(Matrices(*map(jnp.zeros, shapes)))
    keys, size = jax.random.split(key, 3), flat.shape
    normal = cut(jax.random.normal(keys[0], size))

    def draw(kind):
        if kind == "truncated":
            return cut(jax.random.truncated_normal(keys[1], -2.0, 2.0, size) / TRUNCATED_DEVIATION)
        if kind == "uniform":
            return cut(jax.random.uniform(keys[2], size, minval=-(3**0.5), maxval=3**0.5))
        if kind == "normal":
            return normal
        matrices = orthonormalize(normal.first), jax.vmap(orthonormalize)(normal.hidden), orthonormalize(normal.last)
        return Matrices(*(max(matrix.shape[-2:]) ** 0.5 * matrix for matrix in matrices))

    return jax.tree.map(lambda *kinds: jnp.stack(kinds), *map(draw, draws))


def lsuv_scales(
    matrices: Matrices, inputs: Float[Array, "images pixels"], activation: Activation, linear_first_layer: bool
) -> Scales:
    """Return scales that give each layer's pre-activations variance 1 (Mishkin and Matas 2016, arXiv 1511.06422)."""
    z = matrices.first.T @ inputs.T
    first = 1 / z.std()
    h = z * first if linear_first_layer else activation(z * first)

    def adapt(h, kernel):
        z = kernel.T @ h
        return activation(z / z.std()), 1 / z.std()

    h, hidden = jax.lax.scan(adapt, h, matrices.hidden)
    return first, hidden, 1 / (matrices.last.T @ h).std()


def build(drawn: Matrices, draw: Int[Array, ""], scales: Scales) -> Networks:
    """Return the network of one of the kinds of draws, scaled; biases are zero."""

    def layer(kernels, scale):
        kernel = kernels[draw] * jnp.broadcast_to(scale, kernels.shape[1:-2])[..., None, None]
        return Layer(kernel, jnp.zeros((*kernel.shape[:-2], kernel.shape[-1])))

    return Networks(*map(layer, drawn, scales))
