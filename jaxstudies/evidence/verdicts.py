"""Verdicts: what they are of, and how they are said and written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxstudies.errors import StudyError
from jaxstudies.evidence.claims import finite, without_absent
from jaxstudies.evidence.effects import Effect

Kind = Literal["supported", "refuted", "inconclusive", "not tested"]
KINDS: tuple[Kind, ...] = "supported", "refuted", "inconclusive", "not tested"
FIXED, SEQUENCE = "fixed n", "sequence"
"""Rules: n was set before anything was seen; or verdicts hold at every n."""
NO_SEQUENCE = (
    "no sequence holds for this mean, and seeds flow after a look: it needs bounds, a median, or runs of a master seed "
    "that was not looked at"
)
NO_RUN = "no run tests it"


class Unanswerable(StudyError, KeyError):
    """`of` is asked for what a table has not: a measure or label, one setting of several, an index beyond an axis."""

    __str__ = StudyError.__str__  # a KeyError's text would stand in quotation marks


class Undecidable(Exception):
    """What was run cannot decide a claim, whatever its interval, as where the best of a grid lies at the grid's end.

    A claim's `effect` raises it with the reason, and with the effects.
    """

    def __init__(self, why: str, effect: Effect):
        super().__init__(why)
        self.effect = effect


class Verdict(NamedTuple):
    """A claim with its verdict, and the effect and interval on which the verdict rests: an entry of claims.json.

    How often the intervals hold the truth, and how often sequences err:

    .. include:: evidence/coverage.md
    """

    id: str
    """The claim's, as are all but the verdicts, the effect with its interval, n, and how these were had."""
    claim: str
    source: str
    verdict: Kind
    """Where the interval lies: inside the region, outside, or neither; not tested where no run is of it."""
    effect: float
    """Its estimate, NaN where no run tests the claim."""
    low: float
    high: float
    unit: str
    n: int
    """Seeds that the effect rests on."""
    method: str
    estimand: str
    arguments: dict[str, float]
    region: list[float | None]
    """Its ends; None is infinity."""
    margin: str
    level: float
    primary: bool = True
    ends: str = "[]"
    where: str = ""
    says: str = ""
    settings: Mapping[str, Any] = {}
    population: str = ""
    selection: str = ""
    near_normal: str = ""
    bounds: list[float] | None = None
    not_shown: str = ""
    family_verdict: Kind | Literal[""] = ""
    """Where all primary claims of the study together are wrong with no more probability than one alone; empty where it
    is none of them."""
    rule: str = FIXED
    """By which it was judged: of a fixed n, or a sequence."""
    interval: str = ""
    """Which interval it is, in words."""
    seeds: int | None = None
    """Of a sequence, how many seeds there were when the verdict fell, None if it has not."""
    why: str = ""
    """Why it is inconclusive or not tested, unless the interval says it."""
    undecidable: str = ""
    """Why nothing that was run can decide it, if so."""
    asked: list[dict[str, Any]] | None = None
    """Labels of the settings that it rests on; None if that is all."""
    figure: str = ""
    readings: Sequence[str] = ()
    absent: int = 0
    """Seeds whose effect is no number, and that are left out."""
    lacking: str = ""
    """Of what is not tested, what runs lack."""


def sentence(verdict: Verdict) -> str:
    """Return a verdict as a sentence."""
    estimate = "no estimate" if np.isnan(verdict.effect) else f"{verdict.effect:.4g}"
    ends = f"[{verdict.low:.4g}, {verdict.high:.4g}]"
    known = ends if np.isfinite((verdict.low, verdict.high)).any() else "(no interval)"
    unit = f" {verdict.unit}" if verdict.unit else ""
    of = f", {verdict.selection}" if verdict.selection else ""
    said = f"{verdict.verdict.capitalize()}: {verdict.claim}{of} ({verdict.source})"
    if verdict.verdict == "not tested":
        lacking = f"; {verdict.lacking}" if verdict.lacking else ""
        return f"Not tested: {verdict.claim}{of} ({verdict.source}){lacking}."
    more = f"; {verdict.why}" if verdict.why else ""
    fell = f", decided at {verdict.seeds:,} seeds" if verdict.seeds is not None else ""
    family = " (inconclusive as one of a family)" if verdict.family_verdict not in ("", verdict.verdict) else ""
    # Of a selection it is what was asked for.
    absent = f" ({verdict.absent:,} without a number)" if verdict.absent and not verdict.selection else ""
    return f"{said}: {estimate} {known}{unit}, n = {verdict.n:,}{absent}{fell}{more}{family}."


def to_json(verdicts: Iterable[Verdict]) -> list[dict]:
    """Return verdicts as dictionaries; a number that is not known becomes null."""
    rows = (without_absent(verdict._asdict()) for verdict in verdicts)
    return [{k: finite(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
