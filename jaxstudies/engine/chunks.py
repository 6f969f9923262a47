"""Finished chunks of a run, kept in its directory until the run is whole.

A run that is killed goes on from its chunks. Processes that share a run meet in them.
"""

import contextlib
import hashlib
import io
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxstudies.ours import write_atomic

CHECKSUM_BYTES = 32
COMMIT = "\0commit"
"""Name, which no measure can have, under which a chunk keeps the commit that computed it."""


class ChunksError(Exception):
    """A finished chunk cannot be kept or read: the disk is full, say."""


class Memory(dict[str, dict[str, np.ndarray]]):
    """Finished chunks in memory, with the methods of `Chunks`."""

    names, write = dict.keys, dict.__setitem__

    def read(self, name: str) -> dict[str, np.ndarray] | None:
        """Return a chunk's columns, or None if it is missing."""
        return dict(self[name]) if name in self else None


class Chunks(NamedTuple):
    """Finished chunks of a run in a directory, each with its checksum at the end of its file.

    What the file system does not allow raises ChunksError.
    """

    directory: Path
    commit: str = ""
    """The commit of the code that writes, which every chunk notes."""

    def names(self) -> list[str]:
        """List the chunks that are there, damaged ones among them."""
        return sorted(path.stem for path in self.directory.glob("[!.]*.npz"))

    def write(self, name: str, columns: dict[str, np.ndarray]) -> None:
        """Keep a chunk's columns under a name."""
        content = _packed(columns | {COMMIT: np.array(self.commit)})
        self.keep(name, content + hashlib.sha256(content).digest())

    def keep(self, name: str, content: bytes) -> None:
        """Keep the content of a chunk's file."""
        try:
            # If what the lock is on is gone, another run may be writing in its place.
            self.directory.parent.mkdir(exist_ok=True)
            self.directory.mkdir(exist_ok=True)
            write_atomic(self.directory / f"{name}.npz", lambda p: p.write_bytes(content))
        except OSError as error:
            raise ChunksError(
                f"{self.directory} cannot be written to ({error.strerror}); the same command goes "
                "on from the last finished chunk"
            ) from error

    def commits(self) -> list[str]:
        """List the commits that have written chunks."""
        found = (_checked(self.content(name)) for name in self.names())
        return sorted({str(columns[COMMIT]) for columns in found if columns is not None} - {""})

    def content(self, name: str) -> bytes:
        """Return the content of a chunk's file, empty if it is missing."""
        path = self.directory / f"{name}.npz"
        if path.exists() and not path.is_file():  # on a pipe one would wait
            raise ChunksError(f"{path} is no file; remove it")
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise ChunksError(f"{path} cannot be read ({error.strerror})") from error

    def read(self, name: str) -> dict[str, np.ndarray] | None:
        """Return a chunk's columns, or None if it is missing, or damaged, which is said."""
        path = self.directory / f"{name}.npz"
        columns = _checked(self.content(name))
        if columns is None and path.exists():
            print(f"\n{path} is damaged: its runs are run again", file=sys.stderr)
            path.unlink(missing_ok=True)
        return columns

    def remove(self) -> None:
        """Remove all chunks, and the directory above if nothing else is in it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.directory.parent.rmdir()

    def set_aside(self) -> None:
        """Rename the directory, so that the chunks are kept but count for nothing."""
        names = (self.directory.with_name(f"{self.directory.name}-old-{i}") for i in itertools.count(1))
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.directory, next(path for path in names if not path.exists()))


def _packed(columns: dict[str, np.ndarray]) -> bytes:
    """Return columns as a file; their names, which may be any text, stand inside it and not in its parts' names."""
    buffer, names = io.BytesIO(), json.dumps(list(columns)).encode()
    arrays = {f"column_{i}": array for i, array in enumerate(columns.values())}
    np.savez(buffer, allow_pickle=False, names=np.frombuffer(names, np.uint8), **arrays)
    return buffer.getvalue()


def _checked(content: bytes) -> dict[str, np.ndarray] | None:
    """Return the columns that a chunk's file holds, None if it is damaged."""
    content, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    if not content or checksum != hashlib.sha256(content).digest():
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as parts:
        names = json.loads(parts["names"].tobytes())
        return {name: parts[f"column_{i}"] for i, name in enumerate(names)}


def remember(kept: Chunks, name: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return arrays kept under a name, which may be any text, or compute and keep them."""
    chunk = f"beside-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    found = kept.read(chunk)
    if found is None:
        found = compute()
        kept.write(chunk, found)
    return {key: array for key, array in found.items() if key != COMMIT}
