"""What an accelerator does: networks trained per second in kernels and by XLA, and whether their numbers are right.

Everything shrinks to a hundredth where there is no accelerator. Each part is measured by a process of its own, which is
ended at its limit of time and has then lost nothing but the row that it was at. A later run with the same --out renews
the parts that it measures and leaves the others. Images are MNIST's where JAXSTUDIES_DATA_DIR says where they are, else
scikit-learn's digits.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import choices, commands, kernels, outcomes, parts, peers, programs, timing
from benchmarks.parts import Part
from jaxstudies.commands.endings import UsageError
from jaxstudies.fused import choice
from jaxstudies.networks.originals import DATA_DIR_VARIABLE
from jaxstudies.output import files

FILE = "accelerator.json"
PARTS: dict[str, tuple[Part, float]] = {
    "right": (outcomes.right, 45),
    "whole": (kernels.whole, 35),
    "rates": (programs.rates, 60),
    "sizes": (kernels.sizes, 20),
    "peers": (peers.beside, 20),
    "torch": (peers.by_torch, 20),
    "commands": (commands.commands, 70),
    "compiling": (programs.compiling, 25),
    "choices": (choices.choices, 15),
    "models": (kernels.models, 20),
}
"""What is measured, and after how many seconds it is ended, with the start of its process; the most asked for first."""
MOST_SECONDS = 345.0
"""After which everything is ended."""
LEAST_SECONDS = 5.0
"""In which a part has hardly begun."""
START_SECONDS = 60.0
"""In which JAX has started, if it does."""
IMAGES_SECONDS = 40.0
"""In which MNIST is read, or made from its original files."""


def measure(out: Path, only: Sequence[str] | None = None) -> None:
    """Measure all parts or some, each in a process of its own: JAX does not start in this one.

    Raises:
        UsageError: JAX does not start, or not on the card that there is.
    """
    started, path = time.monotonic(), out / FILE
    chosen = [part for part in PARTS if only is None or part in only]
    machine = describe_in_a_process()
    parts.add(path, "machines", machine | {"parts": chosen})
    check(machine, shutil.which("nvidia-smi") is not None)
    scale = 0.01 if machine["backend"] == "cpu" else 1.0
    environment = {DATA_DIR_VARIABLE: ""} if prepared_images() == "digits" else {}
    for part in chosen:
        function, limit = PARTS[part]
        limit = min(limit, MOST_SECONDS - (time.monotonic() - started))
        if limit < LEAST_SECONDS:
            parts.add(path, part, {"cut": f"not begun, as all is ended after {MOST_SECONDS:g} s"})
            continue
        content = parts.read(path)
        files.write_json(path, content | {part: []})
        asked = str(path), part, function.__module__, function.__name__, str(scale), str(time.time() + limit)
        if ended := run("from benchmarks import parts; parts.main()", asked, limit, environment):
            parts.add(path, part, {"cut": ended})


def run(code: str, arguments: Sequence[str], limit: float, environment: dict[str, str]) -> str | None:
    """Run Python in a process, which is ended at the limit with all that it has started.

    Returns:
        Why it did not come to its own end, or None.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        environment = parts.surroundings() | {"TMPDIR": made} | environment
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, start_new_session=True)
        try:
            status = process.wait(limit)
            return f"ended with status {status}" if status else None
        except subprocess.TimeoutExpired:
            return f"after {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def describe_in_a_process() -> dict[str, Any]:
    """Return what `describe` does, of a process that is ended before anything is measured.

    Raises:
        UsageError: JAX does not start.
    """
    code = "import json; from benchmarks import accelerator; print(json.dumps(accelerator.describe()))"
    how: Any = {"env": parts.surroundings(), "capture_output": True, "text": True, "timeout": START_SECONDS}
    try:
        done = subprocess.run([sys.executable, "-c", code], **how)
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"JAX does not start within {START_SECONDS:g} s") from error
    if done.returncode:
        raise UsageError(f"JAX does not start: {(done.stderr.splitlines() or ['it says nothing'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def describe() -> dict[str, Any]:
    """Start JAX, and describe the machine and what is measured with."""
    machine = timing.describe() | {"backend": jax.default_backend(), "kernels": choice.missing() or "yes"}
    return machine | {"memory_bytes": (jax.devices()[0].memory_stats() or {}).get("bytes_limit")}


def prepared_images() -> str:
    """Return the name of the images that all can read, which are read once; digits stand in where MNIST cannot be."""
    code = f"from jaxstudies.networks import mnist; mnist.load({programs.DATASET!r})"
    return "digits" if run(code, (), IMAGES_SECONDS, {}) else programs.DATASET


def check(machine: dict[str, Any], has_card: bool) -> None:
    """Raise UsageError where JAX uses the CPU and was not told so, though there is a card."""
    if machine["backend"] == "cpu" and has_card and "cpu" not in os.environ.get("JAX_PLATFORMS", ""):
        raise UsageError(
            "nvidia-smi is there, but JAX uses the CPU: install jax[cuda13] or jax[cuda12], "
            "or set JAX_PLATFORMS=cpu to measure a hundredth on the CPU"
        )
