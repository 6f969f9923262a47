"""The claims about initialization, held against slopes of gradients and saturation over seeds."""

import numpy as np
import pandas as pd

from jaxstudies import stats
from jaxstudies.claims import Claim, Verdict, judge_region

NOTEBOOK = "the source notebook"


def layers_of(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Return a quantity by layer, (runs, layers)."""
    return rows[[f"{name}_{i + 1}" for i in range(rows["depth"].iloc[0])]].to_numpy(float)


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims at initialization, by the slope of log E|dL/dz| over the layers.

    A positive slope means that gradients shrink on their way to the input. To prevent vanishing is
    to keep the first layer's gradient within a factor of 2 of the last one's. Saturation is judged
    apart. Without the settings a verdict is inconclusive, with n = 0.
    """
    born = runs[runs["stage"] == "born"]
    factor_2 = float(np.log(2) / (born["depth"].iloc[0] - 1))

    def of(activation, init, sigma=None):
        rows = born[(born["activation"] == activation) & (born["init"] == init)]
        rows = rows if sigma is None else rows[np.isclose(rows["sigma"], sigma)]
        saturation = pd.Series(
            layers_of(rows, "saturation").mean(axis=1) if len(rows) else [], rows["seed"], float
        )
        slope = rows.set_index("seed")["slope"]
        return slope[np.isfinite(slope)], saturation

    def region(id_, words, values, holds, unit, method):
        return judge_region(
            Claim(id_, words, NOTEBOOK), stats.mean_interval(values.dropna().to_numpy(float)),
            holds=holds, unit=unit, n=len(values.dropna()),
            method=f"{method}, t interval over seeds",
        )  # fmt: skip

    slope_unit = "log gradient per layer"
    verdicts = []
    for name in ("tanh", "sigmoid"):
        (small, small_sat), (large, large_sat) = of(name, "normal", 0.10), of(name, "normal", 0.28)
        glorot, glorot_sat = of(name, "glorot_normal")
        verdicts += [
            region(
                f"sigma_vanishing.{name}", f"larger sigma, more vanishing ({name})", large - small,
                (0.0, np.inf), slope_unit,
                "slope at sigma .28 minus slope at .10, same seeds",
            ),
            region(
                f"glorot_prevents.{name}", f"Glorot prevents vanishing ({name})", glorot,
                (-factor_2, factor_2), slope_unit,
                "slope under Glorot, held against a factor of 2 from last to first layer",
            ),
            region(
                f"glorot_flatter.{name}", f"Glorot is better than sigma .28 ({name})",
                glorot.abs() - large.abs(), (-np.inf, 0.0), slope_unit,
                "|slope| under Glorot minus |slope| at sigma .28, same seeds",
            ),
            region(
                f"sigma_saturation.{name}", f"larger sigma, more saturation ({name})",
                large_sat - small_sat, (0.0, np.inf), "share of units and images",
                "mean saturation at sigma .28 minus at .10, same seeds",
            ),
            region(
                f"glorot_saturation.{name}", f"Glorot prevents saturation ({name})", glorot_sat,
                (0.0, 0.05), "share of units and images",
                "mean saturation under Glorot, held against 5 %",
            ),
        ]  # fmt: skip
    he, glorot = of("relu", "he_normal")[0], of("relu", "glorot_normal")[0]
    verdicts.append(
        region(
            "he_better", "He is better than Glorot (relu)", he.abs() - glorot.abs(),
            (-np.inf, 0.0), slope_unit, "|slope| under He minus |slope| under Glorot, same seeds",
        )
    )  # fmt: skip
    return verdicts
