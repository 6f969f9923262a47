"""Time training against peers, side by side in one run.

Timed are the dying-ReLU Monte Carlo, a step of LeNet-5, an epoch of depth against width, and the
time to start.

Peers that are not installed are listed as skipped: `pip install -e ".[peers]"` brings them. Repeats
are interleaved, so that a machine that slows down slows all of them. Loops over networks are timed
on one network and multiplied, which the table says.

`benchmark.py scaling` measures networks per second against seeds and against devices instead.
"""

import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from annotated_types import Ge, Interval
from matplotlib.figure import Figure

from jaxstudies import cli, flags, monte_carlo, plotting, results
from jaxstudies.benchmarks import machine, scaling
from jaxstudies.benchmarks.peers import CONTESTANTS
from jaxstudies.benchmarks.steps import IMAGES


@dataclass(frozen=True)
class Options:
    """What is timed and where the results go."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 1000
    """Networks trained on 3,000 points each."""
    epochs: Annotated[int, Ge(1)] = 20
    """Passes of each network through its points."""
    repeats: Annotated[int, Ge(1)] = 3
    """Repeats of everything."""
    out: Path = Path("figures/benchmark")
    """Directory for benchmark.json, benchmark.csv and benchmark.png."""
    json: Path | None = None
    """File for the JSON, instead of --out; table and figure go beside it, under its name."""
    only: tuple[str, ...] | None = None
    """Names of contestants, if not all."""


@dataclass(frozen=True)
class ScalingOptions:
    """What is timed to see how the engine scales."""

    seeds: tuple[Annotated[int, Interval(ge=1, le=10**7)], ...] = (100, 1000, 10_000, 100_000)
    """Sizes of the batches trained on all devices."""
    device_seeds: Annotated[int, Interval(ge=1, le=10**7)] = 2048
    """Size of the batch trained on 1, 2, 4, ... devices."""
    epochs: Annotated[int, Ge(1)] = 20
    """Passes of each network through its points."""
    repeats: Annotated[int, Ge(1)] = 3
    """Repeats of everything."""
    out: Path = Path("figures/benchmark")
    """Directory for scaling.json, scaling.csv and scaling.png."""
    json: Path | None = None
    """File for the JSON, instead of --out; table and figure go beside it, under its name."""


def measure(options: Options) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per contestant, and the names of those that are not installed.

    Preparing is compiling for JAX, importing and building networks for the others.
    """
    monte_carlo.choose_devices()  # starts JAX, at nobody's expense
    ready, skipped, prepared = {}, [], {}
    for name, (_, prepare) in CONTESTANTS.items():
        if options.only is not None and name not in options.only:
            continue
        began = time.perf_counter()
        try:
            ready[name] = prepare(options.seeds, options.epochs)
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


def number(x: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def duration(seconds: float) -> str:
    """Return seconds as text, in milliseconds where they are few."""
    return f"{number(1000 * seconds)} ms" if seconds < 0.1 else f"{number(seconds)} s"


def draw(table: pd.DataFrame, options: Options) -> Figure:
    """Draw each contestant's time over that of the first of its task."""
    plotting.use_style()
    figure, ax = plt.subplots(figsize=(8.5, 1.2 + 0.36 * len(table)))
    for y, row in enumerate(table.to_dict("records")):
        first, ratio = row["seconds"] / row["ratio"], row["ratio"]
        low, high = row["least"] / first, row["most"] / first
        own = row["contestant"].startswith("jaxstudies")
        ax.errorbar(
            ratio, y, xerr=[[ratio - low], [high - ratio]], fmt="o", capsize=4, ms=5,
            color=plotting.COLORS[0 if own else 1],
        )  # fmt: skip
        text = f"{number(ratio)} x ({duration(row['seconds'])})"
        ax.annotate(
            text, (high, y), (9, 0), textcoords="offset points", va="center",
            bbox={"fc": "white", "ec": "none", "pad": 0.5},
        )  # fmt: skip
    ax.axvline(1, color="0.7", lw=0.8, zorder=0)
    ax.set_yticks(range(len(table)), table["contestant"])
    ax.set(
        xscale="log", xlim=(0.3, 60 * table["ratio"].max()),
        xlabel="time relative to the first of its task (median, least and most)",
    )  # fmt: skip
    for edge in np.flatnonzero(table["task"] != table["task"].shift())[1:]:
        ax.axhline(edge - 0.5, color="0.85", lw=0.8)
    figure.suptitle(
        f"{options.seeds:,} networks x {options.epochs} epochs; a step of LeNet-5 on {IMAGES} "
        f"images;\nan epoch of depth against width; imports ({options.repeats} repeats)"
    )
    ax.invert_yaxis()
    return figure


def check(options: Options | ScalingOptions) -> None:
    """Check what the flags name.

    Raises:
        UsageError: A contestant is unknown, or a file cannot be written.
    """
    for name in getattr(options, "only", None) or ():
        if name not in CONTESTANTS:
            known = ", ".join(f'"{name}"' for name in CONTESTANTS)
            raise flags.UsageError(f"--only {name}: must be among {known}")
    if options.json is None:
        cli.check_writable(options.out)
    else:
        if options.json.is_dir():
            raise flags.UsageError(f"--json {options.json}: is a directory; name a file")
        if not options.json.parent.is_dir():
            raise flags.UsageError(f"--json {options.json}: there is no {options.json.parent}")


def write(
    name: str,
    options: Options | ScalingOptions,
    table: pd.DataFrame,
    figure: Figure,
    skipped: list[str],
) -> None:
    """Print the results and write them as JSON, table and figure."""
    described = machine.describe()
    print(machine.line(described))
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    if skipped:
        print(f"skipped, not installed: {', '.join(skipped)}")
    asked = {k: v for k, v in asdict(options).items() if k not in ("out", "json")}
    content = {
        "machine": described,
        "options": asked,
        "results": table.to_dict("records"),
        "skipped": skipped,
    }
    path = options.json or options.out / f"{name}.json"
    out = path.parent
    with cli.reported(out):
        results.write_json(path, content)
        results.write_table(out / f"{path.stem}.csv", table)
        plotting.save({path.stem: figure}, out)
    print(f"{path}, {out}/{path.stem}.csv, {out}/{path.stem}.png")


def compare(argv: list[str]) -> None:
    """Measure the engine against its peers."""
    options = flags.parse(
        flags.explained(Options), argv, prog="benchmark.py", description=__doc__ or ""
    )
    check(options)
    table, skipped = measure(options)
    write("benchmark", options, table, draw(table, options), skipped)


def scale(argv: list[str]) -> None:
    """Measure the engine against seeds and devices."""
    description = (scaling.__doc__ or "").strip()
    options = flags.parse(
        flags.explained(ScalingOptions), argv, prog="benchmark.py scaling", description=description
    )
    check(options)
    table = scaling.measure(
        options.seeds,
        device_seeds=options.device_seeds,
        num_epochs=options.epochs,
        repeats=options.repeats,
    )
    write("scaling", options, table, scaling.draw(table, options.epochs, options.repeats), [])


def main() -> None:
    """Measure, print and write; a mistake in the flags is one line and status 2."""
    argv = sys.argv[1:]
    monte_carlo.use_all_cores()
    try:
        if argv[:1] == ["scaling"]:
            scale(argv[1:])
        else:
            compare(argv)
    except flags.UsageError as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
