"""LeNet-5 with batch norm, dropout, both and neither: what do they change, and by how much?

Co-adaptation. Units of a layer that always see the same partners may learn to correct one another's
mistakes on the training set, a habit that does not carry over to new images. Dropout makes each
unit's partners unreliable, so that it has to be useful with many random sets of them (Srivastava
et al. 2014, JMLR 15:1929). The study measures the mean absolute correlation between the units of a
layer: a sign of co-adaptation, though it can have other causes.

Internal covariate shift. While a network trains, the distribution of each layer's inputs moves
because the layers before it change, and each layer has to follow. Batch norm was proposed to hold
mean and variance of those inputs still (Ioffe and Szegedy 2015, arXiv 1502.03167). Santurkar et al.
(2018, arXiv 1805.11604) found that it helps even where such shift is put back in, and explain its
effect by a smoother loss.

The input's treatment cannot matter much: a convolution without padding, followed by batch norm,
gives the same output for a x + b as for x, up to batch norm's epsilon. Runs may still look
different if they are judged by the running averages of batch norm, which lag behind the weights. So
every network is evaluated twice: with the running averages, and with statistics recomputed over
the training set ("precise": Wu and Johnson 2021, arXiv 2105.07576). Every accuracy and loss, also
on training images, is in evaluation mode.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from annotated_types import Ge, Gt, Interval
from matplotlib.figure import Figure

from jaxstudies import diagnostics, mnist, monte_carlo, stats
from jaxstudies.claims import Claim, Verdict, judge_region
from jaxstudies.convnets import DropoutPosition, LeNet5
from jaxstudies.data import Dataset
from jaxstudies.studies import lenet_figures as figures
from jaxstudies.training import TrainState, init_state, precise_batch_stats, train_step, variables

ArmName = Literal["plain", "standardized", "bn_input", "raw_bn", "dropout", "bn_dropout"]
SPLITS = ("train", "validation", "test")
ESTIMATORS = ("running", "precise")
EVALUATION_BATCH = 125
"""Images evaluated at once: few enough to stay within a CPU's caches."""
PRECISE_BATCH = 500
"""Images that share their statistics while batch norm's are recomputed."""
DIAGNOSED = 5120
"""Training images on which variances and correlations of units are measured at the end."""
PROBE_STEPS = 40
"""Steps of the short run that measures the time of a step."""


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


@dataclass(frozen=True)
class Config:
    """What is simulated. The same seeds, order of images and budget for every arm."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 5
    """Independent networks per arm; arms are paired by seed."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; network i depends on it and on i alone."""
    arms: tuple[ArmName, ...] = get_args(ArmName)
    """plain: neither. standardized: input standardized by training statistics, batch norm in the
    hidden layers. bn_input: batch norm on the input too. raw_bn: pixels in [0, 1], batch norm in
    the hidden layers. dropout: standardized input, no batch norm. bn_dropout: bn_input and
    dropout."""
    dataset: mnist.DatasetName = "mnist"
    """Images; digits needs no files and takes seconds."""
    data_dir: str | None = None
    """Where MNIST lies (JAXSTUDIES_DATA_DIR, else where tensorflow-datasets keeps it)."""
    epochs: Annotated[int, Interval(ge=1, le=1000)] | None = None
    """Passes through the training images (5 on a CPU, 15 on an accelerator; digits 10)."""
    batch_size: Annotated[int, Ge(2)] = 128
    """Images per step."""
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Learning rate of Adam."""
    dropout_position: DropoutPosition = "activation"
    """Where hidden activations are dropped: behind each sigmoid and before pooling (activation),
    behind pooling (pooled), or in the dense layers alone (dense)."""
    input_rate: Annotated[float, Interval(ge=0, le=0.99)] = 0.2
    """Share of input pixels dropped."""
    hidden_rate: Annotated[float, Interval(ge=0, le=0.99)] = 0.5
    """Share of hidden activations dropped."""
    train_evaluated: Annotated[int, Ge(1)] = 10_000
    """Training images on which loss and accuracy are evaluated, at most: the last ones."""
    bn_momentum: Annotated[float, Interval(ge=0, le=0.9999)] = 0.99
    """Share of batch norm's running averages kept at a step."""
    bn_epsilon: Annotated[float, Gt(0)] = 1e-3
    """Added to the variance in batch norm."""

    def __post_init__(self):
        """Fill in the epochs, which depend on the images and the machine."""
        if self.epochs is None and self.dataset == "digits":
            object.__setattr__(self, "epochs", 10)
        elif self.epochs is None:
            monte_carlo.use_all_cores()
            object.__setattr__(self, "epochs", 5 if jax.default_backend() == "cpu" else 15)


class Images(NamedTuple):
    """All images, training first, then validation, then test; arrays that all seeds share."""

    images: jax.Array
    labels: jax.Array
    splits: jax.Array


