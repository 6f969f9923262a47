"""The claims about depth and width, held against errors by data set, and against times over shapes."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from jaxstudies.evidence.claims import with_primary
from jaxstudies.evidence.verdicts import Undecidable
from jaxstudies.output.words import WORDS
from jaxstudies.selection import Selector
from jaxstudies.studies.depth_width.config import Config
from jaxstudies.studies.depth_width.shapes import choose_shapes
from jaxstudies.studies.depth_width.summary import known_shapes, summarize
from jaxstudies.studies.sources import NOTEBOOK
from jaxstudies.study import Claim, Results

POPULATION = (
    "A seed draws the data set, that is points, noise and split, and a network's weights, frequencies and order of the "
    "points; all networks of a seed learn from the same data set."
)
SHAPES_ALONE = "Shapes of the grid, each timed by itself on one machine, the median of repeats; no seed draws anything."
REPEATED = "Repeats of timing all networks, each by itself, one after another on one machine; no seed draws anything."
ENDS = {-1: "smallest", 1: "largest"}
NUMBER = {1: "one", 2: "two", 3: "three"}
OF_MANY = "an error is over thousands of test points, and a slope over shapes weighs the logarithms of several"
ALL_FINITE = "on data sets on which all of these networks ended finite"
HALF = "ours: less than half of the way is nearer to the constant than to the floor"


def finite_networks(results: Results) -> pd.DataFrame:
    """Return a row per network, its error NaN if it did not end finite."""
    runs = results.runs
    return runs.assign(test_rmse=runs["test_rmse"].where(~runs["nonfinite"].astype(bool)))


def decidable(effect: pd.Series, networks: pd.DataFrame, config: Config) -> pd.Series:
    """Return an effect; raise Undecidable if the best rate of a network that it is of lies at an end of its grid."""
    tuned = networks[~((networks["recipe"] == "sgd") & config.raw)]
    hits = tuned["end"][tuned["end"] != 0].value_counts()
    if len(hits):
        told = " and ".join(f"the {ENDS[end]} in {count}" for end, count in hits.items())
        raise Undecidable(f"grid too small: the best learning rate is {told} of {len(tuned)} networks", effect)
    return effect


def slopes(networks: pd.DataFrame, values: str = "test_rmse") -> pd.Series:
    """Return by seed the least-squares slope of log error on log parameters over shapes, NaN where one has no error."""
    errors = networks.pivot(index="seed", columns=["parameters", "shape"], values=values)
    x = np.log(errors.columns.get_level_values("parameters").to_numpy(float))
    x = x - x.mean() if len(x) else x
    if not (spread := x @ x) > 0:
        return pd.Series(dtype=float)
    return np.log(errors) @ (x / spread)


def gain(of: Selector, recipe: str, deep: int) -> pd.Series:
    """Return by seed how much steeper the error falls with a depth than with the one below (below 0: it does)."""
    networks = of.shared(finite_networks)
    networks = networks[(networks["part"] == "shapes") & (networks["recipe"] == recipe)]
    deeper, shallower = (networks[networks["depth"] == depth] for depth in (deep, deep - 1))
    effect = slopes(deeper) - slopes(shallower)
    return decidable(effect, pd.concat([deeper, shallower]), of.results.config) if len(effect) else effect


def time_ratios(deeper: pd.DataFrame, shallower: pd.DataFrame, at_equal: str = "parameters") -> pd.DataFrame:
    """Return how many times longer an epoch of each deeper network takes at equal parameters, or hidden units.

    Each deeper shape within the shallower ones' range is held against their times, interpolated in logarithms.
    """
    times = shallower.groupby(at_equal)["seconds_per_epoch"].mean()
    inside = deeper[deeper[at_equal].between(times.index.min(), times.index.max())]
    if inside.empty:
        return pd.DataFrame({"value": [], "seed": []})
    expected = np.interp(np.log(inside[at_equal]), np.log(times.index), np.log(times))
    return pd.DataFrame({"value": inside["seconds_per_epoch"] / np.exp(expected), "seed": np.nan})


def shapes_of(results: Results) -> pd.DataFrame:
    """Return the summary's rows of shapes."""
    return known_shapes(summarize(results))


