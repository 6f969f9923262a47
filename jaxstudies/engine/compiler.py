"""Compiling a run into a program for a block of settings and seeds at once."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxstudies.engine import memory, prng, tracing
from jaxstudies.engine.blocks import Size
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
    mesh, place = _placing(traced, data, size, devices)
    if choice.is_debugged():

        def itself(key, mapped, fixed):
            return measures(simulate(key, **mapped, **fixed, **dict(group.static)))

        block = jax.jit(partial(run_block, itself, one_by_one=traced.one_by_one))
    else:
        block, kernels = _program(traced, mesh, size, place(0, 0, 0, group))
        memory.check(block, list(mesh.devices.flat))
        for kernel in kernels:
            choice.note(kernel)
    return lambda *arguments: jax.device_get(block(*place(*arguments)))


def _placing(
    traced: Traced, data: dict[str, PyTree], size: Size, devices: Devices
) -> tuple[Mesh, Callable[..., tuple]]:
    """Return the devices of a program, and what places its arguments on them."""
    mesh = make_mesh(size, devices[:1] if traced.calls_host or choice.is_debugged() else devices)
    return mesh, partial(place_block, mesh, size, _spread(mesh, data, EVERYWHERE))


def _program(traced: Traced, mesh: Mesh, size: Size, arguments: tuple) -> tuple[jax.stages.Compiled, list[bool]]:
    """Return a compiled program, kept or made, and what was noted of its kernels."""
    asked = traced.itself, size, tuple(mesh.devices.flat), choice.ALLOWED.get()
    with choice.noting() as kernels:
        return _kept.find(asked) or _kept.keep(asked, (_compiled(traced, mesh, arguments), kernels))


def compile_ahead(group: Group, data: dict[str, PyTree], size: Size, devices: Devices, traced: Traced) -> None:
    """Compile a program that `compile_block` then finds, whose turn it is to complain."""
    mesh, place = _placing(traced, data, size, devices)
    _program(traced, mesh, size, place(0, 0, 0, group))


def forget() -> None:
    """Let go of the programs that are kept, which no computation at work needs."""
    _kept.clear()


_kept = Latest(tracing.KEPT)
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
    with tracing.full_precision():
        return jax.jit(mapped).trace(*arguments)


def _compiled(traced: Traced, mesh: Mesh, arguments: tuple) -> jax.stages.Compiled:
    platform = mesh.devices.flat[0].platform
    with tracing.full_precision():
        lowered = prng.lower(trace_block(traced, mesh, arguments), platform)
    return lowered.compile(USUAL)


# Without its expensive passes LLVM compiles a tenth faster, and nothing ran slower.
USUAL: dict[str, str | bool] = {"xla_llvm_disable_expensive_passes": True}
HASTY: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}
"""For the compiler, where a program runs once, in no time."""


def map_once(f: Callable[[jax.Array], jax.Array], master_seed: int, num_seeds: int) -> np.ndarray:
    """Return what a function of a run's key returns for each of the first seeds, by a program that is compiled fast."""
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(master_seed)))(np.arange(num_seeds, dtype=np.uint32))
    lowered = prng.lower(jax.jit(jax.vmap(f)).trace(keys), jax.default_backend())
    return np.asarray(lowered.compile(HASTY)(keys))
