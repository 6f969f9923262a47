"""The claims about dying ReLU, held against counts over seeds and distances to constants."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.evidence.effects import Effect
from jaxstudies.networks.diagnostics import COLLAPSE_RULES
from jaxstudies.output.words import WORDS
from jaxstudies.selection import Selector
from jaxstudies.studies.dying_relu.config import Config
from jaxstudies.studies.dying_relu.counts import add_partners, has, in_epochs
from jaxstudies.studies.sources import NOTEBOOK
from jaxstudies.study import Claim, Results

PAPER = "Lu, Shin, Su and Karniadakis (arXiv 1903.06733)"
COLLAPSE = "Lu, Su and Karniadakis (arXiv 1808.04947)"
POPULATION = "A seed draws a network's weights and its training data anew; the order of examples is one for all."
SHAPE = {"depth": 10, "width": 2, "loss": "mse"}
"""The notebook's, on which all is judged."""
PROBLEMS = "problems 2.2 and 2.3"
SELECTION = "on the networks that collapsed"


def claims(config: Config) -> list[Claim]:
    """Return the claims, on ten hidden layers of width 2, |x|, MSE and the first initialization.

    Shares are of all networks; distances are of those in rows of their own, which of very many are the first.
    """
    study = {"part": "study", "target": "abs", "init": config.inits[0], **SHAPE}
    return [*share_claims(study), *lower_claims(study), *constant_claims(config, study | {"part": "long"})]


def by_other_rules(effect: Callable[..., Effect], own: str) -> dict[str, Callable[..., Effect]]:
    """Return an effect, which takes a rule for collapsed networks, by each but a claim's own."""
    return {rule: partial(effect, rule=rule) for rule in COLLAPSE_RULES if rule != own}


def share_claims(study: dict) -> list[Claim]:
    """Return the claims on how many networks collapse."""
    relu, leaky = (study | {"activation": name} for name in ("relu", "leaky_relu"))
    above = Claim(
        "relu_above_90",
        "ReLU collapses in more than 90 % of runs",
        partial(collapsed, activation="relu", rule="zero_slope"),
        (0.9, 1.0),
        PAPER,
        "share",
        unit="share of runs",
        method=told_by("zero_slope"),
        ends="(]",
        where="its numerical examples, second hand",
        says="over 90 % of a thousand simulations collapse",
        settings=relu,
        readings=by_other_rules(partial(collapsed, activation="relu"), "zero_slope"),
        figure="shares",
        not_shown="the share with nine hidden layers, which with the output are ten in the paper's count",
    )
    as_reported = partial(
        Claim, source=NOTEBOOK, estimand="share_against", unit="difference of shares", figure="shares"
    )
    exactly = as_reported(
        "relu_99.6",
        "ReLU's share is 99.6 %",
        partial(collapsed, activation="relu", rule="zero_range"),
        (-0.01, 0.01),
        arguments={"count": 996, "of": 1000},
        method=told_by("zero_range"),
        margin="sampling error of the notebook's 1,000 runs, 0.4 points, rounded up to a whole point",
        where=PROBLEMS,
        says="99.6 % of 1,000 networks are dead: 100 outputs are equal; that is more than in the paper",
        settings=relu,
        readings=by_other_rules(partial(collapsed, activation="relu"), "zero_range"),
        not_shown="the share with a linear first layer, which the notebook has",
    )
    lowered_to = as_reported(
        "leaky_83",
        "Leaky ReLU's share is 83 %",
        partial(collapsed, activation="leaky_relu", rule="zero_range"),
        (-0.03, 0.03),
        arguments={"count": 830, "of": 1000},
        method=told_by("zero_range"),
        margin="sampling error of the notebook's 1,000 runs, 2.3 points, rounded up to whole points",
        where=PROBLEMS,
        says="83.0 % of 1,000 networks are dead, by the same rule, but on another target, |x sin 5x|",
        settings=leaky,
        readings=by_other_rules(partial(collapsed, activation="leaky_relu"), "zero_range"),
        not_shown="the share on |x sin 5x|, or with a linear first layer, which the notebook has",
    )
    return [above, exactly, lowered_to]


def lower_claims(study: dict) -> list[Claim]:
    """Return the claims that fewer Leaky ReLU networks collapse than ReLU networks of the same seeds."""

    def claim(rule: str) -> Claim:
        return Claim(
            f"leaky_lowers.{rule}",
            f"Leaky ReLU lowers it, by the rule: {WORDS[rule]}",
            partial(lowered, rule=rule),
            (-1.0, 0.0),
            estimand="share_difference",
            unit="difference of shares",
            method=f"Leaky ReLU minus ReLU on the same seeds; {told_by(rule)}",
            ends="[)",
            settings=study | {"activation": ("relu", "leaky_relu")},
            figure="shares",
        )

    notebook = replace(
        claim("zero_range"),
        source=NOTEBOOK,
        where=PROBLEMS,
        says="Leaky ReLU lowers the share of networks of which 100 outputs are equal",
        not_shown="that a network is constant: float32 may round away how its outputs differ",
    )
    return [notebook, claim("range_1e-3")]


