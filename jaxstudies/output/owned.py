"""Which files of a directory are ours: those that its list names. No other is ever replaced or removed.

The list also says from which table they follow, so that what followed from another does not stay beside it.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jaxstudies.errors import DirectoryError
from jaxstudies.evidence import registration
from jaxstudies.evidence.records import NAMES as JUDGED
from jaxstudies.evidence.records import RUNS
from jaxstudies.ours import OURS, temporary
from jaxstudies.output import files, stored

LIST = f"{OURS}files.json"
SUMMARY = "summary.csv"
NAMES = (*JUDGED, SUMMARY, "times.csv")
"""Files that every run leaves."""
LASTING = frozenset({RUNS, registration.FILE})
"""Files that follow from no table."""
OF_FUNCTIONS = "run"
"""Name of a study that is functions of a notebook or a program, in no file that is known."""
REPLAY = "replay-"
"""How the names of pictures of replayed runs begin, which are drawn between two reports and outlast the second."""


class Listed(NamedTuple):
    """What a directory's list says."""

    digest: str
    """Of the runs from which the files follow."""
    names: frozenset[str]


def read(directory: Path) -> Listed | None:
    """Return the list, or None if there is none that can be read."""
    path = directory / LIST
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        if path.is_file():
            content = json.loads(path.read_text("utf-8"))
            names = [name for name in content["names"] if is_plain(name)]
            return Listed(str(content["digest"]), frozenset(names))
    return None


def following(directory: Path, digest: str) -> frozenset[str]:
    """Return the files that are listed as following from these runs."""
    there = read(directory)
    return there.names if there is not None and there.digest == digest else frozenset()


def is_plain(name: str) -> bool:
    """Return whether a name is that of a file in the directory itself, which is not hidden."""
    return isinstance(name, str) and Path(name).name == name and not name.startswith(".")


def is_ours(directory: Path, name: str) -> bool:
    """Return whether a file there is ours: if it is listed, or, without a list, lies beside a table of runs of ours."""
    there = read(directory)
    if there is not None and (name in there.names or name != RUNS):
        return name in there.names
    with contextlib.suppress(stored.UnreadableRuns):
        return bool(stored.read_provenance(directory / RUNS))
    return False


def check(directory: Path, names: Iterable[str]) -> None:
    """Raise DirectoryError where a file that is not ours has one of these names."""
    for name in names:
        path = directory / name
        if (path.exists() or path.is_symlink()) and not is_ours(directory, name):
            what = f"{name} is there, and not of this project"
            if name == RUNS and path.is_file():
                try:
                    stored.read_provenance(path)
                except stored.UnreadableRuns as error:
                    what = str(error)
            raise DirectoryError(directory, f"{what}; name another directory, or move the file away")


def prepare(directory: Path, names: Iterable[str]) -> None:
    """Make a directory if there is none, and check that files of these names can be written there.

    Raises:
        DirectoryError: They cannot, or one that is not ours is in the way.
    """
    with files.writing(directory):
        if directory.exists() and not directory.is_dir():
            raise DirectoryError(directory, "is a file; name a directory")
        directory.mkdir(parents=True, exist_ok=True)
        with temporary(directory / RUNS):
            pass
        check(directory, names)


def add(directory: Path, name: str) -> None:
    """List a file as ours, before it is written."""
    there = read(directory) or Listed("", frozenset(filter(partial(is_ours, directory), NAMES)))
    if name not in there.names:
        _write(directory, there._replace(names=there.names | {name}))


def _write(directory: Path, now: Listed) -> None:
    files.write_json(directory / LIST, {"digest": now.digest, "names": sorted(now.names)})


@contextlib.contextmanager
def rewriting(directory: Path, digest: str, written: Iterable[str]) -> Iterator[None]:
    """Write the files that follow from a table, and leave none that follows from another or is written no more.

    Raises:
        DirectoryError: A file that is not ours is in the way.
    """
    now = frozenset({*written, RUNS})
    check(directory, now)
    there, follow = read(directory), following(directory, digest)
    _remove(directory, there.names - follow - LASTING if there else ())
    # Listed before they are written, whoever is killed in between leaves nothing that is nobody's.
    lasting = there.names & LASTING if there else frozenset()
    _write(directory, Listed(digest, follow | now | lasting))
    yield
    stay = now | lasting | {name for name in follow if name.startswith(REPLAY)}
    _remove(directory, follow - stay)
    _write(directory, Listed(digest, stay))


def _remove(directory: Path, listed: Iterable[str]) -> None:
    for name in listed:
        (directory / name).unlink(missing_ok=True)


def file_names(texts: Iterable[str], suffix: str) -> dict[str, str]:
    """Return for each text, which may be anything, a file's name; no two are alike, in capitals or not."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for text in texts:
        plain = re.sub(r"[^\w\-+=,. ]", "_", text).strip()
        plain = f"_{plain}" if not plain or plain.startswith(".") else plain
        if len(plain.encode()) > 150:
            plain = f"{plain.encode()[:100].decode(errors='ignore')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        number, name = 1, plain
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        found[text] = f"{name}{suffix}"
    return found
