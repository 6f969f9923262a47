"""Runs that hold NaN or infinity: counted, and named in a line."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa


class NonFinite(NamedTuple):
    """Runs in which a number is NaN or infinite."""

    runs: int
    of: int
    """Runs in all."""
    measures: dict[str, int]
    """How many runs by measure; a measure without any is left out."""
    settings: dict[tuple[str, ...], int]
    """How many runs by setting, as the texts of its labels."""
    varying: dict[str, bool]
    """Whether a label has several levels."""
    lacking: frozenset[tuple[tuple[str, ...], str]] = frozenset()
    """Settings, as `label_text` of their labels, that have not a measure, with its name."""


def count(blocks: Iterable[pa.Table], padded: Iterable[str] = ()) -> NonFinite:
    """Count the runs of a table with numbers that are NaN or infinite, but in measures that are padded with these."""
    measures: Counter[str] = Counter()
    settings: Counter[tuple[str, ...]] = Counter()
    levels: dict[str, set] = {}
    lacking: set[tuple[tuple[str, ...], str]] = set()
    total = 0
    for rows in blocks:
        total += rows.num_rows
        names = rows.schema.names
        labels, behind = names[: names.index("seed")], names[names.index("seed") + 1 :]
        for name in labels:
            levels.setdefault(name, set()).update(rows.column(name).unique().to_pylist()[:2])
        anywhere = np.zeros(rows.num_rows, bool)
        for name in (name for name in behind if name not in padded):
            found = _rows(rows.column(name).combine_chunks())
            measures[name] += int(found.sum())
            anywhere |= found
        if anywhere.any():
            settings.update(tuple(map(str, setting)) for setting in _labels(rows, labels, anywhere))
        for name in (name for name in behind if rows.column(name).null_count):
            there = _labels(rows, labels, np.asarray(rows.column(name).is_null()))
            lacking.update((tuple(map(label_text, setting)), name) for setting in there)
    varying = {name: len(found) > 1 for name, found in levels.items()}
    return NonFinite(sum(settings.values()), total, dict(+measures), dict(settings), varying, frozenset(lacking))


def _labels(rows: pa.Table, labels: list[str], among: np.ndarray) -> list[tuple]:
    """Return the labels of some rows."""
    if not labels:
        return [()] * int(among.sum())
    chosen = rows.select(labels).filter(pa.array(among))
    return list(zip(*(column.to_pylist() for column in chosen.columns), strict=True))


def label_text(label: object) -> str:
    """Return a label as text, the same as Arrow has it and as pandas, whose whole numbers beside None are floats."""
    if label is None or label != label:
        return "None"
    return str(int(label) if isinstance(label, float) and label.is_integer() and abs(label) < 2**53 else label)


def _rows(column: pa.Array) -> np.ndarray:
    """Return in which rows of a column a number that is there is not finite."""
    found, there = np.zeros(len(column), bool), np.asarray(column.is_valid())
    nested = pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type)
    if not pa.types.is_floating(column.type.value_type if nested else column.type):
        return found
    values = (column.flatten() if nested else column.drop_null()).to_numpy(zero_copy_only=False)
    if values.size:
        found[there] = ~np.isfinite(values.reshape(there.sum(), -1)).all(axis=1)
    return found


def in_words(found: NonFinite) -> str:
    """Return in a line how many runs are not finite, in which measures, and in which setting most."""
    measures = ", ".join(f"{name} ({count:,})" for name, count in found.measures.items())
    setting, count = max(found.settings.items(), key=lambda item: item[1])
    told = zip(found.varying.items(), setting, strict=True)
    where = ", ".join(f"{name} {value}" for (name, varies), value in told if varies)
    most = f"; {'most' if len(found.settings) > 1 else 'all'} with {where} ({count:,})" if where else ""
    return f"NaN or infinite: {found.runs:,} of {found.of:,} runs, in {measures}{most}"
