"""Whether networks are trained in a kernel: the rule, who overrides it, and what was chosen."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax

from jaxstudies.fused import build
from jaxstudies.fused.kernel import Kernel

PLATFORMS = {"cpu": "cpu", "gpu": "cuda"}
"""What XLA calls the platforms that have kernels, by backend."""
MOST_STATEMENTS = 12_000
"""One of 10,348 took 9.5 seconds to compile (gcc 12, AMD EPYC), one of 19,228 took 38, see `scripts/benchmark.py
accelerator`."""
MOST_ON_CARD = 200
"""Parameters of a network whose own and whose gradients one thread holds: of 193 a kernel was the faster (H200), of 289
XLA, see `scripts/benchmark.py accelerator`."""
MOST_OF_ITS_OWN = 8
"""Numbers of an example that each network has of its own, on a CPU: to lay many of them side by side takes as long as
what is gained by it."""
LEAST_GAIN = 3
"""Times as fast as XLA that a kernel is at least expected to be: of seven models that the rule lets in, six were 3.7 to
10.8 times as fast on one core, see `scripts/benchmark.py accelerator`."""
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
    if kernel.num_statements > MOST_STATEMENTS:
        return f"{kernel.num_statements:,} operations are too many to compile, of {MOST_STATEMENTS:,}"
    if platform() == "cuda" and num_params > MOST_ON_CARD:
        return f"{num_params:,} parameters are more than the {MOST_ON_CARD} that pay on a card"
    return None


def is_debugged() -> bool:
    """Return whether JAX is told to run operation by operation, or to look at each number."""
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
