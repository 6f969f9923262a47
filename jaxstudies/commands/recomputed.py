"""Effects computed again from the table of runs, by the study's code."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from jaxstudies import results, study, tasks
from jaxstudies.evidence import effects, records, registration, verdicts
from jaxstudies.evidence.records import Unverifiable
from jaxstudies.output import owned, stored


def differences(directory: Path) -> tuple[list[str], bool]:
    """Return which effects, or claims, are others when they are computed again, and whether other code made the runs.

    Raises:
        Unverifiable: The table or the study's file is not there.
    """
    try:
        origin = stored.read_provenance(directory / owned.RUNS)
        if origin["study"] == owned.OF_FUNCTIONS and not origin["file"]:
            raise Unverifiable(f"{directory}: its functions are in no file that is known")
        with study.apart():
            found = study.load_from(origin, directory)
            finished, origin = results.read(found, directory)
            judged, now = results.judge(found, finished, looks=registration.looks_of(origin))
            code = tasks.code_of(found)
    except Unverifiable:
        raise
    except Exception as error:  # of a study's file anything may be raised
        raise Unverifiable(f"--from-runs: {directory}: {type(error).__name__}: {error}") from error
    lines = [f"{EFFECTS}: {line}" for line in _apart(effects.read_effects(directory / records.EFFECTS)[0], now)]
    there = {claim["id"]: claim for claim in records.read(directory)["claims"]}
    for verdict in judged:
        said, now = there.pop(verdict.id, {}), json.loads(json.dumps(verdicts.to_json([verdict])))[0]
        if differ := [name for name in CLAIMED if said.get(name) != now.get(name)]:
            lines.append(f"{verdict.id}: the study's code claims something else ({', '.join(differ)})")
    lines += [f"{id_}: the study's code has no such claim" for id_ in there]
    return lines, code is not None and code != origin["code"]


EFFECTS = "effects computed again"
JUDGED = {"verdict", "effect", "low", "high", "n", "family_verdict", "rule", "interval", "seeds", "why", "lacking"}
CLAIMED = [name for name in verdicts.Verdict._fields if name not in {*JUDGED, "figure"}]
"""What of an entry the code says, and not the runs."""


def _apart(before: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """Return the claims whose effects differ."""
    names = {name: None for rows in (before, now) if "reading" in rows for name in rows["reading"].dropna()}
    lines = []
    for name in ("", *names):
        one, other = (effects.by_claim(rows, name) for rows in (before, now))
        differ = [id_ for id_ in {**one, **other} if not (id_ in one and id_ in other and _alike(one[id_], other[id_]))]
        lines += [f"{id_}, reading {name}" if name else id_ for id_ in differ]
    return lines


def _alike(before: pd.DataFrame, now: pd.DataFrame) -> bool:
    columns = [name for name in ("seed", "value", "other", "count") if name in before and before[name].notna().any()]
    if len(before) != len(now) or any(name not in now for name in columns):
        return False
    pairs = (
        (before[name].to_numpy(float, na_value=np.nan), now[name].to_numpy(float, na_value=np.nan)) for name in columns
    )
    return all(np.allclose(a, b, rtol=records.TOLERANCE, atol=0.0, equal_nan=True) for a, b in pairs)
