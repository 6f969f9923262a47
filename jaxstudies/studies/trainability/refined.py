"""The picture of the first network at many points, most of which need not be run."""

import base64
import itertools
import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Bool

from jaxstudies.engine.design import Design, Group
from jaxstudies.engine.levels import as_data
from jaxstudies.engine.monte_carlo import Execution, Task, run_design
from jaxstudies.engine.refinement import Refined, refine
from jaxstudies.evidence.boxcounting import dimension
from jaxstudies.studies.trainability.config import CENTERS, CONDITIONS, Config
from jaxstudies.studies.trainability.design import RUNS_PER_DEVICE, axes
from jaxstudies.studies.trainability.simulation import simulate
from jaxstudies.study import identity_of

COARSEST, CHUNK, AT_ONCE = 8, 2 * RUNS_PER_DEVICE, 2048
"""Points from one of the coarsest lattice to the next; points run at once, and at most of what is kept together."""


def packed(grid: Bool[np.ndarray, "points points"]) -> str:
    """Return a grid as text."""
    return base64.b64encode(zlib.compress(np.packbits(grid).tobytes(), 9)).decode()


def unpacked(text: str, points: int) -> Bool[np.ndarray, "points points"]:
    """Return a grid from its text."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8), count=points**2)
    return bits.astype(bool).reshape(points, points)


def outcomes(config: Config, condition: str, x: np.ndarray, y: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Return whether the first network trains at points, of which there are whole chunks: so all share a program."""
    number, mapped = np.arange(len(x)), {"x": as_data("x", x), "y": as_data("y", y)}
    static = (("condition", CONDITIONS[condition]), ("steps", config.steps))
    how = Execution(chunk_size=CHUNK, progress=False)
    design = Design({"point": number}, [Group(number, static, {}, mapped)])
    task = Task(simulate, design, 1, config.seed, execution=how, identity=identity_of(simulate, design))
    return np.concatenate([block["converged"].to_numpy(zero_copy_only=False) for block in run_design(task)[0]])


def refined(config: Config, condition: str, remember: Callable) -> Refined:
    """Return the refined picture of a condition; outcomes are kept on the way."""
    across, up = axes(config.center or CENTERS[condition], config.refine, config.span)
    number = itertools.count()

    def evaluate(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        found = []
        for start in range(0, len(row), AT_ONCE):
            here = slice(start, start + AT_ONCE)
            missing = (0, -len(row[here]) % CHUNK)  # it is filled with the last point
            x, y = (np.pad(10.0**part, missing, mode="edge") for part in (across[column[here]], up[row[here]]))
            name = f"refined {condition} {next(number)}"
            kept = remember(name, lambda x=x, y=y: {"converged": outcomes(config, condition, x, y)})
            found.append(kept["converged"][: len(row[here])])
        return np.concatenate(found)

    return refine(evaluate, config.refine, COARSEST)


def beside(config: Config, remember: Callable) -> dict[str, pd.DataFrame]:
    """Return the refined pictures, if any: the points that were run, and a grid of those that trained."""
    listed = []
    for name in config.conditions if config.refine else ():
        inside, evaluated = refined(config, name, remember)
        row = {"condition": name, "points": config.refine, "runs": int(evaluated.sum()), "share": evaluated.mean()}
        listed.append(row | {"dimension": dimension(inside), "grid": packed(inside)})
    return {"refined": pd.DataFrame(listed)} if listed else {}
