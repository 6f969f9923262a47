"""The engine: one simulation of a key, mapped over any number of seeds.

Seed i is simulated with `fold_in(key(seed), i)`, so it depends on the master seed and on i alone:
ten seeds are the first ten of a thousand, and run 417 can be replayed by itself. How seeds are cut
into chunks and spread over devices changes results by rounding at most; with both the same, they
repeat to the bit.
"""

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from jaxstudies import prng
from jaxstudies.results import Parts

Simulate = Callable[..., dict[str, jax.Array]]
"""A pure function `simulate(key, *shared)` of one seed: arrays of rank 0 or 1, by name."""

CHUNK_PER_CPU = 512
"""Seeds per CPU core and chunk: enough to hide the cost of launching kernels, small enough that a
chunk of tiny networks stays within the caches and takes a second or two."""

CHUNK_PER_ACCELERATOR = 8192
"""Seeds per accelerator and chunk: a guess, not tuned on one yet."""


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


class Timing(NamedTuple):
    """Seconds spent compiling and running a setting, and the seeds run (not read from disk)."""

    compile_seconds: float
    run_seconds: float
    seeds_run: int


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


def plan_chunks(num_seeds: int, chunk_size: int | None, devices: Devices) -> int:
    """Return the seeds per chunk: a multiple of the devices, chunks as equal as can be."""
    per_device = CHUNK_PER_CPU if devices[0].platform == "cpu" else CHUNK_PER_ACCELERATOR
    most = max(chunk_size or per_device * len(devices), len(devices))
    num_chunks = -(-num_seeds // most)
    per_chunk = -(-num_seeds // num_chunks)
    return -(-per_chunk // len(devices)) * len(devices)


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
    # Without its expensive passes LLVM compiles a tenth faster, and nothing ran slower.
    lowered = jax.jit(mapped).lower(*place(0, 0, setting.shared))
    compiled = lowered.compile(compiler_options={"xla_llvm_disable_expensive_passes": True})
    return lambda seed, start, shared: jax.device_get(compiled(*place(seed, start, shared)))


def map_seeds(
    simulate: Simulate,
    *shared: Any,
    num_seeds: int,
    seed: int = 0,
    chunk_size: int | None = None,
    num_devices: int | None = None,
) -> dict[str, np.ndarray]:
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
    setting = Setting({}, simulate, shared)
    (columns, _), *_ = _run([setting], num_seeds, seed, chunk_size, num_devices, None, "runs")
    return columns


def run_settings(
    settings: list[Setting],
    *,
    num_seeds: int,
    seed: int = 0,
    chunk_size: int | None = None,
    num_devices: int | None = None,
    parts: Parts | None = None,
    timings: list[dict] | None = None,
    description: str = "runs",
) -> pd.DataFrame:
    """Map every setting over its seeds and collect a row for each setting and seed.

    Args:
        settings: The design; a setting's own `num_seeds` goes before the common one.
        num_seeds: Number of seeds per setting.
        seed: Master seed.
        chunk_size: As for `map_seeds`.
        num_devices: As for `map_seeds`.
        parts: Where finished chunks are kept, so that a killed run goes on where it stopped.
        timings: A list to which each setting's labels and `Timing` are appended.
        description: What the progress bar says.

    Returns:
        A table with the labels, `seed`, and the simulation's arrays as columns; an array of rank 1
        called x becomes x_1, x_2, ...
    """
    frames = []
    results = _run(settings, num_seeds, seed, chunk_size, num_devices, parts, description)
    for setting, (columns, timing) in zip(settings, results, strict=True):
        flat = {}
        for name, values in columns.items():
            if values.ndim == 1:
                flat[name] = values
            else:
                flat |= {f"{name}_{i + 1}": values[:, i] for i in range(values.shape[1])}
        seeds = np.arange(len(next(iter(flat.values()))))
        labels = {
            name: pd.Series([value]).repeat(len(seeds)).to_numpy()
            for name, value in setting.labels.items()
        }
        frames.append(pd.DataFrame({**labels, "seed": seeds, **flat}))
        if timings is not None:
            timings.append(setting.labels | timing._asdict())
    return pd.concat(frames, ignore_index=True)


def _run(settings, num_seeds, seed, chunk_size, num_devices, parts, description):
    """Yield the columns and the timing of each setting."""
    devices = choose_devices(num_devices)
    programs = {}
    counts = [setting.num_seeds or num_seeds for setting in settings]
    chunks = [plan_chunks(count, chunk_size, devices) for count in counts]
    identities = [
        (id(setting.simulate), chunk, str(jax.tree.map(jax.typeof, setting.shared)))
        for setting, chunk in zip(settings, chunks, strict=True)
    ]
    costs = [setting.cost for setting in settings]
    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    if len(set(costs)) <= 1:
        costs, layout = [1] * len(settings), None
    total = sum(n * cost for n, cost in zip(counts, costs, strict=True))
    with tqdm(total=total, desc=description, unit="run", delay=1, bar_format=layout) as bar:
        for index, (setting, count) in enumerate(zip(settings, counts, strict=True)):
            chunk = chunks[index]
            bar.set_postfix_str(" ".join(str(value) for value in setting.labels.values()))
            identity = identities[index]
            compile_seconds = run_seconds = 0.0
            seeds_run, pieces = 0, []
            for start in range(0, count, chunk):
                size = min(chunk, count - start)
                name = f"{index:04d}-{start:09d}"
                columns = parts.read(name) if parts else None
                if columns is None:
                    began = time.perf_counter()
                    if identity not in programs:
                        programs[identity] = compile_chunk(setting, chunk, devices)
                        compile_seconds = time.perf_counter() - began
                    columns = programs[identity](seed, start, setting.shared)
                    columns = {key: np.asarray(value)[:size] for key, value in columns.items()}
                    run_seconds += time.perf_counter() - began
                    seeds_run += size
                    if parts:
                        parts.write(name, columns)
                pieces.append(columns)
                bar.update(size * costs[index])
            if identity not in identities[index + 1 :]:
                # Each program takes up hundreds of memory maps, of which a process may have 65,530.
                programs.pop(identity, None)
            columns = {key: np.concatenate([p[key] for p in pieces]) for key in pieces[0]}
            yield columns, Timing(compile_seconds, run_seconds - compile_seconds, seeds_run)
