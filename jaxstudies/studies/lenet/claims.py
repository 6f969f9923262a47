"""The claims about LeNet-5, held against final accuracies and losses, paired by seed."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from jaxstudies.evidence.claims import Claim, with_primary
from jaxstudies.output.words import words
from jaxstudies.selection import Selector
from jaxstudies.studies.lenet.design import ARMS
from jaxstudies.studies.lenet.simulation import ESTIMATORS, SPLITS
from jaxstudies.studies.sources import NOTEBOOK

Weights = Mapping[str, int]
"""Of arms, in a sum of what is measured on them."""

POPULATION = (
    "A seed draws the network's weights, the order of the images and what dropout drops, the same for all arms as far "
    "as they have it; MNIST is one data set, with one split, for all seeds."
)
QUESTION = "problem 3.{}"
NONE_DIVERGED = "on seeds on which none of these networks diverged"
OF_MANY = "a difference of means over thousands of images"

MARGIN = 0.1
SAME, ABOVE_0, BELOW_0 = (-MARGIN, MARGIN), (0.0, np.inf), (-np.inf, 0.0)
WHY_MARGIN = "the standard error of an accuracy of 99 % on 10,000 images"
NINE_TENTHS = "ours: with a tenth left, precise statistics remove most of a rise"

OVER_STANDARDIZED: Weights = {"bn_input": 1, "standardized": -1}
OVER_RAW: Weights = {"bn_input": 1, "raw_bn": -1}
DROPOUT_OVER_STANDARDIZED: Weights = {"dropout": 1, "standardized": -1}
BN_OVER_DROPOUT: Weights = {"bn_input": 1, "dropout": -1}
BOTH_OVER_BN: Weights = {"bn_dropout": 1, "bn_input": -1}
BOTH_OVER_DROPOUT: Weights = {"bn_dropout": 1, "dropout": -1}
INTERACTION: Weights = {"bn_dropout": 1, "bn_input": -1, "dropout": -1, "plain": 1}
DENSE_OVER_DROPOUT: Weights = {"dropout_dense": 1, "dropout": -1}
DENSE_OVER_BN: Weights = {"bn_dropout_dense": 1, "bn_input": -1}
LAST_OVER_BOTH: Weights = {"bn_dropout_last": 1, "bn_dropout": -1}
LAST_OVER_BN: Weights = {"bn_dropout_last": 1, "bn_input": -1}
CONTRASTS = (
    *(OVER_STANDARDIZED, OVER_RAW, DROPOUT_OVER_STANDARDIZED, BN_OVER_DROPOUT),
    *(BOTH_OVER_BN, BOTH_OVER_DROPOUT, INTERACTION, DENSE_OVER_DROPOUT, DENSE_OVER_BN, LAST_OVER_BOTH, LAST_OVER_BN),
)


def final(
    of: Selector, measure: str, weights: Weights, estimator: str, split: str, epochs: Mapping[str, int] | None = None
) -> pd.Series:
    """Return a weighted sum of the arms' accuracies or losses by seed; NaN where one has diverged.

    They are those after the last epoch, or after the number of `epochs` of each arm (NaN if it was trained for fewer).
    """

    def seen(arm: str) -> pd.Series:
        place = {"estimator": ESTIMATORS.index(estimator), "split": SPLITS.index(split)}
        last = epochs[arm] - 1 if epochs else -1

        def value(curve: np.ndarray) -> float:
            return curve[last] if last < len(curve) else np.nan

        # The largest output of a network with NaN is its first one: it has an accuracy all the same.
        curves = (of(name, arm=arm, **place) for name in (measure, "loss"))
        values, loss = (of_arm.map(value, na_action="ignore").astype(float) for of_arm in curves)
        return values.where(np.isfinite(loss))

    # Of arms that share no seeds nothing is left.
    return pd.concat([w * seen(arm) for arm, w in weights.items()], axis=1).sum(axis=1, skipna=False)


def contrast(of: Selector, weights: Weights, estimator: str, split: str = "test", **more: Any) -> pd.Series:
    """Return a weighted sum of the arms' accuracies by seed, in points; other arguments are those of `final`."""
    return 100 * final(of, "accuracy", weights, estimator, split, **more)


def compare(id_: str, words: str, weights: Weights, estimator: str, split: str = "test", **more: Any) -> Claim:
    """Return a claim about a weighted sum of accuracies; by default it is above 0."""
    effect = partial(contrast, weights=weights, estimator=estimator, split=split)
    more = {"holds": ABOVE_0, "ends": "(]"} | more
    return claim_of(f"{id_}.{estimator}", words, effect, weights, unit=f"points of {split} accuracy", **more)


def claim_of(id_: str, words: str, effect: Callable[[Selector], pd.Series], weights: Weights, **more: Any) -> Claim:
    """Return a claim about a weighted sum of what networks reach after the last epoch."""
    sides = " ".join(f"{'+' if w > 0 else '-'} {arm}" for arm, w in weights.items())
    estimator = id_.rsplit(".", 1)[-1]
    how = {"method": f"{sides}, after the last epoch, same seeds", "selection": NONE_DIVERGED, "figure": "final"}
    # With running averages a few networks lie far below the others.
    how |= {"near_normal": OF_MANY} if estimator == "precise" else {"estimand": "median"}
    return Claim(id_, f"{words} ({estimator} statistics)", effect, **how, **more)


def rises(of: Selector, estimator: str) -> pd.DataFrame:
    """Return the largest rise of the validation loss from an epoch to the next, or 0, by seed and normalized arm."""
    place = {"estimator": ESTIMATORS.index(estimator), "split": SPLITS.index("validation")}
    losses = [of("loss", arm=name, **place) for name, arm in ARMS.items() if arm.batch_norm]
    largest = [of_arm.map(lambda curve: np.diff(curve).max(initial=0)).astype(float) for of_arm in losses]
    return pd.concat(largest, axis=1)


