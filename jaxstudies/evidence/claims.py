"""Claims as data, effects by seed, and the verdicts that are judged from these alone."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxstudies.errors import StudyError
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
    """A statement that can be tested, and how: supported, refuted, or inconclusive.

    `effect` takes `of`, which returns a measure by seed under labels, as in `of("loss", width=4)`. A label is the value
    of a factor, or, by the name of one of the measure's axes (`AXES`), an index along it: `of("loss", epoch=-1)`. Truth
    values are 1 and 0. Series are paired by their seeds in arithmetic. A claim is supported if the whole interval of
    its estimand lies in the region `holds`, refuted if none of it does, and else inconclusive. The estimands are:

    - `mean`, the mean over seeds; Student's t interval.
    - `geometric_mean`, of positive effects; t interval of the logarithms.
    - `share`, of outcomes (1 or 0); Wilson's interval.
    - `share_difference`, of a difference of outcomes of the same seeds (1, 0 or -1); Agresti and Min's interval.
    - `share_against`, a share less another that was stated as `arguments={"count": 996, "of": 1000}`; Newcombe's.
    - `quantile_difference`, of columns `value` and `other`, at `arguments={"quantile": 0.05}`; paired bootstrap.
    - `slope_difference`, of least-squares slopes of `value` on `other` in `group` 1 and 0; Welch's interval.

    Raises:
        StudyError: There is no such estimand, or the ends of the region are in the wrong order.

    Examples:
        >>> from jaxstudies import Claim
        >>> def gain(of):
        ...     return of("learned", width=4) - of("learned", width=2)
        >>> claim = Claim("wider", "four units learn it more often", gain, holds=(0, 1), estimand="share_difference")
        >>> claim.level
        0.95
    """

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
    """What is estimated from the effects, by its name in the list above."""
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
    primary: bool = True
    """Whether it is one of the study's answers, and not one that shows how far another goes."""

    def __post_init__(self):
        if self.estimand not in ESTIMANDS:
            raise StudyError(f"claim {self.id}: estimand {self.estimand!r}: one of {', '.join(ESTIMANDS)}")
        if not self.holds[0] <= self.holds[1]:
            raise StudyError(f"claim {self.id}: holds {self.holds}: the lower end first")

    def record(self) -> dict:
        """Return all but the code, as JSON has it."""
        said = {name: value for name, value in vars(self).items() if name not in ("effect", "holds")}
        method, region = self.method or ESTIMANDS[self.estimand].words, [finite(end) for end in self.holds]
        return said | {"method": method, "region": region, "arguments": dict(self.arguments)}


def with_primary(claims: Iterable[Claim], *patterns: str) -> list[Claim]:
    """Return claims of which those are primary whose identifiers match a pattern, as `hinge_*.200`."""
    return [replace(claim, primary=any(fnmatchcase(claim.id, pattern) for pattern in patterns)) for claim in claims]


class Verdict(NamedTuple):
    """A claim with its verdict, and the effect and interval on which the verdict rests: an entry of claims.json."""

    id: str
    """The claim's, as are all but the verdict, the effect with its interval, and n."""
    claim: str
    source: str
    verdict: Literal["supported", "refuted", "inconclusive"]
    """Where the interval lies: inside the region, outside, or neither."""
    effect: float
    """Its estimate, NaN where no run tests the claim."""
    low: float
    high: float
    unit: str
    n: int
    """Seeds, or shapes, that the effect rests on."""
    method: str
    estimand: str
    arguments: dict[str, float]
    region: list[float | None]
    """Its ends; None is infinity."""
    margin: str
    level: float
    primary: bool = True


def finite(number: float) -> float | None:
    """Return a number, or None where JSON has none."""
    return float(number) if np.isfinite(number) else None


def counts_of(effects: pd.DataFrame) -> np.ndarray:
    """Return for how many seeds each row stands."""
    # Beside claims whose rows are counted, those of others have no count.
    return effects.get("count", pd.Series(1, effects.index)).fillna(1).to_numpy(int)


