"""The engine: one simulation of a key, mapped over settings and over any number of seeds.

Seed i is simulated with `fold_in(key(seed), i)`, so it depends on the master seed and on i alone:
ten seeds are the first ten of a thousand, and run 417 can be replayed by itself. How a design is
cut into blocks and spread over devices changes results by rounding at most; with both the same,
they repeat to the bit.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import pyarrow as pa
from jaxtyping import PyTree
from tqdm import tqdm

from jaxstudies.engine import programs
from jaxstudies.engine.blocks import Plan, make_plans
from jaxstudies.engine.chunks import Chunks, ChunksError, Memory
from jaxstudies.engine.cluster import Share, Unfinished
from jaxstudies.engine.design import Design, Group, Simulate, as_array
from jaxstudies.engine.programs import Columns, Devices, Size
from jaxstudies.output import table

RUNS_PER_CPU = 512
"""Runs per CPU core and block: enough to hide the cost of launching kernels, few enough that tiny
networks stay within the caches; a study whose runs are larger says so."""

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
    names = [f"shared_{i}" for i in range(len(shared))]

    def by_name(key, **data):
        return simulate(key, *(data[name] for name in names))

    fixed = dict(zip(names, jax.tree.map(as_array, shared), strict=True))
    group = Group(np.zeros(1, int), (), fixed, {})
    design, kept = Design({}, [group]), Memory()
    execution = Execution(chunk_size, num_devices)
    (plan,) = compute(by_name, design, {}, num_seeds, seed, execution, kept)[0]
    return {k: v[:, 0] for k, v in collect(plan, kept, (0, 1), (0, num_seeds)).items()}


def runs_at_once(execution: Execution, devices: Devices) -> int:
    """Return how many runs are made at once."""
    per_device = execution.runs_per_device or RUNS_PER_CPU
    if devices[0].platform != "cpu":
        per_device = RUNS_PER_ACCELERATOR
    return execution.chunk_size or per_device * len(devices)


def compute(
    simulate: Simulate,
    design: Design,
    data: dict[str, PyTree],
    num_seeds: int,
    seed: int,
    execution: Execution,
    kept: Chunks | Memory,
    share: Share | None = None,
    description: str = "runs",
) -> tuple[list[Plan], list[Timing]]:
    """Run the blocks of a share that are not kept yet.

    Args:
        simulate: The simulation.
        design: Its settings.
        data: Arrays that all runs share, by the name of a parameter.
        num_seeds: Seeds of each setting.
        seed: Master seed.
        execution: How it is run.
        kept: Where finished blocks are kept.
        share: The blocks that this process computes; all by default.
        description: What the progress bar says.

    Returns:
        The plans, and the time that each took so far.

    Raises:
        Unfinished: The share is done, but it is not to be finished or other shares are missing.
        OutOfMemory: The devices cannot hold even one run each.
        ChunksError: Chunks cannot be written or read.
    """
    devices, share = programs.choose_devices(execution.num_devices), share or Share()
    plans = make_plans(design, num_seeds, runs_at_once(execution, devices), len(devices))
    last_use = {plan.program(): plan.index for plan in plans}
    compiled, timings = programs.Programs(simulate, data, devices), []
    with progress(plans, share, description) as bar:
        for plan in plans:
            bar.set_postfix_str(words_of(design, plan.group), refresh=False)
            spent, identity = np.zeros(2), plan.program()
            for block in plan.blocks():
                owned = share.owns(block.number)
                columns = kept.read(block.name) if owned or share.finishes else None
                if columns is None and owned:
                    corner = block.setting, block.seed
                    columns, took = compiled.run(identity, plan.group, plan.size, seed, corner, block.size)
                    columns[SPENT] = np.array(took)
                    kept.write(block.name, columns)
                spent += 0.0 if columns is None else columns[SPENT]
                if owned:
                    bar.update(block.size.settings * block.size.seeds * plan.group.cost)
            if last_use[identity] == plan.index:
                compiled.free(identity)
            num_runs = plan.num_seeds * len(plan.group.positions)
            timings.append(Timing(float(spent[0]), float(spent[1]), num_runs))
    check_complete(plans, kept, share)
    return plans, timings


def progress(plans: list[Plan], share: Share, description: str) -> tqdm:
    """Return a bar over the share's runs, or over their cost where settings differ in it."""
    costs = {plan.group.cost for plan in plans}
    layout = "{desc}: {percentage:3.0f}%|{bar}| {n:,.0f}/{total:,.0f} [{elapsed}<{remaining}, "
    layout += "{rate_fmt}{postfix}]"
    if len(costs) > 1:
        layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    # Shares differ by a block, and tqdm cannot draw a bar that goes beyond its total.
    total = sum(
        block.size.settings * block.size.seeds * plan.group.cost
        for plan in plans
        for block in plan.blocks()
        if share.owns(block.number)
    )
    return tqdm(total=total, desc=description, unit="run", delay=1, bar_format=layout)


def words_of(design: Design, group: Group) -> str:
    """Return what the settings of a group have in common, in words."""
    first, last = group.positions[0], group.positions[-1]
    shared = (c[first] for c in design.labels.values() if c[first] == c[last])
    return " ".join(map(str, shared))


