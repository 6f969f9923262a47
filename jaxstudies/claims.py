"""Claims and verdicts: what was said, and what the runs say to it."""

from typing import Literal, NamedTuple

import numpy as np

from jaxstudies.stats import Interval


class Claim(NamedTuple):
    """A statement that can be tested: an identifier, the words, and who said it."""

    id: str
    claim: str
    source: str


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


def judge_region(
    claim: Claim,
    effect: Interval,
    *,
    holds: tuple[float, float],
    unit: str,
    n: int,
    method: str,
) -> Verdict:
    """Hold an interval against the region in which the claim is true.

    The claim is supported if the whole interval lies inside the region, refuted if it lies wholly
    outside, and otherwise, or without data, the runs are inconclusive. With a region around a
    stated value this is the test of equivalence by two one-sided tests.

    Args:
        claim: What is judged.
        effect: Estimate, lower and upper end, in `unit`.
        holds: Ends of the region in which the claim is true; infinities are allowed.
        unit: Unit of the effect and of the region.
        n: Number of runs behind the effect.
        method: How effect and interval were found.
    """
    estimate, low, high = effect
    if holds[0] <= low and high <= holds[1]:
        verdict = "supported"
    elif high < holds[0] or holds[1] < low:
        verdict = "refuted"
    else:
        verdict = "inconclusive"
    return Verdict(*claim, verdict, float(estimate), float(low), float(high), unit, int(n), method)


def sentence(verdict: Verdict) -> str:
    """Return a verdict as a line of text."""
    head = f"{verdict.verdict:>12}: {verdict.claim} ({verdict.source})"
    ends = f"[{verdict.low:.4g}, {verdict.high:.4g}]"
    known = ends if np.isfinite((verdict.low, verdict.high)).any() else "(no interval)"
    return f"{head}\n{'':14}{verdict.effect:.4g} {known} {verdict.unit}, n = {verdict.n}"


def to_json(verdicts: list[Verdict]) -> list[dict]:
    """Return verdicts as dictionaries; a number that is not known becomes null."""
    return [
        {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
        for row in (verdict._asdict() for verdict in verdicts)
    ]
