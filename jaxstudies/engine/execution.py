"""How a design is run: how many runs at once, and so how it is cut into blocks."""

import math
from typing import NamedTuple

from jaxstudies.engine.blocks import Plan, make_plans, runs_for_steps
from jaxstudies.engine.design import Design
from jaxstudies.engine.devices import Devices

RUNS_PER_CPU = 512
"""Runs per CPU core and block, so that tiny networks stay within the caches; a study of larger runs says so."""

RUNS_PER_ACCELERATOR = 8192
"""Runs per accelerator and block, fewer where its memory does not hold them: a guess, not tuned on one yet."""

MOST_CHUNKS = 10**6
"""Chunks of a run, each of which is a file until the run is whole."""


class Execution(NamedTuple):
    """How a design is run; none of it changes results beyond rounding."""

    chunk_size: int | None = None
    """Runs at once, which bounds the memory; chosen by default."""
    num_devices: int | None = None
    """Devices used; all by default."""
    runs_per_device: int | None = None
    """Runs at once on each device of a CPU, if `chunk_size` is not given."""
    progress: bool = True
    """Whether a bar shows how far it is."""
    ahead: bool = False
    """Whether programs are compiled in threads, ahead of their turn. There, what JAX is set to for the calling thread
    alone, as by `with jax.enable_x64()`, does not count."""

    def runs_at_once(self, devices: Devices) -> int:
        """Return how many runs are made at once."""
        on_cpu = devices[0].platform == "cpu"
        each = (self.runs_per_device or RUNS_PER_CPU) if on_cpu else RUNS_PER_ACCELERATOR
        return self.chunk_size or each * len(devices)

    def plans(self, design: Design, num_seeds: int, first_seed: int, devices: Devices) -> tuple[list[Plan], int]:
        """Return how a design is cut, and the runs at once by which it can be cut so again.

        Raises:
            ValueError: There are more chunks than a directory and a list of them can hold.
        """
        runs, number = self.runs_at_once(devices), len(devices)
        plans = make_plans(design, num_seeds, runs, number, first_seed)
        if self.chunk_size is None and devices[0].platform == "cpu":  # elsewhere a launch costs the same for few runs
            runs = runs_for_steps(plans, runs, number)
            plans = make_plans(design, num_seeds, runs, number, first_seed)
        if (chunks := sum(math.prod(plan.counts()) for plan in plans)) > MOST_CHUNKS:
            raise ValueError(
                f"chunk_size {runs:,}: {chunks:,} chunks; a larger one makes fewer, of {MOST_CHUNKS:,} at most"
            )
        return plans, runs


DEFAULT = Execution()
