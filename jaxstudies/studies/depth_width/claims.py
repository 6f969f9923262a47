"""The claims about depth and width, held against errors and times over shapes and seeds."""

from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from jaxstudies.evidence.claims import with_primary
from jaxstudies.output.words import WORDS
from jaxstudies.results import selector
from jaxstudies.studies.depth_width.summary import chosen, known_shapes, summarize
from jaxstudies.study import Claim, Results

NUMBER = {1: "one", 2: "two", 3: "three"}
NOTEBOOK, ASSIGNMENT = "the source notebook", "the assignment's question"


def time_ratios(deeper: pd.DataFrame, shallower: pd.DataFrame) -> pd.DataFrame:
    """Return how many times longer an epoch of each deeper network takes at equal parameters.

    Each deeper shape within the shallower ones' range of parameters is held against their times,
    interpolated in logarithms.
    """
    times = shallower.groupby("parameters")["seconds_per_epoch"].mean()
    inside = deeper[deeper["parameters"].between(times.index.min(), times.index.max())]
    if inside.empty:
        return pd.DataFrame({"value": [], "seed": []})
    expected = np.interp(np.log(inside["parameters"]), np.log(times.index), np.log(times))
    return pd.DataFrame({"value": inside["seconds_per_epoch"] / np.exp(expected), "seed": np.nan})


def log_errors(deeper: pd.DataFrame, shallower: pd.DataFrame) -> pd.DataFrame:
    """Return the logarithms of errors (`value`) and of parameters (`other`); group 1 is deeper."""
    rows = pd.concat([deeper.assign(group=1), shallower.assign(group=0)])
    logs = {"value": np.log(rows["rmse"]), "other": np.log(rows["parameters"].astype(float))}
    return rows[["group"]].assign(seed=np.nan, **logs)


def depth_claims(shapes: pd.DataFrame, recipe: str, deep: int) -> list[Claim]:
    """Return what is claimed of a depth against the one below."""
    rows = shapes[shapes["recipe"] == recipe]
    pair = rows[rows["depth"] == deep], rows[rows["depth"] == deep - 1]
    words = f"{NUMBER[deep]} layers rather than {NUMBER[deep - 1]}"
    end = f"{NUMBER[deep]}_over_{NUMBER[deep - 1]}.{recipe}"
    faster = f"The error falls faster with parameters with {words} ({WORDS[recipe]})"
    longer = f"An epoch takes longer with {words}, at equal parameters ({WORDS[recipe]})"
    slopes = "least-squares slopes of log RMSE on log parameters over shapes, mean over seeds, equal epochs; "
    slopes += "Welch interval over shapes"
    ratios = "one network alone; shapes within the shallower ones' range of parameters, against their interpolated "
    ratios += "time; geometric mean, t interval over shapes"
    gain = partial(Claim, f"gain.{end}", faster, unit="difference of log-log slopes", method=slopes)
    time = partial(Claim, f"time.{end}", longer, unit="times as long", method=ratios)
    return [
        gain(lambda of: log_errors(*pair), (-np.inf, 0.0), NOTEBOOK, "slope_difference"),
        time(lambda of: time_ratios(*pair), (1.0, np.inf), NOTEBOOK, "geometric_mean"),
    ]


def claims(results: Results) -> list[Claim]:
    """Return the claims on each recipe that was run, and on the network on Fourier features."""
    summary, runs, recipes = summarize(results), chosen(results), results.config.recipes
    shapes = known_shapes(summary)
    errors_of = partial(selector(runs[~runs["nonfinite"].astype(bool)], {}), "test_rmse")
    value = summary[summary["recipe"] == "baseline"].set_index("shape")["rmse"]
    constant, floor, thin_plates = value[["constant", "floor", "RBF"]]

    def far(recipe: str) -> Claim:
        words = f"One layer of 512 stays far from the floor ({WORDS[recipe]})"
        way = (constant - errors_of(part="shapes", shape="512", recipe=recipe)) / (constant - floor)
        unit = "share of the way from the constant's error to the floor"
        method = "mean over seeds, t interval, held against half of the way"
        return Claim(f"far.{recipe}", words, lambda of: way, (-np.inf, 0.5), ASSIGNMENT, unit=unit, method=method)

    words = "ReLU on Fourier features within 512 units beat thin plates"
    unit = "difference of RMSE on noisy test targets"
    method = "128-256-128 minus RBF on the same test points, t interval over seeds"
    modern = partial(Claim, "modern", words, unit=unit, method=method, source=ASSIGNMENT)
    listed = [c for pair in product(recipes, (2, 3)) for c in depth_claims(shapes, *pair)]
    listed += [*map(far, recipes), modern(lambda of: errors_of(part="modern") - thin_plates, (-np.inf, 0.0))]
    return with_primary(listed, "gain.*", "far.*", "modern")
