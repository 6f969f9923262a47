"""Where a result comes from: names for content, the versions, the commit."""

import contextlib
import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

import jaxstudies
from jaxstudies.engine.levels import is_weak

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
NUMERICAL = ("jax", "jaxlib", "flax", "optax")
"""Packages whose version decides numbers."""


def digest(content: object) -> str:
    """Return a short name for a JSON-like object: equal objects, equal names."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def array_digest(arrays: PyTree) -> str:
    """Return a name for the content of arrays in any structure."""
    leaves, structure = jax.tree.flatten(arrays)
    total = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        is_key = isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        total.update(f"{leaf.dtype if is_key else array.dtype}{array.shape}{'weak' * is_weak(leaf)}".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # of 8 and 16 bits, floats have none
    return total.hexdigest()[:16]


def environment() -> dict[str, str | None]:
    """Return versions, machine and commit: what else a result depends on."""
    return {
        "jaxstudies": jaxstudies.__version__,
        "commit": commit_here(),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        **{package: version(package) for package in PACKAGES},
        "device_kind": jax.devices()[0].device_kind,
    }


def other_versions(of_table: Mapping[str, str | None]) -> str:
    """Return in words how the versions that wrote a table differ from those here, if they do."""
    here = {package: version(package) for package in NUMERICAL}
    return ", ".join(f"{p} {of_table[p]} (here {v})" for p, v in here.items() if of_table.get(p, v) != v)


def commit_here() -> str | None:
    """Return the commit of the code that runs, if it is in a checkout."""
    return commit(Path(jaxstudies.__file__).parent.parent)


def commit(root: Path) -> str | None:
    """Return the commit of the checkout at `root`, `-dirty` if it was changed."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        if (root / ".git").exists():
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return None
