"""Whether the main job comes out alike on this device and on the CPU, run for run."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from unittest import mock

import numpy as np

from benchmarks.kernels import allowing
from benchmarks.parts import Extent, Job, Row, surroundings
from benchmarks.timing import compile_block
from jaxstudies.engine import tracing
from jaxstudies.engine.devices import choose_devices
from jaxstudies.evidence.intervals import wilson
from jaxstudies.fused import choice
from jaxstudies.studies import dying_relu
from jaxstudies.study import from_module
from jaxstudies.tasks import task_of

CPU_SECONDS = 25.0
"""In which the CPU has run the main job, if it does."""


@contextlib.contextmanager
def by_default_precision() -> Iterator[None]:
    """Let XLA train inside, and matrix products round as JAX lets them by default."""
    with allowing(False), mock.patch.object(tracing, "full_precision", contextlib.nullcontext):
        yield


HERE: dict[str, Callable[[], AbstractContextManager]] = {
    "in kernels": contextlib.nullcontext,
    "by XLA": partial(allowing, False),
    "by XLA, default precision": by_default_precision,
}
"""How this device trains."""


def right(extent: Extent) -> Iterator[Job]:
    """Count the networks of the main job that collapse, on the CPU and here, and compare them run for run."""
    seeds, found = extent.of(2000), dict[str, Row]()

    def kept(way: str, count: Callable[[], Row]) -> Row:
        found[way] = count()
        return found[way]

    def here(within: Callable[[], AbstractContextManager]) -> Row:
        with within():
            return counts(seeds)

    yield {"way": "on the CPU"}, lambda: kept("on the CPU", lambda: counts_on_cpu(seeds, extent))
    for way, within in HERE.items():
        yield {"way": way}, partial(kept, way, partial(here, within))
        if {way, "on the CPU"} <= found.keys():
            yield {"compared": f"{way}, and on the CPU"}, partial(compared, found[way], found["on the CPU"])


def counts(seeds: int) -> Row:
    """Return how many ReLU networks collapse before and after training, and which, a bit for each in hexadecimal."""
    config = dying_relu.Config(seeds=seeds, activations=("relu",), long_epochs=0)
    task, devices = task_of(from_module(dying_relu), config, seeds), choose_devices()
    with choice.noting() as kernels:
        run, at_once = compile_block(task, devices)
    parts = [run(start)["collapsed"][:, 0] for start in range(0, seeds, at_once)]
    collapsed = np.concatenate(parts)[:seeds]
    row: Row = {"device": devices[0].device_kind, "kernels": any(kernels), "seeds": seeds}
    for when, which in (("born", collapsed[:, 0, 0]), ("trained", collapsed[:, 1, 0])):
        row |= {when: int(which.sum()), f"{when}_runs": np.packbits(which).tobytes().hex()}
    return row


def counts_on_cpu(seeds: int, extent: Extent) -> Row:
    """Return what `counts` does, of a process that uses the CPU."""
    code = (
        "import json, sys; from jaxstudies.engine import devices; devices.use_all_cores();"
        "from benchmarks import outcomes; print(json.dumps(outcomes.counts(int(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(seeds)],
        env=surroundings() | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=min(CPU_SECONDS, extent.left()),
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:])
    return json.loads(done.stdout.splitlines()[-1])


def compared(one: Row, other: Row) -> Row:
    """Return in how many runs two differ, and whether the intervals of the shares after training overlap."""
    row: Row = {f"{when}_differ": differing(one[f"{when}_runs"], other[f"{when}_runs"]) for when in ("born", "trained")}
    (_, low, high), (_, low_other, high_other) = (wilson(each["trained"], each["seeds"]) for each in (one, other))
    return row | {"of": one["seeds"], "intervals_overlap": low <= high_other and low_other <= high}


def differing(one: str, other: str) -> int:
    """Return in how many bits two hexadecimal numbers differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