def excess_rise(of: Selector, share: float) -> pd.Series:
    """Return by how much a share of the largest rise with running averages exceeds that with precise statistics.

    It is the mean over arms: arms of one seed share their batches, and the seed is what is independent.
    """
    by_arm = [rises(of, estimator) for estimator in ESTIMATORS]
    both = by_arm[0].notna() & by_arm[1].notna()  # a loss may be NaN with the one and not with the other
    running, precise = (rises.where(both).mean(axis=1) for rises in by_arm)
    if not (running + precise).any():  # nowhere a spike: nothing to explain
        return running[:0]
    return share * running - precise


def spikes(id_: str, words: str, share: float, of_running: str, margin: str = "") -> Claim:
    """Return a claim that a share of the rise with running averages exceeds that with precise statistics."""
    method = f"{of_running} of the validation loss from an epoch to the next with running averages, minus the largest "
    method += "with statistics recomputed as by Wu and Johnson (arXiv 2105.07576), mean over arms with batch norm"
    return Claim(
        f"spikes.{id_}",
        words,
        partial(excess_rise, share=share),
        ABOVE_0,
        estimand="median",
        ends="(]",
        unit="validation loss",
        method=method,
        margin=margin,
        selection="of networks whose losses are finite with either",
        figure="loss",
    )


ON_INPUT, STANDARDIZED = "batch norm on the input", "a standardized input"
AS_TRAINED = "a gap that is left with precise statistics"
AS_THERE = "the difference with running averages, by which the notebook evaluated"
BETWEEN = {"source": NOTEBOOK, "where": QUESTION.format("4"), "not_shown": AS_THERE}
BETWEEN["says"] = "dropout lies between standard normalization and batch norm on the input"
BEST = {"source": NOTEBOOK, "where": QUESTION.format("5"), "says": "both together are best", "not_shown": AS_THERE}
THERE: dict[str, str] = {"source": NOTEBOOK, "where": QUESTION.format("3")}

LISTED = (
    compare(
        "input_bn_beats",
        f"{ON_INPUT} beats {STANDARDIZED}",
        OVER_STANDARDIZED,
        "running",
        **THERE,
        says="it reaches a higher test accuracy than standard normalization",
        not_shown=AS_TRAINED,
    ),
    compare(
        "input_bn_beats_raw",
        f"{ON_INPUT} beats pixels in [0, 1], which the notebook's normalization left as they were",
        OVER_RAW,
        "running",
        **THERE,
        says="it reaches a higher test accuracy than standard normalization",
        not_shown=AS_TRAINED,
    ),
    claim_of(
        "input_bn_lowers_loss.running",
        f"{ON_INPUT} ends at a lower test loss than {STANDARDIZED}",
        partial(final, measure="loss", weights=OVER_STANDARDIZED, estimator="running", split="test"),
        OVER_STANDARDIZED,
        **THERE,
        holds=BELOW_0,
        ends="[)",
        unit="test loss",
        says="its test loss is lower",
        not_shown=AS_TRAINED,
    ),
    compare(
        "train_accuracy_same",
        f"{ON_INPUT} and {STANDARDIZED} end at the same training accuracy",
        OVER_STANDARDIZED,
        "running",
        "train",
        **THERE,
        holds=SAME,
        ends="[]",
        says="their training accuracies are almost the same",
        margin=WHY_MARGIN,
        not_shown="accuracy in training mode, which was compared there",
    ),
    compare(
        "input_equivalent",
        f"{ON_INPUT} equals {STANDARDIZED}",
        OVER_STANDARDIZED,
        "precise",
        holds=SAME,
        ends="[]",
        margin=WHY_MARGIN,
        not_shown="equality beyond the margin",
    ),
    compare(
        "dropout_between.above",
        f"dropout alone beats {STANDARDIZED} with batch norm in the hidden layers",
        DROPOUT_OVER_STANDARDIZED,
        "precise",
        **BETWEEN,
    ),
    compare("dropout_between.below", f"{ON_INPUT} beats dropout alone", BN_OVER_DROPOUT, "precise", **BETWEEN),
    compare("both_beat_bn", "batch norm and dropout together beat batch norm alone", BOTH_OVER_BN, "precise", **BEST),
    compare("both_beat_dropout", "both together beat dropout alone", BOTH_OVER_DROPOUT, "precise", **BEST),
    compare("interaction", "together they gain more than the sum of what each gains alone", INTERACTION, "precise"),
    *(
        compare(f"{arm}_beats_plain", f"{words(arm)} beats neither", {arm: 1, "plain": -1}, "precise")
        for arm in ARMS
        if arm != "plain"
    ),
    compare(
        "dense_beats_everywhere",
        "dropout in the dense layers alone beats dropout behind each layer and on the input",
        DENSE_OVER_DROPOUT,
        "precise",
    ),
    compare(
        "dense_beats_bn",
        "batch norm with dropout in the dense layers alone beats batch norm alone",
        DENSE_OVER_BN,
        "precise",
    ),
    spikes("gone", "precise statistics remove nine tenths of the spikes", 0.1, "0.1 x the largest rise", NINE_TENTHS),
    spikes("larger", "spikes of the validation loss are larger with running averages", 1.0, "largest rise"),
)
PRIMARY = "input_bn_beats.*", "input_equivalent.*", "dropout_between.*", "both_beat_*"
CLAIMS = tuple(with_primary(LISTED, *PRIMARY))
