"""How the networks of the initialization study are drawn: all settings of an activation at once.

A setting is a matrix of independent entries, which all settings of a kind share on a seed, times a
scale for each layer. So settings are compared on the same draws, and the largest product, of the
first layer, is computed once for each kind.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxstudies.models import Layer, orthonormalize

InitName = Literal[
    "normal", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal",
    "orthogonal", "lsuv",
]  # fmt: skip

LSUV_IMAGES = 1000
"""Images by which LSUV sets its scales."""
NUM_CLASSES = 10
DRAWS = ("normal", "truncated", "uniform", "orthogonal")


class Design(NamedTuple):
    """What tells the settings of an activation apart; all of it is data.

    `draw` is an index into the shape's draws, `scale` the standard deviation of a weight in the
    first, the hidden and the last layer, and `adapt` says whether LSUV sets the scales instead.
    """

    draw: Int[Array, " settings"]
    scale: Float[Array, "settings 3"]
    adapt: Bool[Array, " settings"]


class Networks(NamedTuple):
    """Networks of one shape, side by side: first, hidden (stacked) and last layers."""

    first: Layer
    hidden: Layer
    last: Layer


class Shape(NamedTuple):
    """What the program depends on, and the length of the training.

    `draws` are those of `DRAWS` that the settings need.
    """

    depth: int
    width: int
    linear_first_layer: bool
    num_images: int
    epochs: int
    optimizer: str
    learning_rate: float
    batch_size: int
    draws: tuple[str, ...] = DRAWS

    @property
    def num_hidden(self) -> int:
        """Layers between the first one and the logits."""
        return self.depth if self.linear_first_layer else self.depth - 1


def weight_scale(init: str, sigma: float, inputs: int, outputs: int) -> float:
    """Return the standard deviation of a weight, which for an orthogonal layer is of all of them.

    For `lsuv` it is that of the orthogonal layer it starts from.
    """
    if init == "normal":
        return sigma
    if init in ("orthogonal", "lsuv"):
        return max(inputs, outputs) ** -0.5
    rule = init.split("_")[0]
    variance = {"glorot": 2 / (inputs + outputs), "he": 2 / inputs, "lecun": 1 / inputs}[rule]
    return variance**0.5


def draw_of(init: str) -> str:
    """Return which of `DRAWS` an initialization scales."""
    kind = "orthogonal" if init == "lsuv" else init.split("_")[-1]
    return "truncated" if init != "normal" and kind == "normal" else kind


def draw_matrices(
    key: Key[Array, ""], num_inputs: int, shape: Shape
) -> tuple[Float[Array, "draws ..."], ...]:
    """Draw each layer's matrix once in each of the shape's draws, with weights of variance 1.

    The orthogonal matrices are made of the normal ones. The entries of all layers are drawn at
    once, which compiles in a third of the time.

    Returns:
        First, hidden and last matrices, (draws, inputs, outputs), the hidden ones stacked behind
        the draws.
    """
    width = shape.width
    shapes = ((num_inputs, width), (shape.num_hidden, width, width), (width, NUM_CLASSES))
    ends = np.cumsum([int(np.prod(s)) for s in shapes])

    def cut(flat):
        pieces = jnp.split(flat, [int(end) for end in ends[:-1]])
        return [piece.reshape(s) for piece, s in zip(pieces, shapes, strict=True)]

    keys = jax.random.split(key, 3)
    size = (int(ends[-1]),)
    spread = 0.87962566103423978  # standard deviation of N(0, 1) truncated at +-2
    normal = cut(jax.random.normal(keys[0], size))

    def draw(kind):
        if kind == "truncated":
            return cut(jax.random.truncated_normal(keys[1], -2.0, 2.0, size) / spread)
        if kind == "uniform":
            return cut(jax.random.uniform(keys[2], size, minval=-(3**0.5), maxval=3**0.5))
        if kind == "normal":
            return normal
        first, hidden, last = normal
        matrices = orthonormalize(first), jax.vmap(orthonormalize)(hidden), orthonormalize(last)
        return [max(matrix.shape[-2:]) ** 0.5 * matrix for matrix in matrices]

    return tuple(map(jnp.stack, zip(*map(draw, shape.draws), strict=True)))


def initialize(
    key: Key[Array, ""], design: Design, activation, shape: Shape, inputs: Float[Array, "n pixels"]
) -> tuple[Float[Array, "draws pixels width"], Networks]:
    """Draw the networks of all settings.

    Args:
        key: Random key of the seed.
        design: The settings.
        activation: Elementwise function.
        shape: The networks' shape.
        inputs: Images, by which LSUV sets its scales (Mishkin and Matas 2016): each layer's
            pre-activations have variance 1 over units and images.

    Returns:
        The first layer's matrices before scaling, and the networks.
    """
    first, hidden, last = draw_matrices(key, inputs.shape[1], shape)
    kind = shape.draws.index("orthogonal") if "orthogonal" in shape.draws else 0
    z = first[kind].T @ inputs.T
    first_adapted = 1 / z.std()
    z = z * first_adapted
    h = z if shape.linear_first_layer else activation(z)

    def adapt(h, kernel):
        z = kernel.T @ h
        return activation(z / z.std()), 1 / z.std()

    h, hidden_adapted = jax.lax.scan(adapt, h, hidden[kind])
    adapted = (first_adapted, hidden_adapted, 1 / (last[kind].T @ h).std())

    def build(draw, scale, adapts):
        def layer(drawn, i):
            factor = jnp.where(adapts, adapted[i], scale[i])
            kernel = drawn[draw]
            kernel = kernel * jnp.broadcast_to(factor, kernel.shape[:-2])[..., None, None]
            return Layer(kernel, jnp.zeros((*kernel.shape[:-2], kernel.shape[-1])))

        return Networks(layer(first, 0), layer(hidden, 1), layer(last, 2))

    return first, jax.vmap(build)(*design)
