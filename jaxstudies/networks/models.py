"""Networks as Flax Linen modules, and the initializations of their layers.

Inside a network, features come first and examples last: with thousands of tiny networks mapped
side by side, the long example axis is then the contiguous one, which compilers vectorize.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxstudies.networks.activations import Activation
from jaxstudies.networks.normalization import BatchNorm

SCAN_UNROLL = 10
"""Hidden layers per iteration of the scan over them in training: unrolled, ten layers of width 2
train in half the time; more would only lengthen the compilation of deep networks."""


class Layer(NamedTuple):
    """An affine layer: `kernel` (inputs, outputs) and `bias` (outputs,); stacked, (layers, ...)."""

    kernel: Float[Array, "*layers inputs outputs"]
    bias: Float[Array, "*layers outputs"]


Initializer = Callable[[jax.Array, int, int], Layer]
"""Draws a layer from a key, its number of inputs and its number of outputs."""

InitializerName = Literal[
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "normal",
    "pytorch_default",
    "orthogonal",
    "rai",
]


def zero_bias(kernel_init: Callable, key: jax.Array, inputs: int, outputs: int) -> Layer:
    """Draw the kernel from one of `jax.nn.initializers` and set the bias to zero."""
    return Layer(kernel_init(key, (inputs, outputs), jnp.float32), jnp.zeros(outputs))


def orthonormalize(matrix: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """Return a matrix with orthonormal columns, or rows if it is wide, that span the same space.

    By Gram and Schmidt's method, twice for accuracy; of normal entries it makes a uniform draw. In
    `jax.nn.initializers`, LAPACK decomposes a matrix, which mapped over layers on several CPU
    devices at once comes to a standstill.
    """
    vectors = matrix.T if matrix.shape[0] >= matrix.shape[1] else matrix

    def add_row(rows, i):
        v = vectors[i]
        for _ in range(2):
            v = v - (rows @ v) @ rows
        return rows.at[i].set(v / jnp.sqrt(jnp.sum(v**2))), None

    rows, _ = jax.lax.scan(add_row, jnp.zeros_like(vectors), jnp.arange(len(vectors)))
    return rows.T if matrix.shape[0] >= matrix.shape[1] else rows


def orthogonal(key: jax.Array, inputs: int, outputs: int) -> Layer:
    """Draw the kernel uniformly among those with orthonormal columns, or rows if it is wide."""
    return Layer(orthonormalize(jax.random.normal(key, (inputs, outputs))), jnp.zeros(outputs))


def pytorch_default(key: jax.Array, inputs: int, outputs: int) -> Layer:
    """Draw kernel and bias uniformly from +-1 / sqrt(inputs), as `torch.nn.Linear` does."""
    bound = inputs**-0.5
    shapes = zip(jax.random.split(key), ((inputs, outputs), (outputs,)), strict=True)
    return Layer(*(jax.random.uniform(k, shape, minval=-bound, maxval=bound) for k, shape in shapes))


def rai(key: jax.Array, inputs: int, outputs: int) -> Layer:
    """Draw a layer by randomized asymmetric initialization (Lu et al. 2020, arXiv 1903.06733).

    A unit's weights and bias are N(0, 0.6007^2 / inputs), but one of them, chosen uniformly, is
    Beta(2, 1) and so positive.
    """
    normal_key, entry_key, beta_key = jax.random.split(key, 3)
    weights = 0.6007 * inputs**-0.5 * jax.random.normal(normal_key, (inputs + 1, outputs))
    entry = jax.random.randint(entry_key, (1, outputs), 0, inputs + 1)
    beta = jnp.sqrt(jax.random.uniform(beta_key, (1, outputs)))  # its distribution function is x^2
    weights = jnp.where(jnp.arange(inputs + 1)[:, None] == entry, beta, weights)
    return Layer(weights[:-1], weights[-1])


def initializer(name: InitializerName, std: float = 1.0) -> Initializer:
    """Return the initializer of that name.

    The normal ones of He, Glorot and LeCun are truncated at two standard deviations and rescaled,
    as in JAX and Keras; `normal` is not truncated, and `std` is its standard deviation.

    Raises:
        ValueError: The name is not known.
    """
    if name not in get_args(InitializerName):
        raise ValueError(f"initializer {name!r}: one of {', '.join(get_args(InitializerName))}")
    own = {"pytorch_default": pytorch_default, "orthogonal": orthogonal, "rai": rai}
    if name in own:
        return own[name]
    kernel_init = getattr(jax.nn.initializers, name)
    return partial(zero_bias, kernel_init(std) if name == "normal" else kernel_init())


def switch(initializers: Sequence[Initializer], index: int | jax.Array) -> Initializer:
    """Return the initializer at an index that may be traced: many, one compiled program."""

    def init_layer(key: jax.Array, inputs: int, outputs: int) -> Layer:
        return jax.lax.switch(index, [lambda key, f=f: f(key, inputs, outputs) for f in initializers], key)

    return init_layer


def leaky_relu(negative_slope: float | jax.Array, z: jax.Array) -> jax.Array:
    """Return z where it is positive, else `negative_slope` * z; a slope of 0 gives ReLU.

    The derivative at 0 is the negative slope, so that a ReLU unit fed with zeros is off. The slope
    may be a traced value: ReLU and Leaky ReLU then share one compiled program.
    """
    return jnp.where(z > 0, z, negative_slope * z)


def weights(layer: Layer) -> Float[Array, "*layers outputs inputs_and_one"]:
    """Return kernel and bias as one matrix, the bias being the weight of an input that is 1.

    The bias's gradient then falls out of the kernel's matrix product instead of a reduction for
    every layer, which halves the time of a step for networks of a few units.
    """
    return jnp.concatenate([layer.kernel, layer.bias[..., None, :]], axis=-2).mT


def affine(
    weights: Float[Array, "outputs inputs_and_one"], h: Float[Array, "inputs batch"]
) -> Float[Array, "outputs batch"]:
    """Apply a layer's weights."""
    return weights @ jnp.concatenate([h, jnp.ones_like(h[:1])])


