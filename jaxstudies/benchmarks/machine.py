"""What a measurement was taken on: the machine, the versions and the day."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

PACKAGES = ("jax", "flax", "torch", "keras")
Description = dict[str, str | int | None]


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def package_version(package: str) -> str | None:
    """Return the version of a package, or nothing if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe() -> Description:
    """Describe the machine, with the device that JAX uses, and the versions."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "cores": cores(),
        "devices": len(jax.devices()),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        **{package: package_version(package) for package in PACKAGES},
    }


def line(description: Description) -> str:
    """Return a description as a line of text; what is not installed is left out."""
    return ", ".join(f"{name} {value}" for name, value in description.items() if value is not None)
