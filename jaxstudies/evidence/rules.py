"""The rules of verdicts: intervals held against regions, of a fixed n or at each look, alone and as a family."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from jaxstudies.errors import StudyError
from jaxstudies.evidence.claims import ANY
from jaxstudies.evidence.effects import first_seeds
from jaxstudies.evidence.estimands import ESTIMANDS, Method, counts_of
from jaxstudies.evidence.intervals import clipped
from jaxstudies.evidence.verdicts import FIXED, NO_RUN, NO_SEQUENCE, SEQUENCE, Kind, Verdict


class Measured(NamedTuple):
    """The interval of a claim's effects, before it is held against a region."""

    interval: tuple[float, float, float]
    n: int
    why: str = ""
    """Why they decide nothing, whatever the region."""


class Judged(NamedTuple):
    """An interval held against a region."""

    kind: Kind
    interval: tuple[float, float, float]
    n: int
    why: str = ""


def measured(record: Mapping, method: Method, effects: pd.DataFrame, levels: Iterable[float]) -> Iterator[Measured]:
    """Yield the interval of a claim's effects at each level."""
    n, values = int(counts_of(effects).sum()), effects["value"]
    taken, are_equal = method.take(effects), values.nunique() == 1
    possible = record["bounds"] if record["estimand"] == "mean" else None
    few = f"{n} values are too few, {method.least} at least are needed" if n else record.get("lacking") or NO_RUN
    for level in levels:
        interval = clipped(
            method.interval(*taken, **record["arguments"], level=level),
            *(possible or ESTIMANDS[record["estimand"]].possible),
        )
        equal = "all values are equal, which is no evidence" if are_equal and interval[1] == interval[2] else ""
        yield Measured(interval, n, few if n < method.least else equal)


def held_against(record: Mapping, method: Method, effects: pd.DataFrame, level: float) -> Judged:
    """Hold the interval of effects against the region in which the claim is true, see `measured`."""
    ((interval, n, why),) = measured(record, method, effects, [level])
    if why:
        return Judged("inconclusive" if n else "not tested", interval, n, why)
    _, low, high = interval
    least, most = _ends(record["region"])
    from_low, to_high = record["ends"]
    # An end that does not belong to the region must not lie in the interval, either.
    inside = (least < low or (least == low and from_low == "[")) and (high < most or (high == most and to_high == "]"))
    outside = high < least or most < low or (high == least and from_low == "(") or (low == most and to_high == ")")
    return Judged("supported" if inside else "refuted" if outside else "inconclusive", interval, n)


def _ends(region: Sequence[float | None]) -> tuple[float, float]:
    """Return the ends of a region; None is infinity."""
    least, most = (end if end is not None else default for end, default in zip(region, ANY, strict=True))
    return least, most


def method_of(record: Mapping, looks: Sequence[int] | None) -> Method | None:
    """Return the interval that a claim is judged by, for `looks` as in `judge`, or None if there is none."""
    estimand = ESTIMANDS[record["estimand"]]
    return estimand.fixed(record) if looks is None else estimand.sequence(record)


def judge(
    record: Mapping, effects: pd.DataFrame, looks: Sequence[int] | None = None, level: float | None = None
) -> Verdict:
    """Judge a claim from its effects by seed.

    Args:
        record: `Claim.record`, or an entry of claims.json.
        effects: Its effects by seed, see `as_effects`.
        looks: Numbers of seeds at which verdicts were seen, the last one that of all; None if they are seen for the
            first time. Where there are several, the verdict falls at the first that decides, and stays.
        level: Of the interval, if not that of the claim.

    Raises:
        StudyError: An effect lies beyond the bounds that were stated, be it after the look that decided.
    """
    values = effects["value"]
    if record["bounds"] is not None and not (within := values.between(*record["bounds"])).all():
        raise StudyError(f"bounds {tuple(record['bounds'])}: an effect is {values[~within].iloc[0]:g}")
    estimand, level = ESTIMANDS[record["estimand"]], record["level"] if level is None else level
    method = method_of(record, looks)
    said: dict[str, Any] = {name: record[name] for name in Verdict._fields if name in record}
    if method is None:
        judged, fell, words = held_against(record, estimand.fixed(record), effects, level), None, "none"
        judged = judged._replace(interval=(judged.interval[0], np.nan, np.nan))
        if judged.n:
            judged = judged._replace(kind="inconclusive", why=NO_SEQUENCE)
    else:
        judged, fell = first_decided(record, method, effects, looks, level)
        words = method.words
    if record.get("undecidable") and judged.n:
        judged, fell = judged._replace(kind="inconclusive", why=record["undecidable"]), None
    effect, low, high = judged.interval
    found = {"verdict": judged.kind, "effect": effect, "low": low, "high": high, "n": judged.n, "why": judged.why}
    how = {"rule": FIXED if looks is None else SEQUENCE, "interval": words, "seeds": fell, "family_verdict": ""}
    return Verdict(**(said | found | how))


