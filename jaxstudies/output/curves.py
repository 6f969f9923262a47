"""Curves by which a few runs are shown, and their paths in a drawing."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

SIZE = 100.0
"""Width and height of a drawing, in its own units."""
NEAR = 0.3
"""How far a path may lie from its curve, in these units."""


class Portrait(NamedTuple):
    """What the first runs of a setting are, as functions: the outputs of networks, say."""

    cell: Mapping[str, object]
    """Labels of the row of the summary that they are shown with."""
    setting: Mapping[str, object]
    """Labels of their setting, as `replay` takes them."""
    x: np.ndarray
    """Where the functions were looked at, ascending: (points,)."""
    y: np.ndarray
    """Their values, seed by seed from 0: (seeds, points)."""


def paths(portrait: Portrait) -> list[str]:
    """Return each curve as an SVG path, all on one scale; of a curve that is not finite, an empty one."""
    x, finite = portrait.x, np.asarray(np.isfinite(portrait.y).all(axis=1))
    known = portrait.y[finite]
    least, most = (known.min(), known.max()) if known.size else (0.0, 0.0)
    across = SIZE * (x - x[0]) / (x[-1] - x[0])
    share = (portrait.y - least) / (most - least) if most > least else np.full(portrait.y.shape, 0.5)
    up = SIZE * (0.95 - 0.9 * share)
    return [_path(across, line) if is_finite else "" for line, is_finite in zip(up, finite, strict=True)]


def _path(x: np.ndarray, y: np.ndarray) -> str:
    return "M" + "L".join(f"{x[i]:.1f},{y[i]:.1f}" for i in [*_needed(x, y, 0, len(x) - 1), len(x) - 1])


def _needed(x: np.ndarray, y: np.ndarray, first: int, last: int) -> list[int]:
    """Return the points without which a path would leave its curve, but for the last (Douglas and Peucker)."""
    away = np.abs(y[first : last + 1] - np.interp(x[first : last + 1], x[[first, last]], y[[first, last]]))
    if away.max() <= NEAR:
        return [first]
    middle = first + int(away.argmax())
    return _needed(x, y, first, middle) + _needed(x, y, middle, last)
