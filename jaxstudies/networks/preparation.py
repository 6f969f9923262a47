"""MNIST by tensorflow-datasets without TensorFlow: prepared from the original files or a download, and read again."""

import gzip
import os
import threading
from pathlib import Path

import numpy as np

from jaxstudies.networks.originals import DATA_DIR_VARIABLE, FILES, DataError, Digits, Images

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"  # as in tensorflow-datasets
NETWORK_TIMEOUT = 2.5  # seconds in which the server must answer before a download is tried


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
        f"MNIST is not in {root}, and {problem}; go online, or name a directory with its four .gz files "
        f"or its prepared data as data_dir or {DATA_DIR_VARIABLE}, or take the dataset digits, which needs neither"
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or else its name."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
