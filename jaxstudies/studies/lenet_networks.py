"""One LeNet-5, from its key to curves, batch-norm parameters and what its units do."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxstudies import diagnostics
from jaxstudies.convnets import LeNet5
from jaxstudies.data import Dataset
from jaxstudies.training import TrainState, init_state, precise_batch_stats, train_step, variables

SPLITS = ("train", "validation", "test")
ESTIMATORS = ("running", "precise")
EVALUATION_BATCH = 125
"""Images evaluated at once: few enough to stay within a CPU's caches."""
PRECISE_BATCH = 500
"""Images that share their statistics while batch norm's are recomputed."""
DIAGNOSED = 5120
"""Training images on which variances and correlations of units are measured at the end."""


class Arm(NamedTuple):
    """What distinguishes an arm: where batch norm stands, dropout, and raw or standardized input.

    Raw pixels are in [0, 1]. Batch norm on the input needs no standardization before it.
    """

    batch_norm: bool
    input_batch_norm: bool
    use_dropout: bool
    raw: bool


ARMS: dict[str, Arm] = {
    "plain": Arm(False, False, False, raw=False),
    "standardized": Arm(True, False, False, raw=False),
    "bn_input": Arm(True, True, False, raw=True),
    "raw_bn": Arm(True, False, False, raw=True),
    "dropout": Arm(False, False, True, raw=False),
    "bn_dropout": Arm(True, True, True, raw=True),
}


class Images(NamedTuple):
    """All images, training first, then validation, then test; arrays that all seeds share."""

    images: jax.Array
    labels: jax.Array
    splits: jax.Array


