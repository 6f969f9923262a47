"""From finished blocks, and from an earlier table with the first seeds, to the rows of a table."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from jaxstudies.engine.blocks import Plan, Size
from jaxstudies.engine.chunks import COMMIT, Chunks, ChunksError, Memory
from jaxstudies.engine.compiler import Columns
from jaxstudies.engine.design import Design
from jaxstudies.output import table
from jaxstudies.output.table import Shapes

ROWS_AT_ONCE, BYTES_AT_ONCE = 100_000, 2**28
"""Rows of a table that are in memory at once, and their bytes, at most."""

SPENT, LAUNCHES, IN_KERNELS = "\0spent", "\0launches", "\0in_kernels"
"""Names, which no measure can have, under which a chunk keeps its seconds of compiling and of running, its launches, if
it took several, and whether its networks were trained in kernels."""
ABOUT = SPENT, LAUNCHES, IN_KERNELS, COMMIT
"""What a chunk keeps beside its columns."""


class Earlier(NamedTuple):
    """A table of the same design with the first seeds, from which a run grows."""

    num_seeds: int
    blocks: Callable[[], Iterator[pa.Table]]
    """Yields its rows, in the blocks in which it was written."""


def collect(plan: Plan, kept: Chunks | Memory, settings: tuple[int, int], seeds: tuple[int, int]) -> Columns:
    """Return a group's arrays over ranges of its settings and of seeds, (seeds, settings, ...)."""
    (a, b), (c, d) = settings, seeds
    whole: Columns = {}
    for block in plan.blocks(settings, seeds):
        if (columns := kept.read(block.name)) is None:
            raise ChunksError(f"chunk {block.name} has gone; the same command computes it again")
        first = max(a, block.setting), max(c, block.seed)
        last = min(b, block.setting + block.size.settings), min(d, block.seed + block.size.seeds)
        there, here = (
            (slice(first[1] - seed, last[1] - seed), slice(first[0] - setting, last[0] - setting))
            for seed, setting in ((block.seed, block.setting), (c, a))
        )
        for name, values in columns.items():
            if name in ABOUT:
                continue
            empty = np.empty((d - c, b - a, *values.shape[2:]), values.dtype)
            whole.setdefault(name, empty)[here] = values[there]
    return whole


def steps_of(design: Design, shapes: Shapes, most: int) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yield the blocks of a table that fit the memory: ranges of seeds, and positions of settings.

    A block has the rows of all settings for the next seeds, or, where the settings are very many,
    of some of them; each setting's rows stand together. How many seeds there are changes nothing.
    """
    row_bytes = sum(a.dtype.itemsize * math.prod(a.shape) for a in shapes.values())
    rows = max(min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(row_bytes, 1)), 1)
    number = design.num_settings
    step = Size(min(number, rows), max(rows // number, 1))
    for seed in range(0, most, step.seeds):
        for setting in range(0, number, step.settings):
            yield (seed, seed + step.seeds), np.arange(setting, min(setting + step.settings, number))


def rows_by_setting(design: Design, num_seeds: int, seeds: tuple[int, int], places: np.ndarray) -> np.ndarray:
    """Return how many rows settings have in a range of seeds."""
    limits = np.full(design.num_settings, num_seeds)
    for group in design.groups:
        limits[group.positions] = min(group.num_seeds or num_seeds, num_seeds)
    return (limits[places] - seeds[0]).clip(0, seeds[1] - seeds[0])


def block_sizes(design: Design, shapes: Shapes, num_seeds: int) -> list[int]:
    """Return the numbers of rows of the blocks in which a table is written."""
    sizes = (int(rows_by_setting(design, num_seeds, *step).sum()) for step in steps_of(design, shapes, num_seeds))
    return [size for size in sizes if size]


def stream_table(
    design: Design,
    num_seeds: int,
    plans: list[Plan],
    kept: Chunks | Memory,
    schema: pa.Schema,
    shapes: Shapes,
    earlier: Earlier | None = None,
) -> Iterator[pa.Table]:
    """Hand out the rows of finished blocks, those of an earlier table first, in tables that fit the memory."""
    there = earlier.num_seeds if earlier else 0
    stored = earlier.blocks() if earlier else iter(())
    for seeds, places in steps_of(design, shapes, num_seeds):
        parts: list[table.Rows] = []
        counts = rows_by_setting(design, there, seeds, places)
        if counts.any():
            rows, order = pa.Table.from_arrays(next(stored).columns, schema=schema), np.repeat(places, counts)
            wanted = rows["seed"].to_numpy() < num_seeds
            parts.append((rows.filter(pa.array(wanted)), order[wanted]))
        for plan in plans:
            a, b = map(int, np.searchsorted(plan.group.positions, (places[0], places[-1] + 1)))
            first, last = max(seeds[0], plan.first_seed), min(seeds[1], plan.num_seeds)
            if a < b and first < last:
                columns = collect(plan, kept, (a, b), (first, last))
                piece = plan.group.positions[a:b], np.arange(first, last), columns
                parts.append(table.rows_of(schema, design.labels, piece))
        if parts:  # some settings have fewer seeds than others
            yield table.assemble(parts)
