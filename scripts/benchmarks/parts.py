"""A part of what is measured: rows that a process of its own measures one by one, and writes one by one.

So nothing that was measured is lost when the next row fails or hangs, and the next part begins afresh.
"""

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxstudies.commands.endings import one_line
from jaxstudies.engine import devices
from jaxstudies.output import files

Row = dict[str, Any]
Job = tuple[Row, Callable[[], Row]]
"""What a row is about, and what measures the rest of it."""


class Extent(NamedTuple):
    """How much is measured."""

    scale: float
    """Of the numbers of networks: 1 on an accelerator, a hundredth elsewhere."""
    until: float = math.inf
    """When the part is ended, by `time.time()`."""

    @property
    def whole(self) -> bool:
        """Whether everything is measured, as on an accelerator."""
        return self.scale == 1

    def of(self, number: int, least: int = 64) -> int:
        """Return how many networks stand for a number of them."""
        return max(int(number * self.scale), least)

    def left(self) -> float:
        """Return the seconds until the part is ended."""
        return self.until - time.time()


Part = Callable[[Extent], Iterator[Job]]


def read(path: Path) -> dict[str, Any]:
    """Return what is in the file of results, nothing if there is none."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def add(path: Path, part: str, row: Row) -> None:
    """Print a row and add it to the file of results."""
    print(f"{part}: {row}", flush=True)
    content = read(path)
    content.setdefault(part, []).append(row)
    files.write_json(path, content)


def run(path: Path, part: str, jobs: Iterator[Job]) -> None:
    """Measure row by row; one that fails says why, and the next is measured all the same."""
    try:
        for about, job in jobs:
            try:
                row = about | job()
            except Exception as error:
                row = about | failure(error)
            add(path, part, row)
    except Exception as error:  # of what prepares the rows
        add(path, part, failure(error))


def failure(error: Exception) -> Row:
    """Return what a row says that could not be measured."""
    return {"failed": one_line(f"{type(error).__name__}: {error}")[:500]}


def surroundings() -> dict[str, str]:
    """Return the environment of a process that imports what this one does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def main() -> None:
    """Measure a part, named with the function that yields its jobs."""
    path, part, module, name, scale, until = sys.argv[1:]
    devices.use_all_cores()
    run(Path(path), part, getattr(importlib.import_module(module), name)(Extent(float(scale), float(until))))
