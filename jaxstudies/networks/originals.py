"""MNIST's four original files, and what is made of them: images and digits as arrays."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

VERSION = "3.0.1"  # of tensorflow-datasets' MNIST, which names the directory of the prepared data
DATA_DIR_VARIABLE = "JAXSTUDIES_DATA_DIR"


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
    """Gray images of digits, 0 to 255, with the digit each one shows."""

    images: UInt8[np.ndarray, "n 28 28"]
    labels: UInt8[np.ndarray, " n"]


class Digits(NamedTuple):
    """A data set of digits, split into examples for training and for testing."""

    train: Images
    test: Images


def find_originals(directory: Path) -> Path | None:
    """Return the directory if the original files are in it, undamaged, or None if none of them is."""
    try:
        if directory.exists() and not directory.is_dir():
            raise DataError(f"data_dir {directory}: is a file; name a directory")
        missing = [file.name for file in FILES.values() if not (directory / file.name).is_file()]
        if len(missing) == len(FILES):
            return None
        if missing:
            raise DataError(f"data_dir {directory}: {', '.join(missing)} missing beside the others")
        for file in FILES.values():
            check(file, (directory / file.name).read_bytes(), str(directory / file.name))
    except OSError as error:
        raise DataError(f"data_dir {error.filename or directory}: cannot be read ({error.strerror})") from error
    return directory


def check(file: File, content: bytes, where: str) -> None:
    """Raise DataError unless the content is that of a file."""
    if len(content) != file.size:
        raise DataError(f"{where}: {len(content)} bytes, not {file.size}; fetch it again")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise DataError(f"{where}: damaged, its SHA-256 is not MNIST's; fetch it again")


def expanded(path: str | Path) -> Path:
    """Return a path with `~` filled in, or raise DataError."""
    if "\0" in str(path):
        raise DataError(f"data_dir {str(path)!r}: is no path")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{path}: there is no such home directory; name another data_dir") from error
