"""Programs of studies, one by one: what their compiling consists of, and how fast they run by chunk."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import jax

from benchmarks import timing
from benchmarks.parts import Extent, Job, Row
from jaxstudies.commands.options import parse
from jaxstudies.engine import compiler, memory, prng, tracing
from jaxstudies.engine.blocks import Plan, Size
from jaxstudies.engine.design import Group
from jaxstudies.engine.devices import Devices, choose_devices, make_mesh
from jaxstudies.engine.monte_carlo import Task
from jaxstudies.fused import build, choice
from jaxstudies.networks.originals import DATA_DIR_VARIABLE
from jaxstudies.study import load
from jaxstudies.tasks import task_of

DATASET = "mnist" if os.environ.get(DATA_DIR_VARIABLE) else "digits"
IMAGES = "--dataset", DATASET
PROGRAMS: dict[str, tuple[str, ...]] = {
    "dying_relu": (),
    "order_chaos": IMAGES,
    "depth_width": ("--shapes", "8,64-64,128-256-128", "--epochs", "1", "--modern-epochs", "0"),
    "lenet": (*IMAGES, "--arms", "plain", "standardized", "--epochs", "1"),
}
"""Studies whose compiling is taken apart, what takes longest last."""
MOST_PROGRAMS, THREADS = 4, 4


class Asked(NamedTuple):
    """Runs of a study, and how many of them answer what is asked."""

    flags: tuple[str, ...]
    sizes: tuple[Size, ...]
    """What is run at once, the likeliest first."""
    runs: float
    words: str


RATES = {
    "trainability": Asked(
        ("--points", "512", "--zooms", "0"),
        tuple(Size(n, 1) for n in (8_192, 65_536, 1_024)),
        1_024**2,
        "a map of 1,024 x 1,024",
    ),
    "depth_width": Asked(
        ("--shapes", "256-256", "--epochs", "2", "--recipes", "sgd", "--modern-epochs", "0"),
        tuple(Size(1, n) for n in (64, 256, 16)),
        143 * 4 * 1_000,
        "143 shapes x 4 seeds x 2,000 epochs, at the rate of 256-256",
    ),
    "lenet": Asked(
        (*IMAGES, "--arms", "standardized", "--epochs", "1"),
        tuple(Size(1, n) for n in (50, 100, 10)),
        100 * 6 * 15,
        f"100 seeds x 6 arms x 15 epochs of {DATASET}",
    ),
}
"""Studies whose runs are timed, by name."""


@functools.cache
def task_and_groups(name: str, flags: tuple[str, ...]) -> tuple[Task, list[Group]]:
    """Return a study's task, its data loaded, and a group of each of its programs."""
    study = load(name)
    config, seeds, _ = parse(study.Config, name, study.text, list(flags))
    task = task_of(study, config, seeds.seeds)
    return task, list({Plan(0, g, 0, 1, Size(1, 1), 0).program(): g for g in task.design.groups}.values())


@contextlib.contextmanager
def kernels_timed() -> Iterator[list[float]]:
    """Listen how many seconds each kernel takes to compile inside."""
    seconds, register = list[float](), build.register

    def timed(*arguments: Any) -> str:
        began = time.perf_counter()
        try:
            return register(*arguments)
        finally:
            seconds.append(time.perf_counter() - began)

    with mock.patch.object(build, "register", timed):
        yield seconds


def lowered(task: Task, group: Group, size: Size, devices: Devices) -> tuple[jax.stages.Lowered, tuple, Row]:
    """Trace and lower a program as the engine does; return it, its arguments, and how long that took.

    A kernel is compiled while its program is lowered.
    """
    mesh, data = make_mesh(size, devices), jax.device_put(dict(task.data))
    arguments = compiler.place_block(mesh, size, data, 0, 0, 0, group)
    with tracing.full_precision(), choice.noting() as noted, kernels_timed() as kernels:
        times = [time.perf_counter()]
        block = compiler.trace_block(tracing.trace(task.simulate, group, dict(task.data)), mesh, arguments)
        times.append(time.perf_counter())
        program = prng.lower(block, devices[0].platform)
        times.append(time.perf_counter())
    row = {"trace_seconds": times[1] - times[0], "lower_seconds": times[2] - times[1] - sum(kernels)}
    return program, arguments, row | {"kernels": any(noted), "kernel_seconds": sum(kernels)}


