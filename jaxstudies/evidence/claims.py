"""Claims as data, and verdicts: what was said, and what the runs say to it.

A claim names an estimand and a region in which it is true. Its effect by seed is a series of
numbers, taken from the table of runs; the effects are written out beside the table, and verdicts
are judged from them alone.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxstudies.evidence import intervals
from jaxstudies.evidence.intervals import Interval
from jaxstudies.output.files import write_atomic

ANY = (-np.inf, np.inf)
POSITIVE = (float(np.nextafter(0.0, 1.0)), np.inf)
"""Above 0: equal is not better."""

Effect: TypeAlias = pd.Series | pd.DataFrame
"""An effect by seed: a series indexed by seed, or a frame whose columns an estimand names. A column
`count` says for how many seeds a row stands."""


@dataclass(frozen=True)
class Claim:
    """A statement that can be tested, and how."""

    id: str
    """Identifier, unique in its study."""
    claim: str
    """The words."""
    effect: Callable[..., Effect]
    """Takes a function `of(measure, **labels)` that returns a measure by seed, and returns the
    effect by seed; series with the same seeds are paired by arithmetic."""
    holds: tuple[float, float]
    """Ends of the region in which the claim is true, both belonging to it."""
    source: str = "ours"
    """Who said it."""
    estimand: str = "mean"
    """What is estimated from the effects, by its name in `ESTIMANDS`."""
    arguments: Mapping[str, float] = field(default_factory=dict)
    """Of the estimand."""
    unit: str = ""
    """Unit of the effect and of the region."""
    method: str = ""
    """How the effect was found, in words."""
    margin: str = ""
    """Why the region ends where it does, unless that is the claim itself."""
    level: float = 0.95
    """Confidence level of the interval."""

    def record(self) -> dict:
        """Return all but the code, as JSON has it."""
        return {
            "id": self.id, "claim": self.claim, "source": self.source, "unit": self.unit,
            "method": self.method or ESTIMANDS[self.estimand].words, "estimand": self.estimand,
            "arguments": dict(self.arguments), "region": [finite(end) for end in self.holds],
            "margin": self.margin, "level": self.level,
        }  # fmt: skip


class Verdict(NamedTuple):
    """A claim with its verdict, and the effect and interval on which the verdict rests."""

    id: str
    claim: str
    source: str
    verdict: Literal["supported", "refuted", "inconclusive"]
    effect: float
    low: float
    high: float
    unit: str
    n: int
    method: str
    estimand: str
    arguments: dict[str, float]
    region: list[float | None]
    """Its ends; None is infinity."""
    margin: str
    level: float


class Estimand(NamedTuple):
    """A function of effects, level and arguments that returns an interval and n, in words."""

    words: str
    estimate: Callable[..., tuple[Interval, int]]


def finite(number: float) -> float | None:
    """Return a number, or None where JSON has none."""
    return float(number) if np.isfinite(number) else None


def counts_of(effects: pd.DataFrame) -> np.ndarray:
    """Return for how many seeds each row stands."""
    if "count" in effects:
        # Beside claims whose rows are counted, those of others have none.
        return effects["count"].fillna(1).to_numpy(int)
    return np.ones(len(effects), int)


def mean(effects: pd.DataFrame, level: float) -> tuple[Interval, int]:
    """Estimate a mean, by Student's t interval."""
    values = effects["value"].to_numpy(float)
    return intervals.mean_interval(values, level), len(values)


def geometric_mean(effects: pd.DataFrame, level: float) -> tuple[Interval, int]:
    """Estimate a geometric mean of positive numbers, by Student's t interval of their logs."""
    return intervals.geometric_mean(effects["value"].to_numpy(float), level), len(effects)


def share(effects: pd.DataFrame, level: float) -> tuple[Interval, int]:
    """Estimate the share of outcomes that are 1, by Wilson's interval."""
    counts, hits = counts_of(effects), effects["value"].to_numpy(float) == 1
    found, n = int(counts[hits].sum()), int(counts.sum())
    return intervals.wilson(found, n, level), n


def share_difference(effects: pd.DataFrame, level: float) -> tuple[Interval, int]:
    """Estimate the difference of two shares in pairs: 1, 0 or -1 each; Agresti-Min interval."""
    counts, values = counts_of(effects), effects["value"].to_numpy(float)
    first, second, n = (int(counts[mask].sum()) for mask in (values > 0, values < 0, values == values))
    return intervals.paired_difference_of_shares(first, second, n, level), n


def share_against(effects: pd.DataFrame, level: float, count: float, of: float) -> tuple[Interval, int]:
    """Estimate the difference of a share from another's `count` in `of`, Newcombe's interval."""
    counts, hits = counts_of(effects), effects["value"].to_numpy(float) == 1
    n = int(counts.sum())
    found = int(counts[hits].sum())
    return intervals.difference_of_shares(found, n, int(count), int(of), level), n


def quantile_difference(effects: pd.DataFrame, level: float, quantile: float) -> tuple[Interval, int]:
    """Estimate the difference of a quantile of `value` and of `other`, paired bootstrap."""
    first, second = effects["value"].to_numpy(float), effects["other"].to_numpy(float)
    return intervals.quantile_difference(first, second, quantile, level), len(effects)