def load(config: Config) -> tuple[Images, int, tuple[float, float]]:
    """Load the images, the last tenth of the training images being for validation.

    Returns:
        The images, how many are for training, and the mean and standard deviation of the training
        pixels, in [0, 1].
    """
    digits = mnist.load(config.dataset, config.data_dir)
    num_kept = len(digits.train.labels)
    num_train = num_kept - num_kept // 10
    images = np.concatenate([digits.train.images, digits.test.images]).reshape(-1, 784)
    labels = np.concatenate([digits.train.labels, digits.test.labels])
    splits = np.repeat([0, 1, 2], [num_train, num_kept - num_train, len(labels) - num_kept])
    pixels = images[:num_train] / np.float32(255)
    moments = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
    arrays = Images(jnp.asarray(images), jnp.asarray(labels), jnp.asarray(splits, jnp.int8))
    return arrays, num_train, moments


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

    training, _ = average(True)
    evaluation, activations = average(False)
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
    config: Config,
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


@cache
def program(config: Config, batch_norm: bool, use_dropout: bool, num_train: int):
    """Return `simulate` for one kind of network: one object, one compilation."""
    kind = {"batch_norm": batch_norm, "use_dropout": use_dropout, "num_train": num_train}
    return partial(simulate, config=config, **kind)


