"""The claims about initialization, held against slopes of gradients and saturation over seeds."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from jaxstudies.study import Claim, Results

UNITS = {"slope": "log gradient per layer", "saturation": "share of units and images"}
SMALL, LARGE = {"init": "normal", "sigma": 0.10}, {"init": "normal", "sigma": 0.28}
GLOROT, HE = {"init": "glorot_normal"}, {"init": "he_normal"}


def claim(
    id_: str,
    words: str,
    activation: str,
    measure: str,
    effect: Callable[[Callable[[dict], pd.Series]], pd.Series],
    holds: tuple[float, float],
    method: str,
) -> Claim:
    """Return a claim about a measure at initialization.

    `effect` gets a function that returns the measure of an initialization by seed, averaged over
    the layers, where it is finite.
    """

    def by_seed(of: Callable[..., pd.Series]) -> pd.Series:
        def seen(init: dict) -> pd.Series:
            values = of(measure, stage=0, activation=activation, **init).dropna()
            means = values.map(lambda layers: np.mean(layers, dtype=float)).astype(float)
            return means[np.isfinite(means)]

        return effect(seen)

    words, method = f"{words} ({activation})", f"{method}, t interval over seeds"
    return Claim(id_, words, by_seed, holds, "the source notebook", unit=UNITS[measure], method=method)


def claims(results: Results) -> list[Claim]:
    """Return the claims at initialization, by the slope of log E|dL/dz| over the layers.

    A positive slope means that gradients shrink on their way to the input. To prevent vanishing is
    to keep the first layer's gradient within a factor of 2 of the last one's. Saturation is judged
    apart.
    """
    factor_2 = float(np.log(2) / (results.config.depth - 1))
    he_better = claim(
        "he_better",
        "He is better than Glorot",
        "relu",
        "slope",
        lambda seen: seen(HE).abs() - seen(GLOROT).abs(),
        (-np.inf, 0.0),
        "|slope| under He minus |slope| under Glorot, same seeds",
    )
    return [*about("tanh", factor_2), *about("sigmoid", factor_2), he_better]


def about(name: str, factor_2: float) -> list[Claim]:
    """Return the claims about an activation that saturates on both sides."""
    return [
        claim(
            f"sigma_vanishing.{name}",
            "larger sigma, more vanishing",
            name,
            "slope",
            lambda seen: seen(LARGE) - seen(SMALL),
            (0.0, np.inf),
            "slope at sigma .28 minus slope at .10, same seeds",
        ),
        claim(
            f"glorot_prevents.{name}",
            "Glorot prevents vanishing",
            name,
            "slope",
            lambda seen: seen(GLOROT),
            (-factor_2, factor_2),
            "slope under Glorot, held against a factor of 2 from last to first layer",
        ),
        claim(
            f"glorot_flatter.{name}",
            "Glorot is better than sigma .28",
            name,
            "slope",
            lambda seen: seen(GLOROT).abs() - seen(LARGE).abs(),
            (-np.inf, 0.0),
            "|slope| under Glorot minus |slope| at sigma .28, same seeds",
        ),
        claim(
            f"sigma_saturation.{name}",
            "larger sigma, more saturation",
            name,
            "saturation",
            lambda seen: seen(LARGE) - seen(SMALL),
            (0.0, np.inf),
            "mean saturation at sigma .28 minus at .10, same seeds",
        ),
        claim(
            f"glorot_saturation.{name}",
            "Glorot prevents saturation",
            name,
            "saturation",
            lambda seen: seen(GLOROT),
            (0.0, 0.05),
            "mean saturation under Glorot, held against 5 %",
        ),
    ]
