"""Planes of two numbers: square windows of points, their rows as grids, and pictures refined near a boundary."""

import itertools
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from tqdm import tqdm

from jaxstudies.engine import progress
from jaxstudies.engine.design import Design, Group, Simulate
from jaxstudies.engine.execution import Execution
from jaxstudies.engine.levels import as_data
from jaxstudies.engine.monte_carlo import Task, run_design
from jaxstudies.engine.refinement import Refined, refine
from jaxstudies.grids import packed

Arrays = dict[str, np.ndarray]
Remember = Callable[[str, Callable[[], Arrays]], Arrays]
"""Keeps arrays by name, so that a killed run does not compute them twice, see `Study.beside`."""
AT_ONCE = 2048
"""Points whose outcomes are kept together, at most."""


class Plane(NamedTuple):
    """A square window of a plane, cut into equal cells, with a point in the middle of each."""

    center: tuple[float, float]
    """What is across in its middle, and what is upwards."""
    span: float
    """Length of each side."""
    points: int
    """Points along each side."""

    @property
    def axes(self) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """What points have across, and upwards."""
        along = self.span * ((np.arange(self.points) + 0.5) / self.points - 0.5)
        return self.center[0] + along, self.center[1] + along

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Its left, right, lower and upper edge."""
        (x, y), half = self.center, self.span / 2
        return x - half, x + half, y - half, y + half

    def check(self, named: str) -> None:
        """Raise ValueError, which begins with what is `named`, if powers of ten of points are the same."""
        if min(len(np.unique(10.0**axis)) for axis in self.axes) < self.points:
            raise ValueError(f"{named}: {self.points} points across cannot be told apart")

    def by_tiles(self) -> tuple[Float[np.ndarray, " all"], Float[np.ndarray, " all"]]:
        """Return what all points have across, and upwards, so ordered that squares of any size stand together.

        Runs of neighbors are likely to end together, and a block of runs is done with its last one (Morton's order).
        """
        row, column = np.indices((self.points, self.points)).reshape(2, -1)
        bits = range(self.points.bit_length())
        order = np.argsort(sum(((row >> bit & 1) << 2 * bit + 1) + ((column >> bit & 1) << 2 * bit) for bit in bits))
        return self.axes[0][column[order]], self.axes[1][row[order]]


def grids(runs: pd.DataFrame, by: list[str], measure: str) -> dict[tuple, np.ndarray]:
    """Return a measure of each group of rows as a square grid, by rows from the lowest `y` and columns of `x`."""

    def grid(rows: pd.DataFrame) -> np.ndarray:
        side = round(len(rows) ** 0.5)
        return rows.sort_values(["y", "x"], kind="stable")[measure].to_numpy().reshape(side, side)

    return {tuple(key): grid(rows) for key, rows in runs.groupby(by, sort=False)}


def by_seed(found: dict[tuple, np.ndarray], *where: str) -> dict[int, np.ndarray]:
    """Return the grids of a group, by seed, of those of groups and seeds."""
    return {seed: grid for (*group, seed), grid in found.items() if group == [*where]}


def run_points(
    simulate: Simulate,
    measure: str,
    mapped: dict[str, Float[np.ndarray, " n"]],
    static: dict[str, Hashable],
    *,
    seed: int,
    chunk_size: int,
    identity: Callable[[Simulate, Design], Hashable] = lambda simulate, design: None,
) -> np.ndarray:
    """Return a measure of the first seed at points.

    Args:
        simulate: One run.
        measure: What is taken of it.
        mapped: What differs from point to point, by the name of a parameter.
        static: What all have in common, behind the star.
        seed: Master seed.
        chunk_size: Points run at once; the last chunk is filled with the last point, so that all share a program.
        identity: Returns what is equal for functions that do the same.
    """
    number = len(next(iter(mapped.values())))
    whole = {name: np.pad(column, (0, -number % chunk_size), mode="edge") for name, column in mapped.items()}
    at = np.arange(number + -number % chunk_size)
    group = Group(at, tuple(static.items()), {}, {name: as_data(name, column) for name, column in whole.items()})
    design = Design({"point": at}, [group])
    how = Execution(chunk_size, progress=False)
    task = Task(simulate, design, 1, seed, execution=how, identity=identity(simulate, design))
    found = [block[measure].to_numpy(zero_copy_only=False) for block in run_design(task)[0]]
    return np.concatenate(found)[:number]


def refine_plane(
    run: Callable[[np.ndarray, np.ndarray], Bool[np.ndarray, " n"]], plane: Plane, name: str, remember: Remember
) -> Refined:
    """Return what is true at the points of a plane, of which only those near a boundary are run, see `refine`.

    Args:
        run: Returns what is true at points, given what they have across and upwards.
        plane: The plane.
        name: What is kept on the way has names that begin so.
        remember: Keeps what was run.
    """
    (across, up), number = plane.axes, itertools.count()

    def evaluate(row: Int[np.ndarray, " n"], column: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        found = []
        bar.total += len(row)
        for start in range(0, len(row), AT_ONCE):
            at = across[column[start : start + AT_ONCE]], up[row[start : start + AT_ONCE]]
            found.append(remember(f"{name} {next(number)}", lambda at=at: {"inside": run(*at)})["inside"])
            bar.update(len(at[0]))
        return np.concatenate(found)

    # How many points there are near the boundary is only seen as it is followed.
    with tqdm(desc=f"{name}, points so far", total=0, unit="point", delay=1, disable=progress.is_off()) as bar:
        return refine(evaluate, plane.points, coarsest_lattice(plane.points))


def coarsest_lattice(points: int) -> int:
    """Return the points from one of the coarsest lattice to the next: 8, or more if that leaves 64 along a side."""
    return max(8, 2 ** ((points // 64).bit_length() - 1)) if points >= 64 else 8


def refined_pictures(
    planes: Mapping[str, Plane], run: Callable[[str, np.ndarray, np.ndarray], np.ndarray], remember: Remember
) -> pd.DataFrame:
    """Return refined planes as rows: each one's name, points along a side, points that were run and their share, grid.

    `run` returns what is true at points of the plane of a name; for the rest see `refine_plane`.
    """
    rows = []
    for name, plane in planes.items():
        inside, evaluated = refine_plane(partial(run, name), plane, f"refined {name}", remember)
        rows.append((name, plane.points, int(evaluated.sum()), evaluated.mean(), packed(inside)))
    return pd.DataFrame(rows, columns=["name", "points", "runs", "share", "grid"])
