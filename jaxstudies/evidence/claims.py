"""Claims as data, effects by seed, and the verdicts that are judged from these alone."""

import contextlib
import json
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxstudies.arguments import short
from jaxstudies.errors import StudyError
from jaxstudies.evidence import intervals
from jaxstudies.evidence.intervals import Interval
from jaxstudies.output.files import write_atomic

ANY = (-np.inf, np.inf)
POSITIVE = (float(np.nextafter(0.0, 1.0)), np.inf)
"""Above 0: equal is not better."""

Effect: TypeAlias = pd.Series | pd.DataFrame
"""An effect by seed: a series indexed by seed, or a frame whose columns an estimand names. A column
`count` says for how many seeds a row stands; without it, and without a column `group`, no seed stands twice."""


class Unanswerable(StudyError, KeyError):
    """`of` is asked for what a table has not: a measure or label, one setting of several, an index beyond an axis."""

    __str__ = StudyError.__str__  # a KeyError's text would stand in quotation marks


@dataclass(frozen=True)
class Claim:
    """A statement that can be tested, and how: supported, refuted, or inconclusive.

    `effect` takes `of`, which returns a measure by seed under labels, as in `of("loss", width=4)`. A label is the value
    of a factor, or, by the name of one of the measure's axes (`AXES`), an index along it: `of("loss", epoch=-1)`.
    Numbers have 64 bits, and truth values are 1.0 and 0.0: `1 - of("learned")` is the opposite. Series are paired by
    their seeds in arithmetic. A claim is supported if the whole interval of its estimand lies in the region `holds`,
    refuted if none of it does, and else inconclusive. The estimands are:

    - `mean`, the mean over seeds; Student's t interval.
    - `geometric_mean`, of positive effects; t interval of the logarithms.
    - `share`, of outcomes (1 or 0); Wilson's interval.
    - `share_difference`, of a difference of outcomes of the same seeds (1, 0 or -1); Agresti and Min's interval.
    - `share_against`, a share less another that was stated as `arguments={"count": 996, "of": 1000}`; Newcombe's.
    - `quantile_difference`, of columns `value` and `other`, at `arguments={"quantile": 0.05}`; paired bootstrap.
    - `slope_difference`, of least-squares slopes of `value` on `other` in `group` 1 and 0; Welch's interval.

    Raises:
        StudyError: There is no such estimand, its arguments are not those that it takes, the ends of the region are in
            the wrong order, or the level is not between 0 and 1.

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
        if (wrong := _mistake_in(self)) is not None:
            raise StudyError(f"claim {self.id}: {wrong}")

    def record(self) -> dict:
        """Return all but the code, as JSON has it."""
        said = {name: value for name, value in vars(self).items() if name not in ("effect", "holds")}
        method, region = self.method or ESTIMANDS[self.estimand].words, [finite(end) for end in self.holds]
        return said | {"method": method, "region": region, "arguments": dict(self.arguments)}


def _mistake_in(claim: Claim) -> str | None:
    """Return what is wrong in a claim: the field, its value, and what is allowed."""
    if claim.estimand not in ESTIMANDS:
        return f"estimand {claim.estimand!r}: one of {', '.join(ESTIMANDS)}"
    if not callable(claim.effect):
        return f"effect {short(claim.effect)}: a function `effect(of)` that returns a measure by seed"
    try:
        low, high = claim.holds
        ordered = bool(low <= high) and low < np.inf and -np.inf < high
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        return f"holds {short(claim.holds)}: two numbers, the lower end first"
    if not (isinstance(claim.level, Real) and claim.level > 0 and (1 + claim.level) / 2 < 1):
        return f"level {short(claim.level)}: a number between 0 and 1, as 0.95"
    takes = ESTIMANDS[claim.estimand].arguments
    if not isinstance(claim.arguments, Mapping) or set(claim.arguments) != set(takes):
        return f"arguments {short(claim.arguments)}: {claim.estimand} takes {' and '.join(takes) or 'none'}"
    for name, (least, most) in takes.items():
        number = claim.arguments[name]
        if not (isinstance(number, Real) and least <= number <= most and number < np.inf):
            return f"arguments: {name} is {short(number)}: a number from {least:g} to {most:g}"
    return None


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
    """Return counts and values; raise StudyError if these are no outcomes, whose share would be 0."""
    values = effects["value"].to_numpy(float)
    if not np.isin(values, allowed).all():
        raise StudyError(f"a share is of outcomes: truth values, or numbers among {allowed}")
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
    columns: tuple[str, ...] = ("value",)
    """Of effects, which it is taken from."""
    arguments: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """That a claim must give, by name, with the least and the most that each may be."""


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
        "difference from a stated share, Newcombe interval",
        hits,
        intervals.difference_of_shares,
        arguments={"count": (0, np.inf), "of": (1, np.inf)},
    ),
    "quantile_difference": Estimand(
        "difference of quantiles, paired bootstrap",
        numbers("value", "other"),
        intervals.quantile_difference,
        ("value", "other"),
        {"quantile": (0, 1)},
    ),
    "slope_difference": Estimand(
        "difference of least-squares slopes, Welch interval",
        lines,
        intervals.difference_of_slopes,
        ("value", "other", "group"),
    ),
}


def as_effects(effect: Any, estimand: str = "mean") -> pd.DataFrame:
    """Return an effect by seed as rows without missing numbers, with `seed` among the columns.

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
    columns = ESTIMANDS[estimand].columns
    for name in columns:
        if name not in rows:
            raise StudyError(f"its effect has no column {name!r}: {estimand} takes {', '.join(columns)}")
    if (twice := rows.columns[rows.columns.duplicated()]).size:
        raise StudyError(f"its effect has two columns {twice[0]!r}: one of each name")
    seeds = rows["seed"].dropna().infer_objects()
    if len(seeds) and not (seeds.dtype.kind in "iuf" and (seeds % 1 == 0).all()):
        raise StudyError(f"its effect is indexed by {short(seeds.iloc[0])}: by seed, a whole number")
    numbers_of = [name for name in ("value", "other") if name in rows]
    rows = rows.dropna(subset=numbers_of)
    rows = rows.assign(**{name: _as_numbers(rows[name]) for name in numbers_of})
    # Of points on a line, and of rows that are counted, a seed may have several.
    if not {"count", "group"} & set(rows) and (twice := rows["seed"].dropna().duplicated()).any():
        seed = int(rows["seed"].dropna()[twice].iloc[0])
        raise StudyError(f"its effect has seed {seed} twice, and a run counts once: combine settings seed by seed")
    return rows


