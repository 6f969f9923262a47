"""The file of verdicts, claims.json: what stands in it, and how whoever doubts it judges again.

Nothing here needs the study's code, or JAX. The file's form is in claims.schema.json, beside this module.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from jaxstudies.errors import StudyError
from jaxstudies.evidence import effects as effects_by_seed
from jaxstudies.evidence import registration, rules, verdicts
from jaxstudies.evidence.verdicts import FIXED, SEQUENCE, Verdict

FORMAT = 1
NAMES = CLAIMS, EFFECTS, CONFIG, RUNS = "claims.json", "effects.parquet", "config.json", "runs.parquet"
TOLERANCE = 1e-9
"""Relative difference of numbers up to which two machines agree."""


class Unverifiable(Exception):
    """A directory has no verdicts that can be judged again."""


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a record says beside it."""
    said = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def make(
    directory: Path,
    origin: Mapping,
    judged: Iterable[Verdict],
    looks: list[int] | None,
    failed: Mapping,
    registered: Mapping | None,
) -> dict:
    """Return what claims.json says of runs whose table, effects and config are in a directory.

    Args:
        directory: Where they are.
        origin: Provenance of the table.
        judged: The verdicts.
        looks: Numbers of seeds at which verdicts were seen, see `rules.judge`.
        failed: How many runs there are, and in how many a number is not finite.
        registered: When the claims were registered, and what of them has changed since, if they were.
    """
    record = {
        "format": FORMAT,
        "study": origin["study"],
        "date": origin.get("date"),
        "versions": origin["environment"],
        "runs": {"digest": origin["digest"], "sha256": content_digest(directory / RUNS), **failed},
        "effects": {"sha256": content_digest(directory / EFFECTS)},
        "config": {"sha256": content_digest(directory / CONFIG)},
        "rule": _rule(looks),
        "registered": registered,
        "claims": verdicts.to_json(judged),
    }
    return record | {"sha256": seal(record)}


def read(directory: Path) -> dict:
    """Return what a directory's claims.json says.

    Raises:
        Unverifiable: There is none, or none of this version.
    """
    path = directory / CLAIMS
    record = _json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise Unverifiable(f"{path} is not of this version; run the study again")
    return record


