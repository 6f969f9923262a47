"""Names that nobody else uses: of temporary files, of locks, of the list of what we wrote."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

OURS = ".jaxstudies-"
"""How every one of them begins."""


def temporary_name(path: Path) -> Path:
    """Return a name beside `path` that nobody foresees, so that no link can wait there."""
    return path.with_name(f"{OURS}{secrets.token_hex(8)}.tmp{path.suffix}")


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Make an empty file beside `path`, and remove it in the end if it is still there."""
    beside = temporary_name(path)
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_directory(path: Path) -> Iterator[Path]:
    """Make an empty directory beside `path`, and remove it in the end."""
    beside = temporary_name(path.with_suffix(""))
    beside.mkdir()
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside `path`, then rename it."""
    with temporary(path) as beside:
        write(beside)
        os.replace(beside, path)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed processes have left under temporary names. No other process may be writing there."""
    for path in directory.glob(f"{OURS}*"):
        if not re.fullmatch(re.escape(OURS) + r"[0-9a-f]{16}\.tmp(\.\w+)?", path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
