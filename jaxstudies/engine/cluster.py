"""Processes that share a run: whose which chunk is, and how all chunks come together.

The processes either know of nothing but a common directory, or are connected. Both ways each computes its own chunks,
alone and on its own devices, and keeps them as files; a run is put together from the files of all.
"""

import contextlib
import os
import re
import sys
from typing import NoReturn

import jax

from jaxstudies.engine import meeting, sockets
from jaxstudies.engine.chunks import Chunks
from jaxstudies.engine.sockets import ClusterError, NotConnected, Peers

CONNECT_SECONDS = 300
"""How long the processes wait for one another; nodes of a cluster do not start together."""

_connected: list[Peers] = []


def connect(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout: float = CONNECT_SECONDS,
) -> Peers:
    """Connect this process to the others of a run; what is None is found out by JAX.

    Args:
        coordinator: HOST:PORT of process 0.
        num_processes: Number of processes.
        process_id: Number of this one, from 0.
        timeout: Seconds to wait until all are there.

    Raises:
        NotConnected: No cluster is found, or the others do not come.
    """
    address, count, index = _find(coordinator, num_processes, process_id, timeout)
    try:
        host, port = meeting.parse_address(address)
    except ValueError as error:
        raise NotConnected(f"coordinator {address}: {error}") from error
    _connected[:] = [meeting.meet(host, port, count, index, timeout)]
    return _connected[0]


def leave(status: int) -> NoReturn:
    """End this process; where it is connected, at once: what JAX still computes may crash an orderly end."""
    if any(peer.fileno() != -1 for peers in _connected for peer in peers.sockets.values()):
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _find(
    coordinator: str | None, num_processes: int | None, process_id: int | None, timeout: float
) -> tuple[str, int, int]:
    """Return address, number of processes and which this is; take the GPUs that are meant for it."""
    address, count, index = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS"), num_processes, process_id
    local, why, ids = None, "", os.environ.get("JAX_LOCAL_DEVICE_IDS")
    try:
        # `jax.distributed.initialize` asks this, and goes on to connect; there is no public way to ask alone.
        from jax._src.clusters import ClusterEnv

        address, count, index, local = ClusterEnv.auto_detect_unset_distributed_params(
            address, count, index, [int(number) for number in ids.split(",")] if ids else None, None, int(timeout)
        )
    except Exception as error:  # from JAX's inside, and from whatever it asks
        why = f" ({[*str(error).splitlines(), type(error).__name__][0]})"
    if address is None or count is None or index is None:
        raise NotConnected(
            f"no cluster was found{why}; name its coordinator, the number of processes, and which is this"
        )
    if not 0 <= index < count:
        raise NotConnected(f"process_id {index}: must be from 0 to {count - 1}, less than the number of processes")
    if local:
        for platform in ("cuda", "rocm"):
            jax.config.update(f"jax_{platform}_visible_devices", ",".join(map(str, local)))
    return address, count, index


def agree(peers: Peers, content: object) -> None:
    """Check that a JSON-like object is the same on all processes, or raise ClusterError."""
    told = sockets.gather(peers, content)
    other = sockets.broadcast(peers, next((number for number, one in enumerate(told) if one != told[0]), None))
    if other is not None:
        raise ClusterError(
            f"process {other} has another configuration, code, data or version than process 0, "
            "another number of devices, or is to run afresh where the other is not"
        )


def bring_together(peers: Peers, chunks: Chunks) -> bool:
    """Wait for all processes, then copy to process 0 the chunks that it lacks and others have.

    Where the processes share a file system there is nothing to copy. Where one has gone, what each
    has finished stays where it is.

    Returns:
        Whether this process turned out to have chunks that process 0 does not see.
    """
    told = sockets.gather(peers, chunks.names())
    own = set(chunks.names())  # now that all are done
    coming: set[str] = set()
    asked: list[tuple[bool, list[str]]] = []
    for names in told:
        lacking = {name for name in names if re.fullmatch(r"[\w-]+", name)} - own
        asked.append((bool(lacking), sorted(lacking - coming)))
        coming |= lacking
    apart, wanted = sockets.scatter(peers, asked)
    if peers.index != 0:
        for name in wanted:
            sockets.send_bytes(peers, 0, chunks.content(name))
    else:
        for number in peers.sockets:
            for name in asked[number][1]:
                chunks.keep(name, sockets.receive_bytes(peers, number))
    sockets.broadcast(peers, None)  # all is kept: nobody removes anything before
    return apart
