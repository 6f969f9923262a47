"""What became of the runs: planes, the dimension of their boundaries, and what is claimed of it."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.evidence.boxcounting import CURVES, LEAST_BOXES, Counts, count_boxes
from jaxstudies.evidence.intervals import mean_interval, wilson_intervals
from jaxstudies.results import Selector
from jaxstudies.studies.trainability.config import Config
from jaxstudies.studies.trainability.design import ALL
from jaxstudies.studies.trainability.refined import unpacked
from jaxstudies.study import Claim, Results

PAPER, SECOND_HAND = "Sohl-Dickstein (arXiv 2402.06184)", "table 1, as another project's report has it (second hand)"
REPORTED = {"tanh": 1.66, "relu": 1.2, "identity": 1.17, "minibatch": 1.55, "single": 1.41, "drift": 1.98}
"""The paper's dimensions: medians of slopes over box sizes and over the pictures of a zoom.

Where it has an initialization's offset, its published code adds the offset before every step: `drift` here.
"""
SMOOTH = 1.05
"""No smooth curve was estimated higher from 48 points along each axis or more, see `tests/test_boxcounting.py`."""
POPULATION = "A seed draws a network's weights and its examples; all points of a plane share them."
BIAS = 0.2, 0.05
"""By how much known dimensions were estimated too low, and too high, at most; see there, too."""
TOGETHER = 3
"""Networks whose majority is one plane."""


def planes(runs: pd.DataFrame) -> Iterator[tuple[tuple[str, str, int], pd.DataFrame]]:
    """Yield the runs of each condition, part and seed, in the order of the points of a square grid."""
    for (condition, part, seed), rows in runs.groupby(["condition", "part", "seed"], sort=False):
        yield (str(condition), str(part), int(seed)), rows.sort_values(["y", "x"], kind="stable")


def square(values: pd.Series) -> np.ndarray:
    """Return what the points of a square grid have, by rows from the bottom."""
    side = round(len(values) ** 0.5)
    return values.to_numpy().reshape(side, side)


def counted(results: Results) -> dict[tuple[str, str, int], Counts]:
    """Return the boxes that the boundary of training meets, by condition, part and seed."""
    return {key: count_boxes(square(rows["converged"])) for key, rows in planes(results.runs)}


def shares(runs: pd.DataFrame, condition: str, seeds: slice = slice(None)) -> np.ndarray:
    """Return the share of networks that train at each point, of those that are trained everywhere."""
    here = [square(rows["converged"]) for (name, part, _), rows in planes(runs) if (name, part) == (condition, ALL)]
    return np.mean(here[seeds], axis=0)


def dimensions(results: Results) -> pd.Series:
    """Return the dimension of each network's boundary, by condition and seed."""
    found = {(name, seed): counts.dimension for (name, part, seed), counts in counted(results).items() if part == ALL}
    return pd.Series(found, pd.MultiIndex.from_tuples(found, names=["condition", "seed"]), float)


def smoothing(results: Results) -> pd.Series:
    """Return by how much the boundary of three networks' majority exceeds theirs in dimension.

    It is by condition and by the first of the three seeds.
    """
    single, found = dimensions(results), {}
    for name in single.index.unique("condition"):
        own = single[name]
        for start in range(0, len(own) - TOGETHER + 1, TOGETHER):
            three = slice(start, start + TOGETHER)
            together = count_boxes(shares(results.runs, name, three) > 0.5).dimension
            found[name, own.index[start]] = together - own.iloc[three].mean()
    return pd.Series(found, pd.MultiIndex.from_tuples(found, names=["condition", "seed"]), float)


def of_condition(of: Selector, measure: Callable[[Results], pd.Series], name: str) -> pd.Series:
    """Return what a condition has of a measure by condition and seed, nothing where there are too few networks."""
    found = of.shared(measure)
    return found[name] if name in found.index.unique("condition") else pd.Series(dtype=float)