def longer(of: Selector, recipe: str, deep: int, at_equal: str) -> pd.DataFrame:
    """Return how many times longer an epoch takes with a depth than with the one below, by shape."""
    shapes = of.shared(shapes_of)
    shapes = shapes[shapes["recipe"] == recipe]
    return time_ratios(shapes[shapes["depth"] == deep], shapes[shapes["depth"] == deep - 1], at_equal)


def steepness(of: Selector, recipe: str, deep: int) -> pd.Series:
    """Return by repeat how much more steeply an epoch's time rises with a depth than with the one below."""
    timed = of.results.beside["alone"]
    # What is not paired by a seed is by a repeat, which stands in its place.
    timed = timed[(timed["part"] == "shapes") & (timed["recipe"] == recipe)].rename(columns={"repeat": "seed"})
    deeper, shallower = (slopes(timed[timed["depth"] == depth], "seconds_per_epoch") for depth in (deep, deep - 1))
    return deeper - shallower


def depth_claims(config: Config, recipe: str, deep: int) -> list[Claim]:
    """Return what is claimed of a depth against the one below."""
    depths = [len(shape) for shape in choose_shapes(config.shapes)]
    words, by = f"{NUMBER[deep]} layers rather than {NUMBER[deep - 1]}", WORDS[recipe]
    end = f"{NUMBER[deep]}_over_{NUMBER[deep - 1]}.{recipe}"
    over = f"over {depths.count(deep)} shapes against {depths.count(deep - 1)}"

    of_time = partial(
        Claim, source=NOTEBOOK, where="problem 4.2", not_shown="other machines, and other shapes", figure="time"
    )

    def time(id_: str, at_equal: str) -> Claim:
        return of_time(
            f"{id_}.{end}",
            f"An epoch takes longer with {words}, at equal {at_equal.replace('_', ' ')} ({by})",
            partial(longer, recipe=recipe, deep=deep, at_equal=at_equal),
            (1.0, np.inf),
            estimand="median",
            ends="(]",
            says="training time grows with depth",
            unit="times as long",
            method="one network alone; shapes within the shallower ones' range, against their interpolated time",
            population=SHAPES_ALONE,
        )

    steeper = Claim(
        f"gain.{end}",
        f"The error falls faster with parameters with {words}, {over}, after {config.epochs} epochs ({by})",
        partial(gain, recipe=recipe, deep=deep),
        (-np.inf, 0.0),
        NOTEBOOK,
        ends="[)",
        where="problem 4.1",
        says="the deeper the network, the faster its error falls with parameters",
        unit="difference of log-log slopes",
        method="least-squares slope of log RMSE on log parameters over shapes, deeper minus shallower, by data set",
        selection=ALL_FINITE,
        near_normal=OF_MANY,
        settings={"part": "shapes", "recipe": recipe, "depth": (deep - 1, deep)},
        not_shown="other shapes, and longer budgets",
        figure="rmse",
    )
    rises = of_time(
        f"time_slope.{end}",
        f"An epoch's time rises less steeply with parameters with {words} ({by})",
        partial(steepness, recipe=recipe, deep=deep),
        (-np.inf, 0.0),
        ends="[)",
        says="one layer's time rises most steeply with parameters",
        unit="difference of log-log slopes",
        method="least-squares slope of log seconds on log parameters over shapes, deeper minus shallower, by repeat",
        population=REPEATED,
        near_normal="a slope over shapes weighs the logarithms of several times",
    )
    if deep > 2:  # the notebook says it of one layer alone
        rises = replace(rises, source="ours", where="", says="")
    return [steeper, time("time", "parameters"), time("time_by_units", "hidden_units"), rises]


