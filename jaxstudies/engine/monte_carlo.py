"""The engine: one simulation of a key, mapped over settings and over any number of seeds.

Seed i is simulated with `fold_in(key(seed), i)`, so it depends on the master seed and on i alone: ten seeds are the
first ten of a thousand, and run 417 can be replayed by itself. How a design is cut into blocks and spread over devices
changes results by rounding at most; with both the same, they repeat to the bit.
"""

import contextlib
import itertools
import os
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
import pyarrow as pa
from jaxtyping import PyTree

from jaxstudies.engine import devices as all_devices
from jaxstudies.engine import gather, programs, progress, tracing
from jaxstudies.engine.blocks import Block, Plan, Size
from jaxstudies.engine.chunks import Chunks, Memory
from jaxstudies.engine.compiler import Columns
from jaxstudies.engine.design import Design, Group, Simulate
from jaxstudies.engine.execution import DEFAULT, Execution
from jaxstudies.engine.gather import IN_KERNELS, LAUNCHES, SPENT, Earlier
from jaxstudies.engine.programs import Launch
from jaxstudies.engine.shares import ALONE, Share, Unfinished
from jaxstudies.errors import Notice, StudyError, warn
from jaxstudies.output import table
from jaxstudies.output.table import Shaped, Shapes

AHEAD = 4
"""Programs at most that are compiled at once, and no more than there are cores."""


class KeyUnused(Notice):
    """All seeds come out alike."""


