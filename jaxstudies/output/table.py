"""The table of runs: a row per setting and seed. An array is one value: a list whose axes the schema names."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa

from jaxstudies.errors import StudyError


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


def is_list(field: pa.Field) -> bool:
    """Return whether a column holds arrays."""
    return pa.types.is_fixed_size_list(field.type) or pa.types.is_list(field.type)


def _column(values: np.ndarray, field: pa.Field) -> pa.Array:
    if not values.size and values.ndim > 2:
        return pa.array([[]] * math.prod(values.shape[:2]), field.type)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=field.type) if is_list(field) else flat


def to_pandas(rows: pa.Table) -> pd.DataFrame:
    """Return rows as a data frame; arrays are NumPy arrays of their shape, or None."""
    columns = {}
    for field in rows.schema:
        column = rows.column(field.name)
        if not is_list(field):
            columns[field.name] = column.to_pandas()
            continue
        arrays, valid = _arrays(column, field), np.asarray(column.combine_chunks().is_valid())
        objects = np.empty(len(valid), dtype=object)
        objects[valid] = np.fromiter(arrays, dtype=object, count=len(arrays))
        columns[field.name] = objects
    return pd.DataFrame(columns)


def _arrays(column: pa.ChunkedArray, field: pa.Field) -> np.ndarray:
    """Return a measure's values where it has any, rows first."""
    if not is_list(field):
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
