"""Hinge loss held against the perceptron criterion, on the training sets that both learned from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from jaxstudies.studies.perceptron.config import MAP_EPOCHS, MAP_RATES, Config
from jaxstudies.study import Claim, Results

NOTEBOOK = "the source notebook"


@dataclass(frozen=True)
class Pair:
    """Two settings on the same training sets."""

    name: str
    words: str
    perceptron: dict[str, object]
    """Labels of its setting."""
    hinge: dict[str, object]
    converged: bool = False
    """Whether only sets count on which both converged."""

    def take(self, of, measure: str) -> pd.DataFrame:
        """Return a measure of hinge (`value`) and of the perceptron (`other`) by seed."""
        both = {"value": of(measure, **self.hinge), "other": of(measure, **self.perceptron)}
        rows = pd.DataFrame(both).dropna()
        if self.converged:
            done = of("converged", **self.hinge) * of("converged", **self.perceptron)
            rows = rows[done.reindex(rows.index) == 1]
        return rows

    def gain(self, of, measure: str) -> pd.Series:
        """Return the difference, hinge minus perceptron, by seed."""
        rows = self.take(of, measure)
        return rows["value"] - rows["other"]


def claims(results: Results) -> list[Claim]:
    """List the claims at the first size, learning rate and margin; then look where they turn."""
    c: Config = results.config
    (size, *_), (first, *_), longest = c.num_train, c.learning_rates, c.budgets[-1]

    def pair(name, words, part, size, perceptron_epochs, hinge_epochs, rate=first, converged=False):
        # The perceptron's predictions do not depend on its rate; it has the first everywhere.
        where = {"num_train": size, "part": part}
        perceptron = {"epochs": perceptron_epochs, "rule": "perceptron", "learning_rate": first, "margin": 0.0}
        hinge = {"epochs": hinge_epochs, "rule": "hinge", "learning_rate": rate, "margin": c.margins[0]}
        return Pair(name, words, perceptron | where, hinge | where, converged)

    both = "sets on which both converged"
    judged = [
        pair("notebook", "perceptron 50 epochs, hinge 200", "study", size, 50, 200),
        pair("50", "50 epochs each", "study", size, 50, 50),
        pair("200", "200 epochs each", "study", size, 200, 200),
        pair("longest", f"{longest} epochs each", "study", size, longest, longest),
    ]
    turns = [pair(f"n{n}", f"{n} training points, 200 epochs", "curve", n, 200, 200) for n in c.curve_sizes]
    # At the default rate few hinge runs converge: on sets with wide margins, which are easy to
    # separate but leave room for errors. At the map's largest rate nearly all do.
    words = f"{longest} epochs, {both}"
    ends = [pair("converged", words, "study", size, longest, longest, converged=True)]
    if c.map:
        for r in MAP_RATES:
            turns.append(pair(f"rate{r:g}", f"learning rate {r:g}, 200 epochs", "map", size, 200, 200, r))
        rate, last = MAP_RATES[-1], MAP_EPOCHS[-1]
        words = f"learning rate {rate:g}, {last} epochs, {both}"
        ends.append(pair(f"rate{rate:g}_converged", words, "map", size, last, last, rate, True))
    listed: list[Claim] = []
    for one in (*judged, *turns, *ends):
        listed += compare(one) if one in turns else compare(one) + compare_tails(one)
    return listed


def compare(pair: Pair) -> list[Claim]:
    """Claim that hinge is more accurate and more stable, on average over training sets."""
    return [
        Claim(
            f"hinge_accurate.{pair.name}",
            f"hinge is more accurate ({pair.words})",
            lambda of: pair.gain(of, "accuracy"),
            holds=(0, np.inf),
            source=NOTEBOOK,
            unit="mean accuracy, hinge minus perceptron",
            method="paired on training sets, exact accuracy, t interval",
        ),
        Claim(
            f"hinge_stable.{pair.name}",
            f"hinge's predictions are more stable ({pair.words})",
            lambda of: pair.gain(of, "flip_fraction"),
            holds=(-np.inf, 0),
            source=NOTEBOOK,
            unit="share of test predictions flipped by another training set, hinge minus perceptron",
            method="paired on pairs of training sets, test points, t interval",
        ),
    ]


def compare_tails(pair: Pair) -> list[Claim]:
    """Claim that hinge's worst cases are better, and that both separate the training set."""
    return [
        Claim(
            f"hinge_tail.{pair.name}",
            f"hinge's worst cases are better ({pair.words})",
            lambda of: pair.take(of, "accuracy"),
            holds=(0, np.inf),
            source="a reading of the notebook's claim",
            estimand="quantile_difference",
            arguments={"quantile": 0.05},
            unit="5 % quantile of accuracy, hinge minus perceptron",
            method="paired percentile bootstrap, 200 resamples",
        ),
        Claim(
            f"both_separate.{pair.name}",
            f"both classify the training set ({pair.words})",
            lambda of: pair.take(of, "consistent").min(axis=1),
            holds=(0.99, 1.0),
            source=NOTEBOOK,
            estimand="share",
            unit="share of sets that both separate",
            method="Wilson interval, held against at least 99 %",
        ),
    ]