def _as_numbers(column: pd.Series) -> pd.Series:
    try:
        return column.astype(float)
    except (TypeError, ValueError) as error:
        first, way = column.iloc[0], ""
        said = short(first)
        if shape := np.shape(first):
            said, way = f"an array of shape {shape}", ", had by an index along each axis"
        raise StudyError(f"its effect's {column.name} is {said}: a number{way}") from error


def judge(record: Mapping, effects: pd.DataFrame) -> Verdict:
    """Hold the interval of an effect against the region in which the claim is true.

    The claim is supported if the whole interval lies inside the region, refuted if it lies wholly outside, and
    otherwise, or without data, the runs are inconclusive. With a region around a stated value this is the test of
    equivalence by two one-sided tests. `record` is `Claim.record` or an entry of claims.json.
    """
    estimand = ESTIMANDS[record["estimand"]]
    effect, low, high = estimand.interval(*estimand.take(effects), **record["arguments"], level=record["level"])
    least, most = (end if end is not None else default for end, default in zip(record["region"], ANY, strict=True))
    inside, outside = least <= low and high <= most, high < least or most < low
    verdict = "supported" if inside else "refuted" if outside else "inconclusive"
    said: dict[str, Any] = {name: record[name] for name in Verdict._fields if name in record}
    n = int(counts_of(effects).sum())
    return Verdict(**(said | {"verdict": verdict, "effect": effect, "low": low, "high": high, "n": n}))


def with_own_ids(claims: object) -> list[Claim]:
    """Return claims, or a single one, as a list; raise StudyError if one is none, or two have the same id."""
    listed: list[Claim] = []
    for claim in claims if isinstance(claims, Iterable) else [claims]:
        if not isinstance(claim, Claim):
            raise StudyError(f"claims: {short(claim)} is no Claim")
        listed.append(claim)
    ids = [claim.id for claim in listed]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise StudyError(f"claim {id_}: {ids.count(id_)} claims have this id: one of its own for each")
    return listed


def effects_of(claim: Claim, of: Callable[..., pd.Series]) -> pd.DataFrame:
    """Return a claim's effects by seed, see `as_effects`.

    Raises:
        StudyError: The effect raises or is none; what it raised is the cause.
    """
    with _naming(claim):
        return as_effects(claim.effect(of), claim.estimand)


@contextlib.contextmanager
def _naming(claim: Claim) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # it is whatever a claim's own code raises
        raise StudyError(f"claim {claim.id}: {_in_a_line(error)}") from error


def _in_a_line(error: Exception) -> str:
    if isinstance(error, StudyError):
        return str(error)
    if is_of_truth_values(error):
        return "its effect uses ~, & or |, but truth values are 1.0 and 0.0: write 1 - a, a * b or np.maximum(a, b)"
    text = " ".join(str(error).split())
    return f"its effect raises {type(error).__name__}{': ' if text else ''}{text[:200]}"


def is_of_truth_values(error: BaseException | None) -> bool:
    """Return whether an error was raised by an operator of truth values that met numbers."""
    frames = traceback.walk_tb(error.__traceback__) if isinstance(error, TypeError) else ()
    return any(
        frame.f_code.co_name in ("__invert__", "__and__", "__rand__", "__or__", "__ror__") for frame, _ in frames
    )


def judge_all(
    claims: Iterable[Claim] | Claim, of: Callable[..., pd.Series], wrong: list[StudyError] | None = None
) -> tuple[list[Verdict], pd.DataFrame]:
    """Return the verdicts, and the effects by seed of all claims as one table; `of` returns a measure by seed.

    With a list for what is wrong, claims that cannot be judged are left out, and told there.

    Raises:
        StudyError: An effect raises or is none, its estimand cannot be had of it, or two claims have the same id; the
            line names the claim.
    """
    verdicts, tables = [], []
    for claim in with_own_ids(claims):
        try:
            effects = effects_of(claim, of)
            with _naming(claim):
                verdicts.append(judge(claim.record(), effects))
        except StudyError as error:
            if wrong is None:
                raise
            wrong.append(error)
            continue
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
