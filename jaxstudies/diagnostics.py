"""What a network's layers do: from a state to small arrays. Layers are rows, first layer first."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxstudies.models import Layer

COLLAPSE_RULES = ("zero_slope", "zero_range", "range_1e-6", "range_1e-3", "r2_below_0.01")


class Probe(NamedTuple):
    """A network seen at `points` inputs.

    Slopes are derivatives with respect to each of the input's `dims` coordinates, along the first
    axis; they are exact, by forward-mode differentiation.
    """

    outputs: Float[Array, "points outputs"]
    output_slopes: Float[Array, "dims points outputs"]
    preactivations: Float[Array, "layers units points"]
    activations: Float[Array, "layers units points"]
    activation_slopes: Float[Array, "dims layers units points"]


def probe(model: nn.Module, variables: PyTree, inputs: Float[Array, "points dims"]) -> Probe:
    """Evaluate a network that sows its activations, with slopes, at the given inputs."""

    def forward(x):
        outputs, seen = model.apply(variables, x, mutable=["intermediates"])
        layers = seen["intermediates"]
        return outputs, layers["preactivations"][0], layers["activations"][0]

    (outputs, preactivations, activations), push = jax.linearize(forward, inputs)
    directions = jnp.eye(inputs.shape[1])
    slopes = jax.vmap(lambda d: push(jnp.broadcast_to(d, inputs.shape)))(directions)
    return Probe(outputs, slopes[0], preactivations, activations, slopes[2])


def r_squared(
    outputs: Float[Array, "points outputs"], targets: Float[Array, "points outputs"]
) -> Float[Array, ""]:
    """Return the share of the targets' variance that is explained, pooled over the outputs."""
    return 1 - jnp.mean((outputs - targets) ** 2) / jnp.mean(targets.var(axis=0))


def collapse(seen: Probe, targets: Float[Array, "points outputs"]) -> dict[str, Bool[Array, ""]]:
    """Return whether a network counts as constant, by each of `COLLAPSE_RULES`.

    By `zero_slope` every slope of the output with respect to the input is exactly zero at every
    point: the only rule that does not depend on the scale of the output. By `zero_range` all
    outputs are equal in float32, which a steep-enough bias can bring about by rounding; by
    `range_...` their range is below that share of the target's standard deviation; by
    `r2_below_0.01` the network explains less than 1 % of the target's variance.
    """
    spread = jnp.max(jnp.ptp(seen.outputs, axis=0) / targets.std(axis=0))
    flags = (
        jnp.all(seen.output_slopes == 0),
        spread == 0,
        spread < 1e-6,
        spread < 1e-3,
        r_squared(seen.outputs, targets) < 0.01,
    )
    return dict(zip(COLLAPSE_RULES, flags, strict=True))


def first_dead_layer(slopes: Float[Array, "dims layers units points"]) -> Int[Array, ""]:
    """Return the number (from 1) of the first layer that no longer sees the input, or 0.

    A layer is dead where every slope of every unit with respect to the input is exactly zero at
    every probed point; so are all layers behind it.
    """
    dead = jnp.all(slopes == 0, axis=(0, 2, 3))
    return jnp.where(dead.any(), jnp.argmax(dead) + 1, 0)


def unit_states(
    activation: Callable[[jax.Array], jax.Array],
    preactivations: Float[Array, "layers units points"],
) -> tuple[Float[Array, " layers"], Float[Array, " layers"]]:
    """Return the shares of dead and of linear units in each layer.

    A unit is dead if the activation's derivative is zero at all points, and linear if it is the
    same nonzero number at all points.
    """
    ones = jnp.ones_like(preactivations)
    derivative = jax.jvp(activation, (preactivations,), (ones,))[1]
    constant = jnp.all(derivative == derivative[..., :1], axis=-1)
    off = derivative[..., 0] == 0
    return jnp.mean(constant & off, axis=-1), jnp.mean(constant & ~off, axis=-1)


