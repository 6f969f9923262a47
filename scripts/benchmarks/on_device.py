"""Whole commands, what compiling consists of, studies' rates by chunk, and choices that were made on a CPU.

Each function yields rows for `benchmark.py accelerator`; `scale` is 1 on an accelerator and a hundredth elsewhere.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import peers, scaling
from jaxstudies import compilation_cache
from jaxstudies.commands import options
from jaxstudies.engine import compiler, devices, prng, tracing
from jaxstudies.engine.blocks import Plan, Size
from jaxstudies.engine.design import Group
from jaxstudies.engine.monte_carlo import Task
from jaxstudies.networks import convnets
from jaxstudies.networks.batches import epoch_batches
from jaxstudies.networks.originals import DATA_DIR_VARIABLE
from jaxstudies.study import load
from jaxstudies.tasks import task_of

Row = dict[str, Any]
SCRIPTS = Path(__file__).parent.parent
DIGITS = () if os.environ.get(DATA_DIR_VARIABLE) else ("--dataset", "digits")
COMMANDS: dict[str, tuple[str, ...]] = {
    "dying_relu": ("--seeds", "1000"),
    "perceptron": (),
    "order_chaos": DIGITS,
    "born_dead": (),
    "lenet": (*DIGITS, "--seeds", "20", "--epochs", "2"),
    "trainability": (),
    "depth_width": (),
}
"""Flags of the commands that are timed; the most used first, as time may end before the last."""
SHORT: dict[str, tuple[str, ...]] = {"dying_relu": ("--seeds", "10", "--epochs", "1", "--long-epochs", "0")}
"""What is timed instead where there is no accelerator."""
PROGRAMS: dict[str, tuple[str, ...]] = {
    "dying_relu": (),
    "lenet": (*DIGITS, "--arms", "plain", "standardized", "--epochs", "1"),
    "depth_width": ("--shapes", "8,64-64,128-256-128", "--epochs", "1", "--modern-epochs", "0"),
    "order_chaos": DIGITS,
}
"""Studies whose compiling is taken apart."""
RATES: dict[str, tuple[tuple[str, ...], tuple[Size, ...], float, str]] = {
    "lenet": (
        (*DIGITS, "--arms", "standardized", "--epochs", "1"),
        tuple(Size(1, n) for n in (10, 50, 100)),
        9_000,
        "100 seeds x 6 arms x 15 epochs",
    ),
    "depth_width": (
        ("--shapes", "256-256", "--epochs", "2", "--recipes", "sgd", "--modern-epochs", "0"),
        tuple(Size(1, n) for n in (16, 64, 256)),
        143 * 4 * 1_000,
        "143 shapes x 4 seeds x 2,000 epochs, at the rate of 256-256",
    ),
    "trainability": (
        ("--points", "512", "--zooms", "0"),
        tuple(Size(n, 1) for n in (1_024, 8_192, 65_536)),
        1_024**2,
        "a map of 1,024 x 1,024",
    ),
}
"""Flags of a study, what is run at once, and how many such runs answer what is asked."""


def task_and_groups(name: str, flags: tuple[str, ...]) -> tuple[Task, list[Group]]:
    """Return a study's task and a group of each of its programs."""
    study = load(name)
    config, seeds, _ = options.parse(study.Config, name, study.text, list(flags))
    task = task_of(study, config, seeds.seeds)
    return task, list({Plan(0, g, 0, 1, Size(1, 1), 0).program(): g for g in task.design.groups}.values())


def commands(scale: float) -> Iterator[Row]:
    """Run whole commands in processes of their own: cold, with what they compiled before, and on the CPU."""
    listed = COMMANDS if scale == 1 else SHORT
    for name, flags in listed.items():
        with tempfile.TemporaryDirectory() as made:
            for how, more in (("cold", {}), ("warm", {}), *([("cpu", {"JAX_PLATFORMS": "cpu"})] * (scale == 1))):
                # Both processes share a card.
                environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.4", compilation_cache.VARIABLE: f"{made}/cache"}
                where = f"{made}/{how}"
                command = [sys.executable, str(SCRIPTS / f"{name}.py"), *flags, "--out", where]
                began = time.perf_counter()
                try:
                    done = subprocess.run(
                        command, env=os.environ | environment | more, capture_output=True, text=True, timeout=60
                    )
                except subprocess.TimeoutExpired:
                    yield {"command": name, "how": how, "cut": "after 60 s"}
                    break
                row = {"command": name, "flags": " ".join(flags), "how": how, "seconds": time.perf_counter() - began}
                yield row | ({"failed": done.stderr.strip()[-300:]} if done.returncode else {})


