"""What a network's layers do: from a state to small arrays. Layers are rows, first layer first."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxstudies.networks.activations import Activation, with_slope
from jaxstudies.networks.models import MLP, Layer, affine, weights

COLLAPSE_RULES = ("zero_slope", "zero_range", "range_1e-6", "range_1e-3", "r2_below_0.01")

PerOutput = Float[Array, "points outputs"]
PerUnit = Float[Array, "units points"]
PerLayer = Float[Array, "layers units batch"]
Share = Float[Array, ""]


class Probe(NamedTuple):
    """A network seen at inputs, with exact slopes in their coordinates, and what `observe` returned, stacked."""

    outputs: PerOutput
    output_slopes: Float[Array, "dims points outputs"]
    layers: PyTree


class LayerSeen(NamedTuple):
    """A hidden layer: activations, their derivatives by pre-activations, their slopes by the network's inputs."""

    activations: PerUnit
    derivatives: PerUnit
    slopes: Float[Array, "dims units points"]


def probe(
    model: MLP, variables: PyTree, inputs: Float[Array, "points dims"], observe: Callable[[LayerSeen], PyTree]
) -> Probe:
    """Follow inputs and derivatives through a network; keep of a hidden layer what `observe` returns."""
    # Layer by layer: never is in memory at once what all of them do at all points, which would cost most.
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
    return Probe(outputs.T, slopes.mT, _in_front(observed, rest))


def _in_front(first: PyTree, rest: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)


def r_squared(outputs: PerOutput, targets: PerOutput) -> Float[Array, ""]:
    """Return the share of the targets' variance that is explained, pooled over the outputs."""
    return 1 - jnp.mean((outputs - targets) ** 2) / jnp.mean(targets.var(axis=0))


def collapse(seen: Probe, targets: PerOutput) -> dict[str, Bool[Array, ""]]:
    """Return whether a network counts as constant, by each of `COLLAPSE_RULES`.

    Ranges are in the target's standard deviations; only `zero_slope` does not depend on the output's scale.
    """
    spread = jnp.max(jnp.ptp(seen.outputs, axis=0) / targets.std(axis=0))
    unexplained = r_squared(seen.outputs, targets) < 0.01
    flags = (jnp.all(seen.output_slopes == 0), spread == 0, spread < 1e-6, spread < 1e-3, unexplained)
    return dict(zip(COLLAPSE_RULES, flags, strict=True))


def first_dead_layer(dead: Bool[Array, " layers"]) -> Int[Array, ""]:
    """Return the number (from 1) of the first layer that no longer sees the input, or 0."""
    return jnp.where(dead.any(), jnp.argmax(dead) + 1, 0)


def unit_states(derivatives: PerUnit) -> tuple[Share, Share]:
    """Return the shares of dead and of linear units: the derivative is zero, or the same otherwise, at all points."""
    constant = jnp.all(derivatives == derivatives[:, :1], axis=1)
    off = derivatives[:, 0] == 0
    return jnp.mean(constant & off), jnp.mean(constant & ~off)


def dormant_share(activations: PerUnit, tau: float) -> Share:
    """Return the share of tau-dormant units of a layer (Sokar et al. 2023, arXiv 2302.12902)."""
    size = jnp.abs(activations).mean(axis=1)
    return jnp.mean(size <= tau * size.mean())


class Backward(NamedTuple):
    """A batch with derivatives, by pre-activations, of activations and each loss; by stacked weights, of the sum."""

    logits: Float[Array, "classes batch"]
    activations: PerLayer
    slopes: PerLayer
    gradients: PerLayer
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
    """Follow a batch, of which the first layer made `projection`, to the cross-entropy of its labels and back."""

    def forward(h, layer):
        behind, slope = with_slope(activation, layer.kernel.T @ h + layer.bias[:, None])
        return behind, (h, behind, slope)

    def backward(gradient_h, layer_and_seen):
        layer, before, slope = layer_and_seen
        gradient = gradient_h * slope
        return layer.kernel @ gradient, (gradient, before @ gradient.T)

    h, slope = (projection, None) if linear_first_layer else with_slope(activation, projection)
    top, (before, activations, slopes) = jax.lax.scan(forward, h, hidden)
    logits = last.kernel.T @ top + last.bias[:, None]
    wrong = jax.nn.softmax(logits, axis=0) - jax.nn.one_hot(labels, len(logits), axis=0)
    layers = (hidden, before, slopes)
    gradient_h, (gradients, in_weights) = jax.lax.scan(backward, last.kernel @ wrong, layers, reverse=True)
    if slope is not None:
        first, rest = (h, slope, gradient_h * slope), (activations, slopes, gradients)
        activations, slopes, gradients = _in_front(first, rest)
    return Backward(logits, activations, slopes, gradients, in_weights)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Return whether every number in the tree is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(tree)]))


def unit_moments(activations: Float[Array, "units ..."]) -> tuple[Float[Array, " units"], Float[Array, "units units"]]:
    """Return the units' means and their matrix of second moments over all samples."""
    flat = activations.reshape(activations.shape[0], -1)
    return flat.mean(axis=1), flat @ flat.T / flat.shape[1]


def mean_absolute_correlation(covariance: Float[Array, "units units"]) -> Float[Array, ""]:
    """Return the mean over pairs of different units; one that does not vary is uncorrelated to all."""
    num_units = covariance.shape[0]
    deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 1e-12))
    correlation = jnp.abs(covariance / (deviation[:, None] * deviation[None]))
    return (correlation.sum() - jnp.trace(correlation)) / (num_units * (num_units - 1))
