"""The points of the planes."""

from collections.abc import Iterator

import numpy as np

from jaxstudies.engine.design import Design, Points, points_design
from jaxstudies.studies.trainability.config import CENTERS, CONDITIONS, ZOOM, Config

RUNS_PER_DEVICE = 32
"""Hidden layers, of all examples, that stay within the caches of a core."""
ALL = "all"
"""The part of the design in which all networks are trained; the others are pictures of the first."""


def parts(config: Config) -> dict[str, tuple[int, float]]:
    """Return points along each axis and the span of each part of the design."""
    pictures = ["picture", *(f"zoom {number}" for number in range(1, config.zooms + 1))]
    windows = {name: (config.points, config.span / ZOOM**number) for number, name in enumerate(pictures)}
    return windows | ({ALL: (config.points_of_all, config.span_of_all)} if config.seeds > 1 else {})


def axes(center: tuple[float, float], points: int, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the decimal logarithms across and upwards: midpoints of equal cells."""
    along = span * ((np.arange(points) + 0.5) / points - 0.5)
    return center[0] + along, center[1] + along


def by_tiles(points: int) -> np.ndarray:
    """Return rows and columns of a square grid, (2, points^2), so that squares of any size stand together.

    Runs that are neighbors are likely to diverge together, and a block is done when its last run is (Morton's order).
    """
    row, column = np.indices((points, points)).reshape(2, -1)
    code = sum(((row >> bit & 1) << 2 * bit + 1) + ((column >> bit & 1) << 2 * bit) for bit in range(12))
    order = np.argsort(code)
    return np.stack([row[order], column[order]])


def settings(config: Config) -> Design:
    """Return the points, for each condition and part."""

    def listed() -> Iterator[Points]:
        for name in config.conditions:
            for part, (points, span) in parts(config).items():
                across, up = axes(config.center or CENTERS[name], points, span)
                row, column = by_tiles(points)
                columns = {"x": 10.0 ** across[column], "y": 10.0 ** up[row]}
                arguments = {"condition": CONDITIONS[name], "steps": config.steps}
                yield Points({"condition": name, "part": part}, columns, arguments, None if part == ALL else 1)

    return points_design(listed())
