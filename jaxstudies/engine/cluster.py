"""Processes that share a run: whose which chunk is, and how all chunks come together.

The processes either know of nothing but a common directory, or JAX's distributed runtime connects them. Both ways each
computes its own chunks, alone and on its own devices, and keeps them as files; a run is put together from the files of
all.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxstudies.engine.chunks import Chunks
from jaxstudies.engine.shares import Share

HEARTBEAT_SECONDS = 3600
"""Silence after which the runtime ends all processes. A process that dies is noticed when the
files are brought together, by when the others have finished their shares."""


class ClusterError(Exception):
    """The processes cannot be connected, or one of them has gone."""


def connect(coordinator: str | None, num_processes: int | None, process_id: int | None) -> Share:
    """Connect this process to the others by JAX's runtime; what is None is found out by JAX.

    Raises:
        ClusterError: JAX finds no cluster, or the others do not answer.
    """
    # It would take SIGTERM for itself, after which a process goes on to the end.
    with contextlib.suppress(AttributeError):  # before it could be chosen
        jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
        # Connections are made by the first transfer, which waits half a minute, not longer.
        multihost_utils.sync_global_devices("connected")
    except ValueError as error:
        raise ClusterError(
            "no cluster was found; name its coordinator, the number of processes, and which is this"
        ) from error
    except RuntimeError as error:
        raise ClusterError(f"no connection ({str(error).splitlines()[0]})") from error
    return Share(jax.process_index(), jax.process_count())


def leave(status: int) -> NoReturn:
    """End this process; where it is connected, without waiting for the others."""
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Say in one line that another process does not answer."""
    try:
        yield
    except RuntimeError as error:
        raise ClusterError(
            "another process has gone; what is finished is kept, and the same command goes on from "
            f"there ({str(error).splitlines()[0]})"
        ) from error


def _broadcast_bytes(content: bytes, source: int) -> bytes:
    mine = jax.process_index() == source
    with _answered():
        size = multihost_utils.broadcast_one_to_all(np.int32(len(content)), is_source=mine)
        buffer = np.frombuffer(content, np.uint8) if mine else np.zeros(int(size), np.uint8)
        received = multihost_utils.broadcast_one_to_all(buffer, is_source=mine)
    return np.asarray(received).tobytes()


def broadcast(content: object, source: int = 0) -> Any:
    """Return the JSON-like object of one process on every process, or raise ClusterError."""
    return json.loads(_broadcast_bytes(json.dumps(content).encode(), source))


def agree(content: object) -> None:
    """Check that a JSON-like object is the same on all processes, or raise ClusterError."""
    for source in range(jax.process_count()):
        if broadcast(content, source) != broadcast(content):
            raise ClusterError(
                f"process {source} has another configuration, code, data or version than process 0, "
                "or another number of devices"
            )


def bring_together(chunks: Chunks) -> bool:
    """Wait for all processes, then copy to process 0 the chunks that it lacks and others have.

    Where the processes share a file system there is nothing to copy. Where one has gone, what each
    has finished stays where it is.

    Returns:
        Whether this process turned out to have chunks that process 0 does not see.
    """
    with _answered():
        multihost_utils.sync_global_devices("shares are done")
    own = chunks.names()
    there = set(broadcast(own))
    apart = not there.issuperset(own)
    for source in range(jax.process_count()):
        mine = jax.process_index() == source
        for name in sorted(set(broadcast(own, source)) - there):
            there.add(name)
            content = _broadcast_bytes(chunks.content(name) if mine else b"", source)
            if jax.process_index() == 0:
                chunks.keep(name, content)
    return apart
