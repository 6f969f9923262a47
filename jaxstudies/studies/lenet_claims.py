"""The claims about LeNet-5, held against final accuracies and validation losses, paired by seed."""

import numpy as np
import pandas as pd

from jaxstudies import stats
from jaxstudies.claims import Claim, Verdict, judge_region
from jaxstudies.studies.lenet_networks import ARMS, ESTIMATORS

NOTEBOOK = "the source notebook"
IOFFE = "batch norm after a convolution undoes any scale and shift of its input"
MARGIN = 0.1


def curve(runs: pd.DataFrame, estimator: str, split: str, measure: str) -> np.ndarray:
    """Return a measure of each run and epoch, shape (runs, epochs)."""
    return runs.filter(regex=rf"^{estimator}_{split}_{measure}_\d+$").to_numpy(float)


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
