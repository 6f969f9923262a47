"""One LeNet-5, from its key to curves, batch-norm parameters and what its units do."""

import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float, Key, UInt8

from jaxstudies.engine import compiler
from jaxstudies.engine.blocks import Size
from jaxstudies.engine.design import make_design
from jaxstudies.engine.devices import choose_devices
from jaxstudies.networks import diagnostics
from jaxstudies.networks.convnets import HIDDEN_LAYERS, LeNet5
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.normalization import precise_batch_stats
from jaxstudies.networks.states import TrainState, predict, variables
from jaxstudies.studies.lenet.config import Config
from jaxstudies.studies.lenet.design import Dropout, Images, data, settings
from jaxstudies.training import Fitted, fit

SPLITS = ("train", "validation", "test")
ESTIMATORS = ("running", "precise")
KINDS = ("scale", "bias", "mean", "var")
"""Of batch norm's parameters: learned ones, then running averages."""
NORMS = tuple(f"{layer}_norm" for layer in ("input", *HIDDEN_LAYERS))
AXES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("loss", "accuracy"), ("epoch", "estimator", "split")),
    **dict.fromkeys(("variance_shift", "coadaptation"), ("layer",)),
    **dict.fromkeys(NORMS, ("kind", "unit")),
}

EVALUATION_BATCH = 125
"""Images evaluated at once: few enough to stay within a CPU's caches."""
PRECISE_BATCH = 500
"""Images that share their statistics while batch norm's are recomputed."""
DIAGNOSED = 5120
"""Training images on which variances and correlations of units are measured at the end."""
TIMED_STEPS = 20
"""Steps of the short run that measures the time of a step."""

Standardize = Callable[[Array], Array]  # turns bytes into the network's inputs


