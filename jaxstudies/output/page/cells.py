"""The runs behind the cells of a map: their curves, and the commands that replay them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxstudies.output import curves
from jaxstudies.output.curves import Portrait
from jaxstudies.output.page import repeating
from jaxstudies.output.page.charts import Chart, short

if TYPE_CHECKING:
    from jaxstudies.output.page.sections import Section


class Cell(NamedTuple):
    """The first runs of a cell."""

    mark: int
    """Which mark of the chart it is."""
    said: str
    runs: list[tuple[str, str, str]]
    """Of each: its curve as a path, what is said of it, and the command that replays it."""


def cells_of(chart: Chart, section: "Section") -> list[Cell]:
    """Return the cells of a map whose runs are known, none of other charts."""
    found = []
    for place, mark in enumerate(chart.marks if chart.kind == "map" else ()):
        for portrait in section.portraits:
            if all(mark.row.get(name) == value for name, value in portrait.cell.items()):
                said = f"{mark.said.partition(':')[0]}, x {_ends(portrait.x)}"
                found.append(Cell(place, said, list(_runs(portrait, section))))
                break
    return found


def _runs(portrait: Portrait, section: "Section") -> Iterator[tuple[str, str, str]]:
    """Yield what is shown of each run."""
    for seed, (path, values) in enumerate(zip(curves.paths(portrait), portrait.y, strict=True)):
        ends = (
            f"from {short(float(values.min()))} to {short(float(values.max()))}"
            if np.isfinite(values).all()
            else "not finite"
        )
        yield path, f"seed {seed}: {ends}", repeating.replay_of(section, seed, portrait.setting)


def _ends(values: np.ndarray) -> str:
    return f"from {short(float(values.min()))} to {short(float(values.max()))}"
