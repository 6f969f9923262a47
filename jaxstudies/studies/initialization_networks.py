"""The networks of the initialization study: measured, trained, one seed at a time."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxstudies import diagnostics
from jaxstudies.data import Dataset
from jaxstudies.models import MLP, Layer, initializer
from jaxstudies.studies.initialization_draws import (
    LSUV_IMAGES,
    NUM_CLASSES,
    Design,
    Networks,
    Shape,
    initialize,
)
from jaxstudies.training import TrainState, train_step

ActivationName = Literal[
    "tanh", "sigmoid", "relu", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "softplus",
    "soft_sign", "relu6", "hard_tanh", "hard_sigmoid", "hard_silu", "log_sigmoid",
]  # fmt: skip
"""Elementwise activations, by their names in Flax."""

BLOCK = 200
"""Images sent through at once: few enough that the layers of a network stay in the caches."""
SAMPLES = 60
"""Activations and gradients of each layer and run that are kept for the violins, about."""
QUANTILES = 16
"""Groups of images by size, over which theory is averaged."""
SATURATED = 0.05
"""A unit is saturated where its derivative is below this share of its maximum."""


def activation_named(name: str) -> Any:
    """Return Flax's elementwise function of that name."""
    return getattr(nn, name)


def on_arrays(activation: str):
    """Return an activation and its derivative as functions of NumPy arrays."""
    function = activation_named(activation)

    def value(z):
        return np.asarray(function(jnp.asarray(z, jnp.float32)), float)

    def derivative(z):
        points = jnp.asarray(z, jnp.float32)
        return np.asarray(jax.jvp(function, (points,), (jnp.ones_like(points),))[1], float)

    return value, derivative


def largest_slope(activation) -> Float[Array, ""]:
    """Return the maximum of |derivative|, on a fine grid."""
    grid = jnp.linspace(-10.0, 10.0, 4001)
    return jnp.max(jnp.abs(jax.jvp(activation, (grid,), (jnp.ones_like(grid),))[1]))


def as_inputs(images: UInt8[Array, "n 28 28"]) -> Float[Array, "n pixels"]:
    """Return images as rows of pixels from 0 to 1."""
    return images.reshape(len(images), -1).astype(jnp.float32) / 255