def flags_of(of: Selector, rule: str, stage: int = 1, **labels: object) -> pd.Series:
    """Return which networks of a setting are constants by a rule, by seed; NaN for those that are not finite.

    Stage 0 is before training, and 1 after.
    """
    flags = of("collapsed", stage=stage, rule=COLLAPSE_RULES.index(rule), **labels).astype(float)
    return flags.where(of("nonfinite", **labels) == 0)


def constant_claims(config: Config, long: dict) -> list[Claim]:
    """Return the claims on what a collapsed network outputs, after a budget in which a constant arrives."""
    says = "a collapsed network outputs the mean of the target under MSE, its median under MAE"
    of_dead = partial(Claim, source=COLLAPSE, estimand="median", selection=SELECTION, where="abstract", says=says)
    text, unit = "a collapsed network outputs the target's mean", "sd of the target"
    at_mean = of_dead(
        "constant_is_mean.long",
        f"{text} ({in_epochs(config.long_epochs)}, |x|)",
        distance_to_mean,
        (0.0, 0.1),
        unit=unit,
        method="distance of the constant to the mean",
        margin="a constant that is 0.1 sd off has an MSE 1 % above the mean's",
        settings=long | {"activation": "relu"},
        readings=by_other_rules(distance_to_mean, "zero_slope"),
        not_shown="whether it is the mean or the median, which are equal on |x|",
    )
    not_median = of_dead(
        "constant_is_mean.not_median",
        f"{text} rather than its median ({in_epochs(config.long_epochs)}, x sin 5x)",
        nearer_to_mean,
        (0.0, np.inf),
        unit=unit,
        method="distance of the constant to the median minus its distance to the mean",
        ends="(]",
        settings=long | {"activation": "relu", "target": "x_sin_5x"},
        readings=by_other_rules(nearer_to_mean, "zero_slope"),
        not_shown="that it is the median under MAE",
    )
    return [at_mean, not_median]


def told_by(rule: str) -> str:
    """Return in words how collapsed networks are told."""
    return f"rule: {WORDS[rule]}, on a grid after training, float32"


def judged(results: Results) -> pd.DataFrame:
    """Return the networks that are judged: finite, trained, of the notebook's shape and loss."""
    runs = results.runs
    same = (runs[list(SHAPE)] == pd.Series(SHAPE)).all(axis=1) & (runs["init"] == results.config.inits[0])
    return add_partners(runs[same & (runs["epochs"] > 0) & ~runs["nonfinite"]].reset_index(drop=True))


def networks(of: Selector, part: str, activation: str, target: str) -> pd.DataFrame:
    """Return the networks that are judged of a part of the study."""
    rows = of.shared(judged)
    return rows[(rows["part"] == part) & (rows["activation"] == activation) & (rows["target"] == target)]


def effect(rows: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    """Return an effect by network or, of very many, by kind."""
    return rows[["seed", "count"]].assign(value=value)


def collapsed(of: Selector, activation: str, rule: str) -> pd.DataFrame:
    """Return which networks are collapsed after training."""
    rows = networks(of, "study", activation, "abs")
    return effect(rows, has(rows["outcome"], "trained", rule))


def lowered(of: Selector, rule: str) -> pd.DataFrame:
    """Return which Leaky ReLU networks are collapsed, minus which ReLU networks of the same seeds are."""
    leaky = networks(of, "study", "leaky_relu", "abs")
    pairs = leaky[leaky["relu"] >= 0]
    first, second = (has(pairs[kind], "trained", rule).astype(int) for kind in ("outcome", "relu"))
    return effect(pairs, first - second)


def dead(of: Selector, target: str, rule: str) -> pd.DataFrame:
    """Return the ReLU networks that are collapsed after the long budget."""
    rows = networks(of, "long", "relu", target)
    return rows[has(rows["outcome"], "trained", rule)]


def distance_to_mean(of: Selector, rule: str = "zero_slope") -> pd.DataFrame:
    """Return how far the constants of collapsed networks are from the mean of |x|."""
    rows = dead(of, "abs", rule)
    return effect(rows, rows["gap_to_mean"])


def nearer_to_mean(of: Selector, rule: str = "zero_slope") -> pd.DataFrame:
    """Return by how much the constants are nearer to the mean of x sin 5x than to its median."""
    rows = dead(of, "x_sin_5x", rule)
    return effect(rows, rows["gap_to_median"] - rows["gap_to_mean"])
