"""The study's summary: curves with intervals."""

from itertools import product

import numpy as np
import pandas as pd

from jaxstudies.evidence import intervals
from jaxstudies.output.table import stacked
from jaxstudies.studies.lenet.simulation import ESTIMATORS, SPLITS
from jaxstudies.study import Results


def curves(rows: pd.DataFrame, measure: str, estimator: str, split: str) -> np.ndarray:
    """Return loss or accuracy of each run after each epoch, shape (runs, epochs)."""
    return stacked(rows, measure)[:, :, ESTIMATORS.index(estimator), SPLITS.index(split)].astype(float)


def summarize(results: Results) -> pd.DataFrame:
    """Return mean accuracy and loss, with t intervals, by arm, estimator, split and epoch.

    `ms_per_step` is the wall time of a training step alone, divided by the networks trained at once.
    """
    tables, epochs = [], np.arange(1, stacked(results.runs, "loss").shape[1] + 1)
    for (arm, rows), estimator, split in product(results.runs.groupby("arm", sort=False), ESTIMATORS, SPLITS):
        labels = {"arm": arm, "estimator": estimator, "split": split}
        table = pd.DataFrame(labels | {"epoch": epochs, "n": len(rows)})
        for measure, prefix in (("accuracy", ""), ("loss", "loss_")):
            means = intervals.mean_intervals(curves(rows, measure, estimator, split))
            table[[measure, f"{prefix}low", f"{prefix}high"]] = means.T
        tables.append(table)
    return pd.concat(tables).merge(results.beside["steps"], on="arm", how="left")
