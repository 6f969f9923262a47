"""What was measured at each point beside what mean field expects."""

from functools import cache

import numpy as np
import pandas as pd

from jaxstudies.evidence import theory
from jaxstudies.evidence.intervals import geometric_mean
from jaxstudies.networks.activations import on_arrays
from jaxstudies.study import Results

POINT = ["activation", "sigma_w", "sigma_b"]


@cache
def expected(activation: str, sigma_w: float, sigma_b: float) -> tuple[float, float]:
    """Return mean field's fixed point q* and chi there."""
    value, derivative = on_arrays(activation)
    q = theory.fixed_point(value, sigma_w**2, sigma_b**2)
    # Where chi does not depend on q, as for ReLU, any q serves that is a number.
    finite = 1.0 if np.isnan(q) else float(np.clip(q, 1e-12, 1e6))
    return q, float(theory.gradient_factor(derivative, finite, sigma_w**2))


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per point: measured variance and gradient factor with interval, and theory."""
    listed = []
    for point, rows in results.runs.groupby(POINT, sort=False):
        logs = rows["log_factor"].to_numpy(float)
        factor = geometric_mean(np.exp(logs[np.isfinite(logs)]))
        q, chi = expected(*point)
        listed.append((*point, len(rows), rows["q"].mean(), q, *factor, chi, float(theory.depth_scale(chi))))
    names = ["n", "variance", "theory_variance", "gradient_factor", "low", "high", "chi", "depth_scale"]
    return pd.DataFrame(listed, columns=POINT + names)
