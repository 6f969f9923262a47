"""What became of the runs: the dimension of the boundaries, and what is claimed of it."""

from functools import partial

import numpy as np
import pandas as pd

from jaxstudies.engine.planes import by_seed, grids
from jaxstudies.evidence import boundaries
from jaxstudies.evidence.boxcounting import dimension, known_dimensions
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.shares import shares_at
from jaxstudies.studies.trainability.config import Config
from jaxstudies.studies.trainability.design import ALL, parts
from jaxstudies.study import Results

PAPER, SECOND_HAND = "Sohl-Dickstein (arXiv 2402.06184)", "table 1, as another project's report has it (second hand)"
REPORTED = {"tanh": 1.66, "relu": 1.2, "identity": 1.17, "minibatch": 1.55, "single": 1.41, "drift": 1.98}
"""The paper's dimensions: medians of slopes over box sizes and over the pictures of a zoom.

Where it has an initialization's offset, its published code adds the offset before every step: `drift` here.
"""
SMALLEST = 0.3
"""Decades of the smallest window in which rounding, of 32 or of 64 bits, decides about few points, see the page."""
POPULATION = "A seed draws a network's weights and its examples; all points of a plane share them."
OF_SCALES = "Nothing is drawn: the values are slopes between neighboring box sizes, of the first network alone."


def trained(results: Results) -> dict[tuple, np.ndarray]:
    """Return where networks train, by condition, part and seed."""
    return grids(results.runs, ["condition", "part", "seed"], "converged")


def claims(config: Config) -> list[Claim]:
    """Return the claims on the boundaries of the conditions, over networks, and over scales of the first one."""
    listed, drawn, size = [], "networks" * (config.seeds > 1), boundaries.group_size(config.seeds)
    for name in config.conditions:
        planes = parts(config, name)
        pictures = [part for part in planes if part != ALL]
        windows = [part for part in pictures if planes[part].span >= SMALLEST]

        def of_parts(take, where, name=name):
            return lambda of: take(*(by_seed(of.shared(trained), name, part) for part in where))

        one = {"estimand": "median", "population": OF_SCALES, "figure": "scales"}
        many = {"near_normal": "a slope over many boxes", "settings": {"condition": name, "part": ALL}, "figure": drawn}
        of_all, of_scales = (of_parts(boundaries.dimensions, [ALL]), many), (of_parts(boundaries.slopes, windows), one)
        effect, how = of_all if config.seeds > 1 else of_scales
        said = {"source": PAPER, "where": "abstract", "says": "fractal over more than ten decades in all of them"}
        words = f"the boundary is rougher than a single smooth line ({name})"
        listed.append(boundaries.rough(f"rough.{name}", words, effect, **how, **said))
        for part in windows:
            words = f"so it is at the scales of a window of {planes[part].span:g} decades ({name})"
            at = one | said | {"primary": False, "settings": {"condition": name, "part": part}}
            listed.append(boundaries.rough(f"{part}.{name}", words, of_parts(boundaries.slopes, [part]), **at))
        if (value := REPORTED.get(name)) is not None:
            said |= {"where": SECOND_HAND, "says": f"a dimension of {value:g}, for one network", "primary": False}
            words = f"its dimension is {value:g} ({name})"
            # As it is in the paper: over the box sizes of all pictures of a zoom.
            scales = of_parts(boundaries.slopes, pictures)
            listed.append(boundaries.stated(f"reported.{name}", words, scales, value, **one, **said))
        listed += boundaries.smooth_in_majorities(name, "networks train", size, partial(of_parts, where=[ALL]), **many)
    return listed


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per condition and part: shares of outcomes, and the dimension over networks or over scales."""
    listed, found = [], trained(results)
    for (condition, part), rows in results.runs.groupby(["condition", "part"], sort=False):
        here, never = by_seed(found, str(condition), str(part)), rows["diverged_at"] == results.config.steps
        own = {"condition": condition, "part": part, "n": len(here), "points": len(rows) // len(here)}
        own |= {"converged": rows["converged"].mean(), "diverged": (~rows["converged"] & ~never).mean()}
        own |= {"neither": (~rows["converged"] & never).mean()}
        own["of_majority"] = dimension(boundaries.majority(here.values())) if len(here) > 1 else np.nan
        listed.append(own | dict(zip(("dimension", "low", "high"), boundaries.described(here), strict=True)))
    return pd.DataFrame(listed)


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Return boxes by size, known dimensions, the share that trains at each point, and dimensions of majorities."""
    config, found = results.config, trained(results)
    made = {"scales": boundaries.boxes(found, ("condition", "part", "seed"))}
    made["majorities"] = boundaries.by_number({c: by_seed(found, c, ALL) for c in config.conditions}, "condition")
    made["known"] = known_dimensions((config.points, config.points_of_all))
    made["shares"] = shares_at(results.runs[results.runs["part"] == ALL], ["condition", "y", "x"], "converged")
    if config.refine:
        whole = {condition: grid for (condition, part, _), grid in found.items() if part == "picture"}
        made["refinement"] = boundaries.compared(results.beside["refined"], whole)
    return made
