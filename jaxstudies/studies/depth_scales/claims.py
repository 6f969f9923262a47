"""The claims on which random networks can be trained."""

from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.evidence.verdicts import Undecidable
from jaxstudies.selection import Selector
from jaxstudies.studies.depth_scales.config import Config
from jaxstudies.studies.depth_scales.simulation import DROPOUT_DEPTH, RELU_VARIANCES
from jaxstudies.studies.depth_scales.summary import depth_scale
from jaxstudies.study import Claim

POPULATION = (
    "A seed draws the network's weights and biases, its images and their order; the images are from one data set, the "
    "same for all seeds."
)
PAPER, RECTIFIERS = "Schoenholz et al. (arXiv 1611.01232)", "He et al. (arXiv 1502.01852)"
SECOND_HAND = "{}, second hand"
EXPERIMENTS = SECOND_HAND.format("its experiments")
AT_MOST_SIX = "networks can be trained where their depth is at most about six depth scales"
ONE_BUDGET = "other budgets, widths and optimizers"
SCALES, FACTOR = 6, 2
TRAINED = 0.5
"""Training accuracy from which on a network counts as trained: about the middle between chance, a tenth, and all."""
FALLS = f"depth at which training accuracy falls below {TRAINED:g}, between depths as their logarithms are"
STALLED = 0.2
ABOUT = "ours: 'about' is read as a factor of 2 either way"
HALF = "ours: half of the images, about the middle between chance and all"
CHANCE = "ours: as far above chance, a tenth, as chance is above none"


def accuracies(of: Selector, depth: int, variance: float, rate: float = 0.0, activation: str = "tanh") -> pd.Series:
    """Return training accuracies by seed."""
    return of("accuracy", activation=activation, depth=depth, weight_variance=variance, dropout_rate=rate)


def trainable_depth(of: Selector, depths: tuple[int, ...], variance: float) -> pd.Series:
    """Return the depth at which accuracy falls below `TRAINED`, by seed, between depths as their logarithms are.

    It is the first depth where that is not trained, and the last where that still is.
    """
    accuracy = pd.concat([accuracies(of, depth, variance) for depth in depths], axis=1).dropna()

    def fall(values: np.ndarray) -> float:
        failed = np.flatnonzero(values < TRAINED)
        if not len(failed) or failed[0] == 0:
            return depths[0 if len(failed) else -1]
        at = failed[0] - 1
        share = (values[at] - TRAINED) / (values[at] - values[at + 1])
        return depths[at] * (depths[at + 1] / depths[at]) ** share

    return accuracy.apply(lambda row: fall(row.to_numpy(float)), axis=1).astype(float)


def decidable(effect: pd.Series, found: np.ndarray, depths: tuple[int, ...]) -> pd.Series:
    """Return an effect of depths at which training fails; raise Undecidable where some are only bounds."""
    if censored := int(np.isin(found, (depths[0], depths[-1])).sum()):
        told = f"{censored} of {found.size} networks train to the last depth tried, or not even to the first"
        raise Undecidable(told, effect)
    return effect


def in_scales(of: Selector, depths: tuple[int, ...], variance: float, scale: float) -> pd.Series:
    """Return trainable depths in depth scales, by seed."""
    found = trainable_depth(of, depths, variance)
    return decidable(found / scale, found.to_numpy(), depths)


def growth(of: Selector, depths: tuple[int, ...], scales: dict[float, float]) -> pd.Series:
    """Return by seed the power of the depth scale with which trainable depths grow: 1 is in proportion.

    It is the slope of their logarithms, by least squares over weight variances.
    """
    x = np.log(list(scales.values()))
    x = x - x.mean()
    found = pd.concat([trainable_depth(of, depths, variance) for variance in scales], axis=1).dropna()
    return decidable(np.log(found) @ (x / (x @ x)), found.to_numpy(), depths)


def deeper_at(of: Selector, depth: int, best: float, others: tuple[float, ...]) -> pd.Series:
    """Return by how much accuracy at a depth is higher at one weight variance than on average at others."""
    return accuracies(of, depth, best) - sum(accuracies(of, depth, other) for other in others) / len(others)


def lost(of: Selector, depth: int, variance: float, rate: float) -> pd.Series:
    """Return the accuracy with dropout in training minus that without."""
    return accuracies(of, depth, variance, rate) - accuracies(of, depth, variance)