def compiling(scale: float) -> Iterator[Row]:
    """Take apart what compiling consists of: tracing, lowering, compiling with and without autotuning, in threads."""
    size, used = Size(1, max(int(512 * scale), 8)), devices.choose_devices(1)
    for name in PROGRAMS if scale == 1 else ("dying_relu",):
        (task, groups), lowered = task_and_groups(name, PROGRAMS[name]), []
        for index, group in enumerate(groups[:4]):
            row: Row = {"study": name, "program": index, "of": len(groups)}
            mesh, times = devices.make_mesh(size, used), [time.perf_counter()]
            traced = tracing.trace(task.simulate, group, dict(task.data))
            block = compiler.trace_block(
                traced, mesh, compiler.place_block(mesh, size, dict(task.data), 0, 0, 0, group)
            )
            times.append(time.perf_counter())
            lowered.append(prng.lower(block, used[0].platform))
            times.append(time.perf_counter())
            lowered[-1].compile()
            times.append(time.perf_counter())
            if used[0].platform == "gpu":
                lowered[-1].compile({"xla_gpu_autotune_level": "0"})
                row["without_autotuning_seconds"] = time.perf_counter() - times[-1]
            names = "trace_seconds", "lower_seconds", "compile_seconds"
            yield row | dict(zip(names, np.diff(times).tolist(), strict=True))
        began = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            # An option that changes nothing, so that nothing is found compiled.
            list(pool.map(lambda each: each.compile({"xla_llvm_disable_expensive_passes": False}), lowered))
        yield {"study": name, "programs": len(lowered), "in_threads_seconds": time.perf_counter() - began}


def rates(scale: float) -> Iterator[Row]:
    """Run studies in chunks of several sizes, and say how long what is asked of them would take."""
    for name, (flags, sizes, runs, asked) in RATES.items():
        if scale != 1 and name != "trainability":
            continue
        task, (group, *_) = task_and_groups(name, flags)
        for size in sizes if scale == 1 else (Size(16, 1),):
            began = time.perf_counter()
            run = compiler.compile_block(task.simulate, group, dict(task.data), size, devices.choose_devices(1))
            row: Row = {"study": name, "at_once": max(size), "compile_seconds": time.perf_counter() - began}
            run(0, 0, 0, group)
            began = time.perf_counter()
            run(0, 0, 0, group)
            seconds = time.perf_counter() - began
            row |= {"seconds": seconds, "per_second": max(size) / seconds}
            row |= {"asked": asked, "extrapolated_seconds": runs * seconds / max(size)}
            if stats := jax.devices()[0].memory_stats():
                row["memory"] = stats.get("peak_bytes_in_use")
            yield row


def choices(scale: float) -> Iterator[Row]:
    """Time, compiling and running, what was chosen on a CPU against what was not."""
    networks = max(int(1_024 * scale), 8)
    keys = jax.random.split(jax.random.key(0), networks)

    def draws(key):
        return [jax.random.normal(k, (30, 30)) for k in jax.random.split(key, 12)]

    traced = jax.jit(jax.vmap(draws)).trace(keys)
    yield timed("Threefry in a loop", lambda: prng.lower(traced, "cpu"), keys)
    yield timed("Threefry by JAX", traced.lower, keys)

    orders = {
        "order by one sort": partial(epoch_batches, num_examples=3_000, batch_size=64),
        "order by jax.random.permutation": lambda key: jax.random.permutation(key, 3_000),
    }
    for name, order in orders.items():
        yield timed(name, jax.jit(jax.vmap(order)).trace(keys).lower, keys)

    few = max(int(64 * scale), 2)
    kernels, images = jnp.ones((few, 5, 5, 6, 16)), jnp.ones((6, 12, 12, 128))

    def by_xla(kernel, h):
        numbers = ("CHWN", "HWIO", "CHWN")
        return jax.lax.conv_general_dilated(h, kernel, (1, 1), "VALID", dimension_numbers=numbers)

    for name, convolve in {"convolution by patches": convnets.convolve, "convolution by XLA": by_xla}.items():

        def gradient(kernel, h, convolve=convolve):
            return jax.grad(lambda *inputs: (convolve(*inputs) ** 2).sum(), (0, 1))(kernel, h)

        yield timed(name, jax.jit(jax.vmap(gradient, (0, None))).trace(kernels, images).lower, kernels, images)


def timed(name: str, lower: Callable[[], jax.stages.Lowered], *arguments: jax.Array) -> Row:
    """Return how long a computation compiles and runs, the least of three."""
    began = time.perf_counter()
    compiled = lower().compile()
    row: Row = {"choice": name, "compile_seconds": time.perf_counter() - began}
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - began)
    return row | {"seconds": min(times)}


def beside_peers(scale: float) -> Iterator[Row]:
    """Train the main job's networks here and by a plain `vmap` of Flax's layers."""
    seeds = max(int(1_000 * scale), 8)
    for name, make in {"jaxstudies": scaling.compile_batch, "plain Flax vmap": peers.plain_flax}.items():
        run, _ = make(seeds, 20)
        run()
        began = time.perf_counter()
        run()
        yield {"contestant": name, "networks": seeds, "epochs": 20, "seconds": time.perf_counter() - began}
