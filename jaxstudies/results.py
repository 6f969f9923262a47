"""Files: the only room that writes tables. What is written appears whole or not at all."""

import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import jaxstudies


class UnreadableRuns(Exception):
    """A table of runs is missing, damaged, or was not written by this project."""


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name beside `path`, then rename it."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with one entry per line."""
    write_atomic(path, lambda p: p.write_text(json.dumps(content, indent=2) + "\n"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, numbers to seven significant digits."""
    write_atomic(path, lambda p: table.to_csv(p, index=False, float_format="%.7g"))


class Occupied(Exception):
    """Another run is writing into a directory."""


@contextlib.contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Hold a directory for one run. The lock goes with the process, however that ends.

    Raises:
        Occupied: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    # A file, as network file systems lock only what is open for writing.
    path = directory / ".lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Occupied from error
        # Whoever opened the file before its last holder removed it has locked nothing.
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise Occupied
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def digest(content: Any) -> str:
    """Return a short name for a JSON-like object: equal objects, equal names."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(study: ModuleType) -> str:
    """Return a name for the code that a study's numbers come from."""
    around = {"__main__", "claims", "cli", "flags", "plotting", "report", "stats", "theory"}
    files = [p for p in sorted(Path(__file__).parent.glob("*.py")) if p.stem not in around]
    home = Path(str(study.__file__))
    # What a study is too long for lies beside it, under names that begin like its own.
    apart = ("_figures", "_claims")
    parts = sorted(p for p in home.parent.glob(f"{home.stem}*.py") if not p.stem.endswith(apart))
    sources = [path.read_bytes() for path in (*files, *parts)]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:16]


class PartsError(Exception):
    """A finished chunk cannot be kept or read: the disk is full, say."""


class Parts(NamedTuple):
    """Finished chunks of a run in a directory, each with its checksum in its name."""

    directory: Path

    def write(self, name: str, columns: dict[str, np.ndarray]) -> None:
        """Keep a chunk's columns under a name.

        Raises:
            PartsError: The file system does not allow it.
        """
        buffer = io.BytesIO()
        np.savez(buffer, **columns)  # type: ignore[arg-type]
        content = buffer.getvalue()
        checksum = hashlib.sha256(content).hexdigest()[:16]
        path = self.directory / f"{name}.{checksum}.npz"
        try:
            # If what the lock is on is gone, another run may be writing in its place.
            self.directory.parent.mkdir(exist_ok=True)
            self.directory.mkdir(exist_ok=True)
            write_atomic(path, lambda p: p.write_bytes(content))
        except OSError as error:
            raise PartsError(
                f"{self.directory} cannot be written to ({error.strerror}); the same command goes "
                "on from the last finished chunk, or name another directory with --out"
            ) from error

    def read(self, name: str) -> dict[str, np.ndarray] | None:
        """Return a chunk's columns, or None if it is missing, or damaged, which is said.

        Raises:
            PartsError: It is there but may not be read.
        """
        for path in self.directory.glob(f"{name}.*.npz"):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise PartsError(f"{path} cannot be read ({error.strerror})") from error
            checksum = hashlib.sha256(content).hexdigest()[:16]
            if path.name != f"{name}.{checksum}.npz":
                self._discard(path)
                continue
            try:
                with np.load(io.BytesIO(content), allow_pickle=False) as columns:
                    return dict(columns)
            except (ValueError, zipfile.BadZipFile):
                self._discard(path)
        return None

    def _discard(self, path: Path) -> None:
        print(f"\n{path} is damaged: its runs are run again", file=sys.stderr)
        path.unlink()

    def remove(self) -> None:
        """Remove all chunks, and the directory above if nothing else is in it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.directory.parent.rmdir()


def write_runs(path: Path, runs: pd.DataFrame, provenance: dict) -> None:
    """Write the table of runs as parquet, with its provenance inside."""
    table = pa.Table.from_pandas(runs, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"jaxstudies": json.dumps(provenance).encode()}
    write_atomic(path, lambda p: pq.write_table(table.replace_schema_metadata(metadata), p))


def read_provenance(path: Path) -> dict:
    """Return the provenance of a table of runs.

    Raises:
        UnreadableRuns: The file is missing, damaged or without provenance.
    """
    if not path.is_file():
        raise UnreadableRuns(f"{path} does not exist")
    try:
        metadata = pq.read_schema(path).metadata or {}
        return json.loads(metadata[b"jaxstudies"])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UnreadableRuns(f"{path} is damaged or not a table of runs") from error


def read_runs(path: Path) -> pd.DataFrame:
    """Return a table of runs.

    Raises:
        UnreadableRuns: The file is missing or damaged.
    """
    read_provenance(path)
    try:
        return pq.read_table(path).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnreadableRuns(f"{path} is damaged") from error


def bring_back(directory: Path, key: str) -> bool:
    """Return whether the finished runs of that key are in the directory, and make them current.

    Runs of other configurations are set aside rather than lost, see `set_aside`.
    """
    current, aside = directory / "runs.parquet", directory / f"runs-{key}.parquet"
    for path in (current, aside):
        try:
            read_runs(path)
            if read_provenance(path)["key"] != key:
                continue
        except (UnreadableRuns, KeyError):
            continue
        if path == aside:
            set_aside(directory, key)
            os.replace(aside, current)
        return True
    return False


def set_aside(directory: Path, key: str) -> None:
    """Rename the current table to runs-KEY.parquet, if it is of another key than the given one."""
    current = directory / "runs.parquet"
    try:
        other = read_provenance(current)["key"]
    except (UnreadableRuns, KeyError):
        return
    if other != key:
        os.replace(current, directory / f"runs-{other}.parquet")


def environment() -> dict[str, Any]:
    """Return versions, machine and commit: what else a result depends on."""
    packages = ["jax", "jaxlib", "flax", "optax", "numpy"]
    return {
        "jaxstudies": jaxstudies.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        **{package: version(package) for package in packages},
        "device_kind": jax.devices()[0].device_kind,
    }


def _commit() -> str | None:
    """Return the commit of the checkout the package lies in, `-dirty` if it was changed."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
