"""The file of a table of runs: written in one piece, with its provenance inside, and read few rows at a time."""

import contextlib
import ctypes
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxstudies.ours import write_atomic
from jaxstudies.output.table import is_list, to_pandas

FORMAT = 2
"""Of the tables; those without one were written by version 0.1."""
ARRAY_BYTES = 2**28
"""Arrays are kept of as many rows as fit into this; behind they are missing."""
ROWS_READ = 10_000
"""Rows that are read at a time: on the way to what pandas holds they take up several times their bytes."""


class UnreadableRuns(Exception):
    """A table of runs is missing, damaged, or was not written by this version."""


class OtherFormat(UnreadableRuns):
    """A table of runs was written by a version with another format."""


def write_runs(
    path: Path, blocks: Iterable[pa.Table], provenance: dict, then: Callable[[], object] = lambda: None
) -> None:
    """Write a table of runs, which need not fit into memory, with its provenance inside.

    Before it appears `then` is called.
    """
    rows = iter(blocks)
    first = next(rows)
    text = json.dumps(provenance | {"format": FORMAT})
    schema = first.schema.with_metadata({"jaxstudies": text, "digest": _schema_digest(text, first.schema)})

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, schema, write_page_checksum=True, compression="zstd") as writer:
            for block in itertools.chain([first], rows):
                writer.write_table(block)
                give_memory_back()
        then()

    write_atomic(path, write)


def _schema_digest(text: str, schema: pa.Schema) -> str:
    # Parquet calls the values of a list its elements, Arrow its items.
    columns = [(field.name, str(field.type).replace("element", "item")) for field in schema]
    return hashlib.sha256(json.dumps([text, columns]).encode()).hexdigest()[:16]


def read_provenance(path: Path) -> dict:
    """Return the provenance of a table of runs, or raise `UnreadableRuns`."""
    if not os.path.isfile(path):  # of a name that cannot be one, too
        raise UnreadableRuns(f"{path} does not exist")
    try:
        schema = pq.read_schema(path)
        metadata = schema.metadata or {}
        text = metadata[b"jaxstudies"].decode()
        provenance = json.loads(text)
        if "format" in provenance and metadata[b"digest"].decode() != _schema_digest(text, schema):
            raise ValueError("the digest differs")
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UnreadableRuns(f"{path} is damaged or not a table of runs") from error
    if provenance.get("format") != FORMAT:
        version = provenance.get("environment", {}).get("jaxstudies", "another")
        raise OtherFormat(f"{path} was written by version {version}, in another format")
    return provenance


def axes_of(path: Path) -> dict[str, list[str]]:
    """Return the names of the axes of a table's measures that are arrays."""
    return {f.name: json.loads(f.metadata[b"axes"]) for f in pq.read_schema(path) if b"axes" in (f.metadata or {})}


def read_blocks(path: Path, arrays: bool = True) -> Iterator[pd.DataFrame]:
    """Yield a table's rows, few at a time, or raise `UnreadableRuns`.

    Without `arrays`, what is an array is read of the first rows that fit into `ARRAY_BYTES`, and None behind.
    """
    read_provenance(path)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.num_row_groups:
                raise ValueError("there are no rows")
            schema, left, seen = file.schema_arrow, ARRAY_BYTES, 0
            lists = [field.name for field in schema if is_list(field)]
            for number in range(file.num_row_groups):
                chosen = schema.names if left > 0 else [n for n in schema.names if n not in lists]
                for batch in file.iter_batches(ROWS_READ, [number], columns=chosen):
                    rows, seen = pa.Table.from_batches([batch]), seen + batch.num_rows
                    left -= 0 if arrays else sum(rows.column(n).nbytes for n in lists if n in chosen)
                    yield to_pandas(rows).reindex(columns=schema.names)
            if not seen or seen != file.metadata.num_rows:
                raise ValueError("there are not as many rows as it says")
    except Exception as error:  # a damaged footer can make the reader stumble over anything
        raise UnreadableRuns(f"{path} is damaged") from error


def _with_first_arrays(blocks: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield rows, with the arrays of the first that fit into `ARRAY_BYTES`, and None behind."""
    left = ARRAY_BYTES
    for rows in blocks:
        objects = [name for name in rows if rows[name].dtype == object]
        arrays = [name for name in objects if rows[name].map(lambda cell: isinstance(cell, np.ndarray)).any()]
        yield rows if left > 0 else rows.assign(**dict.fromkeys(arrays))
        left -= sum(getattr(cell, "nbytes", 0) for name in arrays for cell in rows[name])


def read_runs(
    path: Path,
    derive: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    condense: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Return a table of runs, with the columns that `derive` adds, or raise `UnreadableRuns`.

    Where a table does not fit into memory, `condense` turns rows into fewer that say the same, again
    and again. Rows have a `count`, at first 1. Those that were written first, as one block, are left as they are.
    """
    if condense is None:
        # What `derive` makes of arrays, it makes of all.
        blocks = _with_first_arrays(map(derive, read_blocks(path))) if derive else read_blocks(path, arrays=False)
        return pd.concat(blocks, ignore_index=True)
    blocks = ((derive(block) if derive else block).assign(count=1) for block in read_blocks(path))
    kept, condensed, number, first = [], [], 0, group_sizes(path)[0]
    for block in blocks:
        number += len(block)
        if number <= first:
            kept.append(block)
        else:
            condensed = [condense(pd.concat([*condensed, condense(block)], ignore_index=True))]
    runs = pd.concat(kept + condensed, ignore_index=True)
    if runs["count"].sum() != number:
        raise ValueError(f"{number} rows were condensed to counts of {runs['count'].sum()}")
    return runs


def row_groups(path: Path) -> Iterator[pa.Table]:
    """Yield a table's rows as they are stored, in the blocks in which they were written."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def batches(path: Path) -> Iterator[pa.Table]:
    """Yield a table's rows as they are stored, few at a time."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(ROWS_READ):
            yield pa.Table.from_batches([batch])


def group_sizes(path: Path) -> list[int]:
    """Return the numbers of rows of the blocks in which a table was written."""
    about = pq.read_metadata(path)
    return [about.row_group(number).num_rows for number in range(about.num_row_groups)]


def is_readable(path: Path) -> bool:
    """Return whether a table can be read to its end."""
    try:
        read_provenance(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.metadata.num_rows == sum(batch.num_rows for batch in file.iter_batches())
    except Exception:  # whatever is wrong with it
        return False


def give_memory_back() -> None:
    """Return to the system what is free: allocators keep what the last block took, each for itself."""
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # where the C library is not GNU's
        ctypes.CDLL(None).malloc_trim(0)
