"""The claims about dying ReLU, held against counts over seeds and distances to constants."""

from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.evidence.claims import with_primary
from jaxstudies.networks.diagnostics import COLLAPSE_RULES as RULES
from jaxstudies.output.words import WORDS
from jaxstudies.studies.dying_relu.config import Config
from jaxstudies.studies.dying_relu.counts import add_partners, has, in_epochs
from jaxstudies.study import Claim, Results

LU = "Lu, Su and Karniadakis (arXiv 1808.04947)"
difference_claim = partial(Claim, source="the source notebook", unit="difference of shares")


def claims(results: Results) -> list[Claim]:
    """Return the claims, on ten hidden layers of width 2, |x|, MSE and the first initialization.

    Shares are of all networks; distances are averaged over those in rows of their own, which of
    very many are the first. Without such runs a claim has no effects.
    """
    rows = judged(results)
    study = rows[(rows["part"] == "study") & (rows["target"] == "abs")]
    relu, leaky = (study[study["activation"] == name] for name in ("relu", "leaky_relu"))
    words = "ReLU collapses in more than 90 % of runs"
    method = "Wilson interval; rule zero_slope after training, float32"
    above = partial(Claim, "relu_above_90", words, unit="share of runs", method=method, estimand="share")
    listed = [
        above(lambda of: collapsed(relu, "zero_slope"), (0.9, 1.0), LU),
        share_claim("relu_99.6", "ReLU's share is 99.6 %, above Lu et al.'s", relu, "zero_slope", 996),
        *(lower_claim(leaky, rule) for rule in RULES),
        share_claim("leaky_83", "Leaky ReLU lowers it to 83 %", leaky, "zero_range", 830),
        *constant_claims(results.config, rows, relu.index),
    ]
    either = "leaky_lowers.zero_slope", "leaky_lowers.range_1e-3"  # the rule decides
    return with_primary(listed, "relu_*", "leaky_83", *either, "constant_is_mean.long", "constant_is_mean.not_median")


def judged(results: Results) -> pd.DataFrame:
    """Return the networks that are judged: finite, trained, of the notebook's shape and loss."""
    runs, init = results.runs, results.config.inits[0]
    same = (runs["depth"] == 10) & (runs["width"] == 2) & (runs["loss"] == "mse")
    same &= (runs["epochs"] > 0) & (runs["init"] == init) & ~runs["nonfinite"]
    return add_partners(runs[same].reset_index(drop=True))


def effect(rows: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    """Return an effect by network or, of very many, by kind."""
    return rows[["seed", "count"]].assign(value=value)


def collapsed(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return which networks are collapsed after training."""
    return effect(rows, has(rows["outcome"], "trained", rule))


def share_claim(id_: str, words: str, rows: pd.DataFrame, rule: str, count: int) -> Claim:
    """Return the claim that as many collapse as in the notebook."""
    method = f"difference from the notebook's {count} of 1,000, Newcombe interval, held against "
    method += f"one point either way; rule {rule} after training, float32"
    notebook = {"estimand": "share_against", "arguments": {"count": count, "of": 1000}}
    return difference_claim(id_, words, lambda of: collapsed(rows, rule), (-0.01, 0.01), method=method, **notebook)


def lower_claim(leaky: pd.DataFrame, rule: str) -> Claim:
    """Return the claim that fewer Leaky ReLU networks collapse than ReLU networks of the same seeds."""
    pairs = leaky[leaky["relu"] >= 0]
    first, second = (has(pairs[kind], "trained", rule).astype(int) for kind in ("outcome", "relu"))
    id_, words = f"leaky_lowers.{rule}", f"Leaky ReLU lowers it, by the rule: {WORDS[rule]}"
    method = "Leaky ReLU minus ReLU on the same seeds, Agresti-Min interval; float32"
    claim = partial(difference_claim, id_, words, estimand="share_difference", method=method)
    return claim(lambda of: effect(pairs, first - second), (-1.0, 0.0))


def constant_claims(config: Config, rows: pd.DataFrame, short: pd.Index) -> list[Claim]:
    """Return the claims on what a collapsed network outputs, after both budgets."""
    dead = rows[has(rows["outcome"], "trained", "zero_slope")]
    long = dead[dead["part"] == "long"]
    on_abs, told = (long[long["target"] == target] for target in ("abs", "x_sin_5x"))
    id_, text = "constant_is_mean", "a collapsed network outputs the target's mean"
    unit = "distance to the mean / sd of the target"
    method = "mean distance over dead networks, t interval, held against 0.1"

    def distance(budget: str, epochs: int, networks: pd.DataFrame) -> Claim:
        words, gap = f"{text} ({in_epochs(epochs)}, |x|)", effect(networks, networks["gap_to_mean"])
        return Claim(f"{id_}.{budget}", words, lambda of: gap, (0.0, 0.1), LU, unit=unit, method=method)

    words, gap = f"{text} rather than its median (x sin 5x)", effect(told, told["gap_to_median"] - told["gap_to_mean"])
    how = "distance to the median minus distance to the mean, dead networks, t interval"
    return [
        distance("study", config.epochs, dead.loc[dead.index.intersection(short)]),
        distance("long", config.long_epochs, on_abs),
        Claim(f"{id_}.not_median", words, lambda of: gap, (0.0, np.inf), LU, unit="sd of the target", method=how),
    ]
