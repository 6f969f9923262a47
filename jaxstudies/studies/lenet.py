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
from typing import Annotated, Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Interval
from matplotlib.figure import Figure

from jaxstudies import mnist, monte_carlo, stats
from jaxstudies.claims import Verdict
from jaxstudies.convnets import DropoutPosition
from jaxstudies.studies import lenet_claims as claims
from jaxstudies.studies import lenet_figures as figures
from jaxstudies.studies.lenet_networks import ARMS, ESTIMATORS, SPLITS, Images, simulate

ArmName = Literal["plain", "standardized", "bn_input", "raw_bn", "dropout", "bn_dropout"]
PROBE_STEPS = 40
"""Steps of the short run that measures the time of a step."""


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
    """Images; digits needs no files and takes less than a minute."""
    data_dir: str | None = None
    """Where MNIST lies (JAXSTUDIES_DATA_DIR, else where tensorflow-datasets keeps it)."""
    epochs: Annotated[int, Interval(ge=1, le=1000)] | None = None
    """Passes through the training images (5; MNIST on an accelerator 15)."""
    batch_size: Annotated[int, Ge(2)] | None = None
    """Images per step (128; of the few digits 32)."""
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
        """Fill in what depends on the images and the machine."""
        few = self.dataset == "digits"
        if self.batch_size is None:
            object.__setattr__(self, "batch_size", 32 if few else 128)
        if self.epochs is None:
            monte_carlo.use_all_cores()
            short = few or jax.default_backend() == "cpu"
            object.__setattr__(self, "epochs", 5 if short else 15)


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
    num_epochs: Any = config.epochs  # filled in by __post_init__, as is the batch size
    batch_size: Any = config.batch_size
    steps = max(num_train // batch_size, 1)
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


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracy and loss, with t intervals, by arm, estimator, split and epoch."""
    rows = []
    for name, group in runs.groupby("arm", sort=False):
        for estimator in ESTIMATORS:
            for split in SPLITS:
                accuracies = claims.curve(group, estimator, split, "accuracy")
                losses = claims.curve(group, estimator, split, "loss")
                for epoch in range(accuracies.shape[1]):
                    interval = stats.mean_interval(accuracies[:, epoch])
                    loss = stats.mean_interval(losses[:, epoch])
                    rows.append((
                        name, estimator, split, epoch + 1, len(group), *interval, *loss,
                        group["ms_per_step"].iloc[0],
                    ))  # fmt: skip
    columns = ["arm", "estimator", "split", "epoch", "n", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "loss", "loss_low", "loss_high", "ms_per_step"])


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims; where arms are missing a verdict is inconclusive, with n = 0."""
    return claims.judge(runs)


def plot(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw curves, final accuracies, batch-norm parameters, units by layer, and all on a page."""
    return figures.draw(runs)
