"""How well networks train, setting by setting, beside mean field's depth scales."""

from functools import cache

import numpy as np
import pandas as pd

from jaxstudies.evidence import theory
from jaxstudies.evidence.intervals import mean_interval
from jaxstudies.study import Results

LABELS = ["activation", "depth", "weight_variance", "dropout_rate"]


@cache
def depth_scale(weight_variance: float, bias_variance: float, dropout_rate: float = 0.0) -> float:
    """Return the depth scale of correlations in tanh networks, in layers."""
    variances = weight_variance, bias_variance
    return theory.correlation_depth_scale(np.tanh, lambda z: 1 - np.tanh(z) ** 2, *variances, 1 - dropout_rate)


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per setting: mean training accuracy with its t interval, and the depth scale, of tanh alone."""
    rows, bias_variance = [], results.config.bias_variance
    for labels, runs in results.runs.groupby(LABELS, sort=False):
        activation, _, variance, rate = labels
        scale = depth_scale(variance, bias_variance, rate) if activation == "tanh" else np.nan
        rows.append((*labels, len(runs), *mean_interval(runs["accuracy"].to_numpy(float)), scale))
    return pd.DataFrame(rows, columns=[*LABELS, "n", "accuracy", "low", "high", "depth_scale"])
