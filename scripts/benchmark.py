"""Time training against peers, side by side in one run.

Timed are the dying-ReLU Monte Carlo, a step of LeNet-5, an epoch of depth against width, and the
time to start.

Peers that are not installed are listed as skipped: `pip install -e ".[peers]"` brings them. Repeats
are interleaved, so that a machine that slows down slows all of them. Loops over networks are timed
on one network and multiplied, which the table says.

`benchmark.py scaling` measures networks per second against seeds and against devices instead,
`benchmark.py trainability` those of the map of learning rates against plain maps, and `benchmark.py accelerator` what
kernels and XLA do on an accelerator, or, a hundredth of it, here.
"""

import sys
import textwrap
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxstudies.commands import endings

with endings.explained("benchmark", after=""):  # Ctrl-C while they are imported is one line
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd
    from annotated_types import Ge, Interval
    from matplotlib.figure import Figure

    from benchmarks import accelerator, planes, scaling, timing
    from benchmarks.peers import CONTESTANTS
    from benchmarks.steps import IMAGES
    from jaxstudies.commands import flags
    from jaxstudies.commands.endings import UsageError
    from jaxstudies.engine import devices
    from jaxstudies.output import files, owned, plotting
    from jaxstudies.output.files import writing


Part = Literal["right", "whole", "rates", "sizes", "peers", "torch", "commands", "compiling", "choices", "models"]
"""What `accelerator` measures, in this order."""


@dataclass(frozen=True)
class Options:
    """What is timed and where the results go."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 1000
    """Networks trained on 3,000 points each."""
    epochs: Annotated[int, Ge(1)] = 20
    """Passes of each network through its points."""
    repeats: Annotated[int, Ge(1)] = 3
    """Repeats of everything."""
    out: Path = Path("results/benchmark")
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
    out: Path = Path("results/benchmark")
    """Directory for scaling.json, scaling.csv and scaling.png."""
    json: Path | None = None
    """File for the JSON, instead of --out; table and figure go beside it, under its name."""


@dataclass(frozen=True)
class TrainabilityOptions:
    """What is trained and where the results go."""

    points: Annotated[int, Interval(ge=2, le=4096)] = 32
    """Points along each side of a window, a power of two: a network is trained at each."""
    spans: tuple[Annotated[float, Interval(gt=0, le=30)], ...] = (3.0, 0.3)
    """Sides of the windows, in decades of learning rates."""
    steps: Annotated[int, Ge(20)] = 500
    """Steps of gradient descent."""
    repeats: Annotated[int, Ge(1)] = 3
    """Repeats of everything."""
    out: Path = Path("results/benchmark")
    """Directory for trainability.json, trainability.csv and trainability.png."""
    json: Path | None = None
    """File for the JSON, instead of --out; table and figure go beside it, under its name."""


Timed = Options | ScalingOptions | TrainabilityOptions
"""Options of what leaves a table and a figure."""


@dataclass(frozen=True)
class AcceleratorOptions:
    """Where the results go."""

    out: Path = Path("results/benchmark")
    """Directory for accelerator.json."""
    only: tuple[Part, ...] | None = None
    """Parts, if not all. right: the main job's outcomes here and on the CPU. whole, sizes, models: kernels and XLA, by
    chunk, number and kind of networks. rates: studies by chunk. peers, torch: a plain vmap, torch.func. commands: whole
    commands, cold and with what they compiled before. compiling: what it consists of. choices: what was chosen on a
    CPU, and what not."""


def measure(options: Options) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per contestant, and the names of those that are not installed.

    Preparing is compiling for JAX, importing and building networks for the others.

    Raises:
        UsageError: None is installed.
    """
    devices.choose_devices()  # starts JAX, at nobody's expense
    ready, skipped, prepared = {}, [], []
    for name in [n for n in CONTESTANTS if options.only is None or n in options.only]:
        began = time.perf_counter()
        try:
            ready[name] = CONTESTANTS[name][1](options.seeds, options.epochs)
        except ImportError as error:
            skipped.append(f"{name} ({error.name})")
            continue
        prepared.append(time.perf_counter() - began)
    if not ready:
        raise UsageError(f"--only: not installed: {', '.join(skipped)}")
    rows = [{"task": CONTESTANTS[name][0], "contestant": name} for name in ready]
    table = pd.DataFrame(rows).join(pd.DataFrame(timing.interleave(ready, options.repeats)))
    ratio = table["seconds"] / table.groupby("task")["seconds"].transform("first")
    return table.assign(prepare_seconds=prepared, ratio=ratio), skipped


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
        color = plotting.COLORS[0 if row["contestant"].startswith("jaxstudies") else 1]
        ax.errorbar(ratio, y, xerr=[[ratio - low], [high - ratio]], fmt="o", capsize=4, ms=5, color=color)
        text = f"{number(ratio)} x ({duration(row['seconds'])})"
        box = {"fc": "white", "ec": "none", "pad": 0.5}
        ax.annotate(text, (high, y), (9, 0), textcoords="offset points", va="center", bbox=box)
    ax.axvline(1, color="0.7", lw=0.8, zorder=0)
    ax.set_yticks(range(len(table)), table["contestant"])
    ax.set(xscale="log", xlim=(0.3, 60 * table["ratio"].max()))
    ax.set_xlabel("time relative to the first of its task (median, least and most)")
    for edge in np.flatnonzero(table["task"] != table["task"].shift())[1:]:
        ax.axhline(edge - 0.5, color="0.85", lw=0.8)
    ax.set_ylim(len(table) - 0.5, -0.5)
    sizes = {
        "dying ReLU": f"{options.seeds:,} networks x {options.epochs} epochs",
        "LeNet-5 step": f"of {IMAGES} images",
    }
    told = [f"{task} ({sizes[task]})" if task in sizes else task for task in table["task"].unique()]
    figure.suptitle(textwrap.fill(f"{'; '.join(told)}: {options.repeats} repeats", 70))
    return figure


