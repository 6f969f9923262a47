"""One network of the initialization study: drawn, measured, perhaps trained and measured again."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxstudies.networks.activations import Activation, activation_named, with_slope
from jaxstudies.networks.batches import random_order
from jaxstudies.networks.data import Dataset, as_inputs
from jaxstudies.networks.diagnostics import Backward, backpropagate
from jaxstudies.networks.mnist import Digits
from jaxstudies.networks.models import SCAN_UNROLL
from jaxstudies.networks.states import predict_blocks
from jaxstudies.studies.initialization.config import Config
from jaxstudies.studies.initialization.draws import NUM_CLASSES, Networks, build, draw_matrices, lsuv_scales
from jaxstudies.training import fit

STAGES = ("born", "trained")
MOMENTS = ("mean", "variance", "second_moment", "saturation", "dead")
GRADIENTS = ("grad", "grad_l2", "weight_grad")
SAMPLED = ("activation_sample", "gradient_sample")
AXES = {
    "input_q": ("group",),
    **dict.fromkeys(("slope", "loss"), ("stage",)),
    **dict.fromkeys(MOMENTS + GRADIENTS, ("stage", "layer")),
    **dict.fromkeys(SAMPLED, ("stage", "layer", "sample")),
}

LSUV_IMAGES = 1000
"""Images by which LSUV sets its scales."""
BLOCK = 200
"""Images sent through at once: few enough that the layers of a network stay in the caches."""
SAMPLES = 60
"""Activations and gradients of each layer and run that are kept for the violins, about."""
QUANTILES = 16
"""Groups of images by size, over which theory is averaged."""
SATURATED = 0.05
"""A unit is saturated where its derivative is below this share of its maximum."""


def blocks(picks: Int[Array, " n"]) -> Int[Array, "blocks block"]:
    """Cut indices into the fewest equal blocks of at most `BLOCK`, and drop what is left over."""
    count = -(-len(picks) // BLOCK)
    block = len(picks) // count
    return picks[: count * block].reshape(count, block)


def project(networks: Networks, inputs: Float[Array, "n pixels"]) -> Float[Array, "width n"]:
    """Return the first layer's outputs."""
    return networks.first.kernel.T @ inputs.T + networks.first.bias[:, None]


def logits_of(
    networks: Networks, inputs: Float[Array, "n pixels"], activation: Activation, linear_first_layer: bool
) -> Float[Array, "n classes"]:
    """Return a network's outputs."""

    def step(h, layer):
        return activation(layer.kernel.T @ h + layer.bias[:, None]), None

    h = project(networks, inputs)
    h = h if linear_first_layer else activation(h)
    h, _ = jax.lax.scan(step, h, networks.hidden, unroll=SCAN_UNROLL)
    return (networks.last.kernel.T @ h + networks.last.bias[:, None]).T


def block_sums(seen: Backward, labels: Int[Array, " block"], steepest: Float[Array, ""]) -> dict[str, Array]:
    """Return sums over a block of images and, of most, the units of a layer."""
    summed = {"mean": seen.activations, "second_moment": seen.activations**2, "grad": jnp.abs(seen.gradients)}
    summed["saturation"] = (jnp.abs(seen.slopes) < SATURATED * steepest).astype(jnp.float32)
    return {name: jnp.sum(values, axis=(1, 2)) for name, values in summed.items()} | {
        "grad_l2": jnp.sum(jnp.linalg.norm(seen.gradients, axis=1), axis=1),
        "alive": jnp.any(seen.slopes != 0, axis=2).astype(jnp.float32),
        "loss": jnp.sum(optax.softmax_cross_entropy_with_integer_labels(seen.logits.T, labels)),
        "weights": seen.weight_gradients,
    }


def measure(
    networks: Networks,
    project: Callable[[Array], Array],
    data: Dataset,
    picks: Int[Array, "blocks block"],
    key: Key[Array, ""],
    activation: Activation,
    linear_first_layer: bool,
) -> dict[str, Array]:
    """Send `picks` of all data through a network, and the gradients of the cross-entropy back.

    `project` is the first layer, by which the network may share a product with others; the key
    chooses the units that are sampled.
    """
    num_stacked, width, _ = networks.hidden.kernel.shape
    depth = num_stacked + (not linear_first_layer)
    steepest = jnp.max(jnp.abs(with_slope(activation, jnp.linspace(-10.0, 10.0, 4001))[1]))
    per_block = max(1, SAMPLES // len(picks))
    units = jax.random.randint(key, (len(picks), depth, per_block), 0, width)
    layer, some = jnp.arange(depth)[:, None], jnp.arange(per_block)[None] % picks.shape[1]

    def look(picked, units):
        inputs, classes = as_inputs(data.inputs[picked]), data.targets[picked].astype(jnp.int32)
        parts = project(inputs), networks.hidden, networks.last
        seen = backpropagate(activation, *parts, classes, linear_first_layer=linear_first_layer)
        sums = block_sums(seen, classes, steepest)
        if not linear_first_layer:
            sums["first"] = jnp.einsum("bi,ub->iu", inputs, seen.gradients[0])
        return sums, (seen.activations[layer, units, some], seen.gradients[layer, units, some])

    def add(totals, block):
        sums, samples = look(*block)
        return jax.tree.map(jnp.add, totals, sums), samples

    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(look, picks[0], units[0])[0])
    totals, samples = jax.lax.scan(add, nothing, (picks, units))
    kept = (jnp.moveaxis(values, 0, 1).reshape(depth, -1) for values in samples)
    return averages(totals, picks.size, width) | dict(zip(SAMPLED, kept, strict=True))


