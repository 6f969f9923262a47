"""Networks as Flax Linen modules, and the initializations of their layers.

Inside, features come first and examples last: of mapped tiny networks compilers vectorize that contiguous, long axis.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxstudies.networks.activations import Activation
from jaxstudies.networks.names import InitializerName
from jaxstudies.networks.normalization import BatchNorm

SCAN_UNROLL = 10  # hidden layers per iteration of the scan in training: half the time; more only compile longer


class Layer(NamedTuple):
    """An affine layer: `kernel` (inputs, outputs) and `bias` (outputs,); stacked, (layers, ...)."""

    kernel: Float[Array, "*layers inputs outputs"]
    bias: Float[Array, "*layers outputs"]


Initializer = Callable[[jax.Array, int, int], Layer]
"""Draws a layer from a key, its number of inputs and its number of outputs."""


def zero_bias(kernel_init: Callable, key: jax.Array, inputs: int, outputs: int) -> Layer:
    """Draw the kernel from one of `jax.nn.initializers` and set the bias to zero."""
    return Layer(kernel_init(key, (inputs, outputs), jnp.float32), jnp.zeros(outputs))


def orthonormalize(matrix: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """Return orthonormal columns, or rows of a wide matrix, that span the same space (Gram and Schmidt, twice)."""
    # LAPACK, as in `jax.nn.initializers`, comes to a standstill when mapped over layers on several CPU devices.
    tall = matrix.shape[0] >= matrix.shape[1]
    vectors = matrix.T if tall else matrix

    def add_row(rows, i):
        v = vectors[i]
        for _ in range(2):
            v = v - (rows @ v) @ rows
        return rows.at[i].set(v / jnp.sqrt(jnp.sum(v**2))), None

    rows, _ = jax.lax.scan(add_row, jnp.zeros_like(vectors), jnp.arange(len(vectors)))
    return rows.T if tall else rows


def pytorch_default(key: jax.Array, inputs: int, outputs: int) -> Layer:
    """Draw kernel and bias uniformly from +-1 / sqrt(inputs), as `torch.nn.Linear` does."""
    kernel_key, bias_key = jax.random.split(key)
    draw = partial(jax.random.uniform, minval=-(inputs**-0.5), maxval=inputs**-0.5)
    return Layer(draw(kernel_key, (inputs, outputs)), draw(bias_key, (outputs,)))


def keras_uniform(key: jax.Array, shape: tuple[int, ...], dtype: type) -> jax.Array:
    """Draw from -0.05 to 0.05, which is Keras' `RandomUniform` unless it is told otherwise."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


def rai(key: jax.Array, inputs: int, outputs: int) -> Layer:
    """Draw a layer by randomized asymmetric initialization (Lu et al. 2020, arXiv 1903.06733)."""
    # A unit's weights and bias are N(0, 0.6007^2 / inputs), but for one, chosen uniformly, that is Beta(2, 1).
    normal_key, entry_key, beta_key = jax.random.split(key, 3)
    weights = 0.6007 * inputs**-0.5 * jax.random.normal(normal_key, (inputs + 1, outputs))
    entry = jax.random.randint(entry_key, (1, outputs), 0, inputs + 1)
    beta = jnp.sqrt(jax.random.uniform(beta_key, (1, outputs)))  # its distribution function is x^2
    weights = jnp.where(jnp.arange(inputs + 1)[:, None] == entry, beta, weights)
    return Layer(weights[:-1], weights[-1])


def initializer(name: InitializerName, std: float = 1.0) -> Initializer:
    """Return the initializer of that name; `normal`, of standard deviation `std`, is not truncated.

    Args:
        name: Such as `he_normal`, `glorot_uniform`, `orthogonal`; those of `jax.nn.initializers` and some more.
            `keras_normal` and `keras_uniform` are Keras' RandomNormal and RandomUniform with their own defaults, 0.05.
        std: Standard deviation of the weights of `normal`.

    Returns:
        A function of a key and the numbers of inputs and outputs, which draws a layer with a bias.

    Raises:
        ValueError: The name is not known.

    Examples:
        >>> import jax
        >>> from jaxstudies import initializer
        >>> layer = initializer("he_normal")(jax.random.key(0), 3, 5)
        >>> layer.kernel.shape, layer.bias.shape
        ((3, 5), (5,))
    """
    if name not in get_args(InitializerName):
        raise ValueError(f"initializer {name!r}: one of {', '.join(get_args(InitializerName))}")
    # Of normal entries `orthonormalize` makes a uniform draw.
    orthogonal = partial(zero_bias, lambda key, shape, dtype: orthonormalize(jax.random.normal(key, shape, dtype)))
    own = {"pytorch_default": pytorch_default, "orthogonal": orthogonal, "rai": rai}
    own |= {"keras_normal": partial(zero_bias, jax.nn.initializers.normal(0.05))}
    own |= {"keras_uniform": partial(zero_bias, keras_uniform)}
    if name in own:
        return own[name]
    kernel_init = getattr(jax.nn.initializers, name)
    return partial(zero_bias, kernel_init(std) if name == "normal" else kernel_init())


