"""What is claimed of the dimension of boundaries: over seeds, over scales, and of what most seeds have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from jaxstudies.evidence.boxcounting import BIAS, SMOOTH, count_boxes, dimension
from jaxstudies.evidence.claims import Claim
from jaxstudies.evidence.effects import Effect
from jaxstudies.evidence.intervals import Interval, mean_interval, order_statistics
from jaxstudies.grids import unpacked

Grid = Bool[np.ndarray, "points points"]
ALSO_ROUGH = "that it is a fractal: several smooth lines near one another, or one in folds, are estimated so, too"
GROUPS, LEAST = 5, 3
"""Groups of seeds that are planned, and seeds of which a majority is taken at least."""
NUMBERS = (1, 3, 5, 10, 30, 50, 100, 300, 500, 1000)
"""Numbers of seeds, of which majorities are taken."""


def dimensions(grids: Mapping[int, Grid]) -> pd.Series:
    """Return the dimension of each seed's boundary."""
    return pd.Series({seed: dimension(grid) for seed, grid in grids.items()}, dtype=float)


def slopes(*windows: Mapping[int, Grid]) -> pd.Series:
    """Return the slopes between neighboring box sizes, of one window after another: a dimension at each scale."""
    found = [count_boxes(grid).local for grids in windows for grid in grids.values()]
    return pd.Series(np.concatenate([np.empty(0), *found]))


def majority(grids: Iterable[Grid]) -> Grid:
    """Return where most seeds are inside."""
    return np.mean(list(grids), axis=0) > 0.5


def group_size(planned: int) -> int:
    """Return of how many seeds majorities are taken: a fifth of those that are planned, three at least."""
    return max(planned // GROUPS, LEAST)


def groups(grids: Mapping[int, Grid], size: int) -> dict[int, list[Grid]]:
    """Return the grids of groups of so many seeds, by the last seed of each."""
    listed = sorted(grids)
    cut = [listed[start : start + size] for start in range(0, len(listed) - size + 1, size)]
    return {group[-1]: [grids[seed] for seed in group] for group in cut}


def of_majorities(grids: Mapping[int, Grid], size: int) -> pd.Series:
    """Return the dimension of the boundary of each group's majority, see `groups`."""
    return dimensions({last: majority(group) for last, group in groups(grids, size).items()})


def excesses(grids: Mapping[int, Grid], size: int) -> pd.Series:
    """Return by how much the dimension of each group's majority exceeds the mean of its seeds."""
    own = {last: np.mean([dimension(grid) for grid in group]) for last, group in groups(grids, size).items()}
    return of_majorities(grids, size) - pd.Series(own, dtype=float)


def by_number(grids: Mapping[str, Mapping[int, Grid]], name: str) -> pd.DataFrame:
    """Return the dimension of where most of some seeds are inside: a row for each of NUMBERS, by what `name` says.

    Seeds are cut into as many groups of a number as they fill; an interval is of the mean over these.
    """
    rows = []
    for label, here in grids.items():
        listed = [here[seed] for seed in sorted(here)]
        for number in (number for number in NUMBERS if 1 < len(listed) >= number):
            cut = [listed[start : start + number] for start in range(0, len(listed) - number + 1, number)]
            found = np.array([dimension(majority(group)) for group in cut])
            interval = dict(zip(("dimension", "low", "high"), mean_interval(found[~np.isnan(found)]), strict=True))
            rows.append({name: label, "seeds": number, "groups": len(cut)} | interval)
    return pd.DataFrame(rows, columns=[name, "seeds", "groups", "dimension", "low", "high"])


def boxes(grids: Mapping[tuple, Grid], names: Sequence[str]) -> pd.DataFrame:
    """Return boxes by their size of each grid, which is known by a value for each name."""
    rows = [count_boxes(grid).rows().assign(**dict(zip(names, key, strict=True))) for key, grid in grids.items()]
    return pd.concat(rows, ignore_index=True)


def described(grids: Mapping[int, Grid]) -> Interval:
    """Return a dimension with its 95 % interval: the mean over seeds, or, of one seed, the median over scales."""
    if len(grids) > 1:
        return mean_interval(dimensions(grids).dropna().to_numpy())
    return order_statistics(slopes(grids).dropna().to_numpy())


def rough(id_: str, words: str, effect: Callable[..., Effect], **more: Any) -> Claim:
    """Return the claim that a dimension is that of no single smooth line; `more` are other fields of `Claim`."""
    more = {"margin": f"ours: no single smooth line was estimated above {SMOOTH:g}", "not_shown": ALSO_ROUGH} | more
    return Claim(id_, words, effect, (SMOOTH, np.inf), unit="dimension", ends="(]", **more)


def smooth(
    id_: str, words: str, effect: Callable[..., Effect], holds: tuple[float, float] = (0.0, SMOOTH), **more: Any
) -> Claim:
    """Return the claim that a dimension is that of a smooth curve, or, with another region, on how it differs."""
    margin = f"ours: single smooth lines were estimated up to {SMOOTH:g}" if holds[1] == SMOOTH else ""
    return Claim(id_, words, effect, holds, unit="dimension", margin=margin, **more)


def stated(id_: str, words: str, effect: Callable[..., Effect], value: float, **more: Any) -> Claim:
    """Return the claim that a dimension is one that was stated, as near as box-counting finds those of single lines."""
    below, above = BIAS
    margin = f"ours: those of single lines were estimated up to {below:g} too low, and {above:g} too high"
    return Claim(id_, words, effect, (value - below, value + above), unit="dimension", margin=margin, **more)


def smooth_in_majorities(
    name: str, inside: str, size: int, effect_of: Callable[..., Callable[..., Effect]], **more: Any
) -> list[Claim]:
    """Return the claims that the boundary of what most of so many seeds share is smooth, and smoother than theirs.

    Args:
        name: Of the condition, in their identifiers and in parentheses.
        inside: What seeds are, and do inside, in the plural, as in "networks train".
        size: Seeds of a majority.
        effect_of: Makes an effect from a function of the grids by seed.
        more: Other fields of `Claim`.
    """
    more["not_shown"] = f"majorities of more than {size}"
    where = f"where most of {size} {inside} has a"
    own, excess = (effect_of(partial(take, size=size)) for take in (of_majorities, excesses))
    words, smoother = f"{where} smooth boundary ({name})", f"{where} smoother one than each, in the mean ({name})"
    less = {"holds": (-2.0, 0.0), "ends": "[)", "primary": False}
    return [smooth(f"smooth.{name}", words, own, **more), smooth(f"smoother.{name}", smoother, excess, **less, **more)]


def compared(refined: pd.DataFrame, whole: Mapping[str, Grid]) -> pd.DataFrame:
    """Return the dimensions of refined pictures, and the share of points in which each differs from the whole one.

    Args:
        refined: What `engine.planes.refined_pictures` returns.
        whole: The pictures of all points, by name; one of another number of points is compared to nothing.
    """
    grids = [unpacked(row.grid, row.points) for row in refined.itertuples()]
    pairs = [(grid, whole[name]) for grid, name in zip(grids, refined["name"], strict=True)]
    differ = [np.mean(one != other) if one.shape == other.shape else np.nan for one, other in pairs]
    return refined.drop(columns="grid").assign(dimension=[dimension(grid) for grid in grids], differ=differ)
