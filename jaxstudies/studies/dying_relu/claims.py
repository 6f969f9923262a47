"""The claims about dying ReLU, held against counts over seeds and distances to constants."""

import numpy as np
import pandas as pd

from jaxstudies.networks.diagnostics import COLLAPSE_RULES as RULES
from jaxstudies.studies.dying_relu.counts import add_partners, has, in_epochs
from jaxstudies.study import Claim, Results

LU = "Lu, Su and Karniadakis (arXiv 1808.04947)"
NOTEBOOK = "the source notebook"


def judged(results: Results) -> pd.DataFrame:
    """Return the networks that are judged: finite, trained, of the notebook's shape and loss."""
    runs, init = results.runs, results.config.inits[0]
    same = (runs["depth"] == 10) & (runs["width"] == 2) & (runs["loss"] == "mse")
    same &= (runs["epochs"] > 0) & (runs["init"] == init) & ~runs["nonfinite"]
    return add_partners(runs[same].reset_index(drop=True))


def effect(rows: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    """Return an effect by network or, of very many, by kind."""
    return rows[["seed", "count"]].assign(value=value)


def claims(results: Results) -> list[Claim]:
    """Return the claims, on ten hidden layers of width 2, |x|, MSE and the first initialization.

    Shares are of all networks; distances are averaged over those in rows of their own, which of
    very many are the first. Without such runs a claim has no effects.
    """
    rows = judged(results)
    study = rows[(rows["part"] == "study") & (rows["target"] == "abs")]
    relu, leaky = (study[study["activation"] == name] for name in ("relu", "leaky_relu"))
    return [*about_relu(relu), *about_leaky(leaky), *about_constants(results, relu, rows)]


def about_relu(relu: pd.DataFrame) -> list[Claim]:
    """Return the claims on how many ReLU networks collapse."""
    collapsed = effect(relu, has(relu["outcome"], "trained", "zero_slope"))
    return [
        Claim(
            "relu_above_90",
            "ReLU collapses in more than 90 % of runs",
            lambda of: collapsed,
            (0.9, 1.0),
            LU,
            estimand="share",
            unit="share of runs",
            method="Wilson interval; rule zero_slope after training, float32",
        ),
        Claim(
            "relu_99.6",
            "ReLU's share is 99.6 %, above Lu et al.'s",
            lambda of: collapsed,
            (-0.01, 0.01),
            NOTEBOOK,
            "share_against",
            {"count": 996, "of": 1000},
            unit="difference of shares",
            method="difference from the notebook's 996 of 1,000, Newcombe interval, held against "
            "one point either way; rule zero_slope after training, float32",
        ),
    ]


def about_leaky(leaky: pd.DataFrame) -> list[Claim]:
    """Return the claims on Leaky ReLU, against ReLU and by itself."""
    pairs = leaky[leaky["relu"] >= 0]

    def difference(rule: str) -> pd.DataFrame:
        first, second = (has(pairs[kind], "trained", rule) for kind in ("outcome", "relu"))
        return effect(pairs, first.astype(int) - second.astype(int))

    lowers = [
        Claim(
            f"leaky_lowers.{rule}",
            f"Leaky ReLU lowers it, by rule {rule}",
            lambda of, rule=rule: difference(rule),
            (-1.0, 0.0),
            NOTEBOOK,
            "share_difference",
            unit="difference of shares",
            method="Leaky ReLU minus ReLU on the same seeds, Agresti-Min interval; float32",
        )
        for rule in RULES
    ]
    exact = effect(leaky, has(leaky["outcome"], "trained", "zero_range"))
    return [
        *lowers,
        Claim(
            "leaky_83",
            "Leaky ReLU lowers it to 83 %",
            lambda of: exact,
            (-0.01, 0.01),
            NOTEBOOK,
            "share_against",
            {"count": 830, "of": 1000},
            unit="difference of shares",
            method="difference from the notebook's 830 of 1,000, Newcombe interval, held against "
            "one point either way; rule zero_range after training, float32",
        ),
    ]


def about_constants(results: Results, relu: pd.DataFrame, rows: pd.DataFrame) -> list[Claim]:
    """Return the claims on what a collapsed network outputs, after both budgets."""
    dead = rows[has(rows["outcome"], "trained", "zero_slope")]
    long = dead[dead["part"] == "long"]
    short, on_abs = dead.loc[dead.index.intersection(relu.index)], long[long["target"] == "abs"]
    told = long[long["target"] == "x_sin_5x"]
    text, config = "a collapsed network outputs the target's mean", results.config

    def distance(budget: str, epochs: int, networks: pd.DataFrame) -> Claim:
        return Claim(
            f"constant_is_mean.{budget}",
            f"{text} ({in_epochs(epochs)}, |x|)",
            lambda of: effect(networks, networks["gap_to_mean"]),
            (0.0, 0.1),
            LU,
            unit="distance to the mean / sd of the target",
            method="mean distance over dead networks, t interval, held against 0.1",
        )

    return [
        distance("study", config.epochs, short),
        distance("long", config.long_epochs, on_abs),
        Claim(
            "constant_is_mean.not_median",
            f"{text} rather than its median (x sin 5x)",
            lambda of: effect(told, told["gap_to_median"] - told["gap_to_mean"]),
            (0.0, np.inf),
            LU,
            unit="sd of the target",
            method="distance to the median minus distance to the mean, dead networks, t interval",
        ),
    ]