def switch(initializers: Sequence[Initializer], index: int | jax.Array) -> Initializer:
    """Return the initializer at an index that may be traced: many, one compiled program."""
    return lambda key, *shape: jax.lax.switch(index, [lambda key, f=f: f(key, *shape) for f in initializers], key)


def leaky_relu(negative_slope: float | jax.Array, z: jax.Array) -> jax.Array:
    """Return z where it is positive, else `negative_slope` * z, also in the derivative at 0; 0 gives ReLU."""
    # The slope may be traced: ReLU and Leaky ReLU then share a compiled program.
    return jnp.where(z > 0, z, negative_slope * z)


def weights(layer: Layer) -> Float[Array, "*layers outputs inputs_and_one"]:
    """Return kernel and bias as one matrix, the bias being the weight of an input that is 1."""
    # Its gradient needs no reduction of its own then, which halves a step's time for networks of a few units.
    return jnp.concatenate([layer.kernel, layer.bias[..., None, :]], axis=-2).mT


def affine(weights: Float[Array, "outputs _"], h: Float[Array, "inputs batch"]) -> Float[Array, "outputs batch"]:
    """Apply a layer's weights."""
    return weights @ jnp.concatenate([h, jnp.ones_like(h[:1])])


class MLP(nn.Module):
    """Map (batch, inputs) to (batch, outputs) through hidden layers of equal width.

    The hidden layers from the second on are stacked and scanned; `diagnostics.probe` looks inside.

    Attributes:
        depth: Number of hidden layers with an activation, at least 1.
        width: Units per hidden layer.
        num_outputs: Number of linear outputs.
        activation: A function of arrays, as `jnp.tanh`.
        init_layer: Draws a layer, see `initializer`.
        linear_first_layer: Whether a layer of `width` units without activation stands first.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxstudies import MLP, initializer
        >>> model = MLP(2, 8, 1, jax.nn.relu, initializer("he_normal"))
        >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 3)))
        >>> model.apply(variables, jnp.ones((5, 3))).shape
        (5, 1)
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
        keys, draw, width = jax.random.split(key, self.depth + 2), self.init_layer, self.width
        layers = {
            "first": draw(keys[0], width if self.linear_first_layer else num_inputs, width),
            "hidden": jax.vmap(lambda key: draw(key, width, width))(keys[3:]),
            "last": draw(keys[1], width, self.num_outputs),
        }
        return layers | ({"linear": draw(keys[2], num_inputs, width)} if self.linear_first_layer else {})


def fourier_features(frequencies: Float[Array, "features inputs"], h: Float[Array, "inputs n"]) -> Float[Array, "_ n"]:
    """Return sine and cosine of each frequency (Tancik et al. 2020, arXiv 2006.10739)."""
    phase = frequencies @ h
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)])


class FeedForward(nn.Module):
    """Map (batch, inputs) to (batch, outputs) through hidden layers of differing widths.

    Attributes:
        batch_norm: Whether hidden layers are normalized before their activation; their bias is not added then.
        features: Fixed map of the inputs, features first, that goes before the first layer.
        residual: Share of a hidden layer's activations that is added to what enters it, where both are as wide; by
            default they take its place.
    """

    widths: tuple[int, ...]
    num_outputs: int
    activation: Activation
    init_layer: Initializer
    batch_norm: bool = False
    features: Callable[[jax.Array], jax.Array] | None = None
    residual: float | None = None

    @nn.compact
    def __call__(self, inputs: Float[Array, "batch inputs"], train: bool = False) -> Float[Array, "batch outputs"]:
        """Return the outputs; in training, batch norm uses the batch and updates its averages."""
        h = inputs.T if self.features is None else self.features(inputs.T)
        for i, width in enumerate(self.widths):
            layer = self.param(f"layer_{i}", self.init_layer, h.shape[0], width)
            z = layer.kernel.T @ h
            # The averages must be those of the last epoch or so, not of all training.
            norm = BatchNorm(momentum=0.9, epsilon=1e-5, name=f"norm_{i}") if self.batch_norm else None
            out = self.activation(norm(z, train) if norm else z + layer.bias[:, None])
            h = out if self.residual is None or h.shape != out.shape else h + self.residual * out
        last = self.param("last", self.init_layer, h.shape[0], self.num_outputs)
        return (last.kernel.T @ h + last.bias[:, None]).T
