"""Files that appear whole or not at all."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from jaxstudies import ours
from jaxstudies.errors import DirectoryError


def write_json(path: Path, content: object) -> None:
    """Write JSON with one entry per line."""
    ours.write_atomic(path, lambda p: p.write_text(json.dumps(content, indent=2) + "\n", "utf-8"))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, numbers to seven significant digits."""
    ours.write_atomic(path, lambda p: table.to_csv(p, index=False, float_format="%.7g"))


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turn an error of the file system into a line about the directory."""
    try:
        yield
    except BrokenPipeError:  # that was the terminal's
        raise
    except OSError as error:
        raise DirectoryError(directory, f"cannot be written to ({error.strerror or error})") from error
