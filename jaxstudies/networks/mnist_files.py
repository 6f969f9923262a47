"""The files of MNIST: the originals, and what tensorflow-datasets prepares of them.

Without TensorFlow, which its own builder needs: see `make_builder`.
"""

import gzip
import hashlib
import os
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
"""Where tensorflow-datasets downloads MNIST from."""
VERSION = "3.0.1"
"""The version of tensorflow-datasets' MNIST, which names the directory of the prepared data."""
DATA_DIR_VARIABLE = "JAXSTUDIES_DATA_DIR"
NETWORK_TIMEOUT = 2.5
"""Seconds in which the server must answer before a download is tried."""


class File(NamedTuple):
    """One of the original files, gzipped: its name, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


_REGISTERED = """
train_data train-images-idx3-ubyte.gz 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
train_labels train-labels-idx1-ubyte.gz 28881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
test_data t10k-images-idx3-ubyte.gz 1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
test_labels t10k-labels-idx1-ubyte.gz 4542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
"""
FILES = {key: File(name, int(size), sha) for key, name, size, sha in map(str.split, _REGISTERED.split("\n")[1:-1])}
"""The original files, with the sizes and hashes that tensorflow-datasets has registered."""


class DataError(Exception):
    """Data are missing or damaged: one line that names the file and the way out."""


class Images(NamedTuple):
    """Grey images of digits, 0 to 255, with the digit each one shows."""

    images: UInt8[np.ndarray, "n 28 28"]
    labels: UInt8[np.ndarray, " n"]


class Digits(NamedTuple):
    """A data set of digits, split into examples for training and for testing."""

    train: Images
    test: Images


def find_originals(directory: Path) -> Path | None:
    """Return the directory if the original files are in it, undamaged, or None if none of them is."""
    if directory.exists() and not directory.is_dir():
        raise DataError(f"--data-dir {directory}: is a file; name a directory")
    missing = [file.name for file in FILES.values() if not (directory / file.name).is_file()]
    if len(missing) == len(FILES):
        return None
    if missing:
        raise DataError(f"--data-dir {directory}: {', '.join(missing)} missing beside the others")
    for file in FILES.values():
        path = directory / file.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        if len(content) != file.size:
            raise DataError(f"{path}: {len(content)} bytes, not {file.size}; fetch it again")
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise DataError(f"{path}: damaged, its SHA-256 is not MNIST's; fetch it again")
    return directory


def read_prepared(directory: Path) -> Digits:
    """Read what tensorflow-datasets has prepared, in its order, through its random-access source."""
    import tensorflow_datasets as tfds

    def read(split: str) -> Images:
        source = builder.as_data_source(split=split)
        count = len(source)
        images, labels = np.empty((count, 28, 28), np.uint8), np.empty(count, np.uint8)
        for start in range(0, count, 1000):
            some = range(start, min(start + 1000, count))
            for i, example in zip(some, source.__getitems__(some), strict=True):
                images[i], labels[i] = example["image"][:, :, 0], example["label"]
        return Images(images, labels)

    try:
        builder = tfds.builder_from_directory(directory)
        file_format = builder.info.file_format
        if file_format == tfds.core.FileFormat.ARRAY_RECORD:
            return Digits(read("train"), read("test"))
    except Exception as error:  # of damaged data: each part of the reader has its own
        raise DataError(f"{directory}: cannot be read ({first_line(error)}); remove it, and it is made anew") from error
    raise DataError(
        f"{directory}: prepared as {file_format.value if file_format else 'an unknown format'}, "
        "which only TensorFlow reads; name another directory with --data-dir"
    )


def prepare(root: Path, originals: Path | None) -> None:
    """Have tensorflow-datasets prepare MNIST in `root`, from the original files or a download."""
    if not originals:
        check_network(root)
    root.mkdir(parents=True, exist_ok=True)
    import requests
    import tensorflow_datasets as tfds

    builder = make_builder(root)
    try:
        builder.download_and_prepare(
            download_dir=root / "downloads",
            download_config=tfds.download.DownloadConfig(manual_dir=originals),
            file_format=tfds.core.FileFormat.ARRAY_RECORD,
        )
    except Exception as error:  # its own, those of the network library, and the file system's
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            raise
        raise without_data(root, f"preparing it failed: {first_line(error)}") from error


def make_builder(root: Path):
    """Return tensorflow-datasets' builder of MNIST, taught to prepare it without TensorFlow.

    Its own extracts the files, parses them and encodes the images by TensorFlow. This one leaves
    them packed, reads them with gzip and NumPy, and hands on images that Pillow encodes.
    """
    from PIL import Image
    from tensorflow_datasets.core.download.checksums import UrlInfo
    from tensorflow_datasets.core.utils import Size
    from tensorflow_datasets.image_classification import mnist

    known = {URL + file.name: UrlInfo(Size(file.size), file.sha256, file.name) for file in FILES.values()}

    class Builder(mnist.MNIST, skip_registration=True):  # type: ignore[call-arg]
        """MNIST from the packed files; the hashes are checked by tensorflow-datasets."""

        name = "mnist"
        url_infos = known

        def _split_generators(self, dl_manager):
            paths = dl_manager.download({key: URL + file.name for key, file in FILES.items()})
            parts = ("data", "labels")
            return {
                split: self._generate_examples(*(paths[f"{split}_{part}"] for part in parts))
                for split in Digits._fields
            }

        def _generate_examples(self, data_path, label_path):
            images = read_idx(data_path, 16).reshape(-1, 28, 28)
            for index, (image, label) in enumerate(zip(images, read_idx(label_path, 8), strict=True)):
                yield index, {"image": Image.fromarray(image), "label": int(label)}

    return Builder(data_dir=root)


def read_idx(path: str | os.PathLike, header: int) -> np.ndarray:
    """Return the bytes of a gzipped IDX file behind a header of that many."""
    return np.frombuffer(gzip.decompress(Path(path).read_bytes()), np.uint8, offset=header)


def check_network(root: Path) -> None:
    """Raise DataError quickly if MNIST cannot be downloaded, where the download takes minutes."""
    import requests

    url = URL + FILES["test_labels"].name
    failures: list[str] = ["no answer"]

    def ask() -> None:
        try:
            requests.head(url, timeout=NETWORK_TIMEOUT, allow_redirects=True).raise_for_status()
            failures.clear()
        except requests.RequestException as error:
            failures[0] = type(error).__name__

    # The timeout does not bound the look-up of the name, so the question is left to a thread.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(NETWORK_TIMEOUT)
    if failures:
        raise without_data(root, f"{url} cannot be reached ({failures[0]})")


def without_data(root: Path, problem: str) -> DataError:
    """Return the error of a user without MNIST, with the three ways out."""
    return DataError(
        f"MNIST is not in {root}, and {problem}; go online, or name a directory with its four .gz "
        f"files or its prepared data with --data-dir or {DATA_DIR_VARIABLE}, or use "
        "--dataset digits, which needs neither"
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or else its name."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
