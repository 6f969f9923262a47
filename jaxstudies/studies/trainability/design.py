"""The points of the plane."""

import numpy as np

from jaxstudies.engine.design import Design, Points, points_design
from jaxstudies.studies.trainability.config import CONDITIONS, Config


def axes(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return the decimal logarithms along both axes: midpoints of equal cells."""
    along = config.span * ((np.arange(config.points) + 0.5) / config.points - 0.5)
    return config.center[0] + along, config.center[1] + along


def by_tiles(points: int) -> np.ndarray:
    """Return the places of a square grid, (points^2, 2), so that squares of any size stand together.

    Runs that are neighbors are likely to diverge together, and a block is done when its last run is (Morton's order).
    """
    row, column = np.indices((points, points)).reshape(2, -1)
    code = sum(((row >> bit & 1) << 2 * bit + 1) + ((column >> bit & 1) << 2 * bit) for bit in range(12))
    return np.stack([row, column], axis=1)[np.argsort(code)]


def settings(config: Config) -> Design:
    """Return the points, for each condition."""
    across, up = axes(config)
    row, column = by_tiles(config.points).T
    columns = {"x": 10.0 ** across[column], "y": 10.0 ** up[row]}
    return points_design(
        Points({"condition": name}, columns, {"condition": CONDITIONS[name], "steps": config.steps})
        for name in config.conditions
    )
