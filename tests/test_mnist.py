"""MNIST is the same from every source, and damage is named."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest

from jaxstudies import ours
from jaxstudies.networks import mnist, preparation
from jaxstudies.networks.originals import FILES, File

ORIGINALS = os.environ.get(mnist.DATA_DIR_VARIABLE)
needs_originals = pytest.mark.skipif(
    not ORIGINALS or not all((Path(ORIGINALS) / f.name).is_file() for f in FILES.values()),
    reason=f"{mnist.DATA_DIR_VARIABLE} does not name a directory with MNIST's four .gz files",
)


@pytest.fixture
def originals(tmp_path) -> Path:
    """A directory with copies of the original files."""
    directory = tmp_path / "originals"
    directory.mkdir()
    for file in FILES.values():
        shutil.copy(Path(str(ORIGINALS)) / file.name, directory / file.name)
    return directory


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Keep the tests away from the user's own data."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.delenv(mnist.DATA_DIR_VARIABLE, raising=False)


def assert_equal(one: mnist.Digits, other: mnist.Digits) -> None:
    for a, b in zip((*one.train, *one.test), (*other.train, *other.test), strict=True):
        np.testing.assert_array_equal(a, b)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    data = mnist.load("digits")
    assert data.train.images.shape == (1437, 28, 28)
    assert data.test.images.shape == (360, 28, 28)
    labels = np.concatenate([data.train.labels, data.test.labels])
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(load_digits().target))
    small = np.concatenate([data.train.images, data.test.images])[:, 3:27:3, 3:27:3]
    ours = sorted(np.round(image * (16 / 255)).astype(int).tobytes() for image in small)
    assert ours == sorted(image.astype(int).tobytes() for image in load_digits().images)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.slow
@needs_originals
def test_every_source_gives_the_same_arrays(originals, tmp_path, monkeypatch):
    # Read independently of tensorflow-datasets, in the canonical order.
    def read(split):
        images, labels = (
            np.frombuffer(
                gzip.decompress((originals / FILES[f"{split}_{part}"].name).read_bytes()),
                np.uint8, offset=header,
            )
            for part, header in (("data", 16), ("labels", 8))
        )  # fmt: skip
        return mnist.in_canonical_order(mnist.Images(images.reshape(-1, 28, 28), labels))

    expected = mnist.Digits(read("train"), read("test"))
    assert expected.train.images.shape == (60_000, 28, 28)

    # The hash is what is held of the original files where processes prepare them at once.
    assert mnist.content_hash(expected) == mnist.EXPECTED["mnist"][-1]

    # Downloaded from a local server; a file that is not what it should be is refused.
    tfds_dir, labels = tmp_path / "tfds", originals / FILES["test_labels"].name
    handler = functools.partial(Quiet, directory=str(originals))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(preparation, "URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert_equal(mnist.load("mnist", tfds_dir), expected)
        whole = labels.read_bytes()
        labels.write_bytes(whole[:-1] + b"x")
        with pytest.raises(mnist.DataError, match="its SHA-256 is not MNIST's"):
            mnist.load("mnist", tmp_path / "bad")
        labels.write_bytes(whole)
        server.shutdown()

    (cache,) = tfds_dir.glob("*.npz")
    with monkeypatch.context() as patched:  # nothing but the cache is read again
        patched.delattr(preparation, "read_prepared")
        assert_equal(mnist.load("mnist", originals), expected)
    assert {path.name for path in originals.iterdir()} == {f.name for f in FILES.values()}

    # The prepared directory alone, its cache damaged.
    cache.write_bytes(cache.read_bytes()[:1000])
    moved = tmp_path / "moved"
    shutil.move(tfds_dir, moved)
    assert_equal(mnist.load("mnist", moved), expected)

    # A prepared directory that is damaged is named.
    next(moved.glob("*.npz")).unlink()
    records = next(moved.glob("mnist/*/mnist-train*"))
    records.write_bytes(records.read_bytes()[: records.stat().st_size // 2])
    with pytest.raises(mnist.DataError, match="moved/mnist"):
        mnist.load("mnist", moved)


@needs_originals
@pytest.mark.parametrize("damage", ["short", "changed", "missing"])
def test_damaged_files_are_named(originals, damage):
    path = originals / FILES["test_labels"].name
    content = path.read_bytes()
    if damage == "short":
        path.write_bytes(content[:-100])
    elif damage == "changed":
        path.write_bytes(content[:2000] + bytes([content[2000] ^ 1]) + content[2001:])
    else:
        path.unlink()
    with pytest.raises(mnist.DataError, match=path.name):
        mnist.load("mnist", originals)


@pytest.mark.parametrize("server", ["refuses", "is silent"])
def test_without_network_and_files_three_ways_out_are_named(tmp_path, monkeypatch, server):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        if server == "is silent":
            bound.listen()
        monkeypatch.setattr(preparation, "URL", f"http://127.0.0.1:{bound.getsockname()[1]}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        began = time.perf_counter()
        with pytest.raises(mnist.DataError) as caught:
            mnist.load("mnist", tmp_path)
        assert time.perf_counter() - began < 5
    for way_out in (f"not in {tmp_path}", "go online", "data_dir", "dataset digits"):
        assert way_out in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(mnist.DataError, match="is a file"):
        mnist.load("mnist", path)


def test_short_and_altered_data_are_refused():
    data = mnist.load("digits")
    short = data._replace(test=mnist.Images(*(a[:-1] for a in data.test)))
    with pytest.raises(mnist.DataError, match="examples"):
        mnist.check("digits", short, "these")
    images = data.train.images.copy()
    images[0, 0, 0] ^= 1
    altered = data._replace(train=data.train._replace(images=images))
    with pytest.raises(mnist.DataError, match="content"):
        mnist.check("digits", altered, "these")


SMALL = File("small.gz", 1000, hashlib.sha256(b"x" * 1000).hexdigest())


def answer_with(behave):
    """Return a handler of requests whose answer to GET is sent by a function of the handler."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            with contextlib.suppress(OSError):
                behave(self)

        def log_message(self, *args):
            pass

    return Handler