def averages(totals: dict[str, Array], num_images: int, width: int) -> dict[str, Array]:
    """Return what a network's sums over images and units say."""
    means = {name: totals[name] / (num_images * width) for name in ("mean", "second_moment", "saturation", "grad")}
    norms = jnp.linalg.norm(totals["weights"], axis=(1, 2))
    if "first" in totals:
        norms = jnp.concatenate([jnp.linalg.norm(totals["first"])[None], norms])
    number = jnp.arange(len(norms)) - (len(norms) - 1) / 2
    return means | {
        "variance": means["second_moment"] - means["mean"] ** 2,
        "dead": jnp.mean(totals["alive"] == 0, axis=1),
        "grad_l2": totals["grad_l2"] / num_images,
        "weight_grad": norms / num_images,
        "slope": jnp.log(means["grad"]) @ number / jnp.sum(number**2),
        "loss": totals["loss"] / num_images,
    }


def train(
    key: Key[Array, ""], networks: Networks, activation: Activation, data: Dataset, test: Dataset, config: Config
) -> tuple[Networks, dict[str, Array]]:
    """Train a network; return it with its test accuracy and each epoch's mean loss."""

    def logits(networks, inputs):
        return logits_of(networks, inputs, activation, config.linear_first_layer)

    def prepare(batch):
        return Dataset(as_inputs(batch.inputs), jax.nn.one_hot(batch.targets, NUM_CLASSES))

    # Decay and epsilon of RMSprop are Keras', which the notebook used.
    optimizers = {"adam": optax.adam, "rmsprop": partial(optax.rmsprop, decay=0.9, eps=1e-7)}
    optimizer = optimizers[config.optimizer](config.learning_rate)
    model, loss = ((lambda key, inputs: networks), logits), optax.softmax_cross_entropy
    run = partial(fit, key, model, optimizer, loss, data, prepare=prepare)
    state, losses = run(num_epochs=config.epochs, batch_size=config.batch_size)
    outputs = predict_blocks(model, state, as_inputs(test.inputs), BLOCK)
    accuracy = jnp.mean(outputs.argmax(axis=1) == test.targets)
    return state.params, {"accuracy": accuracy, "epoch_loss": losses}


def simulate(
    key: Key[Array, ""],
    digits: Digits,
    draw: Int[Array, "1"],
    scale: Float[Array, "3"],
    adapt: Bool[Array, "1"],
    *,
    activation: str,
    draws: tuple[str, ...],
    config: Config,
) -> dict[str, Array]:
    """Draw, measure and perhaps train one network; all settings share the key's draws, images and batches.

    `draw` is an index into `draws`, those that the activation's settings need. `scale` has the standard deviations of
    a weight in the first, the hidden and the last layer, unless LSUV adapts them. Measures come by stage, at
    initialization and, where there is training, behind it; `input_q` is the mean |x|^2 of each of `QUANTILES` groups
    of the images, by size.
    """
    init_key, pick_key, sample_key, train_key = jax.random.split(key, 4)
    function, linear = activation_named(activation), config.linear_first_layer
    data, test = (Dataset(*map(jnp.asarray, part)) for part in digits)
    order = random_order(pick_key, len(data.inputs))
    picks = blocks(order[: config.num_images])
    drawn = draw_matrices(init_key, config.depth - (not linear), config.width, draws)
    kind = draws.index("orthogonal") if "orthogonal" in draws else 0
    some = as_inputs(data.inputs[order[:LSUV_IMAGES]])
    adapted = lsuv_scales(jax.tree.map(lambda a: a[kind], drawn), some, function, linear)
    scales = [jnp.where(adapt[0], a, s) for a, s in zip(adapted, scale, strict=True)]
    networks = build(drawn, draw[0], scales)

    def project_drawn(inputs):
        # The product does not depend on the setting: it is computed once a seed.
        return jnp.einsum("kiu,bi->kub", drawn.first, inputs)[draw[0]] * scales[0]

    look = (data, picks, sample_key, function, linear)
    stages, trained = [measure(networks, project_drawn, *look)], {}
    if config.epochs:
        networks, trained = train(train_key, networks, function, data, test, config)
        stages.append(measure(networks, lambda inputs: project(networks, inputs), *look))
    sizes = jax.lax.map(lambda picked: jnp.sum(as_inputs(data.inputs[picked]) ** 2, axis=1), picks)
    groups = jnp.array_split(jnp.sort(sizes.ravel()), min(QUANTILES, picks.size))
    input_q = jnp.stack([group.mean() for group in groups])
    return {"input_q": input_q} | jax.tree.map(lambda *a: jnp.stack(a), *stages) | trained
