"""How the engine scales: networks trained per second, against seeds and against devices.

A network is one of the dying-ReLU study, with everything measured that the study measures.
"""

import time
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from jaxstudies import study as studies
from jaxstudies.benchmarks import timing
from jaxstudies.engine import blocks, monte_carlo, programs
from jaxstudies.output import plotting
from jaxstudies.studies import dying_relu

KEYS = ["against", "seeds", "devices"]


def compile_batch(num_seeds: int, num_epochs: int, num_devices: int | None = None) -> Callable[[], None]:
    """Compile the training of a batch; return a function that trains it, block by block."""
    config = dying_relu.Config(seeds=num_seeds, activations=("relu",), epochs=num_epochs, long_epochs=0)
    study, data = studies.from_module(dying_relu), dying_relu.data(config)
    (group,) = studies.design_of(study, config, data).groups
    devices = programs.choose_devices(num_devices)
    runs = monte_carlo.runs_at_once(monte_carlo.Execution(), devices)
    size = blocks.plan_size(1, num_seeds, runs, len(devices))
    run = programs.compile_block(studies.bound(study, config), group, data, size, devices)

    def train():
        for start in range(0, num_seeds, size.seeds):
            run(0, start, 0, group)

    return train


def device_counts(most: int) -> list[int]:
    """List 1, 2, 4, ... and the most."""
    return sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most})


def measure(seeds: tuple[int, ...], *, device_seeds: int, num_epochs: int, repeats: int) -> pd.DataFrame:
    """Time batches of several sizes on all devices, and one size on fewer; repeats interleaved.

    Returns:
        A row for each batch: median, least and most seconds, and networks per second by the median.
    """
    most = len(programs.choose_devices())
    batches = [("seeds", count, most) for count in sorted(set(seeds))]
    batches += [("devices", device_seeds, devices) for devices in device_counts(most)]
    ready, compile_seconds = {}, []
    for against, count, devices in batches:
        began = time.perf_counter()
        train = compile_batch(count, num_epochs, devices)
        ready[f"{count:,} seeds, {devices} devices, against {against}"] = train, 1.0
        compile_seconds.append(time.perf_counter() - began)
    times = pd.DataFrame(timing.interleave(ready, repeats))
    table = pd.DataFrame(batches, columns=KEYS).join(times).assign(compile_seconds=compile_seconds)
    return table.assign(networks_per_second=table["seeds"] / table["seconds"])


def draw(table: pd.DataFrame, num_epochs: int, repeats: int) -> Figure:
    """Draw networks per second against seeds and against devices, with the spread of repeats."""
    plotting.use_style()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for ax, (x, rows) in zip(axes, table.groupby("against", sort=False), strict=True):
        rate = rows["networks_per_second"]
        ends = [rate - rows["seeds"] / rows["most"], rows["seeds"] / rows["least"] - rate]
        ax.errorbar(rows[x], rate, yerr=np.clip(ends, 0, None), fmt="o-", capsize=3, label="measured")
        ax.set_xscale("log", base=10 if x == "seeds" else 2)
        ax.set_xticks(rows[x])
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[1].xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    by_devices = table[table["against"] == "devices"]
    first = by_devices.iloc[0]
    ideal = first["networks_per_second"] * by_devices["devices"] / first["devices"]
    axes[1].plot(by_devices["devices"], ideal, "--", color=plotting.COLORS[-1], lw=1, label="in proportion")
    axes[1].legend()
    devices = table.loc[table["against"] == "seeds", "devices"].iloc[0]
    axes[0].set(xlabel=f"seeds (on {devices} devices)", ylabel="networks per second")
    axes[0].set_ylim(bottom=0)
    axes[1].set(xlabel=f"devices ({first['seeds']:,} seeds)")
    epochs = "1 epoch" if num_epochs == 1 else f"{num_epochs} epochs"
    figure.suptitle(f"Networks of the dying-ReLU study trained for {epochs} (median, least and most of {repeats})")
    return figure
