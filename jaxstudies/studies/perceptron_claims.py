"""Hinge loss held against the perceptron criterion, on the training sets that both learned from."""

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from jaxstudies import stats
from jaxstudies.claims import Claim, Verdict, judge_region

NOTEBOOK = "the source notebook"
Pair = tuple[pd.DataFrame, pd.DataFrame]
"""Runs of the perceptron and of hinge, by seed; the seeds are the same."""


def paired(
    table: pd.DataFrame, perceptron_epochs: float, hinge_epochs: float, rate: float | None = None
) -> Pair:
    """Return the runs at two budgets, on the seeds that have both.

    Args:
        table: Runs of one training set size.
        perceptron_epochs: The perceptron's budget.
        hinge_epochs: Hinge's budget.
        rate: Hinge's learning rate; by default the first. The perceptron's is always the first:
            its predictions do not depend on it.
    """
    pair = (
        first_runs(table[table["rule"] == "perceptron"], perceptron_epochs),
        first_runs(table[table["rule"] == "hinge"], hinge_epochs, rate),
    )
    seeds = pair[0].index.intersection(pair[1].index)
    return pair[0].loc[seeds], pair[1].loc[seeds]


def first_runs(table: pd.DataFrame, epochs: float, rate: float | None = None) -> pd.DataFrame:
    """Return a rule's runs at a budget, of the first margin and learning rate, or that rate."""
    for column, value in (("learning_rate", rate), ("margin", None)):
        if len(table):
            table = table[table[column] == (table[column].iloc[0] if value is None else value)]
    return table[table["epochs"] == epochs].set_index("seed")


def compare(name: str, words: str, perceptron: pd.DataFrame, hinge: pd.DataFrame) -> list[Verdict]:
    """Judge whether hinge is more accurate and more stable, on average over training sets."""
    n = len(hinge)
    return [
        judge_region(
            Claim(f"hinge_accurate.{name}", f"hinge is more accurate ({words})", NOTEBOOK),
            stats.mean_interval((hinge["accuracy"] - perceptron["accuracy"]).to_numpy(float)),
            holds=(0, np.inf), unit="mean accuracy, hinge minus perceptron", n=n,
            method="paired on training sets, exact accuracy, t interval",
        ),
        judge_region(
            Claim(f"hinge_stable.{name}", f"hinge's predictions are more stable ({words})",
                  NOTEBOOK),
            stats.mean_interval(
                (hinge["flip_fraction"] - perceptron["flip_fraction"]).to_numpy(float)
            ),
            holds=(-np.inf, 0), unit="share of test predictions flipped by another training set, "
            "hinge minus perceptron", n=n,
            method="paired on pairs of training sets, test points, t interval",
        ),
    ]  # fmt: skip


def compare_tails(
    name: str, words: str, perceptron: pd.DataFrame, hinge: pd.DataFrame
) -> list[Verdict]:
    """Judge whether hinge's worst cases are better, and whether both separate the training set."""
    n = len(hinge)
    both = (hinge["consistent"] & perceptron["consistent"]).to_numpy(bool)
    return [
        judge_region(
            Claim(f"hinge_tail.{name}", f"hinge's worst cases are better ({words})",
                  "a reading of the notebook's claim"),
            tail_difference(hinge["accuracy"].to_numpy(), perceptron["accuracy"].to_numpy()),
            holds=(0, np.inf), unit="5 % quantile of accuracy, hinge minus perceptron",
            n=n, method="paired percentile bootstrap, 200 resamples",
        ),
        judge_region(
            Claim(f"both_separate.{name}", f"both classify the training set ({words})", NOTEBOOK),
            stats.wilson(int(both.sum()), n), holds=(0.99, 1.0),
            unit="share of sets that both separate", n=n,
            method="Wilson interval, held against at least 99 %",
        ),
    ]  # fmt: skip


def tail_difference(first: np.ndarray, second: np.ndarray) -> stats.Interval:
    """Return the difference of 5 % quantiles of paired values, with its bootstrap interval."""
    if len(first) < 2:
        return stats.NO_DATA

    def statistic(a, b, axis=-1):
        return np.quantile(a, 0.05, axis=axis) - np.quantile(b, 0.05, axis=axis)

    ends = bootstrap(
        (first, second), statistic, paired=True, n_resamples=200, batch=50,
        method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(statistic(first, second)), float(ends.low), float(ends.high)
