"""The claims about initialization, held against slopes of gradients, saturation and activations over seeds."""

from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.evidence.claims import with_primary
from jaxstudies.selection import Selector
from jaxstudies.studies.initialization.config import Config
from jaxstudies.studies.sources import ASSIGNMENT, NOTEBOOK
from jaxstudies.study import Claim

POPULATION = (
    "A seed draws the network, the training images that are sent through it and the order of training; the images "
    "are from one data set, the same for all seeds."
)
WHERE = "problem 2.1"
SLOPE, SHARE = "log gradient per layer", "share of units and images"
SMALL, LARGE = {"init": "normal", "sigma": 0.10}, {"init": "normal", "sigma": 0.28}
GLOROT, HE = {"init": "glorot_normal"}, {"init": "he_normal"}
MANY = "a slope weighs logarithms of means over the units of a layer and thousands of images"
FACTOR_2 = "ours, since the source names no size: a factor of 2 between last and first layer"
FIVE_PERCENT = "ours: a twentieth of units and images, a share that figures hardly show"
TWENTIETH = "ours, since the source names no size: a twentieth of units and images, a share that figures hardly show"
SPREAD = "ours, since the source names no size: a factor of 2, as for gradients"
NEARLY_ALL = "ours: nineteen in twenty for 'nearly all'"
FOUR_IN_FIVE = "the source reads it off a figure: .05 either way is what 'four in five' is rounded to"


def born(of: Selector, measure: str, activation: str, init: dict) -> pd.Series:
    """Return a measure at initialization by seed, its mean over layers if it has several; what is finite."""
    values = of(measure, stage=0, activation=activation, **init).dropna()
    means = values.map(lambda layers: np.mean(layers, dtype=float)).astype(float)
    return means[np.isfinite(means)]


def rise(of: Selector, measure: str, activation: str) -> pd.Series:
    """Return by how much a measure is larger at the large sigma than at the small one."""
    return born(of, measure, activation, LARGE) - born(of, measure, activation, SMALL)


def excess(of: Selector, activation: str, first: dict, second: dict) -> pd.Series:
    """Return by how much gradients are further from flat under an initialization than under another."""
    return born(of, "slope", activation, first).abs() - born(of, "slope", activation, second).abs()


def first_over_last(of: Selector, activation: str, sigma: float) -> pd.Series:
    """Return by how much more the first layer saturates than the last one at a sigma."""
    at_sigma = {"init": "normal", "sigma": sigma}
    first, last = (of("saturation", stage=0, layer=at, activation=activation, **at_sigma) for at in (0, -1))
    return first - last


def last_spread(of: Selector, activation: str, init: dict) -> pd.Series:
    """Return the standard deviation of the last layer's activations relative to the first layer's."""
    first, last = (of("variance", stage=0, layer=at, activation=activation, **init) for at in (0, -1))
    return (last / first.where(first > 0)) ** 0.5


def small_outputs(of: Selector, init: dict, layer: int) -> pd.Series:
    """Return the share of sampled ReLU activations in a layer that lie below .5."""
    samples = of("activation_sample", stage=0, layer=layer, activation="relu", **init).dropna()
    return samples.map(lambda sample: np.mean(sample < 0.5)).astype(float)


def claims(config: Config) -> list[Claim]:
    """Return the claims at initialization, by the slope of log E|dL/dz| over the layers.

    A positive slope means that gradients shrink on their way to the input. To prevent vanishing is to keep the first
    layer's gradient above half of the last one's. Saturation is judged apart.
    """
    listed = [*about("tanh", config.depth), *about("sigmoid", config.depth), *about_relu(config.depth)]
    listed.append(spread_claim("sigmoid", config.depth))
    return with_primary(listed, "sigma_vanishing.*", "glorot_prevents.*", "he_better")


