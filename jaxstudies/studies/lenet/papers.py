"""What papers say of batch norm and dropout, held against LeNet-5."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.selection import Selector
from jaxstudies.studies.lenet import notebook
from jaxstudies.studies.lenet.claims import (
    ABOVE_0,
    BELOW_0,
    BOTH_OVER_BN,
    CLAIMS,
    LAST_OVER_BN,
    LAST_OVER_BOTH,
    NONE_DIVERGED,
    contrast,
)
from jaxstudies.studies.lenet.config import ArmName, Config
from jaxstudies.studies.lenet.design import epochs_of
from jaxstudies.studies.lenet.simulation import ESTIMATORS, SPLITS
from jaxstudies.study import Claim

PRECISE = "Wu and Johnson (arXiv 2105.07576)"
SHIFT = "Li, Chen, Hu and Yang (arXiv 1801.05134)"
DROPOUT = "Srivastava et al. (JMLR 15:1929)"
WITHOUT_DROPOUT: tuple[ArmName, ...] = ("standardized", "bn_input", "raw_bn")
"""Arms with batch norm that dropout does not disturb."""
TENTH = 1.1
LAYERS = "mean over the hidden layers"


def recovered(of: Selector, epoch: int, arms: Sequence[str], split: str = "validation") -> pd.Series:
    """Return by how many points precise statistics beat running averages after an epoch, mean over arms, by seed."""

    def accuracy(arm: str, estimator: str) -> pd.Series:
        place = {"estimator": ESTIMATORS.index(estimator), "split": SPLITS.index(split), "epoch": epoch}
        # The largest output of a network with NaN is its first one: it has an accuracy all the same.
        values, loss = (of(name, arm=arm, **place).astype(float) for name in ("accuracy", "loss"))
        return values.where(np.isfinite(loss))

    gains = [100 * (accuracy(arm, "precise") - accuracy(arm, "running")) for arm in arms]
    return pd.concat(gains, axis=1).mean(axis=1, skipna=False).dropna()


def faded(of: Selector) -> pd.Series:
    """Return by how many points that is more after the first epoch than after the last."""
    return recovered(of, 0, WITHOUT_DROPOUT) - recovered(of, -1, WITHOUT_DROPOUT)


def variance_shift(of: Selector, arm: ArmName) -> pd.Series:
    """Return by which factor the variance of units differs between training and evaluation, whichever is larger."""
    logs = of("variance_shift", arm=arm).map(lambda layers: np.mean(np.abs(np.log(layers))), na_action="ignore")
    return np.exp(logs.astype(float))


def shift_ratio(of: Selector, arm: ArmName) -> pd.Series:
    """Return how much more variances shift in an arm than without dropout."""
    return variance_shift(of, arm) / variance_shift(of, "bn_input")


def cost_of_shift(of: Selector) -> pd.Series:
    """Return by how many points more than without dropout, accuracy gains if statistics are taken without it."""
    return recovered(of, -1, ["bn_dropout"], "test") - recovered(of, -1, ["bn_input"], "test")


def less_coadapted(of: Selector, first: str, second: str) -> pd.Series:
    """Return the correlation between units in an arm, minus that in another."""
    with_, without = (of("coadaptation", arm=arm).map(np.mean, na_action="ignore") for arm in (first, second))
    return with_.astype(float) - without.astype(float)


claim = partial(Claim, estimand="median", selection=NONE_DIVERGED, primary=False)
of_precise = partial(
    claim, source=PRECISE, where="its comparison of both estimates, second hand", ends="(]", figure="accuracy"
)
of_shift = partial(claim, source=SHIFT, figure="final")
of_units = partial(of_shift, figure="units")
of_dropout = partial(
    claim, source=DROPOUT, where="abstract", ends="[)", unit="mean |correlation| of units", figure="units"
)
REMEDY, BEHIND_ALL = (
    "its first remedy, second hand",
    "dropout behind all layers of batch norm avoids the shift, and helps",
)
PREVENTS = "dropout prevents units from co-adapting too much"
A_SIGN = "co-adaptation itself, of which correlation is a sign that has other causes, too"
RESCALED = "validation accuracy in points, precise minus running, mean over arms with batch norm and without dropout"

PAPERS = (
    of_precise(
        "precise_recovers.first",
        "precise statistics beat running averages early in training, after the first epoch",
        partial(recovered, epoch=0, arms=WITHOUT_DROPOUT),
        ABOVE_0,
        says="running averages are a poor estimate where the network changes fast, as it does early; precise ones hold",
        unit="points of validation accuracy",
        method=RESCALED,
    ),
    of_precise(
        "precise_recovers.fades",
        "what they recover is less at the end of training than after the first epoch",
        faded,
        ABOVE_0,
        says="at the end of training both estimates give about the same",
        unit="points of validation accuracy",
        method=f"{RESCALED}: after the first epoch minus after the last",
        not_shown="that nothing is left: here the learning rate does not fall towards the end, as theirs does",
    ),
    of_units(
        "variance_shift",
        "dropout before batch norm shifts variances between training and evaluation, by a tenth at least",
        partial(shift_ratio, arm="bn_dropout"),
        (TENTH, np.inf),
        where="abstract",
        says="dropout shifts the variance of a unit when the network goes from training to test",
        margin="ours, since the abstract names no size: a tenth more than without dropout",
        unit="ratio of factors",
        method=f"factor between variances in training and evaluation, {LAYERS}, bn_dropout over bn_input",
    ),
    of_shift(
        "variance_shift_costs",
        "precise statistics give back more accuracy where dropout stands before batch norm than where there is none",
        cost_of_shift,
        ABOVE_0,
        ends="(]",
        where="abstract",
        says="the inconsistency of variances leads to more erroneous predictions",
        unit="points of test accuracy",
        method="precise minus running, bn_dropout minus bn_input, after the last epoch",
        not_shown="whether the shift costs accuracy: precise statistics make up for what running averages lag, too",
    ),
    of_shift(
        "dropout_costs_bn",
        "dropout before batch norm lowers accuracy",
        partial(contrast, weights=BOTH_OVER_BN, estimator="running"),
        BELOW_0,
        ends="[)",
        where="figure 1, second hand",
        says="a DenseNet on CIFAR-100 has 77.42 % without dropout, and 68.55 % with 0.5 in each bottleneck",
        unit="points of test accuracy",
        method="bn_dropout minus bn_input, running averages, after the last epoch",
        not_shown="that the shift of variances is the reason, and not the budget",
    ),
    of_units(
        "remedy.shift",
        "dropout behind the last batch norm leaves variances as they are without dropout, within a tenth",
        partial(shift_ratio, arm="bn_dropout_last"),
        (-np.inf, TENTH),
        where=REMEDY,
        says=BEHIND_ALL,
        margin="ours, as above: a tenth more than without dropout",
        unit="ratio of factors",
        method=f"factor between variances in training and evaluation, {LAYERS}, bn_dropout_last over bn_input",
    ),
    *(
        of_shift(
            f"remedy.{id_}",
            f"dropout behind the last batch norm beats {what}",
            partial(contrast, weights=weights, estimator="running"),
            ABOVE_0,
            ends="(]",
            where=REMEDY,
            says=BEHIND_ALL,
            unit="points of test accuracy",
            method=f"bn_dropout_last minus {arm}, running averages, after the last epoch",
        )
        for id_, what, weights, arm in (
            ("beats_before", "dropout before batch norm", LAST_OVER_BOTH, "bn_dropout"),
            ("beats_none", "batch norm without dropout", LAST_OVER_BN, "bn_input"),
        )
    ),
    *(
        of_dropout(
            f"coadaptation.{first}",
            f"dropout lowers the correlation between units ({words})",
            partial(less_coadapted, first=first, second=second),
            BELOW_0,
            says=PREVENTS,
            method=f"{LAYERS}, {first} minus {second}, in evaluation mode",
            not_shown=A_SIGN,
        )
        for first, second, words in (
            ("dropout", "plain", "without batch norm"),
            ("bn_dropout", "bn_input", "with batch norm"),
        )
    ),
)


def claims_of(config: Config) -> list[Claim]:
    """Return all claims; those on the notebook's networks of 5 epochs are judged of runs of that budget alone."""
    there = notebook.OF_ONE_BUDGET if epochs_of(config) == notebook.BUDGETS["bn_input"] else ()
    return [*CLAIMS, *notebook.CLAIMS, *there, *PAPERS]
