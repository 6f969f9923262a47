"""What is asked for, and the settings that follow from it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Interval

from jaxstudies.study import Setting

RuleName = Literal["perceptron", "hinge", "averaged_perceptron", "svm", "bayes_point"]
RULES: tuple[RuleName, ...] = ("perceptron", "hinge", "averaged_perceptron", "svm", "bayes_point")
CLOSED = ("svm", "bayes_point")
"""Rules without a learning rate and epochs."""

MAP_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
MAP_EPOCHS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
CURVE_SIZES = (5, 10, 20, 50, 100, 200)
MAP_SETS = 2000
"""Training sets per cell of the map, at most."""
CURVE_SETS = 1000
"""Training sets per point of the learning curve beside the sizes asked for, at most."""


@dataclass(frozen=True)
class Config:
    """What is simulated. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**9)] = 20_000
    """Pairs of independent training sets per setting."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; the i-th pair depends on it and on i alone."""
    num_train: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] = (20,)
    """Training points; the first size is the one judged. With a single size, a learning curve over
    5 to 200 points is run beside it, on up to 1,000 sets."""
    rules: tuple[RuleName, ...] = RULES
    """Learning rules, paired on the same training and test points."""
    learning_rates: tuple[Annotated[float, Gt(0)], ...] = (0.1,)
    """Learning rates of perceptron, averaged perceptron and hinge; the first is the one judged."""
    epochs: tuple[Annotated[int, Interval(ge=1, le=10**6)], ...] = (50, 200)
    """Budgets of training: passes through the points."""
    convergence_epochs: Annotated[int, Interval(ge=0, le=10**6)] = 500
    """A longer budget beside them; 0 leaves it out. Few hinge runs have converged even then (see
    `converged` in summary.csv); sets on which both rules have are judged apart."""
    margins: tuple[Annotated[float, Gt(0)], ...] = (1.0,)
    """The hinge's a in the loss max(0, a - y W.x); the first is the one judged."""
    num_test: Annotated[int, Interval(ge=1, le=100_000)] = 1000
    """Test points per pair of training sets."""
    map: bool = True
    """Run hinge and perceptron over learning rates and epochs as well, on up to 2,000 sets."""

    @property
    def budgets(self) -> tuple[int, ...]:
        """All budgets, ascending."""
        return tuple(sorted({*self.epochs, self.convergence_epochs} - {0}))

    @property
    def curve_sizes(self) -> tuple[int, ...]:
        """The sizes of the learning curve that are run beside the one asked for."""
        alone = len(self.num_train) == 1
        return tuple(n for n in CURVE_SIZES if n not in self.num_train) if alone else ()


Learner = tuple[str, float | None, int | None, float | None]
"""Rule, learning rate, epochs and margin."""


def learners(
    rules: Iterable[str], rates: Iterable[float], margins: Iterable[float], budgets: Iterable[int]
) -> Iterator[Learner]:
    """Yield what learns from the same training sets; margins are the hinge's."""
    for rule in rules:
        if rule in CLOSED:
            yield rule, None, None, None
            continue
        own = margins if rule == "hinge" else (0.0,)
        for rate, margin, epochs in product(rates, own, budgets):
            yield rule, rate, epochs, margin


def settings(config: Config) -> list[Setting]:
    """List the settings: those asked for, then the learning curve and the map beside them.

    The label `part` says what a setting is for: `study`, `curve` or `map`.
    """
    c = config
    listed: list[Setting] = []

    def add(part, size, learners, max_train, num_seeds=None):
        for rule, rate, epochs, margin in learners:
            labels = {"part": part, "rule": rule, "num_train": size, "learning_rate": rate}
            arguments = {
                # As arrays these are mapped, and all learners share a launch.
                "rule": np.array([RULES.index(rule)]),
                "epochs": np.array([epochs or 0]),
                "num_train": size,
                "learning_rate": rate or 0.0,
                "margin": margin or 0.0,
                "max_train": max_train,
                "num_test": c.num_test,
            }
            labels |= {"epochs": epochs, "margin": margin}
            listed.append(Setting(labels, arguments, num_seeds))

    asked = list(learners(c.rules, c.learning_rates, c.margins, c.budgets))
    short = [one for one in asked if one[2] is None or one[2] <= max(c.epochs)]
    for size in c.num_train:
        add("study", size, asked, max(c.num_train))
    for size in c.curve_sizes:
        add("curve", size, short, max(c.curve_sizes), CURVE_SETS)
    if c.map:
        # The perceptron's predictions do not depend on its learning rate: one is enough.
        pair = [
            *learners(["perceptron"], c.learning_rates[:1], (), MAP_EPOCHS),
            *learners(["hinge"], MAP_RATES, c.margins[:1], MAP_EPOCHS),
        ]
        add("map", c.num_train[0], pair, c.num_train[0], MAP_SETS)
    return listed
