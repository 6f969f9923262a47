"""The claims about dying ReLU, held against counts over seeds and distances to constants."""

import numpy as np
import pandas as pd

from jaxstudies import stats
from jaxstudies.claims import Claim, Verdict, judge_region
from jaxstudies.diagnostics import COLLAPSE_RULES as RULES
from jaxstudies.studies.dying_relu_counts import LABELS, condense, in_epochs, number

LU = "Lu, Su and Karniadakis (arXiv 1808.04947)"
NOTEBOOK = "the source notebook"
MEASURED = [*LABELS, "nonfinite", "trained_zero_slope", "gap_to_mean", "gap_to_median"]


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims, on ten hidden layers of width 2, |x|, MSE and the first initialization.

    Shares are of all networks; distances are averaged over those in rows of their own, which of
    very many are the first. Without such runs a verdict is inconclusive, with n = 0.
    """
    init = runs["init"].iloc[0]
    kinds = condense(_judged(runs, init))
    study = kinds[(kinds["part"] == "study") & (kinds["target"] == "abs")]
    relu, leaky = (study[study["activation"] == name] for name in ("relu", "leaky_relu"))
    rows = _judged(runs.reindex(columns=MEASURED), init)
    dead = rows[rows["trained_zero_slope"].eq(True) & rows["gap_to_mean"].notna()]
    short = dead[(dead["part"] == "study") & (dead["target"] == "abs")]
    short, long = short[short["activation"] == "relu"], dead[dead["part"] == "long"]
    num_relu, num_leaky = number(relu), number(leaky)
    collapsed, exact = number(relu, "trained_zero_slope"), number(leaky, "trained_zero_range")
    verdicts = [
        judge_region(
            Claim("relu_above_90", "ReLU collapses in more than 90 % of runs", LU),
            stats.wilson(collapsed, num_relu), holds=(0.9, 1.0),
            unit="share of runs", n=num_relu,
            method="Wilson interval; rule zero_slope after training, float32",
        ),
        judge_region(
            Claim("relu_99.6", "ReLU's share is 99.6 %, above Lu et al.'s", NOTEBOOK),
            stats.difference_of_shares(collapsed, num_relu, 996, 1000), holds=(-0.01, 0.01),
            unit="difference of shares", n=num_relu,
            method="difference from the notebook's 996 of 1,000, Newcombe interval, held against "
            "one point either way; rule zero_slope after training, float32",
        ),
    ]  # fmt: skip
    for rule in RULES:
        pairs = leaky[leaky[f"relu_{rule}"].notna()]
        of_leaky, of_relu = (pairs[f"{kind}_{rule}"].eq(True) for kind in ("trained", "relu"))
        only = (number(pairs[of_leaky & ~of_relu]), number(pairs[of_relu & ~of_leaky]))
        verdicts.append(
            judge_region(
                Claim(f"leaky_lowers.{rule}", f"Leaky ReLU lowers it, by rule {rule}", NOTEBOOK),
                stats.paired_difference_of_shares(*only, number(pairs)), holds=(-1.0, 0.0),
                unit="difference of shares", n=number(pairs),
                method="Leaky ReLU minus ReLU on the same seeds, Agresti-Min interval; float32",
            )
        )  # fmt: skip
    verdicts.append(
        judge_region(
            Claim("leaky_83", "Leaky ReLU lowers it to 83 %", NOTEBOOK),
            stats.difference_of_shares(exact, num_leaky, 830, 1000), holds=(-0.01, 0.01),
            unit="difference of shares", n=num_leaky,
            method="difference from the notebook's 830 of 1,000, Newcombe interval, held against "
            "one point either way; rule zero_range after training, float32",
        )
    )  # fmt: skip
    text = "a collapsed network outputs the target's mean"
    for name, table in (("study", short), ("long", long[long["target"] == "abs"])):
        epochs = in_epochs(table["epochs"].iloc[0]) if len(table) else "no such runs"
        verdicts.append(
            judge_region(
                Claim(f"constant_is_mean.{name}", f"{text} ({epochs}, |x|)", LU),
                stats.mean_interval(table["gap_to_mean"].to_numpy()), holds=(0.0, 0.1),
                unit="distance to the mean / sd of the target", n=len(table),
                method="mean distance over dead networks, t interval, held against 0.1",
            )
        )  # fmt: skip
    told = long[long["target"] == "x_sin_5x"]
    verdicts.append(
        judge_region(
            Claim("constant_is_mean.not_median", f"{text} rather than its median (x sin 5x)", LU),
            stats.mean_interval((told["gap_to_median"] - told["gap_to_mean"]).to_numpy()),
            holds=(0.0, np.inf), unit="sd of the target", n=len(told),
            method="distance to the median minus distance to the mean, dead networks, t interval",
        )
    )  # fmt: skip
    return verdicts


def _judged(runs: pd.DataFrame, init: str) -> pd.DataFrame:
    rows = runs[(runs["part"] != "map") & (runs["depth"] == 10) & (runs["width"] == 2)]
    rows = rows[(rows["loss"] == "mse") & (rows["epochs"] > 0) & (rows["init"] == init)]
    return rows[rows["nonfinite"].eq(False)] if "nonfinite" in rows else rows[:0]
