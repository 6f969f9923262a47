"""Effects by seed: what verdicts are judged from, without the study's code."""

import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxstudies.arguments import short
from jaxstudies.errors import StudyError
from jaxstudies.evidence.estimands import ESTIMANDS, counts_of
from jaxstudies.ours import write_atomic

Effect: TypeAlias = pd.Series | pd.DataFrame
"""An effect by seed: a series indexed by seed, or a frame whose columns an estimand names. A column `count` says for
how many seeds a row stands; without it no seed stands twice."""


def as_effects(effect: Any, estimand: str = "mean") -> pd.DataFrame:
    """Return an effect by seed as rows without missing numbers, in the order of seeds, with `seed` among the columns.

    Raises:
        StudyError: See `with_absent`.
    """
    return with_absent(effect, estimand)[0]


def with_absent(effect: Any, estimand: str = "mean") -> tuple[pd.DataFrame, int]:
    """Return what `as_effects` does, and for how many seeds the effect is no number, which are left out.

    Raises:
        StudyError: It is no series or frame by seed, lacks a column that the estimand takes, has something else than
            numbers there, or a seed stands twice in it.
    """
    if not isinstance(effect, pd.Series | pd.DataFrame):
        raise StudyError(f"its effect is {short(effect)}: a Series by seed, or a DataFrame with a column 'value'")
    rows = effect.rename("value").to_frame() if isinstance(effect, pd.Series) else effect
    if "seed" not in rows:
        if rows.index.nlevels > 1 or rows.index.name not in (None, "seed"):
            raise StudyError(f"its effect is indexed by {', '.join(map(str, rows.index.names))}: by seed alone")
        rows = rows.rename_axis("seed").reset_index()
    rows = rows.reset_index(drop=True)  # which may be called as a column is
    columns = ESTIMANDS[estimand].columns
    for name in columns:
        if name not in rows:
            raise StudyError(f"its effect has no column {name!r}: {estimand} takes {', '.join(columns)}")
    if (twice := rows.columns[rows.columns.duplicated()]).size:
        raise StudyError(f"its effect has two columns {twice[0]!r}: one of each name")
    seeds = rows["seed"].dropna().infer_objects()
    if len(seeds) and not (seeds.dtype.kind in "iuf" and (seeds % 1 == 0).all()):
        raise StudyError(f"its effect is indexed by {short(seeds.iloc[0])}: by seed, a whole number")
    if "count" in rows and not _are_counts(rows["count"]):
        raise StudyError("its effect's count is of how many seeds a row stands for: whole numbers, none below 0")
    numbers_of = [name for name in ("value", "other") if name in rows]
    every = rows[[name for name in ("seed", "value", "other", "count") if name in rows]]
    rows = every.dropna(subset=numbers_of)
    absent = int(counts_of(every).sum() - counts_of(rows).sum())
    rows = rows.assign(**{name: _as_numbers(rows[name]) for name in numbers_of})
    # Of rows that are counted a seed may have several.
    if "count" not in rows and (twice := rows["seed"].dropna().duplicated()).any():
        seed = int(rows["seed"].dropna()[twice].iloc[0])
        raise StudyError(f"its effect has seed {seed} twice, and a run counts once: combine settings seed by seed")
    return rows.sort_values("seed", kind="stable") if rows["seed"].notna().all() else rows, absent


def _are_counts(column: pd.Series) -> bool:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(float)
    return bool((np.isfinite(numbers) & (numbers >= 0) & (numbers % 1 == 0)).all())


def _as_numbers(column: pd.Series) -> pd.Series:
    try:
        if column.dtype.kind not in "biuf" and column.map(lambda one: isinstance(one, str | bytes | complex)).any():
            raise TypeError("texts and complex numbers are turned into numbers")
        return column.astype(float)
    except (TypeError, ValueError) as error:
        first, way = column.iloc[0], ""
        said = short(first)
        if shape := np.shape(first):
            said, way = f"an array of shape {shape}", ", had by an index along each of the study's named axes"
        raise StudyError(f"its effect's {column.name} is {said}: a number{way}") from error


def first_seeds(effects: pd.DataFrame, number: int) -> pd.DataFrame | None:
    """Return the effects of the first seeds, or None where some of these are counted in rows without a seed."""
    seeds = effects["seed"]
    if not seeds.isna().any() and seeds.is_monotonic_increasing:  # as `as_effects` has them: nothing is copied
        return effects.iloc[: int(seeds.searchsorted(number))]
    known = seeds.dropna()
    if len(known) < len(seeds) and (not len(known) or number > known.max()):
        return None
    return effects[(seeds < number).fillna(False).to_numpy(bool)]


def up_to(effects: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return the effects of the first seeds, or all where seeds are not told apart."""
    first = first_seeds(effects, number)
    return effects if first is None else first


def by_claim(effects: pd.DataFrame, reading: str = "") -> dict[str, pd.DataFrame]:
    """Return the effects of each claim by its identifier: its own, or those under one of its `readings`."""
    if "reading" in effects:
        effects = effects[effects["reading"] == reading if reading else effects["reading"].isna()]
    elif reading:
        effects = effects[:0]
    return dict(list(effects.groupby("claim", observed=True)))


def write_effects(path: Path, effects: pd.DataFrame, table_digest: str) -> None:
    """Write the effects by seed, with the digest of the table that they were taken from."""
    columns = [n for n in ("claim", "seed", "value", "other", "count", "reading") if n in effects]
    kinds = {"claim": "category", "reading": "category", "seed": "Int64", "value": float, "other": float}
    rows = effects[columns].astype({name: kinds[name] for name in columns if name in kinds})
    whole = pa.Table.from_pandas(rows, preserve_index=False)
    whole = whole.replace_schema_metadata({"jaxstudies": json.dumps({"table": table_digest})})
    write_atomic(path, lambda p: pq.write_table(whole, p, compression="zstd"))


def read_effects(path: Path) -> tuple[pd.DataFrame, str]:
    """Return the effects by seed, and the digest of the table that they were taken from."""
    whole = pq.read_table(path)
    return whole.to_pandas(), json.loads(whole.schema.metadata[b"jaxstudies"])["table"]
