"""Devices, and the compiled programs that run many seeds at once on them."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxstudies import prng

Simulate = Callable[..., dict[str, jax.Array]]
"""A pure function `simulate(key, *shared)` of one seed: arrays of rank 0 or 1, by name."""

Devices = list[Any]
"""Devices of one platform, as `jax.local_devices()` lists them."""


class Setting(NamedTuple):
    """A row of a study's design: what is simulated, with what, and what the rows are called.

    Settings that pass the same `simulate` object and `shared` arrays of the same shapes share one
    compiled program.
    """

    labels: dict[str, Any]
    simulate: Simulate
    shared: tuple = ()
    num_seeds: int | None = None
    cost: float = 1.0
    """Time a seed takes, in any unit, where settings differ: for the time left in the progress."""


def use_all_cores() -> None:
    """Make JAX see each CPU core as a device. Without effect once JAX has started its backend."""
    # It may be started already, or the system may have no such call.
    with contextlib.suppress(RuntimeError, AttributeError):
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def choose_devices(num_devices: int | None = None) -> Devices:
    """Return the first `num_devices` local devices, or all.

    Raises:
        ValueError: There are fewer.
    """
    use_all_cores()
    devices = jax.local_devices()
    if num_devices is not None and num_devices > len(devices):
        raise ValueError(f"{num_devices} devices asked for, {len(devices)} present")
    return devices[:num_devices]


def compile_chunk(
    setting: Setting, chunk: int, devices: Devices
) -> Callable[[int, int, tuple], dict[str, np.ndarray]]:
    """Compile a setting's simulation for `chunk` seeds spread over the devices.

    Returns:
        A function of the master seed, the first seed of the chunk and the shared arrays.
    """
    mesh = Mesh(np.array(devices), ("seeds",))
    spread, everywhere = PartitionSpec("seeds"), PartitionSpec()

    def run_seeds(master_key, seeds, *shared):
        keys = jax.vmap(partial(jax.random.fold_in, master_key))(seeds)
        return jax.vmap(lambda key: setting.simulate(key, *shared))(keys)

    def place(seed, start, shared):
        key, shared = jax.device_put((prng.key(seed), shared), NamedSharding(mesh, everywhere))
        seeds = np.arange(start, start + chunk, dtype=np.uint32)
        return key, jax.device_put(seeds, NamedSharding(mesh, spread)), *shared

    # Each device maps its own seeds and nothing is communicated. check_vma must be off: with it, a
    # gradient inside the simulation with respect to anything that no seed has touched yet (a bias
    # of zeros) would be summed over the devices, and seeds would train one another.
    mapped = jax.shard_map(
        run_seeds,
        mesh=mesh,
        in_specs=(everywhere, spread, *(everywhere for _ in setting.shared)),
        out_specs=spread,
        check_vma=False,
    )
    # Accelerators would round the factors of matrix products to 8 or 11 bits otherwise.
    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(mapped).lower(*place(0, 0, setting.shared))
    # Without its expensive passes LLVM compiles a tenth faster, and nothing ran slower.
    compiled = lowered.compile(compiler_options={"xla_llvm_disable_expensive_passes": True})
    return lambda seed, start, shared: jax.device_get(compiled(*place(seed, start, shared)))


class OutOfMemory(Exception):
    """The devices cannot hold even one seed each."""


class Program(NamedTuple):
    """A compiled simulation and the number of seeds that it runs at once."""

    size: int
    run: Callable[[int, int, tuple], dict[str, np.ndarray]]


def run_seeds(
    setting: Setting,
    seed: int,
    start: int,
    count: int,
    program: Program | None,
    size: int,
    devices: Devices,
) -> tuple[dict[str, np.ndarray], Program, float]:
    """Run seeds from `start` on, in one go or, where the memory of the devices forbids, in several.

    Args:
        setting: What is simulated.
        seed: Master seed.
        start: First seed.
        count: Number of seeds.
        program: The program of earlier seeds; if None, one is compiled for `size` seeds.
        size: Multiple of the number of devices.
        devices: Devices used.

    Returns:
        The simulation's arrays, the program that served in the end, and the seconds spent on
        compiling.

    Raises:
        OutOfMemory: Even one seed on each device is too much.
    """
    pieces, done, compile_seconds = [], 0, 0.0
    size = program.size if program else size
    while done < count:
        try:
            if program is None:
                began = time.perf_counter()
                program = Program(size, compile_chunk(setting, size, devices))
                compile_seconds += time.perf_counter() - began
            columns = program.run(seed, start + done, setting.shared)
        except (MemoryError, RuntimeError) as error:
            size, program = _halve(size, len(devices), error), None
            continue
        kept = min(size, count - done)
        pieces.append({name: np.asarray(values)[:kept] for name, values in columns.items()})
        done += kept
    assert program is not None
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return columns, program, compile_seconds


def _halve(size: int, least: int, error: Exception) -> int:
    """Return about half of a size that was too large; raise anything but a lack of memory."""
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    if size <= least:
        raise OutOfMemory(
            f"out of memory with one seed on each of {least} devices; --devices takes fewer at once"
        ) from error
    half = -(-size // (2 * least)) * least
    print(f"\nout of memory with {size} seeds at once: going on with {half}", file=sys.stderr)
    return half
