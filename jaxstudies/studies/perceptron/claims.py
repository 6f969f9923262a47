"""Hinge loss held against the perceptron criterion, on the training sets that both learned from."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxstudies.evidence.claims import Effect, with_primary
from jaxstudies.studies.perceptron.config import Config
from jaxstudies.studies.perceptron.design import MAP_EPOCHS, MAP_RATES
from jaxstudies.studies.perceptron.summary import KEYS
from jaxstudies.study import Claim, Results

MEASURES = ["accuracy", "flip_fraction", "consistent", "converged"]
NOTEBOOK = "the source notebook"
ABOVE_0 = (0, np.inf)


class Pair(NamedTuple):
    """Two settings on the same training sets, and their rows by seed."""

    name: str
    words: str
    hinge: pd.DataFrame
    perceptron: pd.DataFrame

    def claim(self, id_: str, words: str, effect: Effect, holds: tuple[float, float], source=NOTEBOOK, **how) -> Claim:
        """Return a claim about the pair."""
        return Claim(f"{id_}.{self.name}", f"{words} ({self.words})", lambda of: effect, holds, source, **how)


def claims(results: Results) -> list[Claim]:
    """List the claims at the first size, learning rate and margin; then look where they turn."""
    c: Config = results.config
    (size, *_), (first, *_), (margin, *_), longest = c.num_train, c.learning_rates, c.margins, c.budgets[-1]
    finite = np.isfinite(results.runs["accuracy"].astype(float))  # weights that are not seem to flip no prediction
    runs = results.runs[finite].set_index("seed")[["part", *KEYS, *MEASURES]]
    rows_of = dict(list(runs.groupby(["part", *KEYS], sort=False, dropna=False)))

    def pair(name, words, part, size, perceptron_epochs, hinge_epochs, rate=first, converged=False):
        # The perceptron's predictions do not depend on its rate; it has the first everywhere.
        perceptron = rows_of.get((part, "perceptron", size, first, perceptron_epochs, 0.0), runs[:0])
        hinge = rows_of.get((part, "hinge", size, rate, hinge_epochs, margin), runs[:0])
        hinge, perceptron = hinge.align(perceptron, join="inner", axis=0)
        if converged:
            done = hinge["converged"] & perceptron["converged"]
            hinge, perceptron = hinge[done], perceptron[done]
        return Pair(name, words, hinge, perceptron)

    judged = [
        pair("notebook", "perceptron 50 epochs, hinge 200", "study", size, 50, 200),
        *(pair(f"{n}", f"{n} epochs each", "study", size, n, n) for n in (50, 200)),
        pair("longest", f"{longest} epochs each", "study", size, longest, longest),
    ]
    turns = [pair(f"n{n}", f"{n} training points, 200 epochs", "curve", n, 200, 200) for n in c.curve_sizes]
    # At the default rate few hinge runs converge: on sets with wide margins, which are easy to
    # separate but leave room for errors. At the map's largest rate nearly all do.
    both = "sets on which both converged"
    ends = [pair("converged", f"{longest} epochs, {both}", "study", size, longest, longest, converged=True)]
    if c.map:
        turns += [pair(f"rate{r:g}", f"learning rate {r:g}, 200 epochs", "map", size, 200, 200, r) for r in MAP_RATES]
        rate, last = MAP_RATES[-1], MAP_EPOCHS[-1]
        words = f"learning rate {rate:g}, {last} epochs, {both}"
        ends.append(pair(f"rate{rate:g}_converged", words, "map", size, last, last, rate, True))
    listed = [*map(compare, judged), *map(partial(compare, tails=False), turns), *map(compare, ends)]
    return with_primary(chain.from_iterable(listed), "*.notebook", "hinge_accurate.200", "hinge_stable.200")


def compare(pair: Pair, tails: bool = True) -> Iterator[Claim]:
    """Claim that hinge is more accurate and more stable; and on its worst cases, and that both separate the set."""
    accuracy, flips = (pair.hinge[name] - pair.perceptron[name] for name in ("accuracy", "flip_fraction"))
    unit, method = "mean accuracy, hinge minus perceptron", "paired on training sets, exact accuracy, t interval"
    yield pair.claim("hinge_accurate", "hinge is more accurate", accuracy, ABOVE_0, unit=unit, method=method)
    unit = "share of test predictions flipped by another training set, hinge minus perceptron"
    words, method = "hinge's predictions are more stable", "paired on pairs of training sets, test points, t interval"
    yield pair.claim("hinge_stable", words, flips, (-np.inf, 0), unit=unit, method=method)
    if not tails:
        return
    both = pd.DataFrame({"value": pair.hinge["accuracy"], "other": pair.perceptron["accuracy"]})
    unit, method = "5 % quantile of accuracy, hinge minus perceptron", "paired percentile bootstrap, 200 resamples"
    tail = {"estimand": "quantile_difference", "arguments": {"quantile": 0.05}, "unit": unit, "method": method}
    tail["source"] = "a reading of the notebook's claim"
    yield pair.claim("hinge_tail", "hinge's worst cases are better", both, ABOVE_0, **tail)
    separated = (pair.hinge["consistent"] & pair.perceptron["consistent"]).astype(np.int8)
    share = {"estimand": "share", "unit": "share of sets that both separate"}
    share["method"] = "Wilson interval, held against at least 99 %"
    yield pair.claim("both_separate", "both classify the training set", separated, (0.99, 1.0), **share)