def claims(config: Config) -> list[Claim]:
    """Return the claims that the depths and variances asked for can tell."""
    depths = tuple(sorted(config.depths))
    scales = {v: depth_scale(v, config.bias_variance) for v in sorted(config.weight_variances)}
    best = max(scales, key=lambda v: scales[v])
    # Where even the nearer end of the region lies behind the deepest network, no run could support it.
    told = {v: scale for v, scale in scales.items() if SCALES / FACTOR * scale < depths[-1]}
    difference = partial(Claim, source=PAPER, estimand="median", where="abstract", bounds=(-1.0, 1.0))
    listed = []
    if 0.0 in config.dropout_rates:
        listed += [_six_scales(depths, v, scale) for v, scale in told.items()]
        if len(told) > 1:
            listed.append(_proportional(depths, told))
    far = tuple(v for v, scale in told.items() if SCALES * scale < depths[-1])
    if far and 0.0 in config.dropout_rates:
        listed.append(
            difference(
                "critical",
                f"{depths[-1]} layers train better at weight variance {best:g} than far from it",
                partial(deeper_at, depth=depths[-1], best=best, others=far),
                (0.0, 1.0),
                says="arbitrarily deep networks may be trained only sufficiently close to criticality",
                unit="training accuracy",
                method=f"accuracy at {best:g} minus the mean at {', '.join(f'{v:g}' for v in far)}, same seeds",
                ends="(]",
                not_shown=ONE_BUDGET,
            )
        )
    rate, deepest = max(config.dropout_rates), max((d for d in depths if d <= DROPOUT_DEPTH), default=0)
    if rate > 0 and 0.0 in config.dropout_rates and deepest:
        listed.append(
            difference(
                "dropout",
                f"with a share of {rate:g} dropped, {deepest} layers train worse at weight variance {best:g}",
                partial(lost, depth=deepest, variance=best, rate=rate),
                (-1.0, 0.0),
                says="dropout destroys the order-to-chaos critical point and strongly limits the trainable depth",
                unit="training accuracy",
                method="accuracy with dropout in training minus that without, both evaluated without, same seeds",
                not_shown="that it is the depth scale and not the noise that costs",
                ends="[)",
            )
        )
    return [*listed, *(_relu(config.relu_depth, config.epochs) if config.relu_depth > 1 else ())]


def _six_scales(depths: tuple[int, ...], variance: float, scale: float) -> Claim:
    return Claim(
        f"six_scales.{variance:g}",
        f"at weight variance {variance:g} networks train to a depth of about six scales, {SCALES * scale:.0f} layers",
        partial(in_scales, depths=depths, variance=variance, scale=scale),
        (SCALES / FACTOR, SCALES * FACTOR),
        PAPER,
        "median",
        where=EXPERIMENTS,
        says=AT_MOST_SIX,
        margin=ABOUT,
        unit="depth scales",
        method=FALLS,
        not_shown=ONE_BUDGET,
    )


def _proportional(depths: tuple[int, ...], scales: dict[float, float]) -> Claim:
    return Claim(
        "proportional",
        "the depth to which networks train grows in proportion to the depth scale",
        partial(growth, depths=depths, scales=scales),
        (1 / FACTOR, FACTOR),
        PAPER,
        "median",
        where=EXPERIMENTS,
        says=AT_MOST_SIX,
        margin="ours: as a power of it between a half and two",
        unit="power",
        method=f"{FALLS}; least-squares slope of its logarithm on that of the scale over weight variances of "
        + ", ".join(f"{v:g}" for v in scales),
        not_shown=ONE_BUDGET,
    )


def _relu(depth: int, epochs: int) -> list[Claim]:
    """Return the claims on ReLU networks from He's and Glorot's initialization."""
    claim = partial(Claim, source=RECTIFIERS, estimand="median", bounds=(0.0, 1.0), unit="training accuracy")
    where, told = SECOND_HAND.format("its section on initialization"), f"{depth} layers"
    how = "a fully connected network on images, where the paper has a convolutional one"
    he, glorot = (partial(accuracies, depth=depth, variance=v, activation="relu") for v in RELU_VARIANCES.values())
    return [
        claim(
            "he_trains",
            f"ReLU networks of {told} train from He's initialization within {epochs} epochs",
            he,
            (TRAINED, 1.0),
            where=where,
            says="a 30-layer model converges from it",
            margin=HALF,
            method=how,
            not_shown=ONE_BUDGET,
        ),
        claim(
            "glorot_stalls",
            f"ReLU networks of {told} do not train from Glorot's initialization within {epochs} epochs",
            glorot,
            (0.0, STALLED),
            where=where,
            says="the 30-layer model stalls from Xavier's initialization",
            margin=CHANCE,
            method=how,
            not_shown=ONE_BUDGET,
        ),
    ]
