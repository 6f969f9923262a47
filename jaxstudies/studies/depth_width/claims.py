"""The claims about depth and width, held against errors and times over shapes and seeds."""

from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from jaxstudies.studies.depth_width.summary import chosen, summarize
from jaxstudies.study import Claim, Results, select

NOTEBOOK = "the source notebook"
FACT = "the assignment's question"
NUMBER = {1: "one", 2: "two", 3: "three"}


def time_ratios(deeper: pd.DataFrame, shallower: pd.DataFrame) -> pd.DataFrame:
    """Return how many times longer an epoch of each deeper network takes at equal parameters.

    Each deeper shape within the shallower ones' range of parameters is held against their times,
    interpolated in logarithms.
    """
    column = "seconds_per_epoch"
    means = shallower.groupby("parameters", as_index=False)[column].mean()
    known = means["parameters"]
    inside = deeper[deeper["parameters"].between(known.min(), known.max())]
    if len(inside) == 0:
        return pd.DataFrame({"value": [], "seed": []})
    expected = np.interp(np.log(inside["parameters"]), np.log(known), np.log(means[column]))
    return pd.DataFrame({"value": inside[column] / np.exp(expected), "seed": np.nan})


def log_errors(deeper: pd.DataFrame, shallower: pd.DataFrame) -> pd.DataFrame:
    """Return the logarithms of errors (`value`) and of parameters (`other`); group 1 is deeper."""
    rows = pd.concat([deeper.assign(group=1), shallower.assign(group=0)])
    logs = {"value": np.log(rows["rmse"]), "other": np.log(rows["parameters"].astype(float))}
    return rows[["group"]].assign(seed=np.nan, **logs)


def depth_claims(shapes: pd.DataFrame, recipe: str, deep: int) -> list[Claim]:
    """Return what is claimed of a depth against the one below."""
    shallow = deep - 1
    rows = shapes[shapes["recipe"] == recipe]
    pair = rows[rows["depth"] == deep], rows[rows["depth"] == shallow]
    words = f"{NUMBER[deep]} layers rather than {NUMBER[shallow]}"
    end = f"{NUMBER[deep]}_over_{NUMBER[shallow]}.{recipe}"
    return [
        Claim(
            f"gain.{end}",
            f"The error falls faster with parameters with {words} ({recipe})",
            lambda of: log_errors(*pair),
            (-np.inf, 0.0),
            NOTEBOOK,
            estimand="slope_difference",
            unit="difference of log-log slopes",
            method="least-squares slopes of log RMSE on log parameters over shapes, mean over "
            "seeds, equal epochs; Welch interval over shapes",
        ),
        Claim(
            f"time.{end}",
            f"An epoch takes longer with {words}, at equal parameters ({recipe})",
            lambda of: time_ratios(*pair),
            (1.0, np.inf),
            NOTEBOOK,
            estimand="geometric_mean",
            unit="times as long",
            method="one network alone; shapes within the shallower ones' range of parameters, "
            "against their interpolated time; geometric mean, t interval over shapes",
        ),
    ]


def claims(results: Results) -> list[Claim]:
    """Return the claims on each recipe that was run, and on the network on Fourier features."""
    summary, runs = summarize(results), chosen(results)
    shapes = summary[(summary["part"] == "shapes") & summary["rmse"].notna()]
    errors_of = partial(select, runs[~runs["nonfinite"].astype(bool)], {}, "test_rmse")
    value = summary[summary["recipe"] == "baseline"].set_index("shape")["rmse"]
    way = value["constant"] - value["floor"]
    recipes = results.config.recipes
    listed = [c for pair in product(recipes, (2, 3)) for c in depth_claims(shapes, *pair)]
    for recipe in recipes:
        widest = {"part": "shapes", "shape": "512", "recipe": recipe}
        listed.append(
            Claim(
                f"far.{recipe}",
                f"One layer of 512 stays far from the floor ({recipe})",
                lambda of, widest=widest: (value["constant"] - errors_of(**widest)) / way,
                (-np.inf, 0.5),
                FACT,
                unit="share of the way from the constant's error to the floor",
                method="mean over seeds, t interval, held against half of the way",
            )
        )
    modern = Claim(
        "modern",
        "ReLU on Fourier features within 512 units beat thin plates",
        lambda of: errors_of(part="modern") - value["RBF"],
        (-np.inf, 0.0),
        FACT,
        unit="difference of RMSE on noisy test targets",
        method="128-256-128 minus RBF on the same test points, t interval over seeds",
    )
    return [*listed, modern]
