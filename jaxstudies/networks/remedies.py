"""Remedies for dying ReLU networks: in what a network with one differs, and how it is drawn."""

from functools import partial
from operator import itemgetter
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxstudies.networks.models import MLP, FeedForward, Layer, affine, initializer, leaky_relu, weights, zero_bias
from jaxstudies.networks.names import InitializerName


class Remedy(NamedTuple):
    """In what a network differs from ReLU layers with He's normal weights and biases of zero; by the name of it."""

    slope: float = 0.0
    bias: float = 0.0
    flipped: float = 0.0  # no truth value, so that all numbers share a launch
    activation: Literal["leaky_relu", "elu", "gelu"] = "leaky_relu"
    init: InitializerName = "he_normal"
    residual: bool = False
    batch_norm: bool = False
    widening: int = 1


REMEDIES = {"none": Remedy()} | {f"leaky_{slope:g}": Remedy(slope=slope) for slope in (0.001, 0.01, 0.1, 0.3)}
REMEDIES |= {"positive_bias": Remedy(bias=0.1), "sign_flips": Remedy(flipped=1.0)}
REMEDIES |= {"rai": Remedy(init="rai"), "orthogonal": Remedy(init="orthogonal")}
REMEDIES |= {"elu": Remedy(activation="elu"), "gelu": Remedy(activation="gelu")}
REMEDIES |= {"residual": Remedy(residual=True), "batch_norm": Remedy(batch_norm=True)}
REMEDIES |= {"double_width": Remedy(widening=2), "quadruple_width": Remedy(widening=4)}


def make_model(depth: int, width: int, remedy: Remedy, slope: jax.Array | float = 0.0) -> FeedForward:
    """Return a network with a remedy and its slope, which may be traced; its layers are drawn apart."""
    activation = {"leaky_relu": partial(leaky_relu, slope), "elu": nn.elu, "gelu": nn.gelu}[remedy.activation]
    widths, draw = (remedy.widening * width,) * depth, partial(zero_bias, jax.nn.initializers.zeros)
    # What ten layers add must not grow from layer to layer (Hanin and Rolnick 2018, arXiv 1803.01719).
    residual = 1 / depth if remedy.residual else None
    return FeedForward(widths, 1, activation, draw, batch_norm=remedy.batch_norm, residual=residual)


def draw_layers(key: Key[Array, ""], depth: int, width: int, remedy: Remedy) -> dict[str, Layer]:
    """Draw the layers of a network with a remedy, of one input: without one those of an `MLP`."""
    model = MLP(depth, remedy.widening * width, 1, nn.relu, initializer(remedy.init))
    return unstacked(dict(model.init(key, jnp.zeros((1, 1))))["params"]["layers"])


def unstacked(layers: dict[str, Layer]) -> dict[str, Layer]:
    """Return the layers of an `MLP`, without a linear one in front, by the names that `FeedForward` has for them."""
    hidden = [jax.tree.map(itemgetter(i), layers["hidden"]) for i in range(len(layers["hidden"].bias))]
    return {f"layer_{i}": layer for i, layer in enumerate([layers["first"], *hidden])} | {"last": layers["last"]}


def with_signs_flipped(layers: dict[str, Layer], inputs: Float[Array, "batch inputs"]) -> dict[str, Layer]:
    """Turn the signs of a hidden layer of ReLU units if that lets more examples through.

    Of k layers at least 1 in 2^k examples then come through (Rister and Rubin, arXiv 2007.06192).
    """
    h, flipped = inputs.T, dict(layers)
    for name in [f"layer_{i}" for i in range(len(layers) - 1)]:  # as a pytree they would be sorted, 10 before 2
        z = affine(weights(layers[name]), h)
        sign = jnp.where((z < 0).any(0).sum() > (z > 0).any(0).sum(), -1.0, 1.0)
        flipped[name], h = Layer(*(sign * array for array in layers[name])), nn.relu(sign * z)
    return flipped


def count_trained(model: FeedForward, num_inputs: int) -> int:
    """Return the number of trained parameters; batch norm's shift takes the place of a hidden layer's bias."""
    init = partial(model.init, inputs=jnp.zeros((1, num_inputs)))
    shapes = jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))["params"])
    return sum(leaf.size for leaf in shapes) - (sum(model.widths) if model.batch_norm else 0)
