"""The claims about initialization, held against slopes of gradients and saturation over seeds."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from jaxstudies.evidence.claims import with_primary
from jaxstudies.study import Claim, Results

SLOPE = "log gradient per layer"
UNITS = {"slope": SLOPE, "|slope|": SLOPE, "saturation": "share of units and images"}
SMALL, LARGE = {"init": "normal", "sigma": 0.10}, {"init": "normal", "sigma": 0.28}
GLOROT, HE = {"init": "glorot_normal"}, {"init": "he_normal"}
ABOVE_0, BELOW_0 = (0.0, np.inf), (-np.inf, 0.0)


def claim(
    activation: str, id_: str, words: str, measure: str, inits: list[dict], holds: tuple[float, float], method: str
) -> Claim:
    """Return a claim about a measure under an initialization, or under the first minus under the second."""

    def seen(of: Callable[..., pd.Series], init: dict) -> pd.Series:
        values = of(measure.strip("|"), stage=0, activation=activation, **init).dropna()
        means = values.map(lambda layers: np.mean(layers, dtype=float)).astype(float)
        means = means[np.isfinite(means)]
        return means.abs() if measure == "|slope|" else means

    def effect(of: Callable[..., pd.Series]) -> pd.Series:
        first, *second = (seen(of, init) for init in inits)
        return first - second[0] if second else first

    words, method = f"{words} ({activation})", f"{method}, t interval over seeds"
    return Claim(id_, words, effect, holds, "the source notebook", unit=UNITS[measure], method=method)


def claims(results: Results) -> list[Claim]:
    """Return the claims at initialization, by the slope of log E|dL/dz| over the layers.

    A positive slope means that gradients shrink on their way to the input. To prevent vanishing is
    to keep the first layer's gradient within a factor of 2 of the last one's. Saturation is judged
    apart.
    """
    factor_2 = float(np.log(2) / (results.config.depth - 1))
    method = "|slope| under He minus |slope| under Glorot, same seeds"
    he_better = claim("relu", "he_better", "He is better than Glorot", "|slope|", [HE, GLOROT], BELOW_0, method)
    return with_primary([*about("tanh", factor_2), *about("sigmoid", factor_2), he_better], "*.tanh", "he_better")


def about(name: str, factor_2: float) -> list[Claim]:
    """Return the claims about an activation that saturates on both sides."""
    rise = "slope at sigma .28 minus slope at .10, same seeds"
    prevented = "slope under Glorot, held against a factor of 2 from last to first layer"
    sizes = "|slope| under Glorot minus |slope| at sigma .28, same seeds"
    saturated = "mean saturation at sigma .28 minus at .10, same seeds"
    unsaturated = "mean saturation under Glorot, held against 5 %"
    rows = [
        ("sigma_vanishing", "larger sigma, more vanishing", "slope", [LARGE, SMALL], ABOVE_0, rise),
        ("glorot_prevents", "Glorot prevents vanishing", "slope", [GLOROT], (-factor_2, factor_2), prevented),
        ("glorot_flatter", "Glorot is better than sigma .28", "|slope|", [GLOROT, LARGE], BELOW_0, sizes),
        ("sigma_saturation", "larger sigma, more saturation", "saturation", [LARGE, SMALL], ABOVE_0, saturated),
        ("glorot_saturation", "Glorot prevents saturation", "saturation", [GLOROT], (0.0, 0.05), unsaturated),
    ]
    return [claim(name, f"{id_}.{name}", *rest) for id_, *rest in rows]
