"""Time the dying-ReLU Monte Carlo, and a step of LeNet-5, against peers, side by side in one run.

Peers that are not installed are listed as skipped: `pip install -e ".[peers]"` brings them. Repeats
are interleaved, so that a machine that slows down slows all of them. Loops over networks are timed
on one network and multiplied, which the table says.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
from annotated_types import Ge
from matplotlib.figure import Figure

from jaxstudies import cli, convnets, flags, monte_carlo, plotting, results
from jaxstudies.data import Dataset, uniform_inputs
from jaxstudies.studies import dying_relu
from jaxstudies.training import init_state, train_step

DEPTH, WIDTH, EXAMPLES, BATCH, EPOCHS = 10, 2, 3000, 64, 20
IMAGES = 128
LENET_STEPS = 20
CORES = len(os.sched_getaffinity(0))
Timed = tuple[Callable[[], Any], float]
"""What is timed, and by how much its seconds are multiplied."""


@dataclass(frozen=True)
class Options:
    """What is timed and where the results go."""

    seeds: Annotated[int, Ge(1)] = 1000
    """Networks trained, each for 20 epochs of 3,000 points."""
    repeats: Annotated[int, Ge(1)] = 3
    """Repeats of everything."""
    out: Path = Path("figures/benchmark")
    """Directory for benchmark.json, benchmark.csv and benchmark.png."""
    only: tuple[str, ...] | None = None
    """Names of contestants, if not all."""


def ours(seeds: int) -> Timed:
    """Train a batch by the engine, everything measured as in the study."""
    config = dying_relu.Config(seeds=seeds, activations=("relu",), long_epochs=0)
    (setting,) = dying_relu.settings(config)
    devices = monte_carlo.choose_devices()
    chunk = monte_carlo.plan_chunks(seeds, None, devices)
    run = monte_carlo.compile_chunk(setting, chunk, devices)
    return lambda: [run(0, start, setting.shared) for start in range(0, seeds, chunk)], 1.0


def plain_flax(seeds: int) -> Timed:
    """Train a batch as a Flax tutorial would: `vmap` of `nn.Dense` layers, shuffles of its own."""
    import flax.linen as nn

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(DEPTH):
                x = nn.relu(nn.Dense(WIDTH, kernel_init=nn.initializers.he_normal())(x))
            return nn.Dense(1, kernel_init=nn.initializers.he_normal())(x)

    model: Any = Network()
    optimizer = optax.adam(1e-3)

    def simulate(key):
        data_key, init_key, order_key = jax.random.split(key, 3)
        x = uniform_inputs(data_key, EXAMPLES, 1)
        y = jnp.abs(x)
        params = model.init(init_key, x[:1])

        def step(carry, rows):
            params, state = carry
            grads = jax.grad(lambda p: jnp.mean((model.apply(p, x[rows]) - y[rows]) ** 2))(params)
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(params, updates), state), None

        def epoch(carry, key):
            order = jax.random.permutation(key, EXAMPLES)[: EXAMPLES // BATCH * BATCH]
            return jax.lax.scan(step, carry, order.reshape(-1, BATCH))

        carry = (params, optimizer.init(params))
        (params, _), _ = jax.lax.scan(epoch, carry, jax.random.split(order_key, EPOCHS))
        return jnp.ptp(model.apply(params, x))

    run = jax.jit(jax.vmap(simulate))
    keys = jax.random.split(jax.random.key(0), seeds)
    jax.block_until_ready(run(keys))
    return lambda: jax.block_until_ready(run(keys)), 1.0


def torch_network(torch: Any) -> Any:
    """Return the network of the study in PyTorch."""
    layers: list = []
    for inputs in [1] + [WIDTH] * (DEPTH - 1):
        layers += [torch.nn.Linear(inputs, WIDTH), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, 1))
    for layer in network:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.kaiming_normal_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    return network


def torch_func(seeds: int) -> Timed:
    """Train a batch by `torch.func`: stacked parameters, one epoch timed and multiplied."""
    torch = import_module("torch")
    params, _ = torch.func.stack_module_state([torch_network(torch) for _ in range(seeds)])
    base = torch_network(torch).to("meta")
    optimizer = torch.optim.Adam(list(params.values()), lr=1e-3)
    x = (torch.rand(seeds, EXAMPLES, 1) * 2 - 1) * 7**0.5
    y = x.abs()

    def loss(params, x, y):
        return ((torch.func.functional_call(base, params, (x,)) - y) ** 2).mean()

    gradients = torch.func.vmap(torch.func.grad(loss))

    def epoch():
        torch.set_num_threads(CORES)
        order = torch.randperm(EXAMPLES)
        for rows in order[: EXAMPLES // BATCH * BATCH].reshape(-1, BATCH):
            found = gradients(params, x[:, rows], y[:, rows])
            for name, value in params.items():
                value.grad = found[name]
            optimizer.step()

    return epoch, float(EPOCHS)


def torch_loop(seeds: int) -> Timed:
    """Train one network after another in PyTorch: one epoch of one network, multiplied."""
    torch = import_module("torch")
    network = torch_network(torch)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    x = (torch.rand(EXAMPLES, 1) * 2 - 1) * 7**0.5
    y = x.abs()

    def epoch():
        torch.set_num_threads(1)  # networks of two units are slower on more
        order = torch.randperm(EXAMPLES)
        for rows in order[: EXAMPLES // BATCH * BATCH].reshape(-1, BATCH):
            optimizer.zero_grad()
            ((network(x[rows]) - y[rows]) ** 2).mean().backward()
            optimizer.step()

    return epoch, float(EPOCHS * seeds)


def keras_loop(seeds: int) -> Timed:
    """Train one network after another in Keras: one epoch of one network, multiplied."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = import_module("keras")

    def dense(units, activation=None):
        return keras.layers.Dense(units, activation=activation, kernel_initializer="he_normal")

    hidden = [dense(WIDTH, "relu") for _ in range(DEPTH)]
    network = keras.Sequential([keras.Input((1,)), *hidden, dense(1)])
    network.compile(optimizer="adam", loss="mse")
    x = np.random.default_rng(0).uniform(-(7**0.5), 7**0.5, (EXAMPLES, 1))
    network.fit(x, np.abs(x), batch_size=BATCH, epochs=1, verbose=0)  # traces
    return (
        lambda: network.fit(x, np.abs(x), batch_size=BATCH, epochs=1, verbose=0),
        float(EPOCHS * seeds),
    )


