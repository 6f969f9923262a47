"""Claims as data: what is said, by whom, of what, and in which region it is true."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from numbers import Real
from statistics import NormalDist
from typing import Literal

import numpy as np

from jaxstudies.arguments import short
from jaxstudies.errors import StudyError
from jaxstudies.evidence.effects import Effect
from jaxstudies.evidence.estimands import ESTIMANDS

ANY = (-np.inf, np.inf)
CODE = ("effect", "holds", "readings")
"""What of a claim is no part of its record as it stands."""
OPTIONAL = ("figure", "readings", "absent", "lacking")
"""Fields of a record that say nothing where they are absent, as in older records."""


@dataclass(frozen=True)
class Claim:
    """A statement that can be tested, and how: supported, refuted, or inconclusive.

    `effect` takes `of`, which returns a measure by seed under labels, as in `of("loss", width=4)`. A label is the value
    of a factor, or, by the name of one of the measure's axes (`AXES`), an index along it: `of("loss", epoch=-1)`.
    Numbers have 64 bits, and truth values are 1.0 and 0.0: `1 - of("learned")` is the opposite. Series are paired by
    their seeds in arithmetic. A claim is supported if the whole interval of its estimand lies in the region `holds`,
    refuted if none of it does, and else inconclusive; so it is with fewer than three values, with fewer than the
    interval needs, and where all values are equal so that the interval is a point, as that of a mean. The estimands
    are, with the interval of an n that was set beforehand, and the sequence by which a claim is judged where seeds are
    added after a look:

    - `mean`, the mean over seeds: Student's t; of values that are `near_normal` a t sequence, of those with `bounds`
      one by betting, of others none.
    - `geometric_mean`, of positive effects: t of the logarithms; a t sequence if these are `near_normal`.
    - `median`, and `quantile` at `arguments={"quantile": 0.05}`: order statistics, both times.
    - `share`, of outcomes (1 or 0): Clopper and Pearson; a beta-binomial sequence.
    - `share_difference`, of a difference of outcomes of the same seeds (1, 0 or -1): from exact intervals; by betting.
    - `share_against`, a share less another that was stated as `arguments={"count": 996, "of": 1000}`: from exact
      intervals; a beta-binomial sequence, less an exact interval.
    - `quantile_difference`, of columns `value` and `other`, at `arguments={"quantile": 0.05}`: order statistics, both
      times.

    A t interval of values with heavy tails errs more often than its level says, see `Verdict`: name their median.

    Raises:
        StudyError: There is no such estimand, its arguments are not those that it takes, the ends of the region are in
            the wrong order, a margin is narrower than the stated share's own sampling error, or the level is not
            between 0 and 1.

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
    """Ends of the region in which the claim is true."""
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
    """Whether it is one of the study's answers, which are a family of claims, and not one that shows how far another
    goes."""
    ends: Literal["[]", "[)", "(]", "()"] = "[]"
    """Which ends belong to the region: with `(` the lower one does not, with `)` the upper one."""
    where: str = ""
    """Where its source says it."""
    says: str = ""
    """What its source says, in its own terms."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Labels of the settings that it rests on, each one level or a tuple of some; by default those that `effect` asks
    for, or all."""
    population: str = ""
    """What a seed draws anew, and what it does not: the verdict is about what could be drawn so."""
    selection: str = ""
    """Which runs are left, where they are chosen by their outcome."""
    near_normal: str = ""
    """Why the effect of a seed, or its logarithm for a geometric mean, is near normal, if it is."""
    bounds: tuple[float, float] | None = None
    """The least and the most that the effect of a seed can be."""
    not_shown: str = ""
    """What a verdict on it does not show."""
    figure: str = ""
    """Name of the study's figure that shows it, as in `CAPTIONS`, if one does."""
    readings: Mapping[str, Callable[..., Effect]] = field(default_factory=dict)
    """Effects by which others read it, each by a name that is told in words as those of levels are: say, by another
    rule for a collapsed network. They change no verdict; `verify --reading` and the page judge by one, at the same
    region. Under one that raises `Undecidable` nothing is tested."""

    def __post_init__(self):
        if (wrong := _mistake_in(self)) is not None:
            raise StudyError(f"claim {self.id}: {wrong}")

    def record(self) -> dict:
        """Return all but the code, as JSON has it."""
        said = {name: _plain(value) for name, value in vars(self).items() if name not in CODE}
        said |= {"region": [finite(end) for end in self.holds], "readings": list(self.readings)}
        return without_absent(said)


