"""How times are taken: contestants are readied, then run in turn, and the spread is kept."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from jaxtyping import PyTree

from jaxstudies.engine import blocks, programs
from jaxstudies.engine.design import Group, Simulate
from jaxstudies.engine.programs import Devices, Size

Timed = tuple[Callable[[], object], float]
"""What is timed, and by how much its seconds are multiplied."""


def compile_networks(
    simulate: Simulate, data: dict[str, PyTree], num_networks: int, devices: Devices
) -> tuple[Callable[[], programs.Columns], int]:
    """Compile a simulation for networks that run at once, at least one on each device.

    Returns:
        What runs them, and how many they are.
    """
    group = Group(np.zeros(1, int), (), {}, {})
    size = Size(1, blocks.plan_size(1, num_networks, num_networks, len(devices)).seeds)
    run = programs.compile_block(simulate, group, data, size, devices)
    return partial(run, 0, 0, 0, group), size.seeds


def interleave(ready: Mapping[str, Timed], repeats: int) -> list[dict[str, float]]:
    """Run all in turn, several times: a machine that slows down slows all of them.

    Returns:
        For each the median, least and most seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for repeat in range(repeats):
        for name, (run, factor) in ready.items():
            print(f"\rrepeat {repeat + 1} of {repeats}: {name:40}", end="", file=sys.stderr)
            began = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - began) * factor)
    print(file=sys.stderr)
    return [{"seconds": statistics.median(s), "least": min(s), "most": max(s)} for s in seconds.values()]
