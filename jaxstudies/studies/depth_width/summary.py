"""The best learning rate of each network, and a row per shape."""

import numpy as np
import pandas as pd

from jaxstudies.evidence import intervals
from jaxstudies.study import Results

WHO = ["part", "shape", "recipe"]
KEYS = ["shape", "part", "depth", "hidden_units", "parameters", "recipe"]
MEANS = ["train_rmse", "validation_rmse", "clean_rmse", "cusp_share", "learning_rate"]
MEANS += ["seconds_per_epoch", "seconds_in_batch"]


def chosen(results: Results) -> pd.DataFrame:
    """Return a row per network, at the rate that is best on validation data, and per baseline.

    `seconds_per_epoch` is that of one network alone, `seconds_in_batch` its share of the time of
    all seeds and rates together, padding included.
    """
    runs, config, times = results.runs, results.config, results.times
    score = runs["validation_rmse"].where(np.isfinite(runs["validation_rmse"]), np.inf)
    best = score.groupby([runs[name] for name in (*WHO, "seed")], sort=False).idxmin()
    epochs = np.where(times["part"] == "modern", config.modern_budget, config.epochs)
    times = times.assign(seconds_in_batch=times["run_seconds"] / times["runs"] / epochs)
    seconds = results.beside["alone"].merge(times[[*WHO, "seconds_in_batch"]], on=WHO, how="left")
    networks = runs.loc[best].merge(seconds, on=WHO, how="left")
    return pd.concat([networks, results.beside["baselines"]], ignore_index=True)


def known_shapes(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of shapes whose mean error is a number above 0, as its logarithm needs it."""
    return summary[(summary["part"] == "shapes") & summary["rmse"].between(0, np.inf, inclusive="neither")]


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per shape and recipe, and per baseline, with the mean error on noisy targets.

    The interval is Student's over the seeds; for a baseline that is fitted to one data set, it is the
    normal one over its test points. Diverged runs are counted in `nonfinite` and left out of `n`.
    `learning_rate` is the mean of the rates that the seeds chose.
    """
    rows = []
    for labels, group in chosen(results).groupby(KEYS, sort=False):
        finite = group[~group["nonfinite"].astype(bool)]
        mean, low, high = intervals.mean_interval(finite["test_rmse"].to_numpy())
        if labels[1] == "baseline" and len(finite) == 1:
            half = 1.96 * finite["test_rmse_error"].iloc[0]
            low, high = mean - half, mean + half
        rows.append((*labels, len(finite), mean, low, high, *finite[MEANS].mean(), len(group) - len(finite)))
    return pd.DataFrame(rows, columns=[*KEYS, "n", "rmse", "low", "high", *MEANS, "nonfinite"])
