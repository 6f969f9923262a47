"""MNIST is the same from every source, and damage is named."""

import functools
import gzip
import http.server
import os
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jaxstudies.networks import mnist, preparation
from jaxstudies.networks.originals import FILES

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

    from_files = mnist.load("mnist", originals)
    assert_equal(from_files, expected)
    tfds_dir = tmp_path / "tfds"
    (cache,) = tfds_dir.glob("*.npz")
    began = time.perf_counter()
    assert_equal(mnist.load("mnist", originals), expected)
    assert time.perf_counter() - began < 5  # under one on an idle machine
    assert {path.name for path in originals.iterdir()} == {f.name for f in FILES.values()}

    # The prepared directory alone, its cache damaged.
    cache.write_bytes(cache.read_bytes()[:1000])
    moved = tmp_path / "moved"
    shutil.move(tfds_dir, moved)
    assert_equal(mnist.load("mnist", moved), expected)

    # A prepared directory that is damaged is named.
    next(moved.glob("*.npz")).unlink()
    records = next(moved.glob("mnist/*/mnist-test*"))
    records.write_bytes(records.read_bytes()[: records.stat().st_size // 2])
    with pytest.raises(mnist.DataError, match="moved/mnist"):
        mnist.load("mnist", moved)


@pytest.mark.slow
@needs_originals
def test_download_from_a_local_server(originals, tmp_path, monkeypatch):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(originals))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(preparation, "URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        data = mnist.load("mnist", tmp_path / "downloaded")
        assert mnist.content_hash(data) == mnist.EXPECTED["mnist"][-1]

        # A file that is not what it should be is refused.
        labels = originals / FILES["test_labels"].name
        labels.write_bytes(labels.read_bytes()[:-1] + b"x")
        with pytest.raises(mnist.DataError, match="preparing it failed"):
            mnist.load("mnist", tmp_path / "bad")
        server.shutdown()


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
