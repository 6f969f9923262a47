"""MNIST by tensorflow-datasets without TensorFlow: prepared from the original files or a download, and read again."""

import contextlib
import gzip
import io
import os
import queue
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from jaxstudies import ours
from jaxstudies.networks.originals import DATA_DIR_VARIABLE, FILES, VERSION, DataError, Digits, File, Images, check

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"  # as in tensorflow-datasets
NETWORK_TIMEOUT = 2.5  # seconds in which the server must answer before a download is tried
STALL_SECONDS = 10.0  # of silence, after which a download is given up
DOWNLOAD_SECONDS = 600.0  # in which all has to be there: 11 MB


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
    way_out = "name another data_dir"
    raise DataError(f"{directory}: prepared as {kind}, which only TensorFlow reads; {way_out}")


def prepare(root: Path, originals: Path | None) -> None:
    """Have tensorflow-datasets prepare MNIST in `root`, from the original files or a download.

    It appears whole or not at all: what is made before lies under a temporary name, and goes with it. No other process
    may be preparing there.
    """
    if not originals:
        check_network(root)
    import tensorflow_datasets as tfds

    print(f"{root}: preparing MNIST, this once", file=sys.stderr, flush=True)
    ours.remove_leftovers(root)
    with ours.temporary_directory(root / "mnist") as made:
        builder = make_builder(made, originals or download(root, made))
        elsewhere, tempfile.tempdir = tempfile.tempdir, str(made)  # it would leave an empty directory there
        how = {"download_dir": made / "downloads", "file_format": tfds.core.FileFormat.ARRAY_RECORD}
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it would speak of a place that will not be there
                builder.download_and_prepare(**how)
        except Exception as error:  # its own, and the file system's
            if isinstance(error, OSError):
                raise
            raise without_data(root, f"preparing it failed: {first_line(error)}") from error
        finally:
            tempfile.tempdir = elsewhere
        (root / "mnist").mkdir(exist_ok=True)
        os.replace(made / "mnist" / VERSION, root / "mnist" / VERSION)


def make_builder(root: Path, originals: Path):
    """Return tensorflow-datasets' builder of MNIST, taught to read the originals and to encode by NumPy and Pillow."""
    from PIL import Image
    from tensorflow_datasets.image_classification import mnist

    class Builder(mnist.MNIST, skip_registration=True):  # type: ignore[call-arg]
        name = "mnist"

        def _split_generators(self, dl_manager):
            paths = {key: originals / file.name for key, file in FILES.items()}
            generate = self._generate_examples
            return {split: generate(paths[f"{split}_data"], paths[f"{split}_labels"]) for split in Digits._fields}

        def _generate_examples(self, data_path, label_path):
            images = read_idx(data_path, 16).reshape(-1, 28, 28)
            for index, (image, label) in enumerate(zip(images, read_idx(label_path, 8), strict=True)):
                yield index, {"image": Image.fromarray(image), "label": int(label)}

    return Builder(data_dir=root)


def download(root: Path, into: Path) -> Path:
    """Fetch the original files into a directory, which is returned; each is checked before it is kept."""
    until = time.monotonic() + DOWNLOAD_SECONDS
    for file in FILES.values():
        content = fetch(root, file, until - time.monotonic())
        try:
            check(file, content, URL + file.name)
        except DataError as error:
            raise without_data(root, str(error)) from error
        (into / file.name).write_bytes(content)
    return into


def fetch(root: Path, file: File, seconds: float) -> bytes:
    """Return what a server has of a file, no more than its size, or raise DataError where that takes too long."""
    import requests
    import urllib3

    url, answer = URL + file.name, queue.SimpleQueue()

    def ask() -> None:
        try:
            with requests.get(url, stream=True, timeout=(NETWORK_TIMEOUT, STALL_SECONDS)) as response:
                response.raise_for_status()
                content = bytearray()
                for part in response.raw.stream(2**16, decode_content=False):
                    content += part
                    if len(content) > file.size:
                        break
            answer.put(bytes(content))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            answer.put(error)

    # A timeout is one of silence: a byte now and then would go on for ever, so it is left to a thread.
    threading.Thread(target=ask, daemon=True).start()
    try:
        content = answer.get(timeout=max(seconds, 0.0))
    except queue.Empty:
        raise without_data(root, f"{url} was not there within {DOWNLOAD_SECONDS:g} s") from None
    if isinstance(content, Exception):
        raise without_data(root, f"{url} cannot be fetched ({type(content).__name__})") from content
    return content


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
        f"MNIST is not in {root}, and {problem}; go online, or name a directory with its four .gz files "
        f"or its prepared data as data_dir or {DATA_DIR_VARIABLE}, or take the dataset digits, which needs neither"
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or else its name."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
