"""Files: the only room that writes tables. What is written appears whole or not at all."""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
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


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files of runs that were killed. No other run may be writing there."""
    for path in directory.glob(".*"):
        if re.fullmatch(r"\..+\.\d+(\.\w+)?", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with one entry per line."""
    write_atomic(path, lambda p: p.write_text(json.dumps(content, indent=2) + "\n"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, numbers to seven significant digits."""
    write_atomic(path, lambda p: table.to_csv(p, index=False, float_format="%.7g"))


def digest(content: Any) -> str:
    """Return a short name for a JSON-like object: equal objects, equal names."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(study: ModuleType) -> str:
    """Return a name for the code that a study's numbers come from."""
    around = {"__main__", "claims", "cli", "cluster", "flags", "launch", "parts", "plotting"}
    around |= {"report", "results", "stats", "theory"}
    files = [p for p in sorted(Path(__file__).parent.glob("*.py")) if p.stem not in around]
    home = Path(str(study.__file__))
    # What a study is too long for lies beside it, under names that begin like its own.
    apart = ("_figures", "_claims", "_counts")
    parts = sorted(p for p in home.parent.glob(f"{home.stem}*.py") if not p.stem.endswith(apart))
    sources = [path.read_bytes() for path in (*files, *parts)]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:16]


def write_runs(path: Path, runs: pd.DataFrame | Iterable[pd.DataFrame], provenance: dict) -> None:
    """Write the table of runs as parquet, with its provenance inside.

    Given in blocks, it is not held in memory; columns that a later block lacks are missing there.
    """
    blocks: Iterator[pd.DataFrame] = iter([runs] if isinstance(runs, pd.DataFrame) else runs)
    first = pa.Table.from_pandas(next(blocks), preserve_index=False)
    text = json.dumps(provenance)
    metadata = {"jaxstudies": text, "digest": _schema_digest(text, first.schema)}
    schema = first.schema.with_metadata(metadata)

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
            writer.write_table(first.replace_schema_metadata(metadata))
            for block in blocks:
                columns = block.reindex(columns=schema.names)
                writer.write_table(pa.Table.from_pandas(columns, schema, preserve_index=False))

    write_atomic(path, write)


def _schema_digest(text: str, schema: pa.Schema) -> str:
    # Parquet calls the values of a list its elements, Arrow its items.
    columns = [(field.name, str(field.type).replace("element", "item")) for field in schema]
    return digest([text, columns])


def read_provenance(path: Path) -> dict:
    """Return the provenance of a table of runs.

    Raises:
        UnreadableRuns: The file is missing, damaged or without provenance.
    """
    if not path.is_file():
        raise UnreadableRuns(f"{path} does not exist")
    try:
        schema = pq.read_schema(path)
        metadata = schema.metadata or {}
        text = metadata[b"jaxstudies"].decode()
        expected = _schema_digest(text, schema).encode()
        if metadata.get(b"digest", expected) != expected:  # earlier versions wrote none
            raise ValueError("the digest differs")
        return json.loads(text)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UnreadableRuns(f"{path} is damaged or not a table of runs") from error


def read_runs(
    path: Path, condense: Callable[[pd.DataFrame], pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Return a table of runs.

    Args:
        path: The file.
        condense: For tables that do not fit into memory, what turns rows into fewer that say the
            same. Rows have a `count`, which is 1 until they are condensed, and are condensed again
            together with others. The first block of rows is left as it is.

    Raises:
        UnreadableRuns: The file is missing or damaged.
        ValueError: `condense` loses or invents rows.
    """
    blocks = _read_blocks(path)
    if condense is None:
        return pd.concat(blocks, ignore_index=True)
    kept, number = [], 0
    for block in blocks:
        number += len(block)
        counted = block.assign(count=1)
        if kept:
            kept[1:] = [condense(pd.concat([*kept[1:], condense(counted)], ignore_index=True))]
        else:
            kept = [counted]
    runs = pd.concat(kept, ignore_index=True)
    if runs["count"].sum() != number:
        raise ValueError(f"{number} rows were condensed to counts of {runs['count'].sum()}")
    return runs


def check_runs(path: Path) -> None:
    """Check that a table of runs can be read.

    Raises:
        UnreadableRuns: The file is missing or damaged.
    """
    for _ in _read_blocks(path):
        pass


def _read_blocks(path: Path) -> Iterator[pd.DataFrame]:
    read_provenance(path)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.num_row_groups:
                raise ValueError("there are no rows")
            for number in range(file.num_row_groups):
                yield file.read_row_group(number).to_pandas()
    except Exception as error:  # a damaged footer can make the reader stumble over anything
        raise UnreadableRuns(f"{path} is damaged") from error


def bring_back(directory: Path, key: str) -> bool:
    """Return whether the finished runs of that key are in the directory, and make them current.

    Runs of other configurations are set aside rather than lost, see `set_aside`.
    """
    current, aside = directory / "runs.parquet", directory / f"runs-{key}.parquet"
    for path in (current, aside):
        try:
            check_runs(path)
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