def outcomes(effects: pd.DataFrame, allowed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and values; raise ValueError if these are no outcomes, whose share would be 0."""
    values = effects["value"].to_numpy(float)
    if not np.isin(values, allowed).all():
        raise ValueError(f"a share is of outcomes: truth values, or numbers among {allowed}")
    return counts_of(effects), values


def hits(effects: pd.DataFrame) -> list[int]:
    """Return how many outcomes are 1, and how many there are."""
    counts, values = outcomes(effects, (0, 1))
    return [int(counts[values == 1].sum()), int(counts.sum())]


def signs(effects: pd.DataFrame) -> list[int]:
    """Return how many differences of outcomes are positive, how many negative, how many there are."""
    counts, values = outcomes(effects, (-1, 0, 1))
    return [int(counts[values > 0].sum()), int(counts[values < 0].sum()), int(counts.sum())]


def numbers(*names: str) -> Callable[[pd.DataFrame], list[np.ndarray]]:
    """Return what takes columns."""
    return lambda effects: [effects[name].to_numpy(float) for name in names]


def lines(effects: pd.DataFrame) -> list[np.ndarray]:
    """Return `other` and `value` of group 1, then those of group 0."""
    groups = (effects[effects["group"] == group] for group in (1, 0))
    return [column for rows in groups for column in numbers("other", "value")(rows)]


class Estimand(NamedTuple):
    """What is estimated from effects: its words, what is taken from them, and the interval of that."""

    words: str
    take: Callable[[pd.DataFrame], list]
    interval: Callable[..., Interval]
    """Takes that, arguments of a claim by name, and a level."""


ESTIMANDS = {
    "mean": Estimand("mean, t interval over seeds", numbers("value"), intervals.mean_interval),
    "geometric_mean": Estimand(
        "geometric mean, t interval of the logarithms", numbers("value"), intervals.geometric_mean
    ),
    "share": Estimand("share, Wilson interval", hits, intervals.wilson),
    "share_difference": Estimand(
        "paired difference of shares, Agresti-Min interval", signs, intervals.paired_difference_of_shares
    ),
    "share_against": Estimand(
        "difference from a stated share, Newcombe interval", hits, intervals.difference_of_shares
    ),
    "quantile_difference": Estimand(
        "difference of quantiles, paired bootstrap", numbers("value", "other"), intervals.quantile_difference
    ),
    "slope_difference": Estimand(
        "difference of least-squares slopes, Welch interval", lines, intervals.difference_of_slopes
    ),
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

    The claim is supported if the whole interval lies inside the region, refuted if it lies wholly outside, and
    otherwise, or without data, the runs are inconclusive. With a region around a stated value this is the test of
    equivalence by two one-sided tests. `record` is `Claim.record` or an entry of claims.json.
    """
    _, take, interval = ESTIMANDS[record["estimand"]]
    effect, low, high = interval(*take(effects), **record["arguments"], level=record["level"])
    least, most = (end if end is not None else default for end, default in zip(record["region"], ANY, strict=True))
    inside, outside = least <= low and high <= most, high < least or most < low
    verdict = "supported" if inside else "refuted" if outside else "inconclusive"
    said: dict[str, Any] = {name: record[name] for name in Verdict._fields if name in record}
    n = int(counts_of(effects).sum())
    return Verdict(**(said | {"verdict": verdict, "effect": effect, "low": low, "high": high, "n": n}))


def judge_all(claims: Iterable[Claim], of: Callable[..., pd.Series]) -> tuple[list[Verdict], pd.DataFrame]:
    """Return the verdicts, and the effects by seed of all claims as one table; `of` returns a measure by seed."""
    verdicts, tables = [], []
    for claim in claims:
        effects = as_effects(claim.effect(of))
        verdicts.append(judge(claim.record(), effects))
        tables.append(effects.assign(claim=claim.id))
    none = pd.DataFrame({"claim": [], "seed": [], "value": []})
    return verdicts, pd.concat(tables, ignore_index=True) if tables else none


def write_effects(path: Path, effects: pd.DataFrame, table_digest: str) -> None:
    """Write the effects by seed, with the digest of the table that they were taken from."""
    columns = [n for n in ("claim", "seed", "value", "other", "group", "count") if n in effects]
    kinds = {"claim": "category", "seed": "Int64", "value": float, "other": float}
    rows = effects[columns].astype({name: kinds[name] for name in columns if name in kinds})
    whole = pa.Table.from_pandas(rows, preserve_index=False)
    whole = whole.replace_schema_metadata({"jaxstudies": json.dumps({"table": table_digest})})
    write_atomic(path, lambda p: pq.write_table(whole, p, compression="zstd"))


def read_effects(path: Path) -> tuple[pd.DataFrame, str]:
    """Return the effects by seed, and the digest of the table that they were taken from."""
    whole = pq.read_table(path)
    return whole.to_pandas(), json.loads(whole.schema.metadata[b"jaxstudies"])["table"]


def sentence(verdict: Verdict) -> str:
    """Return a verdict as a sentence."""
    ends = f"[{verdict.low:.4g}, {verdict.high:.4g}]"
    known = ends if np.isfinite((verdict.low, verdict.high)).any() else "(no interval)"
    unit = f" {verdict.unit}" if verdict.unit else ""
    said = f"{verdict.verdict.capitalize()}: {verdict.claim} ({verdict.source})"
    if not np.isfinite(verdict.effect):
        return f"Not tested: {verdict.claim} ({verdict.source})."
    return f"{said}: {verdict.effect:.4g} {known}{unit}, n = {verdict.n:,}."


def to_json(verdicts: list[Verdict]) -> list[dict]:
    """Return verdicts as dictionaries; a number that is not known becomes null."""
    rows = (verdict._asdict() for verdict in verdicts)
    return [{k: finite(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
