"""Whole commands, in processes of their own: cold, and with what they compiled before, on the card and on the CPU."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.parts import Extent, Job, Row
from benchmarks.programs import IMAGES
from jaxstudies import compilation_cache

SCRIPTS = Path(__file__).parent.parent
COMMANDS: dict[str, tuple[str, ...]] = {
    "dying_relu": ("--seeds", "1000"),
    "perceptron": (),
    "order_chaos": IMAGES,
    "born_dead": (),
    "lenet": (*IMAGES, "--seeds", "20", "--epochs", "2"),
    "trainability": (),
    "depth_width": (),
}
"""Flags of the commands that are timed; the most used first, as time may end before the last."""
SHORT: dict[str, tuple[str, ...]] = {"dying_relu": ("--seeds", "10", "--epochs", "1", "--long-epochs", "0")}
"""What is timed instead where there is no accelerator."""
DEVICES: dict[str, dict[str, str]] = {"card": {}, "cpu": {"JAX_PLATFORMS": "cpu"}}
MOST_SECONDS = 60.0
"""For one command."""
TO_WRITE = 1.0
"""Seconds that are left to say that a command was ended."""


def commands(extent: Extent) -> Iterator[Job]:
    """Run each command cold and warm, here and on the CPU; what fails cold is not run warm."""
    for name, flags in (COMMANDS if extent.whole else SHORT).items():
        with tempfile.TemporaryDirectory() as made:
            for device in DEVICES if extent.whole else ("cpu",):
                done: list[Row] = []
                for how in ("cold", "warm"):
                    if how == "cold" or done:
                        about = {"command": name, "flags": " ".join(flags), "device": device, "how": how}
                        yield about, partial(command, name, flags, Path(made), device, how, extent, done)


def command(
    name: str, flags: tuple[str, ...], made: Path, device: str, how: str, extent: Extent, done: list[Row]
) -> Row:
    """Run a command, and say how long it took in all, to compile and to run."""
    out = made / f"{device}-{how}"
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, str(SCRIPTS / f"{name}.py"), *flags, "--out", str(out)],
        env=os.environ | {compilation_cache.VARIABLE: str(made / "cache")} | DEVICES[device],
        capture_output=True,
        text=True,
        timeout=max(min(MOST_SECONDS, extent.left() - TO_WRITE), TO_WRITE),
    )
    row: Row = {"seconds": time.perf_counter() - began}
    if ended.returncode:
        return row | {"failed": ended.stderr.strip()[-300:]}
    done.append(row)
    times = pd.read_csv(out / "times.csv")
    return row | {column: float(times[column].sum()) for column in ("compile_seconds", "run_seconds")}
