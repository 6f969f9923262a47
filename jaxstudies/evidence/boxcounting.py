"""Box-counting: how many boxes a boundary meets, as they shrink; and curves of known dimension to try it on."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

LEAST_BOXES = 8
"""Boxes along a side, at least, of those that are counted: a few large ones meet any curve."""
SMOOTH = 1.05
"""No single smooth line was estimated higher from 48 points along each axis or more, see `tests/test_boxcounting.py`.

Several that run near one another are, until boxes are smaller than what lies between them.
"""
BIAS = 0.2, 0.05
"""By how much dimensions of single lines were estimated too low, and too high, at most; see there, too."""


class Counts(NamedTuple):
    """Boxes that meet a boundary, by their side."""

    sizes: Int[np.ndarray, " sizes"]
    """Sides of the boxes, in cells between neighboring points."""
    boxes: Float[np.ndarray, " sizes"]
    """How many are met, as a mean over all places of the grid of boxes."""

    @property
    def dimension(self) -> float:
        """The slope of log(boxes) over log(1 / size), by least squares; NaN where there is no boundary."""
        if len(self.sizes) < 2 or not self.boxes.all():
            return np.nan
        return float(np.polyfit(-np.log(self.sizes), np.log(self.boxes), 1)[0])

    @property
    def local(self) -> Float[np.ndarray, " slopes"]:
        """The slopes between neighboring sizes."""
        with np.errstate(all="ignore"):
            return -np.diff(np.log(self.boxes)) / np.diff(np.log(self.sizes))

    def rows(self) -> pd.DataFrame:
        """Return a row per size, with the slope from it to the next."""
        return pd.DataFrame({"size": self.sizes, "boxes": self.boxes, "slope_to_next": [*self.local, np.nan]})


def boundary(inside: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows-1 columns-1"]:
    """Return which cells between four neighboring points have points of both kinds at their corners."""
    corners = np.stack([inside[1:, 1:], inside[1:, :-1], inside[:-1, 1:], inside[:-1, :-1]])
    return np.not_equal(corners.any(axis=0), corners.all(axis=0))


def box_sizes(cells: int) -> Int[np.ndarray, " sizes"]:
    """Return sides of boxes from 1 to an eighth of a side, a factor of about the root of two apart."""
    most = max(cells // LEAST_BOXES, 1)
    sizes = np.unique(np.rint(2 ** np.arange(0, np.log2(most) + 0.5, 0.5)).astype(int))
    return sizes[sizes <= most]


def count_boxes(inside: Bool[np.ndarray, "rows columns"]) -> Counts:
    """Count the boxes that the boundary of a set meets (box-counting; Falconer 2003, Fractal Geometry, section 3.1).

    A grid of boxes may be put anywhere, and what is returned is the mean over all its places; a box that reaches beyond
    an edge goes on at the opposite one.

    Args:
        inside: Whether each point of a square grid belongs to the set.

    Examples:
        >>> import numpy as np
        >>> from jaxstudies.evidence.boxcounting import count_boxes
        >>> row = np.arange(65)
        >>> round(count_boxes(np.tile(row > 30, (65, 1))).dimension, 6)
        1.0
    """
    marked = boundary(inside)
    sizes = box_sizes(min(marked.shape))
    return Counts(sizes, np.array([_met(marked, int(size)) / size**2 for size in sizes]))


def _met(marked: Bool[np.ndarray, "rows columns"], size: int) -> int:
    """Return at how many places a box has a marked cell inside."""
    wrapped = np.pad(marked, ((0, size - 1), (0, size - 1)), mode="wrap")
    sums = np.pad(wrapped.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return int(np.count_nonzero(sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]))


def dimension(inside: Bool[np.ndarray, "rows columns"]) -> float:
    """Return the box-counting dimension of the boundary of a set of points of a square grid, see `count_boxes`."""
    return count_boxes(inside).dimension


class Curve(NamedTuple):
    """A closed curve, or two, of known dimension."""

    dimension: float
    inside: Callable[[int], Bool[np.ndarray, "points points"]]
    """Returns which points of a square grid it encloses."""


def inside_polygon(corners: Float[np.ndarray, "corners 2"], points: int) -> Bool[np.ndarray, "points points"]:
    """Return which midpoints of equal cells of the unit square a polygon encloses (even-odd rule)."""
    at = (np.arange(points) + 0.5) / points
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    filled = np.zeros((points, points), bool)
    for row, y in enumerate(at):
        crossed = (y0 <= y) != (y1 <= y)
        x = x0[crossed] + (y - y0[crossed]) / (y1[crossed] - y0[crossed]) * (x1[crossed] - x0[crossed])
        filled[row] = np.searchsorted(np.sort(x), at) % 2 == 1
    return filled


def inside_ring(points: int) -> Bool[np.ndarray, "points points"]:
    """Return which midpoints lie between two circles that are 0.04 apart: two smooth lines near one another."""
    at = (np.arange(points) + 0.5) / points - 0.5
    return np.abs(np.hypot(at[:, None], at) - 0.3) < 0.02


def replaced(corners: np.ndarray, motif: np.ndarray, times: int) -> Float[np.ndarray, "corners 2"]:
    """Return a polygon each of whose sides is replaced by a motif from 0 to 1 (complex numbers), time and again."""
    closed = corners
    for _ in range(times):
        sides = np.roll(closed, -1) - closed
        closed = (closed[:, None] + sides[:, None] * motif[:-1]).ravel()
    return np.stack([np.real(closed), np.imag(closed)], axis=1)


def _turned(corners: list[complex], angle: float = 0.3) -> np.ndarray:
    """Return corners around the middle of the unit square, turned, so that no side lies along the grid."""
    return 0.5 + 0.5j + np.array(corners) * np.exp(1j * angle)


_TRIANGLE = _turned([0.38 * np.exp(2j * np.pi * k / 3) for k in (0, 2, 1)])
_SQUARE = _turned([0.27 * np.exp(2j * np.pi * (k + 0.5) / 4) for k in range(4)])
_KOCH = np.array([0, 1 / 3, 0.5 + 1j * 3**0.5 / 6, 2 / 3, 1])
_QUADRATIC = np.array([0, 1, 1 + 1j, 2 + 1j, 2, 2 - 1j, 3 - 1j, 3, 4]) / 4
CURVES = {
    "circle": Curve(1.0, lambda points: inside_polygon(replaced(_circle(), np.array([0, 1]), 0), points)),
    "ring": Curve(1.0, inside_ring),
    "square": Curve(1.0, lambda points: inside_polygon(replaced(_SQUARE, np.array([0, 1]), 0), points)),
    "Koch curve": Curve(np.log(4) / np.log(3), lambda points: inside_polygon(replaced(_TRIANGLE, _KOCH, 6), points)),
    "quadratic Koch curve": Curve(1.5, lambda points: inside_polygon(replaced(_SQUARE, _QUADRATIC, 5), points)),
}
"""Of the Koch curve each side is replaced by four of a third of its length, of the quadratic one by eight of a quarter
(Mandelbrot 1982, The Fractal Geometry of Nature)."""


def known_dimensions(points: Iterable[int]) -> pd.DataFrame:
    """Return what curves of known dimension are estimated at, a row for each and for each number of points."""
    rows = [
        (name, side, curve.dimension, dimension(curve.inside(side)))
        for name, curve in CURVES.items()
        for side in sorted(set(points))
    ]
    return pd.DataFrame(rows, columns=["curve", "points", "dimension", "estimate"])


def _circle() -> np.ndarray:
    return _turned([0.35 * np.exp(2j * np.pi * k / 1000) for k in range(1000)])
