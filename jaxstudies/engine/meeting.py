"""Processes connected by sockets: process 0 waits at an address that all know, and the others come to it.

JAX's own runtime would connect them, too, but it ends a process, with a stack trace, when another does not come or has
gone; and nothing is computed together.
"""

import contextlib
import errno
import ipaddress
import json
import math
import os
import queue
import re
import selectors
import socket
import threading
import time

from jaxstudies.engine.sockets import NotConnected, NotOurs, Peers, receive, receive_message, scatter, send, tell

HOST = re.compile(r"(?=.{1,253}$)[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)

HELLO_BYTES = 100
ATTEMPT_SECONDS = 5.0
"""Silence of an address after which the next one, or the same again, is tried."""
NAME_SECONDS = 30
"""How long a host may be unknown: that of a process that has just started may be for a moment."""
HELLO_SECONDS = 2.0
GRACE_SECONDS = 5
"""Silence of process 0 beyond the time that it has named, after which it is not waited for any longer."""
PAUSE_SECONDS = 0.2
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 6}
"""A machine that is gone without a word is noticed after three minutes."""
NAMED = 5
"""Missing processes that are named, at most."""


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, or raise ValueError."""
    host, _, port = text.rpartition(":")
    with contextlib.suppress(ValueError):
        if not HOST.fullmatch(host):
            if (host[:1], host[-1:]) != ("[", "]"):
                raise ValueError
            host = str(ipaddress.IPv6Address(host[1:-1]))
        if re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535:
            return host, int(port)
    raise ValueError("must be HOST:PORT with a port from 1 to 65535, such as 10.0.0.1:8476 or [::1]:8476")


def meet(host: str, port: int, count: int, index: int, timeout: float) -> Peers:
    """Wait until all processes of a run are there, and connect them.

    Args:
        host: Where process 0 is, as the others find it.
        port: The port at which it waits.
        count: Number of processes.
        index: Which one this is.
        timeout: Seconds to wait for the others.

    Raises:
        NotConnected: Not all have come in time, one has gone again, two have the same number, or the port is in use.
    """
    sockets = _await_all(port, count, timeout) if index == 0 else {0: _join(host, port, count, index, timeout)}
    for connected in sockets.values():
        connected.settimeout(None)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):  # not everywhere
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    peers = Peers(index, count, sockets)
    if index == 0:
        scatter(peers, [None] * count)
    return peers


def _listen(port: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    try:
        family = socket.AF_INET6 if both else socket.AF_INET
        server = socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=both)
    except OSError as error:
        raise NotConnected(f"process 0 cannot listen at port {port} ({_reason(error)})") from error
    server.setblocking(False)
    return server


def _await_all(port: int, count: int, timeout: float) -> dict[int, socket.socket]:
    """Return a socket to every other process, by its number, once all have come."""
    deadline = time.monotonic() + timeout
    here: dict[int, socket.socket] = {}
    came: dict[int, socket.socket] = {}  # by file descriptor
    with _listen(port) as server, selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        try:
            while len(here) < count - 1:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready and time.monotonic() >= deadline:
                    raise NotConnected(f"{_missing(count, here)} within {timeout:g} s")
                for key, _ in ready:
                    if key.fileobj is server:
                        if (new := _accept(server)) is not None:
                            came[selector.register(new, selectors.EVENT_READ).fd] = new
                        continue
                    if key.data is not None:
                        raise NotConnected(_gone_early(key.data))
                    connected = came[key.fd]
                    try:
                        number = _greet(connected, count, here, deadline)
                    except NotOurs:  # somebody looks for open ports
                        selector.unregister(connected)
                        connected.close()
                    else:
                        selector.modify(connected, selectors.EVENT_READ, number)
                        here[number] = connected
        except NotConnected as error:
            tell(list(came.values()), error)
            raise
        finally:
            kept = here.values() if len(here) == count - 1 else ()
            for connected in came.values():
                if connected not in kept:
                    connected.close()
    return here


def _accept(server: socket.socket) -> socket.socket | None:
    """Return a socket to who has come, None if it has gone again."""
    try:
        connected, _ = server.accept()
    except (BlockingIOError, ConnectionError):
        return None
    except OSError as error:
        raise NotConnected(f"process 0 cannot be connected to more ({_reason(error)})") from error
    connected.settimeout(HELLO_SECONDS)
    return connected


def _gone_early(number: int) -> str:
    return f"process {number} has gone before all were connected"


def _greet(connected: socket.socket, count: int, here: dict[int, socket.socket], deadline: float) -> int:
    """Return the number of a process that has come, after telling it how long it may have to wait."""
    try:
        number, others = json.loads(receive_message(connected, HELLO_BYTES))
        if (type(number), type(others)) != (int, int):
            raise NotOurs
    except (ValueError, TypeError, OSError) as error:
        raise NotOurs from error
    if others != count:
        raise NotConnected(f"process {number} was told of {others} processes, and process 0 of {count}")
    if number in here or not 0 < number < count:
        raise NotConnected(f"two processes were told that they are process {number}")
    try:
        send(connected, [None, max(0, math.ceil(deadline - time.monotonic()))])
    except OSError as error:
        raise NotConnected(_gone_early(number)) from error
    return number


def _missing(count: int, here: dict[int, socket.socket]) -> str:
    names = [str(number) for number in range(1, count) if number not in here]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    one = len(names) == 1
    listed = ", ".join(names[:NAMED]) + more
    return f"process{'' if one else 'es'} {listed} of {count} {'has' if one else 'have'} not come to process 0"


def _join(host: str, port: int, count: int, index: int, timeout: float) -> socket.socket:
    """Return a socket to process 0, once all others have come there, too."""
    with contextlib.ExitStack() as undone:
        connected = undone.enter_context(_reach(host, port, timeout))
        where = f"process 0 at {_shown(host, port)}"
        connected.settimeout(timeout)
        try:
            send(connected, [index, count])
            timeout = receive(connected, NotConnected) + GRACE_SECONDS  # it is process 0 that says who has not come
            connected.settimeout(timeout)
            receive(connected, NotConnected)
        except NotOurs as error:
            raise NotConnected(f"{where}: something else answers there") from error
        except TimeoutError as error:
            raise NotConnected(f"{where} has not answered within {timeout:g} s") from error
        except OSError as error:
            raise NotConnected(f"{where} has closed the connection before all were connected") from error
        undone.pop_all()
    return connected


def _reach(host: str, port: int, timeout: float) -> socket.socket:
    """Return a socket to an address, at which there may be nobody yet."""
    began = time.monotonic()
    while True:
        limit, why = timeout, "it has no address"
        try:
            for found in _look_up(host, port, began + limit - time.monotonic()):
                try:
                    return _connect(found, min(ATTEMPT_SECONDS, began + limit - time.monotonic()))
                except OSError as error:
                    why = _reason(error)
        except OSError as error:
            why = _reason(error)
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
                limit = min(timeout, NAME_SECONDS)
        if time.monotonic() + PAUSE_SECONDS >= began + limit:
            raise NotConnected(f"no connection to process 0 at {_shown(host, port)} within {limit:g} s ({why})")
        time.sleep(PAUSE_SECONDS)


def _connect(found: tuple, seconds: float) -> socket.socket:
    """Return a socket to an address, as `getaddrinfo` gives it."""
    family, kind, protocol, _, address = found
    with contextlib.ExitStack() as undone:
        connected = undone.enter_context(socket.socket(family, kind, protocol))
        connected.settimeout(max(PAUSE_SECONDS, seconds))
        connected.connect(address)
        if connected.getsockname() == connected.getpeername():  # a port that nobody listens at can reach itself
            raise ConnectionRefusedError(errno.ECONNREFUSED, "itself")
        undone.pop_all()
    return connected


def _look_up(host: str, port: int, seconds: float) -> list[tuple]:
    """Return a host's addresses; where that takes too long, raise TimeoutError, as the call itself does not end."""
    answer: queue.SimpleQueue[list[tuple] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answer.get(timeout=max(0.0, seconds))
    except queue.Empty:
        raise TimeoutError("the name server does not answer") from None
    if isinstance(found, OSError):
        raise found
    return found


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    """Return what the system says of an error, without what Python adds."""
    if error.errno is None or isinstance(error, socket.gaierror):  # which has numbers of its own
        return error.strerror or str(error)
    return os.strerror(error.errno)
