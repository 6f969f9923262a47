"""Intervals of every claim at a ladder of levels and numbers of seeds, so that a browser can judge them again.

The browser only holds intervals against regions: how these are had is written once, in `jaxstudies.evidence`.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxstudies.errors import StudyError
from jaxstudies.evidence import effects as effects_by_seed
from jaxstudies.evidence import records, verdicts
from jaxstudies.evidence.claims import finite
from jaxstudies.evidence.records import Unverifiable

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Confidence levels among which a reader chooses, beside the claims' own."""
SEEDS = tuple(digit * 10**power for power in range(9) for digit in (1, 2, 5))[2:]
"""Numbers of first seeds among which a reader chooses, beside all: 5, 10, 20, 50 and so on."""
FEWER = (0.9, 0.95, 0.99)
MOST, MOST_AT_LOOKS = 60_000, 20_000
"""Intervals of a study, at most: with more of them, fewer levels are offered. Those of sequences take longer."""
DAMAGED = (Unverifiable, StudyError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


def ladders_of(directory: Path) -> dict[str, Any]:
    """Return what a browser needs to judge the claims of a directory again, as JSON has it; only `why` if it cannot.

    `packed` are the lower and upper ends of all intervals as base64 of little-endian numbers of 64 bits: claim by
    claim, number of seeds by number of seeds, level by level, and for a primary claim of a family of k at the level
    itself and at 1 - (1 - level) / 2 up to 1 - (1 - level) / k.
    """
    try:
        if wrong := list(records.verify(directory)):
            return {"why": "; ".join(wrong)}
        judged = records.read(directory)
        by_claim, looks = records.by_id(directory, judged), judged["rule"]["looks"]
        sizes = looks or sizes_of(by_claim)
        family = sum(claim["primary"] and claim["verdict"] != "not tested" for claim in judged["claims"])
        at_once = sum(family if claim["primary"] else 1 for claim in judged["claims"]) * len(sizes)
        most = MOST if looks is None else MOST_AT_LOOKS
        levels = next((offered for offered in (LEVELS, FEWER) if at_once * (len(offered) + 1) <= most), ())
        entries, ends = [], []
        for claim in judged["claims"]:
            parts = max(family, 1) if claim["primary"] else 1
            entry, own = _ladder(claim, by_claim[claim["id"]], sizes, looks, levels, parts)
            entries.append(entry | {"at": sum(map(len, ends)) // 2, "parts": parts})
            ends.append(own)
        packed = np.concatenate(ends or [np.zeros(0)]).astype("<f8").tobytes()
        numbers = {"packed": base64.b64encode(packed).decode(), "levels": list(levels), "sizes": list(sizes)}
        return numbers | {"sequence": looks is not None, "claims": entries}
    except DAMAGED as error:
        return {"why": f"{error}"}


def sizes_of(by_claim: Mapping[str, pd.DataFrame]) -> list[int]:
    """Return the numbers of first seeds that are offered, the last one that of all."""
    last = max((int(rows["seed"].max()) + 1 for rows in by_claim.values() if rows["seed"].notna().any()), default=1)
    return [*(size for size in SEEDS if size < last), last]


def _ladder(
    claim: Mapping,
    effects: pd.DataFrame,
    sizes: Sequence[int],
    looks: Sequence[int] | None,
    levels: Sequence[float],
    parts: int,
) -> tuple[dict[str, Any], np.ndarray]:
    """Return what is known of a claim at each number of seeds, and the ends of its intervals."""
    ladder = [*levels, *([] if claim["level"] in levels else [claim["level"]])]
    at = [level if k == 1 else 1 - (1 - level) / k for level in ladder for k in range(1, parts + 1)]
    method, fixed = verdicts.method_of(claim, looks), verdicts.method_of(claim, None)
    assert fixed is not None
    rows, ends = [], []
    for size in sizes:
        first = effects if size == sizes[-1] else effects_by_seed.first_seeds(effects, size)
        skipped = (
            {} if first is not None else {"skipped": True}
        )  # a sequence has no look where seeds are not told apart
        seen = list(verdicts.measured(claim, method or fixed, effects if first is None else first, at))
        if method is None:
            known = (seen[0].interval[0], np.nan, np.nan)
            seen = [found._replace(interval=known, why=verdicts.NO_SEQUENCE) for found in seen]
        whys = [found.why for found in seen]
        why = whys[0] if len(set(whys)) == 1 else whys
        rows.append({"n": seen[0].n, "effect": finite(seen[0].interval[0]), "why": why} | skipped)
        ends += [end for found in seen for end in found.interval[1:]]
    return _entry(claim, rows, ladder), np.array(ends, float)


def _entry(claim: Mapping, rows: list[dict], ladder: list[float]) -> dict[str, Any]:
    taken = ("region", "ends", "primary", "unit")
    own = {"own": ladder.index(claim["level"]), "levels": len(ladder), "undecidable": claim["undecidable"]}
    return {name: claim[name] for name in taken} | own | {"rows": rows}
