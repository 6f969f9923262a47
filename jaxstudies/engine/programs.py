"""Devices, and the compiled programs that run a block of settings and seeds at once on them."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.interpreters import partial_eval
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree
from tqdm import tqdm

from jaxstudies.engine import prng
from jaxstudies.engine.blocks import Block, Plan, Size
from jaxstudies.engine.design import Group, Simulate
from jaxstudies.errors import StudyError

Devices = list[jax.Device]
"""Devices of one platform, as `jax.local_devices()` lists them."""
Columns = dict[str, np.ndarray]
"""What a block of runs returned, by name: arrays with axes of seeds and of settings first."""


def use_all_cores() -> None:
    """Make JAX see each CPU core as a device. Without effect once JAX has started its backend."""
    # It may be started already, or the system may have no such call.
    with contextlib.suppress(RuntimeError, AttributeError):
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def choose_devices(num_devices: int | None = None) -> Devices:
    """Return the first `num_devices` local devices, or all; raise ValueError if there are fewer."""
    use_all_cores()
    devices = jax.local_devices()
    if num_devices is not None and not 1 <= num_devices <= len(devices):
        raise ValueError(f"num_devices {num_devices}: from 1 to {len(devices)}, those present")
    return devices[:num_devices]


def make_mesh(size: Size, devices: Devices) -> Mesh:
    """Spread seeds over the devices, or, where they are fewer, settings as well."""
    over_seeds = math.gcd(size.seeds, len(devices))
    grid = np.array(devices).reshape(over_seeds, -1)
    return Mesh(grid, ("seeds", "settings"))


def run_block(
    simulate: Simulate,
    static: dict[str, object],
    master_key: jax.Array,
    seeds: jax.Array,
    mapped: dict[str, PyTree],
    fixed: dict[str, PyTree],
) -> dict[str, jax.Array]:
    """Run a simulation over seeds, and inside each over settings.

    The key of a seed is not mapped over the settings: what depends on it alone, such as the data
    set, the initial draw and the order of examples, is computed once a seed.
    """

    def one_seed(seed):
        key = jax.random.fold_in(master_key, seed)
        if not mapped:
            return jax.tree.map(lambda a: a[None], checked(simulate(key, **fixed, **static)))
        return jax.vmap(lambda one: checked(simulate(key, **one, **fixed, **static)))(mapped)

    return jax.vmap(one_seed)(seeds)


def checked(returned: object) -> dict[str, jax.Array]:
    """Return what a simulation returned, as arrays; raise StudyError if it is no dictionary of them by name."""
    if not isinstance(returned, dict) or not all(isinstance(name, str) for name in returned):
        kind = "an array" if isinstance(returned, jax.Array) else f"a {type(returned).__name__}"
        raise StudyError(f"simulate must return a dictionary of arrays by name, not {kind}")
    for name, value in returned.items():
        if not isinstance(value, (jax.Array, np.ndarray, np.generic, bool, int, float)):
            raise StudyError(f"simulate returned {name!r} as a {type(value).__name__}; it must be an array or a number")
    return {name: jax.numpy.asarray(value) for name, value in returned.items()}


def trace(simulate: Simulate, group: Group, data: dict[str, PyTree]) -> tuple[dict[str, jax.ShapeDtypeStruct], bool]:
    """Return shapes and types of what a run of a group returns, and whether it depends on its key, without running."""

    def run(key, mapped, fixed):
        return checked(simulate(key, **jax.tree.map(lambda a: a[0], mapped), **fixed, **dict(group.static)))

    use_all_cores()  # the key starts the backend
    with jax.default_matmul_precision("highest"):
        graph, shapes = jax.make_jaxpr(run, return_shape=True)(prng.key(0), group.mapped, group.fixed | data)
    _, used = partial_eval.dce_jaxpr(graph.jaxpr, [True] * len(graph.jaxpr.outvars))
    return shapes, used[0]


def compile_block(
    simulate: Simulate, group: Group, data: dict[str, PyTree], size: Size, devices: Devices
) -> Callable[[int, int, int, Group], Columns]:
    """Compile a simulation for `size` settings and seeds of a group, spread over the devices.

    The compiled function takes the master seed, the first seed, the first setting, and a group of
    the same program.
    """
    mesh = make_mesh(size, devices)
    everywhere, by_seed, by_setting = PartitionSpec(), PartitionSpec("seeds"), PartitionSpec("settings")

    def spread(tree, spec):
        return jax.device_put(tree, NamedSharding(mesh, spec))

    data = spread(data, everywhere)

    def place(seed, first_seed, first_setting, group):
        seeds = np.arange(first_seed, first_seed + size.seeds, dtype=np.uint32)
        # What is too many repeats the last setting and is cut off later.
        last = len(group.positions) - 1
        picks = np.minimum(np.arange(first_setting, first_setting + size.settings), last)
        mapped = jax.tree.map(lambda a: a[picks], group.mapped)
        fixed = spread(group.fixed, everywhere) | data
        return (spread(prng.key(seed), everywhere), spread(seeds, by_seed), spread(mapped, by_setting), fixed)

    # Each device maps its own runs and nothing is communicated. check_vma must be off: with it, a
    # gradient inside the simulation with respect to anything that no seed has touched yet (a bias
    # of zeros) would be summed over the devices, and seeds would train one another.
    specs = {"in_specs": (everywhere, by_seed, by_setting, everywhere), "out_specs": PartitionSpec(*mesh.axis_names)}
    block = partial(run_block, simulate, dict(group.static))
    mapped = jax.shard_map(block, mesh=mesh, check_vma=False, **specs)
    # Accelerators would round the factors of matrix products to 8 or 11 bits otherwise.
    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(mapped).lower(*place(0, 0, 0, group))
    # Without its expensive passes LLVM compiles a tenth faster, and nothing ran slower.
    compiled = lowered.compile(compiler_options={"xla_llvm_disable_expensive_passes": True})
    return lambda *arguments: jax.device_get(compiled(*place(*arguments)))


class Launch(NamedTuple):
    """What a program ran at once: from which setting of its group, from which seed, how many."""

    setting: int
    seed: int
    size: Size


class OutOfMemory(Exception):
    """The devices cannot hold even one run each."""


class Programs:
    """The compiled programs of a run, each with the size that it runs at once."""

    def __init__(self, simulate: Simulate, data: dict[str, PyTree], devices: Devices):
        self.simulate, self.data, self.devices = simulate, data, devices
        self.compiled: dict[tuple, tuple[Size, Callable[[int, int, int, Group], Columns]]] = {}

    def has(self, plan: Plan) -> bool:
        """Return whether a plan's program is compiled."""
        return plan.program() in self.compiled

    def run(self, plan: Plan, block: Block, seed: int) -> tuple[Columns, tuple[float, float], list[Launch]]:
        """Run a block in one go, or, where the memory of the devices forbids, in several.

        Returns:
            Arrays (seeds, settings, ...), the seconds spent compiling and running, and the launches.

        Raises:
            OutOfMemory: Even one run on each device is too much.
        """
        began, compiling = time.perf_counter(), 0.0
        identity, size, columns, launches = plan.program(), plan.size, Columns(), []
        todo = [(block.setting, block.seed, block.size)]
        while todo:
            setting, start, rest = todo[0]
            try:
                if identity not in self.compiled:
                    before = time.perf_counter()
                    run = compile_block(self.simulate, plan.group, self.data, size, self.devices)
                    self.compiled[identity] = size, run
                    compiling += time.perf_counter() - before
                size, run = self.compiled[identity]
                values = run(seed, start, setting, plan.group)
            except (MemoryError, RuntimeError) as error:
                size = halve(size, self.devices, error)
                self.free(plan)
                continue
            launches.append(Launch(setting, start, size))
            took = Size(min(size.settings, rest.settings), min(size.seeds, rest.seeds))
            row, column = start - block.seed, setting - block.setting
            for name, value in values.items():
                empty = np.empty((block.size.seeds, block.size.settings, *value.shape[2:]), value.dtype)
                place = columns.setdefault(name, empty)[row : row + took.seeds, column : column + took.settings]
                place[...] = value[: took.seeds, : took.settings]
            # What is left are a strip of further settings and one of further seeds.
            beside = setting + took.settings, start, Size(rest.settings - took.settings, took.seeds)
            below = setting, start + took.seeds, Size(rest.settings, rest.seeds - took.seeds)
            todo[:1] = [strip for strip in (beside, below) if min(strip[2]) > 0]
        return columns, (compiling, time.perf_counter() - began - compiling), launches

    def free(self, plan: Plan) -> None:
        """Let go of a program: each takes up hundreds of the 65,530 memory maps of a process."""
        self.compiled.pop(plan.program(), None)


def halve(size: Size, devices: Devices, error: Exception) -> Size:
    """Return about half of a size that was too large, and say so; raise anything but a lack of memory."""
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    by_seed, by_setting = make_mesh(size, devices).devices.shape
    if size.seeds > by_seed:
        half = size._replace(seeds=-(-size.seeds // (2 * by_seed)) * by_seed)
    elif size.settings > by_setting:
        half = size._replace(settings=-(-size.settings // (2 * by_setting)) * by_setting)
    else:
        raise OutOfMemory(f"out of memory with one run on each of {len(devices)} devices") from error
    now, then = math.prod(size), math.prod(half)
    tqdm.write(f"out of memory with {now:,} runs at once: going on with {then:,}", file=sys.stderr)
    return half
