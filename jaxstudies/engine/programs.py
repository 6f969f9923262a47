"""The compiled programs that run a block of settings and seeds at once on them."""

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
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree
from tqdm import tqdm

from jaxstudies import compilation_cache
from jaxstudies.engine import memory, prng, tracing
from jaxstudies.engine.blocks import Block, Plan, Size
from jaxstudies.engine.design import Group, Simulate
from jaxstudies.engine.devices import Devices, make_mesh
from jaxstudies.engine.functions import Latest
from jaxstudies.engine.returned import measures
from jaxstudies.engine.tracing import One, Traced
from jaxstudies.fused import choice

Columns = dict[str, np.ndarray]
"""What a block of runs returned, by name: arrays with axes of seeds and of settings first."""


def run_block(
    one: One,
    master_key: jax.Array,
    seeds: jax.Array,
    mapped: dict[str, PyTree],
    fixed: dict[str, PyTree],
    one_by_one: bool = False,
) -> dict[str, jax.Array]:
    """Map a run over seeds, and inside each over settings.

    The key of a seed is not mapped over the settings: what depends on it alone, such as the data
    set, the initial draw and the order of examples, is computed once a seed.
    """
    each = _one_after_another if one_by_one else jax.vmap

    def one_seed(seed):
        key = jax.random.fold_in(master_key, seed)
        if not mapped:
            return jax.tree.map(lambda a: a[None], one(key, {}, fixed))
        return each(lambda here: one(key, here, fixed))(mapped)

    return each(one_seed)(seeds)


