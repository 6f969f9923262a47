"""The table of runs: a row per setting and seed. An array is one value: a list whose axes the schema names."""

import contextlib
import ctypes
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxstudies.errors import StudyError
from jaxstudies.output.files import write_atomic

FORMAT = 2
"""Of the tables; those without one were written by version 0.1."""
ARRAY_BYTES = 2**28
"""Arrays are kept of as many rows as fit into this; behind they are missing."""
ROWS_READ = 10_000
"""Rows that are read at a time: on the way to what pandas holds they take up several times their bytes."""


@runtime_checkable
class Shaped(Protocol):
    """What has a shape and a type of numbers, as `jax.ShapeDtypeStruct` has; whoever reads tables needs no JAX."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of its numbers."""
        ...


Shapes = Mapping[str, Shaped]
"""Shape and type of each measure."""
Piece = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]
"""Settings (by position), seeds, and measures with axes of seeds and settings first."""


class UnreadableRuns(Exception):
    """A table of runs is missing, damaged, or was not written by this version."""


class OtherFormat(UnreadableRuns):
    """A table of runs was written by a version with another format."""


def check_measures(labels: Iterable[str], shapes: Shapes, axes: dict[str, tuple]) -> None:
    """Raise a StudyError where what a simulation returns cannot be a table."""
    for name, shape in shapes.items():
        if name in (*labels, "seed"):
            raise StudyError(f"simulate returned {name!r}, but a column of that name is there")
        if not hasattr(shape.dtype, "kind") or shape.dtype.kind not in "biuf":
            raise StudyError(f"simulate returned {name!r} of type {shape.dtype}; numbers and truth values only")
        if name in axes and len(axes[name]) != len(shape.shape):
            raise StudyError(f"AXES names {axes[name]} for {name!r}, whose shape is {shape.shape}")
    # A measure may be missing in all settings of a run; where an array lacks names, it is a slip.
    unknown = [name for name in axes if name not in shapes]
    if unknown and any(shape.shape and name not in axes for name, shape in shapes.items()):
        raise StudyError(f"AXES names {unknown[0]!r}, which simulate does not return")


def make_schema(labels: dict[str, np.ndarray], shapes: Shapes, axes: dict[str, tuple[str, ...]]) -> pa.Schema:
    """Return the table's columns: labels, `seed`, measures."""
    kinds = {name: pa.array(pd.unique(column)).type for name, column in labels.items()}
    fields = [pa.field(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in kinds.items()]
    fields.append(pa.field("seed", pa.int64()))
    for name, shape in shapes.items():
        kind, about = pa.from_numpy_dtype(shape.dtype), None
        if shape.shape:
            named = axes.get(name, [f"axis_{i}" for i in range(len(shape.shape))])
            about = {"shape": json.dumps(shape.shape), "axes": json.dumps(named)}
            # Of a list without elements, such as a history of no epochs, Parquet knows no fixed size.
            kind = pa.list_(kind, math.prod(shape.shape) or -1)
        fields.append(pa.field(name, kind, metadata=about))
    return pa.schema(fields)


Rows = tuple[pa.Table, np.ndarray]
"""Rows of a table, and the position of the setting of each."""


def rows_of(schema: pa.Schema, labels: dict[str, np.ndarray], piece: Piece) -> Rows:
    """Return the rows of a group of settings, each setting's together."""
    positions, seeds, measures = piece
    columns, number = [], len(positions) * len(seeds)
    for field in schema:
        if field.name in labels:
            columns.append(pa.array(np.repeat(labels[field.name][positions], len(seeds)), field.type))
        elif field.name == "seed":
            columns.append(pa.array(np.tile(seeds, len(positions))))
        elif field.name not in measures:
            columns.append(pa.nulls(number, field.type))
        else:
            columns.append(_column(np.swapaxes(measures[field.name], 0, 1), field))
    return pa.Table.from_arrays(columns, schema=schema), np.repeat(positions, len(seeds))


def assemble(parts: Sequence[Rows]) -> pa.Table:
    """Return rows of several groups of settings as one table, each setting's rows together, in order."""
    whole, places = pa.concat_tables(rows for rows, _ in parts), np.concatenate([places for _, places in parts])
    if np.all(places[:-1] <= places[1:]):
        return whole
    return whole.take(pa.array(np.argsort(places, kind="stable")))


def _is_list(field: pa.Field) -> bool:
    return pa.types.is_fixed_size_list(field.type) or pa.types.is_list(field.type)


def _column(values: np.ndarray, field: pa.Field) -> pa.Array:
    if not values.size and values.ndim > 2:
        return pa.array([[]] * math.prod(values.shape[:2]), field.type)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=field.type) if _is_list(field) else flat


def to_pandas(rows: pa.Table) -> pd.DataFrame:
    """Return rows as a data frame; arrays are NumPy arrays of their shape, or None."""
    columns = {}
    for field in rows.schema:
        column = rows.column(field.name)
        if not _is_list(field):
            columns[field.name] = column.to_pandas()
            continue
        arrays, valid = _arrays(column, field), np.asarray(column.combine_chunks().is_valid())
        objects = np.empty(len(valid), dtype=object)
        objects[valid] = np.fromiter(arrays, dtype=object, count=len(arrays))
        columns[field.name] = objects
    return pd.DataFrame(columns)


def _arrays(column: pa.ChunkedArray, field: pa.Field) -> np.ndarray:
    """Return a measure's values where it has any, rows first."""
    if not _is_list(field):
        return column.drop_null().to_numpy()
    whole = column.combine_chunks()
    shape = json.loads((field.metadata or {}).get(b"shape", b"[-1]"))
    number = len(whole) - whole.null_count
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(number, *shape)


def to_arrays(blocks: Iterable[pa.Table]) -> dict[str, np.ndarray]:
    """Return the measures of rows in blocks as arrays, rows first."""
    listed = list(blocks)
    names = listed[0].schema.names
    behind = names[names.index("seed") + 1 :]
    fields = {name: listed[0].schema.field(name) for name in behind}
    return {n: np.concatenate([_arrays(rows.column(n), field) for rows in listed]) for n, field in fields.items()}


def stacked(runs: pd.DataFrame, name: str) -> np.ndarray:
    """Return a measure as one array, rows first."""
    column, cells = runs[name], runs[name].to_list()
    if column.dtype != object:
        return column.to_numpy()
    if not np.ndim(cells[0]):
        return np.stack(cells)
    return np.concatenate(cells).reshape(len(cells), *np.shape(cells[0]))  # np.stack is slow for many


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
    if not path.is_file():
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
            lists = [field.name for field in schema if _is_list(field)]
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
    kept, condensed, number, first = [], [], 0, stored_sizes(path)[0]
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


def stored_blocks(path: Path) -> Iterator[pa.Table]:
    """Yield a table's rows as they are stored, in the blocks in which they were written."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def stored_rows(path: Path) -> Iterator[pa.Table]:
    """Yield a table's rows as they are stored, few at a time."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(ROWS_READ):
            yield pa.Table.from_batches([batch])


def stored_sizes(path: Path) -> list[int]:
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
