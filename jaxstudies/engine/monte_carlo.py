"""The engine: one simulation of a key, mapped over settings and over any number of seeds.

Seed i is simulated with `fold_in(key(seed), i)`, so it depends on the master seed and on i alone: ten seeds are the
first ten of a thousand, and run 417 can be replayed by itself. How a design is cut into blocks and spread over devices
changes results by rounding at most; with both the same, they repeat to the bit.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
import pyarrow as pa
from jaxtyping import PyTree
from tqdm import tqdm

from jaxstudies.engine import programs
from jaxstudies.engine.blocks import Plan, Size, make_plans
from jaxstudies.engine.chunks import Chunks, ChunksError, Memory
from jaxstudies.engine.cluster import ALONE, Share, Unfinished
from jaxstudies.engine.design import Design, Group, Simulate, as_array
from jaxstudies.engine.programs import Columns, Devices
from jaxstudies.output import table
from jaxstudies.output.table import Shapes

RUNS_PER_CPU = 512
"""Runs per CPU core and block, so that tiny networks stay within the caches; a study of larger runs says so."""

RUNS_PER_ACCELERATOR = 8192
"""Runs per accelerator and block: a guess, not tuned on one yet."""

ROWS_AT_ONCE, BYTES_AT_ONCE = 100_000, 2**28
"""Rows of a table that are in memory at once, and their bytes, at most."""

SPENT = "_spent"
"""Name under which a chunk keeps its seconds of compiling and of running."""


class Execution(NamedTuple):
    """How a design is run; none of it changes results beyond rounding."""

    chunk_size: int | None = None
    """Runs at once, which bounds the memory; chosen by default."""
    num_devices: int | None = None
    """Devices used; all by default."""
    runs_per_device: int | None = None
    """Runs at once on each device of a CPU, if `chunk_size` is not given."""

    def runs_at_once(self, devices: Devices) -> int:
        """Return how many runs are made at once."""
        on_cpu = devices[0].platform == "cpu"
        each = (self.runs_per_device or RUNS_PER_CPU) if on_cpu else RUNS_PER_ACCELERATOR
        return self.chunk_size or each * len(devices)


DEFAULT = Execution()


class Task(NamedTuple):
    """What is run."""

    simulate: Simulate
    design: Design
    num_seeds: int
    """Seeds of each setting."""
    seed: int = 0
    data: Mapping[str, PyTree] = MappingProxyType({})
    """Arrays that all runs share, by the name of a parameter of `simulate`."""
    axes: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Names of the axes of measures."""
    execution: Execution = DEFAULT


class Timing(NamedTuple):
    """Seconds spent compiling and running a group, over all processes that took part."""

    compile_seconds: float
    run_seconds: float
    runs: int


def map_seeds(
    simulate: Simulate,
    *shared: PyTree,
    num_seeds: int,
    seed: int = 0,
    chunk_size: int | None = None,
    num_devices: int | None = None,
) -> Columns:
    """Map a simulation over seeds, in one compiled program, on all devices.

    Args:
        simulate: Pure function `simulate(key, *shared)`: one run, arrays by name.
        *shared: Arrays that all seeds share.
        num_seeds: Number of seeds, at least 1.
        seed: Master seed.
        chunk_size: Seeds run at once, which bounds the memory; chosen by default.
        num_devices: Devices used; all by default.

    Returns:
        The simulation's arrays, each with a leading axis of `num_seeds`.

    Raises:
        ValueError: More devices are asked for than there are.
    """
    fixed = {f"shared_{i}": jax.tree.map(as_array, value) for i, value in enumerate(shared)}

    def by_name(key, **data):
        return simulate(key, *(data[name] for name in fixed))

    design = Design({}, [Group(np.zeros(1, int), (), fixed, {})])
    kept = Memory()
    (plan,), _ = compute(Task(by_name, design, num_seeds, seed, execution=Execution(chunk_size, num_devices)), kept)
    return {k: v[:, 0] for k, v in collect(plan, kept, (0, 1), (0, num_seeds)).items()}


def compute(
    task: Task, kept: Chunks | Memory, share: Share = ALONE, description: str = "runs"
) -> tuple[list[Plan], list[Timing]]:
    """Run the blocks of a share that are not kept yet; return the plans, and each one's time so far.

    Raises:
        Unfinished: The share is done, but it is not to be finished or other shares are missing.
        OutOfMemory: The devices cannot hold even one run each.
        ChunksError: Chunks cannot be written or read.
    """
    devices = programs.choose_devices(task.execution.num_devices)
    plans = make_plans(task.design, task.num_seeds, task.execution.runs_at_once(devices), len(devices))
    last_use = {plan.program(): plan.index for plan in plans}
    compiled, timings = programs.Programs(task.simulate, dict(task.data), devices), []
    with progress(plans, share, description) as bar:
        for plan in plans:
            bar.set_postfix_str(words_of(task.design, plan.group), refresh=False)
            spent = np.zeros(2)
            for block in plan.blocks():
                owned = share.owns(block.number)
                columns = kept.read(block.name) if owned or share.finishes else None
                if columns is None and owned:
                    columns, took = compiled.run(plan, block, task.seed)
                    columns[SPENT] = np.array(took)
                    kept.write(block.name, columns)
                spent += 0.0 if columns is None else columns[SPENT]
                if owned:
                    bar.update(int(np.prod(block.size)) * plan.group.cost)
            if last_use[plan.program()] == plan.index:
                compiled.free(plan)
            runs = plan.num_seeds * len(plan.group.positions)
            timings.append(Timing(float(spent[0]), float(spent[1]), runs))
    check_complete(plans, kept, share)
    return plans, timings


