"""The devices that runs are spread over."""

import contextlib
import math
import os

import jax
import numpy as np
from jax.sharding import Mesh

from jaxstudies.engine.blocks import Size
from jaxstudies.errors import Notice, warn

Devices = list[jax.Device]
"""Devices of one platform, as `jax.local_devices()` lists them."""


OPTION = "jax_num_cpu_devices"


class CoresUnused(Notice):
    """JAX had started before each core could be made a device."""


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_chosen() -> bool:
    """Return whether the number of CPU devices is chosen: by an option or the environment, or here."""
    forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    return forced or getattr(jax.config, OPTION) != -1


def use_all_cores() -> None:
    """Make JAX see each CPU core as a device, unless it is told how many; without effect once it has started."""
    if not is_chosen():
        with contextlib.suppress(RuntimeError):
            jax.config.update(OPTION, num_cores())


def choose_devices(num_devices: int | None = None) -> Devices:
    """Return the first `num_devices` local devices, or all; raise ValueError if there are fewer."""
    use_all_cores()
    devices = jax.local_devices()
    if not is_chosen() and devices[0].platform == "cpu" and len(devices) < num_cores():
        warn(
            f"JAX had computed something before jaxstudies was imported, so that 1 of {num_cores()} cores is used: "
            f"import jaxstudies first, or set JAX_NUM_CPU_DEVICES={num_cores()}",
            CoresUnused,
        )
    if num_devices is not None and not 1 <= num_devices <= len(devices):
        raise ValueError(f"num_devices {num_devices}: from 1 to {len(devices)}, those present")
    return devices[:num_devices]


def make_mesh(size: Size, devices: Devices) -> Mesh:
    """Spread seeds over the devices, or, where they are fewer, settings as well."""
    over_seeds = math.gcd(size.seeds, len(devices))
    grid = np.array(devices).reshape(over_seeds, -1)
    return Mesh(grid, ("seeds", "settings"))
