"""How much memory a program takes, and how much there is: the system would end a process that takes more."""

import contextlib
import math
import os
from collections.abc import Sequence
from pathlib import Path

import jax

GROUP = Path("/sys/fs/cgroup")
SYSTEM = Path("/proc/meminfo")


class TooLarge(MemoryError):
    """A program needs more memory than there is."""

    def __init__(self, needed: float, there: float):
        super().__init__(f"{needed / 1e9:.3g} GB are needed, and {there / 1e9:.3g} GB are there")
        self.times = needed / there
        """How many times as much as there is."""


def available() -> float:
    """Return the bytes of main memory that may still be taken, infinity where the system does not say."""
    there = [math.inf]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        line = next(line for line in SYSTEM.read_text().splitlines() if line.startswith("MemAvailable:"))
        there.append(1024.0 * int(line.split()[1]))
    with contextlib.suppress(OSError, ValueError):  # of a container; "max" is no number
        there.append(float(int((GROUP / "memory.max").read_text())) - int((GROUP / "memory.current").read_text()))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        there.append(float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES"))
    return max(min(there), 1.0)


def left_on(device: jax.Device) -> float:
    """Return the bytes of an accelerator's own memory that may still be taken, infinity where it does not say."""
    stats = device.memory_stats() or {}
    return max(float(stats.get("bytes_limit", math.inf)) - stats.get("bytes_in_use", 0), 1.0)


def check(compiled: jax.stages.Compiled, devices: Sequence[jax.Device]) -> None:
    """Raise TooLarge where a program needs more than there is: on all CPU devices together, on each accelerator.

    An accelerator would say so itself, but not by how much: each smaller size would be compiled to be tried.
    """
    stats = compiled.memory_analysis()
    if stats is None:
        return
    needed = float(stats.temp_size_in_bytes + stats.output_size_in_bytes)
    if devices[0].platform == "cpu":
        needed, there = len(devices) * needed, available()
    else:
        there = min(map(left_on, devices))
    if needed > there:
        raise TooLarge(needed, there)
