"""The claims about depth and width, held against errors and times over shapes and seeds."""

from itertools import product

import numpy as np
import pandas as pd

from jaxstudies import stats
from jaxstudies.claims import Claim, Verdict, judge_region

NOTEBOOK = "the source notebook"
FACT = "the assignment's question"
NUMBER = {1: "one", 2: "two", 3: "three"}


def time_ratio(deeper: pd.DataFrame, shallower: pd.DataFrame) -> tuple[stats.Interval, int]:
    """Return how many times longer an epoch of the deeper networks takes at equal parameters.

    Each deeper shape within the shallower ones' range of parameters is held against their times,
    interpolated in logarithms; the interval is Student's over shapes.
    """
    if len(shallower) == 0 or len(deeper) == 0:
        return stats.NO_DATA, 0
    shallower = shallower.groupby("parameters", as_index=False)["seconds_per_epoch"].mean()
    known = shallower["parameters"]
    inside = deeper[deeper["parameters"].between(known.min(), known.max())]
    if len(inside) == 0:
        return stats.NO_DATA, 0
    expected = np.interp(
        np.log(inside["parameters"]), np.log(known), np.log(shallower["seconds_per_epoch"])
    )
    logs = stats.mean_interval(np.log(inside["seconds_per_epoch"].to_numpy()) - expected)
    low, middle, high = np.exp([logs[1], logs[0], logs[2]])
    return (float(middle), float(low), float(high)), len(inside)


def judge(runs: pd.DataFrame, summary: pd.DataFrame) -> list[Verdict]:
    """Judge the claims from a row per network and a row per shape."""
    shapes = summary[(summary["part"] == "shapes") & summary["rmse"].notna()]
    verdicts = []
    for recipe, (deep, shallow) in product(shapes["recipe"].unique(), ((2, 1), (3, 2))):
        rows = shapes[shapes["recipe"] == recipe]
        of = {depth: rows[rows["depth"] == depth] for depth in (deep, shallow)}
        logs = [np.log(of[d][c].to_numpy(float)) for d in of for c in ("parameters", "rmse")]
        words = f"{NUMBER[deep]} layers rather than {NUMBER[shallow]}"
        end = f"{NUMBER[deep]}_over_{NUMBER[shallow]}.{recipe}"
        verdicts.append(
            judge_region(
                Claim(
                    f"gain.{end}",
                    f"The error falls faster with parameters with {words} ({recipe})", NOTEBOOK,
                ),
                stats.difference_of_slopes(*logs), holds=(-np.inf, 0.0),
                unit="difference of log-log slopes", n=sum(len(table) for table in of.values()),
                method="least-squares slopes of log RMSE on log parameters over shapes, mean over "
                "seeds, equal epochs; Welch interval over shapes",
            )
        )  # fmt: skip
        ratio, n = time_ratio(of[deep], of[shallow])
        verdicts.append(
            judge_region(
                Claim(
                    f"time.{end}",
                    f"An epoch takes longer with {words}, at equal parameters ({recipe})", NOTEBOOK,
                ),
                ratio, holds=(1.0, np.inf), unit="times as long", n=n,
                method="one network alone; shapes within the shallower ones' range of parameters, "
                "against their interpolated time; geometric mean, t interval over shapes",
            )
        )  # fmt: skip
    value = summary[summary["recipe"] == "baseline"].set_index("shape")["rmse"]
    widest = runs[(runs["shape"] == "512") & ~runs["nonfinite"].astype(bool)]
    for recipe, group in widest[widest["part"] == "shapes"].groupby("recipe", sort=False):
        closed = (value["constant"] - group["test_rmse"]) / (value["constant"] - value["floor"])
        verdicts.append(
            judge_region(
                Claim(f"far.{recipe}", f"One layer of 512 stays far from the floor ({recipe})",
                      FACT),
                stats.mean_interval(closed.to_numpy()), holds=(-np.inf, 0.5),
                unit="share of the way from the constant's error to the floor", n=len(group),
                method="mean over seeds, t interval, held against half of the way",
            )
        )  # fmt: skip
    modern = runs[(runs["part"] == "modern") & ~runs["nonfinite"].astype(bool)]
    verdicts.append(
        judge_region(
            Claim("modern", "ReLU on Fourier features within 512 units beat thin plates", FACT),
            stats.mean_interval(modern["test_rmse"].to_numpy() - value["RBF"]),
            holds=(-np.inf, 0.0), unit="difference of RMSE on noisy test targets", n=len(modern),
            method="128-256-128 minus RBF on the same test points, t interval over seeds",
        )
    )  # fmt: skip
    return verdicts
