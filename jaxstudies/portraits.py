"""What the first runs of a study are, as functions, where the study can say it."""

from collections.abc import Iterator, Mapping

import numpy as np

from jaxstudies.configs import Dataclass
from jaxstudies.engine import compiler
from jaxstudies.output.curves import Portrait
from jaxstudies.study import Study

SEEDS = 4
"""Runs of a setting that are shown, at most."""


def of_runs(study: Study, config: Dataclass, origin: Mapping) -> list[Portrait]:
    """Return curves of the first runs of a table, given where it comes from; none where its study offers none."""
    return list(draw(study, config, origin["seed"], min(SEEDS, origin["num_seeds"])))


def draw(study: Study, config: Dataclass, seed: int, num_seeds: int) -> Iterator[Portrait]:
    """Yield curves of the first runs of a study from a master seed."""
    for shown in study.portraits(config) if study.portraits else ():
        values = compiler.map_once(shown.of, seed, num_seeds)
        for place, cell in enumerate(shown.cells):
            yield Portrait(cell, shown.setting, np.asarray(shown.x), values[:, place])
