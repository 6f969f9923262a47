"""How times are taken (contestants are readied, then run in turn), and on what machine."""

import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import distributions
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from jaxstudies.engine import blocks, compiler
from jaxstudies.engine.design import Design, Group, Simulate
from jaxstudies.engine.devices import Devices
from jaxstudies.engine.execution import Execution
from jaxstudies.engine.monte_carlo import Task

Timed = tuple[Callable[[], object], float]
"""What is timed, and by how much its seconds are multiplied."""
Contestant = tuple[str, Callable[[int, int], Timed]]
"""A task, and what readies one way to do it for a number of networks and of epochs."""

LONG_SECONDS = 3.0
"""After which nothing is repeated, where the time is short."""


def one_block(simulate: Simulate, data: dict[str, PyTree], num_seeds: int) -> Task:
    """Return the task of running one setting at all seeds at once."""
    design = Design({}, [Group(np.zeros(1, int), (), {}, {})])
    return Task(simulate, design, num_seeds, data=data, execution=Execution(num_seeds))


def compile_block(task: Task, devices: Devices) -> tuple[Callable[[int], compiler.Columns], int]:
    """Compile a task of one setting; return what runs it from a seed on, and for how many seeds at once."""
    (group,) = task.design.groups
    size = blocks.plan_size(1, task.num_seeds, task.execution.runs_at_once(devices), len(devices))
    run = compiler.compile_block(task.simulate, group, dict(task.data), size, devices)
    return lambda first_seed: run(0, first_seed, 0, group), size.seeds


def interleave(ready: Mapping[str, Timed], repeats: int) -> list[dict[str, float]]:
    """Run all in turn, several times; return the median, least and most seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for repeat in range(repeats):
        for name, (run, factor) in ready.items():
            print(f"\rrepeat {repeat + 1} of {repeats}: {name:40}", end="", file=sys.stderr)
            began = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - began) * factor)
    print(file=sys.stderr)
    return [{"seconds": statistics.median(s), "least": min(s), "most": max(s)} for s in seconds.values()]


def least(run: Callable[[], object], repeats: int = 3) -> dict[str, float]:
    """Return the seconds of a first run, and the least of some more; where the first takes long, it stands for all."""
    times = [seconds_of(run)]
    while len(times) <= repeats and sum(times) < LONG_SECONDS:
        times.append(seconds_of(run))
    return {"first_seconds": times[0], "seconds": min(times)}


def seconds_of(run: Callable[[], object]) -> float:
    """Return how long a run takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    text = cpuinfo.read_text("utf-8") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, str | int | None]:
    """Describe the machine, with the device that JAX uses, and the versions; None is not installed."""
    versions = {distribution.name: distribution.version for distribution in distributions()}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "cores": cores(),
        "devices": len(jax.devices()),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        **{package: versions.get(package) for package in ("jax", "flax", "torch", "keras")},
    }
