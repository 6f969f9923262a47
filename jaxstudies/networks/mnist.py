"""Handwritten digits: MNIST and scikit-learn's, as arrays.

A hash of their content asserts that MNIST is the same, in the same order, from whatever source there is.
"""

import hashlib
import os
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import get_args

import numpy as np

from jaxstudies import locks, ours
from jaxstudies.errors import DirectoryError
from jaxstudies.networks import preparation
from jaxstudies.networks.names import DatasetName
from jaxstudies.networks.originals import (
    DATA_DIR_VARIABLE,
    VERSION,
    DataError,
    Digits,
    Images,
    expanded,
    find_originals,
)

EXPECTED = {
    "mnist": (60_000, 10_000, "1f08e55ef58616522ef80fda38acf45337c424ab11968299ccab84abbbf631a1"),
    "digits": (1_437, 360, "2384f75ba119ef16c1e127b5e05dcf8ac5320de3b77651afe924b90784373b9f"),
}
"""Numbers of examples to train and to test with, and the hash of all content."""
CACHE = f"{ours.OURS}mnist-{VERSION}.npz"
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


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
    try:
        return load_mnist(expanded(chosen) if chosen else None)
    except DirectoryError as error:  # something is in the place of the lock
        raise DataError(f"{error.directory}: {error.why}") from error


def load_digits() -> Digits:
    """Return scikit-learn's 8x8 digits, each pixel 3x3, with a margin of 2; a fifth is for testing."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    gray = np.round(bunch["images"] * (255 / 16)).astype(np.uint8)
    images = np.pad(gray.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    everything = in_canonical_order(Images(images, bunch["target"].astype(np.uint8)))
    parts = (np.split(array, [EXPECTED["digits"][0]]) for array in everything)
    return Digits(*map(Images, *parts))


def load_mnist(data_dir: Path | None) -> Digits:
    """Load MNIST from its cache, the prepared directory, the original files or the network."""
    default = expanded(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    originals = find_originals(data_dir) if data_dir else None
    root = default if originals or not data_dir else data_dir
    if cached := read_cache(root / CACHE):
        return cached
    try:
        if not (root / "mnist" / VERSION).is_dir():
            root.mkdir(parents=True, exist_ok=True)
        with held(root):
            return read_cache(root / CACHE) or make(root, originals)
    except OSError as error:
        problem = f"MNIST cannot be kept in {root} ({error.strerror or error})"
        instead = "name as data_dir or TFDS_DATA_DIR one that can be written to, or take the dataset digits"
        raise DataError(f"{problem}; {instead}") from error


def held(root: Path) -> AbstractContextManager:
    """Hold a directory in which MNIST is prepared, once no other process does."""
    if not os.access(root, os.W_OK):  # all is there, or nothing can be made
        return nullcontext()
    return locks.hold(
        root / f"{ours.OURS}mnist-lock", wait=f"{root}: waiting for another process, which prepares MNIST"
    )


def make(root: Path, originals: Path | None) -> Digits:
    """Prepare MNIST if it is not, read it, and keep its arrays, where that can be."""
    prepared = root / "mnist" / VERSION
    if not prepared.is_dir():
        preparation.prepare(root, originals)
    data = check("mnist", Digits(*map(in_canonical_order, preparation.read_prepared(prepared))), str(prepared))
    with suppress(OSError):  # it is only slower without
        write_cache(root / CACHE, data)
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
    if not path.is_file():  # on a pipe one would wait
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = [kept[name] for name in ARRAYS]
        return check("mnist", Digits(Images(*arrays[:2]), Images(*arrays[2:])), str(path))
    except Exception:  # whatever is wrong with it
        return None


def write_cache(path: Path, data: Digits) -> None:
    """Keep arrays in a file, which appears whole or not at all."""
    with ours.temporary(path) as beside:
        np.savez(beside, **dict(zip(ARRAYS, (*data.train, *data.test), strict=True)))
        os.replace(beside, path)
