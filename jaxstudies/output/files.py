"""Files that appear whole or not at all, under temporary names that nobody else uses."""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd

from jaxstudies.errors import DirectoryError

OURS = ".jaxstudies-"
"""How every name begins that is ours alone: those of temporary files, of locks, of the list of what we wrote."""


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Make an empty file beside `path` under a name that nobody foresees, so that no link can lead elsewhere."""
    beside = path.with_name(f"{OURS}{secrets.token_hex(8)}.tmp{path.suffix}")
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside `path`, then rename it."""
    with temporary(path) as beside:
        write(beside)
        os.replace(beside, path)


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files of runs that were killed. No other run may be writing there."""
    for path in directory.glob(f"{OURS}*"):
        if re.fullmatch(re.escape(OURS) + r"[0-9a-f]{16}\.tmp(\.\w+)?", path.name):
            path.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON with one entry per line."""
    write_atomic(path, lambda p: p.write_text(json.dumps(content, indent=2) + "\n", "utf-8"))


def write_csv(path: Path, table: pd.DataFrame, labels: Iterable[str] = ()) -> None:
    """Write a table as CSV, numbers to seven significant digits; labels to as many as tell them apart."""
    shown = table.copy(deep=False)
    for name in set(labels) & set(table):
        levels = pd.unique(table[name])
        if levels.dtype.kind == "f" and len({f"{level:.7g}" for level in levels}) < len(levels):
            shown[name] = table[name].map(repr, na_action="ignore")
    write_atomic(path, lambda p: shown.to_csv(p, index=False, float_format="%.7g"))


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turn an error of the file system into a line about the directory."""
    try:
        yield
    except BrokenPipeError:  # that was the terminal's
        raise
    except OSError as error:
        raise DirectoryError(directory, f"cannot be written to ({error.strerror or error})") from error
