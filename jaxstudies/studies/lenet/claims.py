"""The claims about LeNet-5, held against final accuracies and validation losses, paired by seed."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.evidence.claims import POSITIVE, Claim, with_primary
from jaxstudies.studies.lenet.design import ARMS
from jaxstudies.studies.lenet.simulation import ESTIMATORS, SPLITS

Weights = Mapping[str, int]
"""Of arms, in a sum of their accuracies."""
Of = Callable[..., pd.Series]

NOTEBOOK = "the source notebook"
IOFFE = "batch norm after a convolution undoes any scale and shift of its input"
WU = "Wu and Johnson (arXiv 2105.07576)"

MARGIN = 0.1
SAME = (-MARGIN, MARGIN)
ON_INPUT, STANDARDIZED, RAW = "batch norm on the input", "a standardized input", "pixels in [0, 1]"
BETWEEN = "dropout alone lies between standard normalization and batch norm on the input"
BETTER = "batch norm and dropout together beat"
GAIN = "together they gain more than the sum of what each gains alone"
SPIKES = "spikes of the validation loss come from the running averages"

OVER_STANDARDIZED: Weights = {"bn_input": 1, "standardized": -1}
OVER_RAW: Weights = {"bn_input": 1, "raw_bn": -1}
BY_BOTH: tuple[tuple[str, str, Weights], ...] = (
    ("dropout_between.above", f"{BETWEEN}: above the first", {"dropout": 1, "standardized": -1}),
    ("dropout_between.below", f"{BETWEEN}: below the second", {"bn_input": 1, "dropout": -1}),
    ("both_beat_bn", f"{BETTER} batch norm alone", {"bn_dropout": 1, "bn_input": -1}),
    ("both_beat_dropout", f"{BETTER} dropout alone", {"bn_dropout": 1, "dropout": -1}),
    ("interaction", GAIN, {"bn_dropout": 1, "bn_input": -1, "dropout": -1, "plain": 1}),
)
"""Claims that are judged with either statistics: identifier, words, weights."""
CONTRASTS = (OVER_STANDARDIZED, OVER_RAW, *(weights for _, _, weights in BY_BOTH))


def contrast(of: Of, weights: Weights, estimator: str) -> pd.Series:
    """Return a weighted sum of the arms' final test accuracies by seed, in points; NaN where one has diverged."""
    place = {"estimator": ESTIMATORS.index(estimator), "split": SPLITS.index("test"), "epoch": -1}

    def accuracy(arm: str) -> pd.Series:
        # The largest output of a network with NaN is its first one: it has an accuracy all the same.
        seen, loss = (of(measure, arm=arm, **place).astype(float) for measure in ("accuracy", "loss"))
        return seen.where(np.isfinite(loss))

    arms = [w * accuracy(arm) for arm, w in weights.items()]
    # Of arms that share no seeds nothing is left.
    return 100 * pd.concat(arms, axis=1).sum(axis=1, skipna=False)


def compare(identifier: str, words: str, weights: Weights, estimator: str, source=NOTEBOOK, holds=POSITIVE) -> Claim:
    """Return a claim about a weighted sum of accuracies; by default it is above 0."""
    sides = " ".join(f"{'+' if w > 0 else '-'} {arm}" for arm, w in weights.items())
    kind = "equivalence within +-0.1 point" if holds == SAME else "paired t interval"
    margin = "the standard error of 99 % of 10,000 images" if holds == SAME else ""
    unit, method = "points of test accuracy", f"{sides}, after the last epoch, on the same seeds; {kind}, 95 %"
    claim = partial(Claim, f"{identifier}.{estimator}", f"{words} ({estimator} statistics)", unit=unit, method=method)
    return claim(lambda of: contrast(of, weights, estimator), holds, source, margin=margin)


def rises(of: Of, estimator: str) -> pd.DataFrame:
    """Return the largest rise of the validation loss from an epoch to the next, or 0, by seed and normalized arm."""
    place = {"estimator": ESTIMATORS.index(estimator), "split": SPLITS.index("validation")}
    losses = [of("loss", arm=name, **place) for name, arm in ARMS.items() if arm.batch_norm]
    largest = [of_arm.map(lambda curve: np.diff(curve).max(initial=0)).astype(float) for of_arm in losses]
    return pd.concat(largest, axis=1)


def spikes(identifier: str, words: str, share: float, of_running: str) -> Claim:
    """Return a claim that a share of the rise with running averages exceeds that with precise.

    It is on the mean over arms: arms of one seed share their batches, and the seed is what is independent.
    """

    def effect(of: Of) -> pd.Series:
        by_arm = [rises(of, estimator) for estimator in ESTIMATORS]
        both = by_arm[0].notna() & by_arm[1].notna()  # a loss may be NaN with the one and not with the other
        running, precise = (rises.where(both).mean(axis=1) for rises in by_arm)
        if not (running + precise).any():  # nowhere a spike: nothing to explain
            return running[:0]
        return share * running - precise

    method = f"{of_running} with running averages - largest rise with precise statistics, "
    method += "from an epoch to the next, mean over arms with batch norm, t interval over seeds"
    said = f"{SPIKES}: {words}"
    return Claim(f"spikes.{identifier}", said, effect, POSITIVE, WU, unit="validation loss", method=method)


LISTED = (
    compare("input_bn_beats", f"{ON_INPUT} beats {STANDARDIZED}", OVER_STANDARDIZED, "running"),
    compare("input_bn_beats_raw", f"{ON_INPUT} beats {RAW}", OVER_RAW, "running"),
    compare("input_equivalent", f"{ON_INPUT} equals {STANDARDIZED}", OVER_STANDARDIZED, "precise", IOFFE, SAME),
    compare("input_equivalent_raw", f"{ON_INPUT} equals {RAW}", OVER_RAW, "precise", IOFFE, SAME),
    *(compare(*listed, estimator) for listed in BY_BOTH for estimator in ESTIMATORS),
    spikes("gone", "precise statistics remove nine tenths of them", 0.9, "0.9 x largest rise"),
    spikes("larger", "they are larger with running averages", 1.0, "largest rise"),
)
PRIMARY = "input_bn_beats.*", "input_equivalent.*", "both_beat_*.running", "interaction.running", "spikes.*"
CLAIMS = tuple(with_primary(LISTED, *PRIMARY))
