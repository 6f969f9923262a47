"""The points of the planes, and the refined pictures of them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from jaxstudies.engine.design import Design, Points, points_design
from jaxstudies.engine.planes import Plane, Remember, refined_pictures, run_points
from jaxstudies.studies.trainability.config import CONDITIONS, ZOOM, Config
from jaxstudies.studies.trainability.simulation import simulate
from jaxstudies.tasks import identity_of

RUNS_PER_DEVICE = 32
"""Runs at once, whose hidden layers stay within the caches of a core."""
ALL = "all"
"""The part of the design in which all networks are trained; the others are pictures of the first."""


def parts(config: Config, condition: str) -> dict[str, Plane]:
    """Return the plane of each part of the design."""
    center = config.center or CONDITIONS[condition].center
    spans = {f"zoom_{i}" if i else "picture": config.span / ZOOM**i for i in range(config.zooms + 1)}
    planes = {name: Plane(center, span, config.points) for name, span in spans.items()}
    return planes | ({ALL: Plane(center, config.span_of_all, config.points_of_all)} if config.seeds > 1 else {})


def settings(config: Config) -> Design:
    """Return the points, for each condition and part.

    Raises:
        ValueError: Points lie so near one another that their numbers are the same.
    """

    def listed() -> Iterator[Points]:
        for name in config.conditions:
            arguments = {"condition": CONDITIONS[name], "steps": config.steps}
            for part, plane in parts(config, name).items():
                plane.check(f"span_of_all {config.span_of_all}" if part == ALL else f"span {config.span} ({part})")
                columns = {label: 10.0**exponent for label, exponent in zip("xy", plane.by_tiles(), strict=True)}
                yield Points({"condition": name, "part": part}, columns, arguments, None if part == ALL else 1)

    return points_design(listed())


def beside(config: Config, remember: Remember) -> dict[str, pd.DataFrame]:
    """Return the refined pictures, if any: the points that were run, and a grid of those that trained."""
    planes = {name: parts(config, name)["picture"]._replace(points=config.refine) for name in config.conditions}

    def trains(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        how = {"seed": config.seed, "chunk_size": 2 * RUNS_PER_DEVICE, "identity": identity_of}
        points, static = {"x": 10.0**x, "y": 10.0**y}, {"condition": CONDITIONS[name], "steps": config.steps}
        return run_points(simulate, "converged", points, static, **how)

    return {"refined": refined_pictures(planes, trains, remember)} if config.refine else {}