def _json(path: Path) -> Any:
    """Read a file; of a name that stands twice others read the first, or the last."""

    def once(pairs: list[tuple[str, Any]]) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name stands twice")
        return dict(pairs)

    try:
        if not path.is_file():
            raise Unverifiable(f"{path} does not exist")
        return json.loads(path.read_text("utf-8"), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise Unverifiable(f"{path} cannot be read ({error})") from error


def verify(directory: Path) -> Iterator[str]:
    """Judge every claim of a directory again from its effects by seed; yield what differs from what is there, in lines.

    Raises:
        Unverifiable: There is nothing that could be judged.
    """
    record = read(directory)
    try:
        if record["sha256"] != seal(record):
            yield f"{CLAIMS} was changed after it was written"
        yield from _changed_files(directory, record)
        try:
            judged = verdicts.to_json(again(directory, record))
        except StudyError as error:
            yield f"{EFFECTS} cannot be judged: {error}"
            return
        for before, now in zip(record["claims"], judged, strict=True):
            yield from (f"{before['id']}: {line}" for line in _differences(before, now))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unverifiable(f"{directory / CLAIMS} is damaged ({type(error).__name__}: {error})") from error


def _changed_files(directory: Path, record: Mapping) -> Iterator[str]:
    """Yield which of the files have another content than they had when the claims were judged."""
    for name, kind in ((EFFECTS, "effects"), (CONFIG, "config"), (RUNS, "runs")):
        path = directory / name
        if not path.is_file():
            if name != RUNS:  # it is large, and often not handed on
                yield f"{name} is missing"
        elif content_digest(path) != record[kind]["sha256"]:
            yield f"{name} is another than the one that was judged"
    if effects_of(directory)[1] != record["runs"]["sha256"]:
        yield f"{EFFECTS} was taken from another table of runs"
    origin = _json(directory / CONFIG)
    told = {"digest": record["runs"]["digest"], "environment": record["versions"], "study": record["study"]}
    told["date"] = record["date"]
    yield from (
        f"{CLAIMS}: {name} is not that of {CONFIG}" for name, value in told.items() if origin.get(name) != value
    )
    looks = [registration.looks_of(origin | more) for more in ({}, {"until_decided": True})]
    if record["rule"] not in map(_rule, looks):
        yield f"{CLAIMS}: rule is not that of the runs in {CONFIG}"
    yield from _registered_otherwise(directory, record, origin)


def _rule(looks: list[int] | None) -> dict[str, Any]:
    """Return by which rule verdicts are had that were seen at some numbers of seeds."""
    return {"name": FIXED if looks is None else SEQUENCE, "looks": looks}


def _registered_otherwise(directory: Path, record: Mapping, origin: Mapping) -> Iterator[str]:
    """Yield what a record does not say of what was registered; which code took the effects, no file beside it says."""
    try:
        registered = registration.read(directory)
    except registration.Damaged as error:
        yield str(error)
        return
    before, there = (record["registered"] or {}), (registered or {})
    if (before.get("date"), before.get("sha256")) != (there.get("date"), there.get("sha256")):
        yield f"{registration.FILE} is another than the one that was judged, or is missing"
        return
    now = registration.compare(directory, record["claims"], None, origin) or {}
    for name in ("changed", "new", "otherwise"):
        found = [[line for line in one.get(name, []) if line != registration.OTHER_CODE] for one in (before, now)]
        if found[0] != found[1]:
            yield f"{CLAIMS}: {name} since {registration.FILE} is {found[0]}, and {found[1]} when compared again"


def effects_of(directory: Path) -> tuple[pd.DataFrame, str]:
    """Return the effects by seed in a directory, and the digest of the table that they were taken from.

    Raises:
        Unverifiable: They cannot be read.
    """
    path = directory / EFFECTS
    try:
        return effects_by_seed.read_effects(path)
    except Exception as error:  # of a damaged file anything may be raised
        raise Unverifiable(f"{path} cannot be read ({type(error).__name__})") from error


def again(
    directory: Path,
    record: Mapping,
    level: float | None = None,
    margin: float = 0.0,
    seeds: int | None = None,
    reading: str = "",
) -> list[Verdict]:
    """Return the verdicts anew from the effects by seed.

    Args:
        directory: Where these are.
        record: What claims.json says.
        level: Of all claims, if not their own.
        margin: By how much the regions are wider at each end; of which nothing is left, nothing is decided.
        seeds: How many of the first seeds are looked at, if not all; by a sequence at the looks until then, of which
            the first is never left out.
        reading: By which of their readings claims are judged that have it, if not by their own effects.

    Raises:
        Unverifiable: The effects cannot be read.
    """
    by_claim = by_id(directory, record, reading)
    records = [dict(claim) for claim in record["claims"]]
    for claim in records:
        if reading in claim.get("readings", ()):  # what is said of the claim's own effects is not of these
            claim |= {"undecidable": "", "absent": 0, "lacking": ""}
        low, high = claim["region"]
        claim["region"] = [None if low is None else low - margin, None if high is None else high + margin]
        if low is not None and high is not None and low - margin > high + margin:
            claim["undecidable"] = "nothing is left of its region"
        claim["level"] = claim["level"] if level is None else level
    looks = record["rule"]["looks"]
    if seeds is not None:
        looks = None if looks is None else [look for look in looks if look <= seeds] or looks[:1]
        last = seeds if looks is None else looks[-1]
        by_claim = {id_: effects_by_seed.up_to(effects, last) for id_, effects in by_claim.items()}
    return rules.judge_records(records, by_claim, looks)


def by_id(directory: Path, record: Mapping, reading: str = "") -> dict[str, pd.DataFrame]:
    """Return the effects by seed of each claim in a record, which may be none; those under a reading if it has it."""
    rows, _ = effects_of(directory)
    own, read = effects_by_seed.by_claim(rows), effects_by_seed.by_claim(rows, reading)
    found = {claim["id"]: read if reading in claim.get("readings", ()) else own for claim in record["claims"]}
    return {id_: effects.get(id_, rows[:0]) for id_, effects in found.items()}


def readings_of(record: Mapping) -> list[str]:
    """Return the names of readings that any claim of a record has."""
    return list(dict.fromkeys(name for claim in record["claims"] for name in claim.get("readings", ())))


def _differences(before: Mapping, now: Mapping) -> Iterator[str]:
    """Yield what of an entry is not as it is judged now."""
    for name, value in now.items():
        there = before.get(name)
        if isinstance(value, float) and isinstance(there, int | float):
            # JSON as Python reads it has infinity and NaN, too.
            if not (math.isfinite(there) and abs(value - there) <= TOLERANCE * max(abs(value), abs(there))):
                yield f"{name} is {there:.6g}, and {value:.6g} when judged again"
        elif json.loads(json.dumps(value)) != there:
            yield f"{name} is {json.dumps(there)}, and {json.dumps(value)} when judged again"