def evaluate(
    model, state_variables, data: Images, standardize, first: int = 0
) -> tuple[jax.Array, jax.Array]:
    """Return loss and accuracy on each split, in evaluation mode, from image `first` on.

    Both have shape (splits,).
    """
    total = data.labels.shape[0]
    num_batches = -(-(total - first) // EVALUATION_BATCH)
    size = -(-(total - first) // num_batches)

    def add(sums, index):
        # The last batch is filled up with images that count for nothing.
        rows = first + index * size + jnp.arange(size)
        at = jnp.minimum(rows, total - 1)
        logits = model.apply(state_variables, standardize(data.images[at]))
        labels = data.labels[at]
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        right = jnp.argmax(logits, axis=1) == labels
        member = (data.splits[at][None] == jnp.arange(3)[:, None]) & (rows < total)[None]
        columns = jnp.stack([losses, right.astype(losses.dtype), jnp.ones_like(losses)], axis=1)
        return sums + member.astype(losses.dtype) @ columns, None

    sums, _ = jax.lax.scan(add, jnp.zeros((3, 3)), jnp.arange(num_batches))
    return sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2]


def describe_units(model, state, images, key, standardize, batch_size) -> dict[str, jax.Array]:
    """Return variance shift and co-adaptation of each hidden layer, shapes (layers,).

    `variance_shift` is the variance of a unit's preactivation in training mode (dropout active,
    batches normalized by their own statistics) over that in evaluation mode (running averages), as
    the geometric mean over a layer's units; a unit of a convolution is a feature map.
    `coadaptation` is the mean absolute correlation of two units of a layer, in evaluation mode.
    """
    num_batches = max(min(DIAGNOSED, images.shape[0]) // batch_size, 1)

    def moments(mode, index):
        x = standardize(images[index * batch_size + jnp.arange(min(batch_size, images.shape[0]))])
        _, seen = model.apply(
            variables(state), x, train=mode,
            rngs={"dropout": jax.random.fold_in(key, index)},
            mutable=["intermediates", "batch_stats"],
        )  # fmt: skip
        layers = seen["intermediates"]
        return (
            [diagnostics.unit_moments(z) for z in layers["preactivations"]],
            [diagnostics.unit_moments(h) for h in layers["activations"]],
        )

    def average(mode):
        _, seen = jax.lax.scan(
            lambda carry, index: (carry, moments(mode, index)), None, jnp.arange(num_batches)
        )
        return jax.tree.map(lambda a: a.mean(axis=0), seen)

    evaluation, activations = average(False)
    # Without batch norm and dropout both modes are one.
    training = average(True)[0] if model.batch_norm or model.use_dropout else evaluation
    log_ratio = [
        jnp.mean(jnp.log(jnp.diagonal(covariance(a)) / jnp.diagonal(covariance(b))))
        for a, b in zip(training, evaluation, strict=True)
    ]
    return {
        "variance_shift": jnp.exp(jnp.stack(log_ratio)),
        "coadaptation": jnp.stack(
            [diagnostics.mean_absolute_correlation(covariance(h)) for h in activations]
        ),
    }


def covariance(moments: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Return the covariance matrix of units from their first and second moments."""
    first, second = moments
    return second - first[:, None] * first[None]


def batch_norm_parameters(state: TrainState) -> dict[str, jax.Array]:
    """Return scale, bias, running mean and running variance of each batch-norm layer."""
    return {
        f"{layer.removesuffix('_norm')}_{kind}": values
        for tree in (state.params, state.batch_stats)
        for layer, kinds in tree.items()
        if layer.endswith("_norm")
        for kind, values in kinds.items()
    }


def simulate(
    key,
    data: Images,
    offset,
    scale,
    input_batch_norm,
    steps,
    measured,
    *,
    config: Any,
    batch_norm: bool,
    use_dropout: bool,
    num_train: int,
) -> dict[str, jax.Array]:
    """Train one network.

    Args:
        key: Random key of this network.
        data: Images of all splits.
        offset: Subtracted from pixels in [0, 1].
        scale: Pixels are divided by it thereafter.
        input_batch_norm: Whether there is batch norm on the input, if in the hidden layers.
        steps: Steps per epoch.
        measured: Whether anything is evaluated; otherwise the results are zeros and only the time
            they took is of use.
        config: The study's configuration.
        batch_norm: Whether the hidden layers have batch norm.
        use_dropout: Whether there is dropout.
        num_train: How many of the images are for training.

    Returns:
        `<estimator>_<split>_<measure>`, each over epochs; and, of the final network, variance
        shift, co-adaptation and the batch-norm parameters by layer.
    """
    init_key, shuffle_key, dropout_key, describe_key = jax.random.split(key, 4)
    model = LeNet5(
        batch_norm, input_batch_norm if batch_norm else False, use_dropout, config.dropout_position,
        config.input_rate, config.hidden_rate, config.bn_momentum, config.bn_epsilon,
    )  # fmt: skip
    optimizer = optax.adam(config.learning_rate)
    batch_size = min(config.batch_size, num_train)

    def standardize(images):
        return (images / 255.0 - offset) / scale

    def one_epoch(state, epoch):
        order_key, drop_key = (jax.random.fold_in(k, epoch) for k in (shuffle_key, dropout_key))
        order = jnp.argsort(jax.random.bits(order_key, (num_train,)))

        def step(index, state):
            # Images are gathered for each step: a shuffled copy would cost memory for each network.
            at = jax.lax.dynamic_slice_in_dim(order, index * batch_size, batch_size)
            batch = Dataset(standardize(data.images[at]), jax.nn.one_hot(data.labels[at], 10))
            return train_step(
                state, batch, jax.random.fold_in(drop_key, index),
                model=model, optimizer=optimizer, loss_fn=optax.losses.softmax_cross_entropy,
            )[0]  # fmt: skip

        return jax.lax.fori_loop(0, steps, step, state)

    num_batches = -(-num_train // PRECISE_BATCH)
    size = num_train // num_batches
    first = max(num_train - config.train_evaluated, 0)

    def measure(state):
        running = variables(state)
        if not batch_norm:
            once = evaluate(model, running, data, standardize, first)
            return jax.tree.map(lambda a: jnp.stack([a, a]), once)
        precise = precise_batch_stats(
            model, state.params, state.batch_stats,
            lambda i: standardize(data.images[i * size + jnp.arange(size)]), num_batches,
        )  # fmt: skip
        both = jax.tree.map(lambda *a: jnp.stack(a), state.batch_stats, precise)
        return jax.lax.map(
            lambda batch_stats: evaluate(
                model,
                {"params": state.params, "batch_stats": batch_stats},
                data,
                standardize,
                first,
            ),
            both,
        )

    def if_measured(function, *operands):
        shapes = jax.eval_shape(function, *operands)
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        return jax.lax.cond(measured, function, lambda *_: zeros, *operands)

    def epoch(state, index):
        state = one_epoch(state, index)
        return state, if_measured(measure, state)

    state = init_state(init_key, model, optimizer, jnp.zeros((1, 784)))
    state, (losses, accuracies) = jax.lax.scan(epoch, state, jnp.arange(config.epochs))
    describe = partial(
        describe_units, model, images=data.images[:num_train], key=describe_key,
        standardize=standardize, batch_size=batch_size,
    )  # fmt: skip
    curves = {
        f"{estimator}_{split}_{name}": values[:, i, j]
        for name, values in (("loss", losses), ("accuracy", accuracies))
        for i, estimator in enumerate(ESTIMATORS)
        for j, split in enumerate(SPLITS)
    }
    return {**curves, **if_measured(describe, state), **batch_norm_parameters(state)}
