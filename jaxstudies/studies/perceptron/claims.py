"""Hinge loss held against the perceptron criterion, on the training sets that both learned from."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxstudies.selection import Selector
from jaxstudies.studies.perceptron.config import Config
from jaxstudies.studies.perceptron.design import MAP_EPOCHS, MAP_RATES
from jaxstudies.studies.sources import NOTEBOOK
from jaxstudies.study import Claim

ELSEWHERE = "the same at other learning rates and budgets, see the map"


class Pair(NamedTuple):
    """Two settings on the same training sets: labels of their rows."""

    name: str
    words: str
    hinge: dict[str, object]
    perceptron: dict[str, object]


def claims(config: Config) -> list[Claim]:
    """List the claims at the first size, learning rate and margin: on the notebook's budgets, equal ones, trained out.

    How they turn with learning rate and budget is on the map.
    """
    c, longest, last, fastest = config, config.budgets[-1], MAP_EPOCHS[-1], MAP_RATES[-1]

    def hinge(part: str, epochs: int, rate: float = c.learning_rates[0]) -> dict[str, object]:
        labels = {"part": part, "rule": "hinge", "num_train": c.num_train[0], "learning_rate": rate}
        return labels | {"margin": c.margins[0], "epochs": epochs}

    def perceptron(part: str, epochs: int, rate: float = c.learning_rates[0]) -> dict[str, object]:
        return hinge(part, epochs, rate) | {"rule": "perceptron", "margin": 0.0}

    own = Pair("notebook", "perceptron 50 epochs, hinge 200", hinge("study", 200), perceptron("study", 50))
    equal = Pair("200", "200 epochs each", hinge("study", 200), perceptron("study", 200))
    words = f"trained out on all sets: {last:,} epochs each at learning rate {fastest:g}"
    ends = (part("trained_out", last, fastest) for part in (hinge, perceptron))
    trained_out = Pair("trained_out", words, *ends)
    long = Pair("converged", f"{longest} epochs each", hinge("study", longest), perceptron("study", longest))
    notebook = [
        replace(
            accurate(own),
            figure="accuracy",
            source=NOTEBOOK,
            where="problem 1.3",
            says="hinge is more accurate: 0.955 against 0.902 of 1,000 test points, after one training set",
        ),
        replace(
            stable(own),
            figure="",  # the map has equal budgets
            source=NOTEBOOK,
            where="problem 1.4",
            says="hinge's predictions change less with another training set; it ran none",
        ),
    ]
    ours = [claim(pair) for pair in (equal, trained_out) for claim in (accurate, stable)]
    return [*notebook, *ours, on_converged(long), replace(tail(own), figure="accuracy"), tail(trained_out)]


def accurate(pair: Pair) -> Claim:
    """Return the claim that hinge is more accurate on average."""
    return Claim(
        f"hinge_accurate.{pair.name}",
        f"hinge is more accurate ({pair.words})",
        partial(difference, pair=pair, measure="accuracy"),
        (0.0, 1.0),
        unit="mean accuracy, hinge minus perceptron",
        method="exact accuracy, paired on training sets",
        ends="(]",
        settings=settings_of(pair),
        figure="map",
        bounds=(-1.0, 1.0),
        not_shown=ELSEWHERE,
    )


def stable(pair: Pair) -> Claim:
    """Return the claim that fewer of hinge's predictions change with another training set."""
    return Claim(
        f"hinge_stable.{pair.name}",
        f"hinge's predictions are more stable ({pair.words})",
        partial(difference, pair=pair, measure="flip_fraction"),
        (-1.0, 0.0),
        unit="share of predictions flipped by another training set, hinge minus perceptron",
        method="exact share of the square, paired on pairs of training sets",
        ends="[)",
        settings=settings_of(pair),
        figure="map",
        bounds=(-1.0, 1.0),
        not_shown=ELSEWHERE,
    )


def on_converged(pair: Pair) -> Claim:
    """Return the claim that hinge is more accurate where both rules have converged."""
    return replace(
        accurate(pair),
        effect=partial(difference_where_converged, pair=pair),
        figure="",
        selection="on the sets on which both converged",
        primary=False,
        not_shown="the same on all sets: hinge converges in time on those with wide margins, which are easy",
    )


def tail(pair: Pair) -> Claim:
    """Return the claim that hinge's worst cases are better."""
    return Claim(
        f"hinge_tail.{pair.name}",
        f"hinge's worst cases are better ({pair.words})",
        partial(accuracies, pair=pair),
        (0.0, 1.0),
        estimand="quantile_difference",
        arguments={"quantile": 0.05},
        unit="5 % quantile of accuracy, hinge minus perceptron",
        method="exact accuracy, paired on training sets",
        ends="(]",
        primary=False,
        settings=settings_of(pair),
        not_shown=ELSEWHERE,
    )


def settings_of(pair: Pair) -> dict[str, object]:
    """Return the labels of the settings that a pair's rows are of, some of which have several budgets."""
    names = [name for name in pair.hinge if name != "epochs"]
    return {name: tuple(dict.fromkeys([pair.hinge[name], pair.perceptron[name]])) for name in names}


def measured(of: Selector, measure: str, labels: dict[str, object]) -> pd.Series:
    """Return a measure by seed, of weights that are finite."""
    return of(measure, **labels)[np.isfinite(of("accuracy", **labels))]


def difference(of: Selector, pair: Pair, measure: str) -> pd.Series:
    """Return hinge minus perceptron."""
    return measured(of, measure, pair.hinge) - measured(of, measure, pair.perceptron)


def difference_where_converged(of: Selector, pair: Pair) -> pd.Series:
    """Return hinge's accuracy minus the perceptron's, of the sets on which both converged."""
    both = measured(of, "converged", pair.hinge) * measured(of, "converged", pair.perceptron)
    return difference(of, pair, "accuracy")[both == 1]


def accuracies(of: Selector, pair: Pair) -> pd.DataFrame:
    """Return the accuracies of both rules."""
    hinge, perceptron = (measured(of, "accuracy", labels) for labels in (pair.hinge, pair.perceptron))
    return pd.DataFrame({"value": hinge, "other": perceptron})