class MLP(nn.Module):
    """Map (batch, inputs) to (batch, outputs) through hidden layers of equal width.

    The hidden layers from the second on are stacked and scanned; `diagnostics.probe` looks inside.

    Attributes:
        depth: Number of hidden layers with an activation, at least 1.
        width: Units per hidden layer.
        num_outputs: Number of linear outputs.
        linear_first_layer: Whether a layer of `width` units without activation stands first.
    """

    depth: int
    width: int
    num_outputs: int
    activation: Activation
    init_layer: Initializer
    linear_first_layer: bool = False

    @nn.compact
    def __call__(self, inputs: Float[Array, "batch inputs"], train: bool = False) -> Float[Array, "batch outputs"]:
        """Return the outputs; `train` makes no difference, as nothing here is random."""
        layers = self.param("layers", self.init_layers, inputs.shape[1])
        first, hidden, last = (weights(layers[name]) for name in ("first", "hidden", "last"))

        def step(h, layer):
            return self.activation(affine(layer, h)), None

        h = inputs.T
        if self.linear_first_layer:
            h = affine(weights(layers["linear"]), h)
        unroll = min(SCAN_UNROLL, max(self.depth - 1, 1)) if train else 1
        h, _ = jax.lax.scan(step, step(h, first)[0], hidden, unroll=unroll)
        return affine(last, h).T

    def init_layers(self, key: Key[Array, ""], num_inputs: int) -> dict[str, Layer]:
        """Draw all layers. The hidden layers of a shallower network are a prefix of a deeper's."""
        keys = jax.random.split(key, self.depth + 2)
        draw, width = self.init_layer, self.width
        layers = {
            "first": draw(keys[0], width if self.linear_first_layer else num_inputs, width),
            "hidden": jax.vmap(lambda key: draw(key, width, width))(keys[3:]),
            "last": draw(keys[1], width, self.num_outputs),
        }
        return layers | ({"linear": draw(keys[2], num_inputs, width)} if self.linear_first_layer else {})


def fourier_features(
    frequencies: Float[Array, "features inputs"], h: Float[Array, "inputs batch"]
) -> Float[Array, "features2 batch"]:
    """Return sine and cosine of each frequency (Tancik et al. 2020, arXiv 2006.10739)."""
    phase = frequencies @ h
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)])


class FeedForward(nn.Module):
    """Map (batch, inputs) to (batch, outputs) through hidden layers of differing widths.

    Attributes:
        widths: Units of each hidden layer, at least one layer.
        num_outputs: Number of linear outputs.
        batch_norm: Whether each hidden layer is normalized over the batch before its activation;
            for evaluation, by running averages. The layer's own bias, which that would subtract
            again, is a parameter all the same, but is not added.
        features: Fixed map of the inputs, features first, that goes before the first layer.
    """

    widths: tuple[int, ...]
    num_outputs: int
    activation: Activation
    init_layer: Initializer
    batch_norm: bool = False
    features: Callable[[jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(self, inputs: Float[Array, "batch inputs"], train: bool = False) -> Float[Array, "batch outputs"]:
        """Return the outputs; in training, batch norm uses the batch and updates its averages."""
        h = inputs.T if self.features is None else self.features(inputs.T)
        for i, width in enumerate(self.widths):
            layer = self.param(f"layer_{i}", self.init_layer, h.shape[0], width)
            h = layer.kernel.T @ h
            if self.batch_norm:
                # The averages must be those of the last epoch or so, not of all training.
                h = BatchNorm(momentum=0.9, epsilon=1e-5, name=f"norm_{i}")(h, train)
            else:
                h = h + layer.bias[:, None]
            h = self.activation(h)
        last = self.param("last", self.init_layer, h.shape[0], self.num_outputs)
        return (last.kernel.T @ h + last.bias[:, None]).T
