"""Processes that come together, here as threads: whatever goes wrong is said by all of them, in time."""

import contextlib
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxstudies.engine import cluster, meeting, sockets
from jaxstudies.engine.chunks import Chunks
from jaxstudies.engine.sockets import ClusterError, ProcessGone

HANG = 60
"""Seconds after which a test has failed."""


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def together(*calls) -> list:
    """Call functions at the same time; return what each returns or raises."""

    def outcome(call):
        try:
            return call()
        except ClusterError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(HANG) for future in [pool.submit(outcome, call) for call in calls]]


def gathering(port, *members, timeout=0.5):
    """Let processes meet, each (index, count)."""
    return together(*(partial(meeting.meet, "127.0.0.1", port, count, index, timeout) for index, count in members))


@contextlib.contextmanager
def connected(count):
    """Yield processes that have met."""
    peers = gathering(free_port(), *((index, count) for index in range(count)), timeout=HANG)
    try:
        yield peers
    finally:
        for one in peers:
            one.close()


@contextlib.contextmanager
def answering(answer: bytes | None = None):
    """Yield a port at which something answers everyone, or nothing ever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(answer: bytes):
            with contextlib.suppress(OSError):
                while True:
                    came, _ = server.accept()
                    with came:
                        came.recv(1000)
                        came.sendall(answer)

        if answer is not None:
            threading.Thread(target=serve, args=[answer], daemon=True).start()
        yield server.getsockname()[1]


@given(st.one_of(st.text(), st.from_regex(r"[\[\]a-z.:\d-]{0,20}:-?\d{0,6}", fullmatch=True)))
def test_an_address_is_one_or_refused(text):
    with contextlib.suppress(ValueError):
        host, port = meeting.parse_address(text)
        assert host and 1 <= port <= 65535 and text.endswith(f":{port:0{len(text.rpartition(':')[2])}d}")


NO_ADDRESSES = ["", "garbage", "host", "host:", ":8476", "host:0", "host:99999", "host:-1", "a b:1", "::1:80", "[::1]"]
NO_ADDRESSES += ["[::1", "[host]:80", "x" * 5000, "x" * 5000 + ":1", "h:１", "h:1\n"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:8476", ("10.0.0.1", 8476)),
        ("node-1.cluster:1", ("node-1.cluster", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
        *((text, None) for text in NO_ADDRESSES),
    ],
)
def test_addresses(text, address):
    if address:
        assert meeting.parse_address(text) == address
    else:
        with pytest.raises(ValueError, match="HOST:PORT"):
            meeting.parse_address(text)


def test_all_hear_of_all():
    with connected(4) as peers:
        assert [one.index for one in peers] == [0, 1, 2, 3]
        told = together(*(partial(sockets.gather, p, {"from": p.index}) for p in peers))
        assert told == [[{"from": number} for number in range(4)], [], [], []]
        assert together(*(partial(sockets.broadcast, p, p.index + 7) for p in peers)) == [7] * 4
        assert together(*(partial(sockets.scatter, p, list("abcd")) for p in peers)) == list("abcd")
        much = bytes(range(256)) * 40_000
        _, received = together(
            partial(sockets.send_bytes, peers[2], 0, much), partial(sockets.receive_bytes, peers[0], 2)
        )
        assert received == much


def test_nobody_goes_on_alone():
    """Before all have come."""
    here = []
    with connected(3) as peers:
        waiting = [threading.Thread(target=lambda p=p: here.append(sockets.wait_for_all(p))) for p in peers]
        for thread in waiting[:2]:
            thread.start()
        time.sleep(0.1)
        assert not here
        waiting[2].start()
        for thread in waiting:
            thread.join(HANG)
        assert len(here) == 3


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([(0, 2)], "process 1 of 2 has not come to process 0 within 0.5 s"),
        ([(0, 3), (1, 3)], "process 2 of 3 has not come to process 0 within 0.5 s"),
        ([(0, 9), (2, 9)], "processes 1, 3, 4, 5, 6 and 2 more of 9 have not come to process 0 within 0.5 s"),
        ([(1, 2)], "no connection to process 0 at 127.0.0.1:{port} within 0.5 s (Connection refused)"),
        ([(0, 4), (1, 4), (1, 4)], "two processes were told that they are process 1"),
        ([(0, 3), (1, 4)], "process 1 was told of 4 processes, and process 0 of 3"),
    ],
)
def test_all_that_are_there_say_why_not_all_come_together(members, said):
    port = free_port()
    errors = gathering(port, *members)
    assert [str(error) for error in errors] == [said.format(port=port)] * len(members)


def test_a_port_in_use_is_said_at_once():
    """Also if it is another process 0 that uses it: two runs never mix."""
    with answering() as port:
        (error,) = gathering(port, (0, 2), timeout=HANG)
        assert str(error) == f"process 0 cannot listen at port {port} (Address already in use)"
    errors = sorted(str(error) for error in gathering(free_port(), (0, 2), (0, 2)))
    assert "Address already in use" in errors[0] and "process 1 of 2 has not come" in errors[1]


@pytest.mark.parametrize("lost", [0, 1])
def test_who_goes_before_all_have_come_is_said_at_once(lost):
    """A process is one that was killed, if its socket is closed."""
    port = free_port()
    if lost == 1:

        def die():
            with meeting._reach("127.0.0.1", port, HANG) as reached:
                sockets.send(reached, [1, 3])

        (error, _) = together(partial(meeting.meet, "127.0.0.1", port, 3, 0, HANG), die)
        assert str(error) == "process 1 has gone before all were connected"
    else:
        with answering(b"") as port:
            (error,) = gathering(port, (1, 3), timeout=HANG)
        assert str(error) == f"process 0 at 127.0.0.1:{port} has closed the connection before all were connected"


def test_what_else_answers_is_told_from_process_0():
    with answering(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        (error,) = gathering(port, (1, 2), timeout=HANG)
        assert str(error) == f"process 0 at 127.0.0.1:{port}: something else answers there"
    with answering() as port:
        (error,) = gathering(port, (1, 2))
        assert str(error) == f"process 0 at 127.0.0.1:{port} has not answered within 0.5 s"


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"jxs1" + bytes(7) + b"\2[]", b"jxs1" + b"\xff" * 8])
def test_strangers_do_no_harm(monkeypatch, said):
    monkeypatch.setattr(meeting, "HELLO_SECONDS", 0.1)
    port = free_port()

    def intrude():
        with meeting._reach("127.0.0.1", port, HANG) as reached:
            reached.sendall(said)
            time.sleep(0.3)
        return meeting.meet("127.0.0.1", port, 2, 1, HANG)

    first, second = together(partial(meeting.meet, "127.0.0.1", port, 2, 0, HANG), intrude)
    assert (first.index, second.index) == (0, 1)
    first.close()
    second.close()


def test_a_host_that_is_not_known_is_not_waited_for_as_long(monkeypatch):
    def unknown(*arguments, **settings):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(meeting, "NAME_SECONDS", 0.3)
    monkeypatch.setattr(meeting.socket, "getaddrinfo", unknown)
    with pytest.raises(ClusterError, match=r"process 0 at nohost:1 within 0.3 s \(Name or service not known\)"):
        meeting.meet("nohost", 1, 2, 1, HANG)


def test_every_address_of_a_host_is_tried(monkeypatch):
    """The first may be of a kind that this machine has not, or answer nobody."""
    port = free_port()
    right = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
    wrong = (-1, *right[1:]), (*right[:4], ("127.0.0.1", free_port()))
    monkeypatch.setattr(meeting.socket, "getaddrinfo", lambda *arguments, **settings: [*wrong, right])
    for one in together(*(partial(meeting.meet, "host", port, 2, index, HANG) for index in (0, 1))):
        one.close()


def test_a_name_server_that_is_silent_is_waited_for_no_longer_than_others(monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(meeting.socket, "getaddrinfo", lambda *arguments, **settings: end.wait(HANG) and [])
    with pytest.raises(ClusterError, match=r"nohost:1 within 0.3 s \(the name server does not answer\)"):
        meeting.meet("nohost", 1, 2, 1, 0.3)
    end.set()


@pytest.mark.parametrize("lost", [0, 2])
def test_who_goes_later_is_said_by_all(lost):
    """At once, even if process 0 waits for another."""
    with connected(4) as peers:

        def act(one):
            if one.index == lost:
                return one.close()
            if one.index == 1 and lost == 2:
                time.sleep(0.2)  # it is busy, and hears it later
                return sockets.scatter(one, [])
            return sockets.wait_for_all(one)

        outcomes = together(*(partial(act, p) for p in peers))
    for index, outcome in enumerate(outcomes):
        assert index == lost or (isinstance(outcome, ProcessGone) and f"process {lost} has gone" in str(outcome))


@pytest.mark.parametrize("digests", ["aaa", "aba", "aab"])
def test_processes_that_differ_are_refused(digests):
    with connected(3) as peers:
        outcomes = together(*(partial(cluster.agree, p, digests[p.index]) for p in peers))
    if "b" not in digests:
        assert outcomes == [None] * 3
    else:
        (said,) = {str(error) for error in outcomes}
        assert f"process {digests.index('b')} has another configuration" in said


def test_chunks_come_to_process_0(tmp_path):
    """From each directory once; what is no chunk's name is not taken."""
    kept = [Chunks(tmp_path / name / "parts" / "x") for name in "abbc"]
    for chunks, names in zip(kept, (["one"], ["two", "three"], [], ["two", "one", "four"]), strict=True):
        chunks.directory.mkdir(parents=True, exist_ok=True)
        for name in names:
            chunks.keep(name, name.encode())

    class Strange(Chunks):
        def names(self):
            return [*super().names(), "../../evil"]

    kept[3] = Strange(kept[3].directory)
    with connected(4) as peers:
        apart = together(*(partial(cluster.bring_together, p, kept[p.index]) for p in peers))
    assert apart == [False, True, True, True]
    assert kept[0].names() == ["four", "one", "three", "two"]
    assert all(kept[0].content(name) == name.encode() for name in kept[0].names())
    assert not list(tmp_path.rglob("*evil*"))


def test_a_common_directory_is_nobody_s_own(tmp_path):
    kept = [Chunks(tmp_path / "parts")] * 2
    with connected(2) as peers:

        def late(one):
            kept[0].keep("late", b"late")
            return cluster.bring_together(one, kept[1])

        assert together(partial(cluster.bring_together, peers[0], kept[0]), partial(late, peers[1])) == [False, False]
    assert kept[0].names() == ["late"]


def test_without_jax_s_search_for_clusters_one_can_be_named(monkeypatch):
    """It has no public name, and other versions may have it elsewhere."""
    monkeypatch.setitem(sys.modules, "jax._src.clusters", None)
    with pytest.raises(ClusterError, match="no cluster was found"):
        cluster.connect()
    assert cluster.connect("127.0.0.1:1", 1, 0).count == 1
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "garbage")
    with pytest.raises(ClusterError, match="coordinator garbage: must be HOST:PORT"):
        cluster.connect(None, 2, 1)
    with pytest.raises(ClusterError, match="process_id 2: must be from 0 to 1"):
        cluster.connect("127.0.0.1:1", 2, 2)
