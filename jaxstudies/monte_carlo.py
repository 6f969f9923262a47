"""The engine: one simulation of a key, mapped over any number of seeds.

Seed i is simulated with `fold_in(key(seed), i)`, so it depends on the master seed and on i alone:
ten seeds are the first ten of a thousand, and run 417 can be replayed by itself. How seeds are cut
into chunks and spread over devices changes results by rounding at most; with both the same, they
repeat to the bit.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from tqdm import tqdm

from jaxstudies.cluster import Share, Unfinished
from jaxstudies.parts import Parts, PartsError
from jaxstudies.programs import (
    Devices,
    Program,
    Setting,
    Simulate,
    choose_devices,
    run_seeds,
    use_all_cores,
)

__all__ = ["Setting", "Simulate", "Timing", "choose_devices", "map_seeds", "run_settings",
           "stream_settings", "use_all_cores"]  # fmt: skip

CHUNK_PER_CPU = 512
"""Seeds per CPU core and chunk: enough to hide the cost of launching kernels, small enough that a
chunk of tiny networks stays within the caches and takes a second or two."""

CHUNK_PER_ACCELERATOR = 8192
"""Seeds per accelerator and chunk: a guess, not tuned on one yet."""

ROWS_AT_ONCE, LEAST_SEEDS = 100_000, 1000
"""Rows of a streamed table that are in memory at once: some hundred megabytes, if they are long;
but a thousand seeds of a setting are never divided."""


class Timing(NamedTuple):
    """Seconds spent compiling and running a setting, and the seeds run (not read from disk)."""

    compile_seconds: float
    run_seconds: float
    seeds_run: int


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
    devices, kept = choose_devices(num_devices), Memory()
    plans = make_plans([Setting({}, simulate, shared)], num_seeds, chunk_size, devices)
    compute(plans, Share(), kept, seed, devices, "runs")
    return collect(plans[0], kept)


def stream_settings(
    settings: list[Setting],
    *,
    num_seeds: int,
    seed: int = 0,
    chunk_size: int | None = None,
    num_devices: int | None = None,
    parts: Parts | None = None,
    share: Share | None = None,
    timings: list[dict] | None = None,
    description: str = "runs",
    rows_at_once: int | None = ROWS_AT_ONCE,
) -> Iterator[pd.DataFrame]:
    """Map every setting over its seeds, then hand out the rows in blocks that fit the memory.

    Args:
        settings: The design; a setting's own `num_seeds` goes before the common one.
        num_seeds: Number of seeds per setting.
        seed: Master seed.
        chunk_size: As for `map_seeds`.
        num_devices: As for `map_seeds`.
        parts: Where finished chunks are kept, so that a killed run goes on where it stopped.
        share: The chunks that this process computes, if others compute the rest into `parts`.
        timings: A list to which each setting's labels and `Timing` are appended.
        description: What the progress bar says.
        rows_at_once: Rows of a block, about, or None for a single one.

    Returns:
        Tables with the labels, `seed`, and the simulation's arrays as columns; an array of rank 1
        called x becomes x_1, x_2, ... A block has the rows of all settings for the next seeds.

    Raises:
        ValueError: Two settings have the same labels, so that their rows could not be told apart.
        Unfinished: The share is done, but it is not to be finished or other shares are missing.
        OutOfMemory: The devices cannot hold even one seed each.
        PartsError: Chunks cannot be written or read.
    """
    labels = [tuple(setting.labels.items()) for setting in settings]
    if len(set(labels)) < len(labels):
        raise ValueError("two settings have the same labels")
    devices, kept = choose_devices(num_devices), Memory() if parts is None else parts
    plans = make_plans(settings, num_seeds, chunk_size, devices)
    share = share or Share()
    spent = compute(plans, share, kept, seed, devices, description)
    wanted = {chunk.name for plan in plans for chunk in plan.chunks}
    found = len(wanted.intersection(kept.names()))
    if found < len(wanted) or not share.finishes:
        raise Unfinished(found, len(wanted))
    if timings is not None:
        timings += [p.setting.labels | t._asdict() for p, t in zip(plans, spent, strict=True)]
    most = max(plan.num_seeds() for plan in plans)
    step = most if rows_at_once is None else max(rows_at_once // len(plans), LEAST_SEEDS)
    return (table(plans, kept, start, start + step) for start in range(0, most, step))


def run_settings(settings: list[Setting], **execution: Any) -> pd.DataFrame:
    """Map every setting over its seeds and return a row for each setting and seed.

    The arguments and errors are those of `stream_settings`, and so are the columns.
    """
    (whole,) = stream_settings(settings, rows_at_once=None, **execution)
    return whole


def plan_chunks(num_seeds: int, chunk_size: int | None, devices: Devices) -> int:
    """Return the seeds per chunk: a multiple of the devices, chunks as equal as can be."""
    per_device = CHUNK_PER_CPU if devices[0].platform == "cpu" else CHUNK_PER_ACCELERATOR
    most = max(chunk_size or per_device * len(devices), len(devices))
    num_chunks = -(-num_seeds // most)
    per_chunk = -(-num_seeds // num_chunks)
    return -(-per_chunk // len(devices)) * len(devices)


class Chunk(NamedTuple):
    """Seeds of one setting that run at once."""

    name: str
    number: int
    start: int
    size: int


class Plan(NamedTuple):
    """A setting and its chunks."""

    setting: Setting
    chunk_size: int
    """Size of all chunks but the last."""
    chunks: list[Chunk]

    def num_seeds(self) -> int:
        """Return the seeds in all chunks."""
        return self.chunks[-1].start + self.chunks[-1].size

    def program(self) -> tuple[int, int, str]:
        """Return what settings have in common if they share a compiled program."""
        shapes = str(jax.tree.map(jax.typeof, self.setting.shared))
        return id(self.setting.simulate), self.chunk_size, shapes


def make_plans(
    settings: list[Setting], num_seeds: int, chunk_size: int | None, devices: Devices
) -> list[Plan]:
    """Cut each setting's seeds into chunks, which are numbered throughout."""
    plans, number = [], 0
    for index, setting in enumerate(settings):
        count = setting.num_seeds or num_seeds
        size = plan_chunks(count, chunk_size, devices)
        chunks = [
            Chunk(f"{index:04d}-{start:09d}", number + i, start, min(size, count - start))
            for i, start in enumerate(range(0, count, size))
        ]
        number += len(chunks)
        plans.append(Plan(setting, size, chunks))
    return plans


