"""What the networks stand beside: other regressors, the floor of the noise, the time of each network alone."""

from itertools import product

import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxstudies.engine import progress
from jaxstudies.networks import baselines
from jaxstudies.studies.depth_width.config import Config
from jaxstudies.studies.depth_width.problem import cusp_errors, find_cusps, rmse, splits_of
from jaxstudies.studies.depth_width.timing import Columns, Remember, time_alone

FITTED = 5
"""Data sets, at most, to which the baselines are fitted: those of the first seeds."""


def beside(config: Config, remember: Remember) -> dict[str, pd.DataFrame]:
    """Fit the baselines and time each network by itself."""
    return {"baselines": fit_baselines(config, remember), "alone": time_alone(config, remember)}


def fit_baselines(config: Config, remember: Remember) -> pd.DataFrame:
    """Fit what is not a network to the training and validation data of the first seeds; a row each, and the floor.

    `test_rmse_error` is the standard error of the test error over the test points.
    """
    listed = list(product(range(min(config.seeds, FITTED)), baselines.REGRESSORS))
    rows = [fit_baseline(config, seed, name, remember) for seed, name in progress.counted(listed, "baselines")]
    rows.append({"part": "floor", "shape": "floor", "test_rmse": config.noise_variance**0.5, "seed": 0})
    same = {"recipe": "baseline", "nonfinite": False, "depth": 0, "hidden_units": 0, "parameters": 0}
    return pd.DataFrame(rows).assign(**same)


def fit_baseline(config: Config, seed: int, name: str, remember: Remember) -> dict[str, object]:
    """Return the errors of a regressor on the data set of a seed."""
    (*known, test), clean_test = splits_of(config, seed)

    def predictions_of() -> Columns:
        inputs, targets = (np.concatenate(arrays).astype(float) for arrays in zip(*known, strict=True))
        fitted = baselines.predict(name, inputs, targets[:, 0], np.asarray(test.inputs, float))
        return {"predictions": fitted[:, None]}

    predicted = remember(f"baseline-{name}-{seed}", predictions_of)["predictions"]
    squares = (predicted - np.asarray(test.targets, float)) ** 2
    error = squares.mean() ** 0.5
    predictions = jnp.asarray(predicted, jnp.float32)
    by_distance, share = cusp_errors(predictions, clean_test, find_cusps(test.inputs))
    row = {"part": "baseline", "shape": name, "seed": seed, "test_rmse": error, "cusp_share": float(share)}
    row |= {"test_rmse_error": squares.std() / (2 * error * len(squares) ** 0.5)}
    return row | {"clean_rmse": float(rmse(predictions, clean_test)), "cusp_rmse": by_distance.tolist()}