def evaluate(
    model: LeNet5, state: TrainState, data: Images, standardize: Standardize, first: int = 0
) -> dict[str, Float[Array, " splits"]]:
    """Return loss and accuracy on each split, in evaluation mode, from image `first` on."""
    total = data.labels.shape[0]
    num_batches = -(-(total - first) // EVALUATION_BATCH)
    size = -(-(total - first) // num_batches)

    def add(sums, index):
        # The last batch is filled up with images that count for nothing.
        rows = first + index * size + jnp.arange(size)
        at = jnp.minimum(rows, total - 1)
        logits, labels = predict(model, state, standardize(data.images[at])), data.labels[at]
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        right = jnp.argmax(logits, axis=1) == labels
        member = (data.splits[at][None] == jnp.arange(3)[:, None]) & (rows < total)[None]
        columns = jnp.stack([losses, right.astype(losses.dtype), jnp.ones_like(losses)], axis=1)
        return sums + member.astype(losses.dtype) @ columns, None

    sums, _ = jax.lax.scan(add, jnp.zeros((3, 3)), jnp.arange(num_batches))
    return {"loss": sums[:, 0] / sums[:, 2], "accuracy": sums[:, 1] / sums[:, 2]}


def measure(
    model: LeNet5, data: Images, standardize: Standardize, num_train: int, train_evaluated: int, state: TrainState
) -> dict[str, Float[Array, "estimators splits"]]:
    """Return loss and accuracy with running averages and with precise statistics."""
    first = max(num_train - train_evaluated, 0)

    def evaluate_with(batch_stats):
        return evaluate(model, state._replace(batch_stats=batch_stats), data, standardize, first)

    if not model.batch_norm:
        return jax.tree.map(lambda a: jnp.stack([a, a]), evaluate_with(state.batch_stats))
    num_batches = -(-num_train // PRECISE_BATCH)
    size = num_train // num_batches
    memoryless = model.clone(momentum=0.0)  # where the batch's statistics come without rounding

    def update(batch_stats, inputs):
        current = variables(state._replace(batch_stats=batch_stats))
        _, seen = memoryless.apply(current, inputs, batch_statistics=True, mutable=["batch_stats"])
        return seen["batch_stats"]

    batches = data.images[: num_batches * size].reshape(num_batches, size, -1)
    precise = precise_batch_stats(update, state.batch_stats, lambda i: standardize(batches[i]), num_batches)
    return jax.lax.map(evaluate_with, jax.tree.map(lambda *a: jnp.stack(a), state.batch_stats, precise))


def describe_units(
    model: LeNet5, state: TrainState, batches: UInt8[Array, "n size 784"], key: Key[Array, ""], standardize: Standardize
) -> dict[str, Float[Array, " layers"]]:
    """Return variance shift and co-adaptation of each hidden layer.

    `variance_shift` is the variance of a unit's preactivation in training mode (dropout active, batches normalized by
    their own statistics) over that in evaluation mode (running averages), as the geometric mean over a layer's units; a
    unit of a convolution is a feature map. `coadaptation` is the mean absolute correlation of two units of a layer, in
    evaluation mode.
    """

    def moments(train, index):
        rngs, kept = {"dropout": jax.random.fold_in(key, index)}, ["intermediates", "batch_stats"]
        _, seen = model.apply(variables(state), standardize(batches[index]), train=train, rngs=rngs, mutable=kept)
        layers = seen["intermediates"]
        return [jax.tree.map(diagnostics.unit_moments, layers[name]) for name in ("preactivations", "activations")]

    def covariances(train):
        seen = jax.lax.map(partial(moments, train), jnp.arange(len(batches)))
        return [[covariance(jax.tree.map(lambda a: a.mean(axis=0), m)) for m in layers] for layers in seen]

    evaluation, activations = covariances(False)
    # Without batch norm and dropout both modes are one.
    training = covariances(True)[0] if model.batch_norm or model.use_dropout else evaluation
    pairs = zip(training, evaluation, strict=True)
    log_ratio = [jnp.mean(jnp.log(jnp.diagonal(a) / jnp.diagonal(b))) for a, b in pairs]
    correlations = jnp.stack([diagnostics.mean_absolute_correlation(c) for c in activations])
    return {"variance_shift": jnp.exp(jnp.stack(log_ratio)), "coadaptation": correlations}


def covariance(moments: tuple[Array, Array]) -> Float[Array, "units units"]:
    """Return the covariance matrix of units from their first and second moments."""
    first, second = moments
    return second - first[:, None] * first[None]


def batch_norm_parameters(state: TrainState) -> dict[str, Float[Array, "kinds units"]]:
    """Return what each batch-norm layer has of `KINDS`."""
    layers = {name: {**state.params[name], **averages} for name, averages in state.batch_stats.items()}
    return {name: jnp.stack([layer[kind] for kind in KINDS]) for name, layer in layers.items()}


def make_trainer(
    config: Config, offset, scale, input_batch_norm, batch_norm: bool, dropout: Dropout | None
) -> tuple[LeNet5, Standardize, Callable[..., Fitted]]:
    """Return network, `Standardize` and `fit` (but for data and epochs) of an arm, by arguments of `simulate`."""
    norms = batch_norm, input_batch_norm[0] if batch_norm else False
    model = LeNet5(*norms, momentum=config.bn_momentum, epsilon=config.bn_epsilon)
    if dropout is not None:
        model = model.clone(use_dropout=True, **dropout._asdict())

    def standardize(images):
        return (images / 255.0 - offset) / scale

    def prepare(batch):
        return Dataset(standardize(batch.inputs), jax.nn.one_hot(batch.targets, 10))

    optimizer, loss_fn = optax.adam(config.learning_rate), optax.losses.softmax_cross_entropy
    return model, standardize, partial(fit, model=model, optimizer=optimizer, loss_fn=loss_fn, prepare=prepare)


def simulate(
    key, data, offset, scale, input_batch_norm, *, config, batch_norm, dropout, num_train, num_epochs, batch_size
) -> dict[str, Array]:
    """Train one network on the first `num_train` images; return what `AXES` names.

    Pixels in [0, 1] have `offset` subtracted and are divided by `scale`. Whether the input has batch norm is of shape
    (1,): arms that differ in it run at once. Loss and accuracy are those after each epoch, the rest is of the end.
    """
    model, standardize, train = make_trainer(config, offset, scale, input_batch_norm, batch_norm, dropout)
    look = partial(measure, model, data, standardize, num_train, config.train_evaluated)
    training = Dataset(data.images[:num_train], data.labels[:num_train])
    state, (_, curves) = train(key, data=training, observe=look, num_epochs=num_epochs, batch_size=batch_size)
    size = min(batch_size, num_train)
    num_batches = max(min(DIAGNOSED, num_train) // size, 1)
    batches = training.inputs[: num_batches * size].reshape(num_batches, size, -1)
    describe_key = jax.random.fold_in(key, 3)  # `fit` has split the key into three
    units = describe_units(model, state, batches, describe_key, standardize)
    parameters = batch_norm_parameters(state)
    if batch_norm:  # arms share a program, and with it parameters on the input
        parameters["input_norm"] = jnp.where(input_batch_norm[0], parameters["input_norm"], jnp.nan)
    return {**curves, **units, **parameters}


def first_steps(key, data, num_train, num_epochs, batch_size, **arm) -> dict[str, Array]:
    """Take the first steps of `simulate`, whose arguments these are; return their mean loss."""
    size = min(TIMED_STEPS * batch_size, num_train)
    _, _, train = make_trainer(**arm)
    loss = train(key, data=Dataset(data.images[:size], data.labels[:size]), num_epochs=1, batch_size=batch_size).history
    return {"loss": loss, "num_steps": jnp.int32(max(size // batch_size, 1))}


def time_steps(config: Config) -> dict[str, np.ndarray]:
    """Return the wall time of a training step alone in each arm, divided by the networks at once, one a device."""
    design, devices = make_design(simulate, settings(config)), choose_devices()
    size = Size(settings=1, seeds=len(devices))
    milliseconds = np.empty(design.num_settings)
    for group in design.groups:
        run = compiler.compile_block(partial(first_steps, config=config), group, data(config), size, devices)
        for place, setting in enumerate(group.positions):
            num_steps = run(0, 0, place, group)["num_steps"].sum()  # the first run fills caches
            began = time.perf_counter()
            run(0, 0, place, group)
            milliseconds[setting] = 1e3 * (time.perf_counter() - began) / num_steps
    return {"ms_per_step": milliseconds}


def beside(config: Config, remember: Callable) -> dict[str, pd.DataFrame]:
    """Return the time of a step in each arm."""
    times = remember("steps", partial(time_steps, config))
    return {"steps": pd.DataFrame({"arm": list(config.arms), **times})}