def progress(plans: list[Plan], share: Share, description: str) -> tqdm:
    """Return a bar over the share's runs, or over their cost where settings differ in it."""
    layout = "{desc}: {percentage:3.0f}%|{bar}| {n:,.0f}/{total:,.0f} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
    if len({plan.group.cost for plan in plans}) > 1:
        layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    # Shares differ by a block, and tqdm cannot draw a bar that goes beyond its total.
    owned = ((plan, block) for plan in plans for block in plan.blocks() if share.owns(block.number))
    total = sum(int(np.prod(block.size)) * plan.group.cost for plan, block in owned)
    return tqdm(total=total, desc=description, unit="run", delay=1, bar_format=layout)


def words_of(design: Design, group: Group) -> str:
    """Return what the settings of a group have in common, in words."""
    first, last = group.positions[0], group.positions[-1]
    return " ".join(str(c[first]) for c in design.labels.values() if c[first] == c[last])


def check_complete(plans: list[Plan], kept: Chunks | Memory, share: Share) -> None:
    """Raise Unfinished unless all blocks are there, and it is this process that puts them together."""
    total, names = sum(int(np.prod(plan.counts())) for plan in plans), set(kept.names())
    found = sum(block.name in names for plan in plans for block in plan.blocks())
    if found < total or not share.finishes:
        raise Unfinished(f"{found} of {total} chunks are there")


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
        columns.pop(SPENT, None)
        for name, values in columns.items():
            empty = np.empty((d - c, b - a, *values.shape[2:]), values.dtype)
            whole.setdefault(name, empty)[here] = values[there]
    return whole


def stream_table(task: Task, plans: list[Plan], kept: Chunks | Memory, shapes: Shapes) -> Iterator[pa.Table]:
    """Hand out the rows of finished blocks in tables that fit the memory.

    A table has the rows of all settings for the next seeds, or, where the settings are very many,
    of some of them; each setting's rows stand together.
    """
    design = task.design
    schema = table.make_schema(design.labels, shapes, dict(task.axes))
    row_bytes = sum(a.dtype.itemsize * a.size for a in shapes.values())
    rows = max(min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(row_bytes, 1)), 1)
    num_settings, most = design.num_settings, max(plan.num_seeds for plan in plans)
    step = Size(min(num_settings, rows), max(rows // num_settings, 1))
    for seed in range(0, most, step.seeds):
        for setting in range(0, num_settings, step.settings):
            pieces = []
            for plan in plans:
                a, b = map(int, np.searchsorted(plan.group.positions, (setting, setting + step.settings)))
                seeds = seed, min(seed + step.seeds, plan.num_seeds)
                if a < b and seeds[0] < seeds[1]:
                    columns = collect(plan, kept, (a, b), seeds)
                    pieces.append((plan.group.positions[a:b], np.arange(*seeds), columns))
            if pieces:  # some settings have fewer seeds than others
                yield table.assemble(schema, design.labels, pieces)


def shapes_of(task: Task) -> Shapes:
    """Return shapes and types of what a run returns in any setting, without running it.

    Raises:
        TypeError: It does not return a dictionary of arrays, or not of one shape and type in all
            settings.
    """
    seen: dict[tuple, Shapes] = {}
    for group in task.design.groups:
        identity = Plan(0, group, 1, Size(1, 1), 0).program()
        if identity not in seen:
            seen[identity] = programs.result_shapes(task.simulate, group, dict(task.data))
    together: Shapes = {}
    for name, shape in (item for shapes in seen.values() for item in shapes.items()):
        other = together.setdefault(name, shape)
        if (other.shape, other.dtype) != (shape.shape, shape.dtype):
            raise TypeError(
                f"simulate returned {name!r} as {other.dtype}{list(other.shape)} in one setting "
                f"and as {shape.dtype}{list(shape.shape)} in another; it must be alike in all"
            )
    return together


def run_design(
    task: Task, kept: Chunks | None = None, share: Share = ALONE, description: str = "runs"
) -> tuple[Iterator[pa.Table], list[Timing]]:
    """Run a design; return its rows in tables that fit the memory, and the time of each group.

    Everything is checked and run before this returns; it raises what `compute` does.
    """
    where = Memory() if kept is None else kept
    shapes = shapes_of(task)
    table.check_measures(task.design.labels, shapes, dict(task.axes))
    plans, timings = compute(task, where, share, description)
    return stream_table(task, plans, where, shapes), timings