def about(name: str, depth: int) -> list[Claim]:
    """Return the claims about an activation that saturates on both sides."""
    notebook = partial(Claim, source=NOTEBOOK, where=WHERE)
    return [
        notebook(
            f"sigma_vanishing.{name}",
            f"larger sigma, more vanishing ({name})",
            partial(rise, measure="slope", activation=name),
            (0.0, np.inf),
            ends="(]",
            says="the larger sigma, the more the signal vanishes",
            unit=SLOPE,
            figure="gradients",
            method="slope at sigma .28 minus slope at .10, same seeds",
            near_normal=MANY,
            not_shown="what training makes of it",
        ),
        notebook(
            f"glorot_prevents.{name}",
            f"Glorot prevents vanishing over {depth} hidden layers ({name})",
            partial(born, measure="slope", activation=name, init=GLOROT),
            (-np.inf, float(np.log(2) / (depth - 1))),
            estimand="median",
            says="Glorot initialization prevents vanishing",
            margin=FACTOR_2,
            unit=SLOPE,
            figure="gradients",
            method="slope under Glorot",
            not_shown="another depth: the ratio of first to last gradient falls as layers are added",
        ),
        Claim(
            f"glorot_flatter.{name}",
            f"Glorot keeps gradients flatter than sigma .28 over {depth} hidden layers ({name})",
            partial(excess, activation=name, first=GLOROT, second=LARGE),
            (-np.inf, 0.0),
            ASSIGNMENT,
            "median",
            ends="[)",
            where=WHERE,
            says="show that Glorot helps",
            unit=SLOPE,
            figure="gradients",
            method="|slope| under Glorot minus |slope| at sigma .28, same seeds",
            not_shown="that gradients vanish: at sigma .28 they may explode",
        ),
        Claim(
            f"sigma_saturation.{name}",
            f"larger sigma, more saturation ({name})",
            partial(rise, measure="saturation", activation=name),
            (0.0, np.inf),
            ends="(]",
            unit=SHARE,
            figure="moments",
            method="mean saturation over layers at sigma .28 minus at .10, same seeds",
            bounds=(-1, 1),
            not_shown="that gradients vanish",
        ),
        Claim(
            f"glorot_saturation.{name}",
            f"Glorot keeps saturation within a twentieth over {depth} hidden layers ({name})",
            partial(born, measure="saturation", activation=name, init=GLOROT),
            (0.0, 0.05),
            margin=FIVE_PERCENT,
            unit=SHARE,
            figure="moments",
            method="mean saturation over layers under Glorot",
            bounds=(0, 1),
            not_shown="that gradients do not vanish",
        ),
        *(
            notebook(
                f"first_saturates.{name}.{sigma:g}",
                f"at sigma {sigma:.2f} the first of {depth} hidden layers saturates more than the last, "
                f"by a twentieth at least ({name})",
                partial(first_over_last, activation=name, sigma=sigma),
                (0.05, 1.0),
                says="the initial layers saturate most",
                margin=TWENTIETH,
                unit=SHARE,
                figure="moments",
                method="saturation of the first hidden layer minus that of the last",
                bounds=(-1, 1),
                not_shown="other sigmas",
            )
            for sigma in (0.10, 0.14, 0.28)
        ),
    ]


def spread_claim(name: str, depth: int) -> Claim:
    """Return the claim that activations are spread in the last layer as in the first."""
    return Claim(
        f"well_distributed.{name}",
        f"Glorot leaves the activations of {depth} hidden layers well distributed ({name})",
        partial(last_spread, activation=name, init=GLOROT),
        (0.5, 2.0),
        NOTEBOOK,
        "median",
        where=WHERE,
        says="under Glorot sigmoid's activations are well distributed",
        margin=SPREAD,
        unit="ratio of standard deviations over units and images",
        figure=f"violins_{name}",
        method="last hidden layer over the first",
        not_shown="that they differ from image to image: units differ from one another, too",
    )


def about_relu(depth: int) -> list[Claim]:
    """Return the claims about ReLU."""
    notebook = partial(Claim, source=NOTEBOOK, where=WHERE)
    small = partial(notebook, unit="share of sampled activations", bounds=(0, 1), figure="violins_relu")
    return [
        notebook(
            "he_better",
            f"He keeps gradients flatter than Glorot over {depth} hidden layers (relu)",
            partial(excess, activation="relu", first=HE, second=GLOROT),
            (-np.inf, 0.0),
            estimand="median",
            ends="[)",
            says="He is better than Glorot for ReLU",
            unit=SLOPE,
            figure="gradients",
            method="|slope| under He minus |slope| under Glorot, same seeds",
            not_shown="which of them trains better",
        ),
        *(
            small(
                f"{name}_small.{depth + 1 + layer}",
                f"under {words} activations of hidden layer {depth + 1 + layer} of {depth} are below .5 (relu)",
                partial(small_outputs, init=init, layer=layer),
                holds,
                says=f"in layers 4 and 5 {says} lie below .5",
                margin=margin,
                method="share of sampled activations below .5",
            )
            for name, words, init, holds, says, margin in (
                ("glorot", "Glorot nearly all", GLOROT, (0.95, 1.0), "nearly all", NEARLY_ALL),
                ("he", "He about four in five", HE, (0.75, 0.85), "about four in five", FOUR_IN_FIVE),
            )
            for layer in (-2, -1)
        ),
    ]