def claims(config: Config) -> list[Claim]:
    """Return the claims on the boundaries of the conditions; of a single network nothing can be said."""
    if config.seeds == 1:
        return []
    of_slopes = "a slope over many boxes"
    how = f"box-counting, {config.points_of_all} x {config.points_of_all} points over {config.span_of_all:g} decades"
    about = partial(Claim, unit="dimension", method=how, near_normal=of_slopes)
    factor = max(config.points_of_all // LEAST_BOXES, 1)
    listed = []
    for name in config.conditions:
        said = partial(about, settings={"condition": name, "part": ALL})
        own, less = (partial(of_condition, name=name, measure=measure) for measure in (dimensions, smoothing))
        listed += [
            said(
                f"fractal.{name}",
                f"the boundary is a fractal ({name})",
                own,
                (SMOOTH, 2.0),
                PAPER,
                where="abstract",
                says="the boundary is fractal in all tested configurations",
                margin=f"ours: no smooth curve was estimated above {SMOOTH:g}",
                not_shown=f"the paper's ten decades of scale: boxes differ by a factor of {factor}",
            ),
            said(
                f"averaged.{name}",
                f"where two of three networks train has a smoother boundary than where one does ({name})",
                less,
                (-2.0, 0.0),
                ends="[)",
            ),
        ]
        if (dimension := REPORTED.get(name)) is not None:
            claim = said(
                f"reported.{name}",
                f"its dimension is {dimension:g} ({name})",
                own,
                (dimension - BIAS[0], dimension + BIAS[1]),
                PAPER,
                where=SECOND_HAND,
                says=f"a dimension of {dimension:g}, for one network",
                margin=f"ours: known dimensions were estimated up to {BIAS[0]:g} too low, and {BIAS[1]:g} too high",
                not_shown="whether windows as small as the paper's have another dimension",
                primary=False,
            )
            listed.append(claim)
    return listed


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per condition and part: shares of outcomes, and the dimension of the boundary."""
    listed, of_all = [], {key: counts.dimension for key, counts in counted(results).items()}
    for (condition, part), rows in results.runs.groupby(["condition", "part"], sort=False):
        never = rows["diverged_at"] == results.config.steps
        found = [value for (name, where, _), value in of_all.items() if (name, where) == (condition, part)]
        ends = mean_interval(np.array(found))
        own = {"n": len(found), "points": len(rows) // len(found), "converged": rows["converged"].mean()}
        own |= {"diverged": (~rows["converged"] & ~never).mean(), "neither": (~rows["converged"] & never).mean()}
        own |= dict(zip(("dimension", "low", "high"), ends, strict=True))
        if part == ALL:
            own["of_majority"] = count_boxes(shares(results.runs, str(condition)) > 0.5).dimension
        listed.append({"condition": condition, "part": part} | own)
    return pd.DataFrame(listed)


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Return boxes by size, estimates of known dimensions, and the share of networks that train at each point."""
    scales = [
        {"condition": name, "part": part, "seed": seed, "size": size, "boxes": boxes, "slope_to_next": slope}
        for (name, part, seed), c in counted(results).items()
        for size, boxes, slope in zip(c.sizes, c.boxes, [*c.local, np.nan], strict=True)
    ]
    sides = {results.config.points, results.config.points_of_all}
    known = [
        {
            "curve": name,
            "points": side,
            "dimension": curve.dimension,
            "estimate": count_boxes(curve.inside(side)).dimension,
        }
        for name, curve in CURVES.items()
        for side in sorted(sides)
    ]
    trained = results.runs[results.runs["part"] == ALL].groupby(["condition", "y", "x"], sort=False)["converged"]
    share = trained.agg(["sum", "count"]).reset_index()
    ends = dict(zip(("share", "low", "high"), wilson_intervals(share.pop("sum"), share["count"]), strict=True))
    found = {"scales": pd.DataFrame(scales), "known": pd.DataFrame(known), "shares": share.assign(**ends)}
    return found | ({"refinement": refinement(results)} if results.config.refine else {})


def refinement(results: Results) -> pd.DataFrame:
    """Return what was refined beside the picture of all points, where both have as many: the share that differs."""
    rows, config = results.beside["refined"], results.config
    full = {name: square(runs["converged"]) for (name, part, _), runs in planes(results.runs) if part == "picture"}
    differ = (
        [np.mean(unpacked(row.grid, row.points) != full[row.condition]) for row in rows.itertuples()]
        if (config.refine == config.points)
        else np.nan
    )
    return rows.drop(columns="grid").assign(differ=differ)
