"""Messages between processes that are connected by sockets, see `meeting`."""

import contextlib
import json
import selectors
import socket
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

HEADER = struct.Struct("!4sQ")
"""What comes before each message: the mark, and the message's length in bytes."""

MARK = b"jxs1"


class ClusterError(Exception):
    """Processes cannot share a run."""


class NotConnected(ClusterError):
    """Not all processes have come together."""


class ProcessGone(ClusterError):
    """A process has gone that was connected."""


class NotOurs(Exception):
    """Something else than a process of a run is at the other end."""


class Peers(NamedTuple):
    """A process and those that it is connected to."""

    index: int
    """Its number, from 0."""
    count: int
    """Number of processes."""
    sockets: dict[int, socket.socket]
    """Of process 0 to all others, by their numbers; of the others to process 0."""

    def close(self) -> None:
        """Part from the others."""
        for connected in self.sockets.values():
            connected.close()


def _exactly(connected: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connected.recv(min(size - len(received), 2**20))
        if not part:
            raise ConnectionError("closed")
        received += part
    return bytes(received)


def receive_message(connected: socket.socket, most: int | None = None) -> bytes:
    """Return the bytes of a message, of so many at most, or raise NotOurs."""
    mark, size = HEADER.unpack(_exactly(connected, HEADER.size))
    if mark != MARK or (most is not None and size > most):
        raise NotOurs
    return _exactly(connected, size)


def send_message(connected: socket.socket, content: bytes) -> None:
    """Send bytes as a message."""
    connected.sendall(HEADER.pack(MARK, len(content)))
    connected.sendall(content)


def send(connected: socket.socket, content: object) -> None:
    """Send a JSON-like object."""
    send_message(connected, json.dumps(content).encode())


def receive(connected: socket.socket, otherwise: type[ClusterError]) -> Any:
    """Return what process 0 says, or raise what it says that has gone wrong."""
    error, content = json.loads(receive_message(connected))
    if error is not None:
        raise otherwise(error)
    return content


def tell(others: list[socket.socket], error: ClusterError) -> None:
    """Tell others what they wait for in vain."""
    for connected in others:
        with contextlib.suppress(OSError):
            send(connected, [str(error), None])


@contextlib.contextmanager
def _present(peers: Peers, number: int) -> Iterator[socket.socket]:
    """Yield the socket to a process; if that has gone, say so in one line, to the others as well."""
    try:
        yield peers.sockets[number]
    except (OSError, NotOurs) as error:
        gone = ProcessGone(
            f"process {number} has gone; what is finished is kept, and the same command goes on from there"
        )
        if peers.index == 0:
            tell([connected for other, connected in peers.sockets.items() if other != number], gone)
        raise gone from error


def gather(peers: Peers, content: object) -> list[Any]:
    """Return the JSON-like objects of all processes on process 0, an empty list elsewhere; or raise ProcessGone."""
    if peers.index != 0:
        with _present(peers, 0) as connected:
            send(connected, content)
        return []
    told = {0: content}
    with selectors.DefaultSelector() as selector:
        for number, connected in peers.sockets.items():
            selector.register(connected, selectors.EVENT_READ, number)
        while len(told) < peers.count:
            for key, _ in selector.select():  # whoever goes is noticed first, not when it would be its turn
                with _present(peers, key.data) as connected:
                    told[key.data] = json.loads(receive_message(connected))
                selector.unregister(connected)
    return [told[number] for number in range(peers.count)]


def scatter(peers: Peers, contents: list[Any]) -> Any:
    """Return on each process the object that process 0 has for it, in a list that counts there alone.

    Raises:
        ProcessGone: Process 0 has gone, or says of another that it has.
    """
    if peers.index != 0:
        with _present(peers, 0) as connected:
            return receive(connected, ProcessGone)
    for number in peers.sockets:
        with _present(peers, number) as connected:
            send(connected, [None, contents[number]])
    return contents[0]


def broadcast(peers: Peers, content: object) -> Any:
    """Return the object of process 0 on every process, or raise ProcessGone."""
    return scatter(peers, [content] * peers.count)


def wait_for_all(peers: Peers) -> None:
    """Go on when every process has come here, or raise ProcessGone."""
    gather(peers, None)
    broadcast(peers, None)


def send_bytes(peers: Peers, number: int, content: bytes) -> None:
    """Send bytes to a process, or raise ProcessGone."""
    with _present(peers, number) as connected:
        send_message(connected, content)


def receive_bytes(peers: Peers, number: int) -> bytes:
    """Return bytes that a process sends, or raise ProcessGone."""
    with _present(peers, number) as connected:
        return receive_message(connected)