def check_complete(plans: list[Plan], kept: Chunks | Memory, share: Share) -> None:
    """Check that all blocks are there, and that it is this process that puts them together.

    Raises:
        Unfinished: They are not, or it is not.
    """
    counts = [plan.counts() for plan in plans]
    total, names = sum(c.settings * c.seeds for c in counts), set(kept.names())
    found = sum(block.name in names for plan in plans for block in plan.blocks())
    if found < total or not share.finishes:
        raise Unfinished(found, total)


def read(kept: Chunks | Memory, name: str) -> Columns:
    """Return a finished block.

    Raises:
        ChunksError: It has gone since it was finished.
    """
    columns = kept.read(name)
    if columns is None:
        raise ChunksError(f"chunk {name} has gone; the same command computes it again")
    return columns


def collect(plan: Plan, kept: Chunks | Memory, settings: tuple[int, int], seeds: tuple[int, int]) -> Columns:
    """Return a group's arrays over ranges of its settings and of seeds, (seeds, settings, ...)."""
    (a, b), (c, d) = settings, seeds
    whole: Columns = {}
    for block in plan.blocks(settings, seeds):
        columns = read(kept, block.name)
        columns.pop(SPENT, None)
        first = max(a, block.setting), max(c, block.seed)
        last = min(b, block.setting + block.size.settings), min(d, block.seed + block.size.seeds)
        for name, values in columns.items():
            if name not in whole:
                whole[name] = np.empty((d - c, b - a, *values.shape[2:]), values.dtype)
            taken = values[first[1] - block.seed : last[1] - block.seed]
            taken = taken[:, first[0] - block.setting : last[0] - block.setting]
            whole[name][first[1] - c : last[1] - c, first[0] - a : last[0] - a] = taken
    return whole


def stream_table(
    design: Design,
    plans: list[Plan],
    kept: Chunks | Memory,
    shapes: dict[str, jax.ShapeDtypeStruct],
    axes: dict[str, tuple[str, ...]],
) -> Iterator[pa.Table]:
    """Hand out the rows of finished blocks in tables that fit the memory.

    A table has the rows of all settings for the next seeds, or, where the settings are very many,
    of some of them; each setting's rows stand together.
    """
    schema = table.make_schema(design.labels, shapes, axes)
    row_bytes = sum(a.dtype.itemsize * a.size for a in shapes.values())
    rows = max(min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(row_bytes, 1)), 1)
    num_settings, most = design.num_settings, max(plan.num_seeds for plan in plans)
    step = Size(min(num_settings, rows), max(rows // num_settings, 1))
    for seed in range(0, most, step.seeds):
        for setting in range(0, num_settings, step.settings):
            pieces = []
            for plan in plans:
                inside = np.searchsorted(plan.group.positions, (setting, setting + step.settings))
                seeds = seed, min(seed + step.seeds, plan.num_seeds)
                if inside[0] < inside[1] and seeds[0] < seeds[1]:
                    a, b = map(int, inside)
                    columns = collect(plan, kept, (a, b), seeds)
                    pieces.append((plan.group.positions[a:b], np.arange(*seeds), columns))
            if pieces:  # some settings have fewer seeds than others
                yield table.assemble(schema, design.labels, pieces)


def shapes_of(simulate: Simulate, design: Design, data: dict[str, PyTree]) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shapes and types of what a run returns in any setting, without running it.

    Raises:
        TypeError: It does not return a dictionary of arrays, or not of one shape and type in all
            settings.
    """
    seen: dict[tuple, dict[str, jax.ShapeDtypeStruct]] = {}
    for group in design.groups:
        identity = Plan(0, group, 1, Size(1, 1), 0).program()
        if identity not in seen:
            seen[identity] = programs.result_shapes(simulate, group, data)
    together: dict[str, jax.ShapeDtypeStruct] = {}
    for shapes in seen.values():
        for name, shape in shapes.items():
            other = together.setdefault(name, shape)
            if (other.shape, other.dtype) != (shape.shape, shape.dtype):
                raise TypeError(
                    f"simulate returned {name!r} as {other.dtype}{list(other.shape)} in one setting "
                    f"and as {shape.dtype}{list(shape.shape)} in another; it must be alike in all"
                )
    return together


def run_design(
    simulate: Simulate,
    design: Design,
    *,
    num_seeds: int,
    data: dict[str, PyTree] | None = None,
    seed: int = 0,
    execution: Execution | None = None,
    kept: Chunks | None = None,
    share: Share | None = None,
    description: str = "runs",
    axes: dict[str, tuple[str, ...]] | None = None,
    on_timings: Callable[[list[Timing]], None] = lambda timings: None,
) -> Iterator[pa.Table]:
    """Run a design, then hand out its rows in tables that fit the memory.

    The arguments are those of `compute`; `axes` names the axes of measures, and `on_timings` gets
    the time of each group. Everything is checked and run before this returns.
    """
    data, where = data or {}, Memory() if kept is None else kept
    shapes = shapes_of(simulate, design, data)
    table.check_measures(design.labels, shapes, axes or {})
    plans, timings = compute(
        simulate, design, data, num_seeds, seed, execution or Execution(), where, share, description
    )
    on_timings(timings)
    return stream_table(design, plans, where, shapes, axes or {})
