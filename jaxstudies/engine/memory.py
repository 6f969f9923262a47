"""How much memory a program takes, and how much there is: the system would end a process that takes more."""

import contextlib
import math
import os
from pathlib import Path

import jax

from jaxstudies.engine.devices import Devices

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


def left_on(accelerators: Devices) -> float:
    """Return the bytes that may still be taken of each one's own memory, infinity where none says so."""
    stats = [device.memory_stats() or {} for device in accelerators]
    return max(min(float(one.get("bytes_limit", math.inf)) - one.get("bytes_in_use", 0) for one in stats), 1.0)


def check(compiled: jax.stages.Compiled, devices: Devices) -> None:
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
        there = left_on(devices)
    if needed > there:
        raise TooLarge(needed, there)
