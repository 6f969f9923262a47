"""How the engine scales: networks trained per second, against seeds and against devices.

A network is one of the dying-ReLU study, with everything measured that the study measures.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.timing import Timed, compile_block, interleave
from jaxstudies.engine.devices import choose_devices
from jaxstudies.output import plotting
from jaxstudies.studies import dying_relu
from jaxstudies.study import from_module
from jaxstudies.tasks import task_of


def compile_batch(num_seeds: int, num_epochs: int, num_devices: int | None = None) -> Timed:
    """Compile the training of a batch, with everything that the study measures; it is trained block by block."""
    config = dying_relu.Config(seeds=num_seeds, activations=("relu",), epochs=num_epochs, long_epochs=0)
    task = task_of(from_module(dying_relu), config, num_seeds)
    run, at_once = compile_block(task, choose_devices(num_devices))

    def train():
        for start in range(0, num_seeds, at_once):
            run(start)

    return train, 1.0


def device_counts(most: int) -> list[int]:
    """List 1, 2, 4, ... and the most."""
    return sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most})


def measure(seeds: tuple[int, ...], *, device_seeds: int, num_epochs: int, repeats: int) -> pd.DataFrame:
    """Time batches of several sizes on all devices, and one size on fewer; return a row for each."""
    most = len(choose_devices())
    batches = [("seeds", count, most) for count in sorted(set(seeds))]
    batches += [("devices", device_seeds, devices) for devices in device_counts(most)]
    ready, compile_seconds = {}, []
    for against, count, devices in batches:
        began, name = time.perf_counter(), f"{count:,} seeds, {devices} devices, against {against}"
        ready[name] = compile_batch(count, num_epochs, devices)
        compile_seconds.append(time.perf_counter() - began)
    times = pd.DataFrame(interleave(ready, repeats))
    table = (
        pd.DataFrame(batches, columns=["against", "seeds", "devices"])
        .join(times)
        .assign(compile_seconds=compile_seconds)
    )
    return table.assign(networks_per_second=table["seeds"] / table["seconds"])


def draw(table: pd.DataFrame, num_epochs: int, repeats: int) -> Figure:
    """Draw networks per second against seeds and against devices, with the spread of repeats."""
    plotting.use_style()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    by_seeds, by_devices = (rows for _, rows in table.groupby("against", sort=False))
    for ax, x, rows in zip(axes, ("seeds", "devices"), (by_seeds, by_devices), strict=True):
        rate = rows["networks_per_second"]
        ends = [rate - rows["seeds"] / rows["most"], rows["seeds"] / rows["least"] - rate]
        ax.errorbar(rows[x], rate, yerr=np.clip(ends, 0, None), fmt="o-", capsize=3, label="measured")
        ax.set_xscale("log", base=10 if x == "seeds" else 2)
        ax.set_xticks(rows[x])
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[1].xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    first = by_devices.iloc[0]
    ideal = first["networks_per_second"] * by_devices["devices"] / first["devices"]
    axes[1].plot(by_devices["devices"], ideal, "--", color=plotting.COLORS[-1], lw=1, label="in proportion")
    axes[1].legend()
    devices = by_seeds["devices"].iloc[0]
    axes[0].set(xlabel=f"seeds (on {devices} devices)", ylabel="networks per second", ylim=(0, None))
    axes[1].set(xlabel=f"devices ({first['seeds']:,} seeds)")
    epochs = "1 epoch" if num_epochs == 1 else f"{num_epochs} epochs"
    figure.suptitle(f"Networks of the dying-ReLU study trained for {epochs} (median, least and most of {repeats})")
    return figure