def far(of: Selector, recipe: str) -> pd.Series:
    """Return by seed how far 512 units in one layer come on the way from the constant's error to the floor."""
    networks, labels = of.shared(finite_networks), {"part": "shapes", "shape": "512", "recipe": recipe}
    networks = networks[(networks[list(labels)] == pd.Series(labels)).all(axis=1)].set_index("seed")
    constant, floor = networks["constant_rmse"], of.results.config.noise_variance**0.5
    way = (constant - networks["test_rmse"]) / (constant - floor)
    return decidable(way, networks, of.results.config)


def over_thin_plates(of: Selector) -> pd.Series:
    """Return by seed how much larger the error on Fourier features is than that of thin plates on the data set."""
    networks, baselines = of.shared(finite_networks), of.results.beside["baselines"]
    modern, thin_plates = networks[networks["part"] == "modern"], baselines[baselines["shape"] == "RBF"]
    effect = modern.set_index("seed")["test_rmse"] - thin_plates.set_index("seed")["test_rmse"]
    return decidable(effect, modern, of.results.config)


def matter(of: Selector) -> pd.Series:
    """Return by seed the log of a ratio: how many times features lower the error, over how many times a shape does.

    The first is that of 128-256-128 without features to that with; the second that of the worst shape to the best.
    """
    networks, config = of.shared(finite_networks), of.results.config
    shapes = networks[(networks["part"] == "shapes") & (networks["recipe"] == "adam")]
    errors = shapes.pivot(index="seed", columns="shape", values="test_rmse")
    modern = networks[networks["part"] == "modern"]
    if "128-256-128" not in errors or modern.empty:
        return pd.Series(dtype=float)
    by_features = np.log(errors["128-256-128"] / modern.set_index("seed")["test_rmse"])
    by_shape = np.log(errors.max(axis=1, skipna=False) / errors.min(axis=1, skipna=False))
    effect = by_features - by_shape
    if config.modern_budget != config.epochs:
        raise Undecidable("the network on Fourier features was trained for another number of epochs", effect)
    return decidable(effect, pd.concat([shapes, modern]), config)


def claims(config: Config) -> list[Claim]:
    """Return the claims on each recipe that is run, and on the network on Fourier features."""

    def stays_far(recipe: str) -> Claim:
        return Claim(
            f"far.{recipe}",
            f"One layer of 512 stays far from the floor after {config.epochs} epochs ({WORDS[recipe]})",
            partial(far, recipe=recipe),
            (-np.inf, 0.5),
            margin=HALF,
            unit="share of the way from the constant's error to the floor",
            method="errors on noisy test targets of the same data set",
            selection=ALL_FINITE,
            near_normal=OF_MANY,
            settings={"part": "shapes", "shape": "512", "recipe": recipe},
            not_shown="longer budgets",
            figure="rmse",
        )

    modern = Claim(
        "modern",
        f"ReLU on Fourier features within 512 units beats thin plates after {config.modern_budget} epochs",
        over_thin_plates,
        (-np.inf, 0.0),
        ends="[)",
        unit="difference of RMSE on noisy test targets",
        method="128-256-128 minus RBF, on the same data set",
        selection=ALL_FINITE,
        near_normal=OF_MANY,
        settings={"part": "modern"},
        not_shown="what is due to the features",
        figure="rmse",
    )
    made_of = Claim(
        "made_of",
        f"What a network is made of matters more than its shape, after {config.epochs} epochs (Adam)",
        matter,
        (0.0, np.inf),
        ends="(]",
        unit="log of a ratio of ratios of RMSE",
        method="128-256-128 without Fourier features over the same with, against the worst shape over the best",
        selection=ALL_FINITE,
        near_normal=OF_MANY,
        not_shown="other features, and longer budgets",
        figure="rmse",
    )
    listed = [claim for pair in product(config.recipes, (2, 3)) for claim in depth_claims(config, *pair)]
    return with_primary([*listed, *map(stays_far, config.recipes), modern, made_of], "gain.*")