def _one_after_another(f: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
    return partial(jax.lax.map, f)


def is_debugged() -> bool:
    """Return whether JAX is told to stop at NaN or infinity, or to run operation by operation."""
    return any(getattr(jax.config, name) for name in ("jax_debug_nans", "jax_debug_infs", "jax_disable_jit"))


def compile_block(
    simulate: Simulate,
    group: Group,
    data: dict[str, PyTree],
    size: Size,
    devices: Devices,
    traced: Traced | None = None,
) -> Callable[[int, int, int, Group], Columns]:
    """Compile a simulation for `size` settings and seeds of a group, spread over the devices.

    The compiled function takes the master seed, the first seed, the first setting, and a group of
    the same program. A run that calls the host runs on one device, which takes any number of runs; while JAX is told
    to debug, `simulate` itself runs there, so that errors name its lines.
    """
    traced = traced or tracing.trace(simulate, group, data)
    mesh, place = _placing(traced, group, data, size, devices)
    if is_debugged():

        def itself(key, mapped, fixed):
            return measures(simulate(key, **mapped, **fixed, **dict(group.static)))

        block = jax.jit(partial(run_block, itself, one_by_one=traced.one_by_one))
    else:
        block, kernels = _program(traced, mesh, size, place(0, 0, 0, group))
        if devices[0].platform == "cpu":
            memory.check(block, mesh.devices.size)
        for kernel in kernels:
            choice.note(kernel)
    return lambda *arguments: jax.device_get(block(*place(*arguments)))


def _placing(
    traced: Traced, group: Group, data: dict[str, PyTree], size: Size, devices: Devices
) -> tuple[Mesh, Callable[..., tuple]]:
    """Return the devices of a program, and what places its arguments on them."""
    mesh = make_mesh(size, devices[:1] if traced.calls_host or is_debugged() else devices)
    return mesh, partial(place_block, mesh, size, _spread(mesh, data, EVERYWHERE))


def _program(traced: Traced, mesh: Mesh, size: Size, arguments: tuple) -> tuple[jax.stages.Compiled, list[bool]]:
    """Return a compiled program, kept or made, and what was noted of its kernels."""
    asked = traced.itself, size, tuple(mesh.devices.flat), choice.ALLOWED.get()
    with choice.noting() as kernels:
        return _kept.find(asked) or _kept.keep(asked, (_compiled(traced, mesh, arguments), kernels))


def _compile_ahead(group: Group, data: dict[str, PyTree], size: Size, devices: Devices, traced: Traced) -> None:
    """Compile a program that `compile_block` then finds, whose turn it is to complain."""
    mesh, place = _placing(traced, group, data, size, devices)
    _program(traced, mesh, size, place(0, 0, 0, group))


_kept = Latest(tracing.KEPT)
FULL_PRECISION = partial(jax.default_matmul_precision, "highest")
"""Accelerators would round the factors of matrix products to 8 or 11 bits otherwise."""
EVERYWHERE, BY_SEED, BY_SETTING = PartitionSpec(), PartitionSpec("seeds"), PartitionSpec("settings")


def _spread(mesh: Mesh, tree: PyTree, spec: PartitionSpec) -> PyTree:
    return jax.device_put(tree, NamedSharding(mesh, spec))


def place_block(
    mesh: Mesh, size: Size, data: dict[str, PyTree], seed: int, first_seed: int, first_setting: int, group: Group
) -> tuple:
    """Return the arguments of a program, on its devices."""
    seeds = np.arange(first_seed, first_seed + size.seeds, dtype=np.uint32)
    # What is too many repeats the last setting and is cut off later.
    last = len(group.positions) - 1
    picks = np.minimum(np.arange(first_setting, first_setting + size.settings), last)
    mapped = jax.tree.map(lambda a: a[picks], group.mapped)
    fixed = _spread(mesh, group.fixed, EVERYWHERE) | data
    key = _spread(mesh, jax.random.key(seed), EVERYWHERE)
    return key, _spread(mesh, seeds, BY_SEED), _spread(mesh, mapped, BY_SETTING), fixed


def trace_block(traced: Traced, mesh: Mesh, arguments: tuple) -> jax.stages.Traced:
    """Trace what a program runs, for whatever platform it is lowered."""
    # Each device maps its own runs and nothing is communicated. check_vma must be off: with it, a
    # gradient inside the simulation with respect to anything that no seed has touched yet (a bias
    # of zeros) would be summed over the devices, and seeds would train one another.
    specs = {"in_specs": (EVERYWHERE, BY_SEED, BY_SETTING, EVERYWHERE), "out_specs": PartitionSpec(*mesh.axis_names)}
    block = partial(run_block, traced.one, one_by_one=traced.one_by_one)
    mapped = jax.shard_map(block, mesh=mesh, check_vma=False, **specs)
    with FULL_PRECISION():
        return jax.jit(mapped).trace(*arguments)


def _compiled(traced: Traced, mesh: Mesh, arguments: tuple) -> jax.stages.Compiled:
    platform = mesh.devices.flat[0].platform
    with FULL_PRECISION():
        lowered = prng.lower(trace_block(traced, mesh, arguments), platform)
    # Without its expensive passes LLVM compiles a tenth faster, and nothing ran slower.
    return lowered.compile({"xla_llvm_disable_expensive_passes": True})


HASTY: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}
"""For the compiler, where a program runs once, in no time."""


def map_once(f: Callable[[jax.Array], jax.Array], master_seed: int, num_seeds: int) -> np.ndarray:
    """Return what a function of a run's key returns for each of the first seeds, by a program that is compiled fast."""
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(master_seed)))(np.arange(num_seeds, dtype=np.uint32))
    lowered = prng.lower(jax.jit(jax.vmap(f)).trace(keys), jax.default_backend())
    return np.asarray(lowered.compile(HASTY)(keys))


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
        if self.threads is None or is_debugged():
            return
        for plan in plans:
            program, traced = plan.program(), self.trace(plan)
            if not (program in self.ahead or self.has(plan) or traced.calls_host):
                what = partial(_compile_ahead, plan.group, self.data, plan.size, self.devices, traced)
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
        exact, compiled = traced.calls_host or is_debugged(), self.compiled.setdefault(program, {})
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
                    with choice.noting() as kernels:
                        compiled[size] = compile_block(self.simulate, plan.group, self.data, size, self.devices, traced)
                    self.kernels[program] = kernels
                    if all(begun.done() for begun in self.ahead.values()):
                        compilation_cache.publish()
                    compiling += time.perf_counter() - before
                values = compiled[size](seed, start, setting, plan.group)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                self.sizes[program] = halve(size, self.devices[:1] if exact else self.devices, error)
                compiled.clear()
                _kept.clear()
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
    if is_debugged() or not (isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")):
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
