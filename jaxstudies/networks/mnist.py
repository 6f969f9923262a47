"""Handwritten digits: MNIST and scikit-learn's, as arrays.

A hash of their content asserts that MNIST is the same, in the same order, from whatever source there is.
"""

import gzip
import hashlib
import os
import threading
import zlib
from pathlib import Path
from typing import NamedTuple, get_args
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8

from jaxstudies.networks.names import DatasetName

EXPECTED = {
    "mnist": (60_000, 10_000, "1f08e55ef58616522ef80fda38acf45337c424ab11968299ccab84abbbf631a1"),
    "digits": (1_437, 360, "2384f75ba119ef16c1e127b5e05dcf8ac5320de3b77651afe924b90784373b9f"),
}
"""Numbers of examples to train and to test with, and the hash of all content."""
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"  # as in tensorflow-datasets
VERSION = "3.0.1"  # of tensorflow-datasets' MNIST, which names the directory of the prepared data
DATA_DIR_VARIABLE = "JAXSTUDIES_DATA_DIR"
NETWORK_TIMEOUT = 2.5  # seconds in which the server must answer before a download is tried


class File(NamedTuple):
    """One of the original files, gzipped, with its size in bytes."""

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


def load(name: DatasetName, data_dir: str | Path | None = None) -> Digits:
    """Load training and test examples as arrays on the host, in a fixed order that looks random.

    Args:
        name: `mnist`, or `digits`, scikit-learn's 1,797.
        data_dir: For `mnist`, a directory with the four original files, or that of tensorflow-datasets; by
            default the environment variable JAXSTUDIES_DATA_DIR, then tensorflow-datasets' own.

    Raises:
        DataError: There are no such data, or they are damaged.
        ValueError: The name is not known.
    """
    if name == "digits":
        return check(name, load_digits(), "scikit-learn's digits")
    if name != "mnist":
        raise ValueError(f"data set {name!r}: one of {', '.join(get_args(DatasetName))}")
    chosen = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    return load_mnist(Path(chosen).expanduser() if chosen else None)


def load_digits() -> Digits:
    """Return scikit-learn's 8x8 digits, each pixel 3x3, with a margin of 2; a fifth is for testing."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    grey = np.round(bunch["images"] * (255 / 16)).astype(np.uint8)
    images = np.pad(grey.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    everything = in_canonical_order(Images(images, bunch["target"].astype(np.uint8)))
    parts = (np.split(array, [EXPECTED["digits"][0]]) for array in everything)
    return Digits(*map(Images, *parts))


def load_mnist(data_dir: Path | None) -> Digits:
    """Load MNIST from its cache, the prepared directory, the original files or the network."""
    default = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    originals = find_originals(data_dir) if data_dir else None
    root = default if originals or not data_dir else data_dir
    cache, prepared = root / f"mnist-{VERSION}-arrays.npz", root / "mnist" / VERSION
    if cached := read_cache(cache):
        return cached
    try:
        if not prepared.is_dir():
            prepare(root, originals)
        data = Digits(*map(in_canonical_order, read_prepared(prepared)))
        write_cache(cache, check("mnist", data, str(prepared)))
    except OSError as error:
        problem = f"MNIST cannot be kept in {root} ({error.strerror or error})"
        instead = "name a directory that can be written to with --data-dir or TFDS_DATA_DIR, or use --dataset digits"
        raise DataError(f"{problem}; {instead}") from error
    return data


def in_canonical_order(data: Images) -> Images:
    """Sort examples by a hash of their content, so that they come alike from every source."""
    digests = [hashlib.sha256(image.tobytes() + label.tobytes()).digest() for image, label in zip(*data, strict=True)]
    order = sorted(range(len(digests)), key=digests.__getitem__)
    return Images(data.images[order], data.labels[order])


def content_hash(data: Digits) -> str:
    """Return the SHA-256 of all images and labels, training examples first."""
    return hashlib.sha256(b"".join(array.tobytes() for array in (*data.train, *data.test))).hexdigest()


def check(name: DatasetName, data: Digits, source: str) -> Digits:
    """Return data, or raise DataError where their lengths or content are not what they should be."""
    *expected, sha256 = EXPECTED[name]
    lengths = [len(part.labels) for part in data]
    if lengths != expected:
        problem = f"holds {lengths[0]} and {lengths[1]} examples, not {expected[0]} and {expected[1]}"
    elif content_hash(data) != sha256:
        problem = "does not hold the content it should"
    else:
        return data
    way_out = "remove it, and it is made anew" if name == "mnist" else "install scikit-learn anew"
    raise DataError(f"{source} {problem}; {way_out}")


def read_cache(path: Path) -> Digits | None:
    """Return the arrays kept in a file, or None if it is missing or not what it should be."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = [kept[name] for name in ARRAYS]
        return check("mnist", Digits(Images(*arrays[:2]), Images(*arrays[2:])), str(path))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error, DataError):
        return None


def write_cache(path: Path, data: Digits) -> None:
    """Keep arrays in a file, which appears whole or not at all."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(temporary, **dict(zip(ARRAYS, (*data.train, *data.test), strict=True)))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
        examples = source.__getitems__(range(len(source)))
        images = np.stack([example["image"][:, :, 0] for example in examples])
        return Images(images, np.array([example["label"] for example in examples], np.uint8))

    try:
        builder = tfds.builder_from_directory(directory)
        file_format = builder.info.file_format
        if file_format == tfds.core.FileFormat.ARRAY_RECORD:
            return Digits(read("train"), read("test"))
    except Exception as error:  # of damaged data: each part of the reader has its own
        raise DataError(f"{directory}: cannot be read ({first_line(error)}); remove it, and it is made anew") from error
    kind = file_format.value if file_format else "an unknown format"
    way_out = "name another directory with --data-dir"
    raise DataError(f"{directory}: prepared as {kind}, which only TensorFlow reads; {way_out}")


def prepare(root: Path, originals: Path | None) -> None:
    """Have tensorflow-datasets prepare MNIST in `root`, from the original files or a download."""
    import requests
    import tensorflow_datasets as tfds

    if not originals:
        check_network(root)
    root.mkdir(parents=True, exist_ok=True)
    builder = make_builder(root)
    config, file_format = tfds.download.DownloadConfig(manual_dir=originals), tfds.core.FileFormat.ARRAY_RECORD
    try:
        builder.download_and_prepare(download_dir=root / "downloads", download_config=config, file_format=file_format)
    except Exception as error:  # its own, those of the network library, and the file system's
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            raise
        raise without_data(root, f"preparing it failed: {first_line(error)}") from error


def make_builder(root: Path):
    """Return tensorflow-datasets' builder of MNIST, taught to read and encode by gzip, NumPy and Pillow."""
    from PIL import Image
    from tensorflow_datasets.core.download.checksums import UrlInfo
    from tensorflow_datasets.core.utils import Size
    from tensorflow_datasets.image_classification import mnist

    known = {URL + file.name: UrlInfo(Size(file.size), file.sha256, file.name) for file in FILES.values()}

    class Builder(mnist.MNIST, skip_registration=True):  # type: ignore[call-arg]
        name, url_infos = "mnist", known  # the hashes are checked by tensorflow-datasets

        def _split_generators(self, dl_manager):
            paths = dl_manager.download({key: URL + file.name for key, file in FILES.items()})
            generate = self._generate_examples
            return {split: generate(paths[f"{split}_data"], paths[f"{split}_labels"]) for split in Digits._fields}

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

    url, failures = URL + FILES["test_labels"].name, ["no answer"]

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