def begin(handler, length=1000):
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def stall(handler):
    begin(handler)
    handler.wfile.write(b"x" * 10)
    time.sleep(30)


def drip(handler):
    begin(handler)
    for _ in range(300):
        handler.wfile.write(b"x")
        time.sleep(0.1)


def never_end(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 2**16)


def stop_midway(handler):
    begin(handler)
    handler.wfile.write(b"x" * 10)


def send(content, status=200):
    def behave(handler):
        handler.send_response(status)
        handler.send_header("Content-Encoding", "gzip")  # which it is anyway
        handler.end_headers()
        handler.wfile.write(content)

    return behave


@pytest.fixture
def serve(monkeypatch):
    """Return a function that serves what a function sends."""
    servers = []

    def start(behave):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answer_with(behave))
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(preparation, "URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(preparation, "FILES", {"test_labels": SMALL})

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(preparation, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(preparation, "DOWNLOAD_SECONDS", 1.5)
    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (stall, "cannot be fetched (ReadTimeoutError)"),
        (drip, "was not there within 1.5 s"),
        (never_end, "bytes, not 1000; fetch it again"),
        (stop_midway, "cannot be fetched ("),
        (send(b"x" * 999 + b"y"), "its SHA-256 is not MNIST's"),
        (send(b"x" * 999), "999 bytes, not 1000"),
        (send(b"no", 404), "cannot be fetched (HTTPError)"),
    ],
    ids=["stalls", "drips", "never ends", "stops midway", "is damaged", "is short", "is not there"],
)
def test_a_download_that_goes_wrong_is_one_line_in_time_and_leaves_nothing(serve, tmp_path, behave, said):
    serve(behave)
    began = time.perf_counter()
    with pytest.raises(mnist.DataError) as caught:
        mnist.load("mnist", tmp_path / "there")
    assert time.perf_counter() - began < 10
    text = str(caught.value)
    assert said in text and "go online" in text and "\n" not in text
    assert not list((tmp_path / "there").iterdir())