class Task(NamedTuple):
    """What is run."""

    simulate: Simulate
    design: Design
    num_seeds: int
    """Seeds of each setting."""
    seed: int = 0
    """Master seed."""
    data: Mapping[str, PyTree] = MappingProxyType({})
    """Arrays that all runs share, by the name of a parameter of `simulate`."""
    axes: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Names of the axes of measures."""
    execution: Execution = DEFAULT
    identity: Hashable = None
    """What is equal if `simulate` does the same, so that its programs serve again; None if that cannot be told."""


class Timing(NamedTuple):
    """Seconds waited for the compiler, and spent running a group, over all processes that took part."""

    compile_seconds: float
    run_seconds: float
    runs: int
    in_kernels: bool = False
    """Whether networks were trained in kernels, at least in some of the runs."""


class Stage(NamedTuple):
    """How some seeds of all settings were run: all that it takes to run any of them again by the same program."""

    first_seed: int
    num_seeds: int
    """Seeds in all, those before the first among them."""
    runs_at_once: int
    num_devices: int
    launches: dict[str, list[Launch]]
    """Of blocks that did not run in one go, by name."""
    limits: tuple[tuple[int, int], ...] = ()
    """Most seeds of settings that had stopped: how many of the next settings, and their limit, 0 if they had none."""


def compute(
    task: Task, kept: Chunks | Memory, share: Share = ALONE, description: str = "runs", first_seed: int = 0
) -> tuple[list[Plan], list[Timing], Stage]:
    """Run the blocks of a share that are not kept yet; return the plans, each one's time so far, and the stage.

    Raises:
        Unfinished: The share is done, but it is not to be finished or other shares are missing.
        OutOfMemory: The devices cannot hold even one run each.
        ChunksError: Chunks cannot be written or read.
    """
    devices = all_devices.choose_devices(task.execution.num_devices)
    plans, runs = task.execution.plans(task.design, task.num_seeds, first_seed, devices)
    stage = Stage(first_seed, task.num_seeds, runs, len(devices), {})
    # Each share begins elsewhere, and finds later what the others have compiled meanwhile.
    turn = len(plans) * share.index // share.count
    in_turn = plans[turn:] + plans[:turn]
    last_use = {plan.program(): plan.index for plan in in_turn}
    timings: dict[int, Timing] = {}
    labels, total = progress.varying(task.design), task.design.num_settings
    owned = [(plan, block) for plan in in_turn for block in plan.blocks() if share.owns(block.number)]
    there = set(kept.names())
    todo = {plan.program(): plan for plan, block in owned if block.name not in there}
    with (
        progress.progress(owned, description, task.execution.progress) as bar,
        _threads(task.execution.ahead) as threads,
    ):
        compiled = programs.Programs(task.simulate, dict(task.data), devices, task.identity, threads)
        for plan in in_turn:
            spent, in_kernels = np.zeros(2), False
            for block in plan.blocks():
                mine = share.owns(block.number)
                columns = kept.read(block.name) if mine or share.finishes else None
                # What another share has finished and is damaged is nobody's but of whoever finds it.
                if columns is None and (mine or (share.finishes and block.name in there)):
                    if not compiled.has(plan):
                        bar.say_compiling(list(last_use).index(plan.program()), len(last_use))
                        compiled.look_ahead(itertools.islice(todo.values(), AHEAD))
                        todo.pop(plan.program(), None)
                    columns = _run_block(compiled, task, plan, block)
                    bar.leave_out(columns[SPENT][0])
                    kept.write(block.name, columns)
                elif mine:
                    bar.leave_out_runs(progress.cost_of(plan, block))
                if columns is not None:
                    spent += columns[SPENT]
                    in_kernels |= bool(columns.get(IN_KERNELS, False))
                    if LAUNCHES in columns:
                        launches = [Launch(a, b, Size(*size)) for a, b, *size in columns[LAUNCHES].tolist()]
                        stage.launches[block.name] = launches
                if mine:
                    bar.phase = progress.done_in_words(labels, total, plan, block)
                    bar.update(progress.cost_of(plan, block))
                    if compiled.lacks_kernels(plan):
                        bar.say_what_kernels_save()
            if last_use[plan.program()] == plan.index:
                compiled.free(plan)
            runs_here = (plan.num_seeds - plan.first_seed) * len(plan.group.positions)
            timings[plan.index] = Timing(float(spent[0]), float(spent[1]), runs_here, in_kernels)
    check_complete(plans, kept, share)
    return plans, [timings[plan.index] for plan in plans], stage


def _run_block(compiled: programs.Programs, task: Task, plan: Plan, block: Block) -> Columns:
    """Run a block; return its columns, and beside them what a chunk keeps about how it was run."""
    with naming(task.design, plan.group, block):
        columns, spent, launches = compiled.run(plan, block, task.seed)
    columns[SPENT] = np.array(spent)
    columns[IN_KERNELS] = np.array(compiled.uses_kernels(plan))
    if launches != [(block.setting, block.seed, plan.size)]:
        columns[LAUNCHES] = np.array([(a, b, *size) for a, b, size in launches])
    return columns


@contextlib.contextmanager
def _threads(wanted: bool) -> Iterator[Executor | None]:
    """Hold threads that compile, if they are wanted; what is begun is done when they are left."""
    if not wanted:
        yield None
        return
    threads = ThreadPoolExecutor(min(AHEAD, os.cpu_count() or 1))
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


@contextlib.contextmanager
def naming(design: Design, group: Group, block: Block | None = None) -> Iterator[None]:
    """Add to an error that comes from a simulation which of its settings and seeds it was."""
    try:
        yield
    except Exception as error:
        first, number = (block.setting, block.size.settings) if block else (0, len(group.positions))
        places, said = group.positions[first : first + number], []
        for name, column in design.labels.items():
            levels = list(dict.fromkeys(column[places].tolist()))
            said.append(f"{name} {levels[0]}" + (f" to {levels[-1]}" if len(levels) > 1 else ""))
        if block:
            said.append(f"seeds {block.seed} to {block.seed + block.size.seeds - 1}")
        if said:
            error.add_note(f"simulate was run with {', '.join(said)}")
        if isinstance(error, jax.errors.JAXTypeError) or "concrete value" in str(error):
            error.add_note(
                "what simulate takes before a * is traced, as under jit: a number that decides a shape or a branch of "
                "Python stands behind the *, and of map_seeds is closed over, as by functools.partial"
            )
        raise


def check_complete(plans: list[Plan], kept: Chunks | Memory, share: Share) -> None:
    """Raise Unfinished unless all blocks are there, and it is this process that puts them together."""
    total, names = sum(int(np.prod(plan.counts())) for plan in plans), set(kept.names())
    found = sum(block.name in names for plan in plans for block in plan.blocks())
    if found < total or not share.finishes:
        raise Unfinished(f"{found} of {total} chunks are there")


def shapes_of(task: Task) -> Shapes:
    """Return shapes and types of what a run returns in any setting, without running it.

    Raises:
        StudyError: It does not return a dictionary of arrays, or not of one shape and type in all
            settings, or under a name that is taken, or with axes that do not fit.
    """
    seen: list[Shapes] = []
    used, first = False, {}
    for group in task.design.groups:
        first.setdefault(Plan(0, group, 0, 1, Size(1, 1), 0).program(), group)
    for group in progress.counted(list(first.values()), "tracing programs", task.execution.progress):
        with naming(task.design, group):
            traced = tracing.trace(task.simulate, group, dict(task.data), task.identity)
        seen.append(traced.shapes)
        used |= traced.uses_key
    if not used:
        warn("simulate does not use its key, so that all seeds come out alike", KeyUnused)
    together: dict[str, Shaped] = {}
    for name, shape in (item for shapes in seen for item in shapes.items()):
        other = together.setdefault(name, shape)
        if (other.shape, other.dtype) != (shape.shape, shape.dtype):
            raise StudyError(
                f"simulate returned {name!r} as {other.dtype}{list(other.shape)} in one setting "
                f"and as {shape.dtype}{list(shape.shape)} in another; it must be alike in all"
            )
    table.check_measures(task.design.labels, together, dict(task.axes))
    return together


def run_design(
    task: Task,
    kept: Chunks | Memory | None = None,
    share: Share = ALONE,
    description: str = "runs",
    first_seed: int = 0,
    earlier: Earlier | None = None,
    shapes: Shapes | None = None,
) -> tuple[Iterator[pa.Table], list[Timing], Stage]:
    """Run a design from a first seed on; return its rows, behind those of an earlier table, in tables.

    Everything is checked and run before this returns, which also gives the time of each group and how it was run; it
    raises what `compute` does.
    """
    where = Memory() if kept is None else kept
    shapes = shapes_of(task) if shapes is None else shapes
    plans, timings, stage = compute(task, where, share, description, first_seed)
    schema = table.make_schema(task.design.labels, shapes, dict(task.axes))
    rows = gather.stream_table(task.design, task.num_seeds, plans, where, schema, shapes, earlier)
    return rows, timings, stage