def slope_difference(effects: pd.DataFrame, level: float) -> tuple[Interval, int]:
    """Estimate the slope of `value` on `other` in group 1 minus that in group 0, by Welch's t."""
    groups = (effects[effects["group"] == group] for group in (1, 0))
    (x, y), (other_x, other_y) = (rows[["other", "value"]].to_numpy(float).T for rows in groups)
    return intervals.difference_of_slopes(x, y, other_x, other_y, level), len(effects)


ESTIMANDS = {
    "mean": Estimand("mean, t interval over seeds", mean),
    "geometric_mean": Estimand("geometric mean, t interval of the logarithms", geometric_mean),
    "share": Estimand("share, Wilson interval", share),
    "share_difference": Estimand("paired difference of shares, Agresti-Min interval", share_difference),
    "share_against": Estimand("difference from a stated share, Newcombe interval", share_against),
    "quantile_difference": Estimand("difference of quantiles, paired bootstrap", quantile_difference),
    "slope_difference": Estimand("difference of least-squares slopes, Welch interval", slope_difference),
}


def as_effects(effect: Effect) -> pd.DataFrame:
    """Return an effect by seed as rows without missing numbers, with `seed` among the columns."""
    if isinstance(effect, pd.Series):
        effect = effect.rename("value").to_frame()
    rows = effect.rename_axis("seed").reset_index() if "seed" not in effect else effect
    if rows["value"].dtype == bool:
        rows = rows.assign(value=rows["value"].astype(np.int8))
    return rows.dropna(subset=[name for name in ("value", "other") if name in rows])


def judge(record: Mapping, effects: pd.DataFrame) -> Verdict:
    """Hold the interval of an effect against the region in which the claim is true.

    The claim is supported if the whole interval lies inside the region, refuted if it lies wholly
    outside, and otherwise, or without data, the runs are inconclusive. With a region around a
    stated value this is the test of equivalence by two one-sided tests.

    Args:
        record: A claim as JSON has it, see `Claim.record`, or its entry in claims.json.
        effects: Its effects by seed, see `as_effects`.
    """
    estimate = ESTIMANDS[record["estimand"]].estimate
    (effect, low, high), n = estimate(effects, record["level"], **record["arguments"])
    least, most = (end if end is not None else default for end, default in zip(record["region"], ANY, strict=True))
    if least <= low and high <= most:
        verdict = "supported"
    elif high < least or most < low:
        verdict = "refuted"
    else:
        verdict = "inconclusive"
    said: dict[str, Any] = {name: record[name] for name in Verdict._fields if name in record}
    found = {"verdict": verdict, "effect": float(effect), "low": float(low), "high": float(high), "n": int(n)}
    return Verdict(**(said | found))


def judge_all(claims: Iterable[Claim], of: Callable[..., pd.Series]) -> tuple[list[Verdict], pd.DataFrame]:
    """Return the verdicts, and the effects by seed of all claims as one table.

    Args:
        claims: What is judged; without the settings that one needs it is inconclusive, with n = 0.
        of: Returns a measure by seed.
    """
    verdicts, tables = [], []
    for claim in claims:
        effects = as_effects(claim.effect(of))
        verdicts.append(judge(claim.record(), effects))
        tables.append(effects.assign(claim=claim.id))
    if not tables:
        return [], pd.DataFrame({"claim": [], "seed": [], "value": []})
    return verdicts, pd.concat(tables, ignore_index=True)


def write_effects(path: Path, effects: pd.DataFrame, table_digest: str) -> None:
    """Write the effects by seed, with the digest of the table that they were taken from."""
    columns = [n for n in ("claim", "seed", "value", "other", "group", "count") if n in effects]
    rows = effects[columns].astype({"claim": "category", "seed": "Int64"})
    for name in set(columns) & {"value", "other"}:
        rows[name] = rows[name].astype(float)
    whole = pa.Table.from_pandas(rows, preserve_index=False)
    whole = whole.replace_schema_metadata({"jaxstudies": json.dumps({"table": table_digest})})
    write_atomic(path, lambda p: pq.write_table(whole, p, compression="zstd"))


def read_effects(path: Path) -> tuple[pd.DataFrame, str]:
    """Return the effects by seed, and the digest of the table that they were taken from."""
    whole = pq.read_table(path)
    return whole.to_pandas(), json.loads(whole.schema.metadata[b"jaxstudies"])["table"]


def sentence(verdict: Verdict) -> str:
    """Return a verdict as a line of text."""
    head = f"{verdict.verdict:>12}: {verdict.claim} ({verdict.source})"
    ends = f"[{verdict.low:.4g}, {verdict.high:.4g}]"
    known = ends if np.isfinite((verdict.low, verdict.high)).any() else "(no interval)"
    unit = f" {verdict.unit}" if verdict.unit else ""
    return f"{head}\n{'':14}{verdict.effect:.4g} {known}{unit}, n = {verdict.n:,}"


def to_json(verdicts: list[Verdict]) -> list[dict]:
    """Return verdicts as dictionaries; a number that is not known becomes null."""
    return [
        {k: finite(v) if isinstance(v, float) else v for k, v in row.items()}
        for row in (verdict._asdict() for verdict in verdicts)
    ]