def test_a_download_is_checked_and_kept_as_it_was_sent(serve, tmp_path):
    serve(send(b"x" * 1000))
    assert preparation.download(tmp_path, tmp_path) == tmp_path
    assert (tmp_path / "small.gz").read_bytes() == b"x" * 1000


def fake(digits):
    """Return preparation and reading of a small data set, which says when it begins."""

    def prepare(root, originals):
        begun.append(root)
        time.sleep(0.3)
        (root / "mnist" / mnist.VERSION).mkdir(parents=True)

    begun: list[Path] = []
    return begun, prepare, lambda directory: digits


def test_of_several_that_prepare_one_does_and_the_others_wait(tmp_path, monkeypatch):
    digits = mnist.load("digits")
    begun, prepare, read = fake(digits)
    monkeypatch.setattr(preparation, "prepare", prepare)
    monkeypatch.setattr(preparation, "read_prepared", read)
    monkeypatch.setitem(mnist.EXPECTED, "mnist", mnist.EXPECTED["digits"])
    with futures.ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: mnist.load("mnist", tmp_path), range(6)))
    assert len(begun) == 1
    for data in found:
        assert_equal(data, digits)
    assert sorted(path.name for path in tmp_path.iterdir()) == [mnist.CACHE, "mnist"]


RACE = "import sys; from jaxstudies.networks import mnist; print(mnist.content_hash(mnist.load('mnist', sys.argv[1])))"


@pytest.mark.slow
@needs_originals
def test_processes_that_prepare_at_once_all_have_it_and_a_kill_leaves_nothing(originals, tmp_path):
    root = tmp_path / "tfds"
    asked = [sys.executable, "-c", RACE, str(originals)]
    with subprocess.Popen(asked, stderr=subprocess.DEVNULL) as process:
        while not list(root.glob(f"{ours.OURS}*.tmp/mnist/*")):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert list(root.glob(f"{ours.OURS}*.tmp"))
    (root / "mnist").mkdir()
    (root / "mnist" / "incomplete.AAAAAA_3.0.1").mkdir()  # of somebody else, who may be at work
    racing = [subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in racing:
        said, _ = process.communicate()
        assert process.returncode == 0 and said.strip() == mnist.EXPECTED["mnist"][-1]
    assert sorted(path.name for path in root.iterdir()) == [mnist.CACHE, "mnist"]
    assert sorted(path.name for path in (root / "mnist").iterdir()) == ["3.0.1", "incomplete.AAAAAA_3.0.1"]
    assert {path.name for path in originals.iterdir()} == {f.name for f in FILES.values()}


def test_what_is_in_the_way_of_the_lock_is_one_line(tmp_path):
    (tmp_path / f"{ours.OURS}mnist-lock").mkdir()
    with pytest.raises(mnist.DataError, match="mnist-lock cannot be opened"):
        mnist.load("mnist", tmp_path)


@pytest.mark.parametrize(
    ("data_dir", "said"),
    [
        ("~nosuchuser/x", "~nosuchuser/x: there is no such home directory"),
        ("n" * 300, "cannot be read (File name too long)"),
        ("pipe", "pipe: is a file; name a directory"),
    ],
)
def test_a_directory_that_cannot_be_one_is_one_line(tmp_path, monkeypatch, data_dir, said):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(mnist.DataError) as caught:
        mnist.load("mnist", data_dir)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_without_a_home_the_directory_is_asked_for(monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(mnist.DataError, match="~/tensorflow_datasets: there is no such home directory"):
        mnist.load("mnist")
