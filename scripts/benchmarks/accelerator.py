"""What an accelerator does: networks trained per second in kernels and by XLA, and whether their numbers are right.

Everything shrinks to a hundredth where there is no accelerator. Each part has its own limit of time and writes what it
has measured, so that a run that is cut off loses nothing.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import on_device, timing
from benchmarks.timing import compile_block
from jaxstudies.engine.devices import choose_devices
from jaxstudies.engine.execution import Execution
from jaxstudies.fused import choice
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.models import MLP, initializer
from jaxstudies.networks.states import init_state
from jaxstudies.output import files
from jaxstudies.studies import dying_relu
from jaxstudies.study import from_module
from jaxstudies.tasks import task_of
from jaxstudies.training import fit

Row = dict[str, Any]
EXAMPLES, BATCH = 3000, 64


class Dense(nn.Module):
    """Dense layers with an activation."""

    depth: int
    width: int
    activation: Callable

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Return one output for each example."""
        for _ in range(self.depth):
            inputs = self.activation(nn.Dense(self.width)(inputs))
        return nn.Dense(1)(inputs)


HE = initializer("he_normal")
MODELS: dict[str, tuple[nn.Module, optax.GradientTransformation, int]] = {
    "main job, ReLU 10 x 2, Adam": (MLP(10, 2, 1, nn.relu, HE), optax.adam(1e-3), 1),
    "GELU 1 x 4, AdamW": (Dense(1, 4, nn.gelu), optax.adamw(1e-2), 1),
    "tanh 2 x 3, momentum": (Dense(2, 3, nn.tanh), optax.sgd(0.05, momentum=0.9), 1),
    "ReLU 2 x 8, Adam": (Dense(2, 8, nn.relu), optax.adam(1e-3), 1),
    "ReLU 10 x 3, Adam": (MLP(10, 3, 1, nn.relu, HE), optax.adam(1e-3), 1),
    "ReLU 10 x 4, Adam": (MLP(10, 4, 1, nn.relu, HE), optax.adam(1e-3), 1),
    "ReLU 2 x 16, Adam": (Dense(2, 16, nn.relu), optax.adam(1e-3), 1),
    "ReLU 2 x 24, Adam": (Dense(2, 24, nn.relu), optax.adam(1e-3), 1),
    "ReLU 2 x 40, Adam": (Dense(2, 40, nn.relu), optax.adam(1e-3), 1),
    "tanh 1 x 16 on 16 inputs, SGD": (Dense(1, 16, nn.tanh), optax.sgd(0.1), 16),
}


def ready(name: str, networks: int, num_epochs: int, fused: bool) -> tuple[Callable[[], Any], Row]:
    """Compile the training of networks, each on data of its own, with products in full precision."""
    model, optimizer, inputs = MODELS[name]

    def born(key: jax.Array) -> tuple:
        data_key, init_key = jax.random.split(key)
        x = jax.random.uniform(data_key, (EXAMPLES, inputs), minval=-(7**0.5), maxval=7**0.5)
        return Dataset(x, jnp.abs(x[:, :1])), init_state(init_key, model, optimizer, x).params

    def train(data: Dataset, params: Any) -> Any:
        state = init_state(jax.random.key(0), model, optimizer, data.inputs)._replace(params=params)
        how = {"num_epochs": num_epochs, "batch_size": BATCH, "state": state, "shuffle_key": jax.random.key(7)}
        run = fit(jax.random.key(1), model, optimizer, optax.squared_error, data, fused=fused, **how)
        return run.state.params, run.history

    arguments = jax.block_until_ready(jax.jit(jax.vmap(born))(jax.random.split(jax.random.key(0), networks)))
    began = time.perf_counter()
    with jax.default_matmul_precision("highest"):
        compiled = jax.jit(jax.vmap(train)).lower(*arguments).compile()
    size = sum(leaf[0].size for leaf in jax.tree.leaves(arguments[1]))
    about = {"model": name, "parameters": size, "networks": networks, "epochs": num_epochs, "fused": fused}
    about["compile_seconds"] = time.perf_counter() - began
    return lambda: jax.block_until_ready(compiled(*arguments)), about


def measured(run: Callable[[], Any], about: Row, repeats: int = 3) -> Row:
    """Time a run, the least of some repeats, of which a long run has one."""
    times: list[float] = []
    run()
    while len(times) < repeats and sum(times) < 4:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    row = about | {"seconds": min(times), "per_second": about["networks"] / min(times)}
    if stats := jax.devices()[0].memory_stats():
        row["memory"] = stats.get("peak_bytes_in_use")
    return row


def models(scale: float) -> Iterator[Row]:
    """Compare kernels with XLA, for networks of several sizes."""
    networks = max(int(65_536 * scale), 64)
    for name in MODELS:
        outs = []
        for fused in (True, False):
            run, about = ready(name, networks, 2, fused)
            outs.append(jax.tree.leaves(run()))
            row = measured(run, about)
            if not fused:
                gaps = [np.abs(np.asarray(a) - np.asarray(b)).ravel() for a, b in zip(*outs, strict=True)]
                row |= {"gap": float(np.quantile(np.concatenate(gaps), 0.999))}
            yield row