def path_of(name: str, options: Timed) -> Path:
    """Return where the JSON goes; table and figure go beside it.

    Raises:
        UsageError: It cannot go there.
        DirectoryError: Nothing can be written there, or files that are not ours are in the way.
    """
    path = options.json or options.out / f"{name}.json"
    if options.json is not None:
        if options.json.is_dir():
            raise UsageError(f"--json {options.json}: is a directory; name a file")
        if not options.json.parent.is_dir():
            raise UsageError(f"--json {options.json}: there is no {options.json.parent}")
    beside = [f"{path.stem}.csv", f"{path.stem}.png"]
    owned.prepare(path.parent, beside if options.json else [path.name, *beside])
    return path


def write(path: Path, options: Timed, table: pd.DataFrame, figure: Figure, skipped: list[str]) -> None:
    """Print the results and write them as JSON, table and figure."""
    described = timing.describe()
    print(", ".join(f"{name} {value}" for name, value in described.items() if value is not None))
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    if skipped:
        print(f"skipped, not installed: {', '.join(skipped)}")
    asked = {k: v for k, v in asdict(options).items() if k not in ("out", "json")}
    content = {"machine": described, "options": asked, "results": table.to_dict("records")}
    out = path.parent
    with writing(out):
        for name in (path.name, f"{path.stem}.csv", f"{path.stem}.png"):
            owned.add(out, name)
        files.write_json(path, content | {"skipped": skipped})
        files.write_csv(out / f"{path.stem}.csv", table)
        plotting.save({path.stem: figure}, out)
    print(f"{path}, {out}/{path.stem}.csv, {out}/{path.stem}.png")


def compare(argv: list[str]) -> None:
    """Measure the engine against its peers."""
    shown = flags.explained(Options)
    options = flags.parse(shown, argv, prog="benchmark.py", description=__doc__ or "")
    for name in options.only or ():
        if name not in CONTESTANTS:
            known = ", ".join(f'"{name}"' for name in CONTESTANTS)
            raise UsageError(f"--only {name}: must be among {known}")
    path = path_of("benchmark", options)
    table, skipped = measure(options)
    write(path, options, table, draw(table, options), skipped)


def scale(argv: list[str]) -> None:
    """Measure the engine against seeds and devices."""
    shown, description = flags.explained(ScalingOptions), (scaling.__doc__ or "").strip()
    options = flags.parse(shown, argv, prog="benchmark.py scaling", description=description)
    o, path = options, path_of("scaling", options)
    table = scaling.measure(o.seeds, device_seeds=o.device_seeds, num_epochs=o.epochs, repeats=o.repeats)
    write(path, options, table, scaling.draw(table, o.epochs, o.repeats), [])


def map_trainability(argv: list[str]) -> None:
    """Measure the map of learning rates against plain maps."""
    shown, description = flags.explained(TrainabilityOptions), (planes.__doc__ or "").strip()
    options = flags.parse(shown, argv, prog="benchmark.py trainability", description=description)
    if options.points & (options.points - 1):
        raise UsageError(f"--points {options.points}: a power of two is needed, so that blocks are whole")
    o, path = options, path_of("trainability", options)
    table = planes.measure(o.points, o.spans, o.steps, o.repeats)
    write(path, options, table, planes.draw_rates(table, o.points, o.steps), [])


def accelerate(argv: list[str]) -> None:
    """Measure kernels and XLA on an accelerator."""
    shown, description = flags.explained(AcceleratorOptions), (accelerator.__doc__ or "").strip()
    options = flags.parse(shown, argv, prog="benchmark.py accelerator", description=description)
    owned.prepare(options.out, [accelerator.FILE])
    with writing(options.out):
        owned.add(options.out, accelerator.FILE)
    accelerator.measure(options.out, options.only)
    print(options.out / accelerator.FILE)


def main() -> None:
    """Measure, print and write; a mistake in the flags is one line and status 2."""
    argv = sys.argv[1:]
    devices.use_all_cores()
    with endings.explained("benchmark", endings.at_out, after=""):
        if argv[:1] == ["scaling"]:
            scale(argv[1:])
        elif argv[:1] == ["trainability"]:
            map_trainability(argv[1:])
        elif argv[:1] == ["accelerator"]:
            accelerate(argv[1:])
        else:
            compare(argv)


if __name__ == "__main__":
    main()