def compiled(program: jax.stages.Lowered, **options: str) -> tuple[jax.stages.Compiled, float]:
    """Compile a program as the engine does, but for some of XLA's options; return how long that took, too."""
    began = time.perf_counter()
    made = program.compile(compiler.USUAL | options)
    return made, time.perf_counter() - began


def bytes_of(program: jax.stages.Compiled) -> Row:
    """Return the bytes that a program takes on a device, as far as XLA says."""
    stats = program.memory_analysis()
    kinds = {"temporary": "temp", "output": "output", "argument": "argument"}
    return {f"{name}_bytes": getattr(stats, f"{kind}_size_in_bytes", None) for name, kind in kinds.items()}


def ready(task: Task, group: Group, size: Size, devices: Devices) -> tuple[Callable[[], Any], Row]:
    """Compile a program; return what runs it, and how long compiling took and what memory it needs.

    Raises:
        TooLarge: It needs more than there is.
    """
    program, arguments, row = lowered(task, group, size, devices)
    block, row["compile_seconds"] = compiled(program)
    memory.check(block, devices)
    return lambda: jax.device_get(block(*arguments)), row | bytes_of(block)


def compiling(extent: Extent) -> Iterator[Job]:
    """Take apart what compiling takes: programs in threads, then in turn, with autotuning and without."""
    # Of another size, no program is one that the threads have compiled.
    in_threads, in_turn = Size(1, extent.of(512, 8)), Size(1, extent.of(448, 4))
    devices, numbers = choose_devices(1), dict[str, int]()

    def together(name: str) -> Row:
        task, groups = task_and_groups(name, PROGRAMS[name])
        numbers[name] = min(len(groups), MOST_PROGRAMS)
        made = [lowered(task, group, in_threads, devices) for group in groups[:MOST_PROGRAMS]]
        began = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(compiled, [program for program, *_ in made]))
        row: Row = {"of": len(groups), "programs": len(made), "in_threads_seconds": time.perf_counter() - began}
        return row | {"kernel_seconds": sum(about["kernel_seconds"] for *_, about in made)}

    def alone(name: str, index: int, latest: list[jax.stages.Lowered]) -> Row:
        task, groups = task_and_groups(name, PROGRAMS[name])
        program, _, row = lowered(task, groups[index], in_turn, devices)
        latest.append(program)
        _, row["compile_seconds"] = compiled(program)
        return row

    def untuned(program: jax.stages.Lowered) -> Row:
        return {"compile_seconds": compiled(program, xla_gpu_autotune_level="0")[1]}

    for name in PROGRAMS if extent.whole else ("dying_relu",):
        study = {"study": name, "flags": " ".join(PROGRAMS[name])}
        yield study | {"at_once": in_threads.seeds, "threads": THREADS}, partial(together, name)
        for index in range(numbers.get(name, 0)):
            about, latest = study | {"program": index, "at_once": in_turn.seeds}, list[jax.stages.Lowered]()
            yield about | {"note": "behind those in threads, in one process"}, partial(alone, name, index, latest)
            if latest and devices[0].platform == "gpu":
                yield about | {"autotuning": False}, partial(untuned, latest[0])


def rates(extent: Extent) -> Iterator[Job]:
    """Run studies, each in chunks of one size and then of others, and say how long what is asked would take."""
    if not extent.whole:
        yield {"study": "trainability", "at_once": 16}, partial(rate, "trainability", Size(16, 1))
        return
    for turn in zip(*(asked.sizes for asked in RATES.values()), strict=True):
        for name, size in zip(RATES, turn, strict=True):
            about = {"study": name, "flags": " ".join(RATES[name].flags), "at_once": max(size)}
            yield about, partial(rate, name, size)


def rate(name: str, size: Size) -> Row:
    """Time a block of runs of a study."""
    asked = RATES[name]
    task, (group, *_) = task_and_groups(name, asked.flags)
    run, row = ready(task, group, size, choose_devices(1))
    row |= timing.least(run, 1)
    row |= {"per_second": max(size) / row["seconds"], "asked": asked.words}
    return row | {"extrapolated_seconds": asked.runs * row["seconds"] / max(size)}
