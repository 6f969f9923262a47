"""The best learning rate of each network, and a row per shape."""

import numpy as np
import pandas as pd

from jaxstudies.evidence import intervals
from jaxstudies.study import Results

WHO = ["part", "shape", "recipe"]
KEYS = ["shape", "part", "depth", "hidden_units", "parameters", "recipe"]
MEANS = ["train_rmse", "validation_rmse", "clean_rmse", "cusp_share", "learning_rate"]
MEANS += ["seconds_per_epoch", "seconds_in_batch"]


def with_times(results: Results) -> pd.DataFrame:
    """Return a row per network, with its times, and per baseline.

    `seconds_per_epoch` is that of one network alone, `seconds_in_batch` its share of the time of all seeds together,
    padding and the search for a learning rate included.
    """
    runs, config, times = results.runs, results.config, results.times
    tried = runs["tried"].map(lambda errors: np.sum(~np.isnan(errors))).groupby([runs[name] for name in WHO]).max()
    times = times.merge(tried.rename("most_tried").reset_index(), on=WHO, how="left")
    epochs = np.where(times["part"] == "modern", config.modern_budget, config.epochs)
    epochs = epochs + config.search_budget * times["most_tried"]
    times = times.assign(seconds_in_batch=times["run_seconds"] / times["runs"] / epochs)
    alone = results.beside["alone"].groupby(WHO, sort=False)["seconds_per_epoch"].median().reset_index()
    seconds = alone.merge(times[[*WHO, "seconds_in_batch"]], on=WHO, how="left")
    return pd.concat([runs.merge(seconds, on=WHO, how="left"), results.beside["baselines"]], ignore_index=True)


def known_shapes(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of shapes whose mean error is a number above 0, as its logarithm needs it."""
    return summary[(summary["part"] == "shapes") & summary["rmse"].between(0, np.inf, inclusive="neither")]


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per shape and recipe, and per baseline, with the mean error on noisy targets.

    The interval is Student's over the seeds; for a baseline that is fitted to one data set, it is the
    normal one over its test points. Diverged runs are counted in `nonfinite` and left out of `n`.
    `learning_rate` is the mean of the seeds' best rates.
    """
    rows = []
    for labels, group in with_times(results).groupby(KEYS, sort=False):
        finite = group[~group["nonfinite"].astype(bool)]
        mean, low, high = intervals.mean_interval(finite["test_rmse"].to_numpy())
        if labels[1] == "baseline" and len(finite) == 1:
            half = 1.96 * finite["test_rmse_error"].iloc[0]
            low, high = mean - half, mean + half
        rows.append((*labels, len(finite), mean, low, high, *finite[MEANS].mean(), len(group) - len(finite)))
    return pd.DataFrame(rows, columns=[*KEYS, "n", "rmse", "low", "high", *MEANS, "nonfinite"])