def sizes(scale: float) -> Iterator[Row]:
    """Train more and more networks of the main job for its 20 epochs."""
    for networks in (1_000, 16_384, 131_072, 1_000_000):
        yield measured(*ready("main job, ReLU 10 x 2, Adam", max(int(networks * scale), 64), 20, fused=True))


def whole(scale: float) -> Iterator[Row]:
    """Make the runs of the dying-ReLU study with all that is measured of them, in chunks of several sizes."""
    for networks, epochs, fused in (
        *((8192, 20, False), (8192, 20, None), (32_768, 20, None), (131_072, 20, None), (131_072, 0, None)),
    ):
        seeds = max(int(networks * scale), 64)
        config = dying_relu.Config(seeds=10**6, activations=("relu",), epochs=epochs, long_epochs=0)
        began = time.perf_counter()
        task = task_of(from_module(dying_relu), config, seeds)
        task = task._replace(execution=Execution(seeds))
        with allowing(fused):
            run, at_once = compile_block(task, choose_devices())
        about = {"networks": at_once, "epochs": epochs, "fused": fused, "compile_seconds": time.perf_counter() - began}
        yield measured(partial(run, 0), about, repeats=2)


def right(scale: float) -> Iterator[Row]:
    """Count the collapsed networks of the main job on this device and on the CPU."""
    code = (
        "import json, sys; from jaxstudies.engine import devices; devices.use_all_cores();"
        "from benchmarks import accelerator; print(json.dumps(accelerator.counts(int(sys.argv[1]))))"
    )
    seeds = max(int(2000 * scale), 64)
    yield {"device": jax.devices()[0].device_kind, "fused": True} | counts(seeds)
    with allowing(False):
        yield {"device": jax.devices()[0].device_kind, "fused": False} | counts(seeds)
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(seeds)], env=environment, capture_output=True, text=True)
    yield {"device": "cpu"} | (json.loads(done.stdout) if done.stdout else {"failed": done.stderr.strip()[-300:]})


def counts(seeds: int) -> Row:
    """Return how many ReLU networks collapse, and which of the first hundred were born so."""
    config = dying_relu.Config(seeds=seeds, activations=("relu",), long_epochs=0)
    task = task_of(from_module(dying_relu), config, seeds)
    run, at_once = compile_block(task, choose_devices())
    parts = [run(start)["collapsed"][:, 0] for start in range(0, seeds, at_once)]
    collapsed = np.concatenate(parts)[:seeds]
    return {
        "seeds": seeds,
        "born": int(collapsed[:, 0, 0].sum()),
        "trained": int(collapsed[:, 1, 0].sum()),
        "born_first": "".join(str(int(b)) for b in collapsed[:100, 0, 0]),
    }


@contextlib.contextmanager
def allowing(kernels: bool | None) -> Iterator[None]:
    """Let the rule, or nobody, use kernels."""
    token = choice.ALLOWED.set(kernels)
    try:
        yield
    finally:
        choice.ALLOWED.reset(token)


PARTS: dict[str, tuple[Callable[[float], Iterator[Row]], float]] = {
    "right": (right, 55),
    "whole": (whole, 45),
    "sizes": (sizes, 25),
    "peers": (on_device.beside_peers, 20),
    "commands": (on_device.commands, 70),
    "compiling": (on_device.compiling, 35),
    "rates": (on_device.rates, 45),
    "choices": (on_device.choices, 20),
    "models": (models, 110),
}
"""What is measured, and within how many seconds."""
MOST_SECONDS = 340
"""After which no part is begun."""


def measure(out: Path, only: Sequence[str] | None = None) -> None:
    """Measure all parts or some, print it as it comes, and write it after each part."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.4")  # whole commands want a part of a card, too
    accelerated = jax.default_backend() != "cpu"
    content: dict[str, Any] = {"machine": timing.describe(), "kernels": choice.missing() or "yes"}
    started = time.perf_counter()
    for part, (rows, limit) in PARTS.items():
        if only is not None and part not in only:
            continue
        began, content[part] = time.perf_counter(), []
        late = began - started > MOST_SECONDS
        if late:
            content[part].append({"cut": f"not begun after {MOST_SECONDS:g} s"})
        try:
            for row in () if late else rows(1.0 if accelerated else 0.01):
                content[part].append(row)
                print(f"{part} {time.perf_counter() - began:.0f} s: {row}", flush=True)
                if time.perf_counter() - began > limit:
                    content[part].append({"cut": f"after {limit:g} s"})
                    break
        except Exception as error:  # what comes behind is measured all the same
            content[part].append({"failed": f"{type(error).__name__}: {error}"[:500]})
            print(f"{part} failed: {error}", file=sys.stderr, flush=True)
        files.write_json(out / "accelerator.json", content)
