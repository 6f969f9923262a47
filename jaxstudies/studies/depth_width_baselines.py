"""What the networks stand beside: regressors that are not neural, and the floor of the noise."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from tqdm import tqdm

from jaxstudies import baselines
from jaxstudies.parts import Parts, remember
from jaxstudies.studies.depth_width_data import Splits, cusp_errors, cusps, rmse


def fit_baselines(splits: Splits, noise_variance: float, parts: Parts | None) -> pd.DataFrame:
    """Fit what is not a network to all the training and validation data; a row each, and the floor.

    `test_rmse_error` is the standard error of the test error over the test points.
    """
    inputs, targets = (
        np.concatenate([a, b]).astype(float)
        for a, b in zip(splits.train, splits.validation, strict=True)
    )
    test, test_targets = (np.asarray(a, float) for a in splits.test)
    where = cusps(splits.test.inputs)

    def row(name: str) -> dict[str, Any]:
        kept = remember(
            parts, f"baseline-{name}",
            lambda: {"predictions": baselines.predict(name, inputs, targets[:, 0], test)[:, None]},
        )  # fmt: skip
        squares = (kept["predictions"] - test_targets) ** 2
        error = np.sqrt(squares.mean())
        predictions = jnp.asarray(kept["predictions"], jnp.float32)
        by_cusps = cusp_errors(predictions, splits.clean_test, where)
        by_distance = np.asarray(by_cusps["cusp_rmse"])
        return {
            "part": "baseline", "shape": name, "recipe": "baseline", "test_rmse": error,
            "clean_rmse": float(rmse(predictions, splits.clean_test)),
            "test_rmse_error": squares.std() / (2 * error * len(squares) ** 0.5),
            "cusp_share": float(by_cusps["cusp_share"]),
            **{f"cusp_rmse_{i + 1}": value for i, value in enumerate(by_distance)},
        }  # fmt: skip

    names = tqdm(baselines.REGRESSORS, desc="baselines", unit="baseline", delay=1)
    rows = [row(name) for name in names]
    rows.append({"part": "floor", "shape": "floor", "recipe": "baseline",
                 "test_rmse": noise_variance**0.5})  # fmt: skip
    zero = {"depth": 0, "hidden_units": 0, "parameters": 0, "seed": 0, "nonfinite": False}
    return pd.DataFrame([row | zero for row in rows])
