"""The programs of a computation: each is compiled once, and run block by block at the size that the devices hold."""

import math
import sys
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor, Future, wait
from contextvars import copy_context
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree
from tqdm import tqdm

from jaxstudies import compilation_cache
from jaxstudies.engine import compiler, memory, tracing
from jaxstudies.engine.blocks import Block, Plan, Size
from jaxstudies.engine.compiler import Columns
from jaxstudies.engine.design import Group, Simulate
from jaxstudies.engine.devices import Devices, make_mesh
from jaxstudies.engine.tracing import Traced
from jaxstudies.fused import choice


class Launch(NamedTuple):
    """What a program ran at once: from which setting of its group, from which seed, how many."""

    setting: int
    seed: int
    size: Size


class OutOfMemory(Exception):
    """The devices cannot hold even one run each."""


class Programs:
    """The compiled programs of a computation, each with the size that it runs at once."""

    def __init__(
        self,
        simulate: Simulate,
        data: dict[str, PyTree],
        devices: Devices,
        identity: Hashable = None,
        threads: Executor | None = None,
    ):
        self.simulate, self.data, self.devices, self.identity = simulate, data, devices, identity
        self.threads = threads
        self.ahead: dict[tuple, Future] = {}
        self.traced: dict[tuple, Traced] = {}
        self.sizes: dict[tuple, Size] = {}
        self.kernels: dict[tuple, list[bool]] = {}
        self.compiled: dict[tuple, dict[Size, Callable[[int, int, int, Group], Columns]]] = {}

    def has(self, plan: Plan) -> bool:
        """Return whether a plan's program is compiled."""
        return plan.program() in self.compiled

    def uses_kernels(self, plan: Plan) -> bool:
        """Return whether a plan's program, once compiled, trains networks in kernels."""
        return any(self.kernels.get(plan.program(), []))

    def lacks_kernels(self, plan: Plan) -> bool:
        """Return whether it would do so if there were a compiler of kernels."""
        return False in self.kernels.get(plan.program(), [])

    def look_ahead(self, plans: Iterable[Plan]) -> None:
        """Begin to compile the programs of plans in threads, if there are any."""
        if self.threads is None or choice.is_debugged():
            return
        for plan in plans:
            program, traced = plan.program(), self.trace(plan)
            if not (program in self.ahead or self.has(plan) or traced.calls_host):
                what = partial(compiler.compile_ahead, plan.group, self.data, plan.size, self.devices, traced)
                self.ahead[program] = self.threads.submit(copy_context().run, what)

    def trace(self, plan: Plan) -> Traced:
        """Return a run of a plan, traced."""
        program = plan.program()
        if program not in self.traced:
            self.traced[program] = tracing.trace(self.simulate, plan.group, self.data, self.identity)
        return self.traced[program]

    def run(self, plan: Plan, block: Block, seed: int) -> tuple[Columns, tuple[float, float], list[Launch]]:
        """Run a block in one go, or, where the memory of the devices forbids, in several.

        Returns:
            Arrays (seeds, settings, ...), the seconds waited for the compiler and spent running, and the launches.

        Raises:
            OutOfMemory: Even one run on each device is too much.
        """
        began, program, columns, launches = time.perf_counter(), plan.program(), Columns(), []
        traced = self.trace(plan)
        exact, compiled = traced.calls_host or choice.is_debugged(), self.compiled.setdefault(program, {})
        compiling = 0.0
        todo = [(block.setting, block.seed, block.size)]
        while todo:
            setting, start, rest = todo[0]
            most = self.sizes.get(program, plan.size)
            size = Size(*map(min, most, rest)) if exact else most
            try:
                if size not in compiled:
                    before = time.perf_counter()
                    if begun := self.ahead.pop(program, None):
                        wait([begun])
                    compilation_cache.catch_up()
                    with choice.noting() as kernels:
                        compiled[size] = compiler.compile_block(
                            self.simulate, plan.group, self.data, size, self.devices, traced
                        )
                    self.kernels[program] = kernels
                    if all(begun.done() for begun in self.ahead.values()):
                        compilation_cache.publish()
                    compiling += time.perf_counter() - before
                values = compiled[size](seed, start, setting, plan.group)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                self.sizes[program] = halve(size, self.devices[:1] if exact else self.devices, error)
                compiled.clear()
                compiler.forget()
                continue
            launches.append(Launch(setting, start, size))
            took = Size(min(size.settings, rest.settings), min(size.seeds, rest.seeds))
            _put(values, columns, block, Launch(setting, start, took))
            # What is left are a strip of further settings and one of further seeds.
            beside = setting + took.settings, start, Size(rest.settings - took.settings, took.seeds)
            below = setting, start + took.seeds, Size(rest.settings, rest.seeds - took.seeds)
            todo[:1] = [strip for strip in (beside, below) if min(strip[2]) > 0]
        return columns, (compiling, time.perf_counter() - began - compiling), launches

    def free(self, plan: Plan) -> None:
        """Let go of a program: each takes up hundreds of the 65,530 memory maps of a process."""
        self.compiled.pop(plan.program(), None)
        self.traced.pop(plan.program(), None)


def _put(values: Columns, columns: Columns, block: Block, launch: Launch) -> None:
    """Put what a launch returned into the columns of a block; what is too much of it is left out."""
    row, column, (settings, seeds) = launch.seed - block.seed, launch.setting - block.setting, launch.size
    for name, value in values.items():
        empty = np.empty((block.size.seeds, block.size.settings, *value.shape[2:]), value.dtype)
        place = columns.setdefault(name, empty)[row : row + seeds, column : column + settings]
        place[...] = value[:seeds, :settings]


def halve(size: Size, devices: Devices, error: Exception) -> Size:
    """Return about half of a size that was too large, or less of one that is known to be, and say so.

    Whatever is no lack of memory is raised again.
    """
    if choice.is_debugged() or not (isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")):
        raise error
    by_seed, by_setting = make_mesh(size, devices).devices.shape
    half, least = size, Size(by_setting, by_seed)
    for _ in range(math.ceil(math.log2(error.times)) if isinstance(error, memory.TooLarge) else 1):
        if half.seeds > by_seed:
            half = half._replace(seeds=-(-half.seeds // (2 * by_seed)) * by_seed)
        elif half.settings > by_setting:
            half = half._replace(settings=-(-half.settings // (2 * by_setting)) * by_setting)
    if size == least:
        why = f" ({error})" if isinstance(error, memory.TooLarge) else ""
        raise OutOfMemory(f"out of memory with one run on each of {len(devices)} devices{why}") from error
    now, then = math.prod(size), math.prod(half)
    tqdm.write(f"out of memory with {now:,} runs at once: going on with {then:,}", file=sys.stderr)
    return half
