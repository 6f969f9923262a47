"""Curves by which a few runs are shown, their file, and their paths in a drawing."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxstudies.ours import write_atomic

FILE = "portraits.parquet"
SIZE = 100.0
"""Width and height of a drawing, in its own units."""
NEAR = 0.3
"""How far a path may lie from its curve, in these units."""


class Functions(NamedTuple):
    """What each run of a setting is, as functions, in the way in which a study offers it."""

    setting: Mapping[str, object]
    """Labels of the setting, as `replay` takes them."""
    cells: Sequence[Mapping[str, object]]
    """Labels of the rows of the summary that they are shown with, one for each function of a run."""
    x: np.ndarray
    """Where the functions are looked at, ascending: (points,)."""
    of: Callable[..., Any]
    """Takes the key of a run, and returns the values of its functions: (cells, points)."""


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


def write(path: Path, portraits: Iterable[Portrait]) -> None:
    """Write curves with their labels."""
    listed = list(portraits)
    columns: dict[str, list] = {name: [json.dumps(dict(getattr(p, name))) for p in listed] for name in LABELS}
    numbers = {"x": pa.list_(pa.float32()), "y": pa.list_(pa.list_(pa.float32()))}
    made = {name: pa.array([np.asarray(getattr(p, name)).tolist() for p in listed], of) for name, of in numbers.items()}
    write_atomic(path, lambda p: pq.write_table(pa.table(columns | made), p, compression="zstd"))


def read(path: Path) -> list[Portrait]:
    """Return curves as they were written; raise ValueError or what pyarrow does if they cannot be read."""
    found = []
    for row in pq.read_table(path).to_pylist():
        x, y = (np.array(row[name], float) for name in ("x", "y"))
        if x.ndim != 1 or y.ndim != 2 or y.shape[1] != len(x) or not (np.diff(x) > 0).all() or len(x) < 2:
            raise ValueError(f"{path}: no curves")
        cell, setting = (dict(json.loads(row[name])) for name in LABELS)
        found.append(Portrait(cell, setting, x, y))
    return found


LABELS = "cell", "setting"


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