class Memory(dict[str, dict[str, np.ndarray]]):
    """Finished chunks in memory, with the methods of `Parts`."""

    names, read, write = dict.keys, dict.get, dict.__setitem__


def compute(
    plans: list[Plan], share: Share, kept: Parts | Memory, seed: int, devices: Devices, title: str
) -> list[Timing]:
    """Run the chunks of a share that are not kept yet; return the time of each setting."""
    identities = [plan.program() for plan in plans]
    costs = [plan.setting.cost for plan in plans]
    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    if len(set(costs)) <= 1:
        costs, layout = [1] * len(plans), None
    owned = [[chunk for chunk in plan.chunks if share.owns(chunk.number)] for plan in plans]
    total = sum(
        chunk.size * cost for chunks, cost in zip(owned, costs, strict=True) for chunk in chunks
    )
    programs: dict[tuple, Program] = {}
    timings = []
    with tqdm(total=total, desc=title, unit="run", delay=1, bar_format=layout) as bar:
        for index, (setting, chunk_size, _) in enumerate(plans):
            identity = identities[index]
            words = " ".join(str(value) for value in setting.labels.values())
            bar.set_postfix_str(words, refresh=False)
            compile_seconds = run_seconds = 0.0
            seeds_run = 0
            for chunk in owned[index]:
                if kept.read(chunk.name) is None:
                    began = time.perf_counter()
                    columns, programs[identity], compiling = run_seeds(
                        setting, seed, chunk.start, chunk.size, programs.get(identity), chunk_size,
                        devices,
                    )  # fmt: skip
                    compile_seconds += compiling
                    run_seconds += time.perf_counter() - began - compiling
                    seeds_run += chunk.size
                    kept.write(chunk.name, columns)
                bar.update(chunk.size * costs[index])
            if identity not in identities[index + 1 :]:
                # Each program takes up hundreds of memory maps, of which a process may have 65,530.
                programs.pop(identity, None)
            timings.append(Timing(compile_seconds, run_seconds, seeds_run))
    return timings


def collect(
    plan: Plan, kept: Parts | Memory, start: int = 0, stop: int | None = None
) -> dict[str, np.ndarray]:
    """Return a setting's arrays over the seeds from `start` to before `stop`, or over all.

    Raises:
        PartsError: A chunk has gone since it was finished.
    """
    stop = min(stop or plan.num_seeds(), plan.num_seeds())
    columns: dict[str, np.ndarray] = {}
    for chunk in plan.chunks[start // plan.chunk_size : -(-stop // plan.chunk_size)]:
        values = kept.read(chunk.name)
        if values is None:
            raise PartsError(f"chunk {chunk.name} has gone; the same command computes it again")
        first, last = max(start, chunk.start), min(stop, chunk.start + chunk.size)
        for name, value in values.items():
            if name not in columns:
                columns[name] = np.empty((stop - start, *value.shape[1:]), value.dtype)
            taken = value[first - chunk.start : last - chunk.start]
            columns[name][first - start : last - start] = taken
    return columns


def table(plans: list[Plan], kept: Parts | Memory, start: int, stop: int) -> pd.DataFrame:
    """Return a row for each setting and each of its seeds from `start` to before `stop`."""
    frames = []
    for plan in plans:
        if start >= plan.num_seeds():
            continue
        seeds = np.arange(start, min(stop, plan.num_seeds()))
        labels = {
            name: pd.Series([value]).repeat(len(seeds)).to_numpy()
            for name, value in plan.setting.labels.items()
        }
        blocks = [pd.DataFrame({**labels, "seed": seeds})]
        # An array is one block of a table: of thousands of columns apart, it would take a second.
        for name, values in collect(plan, kept, start, stop).items():
            wide = values.ndim > 1
            names = [f"{name}_{i + 1}" for i in range(values.shape[1])] if wide else [name]
            blocks.append(pd.DataFrame(values.reshape(len(seeds), -1), columns=names))
        frames.append(pd.concat(blocks, axis=1))
    return pd.concat(frames, ignore_index=True)
