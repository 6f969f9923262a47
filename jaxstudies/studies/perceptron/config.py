"""What is asked for, and the settings that follow from it."""

from collections.abc import Iterator
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


def part_settings(c: Config, part: str, size: int, rules, rates, margins, budgets, num_seeds=None) -> Iterator[Setting]:
    """Yield the product of rules, rates, the hinge's margins, and budgets, so many to a setting as are asked for."""
    width = len(c.budgets)
    for rule in rules:
        closed = rule in CLOSED
        kinds = [(None, None)] if closed else product(rates, margins if rule == "hinge" else (0.0,))
        for (rate, margin), start in product(kinds, range(0, len(budgets), width)):
            some = (0,) if closed else budgets[start : start + width]
            labels: dict[str, object] = {"part": part, "rule": rule, "num_train": size}
            labels |= {"learning_rate": rate, "margin": margin, "budgets": start // width}
            max_train = size if part == "map" else max(c.num_train + c.curve_sizes)
            arguments: dict[str, object] = {"num_train": size, "max_train": max_train, "num_test": c.num_test}
            # As arrays these are mapped, and all rules share a launch.
            epochs = np.array([*some, *some[-1:] * (width - len(some))])
            arguments |= {"rule": np.array([RULES.index(rule)]), "epochs": epochs}
            arguments |= {"learning_rate": rate or 0.0, "margin": margin or 0.0}
            yield Setting(labels, arguments, num_seeds)


def settings(config: Config) -> Iterator[Setting]:
    """Yield the settings: those asked for, then the learning curve and the map beside them.

    The label `part` says what a setting is for: `study`, `curve` or `map`.
    """
    c = config
    asked = c.rules, c.learning_rates, c.margins
    for size in c.num_train:
        yield from part_settings(c, "study", size, *asked, c.budgets)
    # A set of the curve stops at the longest of the budgets asked for.
    short = tuple(min(budget, max(c.epochs)) for budget in c.budgets)
    for size in c.curve_sizes:
        yield from part_settings(c, "curve", size, *asked, short, CURVE_SETS)
    if c.map:
        size, first = c.num_train[0], c.margins[:1]
        # The perceptron's predictions do not depend on its learning rate: one is enough.
        yield from part_settings(c, "map", size, ["perceptron"], c.learning_rates[:1], first, MAP_EPOCHS, MAP_SETS)
        yield from part_settings(c, "map", size, ["hinge"], MAP_RATES, first, MAP_EPOCHS, MAP_SETS)
