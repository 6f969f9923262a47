"""The table of results: a row per rule, size, learning rate, budget and margin."""

import numpy as np
import pandas as pd

from jaxstudies.evidence import intervals, theory
from jaxstudies.output.table import stacked
from jaxstudies.studies.perceptron.simulation import AXES
from jaxstudies.study import Results

KEYS = ["rule", "num_train", "learning_rate", "epochs", "margin"]


def derive(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per budget, each budget once; rules without epochs have none."""
    arrays = {name: stacked(runs, name) for name in AXES}
    epochs = arrays["epochs"]
    once = np.diff(epochs, axis=1, prepend=-1) > 0
    plain = runs.drop(columns=["budgets", *arrays]).loc[runs.index.repeat(once.sum(axis=1))]
    rows = plain.reset_index(drop=True).assign(**{name: values[once] for name, values in arrays.items()})
    return rows.assign(epochs=rows["epochs"].where(rows["epochs"] > 0).astype(float))


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per setting: mean accuracy with its t interval, spread, lower tail, flips.

    `theory_accuracy` is given where a closed form is known, for the middle of the version space.
    A setting that stands in several parts is taken from that with most runs.
    """
    runs = results.runs.astype({"accuracy": float})
    groups = runs.groupby(["part", *KEYS], sort=False, dropna=False)
    accuracy = groups["accuracy"]
    rows = accuracy.agg(n="count", mean="mean", sd="std", q05=lambda a: np.quantile(a, 0.05))
    others = ["consistent", "flip_fraction", "converged", "updates", "test_accuracy", "test_flip_fraction"]
    rows = rows.join(groups[others].mean()).reset_index()
    exact = 1 - theory.bayes_point_error(rows["num_train"].to_numpy())
    rows["theory_accuracy"] = np.where(rows["rule"] == "bayes_point", exact, np.nan)
    mean = intervals.t_intervals(rows["mean"], rows["sd"], rows["n"])
    rows[["mean_accuracy", "low", "high"]] = np.stack(mean, axis=1)
    columns = [*KEYS[:4], "n", "mean_accuracy", "low", "high", "sd", "q05", "consistent"]
    columns += ["flip_fraction", "theory_accuracy", "margin", "converged", "updates", "test_accuracy"]
    columns += ["test_flip_fraction"]
    most_first = rows.sort_values("n", ascending=False, kind="stable")
    return most_first.drop_duplicates(KEYS).sort_index()[columns].reset_index(drop=True)