def measure(
    networks: Networks,
    project,
    activation,
    images: UInt8[Array, "n 28 28"],
    labels: UInt8[Array, " n"],
    picks: Int[Array, "blocks block"],
    sample_key: Key[Array, ""],
    shape: Shape,
) -> dict[str, Array]:
    """Send images through all networks and the gradients of the cross-entropy back.

    Args:
        networks: The networks of all settings.
        project: Function of images (block, pixels) that returns the first layer's outputs in all
            networks, (settings, width, block).
        activation: Elementwise function.
        images: All images.
        labels: Their classes.
        picks: Which images to send, in blocks.
        sample_key: Key of the units that are sampled.
        shape: The networks' shape.

    Returns:
        Arrays that begin with (settings, layers), or (settings,) for the loss and the slope.
    """
    num_settings = len(networks.last.bias)
    steepest = largest_slope(activation)
    per_block = max(1, SAMPLES // len(picks))
    units = jax.random.randint(sample_key, (len(picks), shape.depth, per_block), 0, shape.width)

    def one(hidden, last, projection, labels, units):
        seen = diagnostics.backpropagate(
            activation, projection, hidden, last, labels,
            linear_first_layer=shape.linear_first_layer,
        )  # fmt: skip
        loss = optax.softmax_cross_entropy_with_integer_labels(seen.logits.T, labels)
        over_layer = {
            "mean": seen.activations,
            "second_moment": seen.activations**2,
            "saturation": (jnp.abs(seen.slopes) < SATURATED * steepest).astype(jnp.float32),
            "grad": jnp.abs(seen.gradients),
        }
        sums = {name: jnp.sum(a, axis=(1, 2)) for name, a in over_layer.items()}
        sums["grad_l2"] = jnp.sum(jnp.linalg.norm(seen.gradients, axis=1), axis=1) * shape.width
        sums |= {"loss": loss.sum(), "weight": seen.weight_gradients}
        if not shape.linear_first_layer:
            sums["first_gradient"] = seen.gradients[0]
        layer = jnp.arange(shape.depth)[:, None]
        some = jnp.arange(per_block)[None] % len(labels)
        samples = seen.activations[layer, units, some], seen.gradients[layer, units, some]
        return sums, jnp.any(seen.slopes != 0, axis=2), samples

    def block(carry, picks_and_units):
        totals, alive = carry
        picked, units = picks_and_units
        inputs, block_labels = as_inputs(images[picked]), labels[picked].astype(jnp.int32)
        sums, live, samples = jax.vmap(one, (0, 0, 0, None, None))(
            networks.hidden, networks.last, project(inputs), block_labels, units
        )
        if not shape.linear_first_layer:
            sums["first"] = jnp.einsum("bi,sub->siu", inputs, sums.pop("first_gradient"))
        return (jax.tree.map(jnp.add, totals, sums), alive | live), samples

    layers = (num_settings, shape.depth)
    over_layer = ("mean", "second_moment", "saturation", "grad", "grad_l2")
    zeros = {name: jnp.zeros(layers) for name in over_layer}
    zeros |= {"loss": jnp.zeros(num_settings), "weight": jnp.zeros(networks.hidden.kernel.shape)}
    if not shape.linear_first_layer:
        zeros["first"] = jnp.zeros(networks.first.kernel.shape)
    nothing_alive = jnp.zeros((*layers, shape.width), bool)
    (totals, alive), samples = jax.lax.scan(block, (zeros, nothing_alive), (picks, units))

    weight_norms = jnp.sqrt(jnp.sum(totals.pop("weight") ** 2, axis=(2, 3)))
    if not shape.linear_first_layer:
        norm = jnp.sqrt(jnp.sum(totals.pop("first") ** 2, axis=(1, 2)))
        weight_norms = jnp.concatenate([norm[:, None], weight_norms], axis=1)
    seen = {name: totals[name] / (picks.size * shape.width) for name in totals if name != "loss"}
    number = jnp.arange(shape.depth) - (shape.depth - 1) / 2
    return {
        **seen,
        "variance": seen["second_moment"] - seen["mean"] ** 2,
        "dead": jnp.mean(~alive, axis=2),
        "weight_grad": weight_norms / picks.size,
        "slope": jnp.log(seen["grad"]) @ number / jnp.sum(number**2),
        "loss": totals["loss"] / picks.size,
        "activation_sample": jnp.moveaxis(samples[0], 0, 2).reshape(*layers, -1),
        "gradient_sample": jnp.moveaxis(samples[1], 0, 2).reshape(*layers, -1),
    }


def project_all(networks: Networks, inputs: Float[Array, "n pixels"]) -> Array:
    """Return the first layer's outputs in all networks, (settings, width, n)."""
    product = jnp.einsum("siu,bi->sub", networks.first.kernel, inputs)
    return product + networks.first.bias[:, :, None]


def as_params(networks: Networks, shape: Shape) -> dict[str, dict[str, Layer]]:
    """Return networks as the parameters of `MLP`, whose hidden layers begin at the first one."""
    if not shape.linear_first_layer:
        layers = {"first": networks.first, "hidden": networks.hidden, "last": networks.last}
    else:
        first, rest = (jax.tree.map(lambda a, i=i: a[:, i], networks.hidden)
                       for i in (0, slice(1, None)))  # fmt: skip
        layers = {"linear": networks.first, "first": first, "hidden": rest, "last": networks.last}
    return {"layers": layers}


def from_params(params: dict[str, dict[str, Layer]], shape: Shape) -> Networks:
    """Undo `as_params`."""
    layers = params["layers"]
    if not shape.linear_first_layer:
        return Networks(layers["first"], layers["hidden"], layers["last"])
    hidden = jax.tree.map(
        lambda one, rest: jnp.concatenate([one[:, None], rest], axis=1),
        layers["first"], layers["hidden"],
    )  # fmt: skip
    return Networks(layers["linear"], hidden, layers["last"])


def train(
    key: Key[Array, ""],
    networks: Networks,
    activation,
    images: UInt8[Array, "n 28 28"],
    labels: UInt8[Array, " n"],
    shape: Shape,
) -> tuple[Networks, Float[Array, "settings epochs"]]:
    """Train all networks on the same batches; return them and each epoch's mean loss."""
    model = MLP(
        shape.depth, shape.width, NUM_CLASSES, activation, initializer("he_normal"),
        shape.linear_first_layer,
    )  # fmt: skip
    # Decay and epsilon of RMSprop are Keras', which the notebook used.
    optimizer = (
        optax.adam(shape.learning_rate)
        if shape.optimizer == "adam"
        else optax.rmsprop(shape.learning_rate, decay=0.9, eps=1e-7)
    )
    batch_size = min(shape.batch_size, len(images))
    num_steps = len(images) // batch_size

    def step(state, picked):
        targets = jax.nn.one_hot(labels[picked], NUM_CLASSES)
        batch = Dataset(as_inputs(images[picked]), targets)
        return jax.vmap(
            lambda state: train_step(
                state, batch, key,
                model=model, optimizer=optimizer, loss_fn=optax.softmax_cross_entropy,
            )
        )(state)  # fmt: skip

    def epoch(state, key):
        order = jnp.argsort(jax.random.bits(key, (len(images),)))[: num_steps * batch_size]
        state, losses = jax.lax.scan(step, state, order.reshape(num_steps, batch_size))
        return state, losses.mean(axis=0)

    params = as_params(networks, shape)
    state = TrainState(params, {}, jax.vmap(optimizer.init)(params))
    state, losses = jax.lax.scan(epoch, state, jax.random.split(key, shape.epochs))
    return from_params(state.params, shape), losses.T


def accuracy(
    networks: Networks,
    activation,
    images: UInt8[Array, "n 28 28"],
    labels: UInt8[Array, " n"],
    shape: Shape,
) -> Float[Array, " settings"]:
    """Return the share of images that each network classifies rightly."""

    def logits(networks, projection):
        h = projection if shape.linear_first_layer else activation(projection)

        def forward(h, layer):
            return activation(layer.kernel.T @ h + layer.bias[:, None]), None

        h = jax.lax.scan(forward, h, networks.hidden)[0]
        return networks.last.kernel.T @ h + networks.last.bias[:, None]

    def right(picked):
        outputs = jax.vmap(logits)(networks, project_all(networks, as_inputs(images[picked])))
        return jnp.sum(outputs.argmax(axis=1) == labels[picked][None], axis=1)

    picks = blocks(jnp.arange(len(images)))
    return jax.lax.map(right, picks).sum(axis=0) / picks.size


def blocks(picks: Int[Array, " n"]) -> Int[Array, "blocks block"]:
    """Cut indices into the fewest equal blocks of at most `BLOCK`, and drop what is left over."""
    count = -(-len(picks) // BLOCK)
    block = len(picks) // count
    return picks[: count * block].reshape(count, block)


def simulate(
    key: Key[Array, ""],
    images: UInt8[Array, "n 28 28"],
    labels: UInt8[Array, " n"],
    test_images: UInt8[Array, "m 28 28"],
    test_labels: UInt8[Array, " m"],
    design: Design,
    *,
    activation: str,
    shape: Shape,
) -> dict[str, Array]:
    """Draw, measure and perhaps train one network under each setting.

    Args:
        key: Random key of the seed.
        images: Training images, shared by all seeds.
        labels: Their classes.
        test_images: Test images.
        test_labels: Their classes.
        design: The settings.
        activation: Name of the activation.
        shape: The networks' shape, and the training.

    Returns:
        Flat arrays over settings and what follows, `born_` or `trained_`; `input_q`, the mean
        |x|^2 of each of `QUANTILES` groups of the images, by size, is common to the settings.
    """
    init_key, pick_key, sample_key, train_key = jax.random.split(key, 4)
    function = activation_named(activation)
    num_images = min(shape.num_images, len(images))
    order = jnp.argsort(jax.random.bits(pick_key, (len(images),)))
    picks = blocks(order[:num_images])
    drawn, networks = initialize(
        init_key, design, function, shape, as_inputs(images[order[:LSUV_IMAGES]])
    )

    def project_drawn(inputs):
        product = jnp.einsum("kiu,bi->kub", drawn, inputs)
        # A matrix is its kind's times one number, which any entry tells.
        factor = networks.first.kernel[:, 0, 0] / drawn[design.draw, 0, 0]
        return product[design.draw] * factor[:, None, None]

    look = (function, images, labels, picks, sample_key, shape)
    seen = {"born": measure(networks, project_drawn, *look)}
    if shape.epochs:
        networks, losses = train(train_key, networks, function, images, labels, shape)
        seen["trained"] = measure(networks, lambda x: project_all(networks, x), *look)
        seen["trained"] |= {
            "accuracy": accuracy(networks, function, test_images, test_labels, shape),
            "epoch_loss": losses,
        }
    sizes = jnp.sort(
        jax.lax.map(lambda p: jnp.sum(as_inputs(images[p]) ** 2, axis=1), picks).ravel()
    )
    groups = jnp.array_split(sizes, min(QUANTILES, num_images))
    return {
        "input_q": jnp.stack([group.mean() for group in groups]),
        **{
            f"{stage}_{name}": values.ravel()
            for stage, measures in seen.items()
            for name, values in measures.items()
        },
    }