def lenet_ours(_: int) -> Timed:
    """Take LeNet-5's steps, batch norm and all, for a network on each device: time per network."""
    return lenet_on(monte_carlo.choose_devices())


def lenet_alone(_: int) -> Timed:
    """Take LeNet-5's steps for one network alone."""
    return lenet_on(monte_carlo.choose_devices(1))


def lenet_on(devices: monte_carlo.Devices) -> Timed:
    """Take LeNet-5's steps for a network on each of these devices."""
    model, optimizer = convnets.LeNet5(batch_norm=True), optax.adam(1e-3)

    def simulate(key, images, labels):
        def step(state, index):
            rows = index * IMAGES + jnp.arange(IMAGES)
            batch = Dataset(images[rows] / 255.0, jax.nn.one_hot(labels[rows], 10))
            loss_fn = optax.losses.softmax_cross_entropy
            return train_step(state, batch, key, model=model, optimizer=optimizer, loss_fn=loss_fn)

        state = init_state(key, model, optimizer, jnp.zeros((1, 784)))
        return {"loss": jax.lax.scan(step, state, jnp.arange(LENET_STEPS))[1]}

    images = np.random.default_rng(0).integers(0, 256, (IMAGES * LENET_STEPS, 784), np.uint8)
    shared = (jnp.asarray(images), jnp.asarray(images[:, 0] % 10))
    setting = monte_carlo.Setting({}, simulate, shared)
    run = monte_carlo.compile_chunk(setting, len(devices), devices)
    return lambda: run(0, 0, shared), 1 / (LENET_STEPS * len(devices))


