"""Intervals of every claim at a ladder of levels and numbers of seeds, so that a browser can judge them again.

The browser only holds intervals against regions: how these are had is written once, in `jaxstudies.evidence`.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxstudies.errors import StudyError
from jaxstudies.evidence import effects as effects_by_seed
from jaxstudies.evidence import records, rules, verdicts
from jaxstudies.evidence.claims import finite
from jaxstudies.evidence.records import Unverifiable

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Confidence levels among which a reader chooses, beside the claims' own."""
SEEDS = tuple(digit * 10**power for power in range(9) for digit in (1, 2, 5))[2:]
"""Numbers of first seeds among which a reader chooses, beside all: 5, 10, 20, 50 and so on."""
FEWER = (0.9, 0.95, 0.99)
MOST, MOST_AT_LOOKS = 120_000, 20_000
"""Intervals of a study, at most: with more of them, fewer levels are offered. Those of sequences take longer."""
DAMAGED = (Unverifiable, StudyError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


class Ends:
    """The ends of all intervals of a study, in blocks; one that comes again stands there once."""

    def __init__(self):
        self._blocks: dict[bytes, int] = {}
        self._length = 0

    def place(self, ends: Sequence[float]) -> int:
        """Return before how many intervals a block of lower and upper ends in turn stands, and put it there."""
        block = np.array(ends, "<f8").tobytes()
        if block not in self._blocks:
            self._blocks[block] = self._length
            self._length += len(ends) // 2
        return self._blocks[block]

    def packed(self) -> str:
        """Return all blocks as base64 of little-endian numbers of 64 bits."""
        return base64.b64encode(b"".join(self._blocks)).decode()


def ladders_of(directory: Path) -> dict[str, Any]:
    """Return what a browser needs to judge the claims of a directory again, as JSON has it; only `why` if it cannot.

    In `packed` are the ends of intervals, see `Ends`. Of each claim, and each of its readings, a block for each number
    of seeds stands at the place that is named there: level by level, and for a primary claim of a family of k at the
    level itself and at 1 - (1 - level) / 2 up to 1 - (1 - level) / k.
    """
    try:
        if wrong := list(records.verify(directory)):
            return {"why": "; ".join(wrong)}
        judged = records.read(directory)
        claims, looks = judged["claims"], judged["rule"]["looks"]
        effects = {name: records.by_id(directory, judged, name) for name in ("", *records.readings_of(judged))}
        sizes = looks or sizes_of(rows for read in effects.values() for rows in read.values())
        family = max(_tested(claims, read) for read in effects.values())
        parts = [max(family, 1) if claim["primary"] else 1 for claim in claims]
        ways = [("", *claim.get("readings", ())) for claim in claims]
        at_once = len(sizes) * sum(number * len(names) for number, names in zip(parts, ways, strict=True))
        most = MOST if looks is None else MOST_AT_LOOKS
        levels = next((offered for offered in (LEVELS, FEWER) if at_once * (len(offered) + 1) <= most), ())
        entries, ends = [], Ends()
        for claim, number, names in zip(claims, parts, ways, strict=True):
            ladder = [*levels, *([] if claim["level"] in levels else [claim["level"]])]
            at = [level if k == 1 else 1 - (1 - level) / k for level in ladder for k in range(1, number + 1)]
            seen = {name: effects[name][claim["id"]].drop(columns="reading", errors="ignore") for name in names}
            same = {name: next(o for o in names if _are_equal(seen[o], seen[name])) for name in names}
            rungs = {name: _rungs(claim, seen[name], sizes, looks, at, ends) for name in dict.fromkeys(same.values())}
            read = {name: rungs[first] for name, first in same.items()}
            entry = {name: claim[name] for name in ("region", "ends", "primary", "unit", "undecidable")}
            entry |= {"own": ladder.index(claim["level"]), "parts": number, "rows": read.pop("")}
            entries.append(entry | ({"readings": read} if read else {}))
        numbers = {"packed": ends.packed(), "levels": list(levels), "sizes": list(sizes)}
        return numbers | {"sequence": looks is not None, "claims": entries}
    except DAMAGED as error:
        return {"why": f"{error}"}


def _are_equal(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return one is other or one.reset_index(drop=True).equals(other.reset_index(drop=True))


def _tested(claims: Iterable[Mapping], effects: Mapping[str, pd.DataFrame]) -> int:
    """Return the number of primary claims that runs test."""
    return sum(bool(claim["primary"] and len(effects[claim["id"]])) for claim in claims)


def sizes_of(effects: Iterable[pd.DataFrame]) -> list[int]:
    """Return the numbers of first seeds that are offered, the last one that of all."""
    last = max((int(rows["seed"].max()) + 1 for rows in effects if rows["seed"].notna().any()), default=1)
    return [*(size for size in SEEDS if size < last), last]


def _rungs(
    claim: Mapping,
    effects: pd.DataFrame,
    sizes: Sequence[int],
    looks: Sequence[int] | None,
    levels: Sequence[float],
    ends: Ends,
) -> list[dict[str, Any]]:
    """Return what is known of effects at each number of seeds, and where their intervals at all levels stand."""
    method, fixed = rules.method_of(claim, looks), rules.method_of(claim, None)
    assert fixed is not None
    rows = []
    for size in sizes:
        first = effects if size == sizes[-1] else effects_by_seed.first_seeds(effects, size)
        # A sequence has no look where seeds are not told apart.
        skipped = {} if first is not None else {"skipped": True}
        seen = list(rules.measured(claim, method or fixed, effects if first is None else first, levels))
        if method is None:
            known = (seen[0].interval[0], np.nan, np.nan)
            seen = [
                found._replace(interval=known, why=verdicts.NO_SEQUENCE if found.n else found.why) for found in seen
            ]
        whys = [found.why for found in seen]
        why = whys[0] if len(set(whys)) == 1 else whys
        at = ends.place([end for found in seen for end in found.interval[1:]])
        rows.append({"n": seen[0].n, "effect": finite(seen[0].interval[0]), "why": why, "at": at} | skipped)
    return rows
