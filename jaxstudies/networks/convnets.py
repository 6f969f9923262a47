"""LeNet-5 as a Flax Linen module, with a convolution that stays fast when networks are mapped.

Features come first and examples last, as in `models`.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Num

from jaxstudies.networks.names import DropoutPosition
from jaxstudies.networks.normalization import BatchNorm

HIDDEN_LAYERS = {"conv1": 6, "conv2": 16, "dense1": 120, "dense2": 84}
"""Maps or units of each hidden layer."""
BEHIND: dict[DropoutPosition, tuple[str, ...]] = {
    "activation": ("conv1", "conv2", "dense1", "dense2"),
    "pooled": ("conv1 pooled", "conv2 pooled", "dense1", "dense2"),
    "dense": ("dense1", "dense2"),
    "last": ("dense2",),
}
"""Behind what activations are dropped."""
Maps = Float[Array, "channels rows columns batch"]
Tiled = Float[Array, "channels width rows tiles batch"]
"""Maps whose columns are cut into tiles: column `i` of tile `j` is column `width * j + i`."""


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def patches(h: Maps, size: int) -> Float[Array, "channels width size new_rows tiles batch"]:
    """Return what `size - 1` neighboring outputs of a row see: patches of `size` rows and twice as many columns.

    Axis 1 runs over a patch's columns, axis 2 over its rows. Columns of `h` are a multiple of `size - 1`.
    """
    # A patch for several outputs repeats fewer numbers than one for each, and in slabs, nearly all contiguous.
    channels, rows, _, batch = h.shape
    blocks = h.reshape(channels, rows, -1, size - 1, batch).transpose(0, 3, 1, 2, 4)
    pairs = jnp.concatenate([blocks[:, :, :, :-1], blocks[:, :, :, 1:]], axis=1)
    return jnp.stack([pairs[:, :, i : i + rows - size + 1] for i in range(size)], axis=2)


def _patches_backward(size, _, cotangent):
    # Added into slices in place, rather than the sum of padded arrays that JAX derives.
    channels, width, _, rows, tiles, batch = cotangent.shape
    pairs = jnp.zeros((channels, width, rows + size - 1, tiles, batch), cotangent.dtype)
    for i in range(size):
        update = pairs[:, :, i : i + rows] + cotangent[:, :, i]
        pairs = jax.lax.dynamic_update_slice(pairs, update, (0, 0, i, 0, 0))
    left, right = (((0, 0),) * 3 + (ends, (0, 0)) for ends in ((0, 1), (1, 0)))
    blocks = jnp.pad(pairs[:, : size - 1], left) + jnp.pad(pairs[:, size - 1 :], right)
    return (blocks.transpose(0, 2, 3, 1, 4).reshape(channels, rows + size - 1, -1, batch),)


patches.defvjp(lambda h, size: (patches(h, size), None), _patches_backward)


@jax.custom_vjp
def product(kernel: Float[Array, "outputs inputs"], h: Float[Array, "inputs n"]) -> Float[Array, "outputs n"]:
    """Return kernel @ h, with a gradient whose long, thin product is laid out for the CPU."""
    return kernel @ h


def _product_backward(saved, cotangent):
    kernel, h = saved
    return (h @ cotangent.T).T, kernel.T @ cotangent


product.defvjp(lambda kernel, h: (kernel @ h, (kernel, h)), _product_backward)


def convolve(
    kernel: Float[Array, "size size channels outputs"], h: Maps
) -> Float[Array, "outputs width new_rows tiles batch"]:
    """Convolve without padding, into tiles of `size - 1` columns; the kernel is laid out as that of `flax.linen.Conv`.

    Columns of `h` are a multiple of `size - 1`.
    """
    # Mapped over networks, XLA's own convolution becomes a grouped one, which is slow on a CPU.
    # The kernel at each place that it takes in a patch makes them less thin, for 8/5 of the arithmetic.
    size, *_, outputs = kernel.shape
    gathered = jnp.asarray(patches(h, size))
    *seen, rows, tiles, batch = gathered.shape
    turned = kernel.transpose(3, 2, 1, 0)
    shifts = [jnp.pad(turned, ((0, 0), (0, 0), (j, size - 2 - j), (0, 0))) for j in range(size - 1)]
    flat = jnp.stack(shifts, axis=1).reshape(outputs * (size - 1), -1)
    return product(flat, gathered.reshape(math.prod(seen), -1)).reshape(outputs, size - 1, rows, tiles, batch)


def untiled(h: Tiled) -> Maps:
    """Return maps with their columns in order."""
    channels, _, rows, _, batch = h.shape
    return h.transpose(0, 2, 3, 1, 4).reshape(channels, rows, -1, batch)


def average_pool(h: Tiled) -> Float[Array, "channels half_rows half_columns batch"]:
    """Return the means over windows of 2 x 2."""
    # Put in order only now that they are a quarter: to put them in order before would be a pass over all of them.
    channels, width, rows, tiles, batch = h.shape
    return untiled(h.reshape(channels, width // 2, 2, rows // 2, 2, tiles, batch).mean(axis=(2, 4)))


def dropout(key: Key[Array, ""], h: Float[Array, "*shape"], rate: float | Float[Array, ""]) -> Float[Array, "*shape"]:
    """Set a share `rate` of the entries, met to 1 in 130,000, to 0 and divide the others by 1 - `rate`."""
    # Each decision takes 16 random bits, which halves the cost.
    bits = jax.random.bits(key, (-(-h.size // 2),)).view(jnp.uint16)[: h.size].astype(jnp.int32)
    keep = bits >= jnp.round(rate * 2**16).astype(jnp.int32)
    return jnp.where(keep.reshape(h.shape), h / (1 - rate), 0.0)


class Affine(nn.Module):
    """Apply a 5 x 5 convolution to (channels, rows, columns, batch), a dense layer to (inputs, batch)."""

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, h: Float[Array, "inputs ..."]) -> Float[Array, "outputs ..."]:
        """Return the layer's outputs."""
        shape = (*((5, 5) if h.ndim == 4 else ()), h.shape[0], self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        z = convolve(kernel, h) if h.ndim == 4 else product(kernel.T, h)
        if not self.use_bias:
            return z
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return z + jnp.expand_dims(bias, range(1, z.ndim))


class LeNet5(nn.Module):
    """Map images, (batch, 784) with 28 x 28 pixels, to the logits of ten classes.

    Two convolutions, each with sigmoid and average pool, then two dense layers with sigmoid, and the output. Batch
    norm stands before each sigmoid, in place of the bias. Each hidden layer sows `preactivations` (before any batch
    norm) and `activations` (what the next layer gets) in `intermediates`.

    Attributes:
        input_batch_norm: Whether the input has batch norm: one feature, over all pixels. May be traced.
        dropout_position: Behind each sigmoid, before pooling (`activation`), behind each pooling
            (`pooled`), in the dense layers alone (`dense`), or behind the last one (`last`). From the
            input a share is dropped wherever that is, unless its rate is 0.
    """

    batch_norm: bool = False
    input_batch_norm: bool | Array = False
    use_dropout: bool = False
    dropout_position: DropoutPosition = "activation"
    input_rate: float | Array = 0.2
    hidden_rate: float | Array = 0.5
    momentum: float | Array = 0.99
    epsilon: float | Array = 1e-3

    @nn.compact
    def __call__(
        self, inputs: Num[Array, "batch 784"], train: bool = False, batch_statistics: bool | None = None
    ) -> Float[Array, "batch 10"]:
        """Return the logits, in training with dropout; `batch_statistics` of batch norm are by default as `train`."""
        if self.dropout_position not in BEHIND:
            raise ValueError(f"dropout_position {self.dropout_position!r}: one of {', '.join(BEHIND)}")
        use_batch = train if batch_statistics is None else batch_statistics
        norm = partial(BatchNorm, self.momentum, self.epsilon)

        def drop(h, rate, here=True):
            return dropout(self.make_rng("dropout"), h, rate) if self.use_dropout and train and here else h

        behind = BEHIND[self.dropout_position]

        h = inputs.T.reshape(1, 28, 28, -1)
        if self.input_batch_norm is not False:
            h = jnp.where(self.input_batch_norm, norm(name="input_norm")(h, use_batch), h)
        h = drop(h, self.input_rate, not isinstance(self.input_rate, float) or self.input_rate > 0)
        for name, features in HIDDEN_LAYERS.items():
            convolutional = name.startswith("conv")
            h = h if convolutional else h.reshape(-1, h.shape[-1])
            z = Affine(features, use_bias=not self.batch_norm, name=name)(h)
            self.sow("intermediates", "preactivations", z)
            if self.batch_norm:
                z = norm(name=f"{name}_norm")(z, use_batch)
            h = drop(nn.sigmoid(z), self.hidden_rate, name in behind)
            if convolutional:
                h = drop(average_pool(h), self.hidden_rate, f"{name} pooled" in behind)
            self.sow("intermediates", "activations", h)
        return Affine(10, name="output")(h).T
