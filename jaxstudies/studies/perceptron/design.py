"""The settings that follow from what is asked for, and the learning curve and the map beside them."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from jaxstudies.engine.design import Setting
from jaxstudies.studies.perceptron.config import RULES, Config

CLOSED = ("svm", "bayes_point")
"""Rules without a learning rate and epochs."""
BY_MISTAKES = ("perceptron", "averaged_perceptron")
"""Rules that learn from points on the wrong side, whatever the hinge's margin."""

MAP_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
MAP_EPOCHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
MAP_SETS = 2000
"""Training sets per cell of the map, at most."""
CURVE_SETS = 1000
"""Training sets per point of the learning curve beside the sizes asked for, at most."""


def part_settings(c: Config, part: str, size: int, rules, rates, margins, budgets, num_seeds=None) -> Iterator[Setting]:
    """Yield the product of rules, rates, the hinge's margins, and budgets, so many to a setting as are asked for."""
    width = len(c.budgets)
    for rule in rules:
        closed = rule in CLOSED
        of_rule = dict.fromkeys(BY_MISTAKES, (0.0,)) | {"hinge": margins}
        kinds = [(None, None)] if closed else product(rates, of_rule[rule])
        for (rate, margin), start in product(kinds, range(0, len(budgets), width)):
            some = (0,) if closed else budgets[start : start + width]
            labels: dict[str, object] = {"part": part, "rule": rule, "num_train": size}
            labels |= {"learning_rate": rate, "margin": margin, "budgets": start // width}
            max_train = size if part in ("map", "trained_out") else max(c.num_train + c.curve_sizes)
            arguments: dict[str, object] = {"num_train": size, "max_train": max_train, "num_test": c.num_test}
            # As arrays these are mapped, and all rules share a launch.
            epochs = np.array([*some, *some[-1:] * (width - len(some))])
            arguments |= {"rule": np.array([RULES.index(rule)]), "epochs": epochs}
            arguments |= {"learning_rate": rate or 0.0, "margin": margin or 0.0}
            yield Setting(labels, arguments, num_seeds)


def settings(config: Config) -> Iterator[Setting]:
    """Yield the settings: those asked for, then the learning curve and the map beside them.

    The label `part` says what a setting is for: `study`, `curve`, `map` or `trained_out`.
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
        # The end of the map, where both have converged on nearly all sets, is judged on all of them.
        end = MAP_RATES[-1:], first, MAP_EPOCHS[-1:]
        yield from part_settings(c, "trained_out", size, ["perceptron", "hinge"], *end)