def dormant_share(
    activations: Float[Array, "layers units points"], tau: float
) -> Float[Array, " layers"]:
    """Return the share of tau-dormant units in each layer (Sokar et al. 2023, arXiv 2302.12902).

    A unit's score is its mean absolute activation over that of its layer; it is dormant if the
    score is at most tau. In a layer that is silent altogether every unit is dormant.
    """
    size = jnp.abs(activations).mean(axis=-1)
    return jnp.mean(size <= tau * size.mean(axis=-1, keepdims=True), axis=-1)


class Backward(NamedTuple):
    """A network seen at a batch, forwards and backwards; gradients are per example.

    `slopes` are the activation's derivatives, `gradients` those of the loss with respect to the
    pre-activations; `weight_gradients` belong to the stacked layers, of the batch's summed loss.
    """

    logits: Float[Array, "classes batch"]
    activations: Float[Array, "layers units batch"]
    slopes: Float[Array, "layers units batch"]
    gradients: Float[Array, "layers units batch"]
    weight_gradients: Float[Array, "stacked units units"]


def backpropagate(
    activation: Callable[[jax.Array], jax.Array],
    projection: Float[Array, "units batch"],
    hidden: Layer,
    last: Layer,
    labels: Int[Array, " batch"],
    *,
    linear_first_layer: bool,
) -> Backward:
    """Follow a batch to the cross-entropy of its labels and back, layer by layer.

    Args:
        activation: Elementwise function.
        projection: What the first layer makes of the batch, before any activation.
        hidden: The layers behind it, stacked, each of as many units.
        last: The layer of the logits.
        labels: Classes.
        linear_first_layer: Whether the first layer has no activation; otherwise it is the first of
            the hidden layers that are returned.
    """

    def activate(z):
        return jax.jvp(activation, (z,), (jnp.ones_like(z),))

    def forward(h, layer):
        behind, slope = activate(layer.kernel.T @ h + layer.bias[:, None])
        return behind, (h, behind, slope)

    def backward(gradient_h, layer_and_seen):
        layer, before, slope = layer_and_seen
        gradient = gradient_h * slope
        return layer.kernel @ gradient, (gradient, before @ gradient.T)

    first = None if linear_first_layer else activate(projection)
    h = projection if first is None else first[0]
    h, (before, activations, slopes) = jax.lax.scan(forward, h, hidden)
    logits = last.kernel.T @ h + last.bias[:, None]
    wrong = jax.nn.softmax(logits, axis=0) - jax.nn.one_hot(labels, len(logits), axis=0)
    gradient_h, (gradients, weight_gradients) = jax.lax.scan(
        backward, last.kernel @ wrong, (hidden, before, slopes), reverse=True
    )
    if first is not None:
        activations = jnp.concatenate([first[0][None], activations])
        slopes = jnp.concatenate([first[1][None], slopes])
        gradients = jnp.concatenate([(gradient_h * first[1])[None], gradients])
    return Backward(logits, activations, slopes, gradients, weight_gradients)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Return whether every number in the tree is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(tree)]))


def unit_moments(
    activations: Float[Array, "num_units ..."],
) -> tuple[Float[Array, " num_units"], Float[Array, "num_units num_units"]]:
    """Return the units' means and their matrix of second moments over all samples."""
    flat = activations.reshape(activations.shape[0], -1)
    return flat.mean(axis=1), flat @ flat.T / flat.shape[1]


def mean_absolute_correlation(covariance: Float[Array, "units units"]) -> Float[Array, ""]:
    """Return the mean absolute correlation over pairs of different units.

    A unit that does not vary counts as uncorrelated to all others.
    """
    num_units = covariance.shape[0]
    deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 1e-12))
    correlation = jnp.abs(covariance / (deviation[:, None] * deviation[None]))
    return (correlation.sum() - jnp.trace(correlation)) / (num_units * (num_units - 1))