def without_absent(record: dict) -> dict:
    """Return a record without the optional fields that say nothing."""
    return {name: value for name, value in record.items() if name not in OPTIONAL or value}


def _plain(value: object) -> object:
    """Return what JSON has: numbers of NumPy and JAX as Python's, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    number = np.asarray(value)[()] if hasattr(value, "dtype") else value
    if isinstance(number, np.floating):
        return float(str(number))  # a 32-bit 0.1 is 0.1, as in a table's labels
    if number is None or isinstance(number, bool | int | float | str):
        return number
    return number.item() if isinstance(number, np.generic) else str(getattr(number, "__name__", number))


def _mistake_in(claim: Claim) -> str | None:
    """Return what is wrong in a claim: the field, its value, and what is allowed."""
    if claim.estimand not in ESTIMANDS:
        return f"estimand {claim.estimand!r}: one of {', '.join(ESTIMANDS)}"
    if not callable(claim.effect):
        return f"effect {short(claim.effect)}: a function `effect(of)` that returns a measure by seed"
    if not isinstance(claim.readings, Mapping):
        return f"readings {short(claim.readings)}: functions `effect(of)` by name"
    for name, effect in claim.readings.items():
        if not (isinstance(name, str) and name and callable(effect)):
            return f"readings: {short(name)} is {short(effect)}: functions `effect(of)` by name"
    if not _are_ordered(claim.holds) or claim.holds[0] == np.inf or claim.holds[1] == -np.inf:
        return f"holds {short(claim.holds)}: two numbers, the lower end first"
    if claim.ends not in ("[]", "[)", "(]", "()"):
        return f"ends {short(claim.ends)}: one of [], [), (] and ()"
    if claim.bounds is not None and not (_are_ordered(claim.bounds) and 0 < np.ptp(claim.bounds) < np.inf):
        return f"bounds {short(claim.bounds)}: two finite numbers, the lower end first"
    if not (isinstance(claim.level, Real) and claim.level > 0 and (1 + claim.level) / 2 < 1):
        return f"level {short(claim.level)}: a number between 0 and 1, as 0.95"
    takes = ESTIMANDS[claim.estimand].arguments
    if not isinstance(claim.arguments, Mapping) or set(claim.arguments) != set(takes):
        return f"arguments {short(claim.arguments)}: {claim.estimand} takes {' and '.join(takes) or 'none'}"
    for name, (least, most) in takes.items():
        number = claim.arguments[name]
        if not (isinstance(number, Real) and least <= number <= most and number < np.inf):
            return f"arguments: {name} is {short(number)}: a number from {least:g} to {most:g}"
    if claim.estimand == "share_against" and claim.arguments["count"] > claim.arguments["of"]:
        return f"arguments: count is {short(claim.arguments['count'])}: at most {short(claim.arguments['of'])}"
    if claim.estimand == "share_against" and claim.holds[0] < 0 < claim.holds[1]:
        share, of = claim.arguments["count"] / claim.arguments["of"], claim.arguments["of"]
        least = NormalDist().inv_cdf((1 + claim.level) / 2) * np.sqrt(max(share * (1 - share), 0) / of)
        if min(-claim.holds[0], claim.holds[1]) < least:
            return f"holds {short(claim.holds)}: {least:.2g} either way at least, which is the stated share's own error"
    return None


def _are_ordered(ends: object) -> bool:
    try:
        low, high = ends  # type: ignore
        return bool(low <= high)
    except (TypeError, ValueError):
        return False


def finite(number: float) -> float | None:
    """Return a number, or None where JSON has none."""
    return float(number) if np.isfinite(number) else None


def with_primary(claims: Iterable[Claim], *patterns: str) -> list[Claim]:
    """Return claims of which those are primary whose identifiers match a pattern, as `hinge_*.200`."""
    return [replace(claim, primary=any(fnmatchcase(claim.id, pattern) for pattern in patterns)) for claim in claims]


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


def digest(records: Iterable[Mapping]) -> str:
    """Return the SHA-256 of claims' records."""
    return hashlib.sha256(json.dumps(list(records), sort_keys=True).encode()).hexdigest()