def lenet_torch(_: int) -> Timed:
    """Take LeNet-5's steps in PyTorch, one network on all cores."""
    torch = import_module("torch")
    nn = torch.nn
    conv = [nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2)]
    conv += [nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten()]
    dense = [nn.Linear(256, 120), nn.BatchNorm1d(120), nn.Sigmoid()]
    dense += [nn.Linear(120, 84), nn.BatchNorm1d(84), nn.Sigmoid(), nn.Linear(84, 10)]
    network = nn.Sequential(*conv, *dense)
    optimizer = torch.optim.Adam(network.parameters())
    images, labels = torch.rand(IMAGES, 1, 28, 28), torch.randint(0, 10, (IMAGES,))

    def steps():
        torch.set_num_threads(CORES)
        for _ in range(LENET_STEPS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()

    return steps, 1 / LENET_STEPS


CONTESTANTS: dict[str, tuple[str, Callable[[int], Timed]]] = {
    "jaxstudies": ("dying ReLU", ours),
    "plain Flax vmap": ("dying ReLU", plain_flax),
    "torch.func": ("dying ReLU", torch_func),
    "PyTorch loop (extrapolated)": ("dying ReLU", torch_loop),
    "Keras loop (extrapolated)": ("dying ReLU", keras_loop),
    "jaxstudies LeNet-5, one per core": ("LeNet-5 step", lenet_ours),
    "jaxstudies LeNet-5, one network": ("LeNet-5 step", lenet_alone),
    "PyTorch LeNet-5, one network": ("LeNet-5 step", lenet_torch),
}


def measure(options: Options) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per contestant, and the names of those that are not installed."""
    ready, skipped, prepared = {}, [], {}
    for name, (_, prepare) in CONTESTANTS.items():
        if options.only is not None and name not in options.only:
            continue
        began = time.perf_counter()
        try:
            ready[name] = prepare(options.seeds)
        except ImportError as error:
            skipped.append(f"{name} ({error.name})")
            continue
        prepared[name] = time.perf_counter() - began
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for repeat in range(options.repeats):
        for name, (run, factor) in ready.items():
            print(f"\rrepeat {repeat + 1} of {options.repeats}: {name:30}", end="", file=sys.stderr)
            began = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - began) * factor)
    print(file=sys.stderr)
    table = pd.DataFrame(
        [
            (CONTESTANTS[name][0], name, statistics.median(s), min(s), max(s), prepared[name])
            for name, s in seconds.items()
        ],
        columns=["task", "contestant", "seconds", "least", "most", "prepare_seconds"],
    )
    first = table.groupby("task")["seconds"].transform("first")
    return table.assign(ratio=table["seconds"] / first), skipped


def machine() -> dict[str, str | int | None]:
    """Describe the machine and the versions."""
    described: dict[str, str | int | None] = {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": platform.processor() or platform.machine(),
        "cores": CORES,
        "device": jax.devices()[0].device_kind,
    }
    for package in ("jax", "flax", "torch", "keras"):
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            described[package] = None
    return described


def number(x: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def draw(table: pd.DataFrame, seeds: int, repeats: int) -> Figure:
    """Draw each contestant's time over that of the first of its task."""
    plotting.use_style()
    figure, ax = plt.subplots(figsize=(7.5, 0.9 + 0.42 * len(table)))
    first = table.groupby("task")["seconds"].transform("first")
    ends = [(table["seconds"] - table["least"]) / first, (table["most"] - table["seconds"]) / first]
    mine = table["contestant"].str.startswith("jaxstudies")
    colors = [plotting.COLORS[0] if own else plotting.COLORS[1] for own in mine]
    ax.barh(table["contestant"], table["ratio"], xerr=np.array(ends), color=colors, capsize=3)
    for y, (ratio, seconds) in enumerate(zip(table["ratio"], table["seconds"], strict=True)):
        text = f"  {number(ratio)} x ({number(seconds)} s)"
        ax.text(ratio, y, text, va="center", bbox={"fc": "white", "ec": "none", "pad": 0.5})
    ax.set(
        xscale="log", xlim=(0.5, 25 * table["ratio"].max()),
        xlabel="time relative to jaxstudies (bars end at the median; whiskers: least and most)",
        title=f"{seeds:,} networks x {EPOCHS} epochs; LeNet-5 step of {IMAGES} images "
        f"({repeats} repeats)",
    )  # fmt: skip
    ax.invert_yaxis()
    return figure


def main() -> None:
    """Measure, print and write."""
    try:
        options = flags.parse(Options, description=__doc__)
        for name in set(options.only or ()) - set(CONTESTANTS):
            raise flags.UsageError(f"--only {name}: must be among {', '.join(CONTESTANTS)}")
        cli.check_writable(options.out)
    except flags.UsageError as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        sys.exit(2)
    monte_carlo.use_all_cores()
    table, skipped = measure(options)
    described = machine()
    print(", ".join(f"{name} {value}" for name, value in described.items() if value is not None))
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    if skipped:
        print(f"skipped, not installed: {', '.join(skipped)}")
    content = {"machine": described, "options": {"seeds": options.seeds,
               "repeats": options.repeats}, "results": table.to_dict("records"),
               "skipped": skipped}  # fmt: skip
    results.write_json(options.out / "benchmark.json", content)
    results.write_table(options.out / "benchmark.csv", table)
    plotting.save({"benchmark": draw(table, options.seeds, options.repeats)}, options.out)
    print(f"{options.out}/: benchmark.json, benchmark.csv, benchmark.png")


if __name__ == "__main__":
    main()
