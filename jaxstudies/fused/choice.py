"""Whether networks are trained in a kernel: the rule, who overrides it, and what was chosen."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax

from jaxstudies.fused import build
from jaxstudies.fused.kernel import Kernel

PLATFORMS = {"cpu": "cpu", "gpu": "cuda"}
"""What XLA calls the platforms that have kernels, by backend."""
MOST_UNROLLED = {"cpu": 64, "cuda": 200}
"""Parameters of a network up to which a kernel has no loops, by platform: of 61 straight lines were as fast, of
97 and more slower and up to twelve times as long to compile (gcc 12, AMD EPYC); a card keeps no array in registers."""
MOST_PARAMETERS = {"cpu": 2_000, "cuda": 200}
"""Parameters of a network up to which a kernel pays, by platform: of 1,761 one was twice as fast as XLA on one core, of
4,353 1.3 times; of 193 it was the faster on a card (H200), of 289 XLA, see `scripts/benchmark.py accelerator`."""
MOST_STATEMENTS = {"cpu": 2_500, "cuda": 12_000}
"""Statements up to which a kernel is soon enough compiled, by platform: one of 1,617 took 5 seconds (gcc 12, AMD EPYC),
one of 3,153 took 17."""
MOST_OF_ITS_OWN = 8
"""Numbers of an example that each network has of its own, on a CPU: to lay many of them side by side takes as long as
what is gained by it."""
LEAST_GAIN = 2
"""Times as fast as XLA that a kernel is at least expected to be: on one core networks of 13 to 193 parameters were
trained 6 to 16 times as fast, of 321 two to three times, of 1,761 2.0, see `scripts/benchmark.py accelerator`."""
ALLOWED: ContextVar[bool | None] = ContextVar("allowed", default=None)
"""Whether kernels may be used where `fit` is not told; None lets the rule decide."""
_NOTED: ContextVar[list[bool] | None] = ContextVar("noted", default=None)


def platform() -> str | None:
    """Return the platform of JAX's devices if it has kernels."""
    name = PLATFORMS.get(jax.default_backend())
    if name == "cuda" and "NVIDIA" not in jax.devices()[0].device_kind:
        return None
    return name


def objection(kernel: Kernel, num_params: int) -> str | None:
    """Return why a network is better trained by XLA, in words, or None."""
    here = platform() or "cpu"
    if kernel.num_statements > (most := MOST_STATEMENTS[here]):
        return f"{kernel.num_statements:,} operations are too many to compile, of {most:,}"
    if num_params > (most := MOST_PARAMETERS[here]):
        return f"{num_params:,} parameters are more than the {most:,} that pay here"
    return None


def is_rolled(num_params: int) -> bool:
    """Return whether the kernel of a network has loops."""
    return num_params > MOST_UNROLLED[platform() or "cpu"]


def is_debugged() -> bool:
    """Return whether JAX is told to stop at NaN or infinity, or to run operation by operation."""
    return any(getattr(jax.config, f"jax_{name}") for name in ("disable_jit", "debug_nans", "debug_infs"))


def note(compiled: bool = True) -> None:
    """Note for whoever listens that a kernel is part of what is compiled, or would be if there were a compiler."""
    if (heard := _NOTED.get()) is not None:
        heard.append(compiled)


@contextmanager
def noting() -> Iterator[list[bool]]:
    """Listen which kernels are part of what is compiled inside: True for each, False for one that no compiler makes."""
    heard: list[bool] = []
    token = _NOTED.set(heard)
    try:
        yield heard
    finally:
        _NOTED.reset(token)


def missing() -> str | None:
    """Return what is missing to compile kernels here, in words, or None."""
    try:
        build.compiler()
        if platform() == "cuda":
            build.check_cuda()
    except build.NoCompiler as error:
        return str(error)
    return None