def first_decided(
    record: Mapping, method: Method, effects: pd.DataFrame, looks: Sequence[int] | None, level: float
) -> tuple[Judged, int | None]:
    """Return what is judged at the first look that decides, or else at the last, and of how many seeds it was."""
    for look in _promising(record, method, effects, (looks or ())[:-1], level):
        seen = first_seeds(effects, look)
        judged = None if seen is None else held_against(record, method, seen, level)
        if judged is not None and judged.kind in ("supported", "refuted"):
            return judged, look
    judged = held_against(record, method, effects, level)
    decided = looks and judged.kind in ("supported", "refuted")
    return judged, looks[-1] if looks and decided else None


def _promising(
    record: Mapping, method: Method, effects: pd.DataFrame, looks: Sequence[int], level: float
) -> Iterable[int]:
    """Return those among looks at which a verdict may have fallen; the others need no interval."""
    if method.may_exclude is None or not looks:
        return looks
    seeds = effects["seed"]
    if seeds.isna().any() or not seeds.is_monotonic_increasing:
        return looks
    sizes = seeds.to_numpy(int).searchsorted(looks)
    (over_least, under_least), (over_most, under_most) = (
        method.may_exclude(*method.take(effects), sizes, end, level=level) for end in _ends(record["region"])
    )
    may_fall = (over_least & under_most) | over_most | under_least
    return [look for look, may in zip(looks, may_fall, strict=True) if may]


def with_family(verdicts: Sequence[Verdict], again: Callable[[Verdict, float], Verdict]) -> list[Verdict]:
    """Add the verdicts of the primary claims as a family, by Holm (1979, Scand. J. Statist. 6:65).

    That any claim is decided whose effect lies on its region's border has the probability of one alone, however they
    depend on one another, as far as the intervals hold: as long as a further one is decided, the others need to be so
    at a lower level.

    Args:
        verdicts: Each at its claim's own level.
        again: Judges one anew at another level.
    """
    family = [v for v in verdicts if v.primary and v.verdict != "not tested"]
    alone = {v.id: v.verdict for v in family}
    decided: dict[str, Verdict] = {}
    while len(decided) < len(family):
        left = [v for v in family if v.id not in decided]
        new = {v.id: again(v, 1 - (1 - v.level) / len(left)) for v in left if v.verdict in ("supported", "refuted")}
        # At a later look it may be decided the other way.
        new = {id_: v for id_, v in new.items() if v.verdict == alone[id_]}
        if not new:
            break
        decided |= new

    def of_family(verdict: Verdict) -> Kind | Literal[""]:
        if not verdict.primary:
            return ""
        if verdict.verdict == "not tested":
            return "not tested"
        return decided[verdict.id].verdict if verdict.id in decided else "inconclusive"

    return [verdict._replace(family_verdict=of_family(verdict)) for verdict in verdicts]


def judge_records(
    records: Iterable[Mapping], effects: Mapping[str, pd.DataFrame], looks: Sequence[int] | None = None
) -> list[Verdict]:
    """Judge claims' records, alone and as a family, from their effects by seed, by identifier."""
    listed = {record["id"]: record for record in records}
    alone = [judge(record, effects[id_], looks) for id_, record in listed.items()]
    return with_family(alone, lambda v, level: judge(listed[v.id], effects[v.id], looks, level))
