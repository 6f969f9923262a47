"""Adaptive refinement: of a fine square grid only the points near a boundary are evaluated."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

Evaluate = Callable[[Int[np.ndarray, " n"], Int[np.ndarray, " n"]], Bool[np.ndarray, " n"]]
"""Returns what is true at points, given their rows and columns."""


class Refined(NamedTuple):
    """A grid, and which of its points were evaluated; the others have the value of those around them."""

    inside: Bool[np.ndarray, "points points"]
    evaluated: Bool[np.ndarray, "points points"]


def refine(evaluate: Evaluate, points: int, coarsest: int) -> Refined:
    """Evaluate points of a square grid where neighbors disagree, on finer and finer lattices.

    All points of the coarsest lattice are evaluated. On each finer one those are whose neighbors disagree, again and
    again until all neighbors of an evaluated point that disagree with it were evaluated, too: a boundary is followed
    wherever it leads. What lies between points of the coarsest lattice and touches no boundary that was found is
    missed.

    Args:
        evaluate: What is true at points.
        points: Points along each axis.
        coarsest: Points from one of the coarsest lattice to the next, a power of two.

    Raises:
        ValueError: `coarsest` is none.

    Examples:
        >>> import numpy as np
        >>> from jaxstudies.engine.refinement import refine
        >>> refined = refine(lambda row, column: row > 40, 128, 16)
        >>> bool((refined.inside == (np.arange(128) > 40)[:, None]).all()), round(refined.evaluated.mean(), 2)
        (True, 0.04)
    """
    if coarsest < 1 or coarsest & (coarsest - 1):
        raise ValueError(f"coarsest {coarsest}: a power of two")
    inside, evaluated = np.zeros((points, points), bool), np.zeros((points, points), bool)
    step = coarsest
    wanted = np.ones((-(-points // step),) * 2, bool)
    while True:
        here = inside[::step, ::step], evaluated[::step, ::step]  # views: what is written there is in the grid
        while wanted.any():
            row, column = np.nonzero(wanted)
            here[0][row, column] = evaluate(row * step, column * step)
            here[1][row, column] = True
            wanted = _disagreeing(here[0]) & ~here[1]
        if step == 1:
            return Refined(inside, evaluated)
        finer = inside[:: step // 2, :: step // 2], evaluated[:: step // 2, :: step // 2]
        finer[0][...] = np.where(finer[1], finer[0], _doubled(here[0], finer[0].shape))
        step //= 2
        wanted = _disagreeing(finer[0]) & ~finer[1]


def _doubled(coarse: Bool[np.ndarray, "a b"], shape: tuple[int, ...]) -> Bool[np.ndarray, "c d"]:
    """Return a lattice of twice as many points, each with the value of the one below or left of it."""
    return coarse.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]


def _disagreeing(inside: Bool[np.ndarray, "a b"]) -> Bool[np.ndarray, "a b"]:
    """Return which points have another value than one of the eight around them."""
    padded = np.pad(inside, 1, mode="edge")
    rows, columns = inside.shape
    around = [padded[i : i + rows, j : j + columns] != inside for i in range(3) for j in range(3)]
    return np.logical_or.reduce(around)