def run(config: Config, **execution: Any) -> pd.DataFrame:
    """Train every arm's networks; return one row per arm and seed.

    `ms_per_step` is the wall time of a training step, divided by the networks trained at once,
    compilation and evaluation left out: a short run before each arm measures it. It is missing if
    that run was read from disk.

    Args:
        config: What to train.
        **execution: `chunk_size`, `num_devices`, `parts` and `timings` of
            `monte_carlo.run_settings`. On a CPU the chunk is one network per core by default.
    """
    monte_carlo.use_all_cores()
    data, num_train, moments = load(config)
    devices = monte_carlo.choose_devices(execution.get("num_devices"))
    if devices[0].platform == "cpu" and execution.get("chunk_size") is None:
        execution["chunk_size"] = len(devices)
    chunk = monte_carlo.plan_chunks(config.seeds, execution.get("chunk_size"), devices)
    num_epochs: Any = config.epochs  # filled in by __post_init__
    steps = max(num_train // config.batch_size, 1)
    probe_steps = min(-(-PROBE_STEPS // num_epochs), steps)
    settings = []
    for name in config.arms:
        arm = ARMS[name]
        offset, scale = (0.0, 1.0) if arm.raw else moments
        simulation = program(config, arm.batch_norm, arm.use_dropout, num_train)
        on_input = jnp.bool_(arm.input_batch_norm)
        shared = (data, jnp.float32(offset), jnp.float32(scale), on_input)
        for part, number, measured, count in (
            ("time", probe_steps, False, min(chunk, config.seeds)),
            ("study", steps, True, config.seeds),
        ):
            settings.append(
                monte_carlo.Setting(
                    {"part": part, "arm": name}, simulation,
                    (*shared, jnp.int32(number), jnp.bool_(measured)), count,
                )
            )  # fmt: skip
    timings: list[dict] = []
    runs = monte_carlo.run_settings(
        settings, num_seeds=config.seeds, seed=config.seed, description="lenet",
        **{**execution, "timings": timings},
    )  # fmt: skip
    if execution.get("timings") is not None:
        execution["timings"].extend(timings)
    milliseconds = {
        timing["arm"]: 1e3
        * timing["run_seconds"]
        / (timing["seeds_run"] * probe_steps * num_epochs)
        for timing in timings
        if timing["part"] == "time" and timing["seeds_run"]
    }
    runs = runs[runs["part"] == "study"].drop(columns="part").reset_index(drop=True)
    # All arms with batch norm share a program, and with it parameters on the input.
    on_input = runs["arm"].map({name: arm.input_batch_norm for name, arm in ARMS.items()})
    runs.loc[~on_input, [c for c in runs if c.startswith("input_")]] = np.nan
    known = {
        "dataset": np.repeat(config.dataset, len(runs)),
        "ms_per_step": runs["arm"].map(milliseconds).astype(float),
    }
    return pd.concat([pd.DataFrame(known), runs], axis=1)


def curve(runs: pd.DataFrame, estimator: str, split: str, measure: str) -> np.ndarray:
    """Return a measure of each run and epoch, shape (runs, epochs)."""
    return runs.filter(regex=rf"^{estimator}_{split}_{measure}_\d+$").to_numpy(float)


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracy and loss, with t intervals, by arm, estimator, split and epoch."""
    rows = []
    for name, group in runs.groupby("arm", sort=False):
        for estimator in ESTIMATORS:
            for split in SPLITS:
                accuracies = curve(group, estimator, split, "accuracy")
                losses = curve(group, estimator, split, "loss")
                for epoch in range(accuracies.shape[1]):
                    interval = stats.mean_interval(accuracies[:, epoch])
                    loss = stats.mean_interval(losses[:, epoch])
                    rows.append((
                        name, estimator, split, epoch + 1, len(group), *interval, *loss,
                        group["ms_per_step"].iloc[0],
                    ))  # fmt: skip
    columns = ["arm", "estimator", "split", "epoch", "n", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "loss", "loss_low", "loss_high", "ms_per_step"])


NOTEBOOK = "the source notebook"
IOFFE = "batch norm after a convolution undoes any scale and shift of its input"
MARGIN = 0.1


def contrast(runs: pd.DataFrame, weights: dict[str, float], estimator: str) -> np.ndarray:
    """Return a weighted sum of the arms' final test accuracies for each seed, in points."""
    column = [c for c in runs if c.startswith(f"{estimator}_test_accuracy_")][-1]
    table = runs.pivot(index="seed", columns="arm", values=column)
    if not set(weights) <= set(table):
        return np.empty(0)
    total = sum(weight * table[arm] for arm, weight in weights.items())
    return 100 * np.asarray(total, float)


def largest_rise(runs: pd.DataFrame, estimator: str) -> np.ndarray:
    """Return each run's largest rise of the validation loss from an epoch to the next, or 0."""
    losses = curve(runs, estimator, "validation", "loss")
    return np.diff(losses, axis=1, append=losses[:, -1:]).max(axis=1).clip(min=0)


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims by the final test accuracies and the validation losses.

    Where arms are missing a verdict is inconclusive, with n = 0.
    """
    positive = (np.nextafter(0.0, 1.0), np.inf)  # equal is not better
    same = (-MARGIN, MARGIN)
    between = "dropout alone lies between standard normalization and batch norm on the input"
    better = "batch norm and dropout together beat"
    listed = [
        ("input_bn_beats", "batch norm on the input beats a standardized input", NOTEBOOK,
         {"bn_input": 1, "standardized": -1}, positive, ("running",)),
        ("input_bn_beats_raw", "batch norm on the input beats pixels in [0, 1]", NOTEBOOK,
         {"bn_input": 1, "raw_bn": -1}, positive, ("running",)),
        ("input_equivalent", "batch norm on the input equals a standardized input", IOFFE,
         {"bn_input": 1, "standardized": -1}, same, ("precise",)),
        ("input_equivalent_raw", "batch norm on the input equals pixels in [0, 1]", IOFFE,
         {"bn_input": 1, "raw_bn": -1}, same, ("precise",)),
        ("dropout_between.above", f"{between}: above the first", NOTEBOOK,
         {"dropout": 1, "standardized": -1}, positive, ESTIMATORS),
        ("dropout_between.below", f"{between}: below the second", NOTEBOOK,
         {"bn_input": 1, "dropout": -1}, positive, ESTIMATORS),
        ("both_beat_bn", f"{better} batch norm alone", NOTEBOOK,
         {"bn_dropout": 1, "bn_input": -1}, positive, ESTIMATORS),
        ("both_beat_dropout", f"{better} dropout alone", NOTEBOOK,
         {"bn_dropout": 1, "dropout": -1}, positive, ESTIMATORS),
        ("interaction", "together they gain more than the sum of what each gains alone", NOTEBOOK,
         {"bn_dropout": 1, "bn_input": -1, "dropout": -1, "plain": 1}, positive, ESTIMATORS),
    ]  # fmt: skip
    verdicts = []
    for identifier, text, source, weights, holds, estimators in listed:
        for estimator in estimators:
            values = contrast(runs, weights, estimator)
            sides = " ".join(f"{'+' if w > 0 else '-'} {arm}" for arm, w in weights.items())
            kind = "equivalence within +-0.1 point" if holds == same else "paired t interval"
            verdicts.append(
                judge_region(
                    Claim(f"{identifier}.{estimator}", f"{text} ({estimator} statistics)", source),
                    stats.mean_interval(values), holds=holds,
                    unit="points of test accuracy", n=len(values),
                    method=f"{sides}, after the last epoch, on the same seeds; {kind}, 95 %",
                )
            )  # fmt: skip
    normalized = runs[runs["arm"].isin([name for name, arm in ARMS.items() if arm.batch_norm])]
    running, precise = (
        # Arms of one seed share their batches: the seed is what is independent.
        normalized.assign(rise=largest_rise(normalized, estimator)).groupby("seed")["rise"].mean()
        for estimator in ESTIMATORS
    )
    if not (running + precise).any():  # nowhere a spike: nothing to explain
        running = precise = running[:0]
    spikes = "spikes of the validation loss come from the running averages"
    for identifier, text, values, method in (
        ("spikes.gone", "precise statistics remove nine tenths of them", 0.9 * running - precise,
         "0.9 x largest rise with running averages - largest rise with precise statistics"),
        ("spikes.larger", "they are larger with running averages", running - precise,
         "largest rise with running averages - largest rise with precise statistics"),
    ):  # fmt: skip
        verdicts.append(
            judge_region(
                Claim(identifier, f"{spikes}: {text}", "Wu and Johnson (arXiv 2105.07576)"),
                stats.mean_interval(values.to_numpy()), holds=positive,
                unit="validation loss", n=len(values),
                method=f"{method}, from an epoch to the next, mean over arms with batch norm, "
                "t interval over seeds",
            )
        )  # fmt: skip
    return verdicts


def plot(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw curves, final accuracies, batch-norm parameters, units by layer, and all on a page."""
    return figures.draw(runs)
