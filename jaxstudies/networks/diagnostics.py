"""What a network's layers do: from a state to small arrays. Layers are rows, first layer first."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxstudies.networks.activations import Activation, with_slope
from jaxstudies.networks.models import MLP, Layer, affine, weights

COLLAPSE_RULES = ("zero_slope", "zero_range", "range_1e-6", "range_1e-3", "r2_below_0.01")


class Probe(NamedTuple):
    """A network seen at `points` inputs, with slopes in each of their `dims` coordinates."""

    outputs: Float[Array, "points outputs"]
    output_slopes: Float[Array, "dims points outputs"]
    """Exact derivatives, by forward-mode differentiation."""
    layers: PyTree
    """What `observe` returned of each hidden layer, stacked."""


class LayerSeen(NamedTuple):
    """A hidden layer seen at `points` inputs: what it puts out, and two kinds of derivatives."""

    activations: Float[Array, "units points"]
    derivatives: Float[Array, "units points"]
    """Of the activation with respect to the pre-activation."""
    slopes: Float[Array, "dims units points"]
    """Of the activation with respect to the network's inputs."""


def probe(
    model: MLP, variables: PyTree, inputs: Float[Array, "points dims"], observe: Callable[[LayerSeen], PyTree]
) -> Probe:
    """Follow inputs and derivatives through a network; keep of a layer what `observe` returns.

    What layers do at all points is never in memory at once, but layer by layer: for a deep network
    of few units that is most of what measuring it costs.
    """
    layers = variables["params"]["layers"]
    first, hidden, last = (weights(layers[name]) for name in ("first", "hidden", "last"))

    def pass_affine(layer, h, slopes):
        return affine(layer, h), layer[:, :-1] @ slopes

    def pass_layer(h_and_slopes, layer):
        z, slopes = pass_affine(layer, *h_and_slopes)
        h, derivatives = with_slope(model.activation, z)
        slopes = derivatives[None] * slopes
        return (h, slopes), observe(LayerSeen(h, derivatives, slopes))

    dims = inputs.shape[1]
    seen = inputs.T, jnp.broadcast_to(jnp.eye(dims)[..., None], (dims, dims, len(inputs)))
    if model.linear_first_layer:
        seen = pass_affine(weights(layers["linear"]), *seen)
    seen, observed = pass_layer(seen, first)
    seen, rest = jax.lax.scan(pass_layer, seen, hidden)
    outputs, slopes = pass_affine(last, *seen)
    stacked = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), observed, rest)
    return Probe(outputs.T, slopes.mT, stacked)


def r_squared(outputs: Float[Array, "points outputs"], targets: Float[Array, "points outputs"]) -> Float[Array, ""]:
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
    slope = jnp.all(seen.output_slopes == 0)
    spread = jnp.max(jnp.ptp(seen.outputs, axis=0) / targets.std(axis=0))
    unexplained = r_squared(seen.outputs, targets) < 0.01
    flags = (slope, spread == 0, spread < 1e-6, spread < 1e-3, unexplained)
    return dict(zip(COLLAPSE_RULES, flags, strict=True))


def first_dead_layer(dead: Bool[Array, " layers"]) -> Int[Array, ""]:
    """Return the number (from 1) of the first layer that no longer sees the input, or 0.

    A layer is dead where every slope of every unit with respect to the input is exactly zero at
    every probed point; so are all layers behind it.
    """
    return jnp.where(dead.any(), jnp.argmax(dead) + 1, 0)


def unit_states(derivatives: Float[Array, "units points"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the shares of dead and of linear units of a layer.

    A unit is dead if the activation's derivative is zero at all points, and linear if it is the
    same nonzero number at all points.
    """
    constant = jnp.all(derivatives == derivatives[:, :1], axis=1)
    off = derivatives[:, 0] == 0
    return jnp.mean(constant & off), jnp.mean(constant & ~off)


def dormant_share(activations: Float[Array, "units points"], tau: float) -> Float[Array, ""]:
    """Return the share of tau-dormant units of a layer (Sokar et al. 2023, arXiv 2302.12902).

    A unit's score is its mean absolute activation over that of its layer; it is dormant if the
    score is at most tau. In a layer that is silent altogether every unit is dormant.
    """
    size = jnp.abs(activations).mean(axis=1)
    return jnp.mean(size <= tau * size.mean())


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
    activation: Activation,
    projection: Float[Array, "units batch"],
    hidden: Layer,
    last: Layer,
    labels: Int[Array, " batch"],
    *,
    linear_first_layer: bool,
) -> Backward:
    """Follow a batch to the cross-entropy of its labels and back, layer by layer.

    Args:
        activation: Of the hidden layers.
        projection: What the first layer makes of the batch, before any activation.
        hidden: The layers behind it, stacked, each of as many units.
        last: The layer of the logits.
        labels: Classes.
        linear_first_layer: Whether the first layer has no activation; otherwise it is the first of
            the hidden layers that are returned.
    """

    def forward(h, layer):
        behind, slope = with_slope(activation, layer.kernel.T @ h + layer.bias[:, None])
        return behind, (h, behind, slope)

    def backward(gradient_h, layer_and_seen):
        layer, before, slope = layer_and_seen
        gradient = gradient_h * slope
        return layer.kernel @ gradient, (gradient, before @ gradient.T)

    first = None if linear_first_layer else with_slope(activation, projection)
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
    """Return the mean over pairs of different units; one that does not vary is uncorrelated to all."""
    num_units = covariance.shape[0]
    deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 1e-12))
    correlation = jnp.abs(covariance / (deviation[:, None] * deviation[None]))
    return (correlation.sum() - jnp.trace(correlation)) / (num_units * (num_units - 1))
